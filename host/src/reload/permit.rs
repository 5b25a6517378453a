//! What the operator grants a plugin at this moment: the policy's word, and the plugin's place among those of its namespace.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use super::Shared;
use crate::{
    manifest::PluginConfiguration,
    model::PluginId,
    policy::{Asked, Ceilings, Refusal},
};

/// The plugins that the source has. A quota lets in the first of a namespace by name: an order that depends on the objects alone, so
/// that replicas agree.
#[derive(Debug, Default)]
pub struct Roll(Mutex<BTreeSet<PluginId>>);

impl Roll {
    /// False if it was there.
    pub(super) fn enter(&self, id: &PluginId) -> bool {
        self.with(|plugins| plugins.insert(id.clone()))
    }

    /// False if it was not there.
    pub(super) fn leave(&self, id: &PluginId) -> bool {
        self.with(|plugins| plugins.remove(id))
    }

    /// How many of its namespace come before `id`.
    fn before(&self, id: &PluginId) -> usize {
        let first = PluginId { namespace: id.namespace.clone(), name: String::new() };
        self.with(|plugins| plugins.range(first..id.clone()).count())
    }

    fn with<R>(&self, work: impl FnOnce(&mut BTreeSet<PluginId>) -> R) -> R {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// What the policy grants plugin `id` of these settings; `inline` tells that its code is in the ConfigMap itself.
    pub(super) fn judge(
        &self,
        id: &PluginId,
        configuration: &PluginConfiguration,
        inline: bool,
    ) -> Result<Ceilings, Refusal> {
        let asked = Asked { id, configuration, inline, before: self.roll.before(id) };
        self.policy.borrow().judge(&asked, self.is_own(&id.namespace))
    }

    /// The same of settings that are yet to be read; none where they can't be.
    pub(super) fn judge_text(
        &self,
        id: &PluginId,
        manifest: Option<&str>,
        inline: bool,
    ) -> Option<Result<Ceilings, Refusal>> {
        let configuration = PluginConfiguration::parse(manifest).ok()?;
        Some(self.judge(id, &configuration, inline))
    }

    /// Whether the number of plugins in a namespace matters.
    pub(super) fn has_quota(&self, namespace: &str) -> bool {
        self.policy.borrow().ceilings(namespace, self.is_own(namespace)).plugins.is_some()
    }

    /// Plugins of other namespaces are tenants.
    pub(super) fn is_own(&self, namespace: &str) -> bool {
        namespace == self.own_namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(namespace: &str, name: &str) -> PluginId {
        PluginId { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn the_place_is_that_of_the_name_within_its_namespace() {
        let roll = Roll::default();
        for (namespace, name) in [("shop", "b"), ("shop", "a"), ("billing", "z"), ("shop", "c"), ("zoo", "a")] {
            assert!(roll.enter(&id(namespace, name)));
        }
        assert!(!roll.enter(&id("shop", "a")), "it was there");
        let places = |names: [&str; 3]| names.map(|name| roll.before(&id("shop", name)));
        assert_eq!(places(["a", "b", "c"]), [0, 1, 2]);
        assert_eq!(roll.before(&id("billing", "z")), 0);
        assert!(roll.leave(&id("shop", "a")) && !roll.leave(&id("shop", "a")));
        assert_eq!(places(["a", "b", "c"]), [0, 0, 1]);
    }
}
