//! Bytes to code: in a child process of the same binary, one at a time, with a cache on disk and one copy in memory for each digest.

mod cache;
mod child;

use std::{
    collections::HashMap,
    hash::{Hash as _, Hasher as _},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use sha2::{Digest, Sha256};
use wasmtime::component::Component;

pub use child::run as run_child;

use self::{cache::Cache, child::Child};
use super::engine::Engines;
use crate::telemetry::{CompilationLabels, Metrics};

/// Where compiling happens, and what it leaves behind.
#[derive(Debug, Clone, Default)]
pub struct CompilerConfig {
    /// A folder that nobody else writes; absent for no cache.
    pub cache_dir: Option<PathBuf>,
    /// The adapter's binary, to be run as the compiler; absent compiles in this process (tests).
    pub child: Option<PathBuf>,
}

/// Why bytes could not become code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// wasmtime refused them.
    #[error("the component does not compile: {0}")]
    Refused(String),
    /// The compiler ran out of its limits or was killed.
    #[error("the compiler gave up: {0}; a smaller component may help")]
    Failed(String),
    /// The adapter could not run its compiler; worth a retry.
    #[error("the compiler could not be started: {0}")]
    NotStarted(String),
}

/// Compiled code. The compiler knows it as long as a plugin holds it.
pub struct Code {
    pub(super) component: Component,
    digest: [u8; 32],
}

impl Code {
    /// sha256 of the component's bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// Compiles.
pub struct Compiler {
    engines: Engines,
    cache: Option<Cache>,
    child: Option<Child>,
    // One at a time: the pod's memory limit has room for one compiler.
    turn: tokio::sync::Mutex<()>,
    alive: Mutex<HashMap<[u8; 32], Weak<Code>>>,
    metrics: Arc<Metrics>,
}

impl Compiler {
    pub(super) fn new(config: CompilerConfig, engines: Engines, metrics: Arc<Metrics>) -> Self {
        let CompilerConfig { cache_dir, child } = config;
        let mut engine = std::hash::DefaultHasher::new();
        engines.pooled.precompile_compatibility_hash().hash(&mut engine);
        let open = |folder: PathBuf| {
            let opened = Cache::open(folder.clone(), engine.finish());
            opened.inspect_err(|error| tracing::warn!(folder = %folder.display(), %error, "compile cache: not used, so plugins are compiled at each start; choose a folder that the adapter may write with --compile-cache-dir")).ok()
        };
        Self {
            cache: cache_dir.and_then(open),
            engines,
            child: child.map(Child::new),
            turn: tokio::sync::Mutex::new(()),
            alive: Mutex::default(),
            metrics,
        }
    }

    /// The code of `wasm`: that of a plugin alive with the same bytes, or from the cache, or compiled. Who asks for the same bytes
    /// meanwhile waits, and shares the outcome.
    pub async fn compile(&self, wasm: bytes::Bytes) -> Result<Arc<Code>, CompileError> {
        let digest: [u8; 32] = Sha256::digest(&wasm).into();
        if let Some(code) = self.alive(&digest) {
            self.count("shared");
            return Ok(code);
        }
        let _turn = self.turn.lock().await;
        if let Some(code) = self.alive(&digest) {
            self.count("shared");
            return Ok(code);
        }
        if let Some(code) = self.cached(&digest).await {
            self.count("cached");
            return Ok(code);
        }
        let code = self.compile_anew(digest, wasm).await;
        self.count(if code.is_ok() { "compiled" } else { "failed" });
        code
    }

    async fn compile_anew(&self, digest: [u8; 32], wasm: bytes::Bytes) -> Result<Arc<Code>, CompileError> {
        let compiled = match &self.child {
            Some(child) => child.compile(wasm).await?,
            None => child::in_this_process(wasm).await?,
        };
        let code = self.keep(digest, &compiled)?;
        if let Some(cache) = &self.cache {
            cache.store(&digest, compiled).await;
        }
        Ok(code)
    }

    fn count(&self, outcome: &'static str) {
        self.metrics.compilations.get_or_create(&CompilationLabels { outcome }).inc();
    }

    async fn cached(&self, digest: &[u8; 32]) -> Option<Arc<Code>> {
        let compiled = self.cache.as_ref()?.load(digest).await?;
        // Of another wasmtime or processor: compiled anew.
        self.keep(*digest, &compiled).inspect_err(|error| tracing::info!("compile cache: {error}")).ok()
    }

    fn alive(&self, digest: &[u8; 32]) -> Option<Arc<Code>> {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive.get(digest)?.upgrade()
    }

    fn keep(&self, digest: [u8; 32], compiled: &[u8]) -> Result<Arc<Code>, CompileError> {
        // Components that don't fit a pool's slot get memory of their own.
        let component =
            deserialize(&self.engines.pooled, compiled).or_else(|_| deserialize(&self.engines.on_demand, compiled));
        let component = component.map_err(|error| CompileError::Refused(format!("{error:#}")))?;
        let code = Arc::new(Code { component, digest });
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        alive.retain(|_, code| code.strong_count() > 0);
        alive.insert(digest, Arc::downgrade(&code));
        Ok(code)
    }
}

#[expect(unsafe_code, reason = "code runs with the adapter's rights: see the safety comment")]
fn deserialize(engine: &wasmtime::Engine, compiled: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes come from this binary's own compiler by pipe, or from the cache, whose MAC the parent alone can make and
    // which was checked on these very bytes. wasmtime refuses those of another version or configuration.
    unsafe { Component::deserialize(engine, compiled) }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    #[tokio::test]
    async fn forty_at_once_of_the_same_bytes_are_compiled_once() {
        let metrics = Arc::new(Metrics::default());
        let compiler = Compiler::new(CompilerConfig::default(), Engines::start().unwrap(), metrics.clone());
        let component = bytes::Bytes::from(wat::parse_str("(component)").unwrap());
        let codes = join_all((0..40).map(|_| compiler.compile(component.clone()))).await;
        let codes: Vec<_> = codes.into_iter().map(Result::unwrap).collect();
        assert!(codes.iter().all(|code| Arc::ptr_eq(code, &codes[0])));
        let count = |outcome| metrics.compilations.get_or_create(&CompilationLabels { outcome }).get();
        assert_eq!((count("compiled"), count("shared"), count("failed")), (1, 39, 0));
    }
}
