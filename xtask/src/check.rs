//! `cargo xtask check`: what CI asks of the sources beside their tests. Every check runs, whatever the others say, and none
//! changes a file.

mod manifests;
mod policy;
mod texts;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::shell;

type Check = fn(&Path) -> Result<()>;

const CHECKS: [(&str, Check); 6] = [
    ("texts", texts::check),
    ("manifests", manifests::check),
    ("formatting", formatting),
    ("dependencies", policy::check),
    ("clippy", clippy),
    ("documentation", documentation),
];

/// Runs the checks of these names, or all of them.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let root = shell::root();
    if let Some(unknown) = names.iter().find(|name| !CHECKS.iter().any(|(known, _)| known == name)) {
        let known: Vec<_> = CHECKS.iter().map(|(name, _)| *name).collect();
        bail!("`{unknown}` is no check; there are {}", known.join(", "));
    }
    let mut failed = 0;
    let chosen: Vec<_> =
        CHECKS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|it| it == name)).collect();
    for (name, check) in &chosen {
        println!("check {name} ...");
        let start = Instant::now();
        let outcome = check(&root);
        let seconds = start.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => println!("check {name}: ok ({seconds:.1} s)"),
            Err(error) => {
                failed += 1;
                println!("check {name}: FAILED ({seconds:.1} s)\n{error:#}");
            }
        }
    }
    println!("checks: {} passed, {failed} failed", chosen.len() - failed);
    if failed > 0 {
        bail!("{failed} of {} checks failed", chosen.len());
    }
    Ok(())
}

/// `cargo xtask deny`: cargo-deny where it is installed, else what of its rules can be checked without it.
pub(crate) fn deny(options: &[String]) -> Result<()> {
    let root = shell::root();
    let installed = shell::cargo().args(["deny", "--version"]).output().is_ok_and(|output| output.status.success());
    if installed {
        return shell::run(shell::cargo().args(["deny", "--locked", "check"]).args(options).current_dir(&root));
    }
    println!("cargo-deny is not installed: checking licences, bans and sources without it");
    policy::check(&root)
}

fn formatting(root: &Path) -> Result<()> {
    each_workspace(root, |manifest| {
        let mut command = shell::cargo();
        command.args(["fmt", "--all", "--check", "--manifest-path"]).arg(manifest);
        // Names of files alone: the remedy is a command, not reading.
        shell::run(command.args(["--", "--files-with-diff"])).context("run `cargo fmt --all` in that workspace")
    })
}

fn clippy(root: &Path) -> Result<()> {
    each_compiled(root, |manifest| {
        let mut command = build(root, "clippy", manifest);
        shell::run(command.args(["--all-targets", "--", "-D", "warnings"]))
    })
}

fn documentation(root: &Path) -> Result<()> {
    each_compiled(root, |manifest| {
        let mut command = build(root, "doc", manifest);
        // Broken links are among the warnings.
        shell::run(command.arg("--no-deps").env("RUSTDOCFLAGS", "-D warnings"))
    })
}

/// One target directory for the guests' workspaces and the host's: they are checked on this machine's target, and share the SDK.
fn build(root: &Path, subcommand: &str, manifest: &Path) -> Command {
    let mut command = shell::cargo();
    command.args([subcommand, "--workspace", "--locked", "--quiet", "--manifest-path"]).arg(manifest);
    command.arg("--target-dir").arg(root.join("target"));
    command
}

fn each_workspace(root: &Path, mut check: impl FnMut(&Path) -> Result<()>) -> Result<()> {
    for manifest in workspaces(root)? {
        check(&manifest)?;
    }
    Ok(())
}

/// All workspaces but that of the fuzz targets, for which all that the adapter depends on would be compiled once more, with other
/// features: `cargo xtask fuzz` compiles it.
fn each_compiled(root: &Path, mut check: impl FnMut(&Path) -> Result<()>) -> Result<()> {
    each_workspace(root, |manifest| if manifest.ends_with("fuzz/Cargo.toml") { Ok(()) } else { check(manifest) })
}

/// The manifests of all workspaces of the project: the host's, and those of guests, which are built for another target.
fn workspaces(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in tracked(root, &["Cargo.toml", "**/Cargo.toml"])? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if text.lines().any(|line| line.trim() == "[workspace]") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Files that git knows, and that are there.
fn tracked(root: &Path, patterns: &[&str]) -> Result<Vec<PathBuf>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]).current_dir(root);
    command.args(patterns.iter().map(|pattern| format!(":(glob){pattern}")));
    let list = shell::capture(&mut command)?;
    Ok(list
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(|path| root.join(path))
        .filter(|path| path.is_file())
        .collect())
}
