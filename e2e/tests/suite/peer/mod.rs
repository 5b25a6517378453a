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

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::world::World;
use ask::Both;
use compare::Comparison;
use differences::ALLOWED;

/// Fewer questions than this prove nothing.
const LEAST: usize = 200;

/// How many unexplained answers are shown.
const SHOWN: usize = 60;

/// What came of all questions.
#[derive(Default)]
struct Outcome {
    asked: usize,
    alike: usize,
    unexplained: Vec<String>,
    /// The allowed differences that were met, by their places in the list.
    met: BTreeSet<usize>,
}

/// Every question is answered alike, or differently in a way that is listed; and whatever is listed is met.
pub(crate) async fn the_go_test_adapter_answers_alike(world: &mut World) -> Result<()> {
    let peer = stage::set(world).await?;
    let both = Both::new(world, &peer).await?;
    let mut outcome = Outcome::default();
    for question in questions::all() {
        let (theirs, ours) = both.ask(&question).await;
        outcome.count(&question.to_string(), &compare::compare(&theirs, &ours));
    }
    stage::clear(world).await?;
    world.figures.push(outcome.totals());
    outcome.judge()
}

impl Outcome {
    fn count(&mut self, question: &str, comparison: &Comparison) {
        self.asked += 1;
        if comparison.mismatches.is_empty() {
            self.alike += 1;
            return;
        }
        let mut unexplained = Vec::new();
        for mismatch in &comparison.mismatches {
            match ALLOWED.iter().position(|difference| difference.allows(question, mismatch, comparison)) {
                Some(number) => drop(self.met.insert(number)),
                None => unexplained.push(mismatch.to_string()),
            }
        }
        if !unexplained.is_empty() {
            self.unexplained.push(format!("{question}\n      {}", unexplained.join("\n      ")));
        }
    }

    fn totals(&self) -> String {
        let (asked, alike, otherwise) = (self.asked, self.alike, self.unexplained.len());
        let allowed = asked - alike - otherwise;
        format!(
            "the Go test adapter and ours: {asked} requests, {alike} answered alike, {allowed} with the {} allowed differences, \
             {otherwise} otherwise",
            ALLOWED.len()
        )
    }

    fn judge(&self) -> Result<()> {
        ensure!(self.asked >= LEAST, "only {} questions were asked", self.asked);
        let shown: Vec<&str> = self.unexplained.iter().take(SHOWN).map(String::as_str).collect();
        ensure!(self.unexplained.is_empty(), "{}\n    {}", self.totals(), shown.join("\n    "));
        let unmet = ALLOWED.iter().enumerate().filter(|(number, _)| !self.met.contains(number));
        let unmet: Vec<String> =
            unmet.map(|(_, difference)| format!("{:?}: {}", difference.asked, difference.why)).collect();
        ensure!(
            unmet.is_empty(),
            "allowed differences that no longer occur; remove them from peer/differences.rs:\n    {}",
            unmet.join("\n    ")
        );
        Ok(())
    }
}
