//! The compiler as a child process: Cranelift's memory goes back to the system with it, and a component that makes it crash or run
//! away takes nothing else along. The child has no environment, no token, no descriptor but its pipes.

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    process::Stdio,
};

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{CompileError, CompilerLimits};
use crate::runtime::engine::compiling_engine;

/// Bytes of compiled code that the parent takes: an 18 MB component makes 37 MB, the smallest ones three times their own size.
const OUTPUT_BYTES: u64 = 256 << 20;
/// Bytes of code for each of the component's.
const OUTPUT_RATIO: u64 = 16;
/// Bytes of code besides: a file of a few pages for whatever component.
const OUTPUT_LEAST: u64 = 1 << 20;
/// Bytes of the child's own words.
const MESSAGE_BYTES: u64 = 4096;
/// The exit code that says: wasmtime refused the component, and standard error has its words.
const REFUSED: i32 = 65;

/// Runs the adapter's own binary as `wasm-metrics-adapter compile`.
pub(super) struct Child {
    binary: PathBuf,
    limits: CompilerLimits,
}

impl Child {
    pub(super) fn new(binary: PathBuf, limits: CompilerLimits) -> Self {
        Self { binary, limits }
    }

    pub(super) async fn compile(&self, wasm: Bytes) -> Result<Vec<u8>, CompileError> {
        let timeout = self.limits.timeout;
        tokio::time::timeout(timeout, self.exchange(wasm))
            .await
            .map_err(|_| CompileError::Failed(format!("not done after {timeout:?}")))?
    }

    async fn exchange(&self, wasm: Bytes) -> Result<Vec<u8>, CompileError> {
        let not_started = |error: std::io::Error| CompileError::NotStarted(error.to_string());
        let mut child = tokio::process::Command::new(&self.binary)
            .arg("compile")
            .arg(format!("--address-space-bytes={}", self.limits.address_space_bytes))
            .arg(format!("--cpu-seconds={}", self.limits.cpu_seconds))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(not_started)?;
        let (Some(mut input), Some(output), Some(messages)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(CompileError::NotStarted("no pipes".to_owned()));
        };
        let (mut compiled, mut message) = (Vec::new(), Vec::new());
        let feed = async {
            // A child that died early says why on standard error: a broken pipe adds nothing.
            let _ = input.write_all(&wasm).await;
            drop(input);
            Ok(())
        };
        let most = (wasm.len() as u64).saturating_mul(OUTPUT_RATIO).saturating_add(OUTPUT_LEAST).min(OUTPUT_BYTES);
        let read = async {
            output.take(most + 1).read_to_end(&mut compiled).await?;
            if compiled.len() as u64 > most {
                return Err(std::io::Error::other(format!("its code has more than {most} bytes")));
            }
            Ok(())
        };
        let listen = async {
            // The rest is read too: a child that waits for somebody to read it would never end.
            let mut rest = messages;
            let _ = (&mut rest).take(MESSAGE_BYTES).read_to_end(&mut message).await;
            let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
            Ok(())
        };
        // The first error ends the exchange, and with it the child.
        tokio::try_join!(feed, read, listen).map_err(|error| CompileError::Failed(error.to_string()))?;
        let status = child.wait().await.map_err(not_started)?;
        let message = crate::runtime::log::one_line(&String::from_utf8_lossy(&message));
        match status.code() {
            Some(0) => Ok(compiled),
            Some(REFUSED) => Err(CompileError::Refused(message)),
            _ => Err(CompileError::Failed(format!("{status}{}{message}", if message.is_empty() { "" } else { ": " }))),
        }
    }
}

/// The child: component on standard input, code on standard output. Returns the exit code.
pub fn run(address_space_bytes: u64, cpu_seconds: u64) -> i32 {
    let limit = |resource, amount| setrlimit(resource, Rlimit { current: Some(amount), maximum: Some(amount) });
    let limited = limit(Resource::As, address_space_bytes)
        .and_then(|()| limit(Resource::Cpu, cpu_seconds))
        .and_then(|()| limit(Resource::Core, 0))
        .and_then(|()| limit(Resource::Fsize, 0));
    if let Err(error) = limited {
        eprintln!("limits: {error}");
        return 70;
    }
    let mut wasm = Vec::new();
    if let Err(error) = std::io::stdin().lock().read_to_end(&mut wasm) {
        eprintln!("read: {error}");
        return 70;
    }
    match compiling_engine().and_then(|engine| engine.precompile_component(&wasm)) {
        Ok(compiled) => match std::io::stdout().lock().write_all(&compiled) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("write: {error}");
                70
            }
        },
        Err(error) => {
            eprintln!("{error:#}");
            REFUSED
        }
    }
}

/// The same without a child, for tests of other rooms.
pub(super) async fn in_this_process(wasm: Bytes) -> Result<Vec<u8>, CompileError> {
    let work =
        tokio::task::spawn_blocking(move || compiling_engine().and_then(|engine| engine.precompile_component(&wasm)));
    match work.await {
        Ok(outcome) => outcome.map_err(|error| CompileError::Refused(format!("{error:#}"))),
        Err(error) => Err(CompileError::Failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::BufRead as _, path::Path, time::Duration};

    use super::*;

    /// A compiler that does what a script says. Another process writes it: a descriptor of ours, inherited by a child of another
    /// test, would make it "text file busy".
    fn scripted(folder: &Path, script: &str) -> Child {
        let binary = folder.join("compiler");
        let write = ["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 700 "$0""#];
        let written = std::process::Command::new("sh").args(write).arg(&binary).arg(script).status().unwrap();
        assert!(written.success());
        Child::new(binary, CompilerLimits::default())
    }

    async fn outcome(script: &str) -> Result<Vec<u8>, CompileError> {
        let folder = tempfile::tempdir().unwrap();
        scripted(folder.path(), script).compile(Bytes::from_static(b"component")).await
    }

    #[tokio::test]
    async fn the_exit_tells_what_became_of_it() {
        assert_eq!(outcome("cat").await, Ok(b"component".to_vec()));
        assert_eq!(outcome("echo no good >&2; exit 65").await, Err(CompileError::Refused("no good".to_owned())));
        let Err(CompileError::Failed(message)) = outcome("kill -9 $$").await else { panic!("not failed") };
        assert!(message.starts_with("signal: 9"), "{message}");
        let Err(CompileError::Failed(message)) = outcome("echo out of memory >&2; exit 70").await else {
            panic!("not failed")
        };
        assert!(message.ends_with("70: out of memory"), "{message}");
    }

    #[tokio::test]
    async fn it_has_no_environment() {
        // The shell sets PWD and a few of its own; what is in this process must not be among them.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        assert_eq!(outcome("echo \"[$CARGO_MANIFEST_DIR$HOME]\"").await, Ok(b"[]\n".to_vec()));
    }

    #[tokio::test]
    async fn one_that_hangs_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = scripted(folder.path(), "exec sleep 1000");
        child.limits.timeout = Duration::from_millis(50);
        let outcome = child.compile(Bytes::new()).await;
        assert_eq!(outcome, Err(CompileError::Failed("not done after 50ms".to_owned())));
    }

    #[tokio::test]
    async fn one_that_is_given_up_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Whoever reads the pipe sees its end when the last process that holds it is gone.
        let child = scripted(folder.path(), &format!("exec 9>{}; echo here >&9; exec sleep 1000", pipe.display()));
        let compiling = tokio::spawn(async move { child.compile(Bytes::new()).await });
        let mut pipe = tokio::task::spawn_blocking(move || {
            let mut pipe = std::io::BufReader::new(fs::File::open(pipe).unwrap());
            let mut line = String::new();
            pipe.read_line(&mut line).unwrap();
            assert_eq!(line, "here\n");
            pipe
        })
        .await
        .unwrap();
        compiling.abort();
        let end = tokio::task::spawn_blocking(move || pipe.read_line(&mut String::new()).unwrap());
        assert_eq!(end.await.unwrap(), 0);
    }
}
