//! One plugin, edited all the time: each version answers with its own number, and every tenth can't be loaded.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    plugins::Plugin,
    requests::Answer,
    traffic::{Judge, Question},
};
use kube::Client;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::task::JoinHandle;

use crate::plugins::EXTERNAL;

const METRIC: &str = "soak_storm";

/// Edits under way.
pub(crate) struct Storm {
    stopped: Arc<AtomicBool>,
    editing: JoinHandle<Result<Edits>>,
}

/// What was edited.
#[derive(Default)]
pub(crate) struct Edits {
    /// Versions that are served.
    pub(crate) good: u64,
    /// Versions that can't be loaded.
    pub(crate) broken: u64,
}

impl Storm {
    /// The first version.
    pub(crate) fn plugin(version: u64) -> Result<Plugin> {
        Plugin::of_static("soak-storm", &[&format!("{METRIC} {version}")], &[])
    }

    /// Edits with a pause between, until [`Storm::end`]. While kube-apiserver is away, nobody can edit.
    pub(crate) fn begin(admin: &Client, pause: Duration) -> Self {
        let (stopped, admin) = (Arc::<AtomicBool>::default(), admin.clone());
        let stop = stopped.clone();
        let editing = tokio::spawn(async move {
            let mut edits = Edits::default();
            let mut ticks = tokio::time::interval(pause);
            for version in 1.. {
                ticks.tick().await;
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let mut plugin = Self::plugin(version)?;
                let broken = version % 10 == 0;
                if broken {
                    plugin.yaml = plugin.yaml.replace("\"serves\"", "\"servs\"");
                }
                match plugin.apply(&admin).await {
                    Ok(()) if broken => edits.broken += 1,
                    Ok(()) => edits.good += 1,
                    Err(_) => {}
                }
            }
            Ok(edits)
        });
        Self { stopped, editing }
    }

    pub(crate) async fn end(self) -> Result<Edits> {
        self.stopped.store(true, Ordering::SeqCst);
        let edits = self.editing.await??;
        ensure!(edits.good > 0, "no version was applied");
        Ok(edits)
    }

    /// Its metric, whatever version answers.
    pub(crate) fn question() -> Question {
        Question::expecting(&Self::path(), METRIC)
    }

    /// Its metric of one replica, which must never answer with an older version than before.
    pub(crate) fn never_older() -> Question {
        let newest = Arc::<AtomicU64>::default();
        let judge = move || -> Judge {
            let newest = newest.clone();
            Box::new(move |answer| {
                let version = version(answer)?;
                let before = newest.fetch_max(version, Ordering::SeqCst);
                ensure!(version >= before, "version {version} came after version {before}");
                Ok(())
            })
        };
        Question { path: Self::path(), judge: Arc::new(judge) }
    }

    fn path() -> String {
        format!("{EXTERNAL}/namespaces/default/{METRIC}")
    }
}

fn version(answer: &Answer) -> Result<u64> {
    ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    let list = answer.json()?;
    let value = list.pointer("/items/0/value").and_then(serde_json::Value::as_str).context("it has no value")?;
    // A quantity: 2000 is written as 2k.
    match value.strip_suffix('k') {
        Some(thousands) => Ok(thousands.parse::<u64>()? * 1000),
        None => Ok(value.parse()?),
    }
}
