//! The adapter as a process on loopback, its log in a file. It never outlives the demo: dropping stops it, and the kernel
//! kills it when the demo dies.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::curl::{self, Answer, Curl};
use super::plugins::Plugins;

/// The running adapter.
pub(super) struct Adapter {
    child: Child,
    started: Instant,
    base: String,
    log: PathBuf,
    curl: Curl,
}

impl Adapter {
    /// Starts `serve` on a free port.
    pub(super) fn start(program: &Path, folder: &Path, plugins: &Plugins, curl: Curl) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = folder.join("adapter.log");
        let output = File::create(&log)?;
        let mut arguments = vec!["serve".to_owned(), format!("--secure-port={port}")];
        arguments.push(format!("--plugin-dir={}", plugins.folder().display()));
        arguments.push(format!("--compile-cache-dir={}", folder.join("compiled").display()));
        // The demo's backend is on loopback, which plugins can't reach unless the operator says so.
        arguments.push("--internal-cidrs=127.0.0.0/8".to_owned());
        println!("$ wasm-metrics-adapter {}", arguments.join(" "));
        let started = Instant::now();
        // setpriv sets PR_SET_PDEATHSIG and then becomes the program: the same as a pre_exec hook, without unsafe code.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(arguments)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot start the adapter by `setpriv` (of util-linux)")?;
        Ok(Self { child, started, base: format!("https://127.0.0.1:{port}"), log, curl })
    }

    /// Waits until it is ready, and gives the time since its start.
    pub(super) fn wait_until_ready(&mut self) -> Result<Duration> {
        super::wait(|| {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the adapter ended with {status}");
            }
            // Until it listens there is no answer at all.
            Ok(self.get("/readyz").ok().filter(|answer| answer.status == "200"))
        })
        .context("the adapter did not become ready")?;
        Ok(self.started.elapsed())
    }

    /// GETs a path.
    pub(super) fn get(&self, path: &str) -> Result<Answer> {
        self.curl.get(&format!("{}{path}", self.base))
    }

    /// GETs a path and shows the command.
    pub(super) fn show(&self, path: &str) -> Result<Answer> {
        println!("$ {}", self.command(path));
        self.get(path)
    }

    /// Fails unless the value at the path is this one.
    pub(super) fn ensure_serves(&self, path: &str, value: &str) -> Result<()> {
        let answer = self.get(path)?;
        ensure!(answer.value()? == value, "wrong answer: {}", answer.body);
        Ok(())
    }

    /// The command that asks for a path.
    pub(super) fn command(&self, path: &str) -> String {
        curl::command(&format!("{}{path}", self.base))
    }

    /// Where its log is.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// The first line of the log with all these words in it, without its time.
    pub(super) fn log_line(&self, words: &[&str]) -> Option<String> {
        let log = fs::read_to_string(&self.log).ok()?;
        let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)))?;
        let start = words.first().and_then(|word| line.find(word)).unwrap_or(0);
        Some(line.get(start..)?.to_owned())
    }

    /// The last lines of its log.
    pub(super) fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }

    /// Waits until somebody else stops it.
    pub(super) fn wait(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "the adapter ended with {status}");
        Ok(())
    }

    /// Stops it as the kubelet does, by SIGTERM. It must end with 0.
    pub(super) fn stop(mut self) -> Result<()> {
        let began = Instant::now();
        let status = self.terminate()?;
        ensure!(
            status.success(),
            "the adapter ended with {status} after SIGTERM; the end of its log:\n{}",
            self.log_tail()
        );
        println!("stopped after {} ms, with exit code 0; every answer was right", began.elapsed().as_millis());
        Ok(())
    }

    fn terminate(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).context("cannot signal the adapter")?;
        }
        super::wait(|| Ok(self.child.try_wait()?)).context("the adapter ignored SIGTERM")
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
