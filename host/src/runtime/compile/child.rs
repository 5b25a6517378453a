//! The compiler as a child process: Cranelift's memory goes back to the system with it, and a component that makes it crash or run
//! away takes nothing else along. The child has no environment, no token, no descriptor but its pipes.

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use bytes::Bytes;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::CompileError;
use crate::runtime::engine::compiling_engine;

/// CPU seconds: an 18 MB component needs 10 on one core.
const CPU_SECONDS: u64 = 120;
/// Wall-clock time, for a machine that is busy besides.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Address space: an 18 MB component peaks at 400 MB resident.
const ADDRESS_SPACE_BYTES: u64 = 2 << 30;
/// Bytes of compiled code that the parent takes: an 18 MB component makes 37 MB.
const OUTPUT_BYTES: u64 = 256 << 20;
/// Bytes of the child's own words.
const MESSAGE_BYTES: u64 = 4096;
/// The exit code that says: wasmtime refused the component, and standard error has its words.
const REFUSED: i32 = 65;

/// Runs the adapter's own binary as `wasm-metrics-adapter compile`.
pub(super) struct Child {
    binary: PathBuf,
}

impl Child {
    pub(super) fn new(binary: PathBuf) -> Self {
        Self { binary }
    }

    pub(super) async fn compile(&self, wasm: Bytes) -> Result<Vec<u8>, CompileError> {
        tokio::time::timeout(TIMEOUT, self.exchange(wasm))
            .await
            .map_err(|_| CompileError::Failed(format!("not done after {TIMEOUT:?}")))?
    }

    async fn exchange(&self, wasm: Bytes) -> Result<Vec<u8>, CompileError> {
        let not_started = |error: std::io::Error| CompileError::NotStarted(error.to_string());
        let mut child = tokio::process::Command::new(&self.binary)
            .arg("compile")
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
        };
        let mut output = output.take(OUTPUT_BYTES);
        let mut messages = messages.take(MESSAGE_BYTES);
        let (_, read, _) = tokio::join!(feed, output.read_to_end(&mut compiled), messages.read_to_end(&mut message));
        read.map_err(|error| CompileError::Failed(error.to_string()))?;
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
pub fn run() -> i32 {
    let limit = |resource, amount| setrlimit(resource, Rlimit { current: Some(amount), maximum: Some(amount) });
    let limited = limit(Resource::As, ADDRESS_SPACE_BYTES)
        .and_then(|()| limit(Resource::Cpu, CPU_SECONDS))
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
