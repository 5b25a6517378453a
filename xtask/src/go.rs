//! `cargo xtask go`: the Go side of the tests (`e2e/go`), built into `target/go/NAME`. And how any Go program of the project is
//! built. The Go that go.mod asks for is fetched by an older one; Go's build cache holds what was compiled before.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// Builds the adapter that ours is compared with, the clients, and the writers of tables; gives their folder.
///
/// A program that is there and whose sources did not change is left as it is, by Go.
pub(crate) fn programs() -> Result<PathBuf> {
    println!("building the Go side of the tests: 2 minutes on two cores the first time");
    let folder = shell::target_directory().join("go");
    fs::create_dir_all(&folder)?;
    build(&module(), &folder, "", &["./...".to_owned()])?;
    Ok(folder)
}

fn module() -> PathBuf {
    shell::root().join("e2e/go")
}

/// Builds programs of a Go module into a folder, each under the last part of its package's name.
///
/// The flags are the same for all, so that what modules have in common is compiled once.
pub(crate) fn build(module: &Path, folder: &Path, linker_flags: &str, packages: &[String]) -> Result<()> {
    let began = Instant::now();
    let mut child = go(module)
        .args(["build", "-v", "-trimpath", "-ldflags"])
        .arg(format!("-s -w {linker_flags}"))
        .args([OsString::from("-o"), folder.join("").into_os_string()])
        .args(packages)
        .stderr(Stdio::piped())
        .spawn()
        .context(
            "cannot start `go`; install Go 1.21 or newer (it fetches the version that go.mod asks for by itself)",
        )?;
    if let Some(output) = child.stderr.take() {
        report_progress(BufReader::new(output).lines().map_while(Result::ok), began);
    }
    let status = child.wait()?;
    ensure!(status.success(), "`go build` in {} failed with {status}; its words are above", module.display());
    println!("built in {} s", began.elapsed().as_secs());
    Ok(())
}

/// The names of the programs below a folder of the tests' module.
pub(crate) fn programs_below(folder: &str) -> Result<Vec<String>> {
    let mut list = go(&module());
    list.args(["list", "-f", r#"{{if eq .Name "main"}}{{.ImportPath}}{{end}}"#, &format!("./{folder}/...")]);
    let paths = shell::capture(&mut list)?;
    Ok(paths.lines().filter_map(|path| path.rsplit('/').next()).map(ToOwned::to_owned).collect())
}

fn go(module: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(module)
        // An older Go fetches the toolchain that go.mod asks for, through the module proxy.
        .env("GOTOOLCHAIN", "auto")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("CGO_ENABLED", "0");
    command
}

/// `go build -v` names each package that it compiles: some 1,500. A line now and then is enough; all else is shown.
fn report_progress(lines: impl Iterator<Item = String>, began: Instant) {
    let mut packages = 0_usize;
    for line in lines {
        if line.contains(' ') {
            eprintln!("{line}");
            continue;
        }
        packages += 1;
        if packages.is_multiple_of(100) {
            println!("  {packages} packages compiled, {} s", began.elapsed().as_secs());
        }
    }
}
