//! Where plugins come from: labelled ConfigMaps of a cluster, or a folder. A source watches and reads; it never
//! compiles, decodes or decides, and never writes to what it watches.

pub mod configmap;
pub mod directory;
mod object;
mod order;
pub mod plugin_files;
pub mod report;

#[cfg(test)]
mod fake_api;

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use zeroize::Zeroizing;

use crate::model::PluginId;

pub use order::is_older;

/// Marks a ConfigMap as a plugin, if it is `true`.
pub const PLUGIN_LABEL: &str = "wasm-metrics-adapter.io/plugin";
/// Marks a ConfigMap as a part of the component of the plugin that it names.
pub const PART_LABEL: &str = "wasm-metrics-adapter.io/part-of";
/// Marks a Secret or ServiceAccount as a credential, if it is `true`.
pub const CREDENTIAL_LABEL: &str = "wasm-metrics-adapter.io/credential";

/// What happened to the plugins, in order. Events may repeat; the last one of a plugin holds.
#[derive(Debug, Clone)]
pub enum Event {
    /// A plugin is there, or has changed.
    Put(RawPlugin),
    /// A plugin is gone.
    Remove(PluginId),
    /// A part, Secret or ConfigMap is there, has changed or is gone: plugins that name it are worth another look.
    Touched(Dependency),
    /// All that existed when a watch (re)started has been delivered: plugins of its scope that were not are gone.
    Synced {
        /// The watch's namespace; absent for a folder, which has all that there is.
        namespace: Option<String>,
        /// What was delivered.
        present: Vec<PluginId>,
    },
    /// The plugins of this namespace may not be listed: nothing is known of them, and nobody needs to wait for them.
    Unreadable(String),
}

/// A plugin as its owner wrote it: a labelled ConfigMap, or files of that content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPlugin {
    /// The ConfigMap's namespace and name.
    pub id: PluginId,
    /// The object's identity for Events; empty for a file.
    pub uid: String,
    /// The object's resource version, see [`is_older`]; a file's modification time.
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
    /// A ConfigMap that is neither a plugin nor a part.
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A ServiceAccount. It is not watched: each of its tokens asks it anew.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A file below the operator's folder.
    File {
        /// Its path there.
        path: String,
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

/// A ServiceAccount, as far as it decides who may have its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A token that the API server has issued. It is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The token itself.
    pub value: Zeroizing<String>,
    /// How long it is good from now on.
    pub lifetime: Duration,
}

impl std::fmt::Debug for IssuedToken {
    /// Without the token, which must not reach a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("IssuedToken").field("lifetime", &self.lifetime).finish_non_exhaustive()
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

/// Reads what manifests name, and plugins whose bytes were not kept.
#[async_trait]
pub trait Dependencies: Send + Sync + 'static {
    /// A plugin as it is now, which may be newer than any event about it.
    async fn plugin(&self, id: &PluginId) -> Result<RawPlugin, ReadError>;

    /// A part, asked for when it is needed: parts are large, and nothing keeps them in memory.
    async fn part(&self, namespace: &str, name: &str) -> Result<Part, ReadError>;

    /// A Secret.
    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError>;

    /// A file below the operator's folder, of at most `cap` bytes.
    async fn file(&self, path: &str, cap: usize) -> Result<Bytes, ReadError>;

    /// The text or bytes under `key` of a ConfigMap.
    async fn config_map_key(&self, namespace: &str, name: &str, key: &str) -> Result<Bytes, ReadError>;

    /// A ServiceAccount. Only a cluster has them.
    async fn service_account(&self, namespace: &str, name: &str) -> Result<ServiceAccount, ReadError> {
        Err(without_a_cluster(namespace, name))
    }

    /// A new token of a ServiceAccount (`TokenRequest` of authentication.k8s.io/v1), for `audience` alone; never one that the
    /// API server itself takes. The server may make its life shorter than `lifetime`.
    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        _audience: &str,
        _lifetime: Duration,
    ) -> Result<IssuedToken, ReadError> {
        Err(without_a_cluster(namespace, name))
    }
}

fn without_a_cluster(namespace: &str, name: &str) -> ReadError {
    ReadError::Malformed(format!(
        "ServiceAccount {namespace}/{name} can't be had without a cluster; name a Secret with a token in its place"
    ))
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
