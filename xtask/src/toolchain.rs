//! The Rust compiler for guests. It may be another than the one for the host, so guests have a target directory of their
//! own, which is never shared with the host's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::shell;

/// The target that guests are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// A cargo command that compiles for [`TARGET`], in the workspace of `manifest`. Sets the compiler up if it is missing.
pub(crate) fn cargo_build(root: &Path, manifest: &Path) -> Result<Command> {
    let mut cargo = shell::cargo();
    cargo.arg("build").arg("--manifest-path").arg(manifest).args(["--workspace", "--release", "--target", TARGET]);
    cargo.arg("--target-dir").arg(target_directory(root));
    cargo.env("RUSTC", rustc(root)?);
    // Flags for the host's processor would reach the guests.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    Ok(cargo)
}

/// Where cargo puts what it compiles for guests.
pub(crate) fn target_directory(root: &Path) -> PathBuf {
    root.join("target/wasm")
}

fn rustc(root: &Path) -> Result<String> {
    let script = root.join("xtask/wasm-toolchain.sh");
    shell::capture(Command::new(script).arg(cache_directory(root)).current_dir(root))
}

/// One for all clones of a user, since the toolchain is large and does not depend on the project's state.
fn cache_directory(root: &Path) -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    cache.map_or_else(|| root.join("target/wasm-toolchain"), |cache| cache.join("wasm-metrics-adapter/wasm-toolchain"))
}
