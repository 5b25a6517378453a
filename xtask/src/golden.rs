//! `cargo xtask golden`: the tables of `host/tests/golden` are what Go's own packages say. Each program `e2e/go/golden/NAME` prints
//! `host/tests/golden/NAME.json`; a table that differs from the file is a failure, and `--bless` writes it instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{go, shell};

const HELP: &str = "\
The tables of host/tests/golden, printed by the programs of e2e/go/golden from Go's own packages.

Usage: cargo xtask golden [--bless]

  --bless  write the tables instead of comparing them";

/// Builds the programs and compares or writes every table.
pub(crate) fn run(options: &[String]) -> Result<()> {
    let bless = match options {
        [] => false,
        [option] if option == "--bless" => true,
        [option] if option == "--help" || option == "-h" => {
            println!("{HELP}");
            return Ok(());
        }
        _ => bail!("`{}` is no option\n\n{HELP}", options.join(" ")),
    };
    tables(&go::programs()?, &go::programs_below("golden")?, &golden(), bless)
}

/// Compares every table with what the program of its name prints.
pub(crate) fn check(programs: &Path) -> Result<()> {
    tables(programs, &go::programs_below("golden")?, &golden(), false)
}

fn golden() -> PathBuf {
    shell::root().join("host/tests/golden")
}

fn tables(programs: &Path, names: &[String], golden: &Path, bless: bool) -> Result<()> {
    ensure!(!names.is_empty(), "e2e/go/golden holds no program");
    let mut stale = Vec::new();
    for name in names {
        let table = shell::capture(&mut Command::new(programs.join(name)))? + "\n";
        let file = golden.join(name).with_extension("json");
        if bless {
            fs::write(&file, table).with_context(|| format!("cannot write `{}`", file.display()))?;
        } else if fs::read_to_string(&file).ok().as_deref() != Some(&table) {
            stale.push(format!("{name}.json"));
        }
    }
    ensure!(
        stale.is_empty(),
        "not what Go's packages say: {} in {}; look at what `cargo xtask golden --bless` changes",
        stale.join(", "),
        golden.display()
    );
    println!("{} {} tables by Go's packages", if bless { "wrote" } else { "compared" }, names.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_table_that_differs_is_named_and_blessing_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let [programs, golden] = ["programs", "golden"].map(|name| folder.path().join(name));
        for folder in [&programs, &golden] {
            fs::create_dir(folder).unwrap();
        }
        let names = ["numbers".to_owned()];
        // Not a script of this test's: a file that was just written may still be open for writing in a child of another test.
        symlink("/bin/uname", programs.join("numbers")).unwrap();
        for before in [None, Some("Linus\n")] {
            if let Some(text) = before {
                fs::write(golden.join("numbers.json"), text).unwrap();
            }
            let refused = tables(&programs, &names, &golden, false).unwrap_err().to_string();
            assert!(refused.contains("numbers.json") && refused.contains("--bless"), "{refused}");
        }
        tables(&programs, &names, &golden, true).unwrap();
        assert_eq!(fs::read_to_string(golden.join("numbers.json")).unwrap(), "Linux\n");
        tables(&programs, &names, &golden, false).unwrap();
    }
}
