//! Plugins from a folder, for development and tests: `NAME.wasm` (or `.wasm.gz`, `.wasm.zst`) with `NAME.yaml` beside
//! it, and YAML files with the ConfigMaps and Secrets of a cluster as they are. The folder is looked at four times a
//! second (docs/decisions/0002); a file counts once it is at rest, and what can't be read keeps its last good state.
//! Never writes.

mod files;
mod objects;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::mpsc::Sender;

use crate::model::PluginId;

use super::{Dependencies, Dependency, Event, Part, RawPlugin, ReadError, Secret, object, plugin_files::no_folder};
use files::{Files, Group};
use objects::Objects;

/// How often the folder is looked at: a person doesn't notice the delay, and comparing the times of some files costs
/// nothing.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Watches one folder, not those below it.
#[derive(Debug)]
pub struct DirectorySource {
    files: Files,
    /// The namespace of what doesn't say one.
    namespace: String,
    /// What each group of files held when it was last read well.
    groups: BTreeMap<String, Objects>,
    shared: Arc<Mutex<Shared>>,
    synced: bool,
}

/// What is in all files, by namespace and name.
#[derive(Debug, Default)]
struct Shared {
    plugins: BTreeMap<PluginId, RawPlugin>,
    parts: BTreeMap<(String, String), Result<Part, ReadError>>,
    secrets: BTreeMap<(String, String), Secret>,
    config_maps: BTreeMap<(String, String), ConfigMap>,
}

impl DirectorySource {
    /// Will watch `path`; nothing is read yet. What doesn't say a namespace is of `namespace`.
    pub fn new(path: impl Into<PathBuf>, namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        Self {
            files: Files::new(path.into()),
            namespace,
            groups: BTreeMap::new(),
            shared: Arc::default(),
            synced: false,
        }
    }

    /// Reads what the folder's manifests name.
    pub fn dependencies(&self) -> DirectoryDependencies {
        DirectoryDependencies { shared: Arc::clone(&self.shared) }
    }

    /// Sends what happens until `events` is closed.
    pub async fn run(mut self, events: Sender<Event>) {
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let looked = tokio::task::spawn_blocking(move || {
                let happened = self.look();
                (self, happened)
            });
            let Ok((source, happened)) = looked.await else { return };
            self = source;
            for event in happened {
                if events.send(event).await.is_err() {
                    return;
                }
            }
            if events.is_closed() {
                return;
            }
        }
    }

    /// What happened since the last look. Blocks for as long as reading the changed files takes.
    fn look(&mut self) -> Vec<Event> {
        let changes = self.files.look();
        if changes.changed.is_empty() && (self.synced || !changes.at_rest) {
            return Vec::new();
        }
        let before = self.plugins();
        for (name, group) in changes.changed {
            match group {
                None => {
                    self.groups.remove(&name);
                }
                Some(group) => self.take(name, &group),
            }
        }
        let after = self.plugins();
        let mut happened = self.share(after.clone());
        happened.extend(before.keys().filter(|id| !after.contains_key(*id)).cloned().map(Event::Remove));
        let put = after.iter().filter(|(id, plugin)| before.get(*id) != Some(*plugin));
        happened.extend(put.map(|(_, plugin)| Event::Put(plugin.clone())));
        if changes.at_rest && !self.synced {
            self.synced = true;
            happened.push(Event::Synced { namespace: None, present: after.into_keys().collect() });
        }
        happened
    }

    /// Keeps the last good state of files that make no sense.
    fn take(&mut self, name: String, group: &Group) {
        match Objects::of(&name, group, &self.namespace) {
            Ok(objects) => {
                self.groups.insert(name, objects);
            }
            Err(error) => {
                tracing::warn!(file = %group.describe(), %error, "files could not be read and are left as they were");
            }
        }
    }

    /// All plugins; of two with one id, that of the first file in alphabetical order.
    fn plugins(&self) -> BTreeMap<PluginId, RawPlugin> {
        let mut plugins = BTreeMap::new();
        for plugin in self.groups.values().flat_map(|objects| &objects.plugins) {
            if plugins.contains_key(&plugin.id) {
                tracing::debug!(plugin = %plugin.id, "two files hold a plugin of this name; the first in alphabetical order counts");
            } else {
                plugins.insert(plugin.id.clone(), plugin.clone());
            }
        }
        plugins
    }

    /// Lets `DirectoryDependencies` see what there is now, and tells which parts, Secrets and ConfigMaps are others than before.
    fn share(&self, plugins: BTreeMap<PluginId, RawPlugin>) -> Vec<Event> {
        let mut now = Shared { plugins, ..Shared::default() };
        // The first file in alphabetical order counts, so it is written last.
        for objects in self.groups.values().rev() {
            now.parts.extend(objects.parts.clone());
            now.secrets.extend(objects.secrets.clone());
            now.config_maps.extend(objects.config_maps.clone());
        }
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = different(&shared.parts, &now.parts).into_iter();
        let parts = parts.map(|(namespace, name)| Dependency::Part { namespace, name });
        let secrets = different(&shared.secrets, &now.secrets).into_iter();
        let secrets = secrets.map(|(namespace, name)| Dependency::Secret { namespace, name });
        let config_maps = different(&shared.config_maps, &now.config_maps).into_iter();
        let config_maps = config_maps.map(|(namespace, name)| Dependency::ConfigMap { namespace, name });
        let touched = parts.chain(secrets).chain(config_maps).map(Event::Touched).collect();
        *shared = now;
        touched
    }
}

/// Keys whose values are not the same in both, or only in one.
fn different<K: Ord + Clone, V: PartialEq>(before: &BTreeMap<K, V>, after: &BTreeMap<K, V>) -> BTreeSet<K> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

/// Plugins of a folder, and parts, Secrets and ConfigMaps of its YAML files.
#[derive(Debug, Clone)]
pub struct DirectoryDependencies {
    shared: Arc<Mutex<Shared>>,
}

impl DirectoryDependencies {
    fn shared(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Dependencies for DirectoryDependencies {
    async fn plugin(&self, id: &PluginId) -> Result<RawPlugin, ReadError> {
        let plugin = self.shared().plugins.get(id).cloned();
        plugin.ok_or_else(|| ReadError::NotFound(format!("plugin {id} in the plugin folder")))
    }

    async fn part(&self, namespace: &str, name: &str) -> Result<Part, ReadError> {
        let part = self.shared().parts.get(&(namespace.to_owned(), name.to_owned())).cloned();
        part.unwrap_or_else(|| Err(ReadError::NotFound(format!("ConfigMap {namespace}/{name} in the plugin folder"))))
    }

    async fn secret(&self, namespace: &str, name: &str) -> Result<Secret, ReadError> {
        let secret = self.shared().secrets.get(&(namespace.to_owned(), name.to_owned())).cloned();
        secret.ok_or_else(|| ReadError::NotFound(format!("Secret {namespace}/{name} in the plugin folder")))
    }

    async fn config_map_key(&self, namespace: &str, name: &str, key: &str) -> Result<Bytes, ReadError> {
        let found = self.shared().config_maps.get(&(namespace.to_owned(), name.to_owned())).cloned();
        let name = format!("{namespace}/{name}");
        let found = found.ok_or_else(|| ReadError::NotFound(format!("ConfigMap {name} in the plugin folder")))?;
        object::config_map_key(found, &name, key)
    }

    async fn file(&self, path: &str, _cap: usize) -> Result<Bytes, ReadError> {
        Err(no_folder(path))
    }
}

#[cfg(test)]
mod tests;
