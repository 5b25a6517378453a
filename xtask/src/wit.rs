//! `cargo xtask wit`: the check of the WIT package. It lives in a crate of its own, wit/check, because it needs the
//! bindings generators, and this one has to compile in seconds.

use std::process::Command;

use anyhow::Result;

use crate::shell;

/// Runs the check with the same options.
pub(crate) fn run(options: &[String]) -> Result<()> {
    shell::run(Command::new(shell::program("wit-check")?).args(options).current_dir(shell::root()))
}
