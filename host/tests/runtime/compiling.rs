//! From bytes to code: in the adapter's own binary as a child, with a cache that trusts nothing it did not write, on the engine
//! that fits.

use std::{fs, path::Path, process::Stdio, sync::Arc};

use bytes::Bytes;
use wasm_metrics_adapter::{
    objects::FixedObjects,
    runtime::{CompileError, CompilerConfig, LoadError, Runtime, Validation},
    telemetry::Metrics,
};

use crate::{external, probe, support, world};

fn runtime(cache: Option<&Path>, child: impl Into<std::path::PathBuf>) -> Arc<Runtime> {
    let objects = Arc::new(FixedObjects::default());
    let compiler =
        CompilerConfig { cache_dir: cache.map(Path::to_owned), child: Some(child.into()), ..CompilerConfig::default() };
    let metrics = Arc::new(Metrics::default());
    Runtime::new(compiler, support::guests(), support::GUEST_MEMORY, objects.clone(), objects, metrics).unwrap()
}

/// A compiler that can't be started: whoever succeeds with it did not compile.
const NO_COMPILER: &str = "/nonexistent/compiler";

#[tokio::test]
async fn what_does_not_compile_is_refused_in_words() {
    let compiler = world().await.runtime.compiler();
    let invalid = wat::parse_str("(component (core module (func (result i32))))").unwrap();
    for (bytes, expected) in [
        (Bytes::from_static(b"garbage"), "the component does not compile: "),
        (Bytes::from(wat::parse_str("(module)").unwrap()), "the component does not compile: "),
        (Bytes::from(invalid), "type mismatch: expected i32 but nothing on stack"),
        (support::guest("minimal").slice(..1000), "the component does not compile: "),
    ] {
        let Err(error) = compiler.compile(bytes).await else { panic!("compiled") };
        assert!(matches!(error, CompileError::Refused(_)), "{error:?}");
        let error = error.to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    }
    assert!(compiler.compile(support::guest("minimal")).await.is_ok(), "it compiles on");
}

#[tokio::test]
async fn a_component_without_metrics_or_with_foreign_imports_is_refused() {
    let runtime = &world().await.runtime;
    let empty = wat::parse_str("(component)").unwrap();
    let code = runtime.compiler().compile(empty.into()).await.unwrap();
    let refused = runtime.load(&code, probe("empty").settings().await).err().unwrap();
    assert!(matches!(refused, LoadError::NoMetrics), "{refused}");
    let foreign =
        wat::parse_str(r#"(component (import "acme:disk/raw" (instance (export "format" (func)))))"#).unwrap();
    let code = runtime.compiler().compile(foreign.into()).await.unwrap();
    let refused = runtime.load(&code, probe("foreign").settings().await).err().unwrap().to_string();
    assert!(refused.contains("acme:disk/raw") && refused.contains("it may import only"), "{refused}");
}

#[tokio::test]
async fn a_compiler_that_can_not_be_started_is_worth_a_retry() {
    let Err(error) = runtime(None, NO_COMPILER).compiler().compile(support::guest("minimal")).await else {
        panic!("compiled")
    };
    assert!(matches!(error, CompileError::NotStarted(_)), "{error:?}");
}

#[tokio::test]
async fn plugins_of_the_same_bytes_share_one_compilation() {
    let cache = tempfile::tempdir().unwrap();
    let runtime = runtime(Some(cache.path()), support::adapter());
    let compile = || runtime.compiler().compile(support::guest("minimal"));
    let (one, other) = tokio::join!(compile(), compile());
    let (one, other) = (one.ok().unwrap(), other.ok().unwrap());
    assert!(Arc::ptr_eq(&one, &other));
    assert_eq!(cached(cache.path()).len(), 1);
}

#[tokio::test]
async fn a_warm_cache_needs_no_compiler_and_a_flipped_bit_does() {
    let cache = tempfile::tempdir().unwrap();
    let component = || support::guest("minimal");
    assert!(runtime(Some(cache.path()), support::adapter()).compiler().compile(component()).await.is_ok());
    let warm = runtime(Some(cache.path()), NO_COMPILER);
    let code = warm.compiler().compile(component()).await.ok().unwrap();
    let plugin = warm.load(&code, probe("warm").settings().await).unwrap();
    assert_eq!(plugin.validate().await, Validation::Good);
    drop(code);

    let [file] = cached(cache.path()).try_into().unwrap();
    let whole = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(
        warm.compiler().compile(component()).await.is_ok(),
        "the plugin's own code serves another of the same bytes"
    );
    drop(plugin);
    assert!(warm.compiler().compile(component()).await.is_err(), "and goes with the last of them");

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&file, &flipped).unwrap();
    assert!(warm.compiler().compile(component()).await.is_err(), "code that was tampered with does not run");
    assert!(runtime(Some(cache.path()), support::adapter()).compiler().compile(component()).await.is_ok());
    assert_ne!(fs::read(&file).unwrap(), flipped, "it was compiled anew");
}

fn cached(folder: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "cwasm")).collect()
}

#[test]
fn the_child_limits_itself_before_it_reads() {
    use std::io::Read as _;
    // An address space that is smaller than what the child wants: it can't raise it, and says so instead of working without.
    let mut child = std::process::Command::new("prlimit")
        .args(["--as=1000000000:1000000000", "--"])
        .arg(support::adapter())
        .args(["compile", "--address-space-bytes=2147483648", "--cpu-seconds=120"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut message = String::new();
    child.stderr.take().unwrap().read_to_string(&mut message).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(70), "{message}");
    assert!(message.starts_with("limits: "), "{message}");
}

#[tokio::test]
async fn components_that_do_not_fit_the_pool_run_on_demand() {
    for (name, module) in [("memories", "(module (memory 1) (memory 1))"), ("table", "(module (table 50000 funcref))")]
    {
        let plugin = probe(name).load_of(with_module(&support::guest("probe"), module)).await;
        assert!(external(&plugin, "shop").await.is_ok(), "{name}");
    }
    let plugin =
        probe("large-table").load_of(with_module(&support::guest("probe"), "(module (table 200000 funcref))")).await;
    assert_eq!(
        external(&plugin, "shop").await.unwrap_err().message,
        "the plugin needs tables of more than 100000 elements; build it from less code, or raise limits.tableElements"
    );
    let memories = "(module (memory 512) (memory 512))";
    let hungry = probe("hungry").limits(|limits| limits.memory_bytes = 40 << 20);
    let plugin = hungry.load_of(with_module(&support::guest("probe"), memories)).await;
    assert_eq!(
        external(&plugin, "shop").await.unwrap_err().message,
        "the plugin needs more than 40 MiB of memory; make it use less, or raise limits.memory",
        "all memories count in sum"
    );
}

/// `component` with one more core module, which is instantiated and otherwise unused: two sections at its end.
pub(crate) fn with_module(component: &[u8], module: &str) -> Bytes {
    let module = wat::parse_str(module).unwrap();
    let mut depth = 0;
    let mut modules = 0_u8;
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            wasmparser::Payload::Version { .. } => depth += 1,
            wasmparser::Payload::End(_) => depth -= 1,
            wasmparser::Payload::ModuleSection { .. } if depth == 1 => modules += 1,
            _ => {}
        }
    }
    assert!(modules < 0x80, "one byte of LEB128");
    let mut bytes = component.to_vec();
    // Section 1: a core module. Section 2: core instances, one, instantiate, module `modules`, no arguments.
    bytes.push(1);
    leb128(&mut bytes, module.len());
    bytes.extend(&module);
    bytes.extend([2, 4, 1, 0, modules, 0]);
    bytes.into()
}

pub(crate) fn leb128(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
}
