//! A reload storm: one plugin is changed again and again, in every packaging, to other code, at times to something broken, while all
//! replicas are asked without a pause. Each good version is a generation, which its answers name in every value and label; a checker per
//! replica finds answers that are errors, mixed of two generations, or older than one that was seen before.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use kube::{
    Client,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    adapter::{Adapter, Replica},
    packaging::{PACKAGINGS, Packaging},
    plugins::{self, Plugin, component, static_configuration},
    requests::Answer,
};

const NAME: &str = "storm";
const PATH: &str = "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/storm";
/// How long any one version may take to every replica.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of every 25 generations, ten come at once, and nobody waits in between.
const BURST_EVERY: u64 = 25;
const BURST: u64 = 10;
/// After every so many generations a broken version comes.
const BROKEN_EVERY: u64 = 7;
/// Every so many generations the component is another program.
const OTHER_CODE_EVERY: u64 = 5;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Storm {
    /// Good versions.
    pub generations: u64,
    /// Connections to each replica, each with one request at a time.
    pub connections: usize,
}

/// What came of it. There is none unless every answer was right.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Good versions, of which those within a burst may have been skipped.
    pub generations: u64,
    /// Versions that had to be refused.
    pub broken: u64,
    /// Answers, all of them right.
    pub answers: u64,
}

impl Storm {
    /// Runs it, and removes the plugin in the end.
    ///
    /// # Errors
    /// Fails at the first answer that is an error, mixed or too old, and when a version does not arrive.
    pub async fn run(self, adapter: &Adapter, admin: &Client) -> Result<Outcome> {
        apply(admin, 1).await?;
        let checkers: Vec<Checker> = adapter.replicas().iter().map(Checker::new).collect();
        try_join_all(checkers.iter().map(Checker::first)).await?;
        let asking = try_join_all(checkers.iter().map(|checker| checker.ask(self.connections)));
        let broken = tokio::select! {
            ended = asking => bail!("the asking ended by itself: {ended:?}"),
            broken = self.change(admin, &checkers) => broken?,
        };
        plugins::delete(admin, NAME).await?;
        let parts = ListParams::default().labels(&format!("wasm-metrics-adapter.io/part-of={NAME}"));
        plugins::config_maps(admin).delete_collection(&DeleteParams::default(), &parts).await?;
        let answers = checkers.iter().map(|checker| checker.answers.load(Ordering::Relaxed)).sum();
        Ok(Outcome { generations: self.generations, broken, answers })
    }

    /// Applies all generations after the first; gives how many broken versions came in between.
    async fn change(self, admin: &Client, checkers: &[Checker<'_>]) -> Result<u64> {
        let mut broken = 0;
        for generation in 2..=self.generations {
            apply(admin, generation).await?;
            let is_followed_at_once = generation % BURST_EVERY < BURST && generation != self.generations;
            if generation % BROKEN_EVERY == 0 || !is_followed_at_once {
                try_join_all(checkers.iter().map(|checker| checker.arrival(generation))).await?;
            }
            if generation % BROKEN_EVERY == 0 {
                // The generation that has arrived serves on.
                broken_version(generation).apply(admin).await?;
                broken += 1;
            }
        }
        Ok(broken)
    }
}

/// Which program is a generation's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Static,
    Probe,
}

impl Program {
    fn of(generation: u64) -> Self {
        if generation % OTHER_CODE_EVERY == 0 { Self::Probe } else { Self::Static }
    }

    /// Settings that the other program refuses or does not know.
    fn configuration(self, generation: u64) -> Value {
        match self {
            Self::Static => {
                let line = |part| format!("{NAME}{{generation=\"{generation}\",part=\"{part}\"}} {generation}");
                let lines = ["a", "b", "c"].map(line);
                static_configuration(&[&lines[0], &lines[1], &lines[2]], &[])
            }
            Self::Probe => json!({
                "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
                "serves": { "external": [NAME] },
                "config": { "metrics": NAME, "value": generation.to_string() },
            }),
        }
    }
}

/// Applies a generation, in the packaging and of the program that are its own.
async fn apply(admin: &Client, generation: u64) -> Result<()> {
    let program = Program::of(generation);
    let code = component(if program == Program::Probe { "probe" } else { "static" })?;
    let packaging = usize::try_from(generation).ok().and_then(|number| PACKAGINGS.get(number % PACKAGINGS.len()));
    let packed = packaging.unwrap_or(&Packaging::Plain).pack(NAME, &code, &program.configuration(generation))?;
    packed.apply(admin).await
}

/// What must be refused: unknown settings, bytes that are no component, settings that the program rejects.
fn broken_version(generation: u64) -> Plugin {
    let good = Program::Static.configuration(generation);
    match generation / BROKEN_EVERY % 3 {
        0 => Plugin::new(NAME, b"garbage".to_vec(), &good),
        1 => {
            let mut misspelt = good;
            misspelt["listEvry"] = json!("1m");
            Plugin::new(NAME, b"garbage".to_vec(), &misspelt)
        }
        _ => {
            let mut two = Plugin::new(NAME, b"garbage".to_vec(), &good);
            two.binary.insert("plugin.wasm.zst".to_owned(), b"garbage".to_vec());
            two
        }
    }
}

/// What one replica answers.
struct Checker<'adapter> {
    replica: &'adapter Replica,
    /// The newest generation that it has answered.
    latest: watch::Sender<u64>,
    answers: AtomicU64,
}

impl<'adapter> Checker<'adapter> {
    fn new(replica: &'adapter Replica) -> Self {
        Self { replica, latest: watch::Sender::new(0), answers: AtomicU64::new(0) }
    }

    /// Waits for the plugin to be there at all.
    async fn first(&self) -> Result<()> {
        crate::eventually::eventually("the storm's plugin is loaded", PATIENCE, async || {
            generation_of(&self.replica.get(PATH).await?).map(drop)
        })
        .await
    }

    /// Asks on so many connections, until something is wrong.
    async fn ask(&self, connections: usize) -> Result<()> {
        try_join_all((0..connections).map(|_| self.ask_on_one())).await.map(drop)
    }

    async fn ask_on_one(&self) -> Result<()> {
        loop {
            let seen_before = *self.latest.borrow();
            let answer = self.replica.get(PATH).await?;
            let generation = generation_of(&answer)?;
            ensure!(generation >= seen_before, "generation {generation} was answered after {seen_before}");
            self.answers.fetch_add(1, Ordering::Relaxed);
            self.latest.send_if_modified(|latest| {
                let is_newer = generation > *latest;
                *latest = generation.max(*latest);
                is_newer
            });
            tokio::task::yield_now().await;
        }
    }

    /// Waits for an answer of this generation.
    async fn arrival(&self, generation: u64) -> Result<()> {
        let mut latest = self.latest.subscribe();
        let arrived = tokio::time::timeout(PATIENCE, latest.wait_for(|latest| *latest >= generation)).await;
        arrived.with_context(|| format!("generation {generation} has not arrived in {PATIENCE:?}"))??;
        Ok(())
    }
}

/// The one generation that an answer is of, in all its values and labels, in the form that this generation's program gives it.
fn generation_of(answer: &Answer) -> Result<u64> {
    ensure!(answer.status.is_success(), "{}: {}", answer.status, answer.text());
    generation_in(&answer.json()?)
}

fn generation_in(list: &Value) -> Result<u64> {
    let items = list["items"].as_array().filter(|items| !items.is_empty()).with_context(|| format!("no items: {list}"))?;
    let generations = items.iter().map(|item| item["value"].as_str().and_then(|value| value.parse::<u64>().ok()));
    let generations: Option<Vec<u64>> = generations.collect();
    let generations = generations.with_context(|| format!("values that are no generations: {list}"))?;
    let [generation, others @ ..] = generations.as_slice() else { bail!("no items: {list}") };
    let label = json!(generation.to_string());
    let is_whole = match Program::of(*generation) {
        Program::Static => items.len() == 3 && items.iter().all(|item| item["metricLabels"]["generation"] == label),
        Program::Probe => items.len() == 1 && items.iter().all(|item| item["metricLabels"]["metric"] == NAME),
    };
    ensure!(is_whole && others.iter().all(|other| other == generation), "mixed of several generations: {list}");
    Ok(*generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[(u64, Value)]) -> Value {
        let item = |(value, labels): &(u64, Value)| json!({ "value": value.to_string(), "metricLabels": labels });
        json!({ "items": items.iter().map(item).collect::<Vec<_>>() })
    }

    #[test]
    fn an_answer_is_of_one_generation_or_wrong() {
        let label = |generation: u64| json!({ "generation": generation.to_string() });
        assert_eq!(generation_in(&list(&[(7, label(7)), (7, label(7)), (7, label(7))])).unwrap(), 7);
        assert_eq!(generation_in(&list(&[(5, json!({ "metric": "storm" }))])).unwrap(), 5);
        for wrong in [
            list(&[]),
            list(&[(7, label(7)), (7, label(7))]),
            list(&[(7, label(7)), (8, label(8)), (7, label(7))]),
            list(&[(7, label(7)), (7, label(6)), (7, label(7))]),
            list(&[(7, json!({ "metric": "storm" }))]),
            list(&[(5, label(5)), (5, label(5)), (5, label(5))]),
        ] {
            generation_in(&wrong).unwrap_err();
        }
    }
}
