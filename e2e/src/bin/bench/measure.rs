//! One row of figures.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::load::{self, Connection, Measured, Question};

/// Before each measurement, not counted.
const WARM_UP: Duration = Duration::from_secs(1);
/// One measurement.
const PERIOD: Duration = Duration::from_secs(2);
/// Measurements of a row; the median counts.
const RUNS: usize = 5;

/// The median run, by CPU time of the first of `processes`; CPU time of each of them for one request, in microseconds.
pub(crate) async fn measure(
    connection: &Connection,
    question: &Question,
    streams: usize,
    processes: &[u32],
) -> Result<(Measured, Vec<f64>)> {
    connection.load(question, streams, WARM_UP).await?;
    let mut runs: Vec<(Measured, Vec<f64>)> = Vec::new();
    for _ in 0..RUNS {
        let before = seconds(processes)?;
        let measured = connection.load(question, streams, PERIOD).await?;
        let Measured { wrong, answers, .. } = measured;
        ensure!(wrong == 0, "{wrong} of {answers} answers to {} were wrong", question.path);
        let after = seconds(processes)?;
        let cpu = before.iter().zip(&after).map(|(before, after)| (after - before) * 1e6 / answers as f64);
        runs.push((measured, cpu.collect()));
    }
    runs.sort_by(|(_, one), (_, other)| one.first().partial_cmp(&other.first()).unwrap_or(std::cmp::Ordering::Equal));
    runs.into_iter().nth(RUNS / 2).context("no run")
}

fn seconds(processes: &[u32]) -> Result<Vec<f64>> {
    processes.iter().map(|process| load::cpu_seconds(*process)).collect()
}
