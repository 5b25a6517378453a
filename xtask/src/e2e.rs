//! `cargo xtask e2e`: builds what is missing, then runs the end-to-end suite on a real control plane.

use std::path::PathBuf;

use anyhow::Result;

use crate::{control_plane, go, golden, guests, shell};

const ADAPTER: &str = "wasm-metrics-adapter";

const HELP: &str = "\
The end-to-end suite: real etcd, kube-apiserver and kube-controller-manager, two replicas of the adapter, kubectl, the clients of
k8s.io/metrics, and the Go test adapter beside ours. Before it, the tables of host/tests/golden are compared with Go's packages.

Usage: cargo xtask e2e [OPTIONS] [NAME]...

  NAME       run only the cases whose name contains one of these (the adapter is installed all the same)
  --list     list the cases
  --keep     leave the run's folder (keys, kubeconfigs, logs) behind
  --release  test a release build of the adapter, so that the measured figures mean something";

/// Builds the control plane, the Go side, the guests and the adapter, and runs the suite. The tables of Go's packages are compared
/// on the way, because Go is at hand here.
pub(crate) fn run(options: &[String]) -> Result<()> {
    if options.iter().any(|option| option == "--help" || option == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let (profile, options): (Vec<&String>, Vec<&String>) = options.iter().partition(|option| *option == "--release");
    let programs = control_plane::build()?;
    golden::check(&go::programs()?)?;
    println!("building the plugins");
    guests::run(&[])?;
    println!("building the adapter");
    let adapter = if profile.is_empty() { shell::program(ADAPTER)? } else { released()? };
    let mut suite = shell::cargo();
    suite.args(["test", "--workspace", "--test", "suite", "--"]).args(options).current_dir(shell::root());
    suite.env("WASM_METRICS_ADAPTER_CONTROL_PLANE", programs);
    suite.env("WASM_METRICS_ADAPTER_BIN", adapter);
    shell::run(&mut suite)
}

/// The adapter as it is released.
pub(crate) fn released() -> Result<PathBuf> {
    shell::run(shell::cargo().args(["build", "--release", "--package", ADAPTER]).current_dir(shell::root()))?;
    Ok(shell::target_directory().join("release").join(ADAPTER))
}
