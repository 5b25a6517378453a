//! Checks the WIT package: that bindings generators accept every world, and that a released track stays as it is. Run by
//! `cargo xtask wit`. It never changes a WIT file.

mod digest;
mod generators;
mod rust;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let options: Vec<String> = std::env::args().skip(1).collect();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &[String]) -> Result<()> {
    let wit = directory();
    let tracks = digest::tracks(&wit)?;
    match options {
        [] => {}
        [option] if option == "--bless" => tracks.iter().try_for_each(|track| digest::bless(&wit, track))?,
        [option, ..] => bail!("`{option}` is no option of `cargo xtask wit`; the only one is --bless"),
    }
    for track in &tracks {
        digest::check(&wit, track)?;
        println!("{track}: the files are those of the recorded digest");
        generators::check(&wit.join(track))?;
    }
    Ok(())
}

/// The folder `wit` of this project.
fn directory() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_path_buf()
}
