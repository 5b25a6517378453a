//! Where plugins come from: labelled ConfigMaps of a cluster, or a folder. A source watches and reads; it never
//! compiles, decodes or decides, and never writes to what it watches.

pub mod configmap;
pub mod directory;
mod object;
mod patience;
pub mod report;

#[cfg(test)]
mod fake_api;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::PluginId;

/// Marks a ConfigMap as a plugin, if it is `true`.
pub const PLUGIN_LABEL: &str = "wasm-metrics-adapter.io/plugin";
/// Marks a ConfigMap as a part of the component of the plugin that it names.
pub const PART_LABEL: &str = "wasm-metrics-adapter.io/part-of";
/// Marks a Secret as a credential, if it is `true`.
pub const CREDENTIAL_LABEL: &str = "wasm-metrics-adapter.io/credential";

/// What happened to the plugins, in order. Events may repeat; the last one of a plugin holds.
#[derive(Debug, Clone)]
pub enum Event {
    /// A plugin is there, or has changed.
    Put(RawPlugin),
    /// A plugin is gone.
    Remove(PluginId),
    /// A part or Secret is there, has changed or is gone: plugins that name it are worth another look.
    Touched(Dependency),
    /// All that existed when the watch (re)started has been delivered: plugins that were not are gone.
    Synced(Vec<PluginId>),
}

/// A plugin as its owner wrote it: a labelled ConfigMap, or files of that content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPlugin {
    /// The ConfigMap's namespace and name.
    pub id: PluginId,
    /// The object's identity for Events; empty for a file.
    pub uid: String,
    /// The object's resource version; a file's modification time. For logs and Events alone: never compared.
    pub version: String,
    /// `data["plugin.yaml"]`.
    pub manifest: Option<String>,
    /// Keys of the ConfigMap that may hold code (`plugin.wasm`, `plugin.wasm.gz`, `plugin.wasm.zst`), with their bytes
    /// as they are.
    pub code: BTreeMap<String, Bytes>,
    /// Keys that mean nothing to the adapter: each is an error of the plugin.
    pub unknown_keys: Vec<String>,
}

/// Another object that a plugin's manifest names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dependency {
    /// A ConfigMap that holds a part of a component.
    Part {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A Secret.
    Secret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// A part of a component: one ConfigMap of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `binaryData["part"]`.
    pub bytes: Bytes,
    /// The label `wasm-metrics-adapter.io/part-of`.
    pub part_of: Option<String>,
    /// Whether the ConfigMap is immutable.
    pub immutable: bool,
}

/// A Secret with what decides whether a plugin may use it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its `type`, as in `Opaque`.
    pub kind: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its values.
    pub data: BTreeMap<String, Bytes>,
}

impl std::fmt::Debug for Secret {
    /// Everything but the values, which must not reach a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, labels, annotations, data } = self;
        let keys: Vec<_> = data.keys().collect();
        formatter
            .debug_struct("Secret")
            .field("kind", kind)
            .field("labels", labels)
            .field("annotations", annotations)
            .field("keys", &keys)
            .finish()
    }
}

/// Why a named object could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// It exists, and is not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// It could not be asked for; worth a retry.
    #[error("{0}")]
    Unavailable(String),
}

/// Reads what manifests name.
#[async_trait]
pub trait Dependencies: Send + Sync + 'static {
    /// A part, asked for when it is needed: parts are large, and nothing keeps them in memory.
    async fn part(&self, namespace: &str, name: &str) -> Result<Part, ReadError>;

    /// A Secret.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError>;
}

/// The outcome of a load, told to the plugin's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The plugin.
    pub id: PluginId,
    /// As in the `RawPlugin` that was loaded.
    pub uid: String,
    /// As in the `RawPlugin` that was loaded.
    pub version: String,
    /// Whether this is good news (a `Normal` Event) or bad (a `Warning`).
    pub good: bool,
    /// One word in CamelCase, as in `Loaded` or `Rejected`.
    pub reason: &'static str,
    /// What happened and what to do, at most 1 KiB.
    pub message: String,
}

/// Tells owners: an Event on the ConfigMap, or a log line for a file.
#[async_trait]
pub trait Reporter: Send + Sync + 'static {
    /// Tells once; failing to tell is logged and not an error.
    async fn report(&self, report: Report);
}
