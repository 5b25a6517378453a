//! A child process with its log in a file. The kernel kills it when this process dies, however that happens.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How long a child may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(30);

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; its output goes to `NAME.log` in the folder, appended to what an earlier run left there.
    ///
    /// # Errors
    /// Fails when the program or the log cannot be opened.
    pub fn start(name: &str, program: &Path, arguments: &[String], folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        // setpriv sets PR_SET_PDEATHSIG and then becomes the program: the same as a pre_exec hook, without unsafe code.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start `{}` by `setpriv` (of util-linux)", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process number, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Refuses to go on when the program has already ended; shows the end of its log.
    ///
    /// # Errors
    /// Fails when the program is gone.
    pub fn ensure_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("`{}` ended with {status}; the end of its log:\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// Asks the program to end by SIGTERM and waits for it, as the kubelet does.
    ///
    /// # Errors
    /// Fails when it does not end within 30 s.
    pub async fn terminate(mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        match tokio::time::timeout(GRACE, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("`{}` ignored SIGTERM for {GRACE:?}; the end of its log:\n{}", self.name, self.log_tail()),
        }
    }

    /// Stops the program where it stands, until the returned guard is dropped.
    ///
    /// # Errors
    /// Fails when it cannot be signalled.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        self.signal(Signal::STOP)?;
        Ok(Frozen(self))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else {
            return Ok(());
        };
        kill_process(pid, signal).with_context(|| format!("cannot signal `{}`", self.name))
    }

    /// Kills the program at once, as a node that loses power does.
    ///
    /// # Errors
    /// Fails when it cannot be signalled.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }
}

/// A program that does nothing until this is dropped.
#[derive(Debug)]
pub struct Frozen<'process>(&'process Process);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // A program that is gone needs no waking.
        let _ = self.0.signal(Signal::CONT);
    }
}

/// The last forty lines of a file, or why it cannot be read.
#[must_use]
pub fn tail(log: &Path) -> String {
    match fs::read(log) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = text.lines().collect();
            lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
        }
        Err(error) => format!("(cannot read {}: {error})", log.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, folder: &Path) -> Process {
        Process::start("shell", Path::new("/bin/sh"), &["-c".to_owned(), script.to_owned()], folder).unwrap()
    }

    #[tokio::test]
    async fn an_ended_program_is_reported_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell("echo out of luck >&2; exit 3", folder.path());
        process.child.wait().await.unwrap();
        let error = process.ensure_running().unwrap_err().to_string();
        assert!(error.contains("out of luck") && error.contains("exit status: 3"), "{error}");
    }

    #[tokio::test]
    async fn termination_is_by_sigterm() {
        let folder = tempfile::tempdir().unwrap();
        let process = shell("trap 'exit 7' TERM; echo armed; while :; do sleep 0.05; done", folder.path());
        crate::eventually::eventually("the trap is set", GRACE, async || {
            anyhow::ensure!(process.log_tail().contains("armed"));
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(process.terminate().await.unwrap().code(), Some(7));
    }
}
