//! Plugins change while requests go on: quickly, whole, and never backwards.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    eventually::{eventually, throughout},
    packaging::{self, Packaged, Packaging},
    plugins::{self, Plugin, component, events, only_warning, static_configuration},
    storm::{Outcome, Storm},
};
use kube::{
    Client,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::watch;

use crate::world::{EXTERNAL, PATIENCE, World, ensure_words, values_of};

const UPDATES: u32 = 100;
const LIMIT: Duration = Duration::from_secs(1);

/// From the API server's 200 to the first new answer of each replica; asked without a pause all the while.
pub(crate) async fn a_hundred_updates_arrive_within_a_second(world: &mut World) -> Result<()> {
    let path = format!("{EXTERNAL}/namespaces/default/counted");
    world.apply_static("counted", &["counted 0"], &[]).await?;
    world.expect_values(&path, &["0"]).await?;
    let answers = world.adapter.replicas().iter().map(|_| Answers::default()).collect::<Vec<_>>();
    let (mut latencies, asked) = {
        let asking = futures::future::try_join_all(
            world.adapter.replicas().iter().zip(&answers).map(|(replica, answers)| answers.collect(replica, &path)),
        );
        tokio::select! {
            broken = asking => anyhow::bail!("the asking ended by itself: {broken:?}"),
            latencies = update_all(world, &answers) => (latencies?, answers.iter().map(Answers::count).sum::<usize>()),
        }
    };
    for (replica, latencies) in latencies.iter_mut().enumerate() {
        latencies.sort_unstable();
        let at = |percent: usize| {
            latencies.get((latencies.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
        };
        let (p50, p99, worst) = (at(50), at(99), at(100));
        world.figures.push(format!("replica {replica}: {UPDATES} updates, from 200 to the first new answer: p50 {p50:.0?}, p99 {p99:.0?}, worst {worst:.0?}"));
        ensure!(
            latencies.len() == UPDATES as usize && p99 <= LIMIT,
            "replica {replica}: p99 is {p99:?}, more than {LIMIT:?}"
        );
    }
    world
        .figures
        .push(format!("{asked} answers were read during those updates: none older than one before, none an error"));
    Ok(())
}

/// Applies values 1 to 100, each as soon as all replicas have answered the one before; gives how long each took.
async fn update_all(world: &World, answers: &[Answers]) -> Result<Vec<Vec<Duration>>> {
    let mut latencies = vec![Vec::new(); answers.len()];
    for value in 1..=UPDATES {
        let yaml = static_configuration(&[&format!("counted {value}")], &[]).to_string();
        let patch = Patch::Merge(json!({ "data": { "plugin.yaml": yaml } }));
        plugins::config_maps(&world.admin).patch("counted", &PatchParams::default(), &patch).await?;
        let applied = Instant::now();
        for (answers, latencies) in answers.iter().zip(&mut latencies) {
            let seen = answers.first_of(value).await.with_context(|| format!("update {value}"))?;
            latencies.push(seen.saturating_duration_since(applied));
        }
    }
    Ok(latencies)
}

/// What one replica answered, as it came.
struct Answers {
    latest: watch::Sender<u32>,
    firsts: Mutex<Vec<(u32, Instant)>>,
    count: Mutex<usize>,
}

impl Default for Answers {
    fn default() -> Self {
        Self { latest: watch::Sender::new(0), firsts: Mutex::default(), count: Mutex::default() }
    }
}

impl Answers {
    /// Asks again and again. Ends only by a failure: an error, or an answer older than one before.
    async fn collect(&self, replica: &e2e::adapter::Replica, path: &str) -> Result<()> {
        loop {
            let answer = replica.get(path).await?;
            let values = values_of(&answer)?;
            let value: u32 = values.first().with_context(|| format!("no value: {}", answer.text()))?.parse()?;
            let latest = *self.latest.borrow();
            ensure!(value >= latest, "{value} was answered after {latest}");
            *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            if value > latest {
                self.firsts.lock().unwrap_or_else(PoisonError::into_inner).push((value, Instant::now()));
                self.latest.send_replace(value);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn first_of(&self, value: u32) -> Result<Instant> {
        let mut latest = self.latest.subscribe();
        tokio::time::timeout(PATIENCE, latest.wait_for(|latest| *latest >= value)).await??;
        let firsts = self.firsts.lock().unwrap_or_else(PoisonError::into_inner);
        let first = firsts.iter().find(|(seen, _)| *seen >= value).context("a value without a time")?;
        Ok(first.1)
    }

    fn count(&self) -> usize {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last good version goes on; two replicas refuse, and one Event says why.
pub(crate) async fn a_broken_update_changes_nothing_and_one_event_says_why(world: &mut World) -> Result<()> {
    let path = format!("{EXTERNAL}/namespaces/default/steadfast");
    let good = Plugin::of_static("steadfast", &["steadfast 5"], &[])?;
    good.apply(&world.admin).await?;
    world.expect_values(&path, &["5"]).await?;
    eventually("an Event tells that it was loaded", PATIENCE, async || {
        ensure!(events(&world.admin, "steadfast", "Normal").await?.len() == 1, "there should be one Normal Event");
        Ok(())
    })
    .await?;
    let broken = Plugin::of_static("steadfast", &["steadfast is not a number"], &[])?;
    broken.apply(&world.admin).await?;
    let message =
        eventually("an Event says why", PATIENCE, async || only_warning(&world.admin, "steadfast").await).await?;
    ensure_words(&message, &["line 1", "external"])?;
    throughout("the old value is served and there is one Warning", Duration::from_secs(2), async || {
        world.check_values(&path, &["5"]).await?;
        only_warning(&world.admin, "steadfast").await.map(drop)
    })
    .await?;
    Plugin::of_static("steadfast", &["steadfast 6"], &[])?.apply(&world.admin).await?;
    world.expect_values(&path, &["6"]).await
}

/// Not only settings are swapped: the component is.
pub(crate) async fn new_code_replaces_old_code(world: &mut World) -> Result<()> {
    let path = format!("{EXTERNAL}/namespaces/default/recoded");
    let mut plugin = Plugin::of_static("recoded", &["recoded 1"], &[])?;
    plugin.apply(&world.admin).await?;
    world.expect_values(&path, &["1"]).await?;
    let configuration = json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
        "serves": { "external": ["recoded"] }, "config": { "metrics": "recoded", "value": "2" },
    });
    plugin = Plugin::new("recoded", component("probe")?, &configuration);
    plugin.apply(&world.admin).await?;
    world.expect_values(&path, &["2"]).await
}

/// A ConfigMap that is gone is a plugin that is gone: 404, and not in the list any more.
pub(crate) async fn a_deleted_plugin_withdraws_its_metrics(world: &mut World) -> Result<()> {
    let path = format!("{EXTERNAL}/namespaces/default/fleeting");
    world.apply_static("fleeting", &["fleeting 1"], &[]).await?;
    world.expect_values(&path, &["1"]).await?;
    plugins::delete(&world.admin, "fleeting").await?;
    world.expect_status(&path, 404).await?;
    for answer in world.get_everywhere(EXTERNAL).await? {
        ensure!(!answer.text().contains("fleeting"), "it is still listed: {}", answer.text());
    }
    Ok(())
}

/// Plain, gzip, zstd, and in parts that are content-addressed ConfigMaps.
pub(crate) async fn a_plugin_comes_in_each_packaging(world: &mut World) -> Result<()> {
    // Padding makes it larger than any one ConfigMap may be.
    let (small, large) = (component("static")?, plugins::padded(component("static")?, 1_500_000));
    for (name, packaging) in [("gzip", Packaging::Gzip), ("zstd", Packaging::Zstd), ("parts", Packaging::Parts)] {
        let metric = format!("packed_{name}");
        let code = if packaging == Packaging::Parts { &large } else { &small };
        let configuration = static_configuration(&[&format!("{metric} 7")], &[]);
        packaging.pack(&format!("packed-{name}"), code, &configuration)?.apply(&world.admin).await?;
        world.expect_values(&format!("{EXTERNAL}/namespaces/default/{metric}"), &["7"]).await?;
    }
    Ok(())
}

/// The short form of what `cargo xtask soak` does for longer.
pub(crate) async fn a_storm_of_updates_mixes_nothing_and_goes_never_back(world: &mut World) -> Result<()> {
    let storm = Storm { generations: 200, connections: 3 };
    let began = Instant::now();
    let Outcome { generations, broken, answers } = storm.run(&world.adapter, &world.admin).await?;
    world.figures.push(format!("{generations} generations and {broken} broken versions in {:.0?}, meanwhile {answers} answers of two replicas: none an error, none mixed, none older than one before", began.elapsed()));
    Ok(())
}

/// Parts first, then the plugin, then the old parts away: killed after any step, the adapter comes back with a whole version.
pub(crate) async fn killed_between_any_two_steps_it_serves_a_whole_version(world: &mut World) -> Result<()> {
    let path = format!("{EXTERNAL}/namespaces/default/stepwise");
    let version = |value: &str, padding| {
        let code = plugins::padded(component("static")?, padding);
        Packaging::Parts.pack("stepwise", &code, &static_configuration(&[&format!("stepwise {value}")], &[]))
    };
    let (old, new) = (version("1", 40_000)?, version("2", 50_000)?);
    old.apply(&world.admin).await?;
    world.expect_values(&path, &["1"]).await?;
    let steps = new.parts.len() + 1 + old.parts.len();
    for step in 0..=steps {
        take_step(&world.admin, &old, &new, step).await?;
        let expected = if step <= new.parts.len() { "1" } else { "2" };
        for replica in 0..world.adapter.replicas().len() {
            world.adapter.kill(replica).await?;
        }
        for replica in 0..world.adapter.replicas().len() {
            world.adapter.start(replica).await?;
            let replica = world.adapter.replicas().get(replica).context("it was started")?;
            let values = values_of(&replica.get(&path).await?)?;
            ensure!(values == [expected], "after step {step} of {steps}: {values:?}, not {expected}");
        }
    }
    world.figures.push(format!(
        "{} kills, before and after each of {steps} steps of an update in parts: a whole version each time",
        2 * (steps + 1)
    ));
    plugins::delete(&world.admin, "stepwise").await
}

/// Step 0 does nothing; the last of an update's steps is the last old part's removal.
async fn take_step(admin: &Client, old: &Packaged, new: &Packaged, step: usize) -> Result<()> {
    let (part, manifest) = (step.checked_sub(1), new.parts.len() + 1);
    if step == manifest {
        return new.plugin.apply(admin).await;
    }
    if let Some(part) = part.and_then(|part| new.parts.get(part)) {
        return packaging::apply(admin, part).await;
    }
    match step.checked_sub(manifest + 1).and_then(|part| old.parts.get(part)) {
        Some(part) => plugins::delete(admin, part.metadata.name.as_deref().context("it has a name")?).await,
        None => Ok(()),
    }
}

const FULL: usize = 40;
const MOST_MIB: f64 = 120.0;

/// Forty plugins as large as a ConfigMap can be, all there when the adapter starts.
pub(crate) async fn forty_full_config_maps_are_no_burden_at_the_start(world: &mut World) -> Result<()> {
    world.adapter.stop(1).await?;
    let code = component("static")?;
    for number in 0..FULL {
        let mut plugin = Plugin::of_static(&format!("full-{number}"), &[&format!("full_{number} {number}")], &[])?;
        // Each has other bytes, so each is compiled.
        let padding = (1 << 20) - plugin.yaml.len() - code.len() - 12 - number;
        plugin.binary = [("plugin.wasm".to_owned(), plugins::padded(code.clone(), padding))].into();
        plugin.apply(&world.admin).await?;
    }
    std::fs::remove_dir_all(world.control_plane.folder().join("compile-cache-1"))?;
    let took = world.adapter.start(1).await?;
    let replica = world.adapter.replicas().get(1).context("there are two replicas")?;
    let process = replica.process_id().context("it runs")?;
    // On a busy machine it is ready after a minute, whatever has loaded until then.
    eventually("all of them answer", PATIENCE * 2, async || {
        for number in 0..FULL {
            let values = values_of(&replica.get(&format!("{EXTERNAL}/namespaces/default/full_{number}")).await?)?;
            ensure!(values == [number.to_string()], "{values:?}");
        }
        Ok(())
    })
    .await?;
    let (peak, (resident, anonymous)) = (e2e::load::peak_mib(process)?, e2e::load::resident_mib(process)?);
    world.figures.push(format!("{FULL} full ConfigMaps at the start, cold cache: ready after {took:.1?}; at most {peak:.0} MiB resident, {resident:.0} afterwards ({anonymous:.0} anonymous)"));
    for number in 0..FULL {
        plugins::delete(&world.admin, &format!("full-{number}")).await?;
    }
    ensure!(peak < MOST_MIB, "{peak:.0} MiB were resident, more than {MOST_MIB}");
    Ok(())
}
