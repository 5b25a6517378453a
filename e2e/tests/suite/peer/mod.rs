//! The Go test adapter and ours, side by side on one control plane with equal metrics: the same questions, and answers that are
//! alike, but for the differences that [`differences`] lists with their reasons.
//!
//! Both are asked directly, as the aggregator asks: what kube-apiserver refuses, repairs or answers itself is seen too.
//! [`questions`] is what is asked, [`ask`] how, [`compare`] what is looked at, and what is left out of it because it differs from
//! one second to the next.

mod ask;
mod compare;
mod differences;
mod questions;
mod stage;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use crate::world::World;
use ask::Both;
use compare::Comparison;
use differences::{ALLOWED, Difference, PENDING};

/// Fewer questions than this prove nothing.
const LEAST: usize = 200;

/// How much of each unexplained answer is shown.
const SHOWN: usize = 6000;

/// What came of all questions.
#[derive(Default)]
struct Outcome {
    asked: usize,
    alike: usize,
    unexplained: Vec<String>,
    unexplained_questions: usize,
    /// How many questions each allowed difference was met by, by its place in the list.
    met: BTreeMap<usize, usize>,
}

/// Every question is answered alike, or differently in a way that is listed; and whatever is listed is met.
pub(crate) async fn the_go_test_adapter_answers_alike(world: &mut World) -> Result<()> {
    let peer = stage::set(world).await?;
    let both = Both::new(world, &peer).await?;
    let listed: Vec<&Difference> = ALLOWED.iter().chain(PENDING).collect();
    let mut outcome = Outcome::default();
    for question in questions::all() {
        let (theirs, ours) = both.ask(&question).await;
        outcome.count(&question.to_string(), &compare::compare(&theirs, &ours), &listed);
    }
    stage::clear(world).await?;
    world.figures.push(outcome.totals());
    for (number, difference) in listed.iter().enumerate() {
        let times = outcome.met.get(&number).copied().unwrap_or_default();
        println!("    {times:>4} x {:?} {}: {}", difference.what, difference.asked.join(" | "), difference.why);
    }
    outcome.judge(&listed)
}

impl Outcome {
    fn count(&mut self, question: &str, comparison: &Comparison, listed: &[&Difference]) {
        self.asked += 1;
        if comparison.mismatches.is_empty() {
            self.alike += 1;
            return;
        }
        let mut unexplained = Vec::new();
        let mut met = BTreeSet::new();
        for mismatch in &comparison.mismatches {
            match listed.iter().position(|difference| difference.allows(question, mismatch, comparison)) {
                Some(number) => drop(met.insert(number)),
                None => unexplained.push(mismatch.to_string()),
            }
        }
        for number in met {
            *self.met.entry(number).or_default() += 1;
        }
        if !unexplained.is_empty() {
            self.unexplained_questions += 1;
            self.unexplained.push(format!("{question}\n      {}", unexplained.join("\n      ")));
        }
    }

    fn totals(&self) -> String {
        let allowed = self.asked - self.alike - self.unexplained_questions;
        format!(
            "the Go test adapter and ours: {} requests, {} answered alike, {allowed} with allowed differences, {} otherwise",
            self.asked, self.alike, self.unexplained_questions
        )
    }

    fn judge(&self, listed: &[&Difference]) -> Result<()> {
        ensure!(self.asked >= LEAST, "only {} questions were asked", self.asked);
        let shown: Vec<&str> = self.unexplained.iter().take(SHOWN).map(String::as_str).collect();
        ensure!(self.unexplained.is_empty(), "{}\n    {}", self.totals(), shown.join("\n    "));
        let unmet = listed.iter().enumerate().filter(|(number, _)| !self.met.contains_key(number));
        let unmet: Vec<String> =
            unmet.map(|(_, difference)| format!("{:?} {:?}", difference.what, difference.asked)).collect();
        ensure!(
            unmet.is_empty(),
            "allowed differences that no longer occur; remove them from peer/differences.rs:\n    {}",
            unmet.join("\n    ")
        );
        Ok(())
    }
}
