//! `cargo xtask soak`: builds what is missing, and runs the adapter under load, edits and outages for minutes.

use std::process::Command;

use anyhow::Result;

use crate::{control_plane, e2e, guests, shell};

const HELP: &str = "\
Two replicas with ten plugins on a real control plane, half of the plugins hostile, under steady questions, while one plugin is
edited all the time, a backend dies and comes back, replicas are replaced, kube-apiserver is killed and etcd hangs. Fails when a
request for a good plugin's metric does, or when memory, descriptors or threads of the replica that stays grow.

Usage: cargo xtask soak [--minutes N] [--reloads N] [--release]

  --minutes N  how long; 10 if nothing is said
  --reloads N  edits in that time; 1000 if nothing is said
  --release    soak a release build of the adapter";

/// Builds everything and soaks.
pub(crate) fn run(options: &[String]) -> Result<()> {
    if options.iter().any(|option| option == "--help" || option == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let (profile, options): (Vec<&String>, Vec<&String>) = options.iter().partition(|option| *option == "--release");
    let programs = control_plane::build()?;
    guests::run(&[])?;
    println!("building the adapter");
    let adapter = if profile.is_empty() { shell::program("wasm-metrics-adapter")? } else { e2e::released()? };
    let mut soak = Command::new(shell::program("soak")?);
    soak.args(options).current_dir(shell::root());
    soak.env("WASM_METRICS_ADAPTER_CONTROL_PLANE", programs);
    soak.env("WASM_METRICS_ADAPTER_BIN", adapter);
    shell::run(&mut soak)
}
