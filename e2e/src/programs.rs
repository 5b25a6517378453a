//! Where the programs under test and their helpers are: one place, each overridable by an environment variable that
//! `cargo xtask e2e` sets. Never builds anything; a missing program is an error that names the command to run.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

/// The Kubernetes version that `e2e/control-plane/go.mod` pins, as the name of a cache folder.
///
/// # Errors
/// Fails when the pin cannot be found in go.mod.
pub fn kubernetes_version() -> Result<&'static str> {
    let pinned = include_str!("../control-plane/go.mod")
        .lines()
        .find_map(|line| line.trim().strip_prefix("require k8s.io/kubernetes "));
    match pinned {
        Some(version) => Ok(version.trim()),
        None => bail!("e2e/control-plane/go.mod has no line `require k8s.io/kubernetes VERSION`; restore it"),
    }
}

/// One program of the control plane: `etcd`, `kube-apiserver`, `kube-controller-manager` or `kubectl`; or `prometheus`, which
/// is fetched with them.
///
/// # Errors
/// Fails when it was not built.
pub fn control_plane(program: &str) -> Result<PathBuf> {
    let folder = match env::var_os("WASM_METRICS_ADAPTER_CONTROL_PLANE") {
        Some(folder) => PathBuf::from(folder),
        None => cache_root()?.join("wasm-metrics-adapter/control-plane").join(kubernetes_version()?).join("bin"),
    };
    existing(folder.join(program), "cargo xtask control-plane build")
}

/// The adapter's own program.
///
/// # Errors
/// Fails when it was not built.
pub fn adapter() -> Result<PathBuf> {
    let path = match env::var_os("WASM_METRICS_ADAPTER_BIN") {
        Some(path) => PathBuf::from(path),
        None => target().join("debug/wasm-metrics-adapter"),
    };
    existing(path, "cargo build -p wasm-metrics-adapter")
}

/// A plugin component built by `cargo xtask guests`.
///
/// # Errors
/// Fails when it was not built.
pub fn guest(name: &str) -> Result<PathBuf> {
    existing(target().join("guests").join(format!("{name}.wasm")), "cargo xtask guests")
}

/// A program of `e2e/go`, built by `cargo xtask go`.
///
/// # Errors
/// Fails when it was not built.
pub fn go(name: &str) -> Result<PathBuf> {
    existing(target().join("go").join(name), "cargo xtask go")
}

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

fn cache_root() -> Result<PathBuf> {
    if let Some(cache) = env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()) {
        return Ok(PathBuf::from(cache));
    }
    match env::var_os("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".cache")),
        None => {
            bail!("neither XDG_CACHE_HOME nor HOME is set; set one so that the control plane's programs can be found")
        }
    }
}

fn existing(path: PathBuf, remedy: &str) -> Result<PathBuf> {
    if !path.is_file() {
        bail!("`{}` does not exist; run `{remedy}`", path.display());
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_a_release() {
        let version = kubernetes_version().unwrap();
        assert!(version.starts_with("v1.") && version.split('.').count() == 3, "{version}");
    }

    #[test]
    fn a_missing_program_is_refused_with_the_command_that_makes_it() {
        let error = existing(PathBuf::from("/nonexistent/kubectl"), "cargo xtask control-plane build").unwrap_err();
        assert!(error.to_string().contains("cargo xtask control-plane build"), "{error}");
    }
}
