//! The versions of the WIT package that guests may be built against: one enum arm per track (`wit/vN`). A component is looked at
//! once, when it is loaded.

mod imports;
mod v0_1;
pub(super) mod wasi_http;
pub(super) mod wasi_sockets;

use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

use super::{engine::Engines, store::CallState};
use crate::model::{
    CustomMetric, CustomQuery, CustomSample, ExternalQuery, ExternalSample, FetchError, InvalidMetricName, MetricName,
    NodeSample, PodRef, PodSample,
};

/// What a guest is asked.
#[derive(Debug, Clone)]
pub(super) enum Question {
    Validate,
    ListCustom,
    ListExternal,
    Custom(CustomQuery),
    External(ExternalQuery),
    Pods(Vec<PodRef>),
    Nodes(Vec<String>),
}

impl Question {
    /// The namespace whose objects the guest may see.
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::Validate | Self::ListCustom | Self::ListExternal | Self::Pods(_) | Self::Nodes(_) => None,
            Self::Custom(query) => query.namespace.as_deref(),
            Self::External(query) => Some(&query.namespace),
        }
    }
}

/// What it answered. The inner error is the guest's own failure; in lists, each name is judged by itself.
pub(super) enum Answer {
    Valid(Result<(), FetchError>),
    CustomList(Result<Vec<Result<CustomMetric, InvalidMetricName>>, FetchError>),
    ExternalList(Result<Vec<Result<MetricName, InvalidMetricName>>, FetchError>),
    Custom(Result<Vec<CustomSample>, FetchError>),
    External(Result<Vec<ExternalSample>, FetchError>),
    Pods(Result<Vec<PodSample>, FetchError>),
    Nodes(Result<Vec<NodeSample>, FetchError>),
}

impl Answer {
    /// The guest's own failure, if it is one.
    pub(super) fn failure(&self) -> Option<&FetchError> {
        match self {
            Self::Valid(outcome) => outcome.as_ref().err(),
            Self::CustomList(outcome) => outcome.as_ref().err(),
            Self::ExternalList(outcome) => outcome.as_ref().err(),
            Self::Custom(outcome) => outcome.as_ref().err(),
            Self::External(outcome) => outcome.as_ref().err(),
            Self::Pods(outcome) => outcome.as_ref().err(),
            Self::Nodes(outcome) => outcome.as_ref().err(),
        }
    }
}

/// Which interfaces a component exports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exports {
    /// `custom-metrics`
    pub custom: bool,
    /// `external-metrics`
    pub external: bool,
    /// `resource-metrics`
    pub resource: bool,
    /// `settings`
    pub settings: bool,
}

/// What guests may import, linked once for each engine.
pub(super) struct Linkers {
    pooled: Linker<CallState>,
    on_demand: Linker<CallState>,
}

impl Linkers {
    pub(super) fn new(engines: &Engines) -> wasmtime::Result<Self> {
        Ok(Self { pooled: linker(&engines.pooled)?, on_demand: linker(&engines.on_demand)? })
    }

    /// Links `component`; an error names the import that nothing here offers.
    pub(super) fn link(&self, component: &Component) -> wasmtime::Result<InstancePre> {
        let pooled = Engine::same(component.engine(), self.pooled.engine());
        let linker = if pooled { &self.pooled } else { &self.on_demand };
        let instance = linker.instantiate_pre(component)?;
        Ok(InstancePre::V0_1(v0_1::Plugin::new(instance)))
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasi_sockets::add_to_linker(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    v0_1::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// A linked component, ready for instances.
#[derive(Clone)]
pub(super) enum InstancePre {
    V0_1(v0_1::Plugin),
}

impl InstancePre {
    pub(super) fn exports(&self) -> Exports {
        match self {
            Self::V0_1(plugin) => plugin.exports(),
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        match self {
            Self::V0_1(plugin) => plugin.engine(),
        }
    }

    /// A fresh instance answers `question`.
    pub(super) async fn ask(&self, store: &mut Store<CallState>, question: Question) -> wasmtime::Result<Answer> {
        match self {
            Self::V0_1(plugin) => plugin.ask(store, question).await,
        }
    }
}
