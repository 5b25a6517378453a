//! `cargo xtask test`: sets up what the tests need and runs all of them but the end-to-end suite, which needs a control plane.
//! A run that fails does not keep the others from running; the last line is the sum.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{guests, shell, wit};

const HELP: &str = "\
All tests but the end-to-end suite: of the adapter, the SDK with its documentation, the plugins (natively), the WIT package
and these commands. Builds what is missing first.

Usage: cargo xtask test";

/// The package whose integration test is the end-to-end suite.
const END_TO_END: &str = "e2e";

/// Runs everything and prints the sum.
pub(crate) fn run(options: &[String]) -> Result<()> {
    match options {
        [] => {}
        [option] if option == "--help" || option == "-h" => {
            println!("{HELP}");
            return Ok(());
        }
        _ => bail!("`cargo xtask test` takes no options; for single tests, use `cargo test --workspace NAME`"),
    }
    let (root, began) = (shell::root(), Instant::now());
    // Tests load the guests.
    guests::run(&[])?;
    let mut sum = Counts::default();
    sum.add("the workspace", tests(&mut workspace(&root)?));
    // Cargo runs documentation tests apart from all others as soon as targets are named.
    sum.add(
        "documentation",
        tests(shell::cargo().args(["test", "--workspace", "--doc", "--no-fail-fast"]).current_dir(&root)),
    );
    sum.add("the plugins, natively", tests(&mut guests::tests()));
    println!("\n== the WIT package");
    sum.add("the WIT package", wit::run(&[]).map(|()| Counts { passed: 1, ..Counts::default() }));
    println!("\nall tests but the end-to-end suite, in {} s:", began.elapsed().as_secs());
    println!("{} passed, {} failed", sum.passed, sum.failed);
    // Last, for whoever sees nothing but the end of a long log.
    sum.failures.iter().for_each(|failure| println!("FAILED {failure}"));
    ensure!(sum.failed == 0, "{} tests failed", sum.failed);
    ensure!(sum.passed > 0, "no test ran");
    Ok(())
}

/// Libraries, programs and integration tests. All packages are named, and with them the end-to-end suite's, because what cargo
/// builds depends on it: with one selection everywhere, dependencies are built once.
fn workspace(root: &Path) -> Result<Command> {
    let mut command = shell::cargo();
    command.args(["test", "--workspace", "--no-fail-fast", "--lib", "--bins"]).current_dir(root);
    for test in integration_tests(root)? {
        command.args(["--test", &test]);
    }
    Ok(command)
}

/// All integration tests of the workspace, by name, but the end-to-end suite.
fn integration_tests(root: &Path) -> Result<Vec<String>> {
    let mut command = shell::cargo();
    command.args(["metadata", "--no-deps", "--format-version=1"]).current_dir(root);
    let metadata: Value = serde_json::from_str(&shell::capture(&mut command)?)?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("`cargo metadata` names no packages")?;
    let targets = packages
        .iter()
        .filter(|package| package.get("name").is_none_or(|name| name != END_TO_END))
        .filter_map(|package| package.get("targets")?.as_array())
        .flatten();
    let tests = targets.filter(|target| target.pointer("/kind/0").is_some_and(|kind| kind == "test"));
    Ok(tests.filter_map(|target| Some(target.get("name")?.as_str()?.to_owned())).collect())
}

/// Tests that passed and failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    /// Which failed, as far as they have names.
    failures: Vec<String>,
}

impl Counts {
    /// A run without counts, because it could not be built or ended early, is one failure.
    fn add(&mut self, run: &str, counts: Result<Self>) {
        match counts {
            Ok(counts) => {
                self.passed += counts.passed;
                self.failed += counts.failed;
                self.failures.extend(counts.failures);
            }
            Err(error) => {
                println!("{run}: {error:#}");
                self.failed += 1;
                self.failures.push(format!("{run}: {error:#}"));
            }
        }
    }

    /// Reads one line of a Rust test program: the one in which it sums itself up, or one that names a failed test.
    fn read(&mut self, line: &str) {
        if let Some((passed, failed)) = Self::sums(line) {
            self.passed += passed;
            self.failed += failed;
        }
        let failed = line.strip_prefix("test ").and_then(|test| test.strip_suffix(" ... FAILED"));
        self.failures.extend(failed.map(str::to_owned));
    }

    /// What passed and failed by a line with the sums of a program; none for any other line.
    fn sums(line: &str) -> Option<(usize, usize)> {
        let sums = line.strip_prefix("test result: ")?;
        let of = |word: &str| {
            let part = sums.split([';', '.']).find_map(|part| part.trim().strip_suffix(word))?;
            part.trim().parse().ok()
        };
        Some((of("passed")?, of("failed")?))
    }
}

/// Runs a `cargo test`, lets its output through, and counts.
fn tests(command: &mut Command) -> Result<Counts> {
    println!("\n== cargo {}", command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let mut counts = Counts::default();
    let output = child.stdout.take().context("cargo's output is not to be had")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        counts.read(&line);
    }
    let status = child.wait()?;
    if !status.success() && counts.failed == 0 {
        // The tests that passed before don't count then: the sum must not look better than it is.
        bail!("cargo failed with {status} though no test did; its words are above");
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_of_test_programs_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s";
        assert_eq!(Counts::sums(line), Some((12, 3)));
        let line = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Counts::sums(line), Some((1, 0)));
        for other in ["", "test a ... ok", "running 3 tests", "a test result: ok. 1 passed; 0 failed"] {
            assert_eq!(Counts::sums(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_failed_program_is_a_failure_whatever_it_says() {
        let shell = |script: &str| super::tests(Command::new("sh").args(["-c", script]));
        let words = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'";
        assert_eq!(shell(words).unwrap(), Counts { passed: 2, ..Counts::default() });
        let mut sum = Counts::default();
        sum.add("a", shell(&format!("{words}; {words}")));
        sum.add("b", shell(&format!("{words}; exit 101")));
        sum.add("c", shell("echo 'test d ... FAILED\ntest result: FAILED. 5 passed; 1 failed; 0 ignored'; exit 101"));
        assert_eq!((sum.passed, sum.failed), (9, 2));
        assert!(sum.failures[0].starts_with("b: cargo failed with"), "{sum:?}");
        assert_eq!(sum.failures[1..], ["d"], "{sum:?}");
    }

    #[test]
    fn the_end_to_end_suite_is_left_out() {
        let tests = integration_tests(&shell::root()).unwrap();
        assert!(tests.iter().any(|name| name == "auth"), "{tests:?}");
        assert!(!tests.iter().any(|name| name == "suite"), "{tests:?}");
    }
}
