//! The API server goes away, and etcd behind it: who asks the adapter notices nothing, and afterwards everything goes on.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    adapter::Replica,
    eventually::eventually,
    plugins,
    traffic::{Asker, Counts, Question, Traffic},
};
use futures::future::try_join_all;

use crate::{
    lifecycle::satisfied_autoscaler,
    world::{EXTERNAL, PATIENCE, World},
};

/// Between two questions of one client.
const PAUSE: Duration = Duration::from_millis(20);

/// Generation of each plugin, by its label in the metric.
type Generations = BTreeMap<String, String>;

/// kube-apiserver is killed and started again on the same etcd. Meanwhile each replica answers who is known, and says in the detail
/// of its readiness what is missing; afterwards an edit arrives, no other plugin is loaded again, and the autoscaler scales.
pub(crate) async fn the_api_server_is_killed_and_comes_back(world: &mut World) -> Result<()> {
    world.apply_static("killed", &["killed_depth 20"], &["pods/*/killed_rate 10"]).await?;
    drop(satisfied_autoscaler(world, "killed").await?);
    let before = generations(world).await?;
    let traffic = everybody(world, "killed_depth");
    world.control_plane.kill_api_server().await?;
    detail_says(world, "[+]api-server failed: not needed to be ready").await?;
    world.control_plane.revive_api_server().await?;
    world.apply_static("killed", &["killed_depth 40"], &["pods/*/killed_rate 10"]).await?;
    let path = format!("{EXTERNAL}/namespaces/killed/killed_depth");
    world.expect_values(&path, &["40"]).await.context("an edit right after the restart")?;
    detail_says(world, "[+]api-server ok").await?;
    eventually("the autoscaler scales again", PATIENCE * 2, async || {
        let columns = "jsonpath={.spec.replicas}";
        let found = world.kubectl.run(&["get", "deployment", "web", "--namespace=killed", "-o", columns]).await?;
        ensure!(found == "4", "{found} replicas");
        Ok(())
    })
    .await?;
    unnoticed(world, "kube-apiserver killed and started again", traffic).await?;
    only_one_was_loaded_again(world, &before, "killed").await?;
    plugins::delete(&world.admin, "killed").await
}

/// etcd hangs for ten seconds and goes on: the same, and an edit is possible afterwards.
pub(crate) async fn etcd_hangs_for_a_while(world: &mut World) -> Result<()> {
    world.apply_static("hanging", &["hanging_depth 20"], &[]).await?;
    let path = format!("{EXTERNAL}/namespaces/default/hanging_depth");
    world.expect_values(&path, &["20"]).await?;
    let before = generations(world).await?;
    let traffic = everybody(world, "hanging_depth");
    let frozen = world.control_plane.freeze_etcd()?;
    detail_says(world, "[+]api-server failed: not needed to be ready").await?;
    drop(frozen);
    detail_says(world, "[+]api-server ok").await?;
    eventually("an edit is taken", PATIENCE, async || world.apply_static("hanging", &["hanging_depth 40"], &[]).await)
        .await?;
    world.expect_values(&path, &["40"]).await?;
    unnoticed(world, "etcd frozen", traffic).await?;
    only_one_was_loaded_again(world, &before, "hanging").await?;
    plugins::delete(&world.admin, "hanging").await
}

/// Questions to each replica, as of somebody who is known: a metric, a list, and readiness.
fn everybody(world: &World, metric: &str) -> Vec<Traffic> {
    let questions = [
        Question::expecting(&format!("{EXTERNAL}/namespaces/default/{metric}"), metric),
        Question::expecting(EXTERNAL, metric),
        Question::expecting("/readyz", "ok"),
    ];
    let replicas = world.adapter.replicas().iter();
    replicas.map(|replica| Traffic::begin(&Asker::of(replica), PAUSE, &questions)).collect()
}

async fn unnoticed(world: &mut World, what: &str, traffic: Vec<Traffic>) -> Result<()> {
    let counts = try_join_all(traffic.into_iter().map(Traffic::end)).await?;
    let counts = counts.into_iter().fold(Counts::default(), Counts::and);
    world.figures.push(format!("{what}: {} requests to the replicas, {} failed", counts.sent, counts.failed));
    counts.ensure_flawless()
}

/// Waits until both replicas are ready and this line is in the detail.
async fn detail_says(world: &World, line: &str) -> Result<()> {
    eventually(&format!("the detail says `{line}`"), PATIENCE, async || {
        for replica in world.adapter.replicas() {
            let answer = replica.get("/readyz?verbose").await?;
            ensure!(answer.status == 200 && answer.text().lines().any(|found| found == line), "{}", answer.text());
        }
        Ok(())
    })
    .await
}

async fn generations(world: &World) -> Result<Vec<Generations>> {
    try_join_all(world.adapter.replicas().iter().map(generations_of)).await
}

async fn generations_of(replica: &Replica) -> Result<Generations> {
    let metrics = replica.get("/metrics").await?.text();
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("wasm_metrics_adapter_plugin_generation{"));
    let found: Generations = lines
        .filter_map(|line| line.rsplit_once("} "))
        .map(|(plugin, it)| (plugin.to_owned(), it.to_owned()))
        .collect();
    ensure!(!found.is_empty(), "no plugin has a generation in: {metrics}");
    Ok(found)
}

/// A watch that begins anew delivers every plugin again; only what differs is loaded.
async fn only_one_was_loaded_again(world: &World, before: &[Generations], edited: &str) -> Result<()> {
    for (before, after) in before.iter().zip(generations(world).await?) {
        let changed: Vec<_> =
            after.iter().filter(|(plugin, generation)| before.get(*plugin) != Some(generation)).collect();
        ensure!(changed.len() == 1, "loaded again: {changed:?}");
        ensure!(changed.iter().all(|(plugin, _)| plugin.contains(edited)), "loaded again: {changed:?}");
    }
    Ok(())
}
