//! `cargo xtask wit`: the check of the WIT package. It lives in a crate of its own, wit/check, because it needs the
//! bindings generators, and this one has to compile in seconds.

use anyhow::Result;

use crate::shell;

/// Runs the check with the same options.
pub(crate) fn run(options: &[String]) -> Result<()> {
    shell::run(
        shell::cargo()
            .args(["run", "--quiet", "--package", "wit-check", "--"])
            .args(options)
            .current_dir(shell::root()),
    )
}
