//! Whatever the order of good, bad, repeated and late versions and deletions: the newest good version serves in the end, and
//! generations only go up.

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use wasm_metrics_adapter::{
    model::Reason,
    source::{Event, RawPlugin},
};

use crate::stage::{NAMESPACE, Stage, id, in_a_part, next_version, plugin, with_code};

/// What happens to one plugin.
#[derive(Debug, Clone, Copy)]
enum Step {
    Good,
    Bad(Mistake),
    Repeated,
    /// A version before the newest one is told again.
    Late,
    Deleted,
    /// A restarted watch lists everything.
    Listed,
}

#[derive(Debug, Clone, Copy)]
enum Mistake {
    Code,
    Field,
    Settings,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Good),
        1 => Just(Step::Bad(Mistake::Code)),
        1 => Just(Step::Bad(Mistake::Field)),
        1 => Just(Step::Bad(Mistake::Settings)),
        2 => Just(Step::Repeated),
        2 => Just(Step::Late),
        1 => Just(Step::Deleted),
        1 => Just(Step::Listed),
    ]
}

/// What must come of it.
struct Expected {
    /// The values that may serve. Several where bad versions follow good ones at once, which may be skipped.
    values: Vec<Option<String>>,
    /// Every version since the last deletion.
    told: Vec<RawPlugin>,
}

impl Expected {
    fn nothing() -> Self {
        Self { values: vec![None], told: Vec::new() }
    }

    /// The event of a step, if it makes sense after those before.
    fn after(&mut self, step: Step) -> Option<Event> {
        let version = match step {
            Step::Good => {
                // It answers its own version.
                let version = next_version();
                self.values.push(Some(version.clone()));
                let good = plugin("queue", &format!("value: '{version}', metrics: depth"), "");
                RawPlugin { version, ..good }
            }
            Step::Bad(Mistake::Code) => with_code(plugin("queue", "", ""), next_version()),
            Step::Bad(Mistake::Field) => plugin("queue", "", &format!("listEvry: {}s", next_version())),
            Step::Bad(Mistake::Settings) => {
                plugin("queue", &format!("behaviour: rejects, message: no {}", next_version()), "")
            }
            Step::Repeated => return self.told.last().cloned().map(Event::Put),
            Step::Late => return self.told.iter().rev().nth(1).cloned().map(Event::Put),
            Step::Deleted => {
                *self = Self::nothing();
                return Some(Event::Remove(id("queue")));
            }
            Step::Listed => {
                let mut present = vec![id("anchor")];
                present.extend(self.told.last().map(|newest| newest.id.clone()));
                return Some(Event::Synced { namespace: Some(NAMESPACE.to_owned()), present });
            }
        };
        self.told.push(version.clone());
        Some(Event::Put(version))
    }

    /// Waits until the newest version's fate is known, and compares what serves.
    async fn meet(&mut self, stage: &Stage) {
        stage.until_stands("queue", self.told.last().map(|newest| newest.version.as_str())).await;
        let serving = match stage.ask("depth").await {
            Ok(value) => Some(value),
            Err(error) => {
                assert_eq!(error.reason, Reason::MetricNotFound);
                None
            }
        };
        let newest = self.told.last().map(|newest| newest.version.clone());
        match newest.filter(|newest| self.values.contains(&Some(newest.clone()))) {
            Some(good) => assert_eq!(serving, Some(good)),
            None => assert!(self.values.contains(&serving), "{serving:?} of {:?}", self.values),
        }
        self.values = vec![serving];
    }
}

#[tokio::test]
async fn the_newest_good_version_serves_in_the_end() {
    let mut stage = Stage::new().await;
    // It keeps the code alive, so that it is compiled once.
    stage.load(plugin("anchor", "metrics: anchor", "")).await;
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec((any_step(), any::<bool>()), 1..12);
    for _ in 0..48 {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let mut expected = Expected::nothing();
        let mut generation = 0;
        for (step, waits) in &steps {
            let Some(event) = expected.after(*step) else { continue };
            stage.tell(event).await;
            if *waits {
                expected.meet(&stage).await;
                let now = stage.generation("queue");
                assert!(expected.told.is_empty() || now >= generation, "{generation}, then {now}: {steps:?}");
                generation = now;
            }
        }
        expected.meet(&stage).await;
        stage.tell(Event::Remove(id("queue"))).await;
        Expected::nothing().meet(&stage).await;
    }
}

#[tokio::test]
async fn ten_edits_a_second_end_at_the_last_one() {
    let mut stage = Stage::new().await;
    stage.load(plugin("queue", "value: '1', metrics: depth", "")).await;
    let mut newest_seen = 1;
    for edit in 2..=50 {
        stage.tell(Event::Put(plugin("queue", &format!("value: '{edit}', metrics: depth"), ""))).await;
        let seen: u32 = stage.ask("depth").await.unwrap().parse().unwrap();
        assert!((newest_seen..=edit).contains(&seen), "{seen} after {newest_seen}");
        newest_seen = seen;
    }
    stage.until("depth", |answer| answer.as_deref() == Ok("50")).await;
    assert!(stage.loads("queue", "loaded") <= 50, "each edit is loaded once at most");
}

#[tokio::test]
async fn readiness_waits_a_minute_for_a_plugin_that_hangs_and_no_longer() {
    let mut stage = Stage::new().await;
    stage.load(plugin("quick", "value: '7', metrics: depth", "")).await;
    stage.put(with_code(plugin("broken", "", ""), "garbage")).await;
    assert_eq!(stage.report().await.reason, "Rejected");
    let _never = stage.objects.hold();
    stage.put(crate::stage::in_a_part("slow", "", "serves: { external: [slow] }")).await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    stage.synced(&[id("quick"), id("broken"), id("slow")]).await;
    while !stage.first_loads.is_open() {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let waited = began.elapsed().as_secs();
    assert!((59..=62).contains(&waited), "{waited} s");
    assert_eq!(stage.ask("slow").await.unwrap_err().reason, Reason::Loading);
}

#[tokio::test]
async fn an_api_server_that_takes_no_event_holds_up_no_plugin() {
    let stage = Stage::new().await;
    stage.is_deaf.store(true, std::sync::atomic::Ordering::Relaxed);
    stage.put(plugin("queue", "value: '7', metrics: depth", "")).await;
    stage.put(with_code(plugin("broken", "", ""), "garbage")).await;
    stage.synced(&[id("queue"), id("broken")]).await;
    stage.until("depth", |answer| answer.as_deref() == Ok("7") && stage.first_loads.is_open()).await;
    stage.put(plugin("queue", "value: '8', metrics: depth", "")).await;
    stage.until("depth", |answer| answer.as_deref() == Ok("8")).await;
}

#[tokio::test]
async fn a_start_with_forty_plugins_holds_the_bytes_of_few_and_loads_all() {
    let stage = Stage::new().await;
    let gate = stage.objects.hold();
    let held: Vec<_> = (0..4).map(|number| format!("held-{number}")).collect();
    let waiting: Vec<_> = (0..36).map(|number| format!("waiting-{number}")).collect();
    let config = |name: &str| format!("value: '3', metrics: {}", name.replace('-', "_"));
    // They take every turn, and keep it while their parts can't be read.
    for name in &held {
        stage.objects.add_part_of(name);
        stage.send(Event::Put(in_a_part(name, &config(name), ""))).await;
    }
    for name in &waiting {
        stage.send(Event::Put(plugin(name, &config(name), ""))).await;
    }
    assert_eq!(stage.objects.read_again(), 0, "nobody has had a turn");
    gate.add_permits(held.len());
    for name in held.iter().chain(&waiting) {
        stage.until(&name.replace('-', "_"), |answer| answer.as_deref() == Ok("3")).await;
    }
    assert_eq!(stage.objects.read_again(), waiting.len(), "those that had to wait kept no bytes");
}
