//! `cargo xtask fuzz`: builds the targets of `fuzz/` with coverage counters and lets libFuzzer run each for a while. The compiler is
//! the project's own, because the flags that it takes for this are stable ones; cargo-fuzz works as well where it is installed.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use crate::shell;

/// What there is to fuzz: the binaries of `fuzz/Cargo.toml`.
const TARGETS: [&str; 4] = ["bundle", "manifest", "policy", "request"];

/// Counters and comparisons for libFuzzer, as cargo-fuzz asks for them, without a sanitizer: there is no unsafe code of our own, and
/// a panic is enough to end a run.
const FLAGS: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What an input may take: more is a finding.
const MEMORY_MIB: u32 = 1024;
const INPUT_SECONDS: u32 = 10;

const HELP: &str = "\
Fuzzes what strangers and plugin authors write: `bundle` (a component in each packaging), `manifest` (plugin.yaml), `policy`,
`request` (path, query, Accept, quantities). A finding is an input in target/fuzz/findings, and a failure.

Usage: cargo xtask fuzz [TARGET]... [--seconds N]

  TARGET       these alone
  --seconds N  for each; 60 if nothing is said";

/// Builds and runs targets.
pub(crate) fn run(options: &[String]) -> Result<()> {
    if options.iter().any(|option| option == "--help" || option == "-h") {
        println!("{HELP}");
        return Ok(());
    }
    let Request { targets, seconds } = Request::parse(options)?;
    build(&targets)?;
    for target in targets {
        fuzz(target, seconds)?;
    }
    Ok(())
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    targets: Vec<&'static str>,
    seconds: u32,
}

impl Request {
    fn parse(options: &[String]) -> Result<Self> {
        let mut request = Self { targets: Vec::new(), seconds: 60 };
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if option == "--seconds" {
                let number = options.next().context("--seconds needs a number")?;
                request.seconds = number.parse().with_context(|| format!("--seconds {number} is no number"))?;
                // Zero means without end to libFuzzer.
                ensure!(request.seconds > 0, "--seconds must be at least 1");
                continue;
            }
            match TARGETS.iter().find(|target| *target == option) {
                Some(target) => request.targets.push(target),
                None => bail!("`{option}` is no target; there are {}", TARGETS.join(", ")),
            }
        }
        if request.targets.is_empty() {
            request.targets = TARGETS.to_vec();
        }
        Ok(request)
    }
}

/// With a target triple, so that build scripts and macros are compiled without the flags.
fn build(targets: &[&str]) -> Result<()> {
    let mut cargo = shell::cargo();
    cargo.args(["build", "--locked", "--manifest-path"]).arg(shell::root().join("fuzz/Cargo.toml"));
    cargo.args(["--target", triple(), "--target-dir"]).arg(shell::target_directory().join("fuzz"));
    targets.iter().for_each(|target| _ = cargo.args(["--bin", target]));
    cargo.env("RUSTFLAGS", FLAGS.join(" ")).env_remove("CARGO_ENCODED_RUSTFLAGS");
    shell::run(&mut cargo)
}

fn fuzz(target: &str, seconds: u32) -> Result<()> {
    let home = shell::target_directory().join("fuzz");
    // What earlier runs found interesting is where the next one begins.
    let (corpus, findings) = (home.join("corpus").join(target), home.join("findings"));
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&findings)?;
    println!("\n== fuzzing {target} for {seconds} s");
    let mut fuzzer = Command::new(home.join(triple()).join("debug").join(target));
    fuzzer.arg(format!("-max_total_time={seconds}"));
    fuzzer.args([format!("-timeout={INPUT_SECONDS}"), format!("-rss_limit_mb={MEMORY_MIB}")]);
    fuzzer.arg(format!("-artifact_prefix={}/{target}-", findings.display()));
    fuzzer.args(["-print_final_stats=1", "-verbosity=0"]);
    fuzzer.arg(corpus).arg(shell::root().join("fuzz/seeds").join(target));
    shell::run(&mut fuzzer).with_context(|| format!("{target}: see the input in {}", findings.display()))
}

const fn triple() -> &'static str {
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(options: &[&str]) -> Result<Request> {
        Request::parse(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn targets_and_seconds_are_read() {
        assert_eq!(parsed(&[]).unwrap(), Request { targets: TARGETS.to_vec(), seconds: 60 });
        assert_eq!(parsed(&["--seconds", "5", "bundle"]).unwrap(), Request { targets: vec!["bundle"], seconds: 5 });
        for wrong in [&["nothing"][..], &["--seconds"], &["--seconds", "x"], &["--seconds", "0"]] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn each_target_is_a_binary_with_seeds() {
        let root = shell::root();
        let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        for target in TARGETS {
            assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is missing in fuzz/Cargo.toml");
            assert!(
                fs::read_dir(root.join("fuzz/seeds").join(target)).unwrap().next().is_some(),
                "{target} has no seed"
            );
        }
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len(), "every binary is a target here");
    }
}
