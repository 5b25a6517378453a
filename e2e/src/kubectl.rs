//! kubectl, as a user types it, of the same Kubernetes version as the control plane.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::programs;

/// kubectl with somebody's kubeconfig.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
}

/// What kubectl printed and how it ended.
#[derive(Debug)]
pub struct Printed {
    /// Did it exit with 0.
    pub success: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Kubectl {
    pub(crate) fn new(kubeconfig: &Path, folder: &Path) -> Result<Self> {
        let cache = folder.join("kubectl-cache");
        Ok(Self { program: programs::control_plane("kubectl")?, kubeconfig: kubeconfig.to_owned(), cache })
    }

    /// Runs it and gives what it printed, whether it succeeded or not.
    ///
    /// # Errors
    /// Fails when it cannot be started.
    pub async fn attempt(&self, arguments: &[&str]) -> Result<Printed> {
        self.feed(arguments, "").await
    }

    /// Runs it; gives its standard output.
    ///
    /// # Errors
    /// Fails with its standard error when it does.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        let printed = self.attempt(arguments).await?;
        ensure!(printed.success, "`kubectl {}` failed: {}{}", arguments.join(" "), printed.stdout, printed.stderr);
        Ok(printed.stdout)
    }

    /// `kubectl apply --server-side -f -` of a manifest: a client-side one writes the whole object into an annotation once
    /// more, and there it may have 256 KiB.
    ///
    /// # Errors
    /// Fails with its standard error when it does.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        let printed = self.feed(&["apply", "--server-side", "-f", "-"], manifest).await?;
        ensure!(printed.success, "`kubectl apply` failed: {}\nof:\n{manifest}", printed.stderr);
        Ok(printed.stdout)
    }

    async fn feed(&self, arguments: &[&str], input: &str) -> Result<Printed> {
        let mut child = Command::new(&self.program)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            // Two users of one run, or two runs, must not see each other's cached discovery.
            .env("KUBECACHEDIR", self.cache.join(self.kubeconfig.file_stem().unwrap_or_default()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.program.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A kubectl that does not read its input closes it, which is no failure.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        Ok(Printed {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}
