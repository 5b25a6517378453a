//! A plugin with what lookups need of it, worked out once when it is put.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Entry, State,
    name::{Place, ResourceMetrics},
};
use crate::model::{CustomMetric, FetchError, Listed, MetricName, Pattern, PluginId, Provider, Reason};

pub(super) struct Plugin {
    entry: Entry,
    scope: Scope,
    /// The listed external metrics by their folded names. Of names that differ in case alone the first is reachable.
    spellings: HashMap<String, MetricName>,
}

/// Where a plugin answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// In every namespace, and for requests without one.
    Everywhere,
    /// In these.
    Namespaces(BTreeSet<String>),
}

impl Plugin {
    pub(super) fn of(entry: Entry) -> Self {
        let scope = scope(&entry);
        let mut spellings = HashMap::new();
        for name in listed(&entry).map(|listed| listed.external.as_slice()).unwrap_or_default() {
            spellings.entry(name.folded()).or_insert_with(|| name.clone());
        }
        Self { entry, scope, spellings }
    }

    pub(super) fn id(&self) -> &PluginId {
        &self.entry.id
    }

    pub(super) fn is_tenant(&self) -> bool {
        !self.entry.own_namespace
    }

    pub(super) fn is_shown(&self) -> bool {
        self.entry.shown
    }

    pub(super) fn priority(&self) -> i32 {
        self.entry.claims.priority
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn listed(&self) -> Option<&Listed> {
        listed(&self.entry)
    }

    /// The plugin itself, or why it can't be asked yet.
    pub(super) fn provider(&self) -> Result<Arc<dyn Provider>, FetchError> {
        match &self.entry.state {
            State::Ready { provider, .. } => Ok(Arc::clone(provider)),
            State::Loading => {
                let message = "it has not loaded yet; if that stays so, the Events of its ConfigMap say why";
                Err(FetchError::new(Reason::Loading, message).of(self.id()))
            }
        }
    }

    /// How the plugin lists the external metric of that folded name.
    pub(super) fn spelling(&self, folded: &str) -> Option<&MetricName> {
        self.spellings.get(folded)
    }

    /// What it claims of external metrics: what it says, or else what it lists.
    pub(super) fn external_places(&self) -> Vec<Place<String>> {
        match &self.entry.claims.external {
            Some(patterns) => patterns.iter().map(Pattern::folded).map(place).collect(),
            None => self.spellings.keys().cloned().map(Place::Exact).collect(),
        }
    }

    /// What it claims of custom metrics: what it says, or else what it lists. An exact claim that is no metric's name can
    /// match nothing, and is left out.
    pub(super) fn custom_places(&self) -> Vec<Place<CustomMetric>> {
        match &self.entry.claims.custom {
            Some(patterns) => {
                let claimed = patterns.iter().filter_map(|claim| {
                    if !claim.name.is_exact() {
                        return Some(Place::Pattern(claim.resource.clone(), claim.name.clone()));
                    }
                    let name = MetricName::new(claim.name.as_str()).ok()?;
                    Some(Place::Exact(CustomMetric { resource: claim.resource.clone(), name }))
                });
                claimed.collect()
            }
            None => self
                .listed()
                .map(|listed| listed.custom.iter().cloned().map(Place::Exact).collect())
                .unwrap_or_default(),
        }
    }

    /// Whether it claims metrics.k8s.io. A tenant can't: it would answer for other namespaces' pods.
    pub(super) fn resource_places(&self) -> Vec<Place<ResourceMetrics>> {
        let claimed = self.entry.claims.resource && !self.is_tenant();
        claimed.then_some(Place::Exact(ResourceMetrics)).into_iter().collect()
    }

    /// Whether both are the same but for the code behind them, so that no overview changes.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        self.listed() == other.listed()
            && self.entry.claims == other.entry.claims
            && self.entry.own_namespace == other.entry.own_namespace
            && self.entry.shown == other.entry.shown
    }
}

fn place(pattern: Pattern) -> Place<String> {
    if pattern.is_exact() { Place::Exact(pattern.as_str().to_owned()) } else { Place::Pattern((), pattern) }
}

fn listed(entry: &Entry) -> Option<&Listed> {
    match &entry.state {
        State::Ready { listed, .. } => Some(listed),
        State::Loading => None,
    }
}

fn scope(entry: &Entry) -> Scope {
    let wanted = entry.claims.namespaces.as_ref();
    if entry.own_namespace {
        return wanted.map_or(Scope::Everywhere, |namespaces| Scope::Namespaces(namespaces.iter().cloned().collect()));
    }
    let own = &entry.id.namespace;
    let allowed = wanted.is_none_or(|namespaces| namespaces.contains(own));
    Scope::Namespaces(allowed.then(|| own.clone()).into_iter().collect())
}

impl Scope {
    pub(super) fn includes(&self, namespace: Option<&str>) -> bool {
        match (self, namespace) {
            (Self::Everywhere, _) => true,
            (Self::Namespaces(_), None) => false,
            (Self::Namespaces(namespaces), Some(namespace)) => namespaces.contains(namespace),
        }
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everywhere, Self::Everywhere) => true,
            (Self::Namespaces(left), Self::Namespaces(right)) => !left.is_disjoint(right),
            (Self::Everywhere, Self::Namespaces(some)) | (Self::Namespaces(some), Self::Everywhere) => !some.is_empty(),
        }
    }
}
