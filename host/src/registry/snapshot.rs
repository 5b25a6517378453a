//! The registry at one moment: immutable, and shared by the calls that read it.

use std::sync::Arc;

use rpds::HashTrieMapSync;

use super::{
    Conflict, Entry,
    claim::Table,
    name::ResourceMetrics,
    overview::{self, Overview},
    plugin::Plugin,
};
use crate::model::{Catalog, CustomMetric, CustomQuery, GroupResource, ObjectSelection, PluginId};

/// Who answers what.
#[derive(Clone)]
pub struct Snapshot {
    pub(super) plugins: HashTrieMapSync<PluginId, Arc<Plugin>>,
    /// External metrics by their folded names.
    pub(super) external: Table<String>,
    pub(super) custom: Table<CustomMetric>,
    pub(super) resource: Table<ResourceMetrics>,
    overview: Arc<Overview>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            plugins: HashTrieMapSync::new_sync(),
            external: Table::default(),
            custom: Table::default(),
            resource: Table::default(),
            overview: Arc::default(),
        }
    }
}

impl Snapshot {
    /// What discovery shows: the metrics that a plugin lists and, in some namespace, would be asked for. Those of plugins that are
    /// not to be shown, as tenants' are not, are served all the same. The same `Arc` comes back until a plugin's list or claims change.
    ///
    /// The first call after such a change works it out; calls meanwhile wait for that, lookups don't.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(self.overview.catalog.get_or_init(|| Arc::new(overview::catalog(self))))
    }

    /// Every plugin that does not answer what it claims because another does, sorted. Worked out as [`Snapshot::catalog`] is.
    pub fn conflicts(&self) -> &[Conflict] {
        self.overview.conflicts.get_or_init(|| overview::conflicts(self))
    }

    /// The conflicts that `id` loses, sorted: what to tell its owner after a change, without working out everyone's.
    pub fn conflicts_of(&self, id: &PluginId) -> Vec<Conflict> {
        self.plugins.get(id).map(|plugin| overview::conflicts_of(self, plugin)).unwrap_or_default()
    }

    pub(super) fn custom_owner(&self, query: &CustomQuery) -> Option<Arc<Plugin>> {
        let namespace = match (&query.namespace, &query.objects) {
            // A Namespace is in no namespace, but a metric of it is its own namespace's affair.
            (None, ObjectSelection::Named(object)) if query.metric.resource == GroupResource::core("namespaces") => {
                Some(object)
            }
            (namespace, _) => namespace.as_ref(),
        };
        self.custom.owner(&query.metric, namespace.map(String::as_str)).cloned()
    }

    pub(super) fn external_owner(&self, folded: &String, namespace: &str) -> Option<Arc<Plugin>> {
        self.external.owner(folded, Some(namespace)).cloned()
    }

    pub(super) fn resource_owner(&self) -> Option<Arc<Plugin>> {
        self.resource.owner(&ResourceMetrics, None).cloned()
    }

    pub(super) fn with(&self, entry: Entry) -> Self {
        let plugin = Arc::new(Plugin::of(entry));
        let mut next = self.without(plugin.id());
        let looks_alike = self.plugins.get(plugin.id()).is_some_and(|old| old.looks_like(&plugin));
        next.overview = if looks_alike { Arc::clone(&self.overview) } else { Arc::default() };
        next.external.add(&plugin, plugin.external_places());
        next.custom.add(&plugin, plugin.custom_places());
        next.resource.add(&plugin, plugin.resource_places());
        next.plugins.insert_mut(plugin.id().clone(), plugin);
        next
    }

    pub(super) fn without(&self, id: &PluginId) -> Self {
        let mut next = self.clone();
        if let Some(old) = self.plugins.get(id) {
            next.external.remove(id, &old.external_places());
            next.custom.remove(id, &old.custom_places());
            next.resource.remove(id, &old.resource_places());
            next.plugins.remove_mut(id);
            next.overview = Arc::default();
        }
        next
    }
}
