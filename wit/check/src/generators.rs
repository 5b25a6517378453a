//! Bindings of every world for C and Go, from the generators' own crates, and what the languages' own compilers say of
//! them. Rust's are compiled with this crate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};

use crate::rust;

/// Generates and compiles the bindings of each world in `track`, a folder of WIT files.
pub(crate) fn check(track: &Path) -> Result<()> {
    if !track.ends_with(rust::TRACK) {
        bail!("{} has no Rust bindings in wit/check/src/rust.rs; add its worlds there", track.display());
    }
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(track).with_context(|| format!("cannot read {}", track.display()))?;
    let go_runtime = go_runtime()?;
    let package = resolve.packages.get(package).context("the WIT folder holds no package")?;
    let worlds: Vec<(String, WorldId)> = package.worlds.iter().map(|(name, id)| (name.clone(), *id)).collect();
    for (name, world) in worlds {
        if !rust::WORLDS.contains(&name.as_str()) {
            bail!("world `{name}` has no Rust bindings in wit/check/src/rust.rs; add it to the list there");
        }
        let scratch = tempfile::tempdir()?;
        c(&resolve, world, &scratch.path().join("c")).with_context(|| format!("world `{name}`, C"))?;
        let unchecked = match &go_runtime {
            Some(runtime) => {
                go(&resolve, world, scratch.path(), runtime).with_context(|| format!("world `{name}`, Go"))?;
                ""
            }
            None => "; Go is not installed, so its own compiler did not see the bindings",
        };
        println!("world {name}: Rust, C, Go{unchecked}");
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

fn go(resolve: &Resolve, world: WorldId, scratch: &Path, runtime: &Path) -> Result<()> {
    let directory = scratch.join("go");
    let options = wit_bindgen_go::Opts { generate_stubs: true, quiet: true, ..Default::default() };
    generate(options.build(), resolve, world, &directory)?;
    // The generator's own copy of the runtime, less its go.mod: that one asks for a newer Go than its code does.
    let copy = scratch.join("runtime");
    fs::create_dir_all(&copy)?;
    fs::write(copy.join("go.mod"), "module go.bytecodealliance.org/pkg\n\ngo 1.25\n")?;
    must_succeed(Command::new("cp").arg("-R").arg(runtime.join("wit")).arg(&copy))?;
    let go = || {
        let mut go = Command::new("go");
        go.current_dir(&directory).env("GOOS", "wasip1").env("GOARCH", "wasm");
        go.env("GOPROXY", "off").env("GOFLAGS", "-mod=mod").env("GOWORK", "off");
        go
    };
    must_succeed(go().args(["mod", "edit", "-replace", "go.bytecodealliance.org/pkg=../runtime"]))?;
    // unsafeptr: the canonical ABI is made of addresses.
    must_succeed(go().args(["vet", "-unsafeptr=false", "./..."]))
}

/// Where the Go generator keeps the package that its bindings import; absent where there is no Go.
fn go_runtime() -> Result<Option<PathBuf>> {
    if !Command::new("go").arg("version").output().is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(["metadata", "--format-version", "1", "--offline"]).output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata tells nothing")?;
    let packages = metadata.get("packages").and_then(|packages| packages.as_array()).into_iter().flatten();
    let manifest = packages
        .filter(|package| package.get("name").and_then(|name| name.as_str()) == Some("wit-bindgen-go"))
        .find_map(|package| package.get("manifest_path")?.as_str())
        .context("cargo metadata does not tell where wit-bindgen-go is")?;
    Ok(Path::new(manifest).parent().map(|package| package.join("src/pkg")))
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
