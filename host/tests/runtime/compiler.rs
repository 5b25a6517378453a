//! A compiler that crashes, runs away, is killed or lies: the component is refused, and the next one compiles.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use wasm_metrics_adapter::{
    objects::FixedObjects,
    runtime::{CompileError, CompilerConfig, CompilerLimits, Runtime},
    telemetry::Metrics,
};

use crate::{compiling::leb128, faults::Neighbour, limits::PATIENCE, probe, support};

fn runtime(child: PathBuf, limits: CompilerLimits) -> Arc<Runtime> {
    let objects = Arc::new(FixedObjects::default());
    let compiler = CompilerConfig { child: Some(child), limits, cache_dir: None };
    let (budget, metrics) = (support::GUEST_MEMORY, Arc::new(Metrics::default()));
    Runtime::new(compiler, support::guests(), budget, objects.clone(), objects, metrics).unwrap()
}

/// A component with a function that takes a compiler long: many blocks, each of which every local may have reached.
fn enormous() -> Bytes {
    const BLOCKS: usize = 40_000;
    let block = "block local.get 0 br_if 0 local.get 1 i32.const 3 i32.mul local.get 0 i32.add local.set 1 end ";
    let body = block.repeat(BLOCKS);
    let module = format!("(core module (func (export \"f\") (param i32 i32) (result i32) {body} local.get 1))");
    wat::parse_str(format!("(component {module})")).unwrap().into()
}

/// What becomes of `component`, while a plugin next door is undisturbed, and of a good one after it.
async fn failure(name: &str, runtime: &Runtime, component: Bytes) -> String {
    let neighbour = Neighbour::of(name).await;
    let outcome = runtime.compiler().compile(component).await;
    neighbour.was_undisturbed().await;
    let Err(CompileError::Failed(message)) = outcome else { panic!("{name}: {:?}", outcome.err()) };
    message
}

#[tokio::test]
async fn a_component_that_takes_too_much_processor_time_is_refused() {
    let limits = CompilerLimits { cpu_seconds: 1, ..CompilerLimits::default() };
    let runtime = runtime(support::adapter(), limits);
    let message = failure("compiles-long", &runtime, enormous()).await;
    assert!(message.contains("signal"), "{message}");
    assert!(runtime.compiler().compile(support::guest("minimal")).await.is_ok());
}

#[tokio::test]
async fn a_component_that_takes_too_long_by_the_clock_is_refused() {
    let limits = CompilerLimits { timeout: Duration::from_millis(50), ..CompilerLimits::default() };
    let runtime = runtime(support::adapter(), limits);
    let message = failure("compiles-late", &runtime, enormous()).await;
    assert_eq!(message, "not done after 50ms");
}

#[tokio::test]
async fn a_component_that_takes_too_much_memory_is_refused() {
    // Enough for the program itself and for small components.
    let limits = CompilerLimits { address_space_bytes: 120 << 20, ..CompilerLimits::default() };
    let runtime = runtime(support::adapter(), limits);
    assert!(runtime.compiler().compile(support::guest("minimal")).await.is_ok());
    let message = failure("compiles-large", &runtime, enormous()).await;
    assert!(message.contains("signal") || message.contains("memory"), "{message}");
    assert!(runtime.compiler().compile(support::guest("wasi-http")).await.is_ok());
}

#[tokio::test]
async fn a_compiler_that_is_killed_midway_costs_one_load() {
    // The number tells this test's child from those of others.
    let address_space_bytes = (2 << 30) + 4096;
    let limits = CompilerLimits { address_space_bytes, ..CompilerLimits::default() };
    let runtime = runtime(support::adapter(), limits);
    let compiling = tokio::spawn({
        let runtime = runtime.clone();
        async move { runtime.compiler().compile(enormous()).await.err() }
    });
    let argument = format!("--address-space-bytes={address_space_bytes}");
    let child = tokio::time::timeout(PATIENCE, child_with(&argument));
    let child = rustix::process::Pid::from_raw(child.await.unwrap()).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
    let Some(CompileError::Failed(message)) = compiling.await.unwrap() else { panic!("not failed") };
    assert!(message.starts_with("signal: 9"), "{message}");
    assert!(runtime.compiler().compile(support::guest("minimal")).await.is_ok());
}

/// The process with this argument, once there is one.
async fn child_with(argument: &str) -> i32 {
    let is_it = |process: &Path| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    };
    loop {
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
        if let Some(found) = processes.into_iter().find(|process| is_it(process)) {
            return found.file_name().unwrap().to_str().unwrap().parse().unwrap();
        }
        tokio::task::yield_now().await;
    }
}

/// A compiler that does what a script says. Another process writes it: a descriptor of ours, inherited by a child of another test,
/// would make it "text file busy".
fn scripted(folder: &Path, script: &str) -> PathBuf {
    let binary = folder.join("compiler");
    let write = ["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 700 "$0""#];
    let written = std::process::Command::new("sh").args(write).arg(&binary).arg(script).status().unwrap();
    assert!(written.success());
    binary
}

#[tokio::test]
async fn a_compiler_that_writes_what_is_no_code_is_not_believed() {
    for (name, script, cause) in [
        ("garbage", "cat >/dev/null; echo this is no code", "what it made can't be used"),
        ("nothing", "cat >/dev/null", "what it made can't be used"),
        ("echo", "exec cat", "what it made can't be used"),
        ("half", "head -c 1000 >/dev/null; kill -9 $$", "signal: 9"),
        ("endless", "exec cat /dev/zero", "its code has more than "),
        ("talkative", "cat >/dev/null; head -c 10000000 /dev/zero >&2; exit 70", "exit status: 70"),
        ("deaf", "exit 1", "exit status: 1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime(scripted(folder.path(), script), CompilerLimits::default());
        let message = failure(&format!("compiler-{name}"), &runtime, support::guest("minimal")).await;
        assert!(message.contains(cause), "{name}: {message}");
    }
}

#[tokio::test]
async fn one_compiler_runs_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    // Each takes the lock or says that another one has it.
    let script = format!(
        "mkdir {lock} || {{ echo two at once >&2; exit 65; }}; cat >/dev/null; rmdir {lock}; echo alone >&2; exit 65",
        lock = lock.display()
    );
    let runtime = runtime(scripted(folder.path(), &script), CompilerLimits::default());
    let components = (0..8_u8).map(|number| Bytes::from(vec![number; 1 << 20]));
    let compilations = components.map(|component| runtime.compiler().compile(component));
    for outcome in futures::future::join_all(compilations).await {
        assert_eq!(outcome.err(), Some(CompileError::Refused("alone".to_owned())));
    }
}

#[tokio::test]
async fn malformed_components_are_refused_in_bounded_time() {
    let runtime = runtime(support::adapter(), CompilerLimits { cpu_seconds: 60, ..CompilerLimits::default() });
    for (name, component) in [
        ("100,000 imports", imports(100_000)),
        ("10,000 nested types", nested_types(10_000)),
        ("10,000 components in each other", nested_components(10_000)),
        ("1,000,001 functions", functions(1_000_001)),
        ("a data segment beyond its end", cut_data_segment()),
    ] {
        let outcome = tokio::time::timeout(Duration::from_secs(120), runtime.compiler().compile(component.into()));
        let outcome = outcome.await.unwrap_or_else(|_| panic!("{name}: took too long"));
        let message = match outcome {
            Err(CompileError::Refused(message) | CompileError::Failed(message)) => message,
            Err(other) => panic!("{name}: {other}"),
            // What is well-formed compiles, and then there is nothing that gives it what it imports.
            Ok(code) => runtime.load(&code, probe(name).settings().await).err().unwrap().to_string(),
        };
        assert!(!message.is_empty() && message.len() < 5000, "{name}: {message}");
    }
    assert!(runtime.compiler().compile(support::guest("minimal")).await.is_ok());
}

/// The beginning of every component.
const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 13, 0, 1, 0];
/// The beginning of every core module.
const MODULE: [u8; 8] = [0, b'a', b's', b'm', 1, 0, 0, 0];

fn section(bytes: &mut Vec<u8>, id: u8, items: usize, content: &[u8]) {
    let mut body = Vec::new();
    leb128(&mut body, items);
    body.extend(content);
    bytes.push(id);
    leb128(bytes, body.len());
    bytes.extend(body);
}

/// Functions without parameters and results.
fn imports(count: usize) -> Vec<u8> {
    let mut component = COMPONENT.to_vec();
    section(&mut component, 7, 1, &[0x40, 0, 1, 0]);
    let import = |number| [&[0, 7, b'i'][..], format!("{number:06}").as_bytes(), &[1, 0]].concat();
    section(&mut component, 10, count, &(0..count).flat_map(import).collect::<Vec<u8>>());
    component
}

/// A list of lists of lists ...
fn nested_types(levels: usize) -> Vec<u8> {
    let mut types = vec![0x70, 0x7d];
    for inner in 0..levels - 1 {
        types.push(0x70);
        // A signed number: as long as the next bit is 0 the unsigned form is the same.
        if inner & 0x40 != 0 && inner < 0x80 || inner & 0x2000 != 0 && (0x80..0x4000).contains(&inner) {
            types.extend([
                u8::try_from(inner & 0x7f).unwrap() | 0x80,
                u8::try_from(inner >> 7 & 0x7f).unwrap() | 0x80,
                0,
            ]);
        } else {
            leb128(&mut types, inner);
        }
    }
    let mut component = COMPONENT.to_vec();
    section(&mut component, 7, levels, &types);
    component
}

/// All of one type, none with a body.
fn functions(count: usize) -> Vec<u8> {
    let mut module = MODULE.to_vec();
    section(&mut module, 1, 1, &[0x60, 0, 0]);
    section(&mut module, 3, count, &vec![0; count]);
    let mut component = COMPONENT.to_vec();
    component.push(1);
    leb128(&mut component, module.len());
    component.append(&mut module);
    component
}

fn nested_components(levels: usize) -> Vec<u8> {
    let mut component = COMPONENT.to_vec();
    for _ in 0..levels {
        let mut outer = COMPONENT.to_vec();
        outer.push(4);
        leb128(&mut outer, component.len());
        outer.append(&mut component);
        component = outer;
    }
    component
}

/// The length of a data segment says 4 GiB.
fn cut_data_segment() -> Vec<u8> {
    let whole = wat::parse_str(r#"(component (core module (memory 1) (data (i32.const 0) "0123456789")))"#).unwrap();
    let at = whole.windows(10).position(|window| window == b"0123456789").unwrap();
    let mut cut = whole;
    cut.splice(at - 1..at, [0xff, 0xff, 0xff, 0xff, 0x0f]);
    cut
}
