//! `cargo xtask bench`: builds a release adapter and measures it on a real control plane.

use anyhow::Result;

use crate::{control_plane, go, guests, shell};

const HELP: &str = "\
What a release build costs on a real control plane.

Usage: cargo xtask bench [SCENARIO]...

  plugins  time to ready, memory and CPU per request with ten plugins
  pods     pods/* of 1, 50, 500 and 5,000 pods, and the same of the Go test adapter

Client and server share the processors: compare CPU per request, not requests per second.";

/// Builds everything in the release profile and runs the bench.
pub(crate) fn run(options: &[String]) -> Result<()> {
    if options.iter().any(|option| option == "--help" || option == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let programs = control_plane::build()?;
    go::programs()?;
    guests::run(&[])?;
    println!("building the adapter in the release profile");
    shell::run(shell::cargo().args(["build", "--release", "-p", "wasm-metrics-adapter"]))?;
    let mut bench = shell::cargo();
    bench.args(["run", "--release", "-q", "-p", "e2e", "--bin", "bench", "--"]).args(options);
    bench.env("WASM_METRICS_ADAPTER_CONTROL_PLANE", programs);
    bench.env("WASM_METRICS_ADAPTER_BIN", shell::target_directory().join("release/wasm-metrics-adapter"));
    shell::run(&mut bench)
}
