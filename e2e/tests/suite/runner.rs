//! Runs cases one after the other, shows each as it ends, and closes with the totals and the measured figures.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::future::LocalBoxFuture;
use tokio::signal::unix::{SignalKind, signal};

use crate::world::World;

/// No case may take longer: a hang is a failure with a name.
const LIMIT: Duration = Duration::from_secs(300);

/// So many characters of an error are repeated at the end.
const SHORT: usize = 400;

/// One sentence that must be true.
pub(crate) struct Case {
    /// `module::function`.
    pub(crate) name: &'static str,
    /// Do all later cases need it. A step runs whatever the filter, and its failure ends the run.
    pub(crate) step: bool,
    pub(crate) run: for<'a> fn(&'a mut World) -> LocalBoxFuture<'a, Result<()>>,
}

/// What was asked for on the command line.
#[derive(Debug, Default)]
pub(crate) struct Options {
    filters: Vec<String>,
    list: bool,
    keep: bool,
}

impl Options {
    /// Flags of cargo's own test runner that make no sense here are passed over.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Self {
        let mut options = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--list" => options.list = true,
                "--keep" => options.keep = true,
                flag if flag.starts_with("--") => {}
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options
    }

    fn wants(&self, case: &Case) -> bool {
        case.step || self.filters.is_empty() || self.filters.iter().any(|filter| case.name.contains(filter.as_str()))
    }
}

/// Runs the cases; SIGTERM and Ctrl-C end the run in order, so that its folder is removed.
pub(crate) async fn run(options: &Options, cases: Vec<Case>) -> ExitCode {
    if options.list {
        cases.iter().for_each(|case| println!("{}: test", case.name));
        return ExitCode::SUCCESS;
    }
    let outcome = tokio::select! {
        outcome = run_all(options, cases) => outcome,
        interrupted = interruption() => interrupted,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

async fn interruption() -> Result<bool> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => {},
        pressed = tokio::signal::ctrl_c() => pressed?,
    }
    anyhow::bail!("interrupted")
}

async fn run_all(options: &Options, mut cases: Vec<Case>) -> Result<bool> {
    cases.retain(|case| options.wants(case));
    println!("starting etcd, kube-apiserver and kube-controller-manager");
    let began = Instant::now();
    let mut world = World::start().await.context("the control plane did not start")?;
    println!("the control plane is up after {:.1} s; running {} cases", began.elapsed().as_secs_f32(), cases.len());
    let (mut passed, mut failures) = (0, Vec::new());
    for (number, case) in cases.iter().enumerate() {
        match run_one(case, &mut world).await {
            Ok(()) => passed += 1,
            Err(error) => {
                failures.push(format!("{}: {}", case.name, shortened(&error)));
                if case.step {
                    let left = cases.iter().skip(number + 1);
                    failures.extend(left.map(|later| format!("{}: not run, it needs {}", later.name, case.name)));
                    break;
                }
            }
        }
    }
    finish(options, &mut world, &failures);
    println!("\n{passed} passed, {} failed", failures.len());
    // Last, for whoever sees nothing but the end of a long log.
    failures.iter().for_each(|failure| println!("FAILED {failure}"));
    Ok(failures.is_empty())
}

async fn run_one(case: &Case, world: &mut World) -> Result<()> {
    let began = Instant::now();
    let outcome = tokio::time::timeout(LIMIT, (case.run)(world)).await;
    let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("it took longer than {LIMIT:?}")));
    let took = began.elapsed().as_secs_f32();
    match &outcome {
        Ok(()) => println!("case {} ... ok ({took:.1} s)", case.name),
        Err(error) => println!("case {} ... FAILED ({took:.1} s)\n    {}", case.name, indented(error)),
    }
    outcome
}

fn finish(options: &Options, world: &mut World, failures: &[String]) {
    if !failures.is_empty() {
        println!("\nthe ends of the logs:\n{}", world.control_plane.logs());
    }
    if options.keep {
        println!("\nthe run's folder stays: {}", world.control_plane.keep_folder().display());
    }
    if !world.figures.is_empty() {
        println!("\nmeasured:");
        world.figures.iter().for_each(|figure| println!("  {figure}"));
    }
}

/// An error as part of a list: on one line, and no longer than a reader of a list wants.
fn shortened(error: &anyhow::Error) -> String {
    let text = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn indented(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', "\n    ")
}
