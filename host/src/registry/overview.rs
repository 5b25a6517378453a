//! What a snapshot amounts to as a whole: the metrics to show, and who loses what to whom. Derived from claims and lists alone.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::{
    Snapshot,
    claim::{Claim, Table, first_of},
    name::{Name, Place},
    plugin::{Plugin, Scope},
};
use crate::model::{Catalog, CustomMetric, GroupResource, MetricName, Pattern, PluginId};

/// Worked out on demand, once.
#[derive(Default)]
pub(super) struct Overview {
    pub(super) catalog: OnceLock<Arc<Catalog>>,
    pub(super) conflicts: OnceLock<Vec<Conflict>>,
}

/// A plugin claims or lists what another one answers, at least in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// Who is not asked.
    pub loser: PluginId,
    /// What for.
    pub claimed: Claimed,
    /// Who is.
    pub winner: PluginId,
}

/// What is claimed, one metric or a pattern of them; prints as in `external queue_*`, `custom pods/queue_depth` or
/// `resource metrics`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claimed {
    /// External metrics, in lower case.
    External(Pattern),
    /// Custom metrics.
    Custom(GroupResource, Pattern),
    /// All of metrics.k8s.io.
    Resource,
}

impl fmt::Display for Claimed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External(pattern) => write!(formatter, "external {}", pattern.as_str()),
            Self::Custom(resource, pattern) => write!(formatter, "custom {resource}/{}", pattern.as_str()),
            Self::Resource => formatter.write_str("resource metrics"),
        }
    }
}

pub(super) fn catalog(snapshot: &Snapshot) -> Catalog {
    let mut catalog = Catalog::default();
    for plugin in snapshot.plugins.values().filter(|plugin| plugin.is_shown()) {
        let Some(listed) = plugin.listed() else { continue };
        catalog
            .custom
            .extend(listed.custom.iter().filter(|metric| is_asked(&snapshot.custom, *metric, plugin)).cloned());
        let is_shown = |name: &&MetricName| {
            let folded = name.folded();
            plugin.spelling(&folded) == Some(*name) && is_asked(&snapshot.external, &folded, plugin)
        };
        catalog.external.extend(listed.external.iter().filter(is_shown).cloned());
    }
    catalog.custom.sort();
    catalog.custom.dedup();
    catalog.external.sort();
    catalog.external.dedup();
    catalog
}

/// Whether `plugin` answers `name` in some namespace.
fn is_asked<N: Name>(table: &Table<N>, name: &N, plugin: &Arc<Plugin>) -> bool {
    let asked_in = |namespace| table.owner(name, namespace).is_some_and(|owner| Arc::ptr_eq(owner, plugin));
    match plugin.scope() {
        // Plugins for some namespaces can't take all of them, and without a namespace only the others are asked.
        Scope::Everywhere => asked_in(None),
        Scope::Namespaces(namespaces) => namespaces.iter().any(|namespace| asked_in(Some(namespace.as_str()))),
    }
}

pub(super) fn conflicts(snapshot: &Snapshot) -> Vec<Conflict> {
    let mut conflicts: Vec<Conflict> =
        snapshot.plugins.values().flat_map(|plugin| conflicts_of(snapshot, plugin)).collect();
    conflicts.sort();
    conflicts
}

/// What `plugin` loses of what it names: its claims, and what it lists. A name that an exact claim takes out of a pattern is no
/// conflict, unless the plugin of that pattern lists it.
pub(super) fn conflicts_of(snapshot: &Snapshot, plugin: &Plugin) -> Vec<Conflict> {
    let (custom, external) =
        plugin.listed().map(|listed| (listed.custom.as_slice(), listed.external.as_slice())).unwrap_or_default();
    let mut external_places = plugin.external_places();
    external_places.extend(external.iter().map(|name| Place::Exact(name.folded())));
    let mut custom_places = plugin.custom_places();
    custom_places.extend(custom.iter().cloned().map(Place::Exact));

    let external = losses(&snapshot.external, external_places, plugin).into_iter().map(|(place, winner)| {
        let claimed = match place {
            Place::Exact(name) => Pattern::new(name),
            Place::Pattern((), pattern) => pattern,
        };
        (Claimed::External(claimed), winner)
    });
    let custom = losses(&snapshot.custom, custom_places, plugin).into_iter().map(|(place, winner)| {
        let claimed = match place {
            Place::Exact(CustomMetric { resource, name }) => Claimed::Custom(resource, Pattern::new(name.as_str())),
            Place::Pattern(resource, pattern) => Claimed::Custom(resource, pattern),
        };
        (claimed, winner)
    });
    let resource = losses(&snapshot.resource, plugin.resource_places(), plugin).into_iter();
    let resource = resource.map(|(_, winner)| (Claimed::Resource, winner));
    let loser = plugin.id();
    let mut conflicts: Vec<Conflict> = external
        .chain(custom)
        .chain(resource)
        .map(|(claimed, winner)| Conflict { loser: loser.clone(), claimed, winner })
        .collect();
    conflicts.sort();
    conflicts.dedup();
    conflicts
}

/// Those of `places` where another plugin is before `plugin` and answers where it would.
fn losses<N: Name>(table: &Table<N>, places: Vec<Place<N>>, plugin: &Plugin) -> Vec<(Place<N>, PluginId)> {
    let is_own = |claim: &&Claim| claim.plugin.id() == plugin.id();
    let lost = places.into_iter().filter_map(|place| {
        let mut rivals: Vec<&Claim> = match &place {
            Place::Exact(name) => table.claims(name).collect(),
            // Different patterns may overlap: that the longer prefix wins there is what it is for.
            Place::Pattern(space, pattern) => {
                table.patterns(space).iter().filter(|claim| claim.pattern.as_deref() == Some(pattern)).collect()
            }
        };
        // A name that it lists and does not claim is not lost.
        let own = first_of(rivals.iter().copied().filter(is_own))?;
        rivals.retain(|claim| {
            !is_own(claim) && claim.precedence() < own.precedence() && claim.plugin.scope().overlaps(plugin.scope())
        });
        let winner = first_of(rivals.into_iter())?.plugin.id().clone();
        Some((place, winner))
    });
    lost.collect()
}
