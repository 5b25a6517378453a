//! `cargo xtask control-plane`: the Kubernetes programs of the end-to-end suite, built from their own Go modules as
//! `e2e/control-plane/go.mod` pins them, and etcd and Prometheus from Debian. They go into the user's cache, once per version.
//!
//! Never touches a running cluster, and never installs anything system-wide.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{go, shell};

const HELP: &str = "\
The control plane of the end-to-end suite.

Usage: cargo xtask control-plane COMMAND

Commands:
  build  build kube-apiserver, kube-controller-manager and kubectl, and fetch etcd and Prometheus, if they are not in the
         cache yet (5 minutes on two cores the first time, and 2 GiB of Go's build cache)
  up     build, then run one control plane until Ctrl-C, and say how to reach it";

const PROGRAMS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kubectl"];

/// What Debian has: the program, its package, and which versions will do.
const OF_DEBIAN: [(&str, &str, &str); 2] =
    [("etcd", "etcd-server", "an etcd 3.4 or 3.5"), ("prometheus", "prometheus", "a Prometheus 2 or 3")];

/// Runs the command named by the first option.
pub(crate) fn run(options: &[String]) -> Result<()> {
    match options.first().map(String::as_str) {
        Some("build") => build().map(|folder| println!("the control plane's programs are in {}", folder.display())),
        Some("up") => up(),
        Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            Ok(())
        }
        Some(unknown) => bail!("`control-plane {unknown}` is no command\n\n{HELP}"),
        None => bail!("no command given\n\n{HELP}"),
    }
}

/// Builds what is missing; gives the folder of all programs.
pub(crate) fn build() -> Result<PathBuf> {
    let version = pinned_version()?;
    let folder = cache_root()?.join("wasm-metrics-adapter/control-plane").join(&version).join("bin");
    fs::create_dir_all(&folder)?;
    let missing: Vec<&str> = PROGRAMS.into_iter().filter(|program| !folder.join(program).is_file()).collect();
    if !missing.is_empty() {
        build_kubernetes(&version, &folder, &missing)?;
    }
    for (program, package, versions) in OF_DEBIAN {
        if !folder.join(program).is_file() {
            fetch(&folder, program, package, versions)?;
        }
    }
    Ok(folder)
}

fn up() -> Result<()> {
    let folder = build()?;
    let mut command = shell::cargo();
    command.args(["run", "--quiet", "-p", "e2e", "--bin", "control-plane"]);
    shell::run(command.env("WASM_METRICS_ADAPTER_CONTROL_PLANE", folder))
}

fn build_kubernetes(version: &str, folder: &Path, programs: &[&str]) -> Result<()> {
    println!("building {} {version} by Go: 5 minutes on two cores the first time", programs.join(", "));
    // Each program appears in the cache whole or not at all: an interrupted build must not look like a finished one.
    let unfinished = tempfile::tempdir_in(folder)?;
    let stamp = format!("-X k8s.io/component-base/version.gitVersion={version}");
    let packages: Vec<String> = programs.iter().map(|program| format!("k8s.io/kubernetes/cmd/{program}")).collect();
    go::build(&module(), unfinished.path(), &stamp, &packages)?;
    for program in programs {
        fs::rename(unfinished.path().join(program), folder.join(program))?;
    }
    Ok(())
}

/// The program of this machine, or that of Debian's package, unpacked and not installed.
fn fetch(folder: &Path, program: &str, package: &str, versions: &str) -> Result<()> {
    if let Some(found) = on_path(program) {
        println!("using {}", found.display());
        // Renamed into place as well: an interrupted copy must not look like a program.
        let copy = tempfile::tempdir_in(folder)?;
        fs::copy(found, copy.path().join(program))?;
        fs::rename(copy.path().join(program), folder.join(program))?;
        return Ok(());
    }
    println!("fetching Debian's {package}");
    let unpacked = tempfile::tempdir_in(folder)?;
    let download = || shell::run(Command::new("apt-get").args(["download", package]).current_dir(unpacked.path()));
    let downloaded = download().or_else(|_| {
        // A machine that never asked for its package lists does not know the package yet.
        shell::run(Command::new("apt-get").args(["update", "--quiet"]))?;
        download()
    });
    downloaded
        .with_context(|| format!("cannot fetch Debian's package `{package}`; put {versions} on the PATH instead"))?;
    let files: Vec<PathBuf> = fs::read_dir(unpacked.path())?.flatten().map(|entry| entry.path()).collect();
    for package in files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "deb")) {
        shell::run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(unpacked.path()))?;
    }
    fs::rename(unpacked.path().join("usr/bin").join(program), folder.join(program))
        .with_context(|| format!("the package has no /usr/bin/{program}"))
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn pinned_version() -> Result<String> {
    let path = module().join("go.mod");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let pinned = text.lines().find_map(|line| line.strip_prefix("require k8s.io/kubernetes "));
    Ok(pinned.with_context(|| format!("`{}` does not require k8s.io/kubernetes", path.display()))?.trim().to_owned())
}

fn module() -> PathBuf {
    shell::root().join("e2e/control-plane")
}

fn cache_root() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()) {
        return Ok(PathBuf::from(cache));
    }
    let home = env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set; set one")?;
    Ok(PathBuf::from(home).join(".cache"))
}
