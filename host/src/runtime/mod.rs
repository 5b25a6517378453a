//! Runs guests: compiles components, gives each call a fresh instance with its own limits, and turns answers into the model's
//! words. Never sees Kubernetes objects, HTTP clients of the API or the registry.
//!
//! - `engine`: wasmtime's engines and the clock that interrupts guests
//! - `compile`: bytes to code, in a child process, with a cache on disk
//! - `plugin`: one loaded plugin, a [`crate::model::Provider`]
//! - `call`: one call from permit to answer
//! - `store`: what one call's instance can reach, and how much of it
//! - `abi`: the WIT package's versions, each with its bindings, conversions and imports
//! - `fault`: why a call ended without an answer
//! - `listing`, `usage`: what a guest lists, and what it says of pods and nodes, judged
//! - `state`, `log`, `stderr`: what guests keep and say

mod abi;
mod call;
mod compile;
mod engine;
mod fault;
mod listing;
mod log;
mod plugin;
mod state;
mod stderr;
mod store;
mod usage;

use std::sync::Arc;

pub use abi::Exports;
pub use compile::{Code, CompileError, Compiler, CompilerConfig, run_child as run_compiler_child};
pub use plugin::{Limits, LoadError, Plugin, PluginSettings, Validation};

use crate::{
    model::{Kinds, Objects},
    telemetry::Metrics,
};

/// Why the runtime could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// wasmtime's engines: most often too little address space for the pool.
    #[error("start wasmtime: {0}; the adapter reserves address space for its guests, so `ulimit -v` must be unlimited")]
    Engine(String),
}

impl From<wasmtime::Error> for StartError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Engine(format!("{error:#}"))
    }
}

/// What all plugins of this process share.
pub struct Runtime {
    engines: engine::Engines,
    guests: tokio::runtime::Handle,
    compiler: Compiler,
    linkers: abi::Linkers,
    objects: Arc<dyn Objects>,
    kinds: Arc<dyn Kinds>,
    state: Arc<state::States>,
    metrics: Arc<Metrics>,
}

impl Runtime {
    /// Guests run on `guests`, a Tokio runtime of their own, so that a spinning guest never delays TLS, authentication or
    /// discovery.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn new(
        compiler: CompilerConfig,
        guests: tokio::runtime::Handle,
        objects: Arc<dyn Objects>,
        kinds: Arc<dyn Kinds>,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, StartError> {
        let engines = engine::Engines::start()?;
        let linkers = abi::Linkers::new(&engines)?;
        let compiler = Compiler::new(compiler, engines.clone(), metrics.clone());
        Ok(Arc::new(Self { engines, guests, compiler, linkers, objects, kinds, state: Arc::default(), metrics }))
    }

    /// Bytes to code; the same bytes are compiled once.
    pub fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// Forgets what a plugin that is gone had stored.
    pub fn forget(&self, plugin: &crate::model::PluginId) {
        self.state.forget(plugin);
    }
}
