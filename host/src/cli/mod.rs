//! The commands. Those beside `serve` ask, print and end, with an exit code that means something; none changes a cluster.

mod cluster;
pub mod explain;
pub mod preflight;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{app, config::ServeArgs, runtime};

/// A Kubernetes metrics API server whose metrics come from WebAssembly plugins
///
/// It serves custom.metrics.k8s.io and external.metrics.k8s.io to HorizontalPodAutoscalers. A plugin is a ConfigMap with a
/// WebAssembly component of the WIT package wasm-metrics-adapter:plugin; it is loaded, replaced and withdrawn while the adapter
/// runs.
#[derive(Debug, Parser)]
#[command(name = "wasm-metrics-adapter", version, max_term_width = 110)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the metrics APIs: in a cluster from ConfigMaps, or with --plugin-dir on this machine
    Serve(Box<ServeArgs>),
    /// Tell who serves the metrics APIs, what depends on them, which rights are missing, and the way back
    Preflight(preflight::PreflightArgs),
    /// Tell why metrics, or a HorizontalPodAutoscaler's, are answered as they are: why does it say FailedGetExternalMetric
    Explain(explain::ExplainArgs),
    /// Compile a component from standard input to standard output: how the adapter runs its compiler
    #[command(hide = true)]
    Compile,
}

/// Flags that don't go together, as in sysexits.h.
const USAGE: u8 = 64;

/// Runs what the command line says.
pub fn run(command: CommandLine) -> ExitCode {
    match command.command {
        Command::Serve(args) => match args.into_config() {
            Ok(config) => done(app::run(config)),
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(USAGE)
            }
        },
        Command::Preflight(args) => preflight(&args),
        Command::Explain(args) => explain(&args),
        Command::Compile => ExitCode::from(u8::try_from(runtime::run_compiler_child()).unwrap_or(1)),
    }
}

fn preflight(args: &preflight::PreflightArgs) -> ExitCode {
    let asked = asking(preflight::run(args, &mut std::io::stdout().lock()));
    exit(asked.map(preflight::Outcome::exit_code), preflight::PreflightError::EXIT_CODE)
}

fn explain(args: &explain::ExplainArgs) -> ExitCode {
    let asked = asking(explain::run(args, &mut std::io::stdout().lock()));
    exit(asked.map(explain::Outcome::exit_code), explain::ExplainError::EXIT_CODE)
}

/// Runs a command that asks a cluster.
fn asking<Answer, Error>(command: impl Future<Output = Result<Answer, Error>>) -> anyhow::Result<Answer>
where
    anyhow::Error: From<Error>,
{
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(command)?)
}

fn exit(outcome: anyhow::Result<u8>, on_error: u8) -> ExitCode {
    ExitCode::from(outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        on_error
    }))
}

fn done(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
