//! A rolling update of the adapter, as its Deployment makes it, while everybody asks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    eventually::eventually,
    plugins,
    requests::Answer,
    traffic::{Asker, Judge, Question, Traffic},
};

use crate::{
    lifecycle::{satisfied_autoscaler, three_syncs},
    world::{CUSTOM, CUSTOM_OLD, EXTERNAL, PATIENCE, World},
};

/// Clients ask as fast as a busy cluster's autoscalers together.
const PAUSE: Duration = Duration::from_millis(20);

/// Start new, wait until it is ready, end old, twice. Every request through the aggregator is answered with 200, by no version of
/// the plugin that is older than what both replicas had; discovery is whole throughout; no autoscaler has a complaint.
pub(crate) async fn a_rolling_update_of_both_replicas_fails_no_request(world: &mut World) -> Result<()> {
    apply_version(world, 1).await?;
    let complaints = satisfied_autoscaler(world, "rollout").await?;
    let oldest = Arc::new(AtomicU64::new(1));
    let questions = questions(&oldest);
    for question in &questions {
        let judge = &question.judge;
        eventually("everything is there before", PATIENCE, async || judge()(&world.get(&question.path).await?)).await?;
    }
    let traffic = Traffic::begin(&Asker::through_the_aggregator(&world.admin), PAUSE, &questions);
    let mut syncs = 0;
    for (replica, version) in [(0, 2), (1, 3)] {
        apply_version(world, version).await?;
        eventually("both replicas have the new version", PATIENCE, async || {
            for replica in world.adapter.replicas() {
                let found = version_of(&replica.get(&path_of_depth()).await?)?;
                ensure!(found == version, "it has version {found}");
            }
            Ok(())
        })
        .await?;
        oldest.store(version, Ordering::SeqCst);
        let took = world.adapter.roll(replica).await?;
        world
            .figures
            .push(format!("rolling update of replica {replica}, all plugins compiled anew: ready after {took:.0?}"));
        syncs += three_syncs(&world.admin, "rollout").await?;
    }
    let counts = traffic.end().await?;
    world.figures.push(format!(
        "rolling update of both replicas: {} requests through the aggregator, {} failed, {syncs} autoscaler syncs",
        counts.sent, counts.failed
    ));
    counts.ensure_flawless()?;
    let found = complaints.found();
    ensure!(found.is_empty(), "the autoscalers noticed: {found:#?}");
    plugins::delete(&world.admin, "rollout").await
}

/// Every form of question; the external one twice.
fn questions(oldest: &Arc<AtomicU64>) -> Vec<Question> {
    let oldest = oldest.clone();
    let never_older = Question {
        path: path_of_depth(),
        judge: Arc::new(move || -> Judge {
            let oldest = oldest.load(Ordering::SeqCst);
            Box::new(move |answer| {
                let version = version_of(answer)?;
                ensure!(version >= oldest, "version {version} after version {oldest} was everywhere");
                Ok(())
            })
        }),
    };
    let of_pods = |root: &str| format!("{root}/namespaces/rollout/pods/%2A/rollout_rate?labelSelector=app%3Dweb");
    vec![
        never_older.clone(),
        never_older,
        Question::expecting(&of_pods(CUSTOM), r#""value":"10""#),
        Question::expecting(&of_pods(CUSTOM_OLD), r#""value":"10""#),
        Question::expecting(EXTERNAL, "rollout_depth"),
        Question::expecting(CUSTOM, "pods/rollout_rate"),
    ]
}

async fn apply_version(world: &World, version: u64) -> Result<()> {
    let external = format!("rollout_depth{{version=\"{version}\"}} 20");
    world.apply_static("rollout", &[&external], &["pods/*/rollout_rate 10"]).await
}

fn path_of_depth() -> String {
    format!("{EXTERNAL}/namespaces/rollout/rollout_depth")
}

fn version_of(answer: &Answer) -> Result<u64> {
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    let list = answer.json()?;
    let version = list["items"][0]["metricLabels"]["version"].as_str();
    Ok(version.with_context(|| format!("there is no version in {list}"))?.parse()?)
}
