//! Arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use wasm_metrics_adapter::cli::{self, CommandLine};

fn main() -> ExitCode {
    cli::run(CommandLine::parse())
}
