//! `cargo xtask guests`: every plugin and every test guest as target/guests/NAME.wasm.
//!
//! A guest is a folder below one of the guest workspaces: folder `queue` holds package `queue-plugin` (or `queue-fixture`)
//! and becomes queue.wasm. Cargo decides what to build; a file whose bytes stay the same is not touched, so nothing that
//! watches it wakes up.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{shell, toolchain};

/// The guest workspaces, with the last word of their packages' names.
const WORKSPACES: [(&str, &str); 2] = [("plugins", "plugin"), ("host/tests/fixtures", "fixture")];

/// Builds all guests, or with `--test` runs the plugins' own tests.
pub(crate) fn run(options: &[String]) -> Result<()> {
    let root = shell::root();
    match options {
        [] => build_all(&root),
        [option] if option == "--test" => shell::run(&mut tests()),
        [option, ..] => bail!("`{option}` is no option of `cargo xtask guests`; the only one is --test"),
    }
}

fn build_all(root: &Path) -> Result<()> {
    let started = Instant::now();
    fs::create_dir_all(root.join("target/guests")).context("cannot make target/guests")?;
    for (workspace, kind) in WORKSPACES {
        build(root, workspace, kind)?;
    }
    println!("guests are ready in target/guests ({:.1} s)", started.elapsed().as_secs_f32());
    Ok(())
}

/// The plugins' own tests, natively: they need no component and no adapter. In the target directory of everything else, whose
/// dependencies they share.
pub(crate) fn tests() -> Command {
    let mut command = shell::cargo();
    command
        .args(["test", "--workspace", "--no-fail-fast", "--manifest-path"])
        .arg(shell::root().join("plugins/Cargo.toml"));
    command.arg("--target-dir").arg(shell::target_directory());
    command
}

fn build(root: &Path, workspace: &str, kind: &str) -> Result<()> {
    println!("building {workspace} for {}", toolchain::TARGET);
    shell::run(&mut toolchain::cargo_build(root, &root.join(workspace).join("Cargo.toml"))?)?;
    let mut folders: Vec<_> = fs::read_dir(root.join(workspace))?.collect::<Result<_, _>>()?;
    folders.sort_by_key(fs::DirEntry::file_name);
    for folder in folders.iter().filter(|folder| folder.path().join("Cargo.toml").is_file()) {
        let name = folder.file_name().to_string_lossy().into_owned();
        publish(root, &name, kind)?;
    }
    Ok(())
}

fn publish(root: &Path, name: &str, kind: &str) -> Result<()> {
    let artifact = artifact(name, kind);
    let built = toolchain::target_directory(root).join(toolchain::TARGET).join("release").join(&artifact);
    let bytes = fs::read(&built)
        .with_context(|| format!("cargo built no {artifact}; name the package in folder `{name}` `{name}-{kind}`"))?;
    let published = root.join(format!("target/guests/{name}.wasm"));
    let is_same = fs::read(&published).is_ok_and(|old| old == bytes);
    if !is_same {
        // Renamed into place: a reader sees the old component or the new one, never a part.
        let partial = published.with_extension("partial");
        fs::write(&partial, &bytes)?;
        fs::rename(&partial, &published)?;
    }
    println!("  {name:<12} {:>7.1} KiB{}", bytes.len() as f64 / 1024.0, if is_same { "" } else { "  (new)" });
    Ok(())
}

/// Cargo's name for the component of package `NAME-KIND`.
fn artifact(name: &str, kind: &str) -> String {
    format!("{}_{kind}.wasm", name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_package_is_named_after_its_folder() {
        assert_eq!(artifact("http-json", "plugin"), "http_json_plugin.wasm");
        let mut guests = 0;
        for (workspace, kind) in WORKSPACES {
            for folder in fs::read_dir(shell::root().join(workspace)).unwrap() {
                let folder = folder.unwrap();
                let Ok(manifest) = fs::read_to_string(folder.path().join("Cargo.toml")) else { continue };
                let package = format!("name = \"{}-{kind}\"", folder.file_name().to_string_lossy());
                assert!(manifest.contains(&package), "{} lacks {package}", folder.path().display());
                guests += 1;
            }
        }
        assert!(guests > 0);
    }

    #[test]
    fn an_unknown_option_is_refused_before_anything_is_built() {
        let error = run(&["--release".to_owned()]).unwrap_err();
        assert!(error.to_string().contains("`--release` is no option"), "{error}");
    }
}
