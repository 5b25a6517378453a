//! Where every plugin stands, for `/debug/plugins`: Events are for owners and fade, this is the present.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use crate::model::PluginId;

/// All plugins that the source has.
#[derive(Default)]
pub struct Board(Mutex<BTreeMap<PluginId, Standing>>);

/// Where one plugin stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The newest version's fate: `loaded`, `suspended`, `waiting` or `rejected`.
    pub outcome: &'static str,
    /// Why, and what to do.
    pub message: String,
    /// Whether a version serves, the newest or the last good one.
    pub serving: bool,
    /// How often it has been loaded by this process.
    pub generation: u64,
    /// The newest version of the ConfigMap.
    pub version: String,
    /// Metrics that another plugin answers in its stead.
    pub conflicts: Vec<String>,
}

#[derive(Serialize)]
struct Named<'board> {
    plugin: String,
    #[serde(flatten)]
    standing: &'board Standing,
}

impl Board {
    /// Notes a version's fate.
    pub(super) fn note(&self, id: &PluginId, standing: Standing) {
        self.with(|plugins| {
            let known = plugins.entry(id.clone()).or_default();
            let conflicts = std::mem::take(&mut known.conflicts);
            *known = Standing { conflicts, ..standing };
        });
    }

    /// Notes what a plugin lost to others.
    pub(super) fn note_conflicts(&self, id: &PluginId, conflicts: Vec<String>) {
        self.with(|plugins| plugins.entry(id.clone()).or_default().conflicts = conflicts);
    }

    pub(super) fn forget(&self, id: &PluginId) {
        self.with(|plugins| plugins.remove(id));
    }

    /// Every plugin, sorted by namespace and name, as JSON.
    pub fn to_json(&self) -> String {
        self.with(|plugins| {
            let named = plugins.iter().map(|(id, standing)| Named { plugin: id.to_string(), standing });
            let plugins: Vec<_> = named.collect();
            serde_json::json!({ "plugins": plugins }).to_string()
        })
    }

    fn with<R>(&self, work: impl FnOnce(&mut BTreeMap<PluginId, Standing>) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_stay_when_a_new_version_is_noted() {
        let board = Board::default();
        let id = PluginId { namespace: "ns".to_owned(), name: "mq".to_owned() };
        board.note_conflicts(&id, vec!["external queue_depth: ns/other".to_owned()]);
        board.note(&id, Standing { outcome: "loaded", serving: true, generation: 2, ..Standing::default() });
        let json: serde_json::Value = serde_json::from_str(&board.to_json()).unwrap();
        assert_eq!(json["plugins"][0]["plugin"], "ns/mq");
        assert_eq!(json["plugins"][0]["generation"], 2);
        assert_eq!(json["plugins"][0]["conflicts"][0], "external queue_depth: ns/other");
        board.forget(&id);
        assert_eq!(board.to_json(), r#"{"plugins":[]}"#);
    }
}
