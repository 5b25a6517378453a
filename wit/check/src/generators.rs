//! Bindings of every world for C and Go, from the generators' own crates, and what the languages' own compilers say of
//! them. Rust's are compiled with this crate.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};

use crate::rust;

/// Generates and compiles the bindings of each world in `track`, a folder of WIT files.
pub(crate) fn check(track: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(track).with_context(|| format!("cannot read {}", track.display()))?;
    let has_go = Command::new("go").arg("version").output().is_ok_and(|output| output.status.success());
    let worlds: Vec<(String, WorldId)> =
        resolve.packages[package].worlds.iter().map(|(name, id)| (name.clone(), *id)).collect();
    for (name, world) in worlds {
        if !rust::WORLDS.contains(&name.as_str()) {
            bail!("world `{name}` has no Rust bindings in wit/check/src/rust.rs; add it to the list there");
        }
        let scratch = tempfile::tempdir()?;
        c(&resolve, world, &scratch.path().join("c")).with_context(|| format!("world `{name}`, C"))?;
        if has_go {
            go(&resolve, world, &scratch.path().join("go")).with_context(|| format!("world `{name}`, Go"))?;
        }
        println!(
            "world {name}: Rust, C{}",
            if has_go { " and Go" } else { "; Go is not installed, so its bindings are unchecked" }
        );
    }
    Ok(())
}

fn c(resolve: &Resolve, world: WorldId, directory: &Path) -> Result<()> {
    let files = generate(wit_bindgen_c::Opts::default().build(), resolve, world, directory)?;
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    for source in files.iter().filter(|file| file.ends_with(".c")) {
        // Warnings are of the wasm attributes, which this machine's own target does not know.
        must_succeed(
            Command::new(&compiler).args(["-fsyntax-only", "-w", "-std=c11"]).arg(source).current_dir(directory),
        )?;
    }
    Ok(())
}

fn go(resolve: &Resolve, world: WorldId, directory: &Path) -> Result<()> {
    let options = wit_bindgen_go::Opts { generate_stubs: true, ..Default::default() };
    generate(options.build(), resolve, world, directory)?;
    let unparsable = Command::new("gofmt").arg("-l").arg(".").current_dir(directory).output()?;
    if !unparsable.status.success() {
        bail!("gofmt cannot read the bindings:\n{}", String::from_utf8_lossy(&unparsable.stderr));
    }
    Ok(())
}

/// Writes what `generator` makes of `world` and returns the names of the files.
fn generate(
    mut generator: Box<dyn WorldGenerator>,
    resolve: &Resolve,
    world: WorldId,
    directory: &Path,
) -> Result<Vec<String>> {
    let mut files = Files::default();
    generator.generate(&mut resolve.clone(), world, &mut files)?;
    let mut names = Vec::new();
    for (name, content) in files.iter() {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(path, content)?;
        names.push(name.to_owned());
    }
    if names.is_empty() {
        bail!("the generator wrote no files");
    }
    Ok(names)
}

fn must_succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
