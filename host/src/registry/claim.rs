//! Claims in order: for each name and each pattern, who claims it, the first of them being its owner where it answers.

use std::{cmp::Reverse, hash::Hash, sync::Arc};

use rpds::HashTrieMapSync;

use super::{
    name::{Name, Place},
    plugin::Plugin,
};
use crate::model::{Pattern, PluginId, Precedence};

/// A plugin's claim on a name (then without a pattern) or on a pattern.
#[derive(Clone)]
pub(super) struct Claim {
    pub(super) plugin: Arc<Plugin>,
    pub(super) pattern: Option<Arc<Pattern>>,
}

impl Claim {
    /// Orders claims on one name, the winner first: the adapter's own namespace before tenants; exact before pattern; the
    /// longer literal prefix; the higher priority; then namespace and name.
    pub(super) fn precedence(&self) -> impl Ord + '_ {
        let prefix = self.pattern.as_ref().map_or(usize::MAX, |pattern| pattern.literal_prefix_len());
        let id: &PluginId = self.plugin.id();
        (self.plugin.is_tenant(), self.pattern.is_some(), Reverse(prefix), Reverse(self.plugin.priority()), id)
    }

    /// The rule by which this claim comes before a later one.
    pub(super) fn precedes(&self, later: &Self) -> Precedence {
        let prefix = |claim: &Self| claim.pattern.as_ref().map(|pattern| pattern.literal_prefix_len());
        if self.plugin.is_tenant() != later.plugin.is_tenant() {
            Precedence::OwnNamespace
        } else if self.pattern.is_some() != later.pattern.is_some() {
            Precedence::Exact
        } else if prefix(self) != prefix(later) {
            Precedence::Prefix
        } else if self.plugin.priority() != later.plugin.priority() {
            Precedence::Priority
        } else {
            Precedence::Name
        }
    }

    fn covers(&self, name: &str, namespace: Option<&str>) -> bool {
        self.plugin.scope().includes(namespace) && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
    }
}

/// All claims of one API, those on one name or in one space in order.
///
/// It is a persistent map, so that a change costs as much as the plugin that changes has claims, not as all plugins have.
#[derive(Clone)]
pub(super) struct Table<N: Name> {
    exact: HashTrieMapSync<N, Arc<Vec<Claim>>>,
    patterns: HashTrieMapSync<N::Space, Arc<Vec<Claim>>>,
}

impl<N: Name> Default for Table<N> {
    fn default() -> Self {
        Self { exact: HashTrieMapSync::new_sync(), patterns: HashTrieMapSync::new_sync() }
    }
}

impl<N: Name> Table<N> {
    pub(super) fn add(&mut self, plugin: &Arc<Plugin>, places: Vec<Place<N>>) {
        for place in places {
            let plugin = Arc::clone(plugin);
            match place {
                Place::Exact(name) => insert(&mut self.exact, name, Claim { plugin, pattern: None }),
                Place::Pattern(space, pattern) => {
                    insert(&mut self.patterns, space, Claim { plugin, pattern: Some(Arc::new(pattern)) });
                }
            }
        }
    }

    pub(super) fn remove(&mut self, id: &PluginId, places: &[Place<N>]) {
        for place in places {
            match place {
                Place::Exact(name) => withdraw(&mut self.exact, name, id),
                Place::Pattern(space, _) => withdraw(&mut self.patterns, space, id),
            }
        }
    }

    /// Who answers `name` in `namespace`.
    pub(super) fn owner(&self, name: &N, namespace: Option<&str>) -> Option<&Arc<Plugin>> {
        let covers = |claim: &&Claim| claim.covers(name.text(), namespace);
        let exact = self.exact(name).iter().find(covers);
        let owner = match exact {
            // It is before every pattern, so none need be tried.
            Some(claim) if !claim.plugin.is_tenant() => Some(claim),
            _ => first_of(exact.into_iter().chain(self.patterns(name.space()).iter().find(covers))),
        };
        owner.map(|claim| &claim.plugin)
    }

    /// Every claim on `name`, wherever its plugin answers.
    pub(super) fn claims<'table>(&'table self, name: &'table N) -> impl Iterator<Item = &'table Claim> {
        let matching = |claim: &&Claim| claim.pattern.as_ref().is_some_and(|pattern| pattern.matches(name.text()));
        self.exact(name).iter().chain(self.patterns(name.space()).iter().filter(matching))
    }

    /// The claims on patterns of `space`, in order.
    pub(super) fn patterns(&self, space: &N::Space) -> &[Claim] {
        self.patterns.get(space).map(|claims| claims.as_slice()).unwrap_or_default()
    }

    fn exact(&self, name: &N) -> &[Claim] {
        self.exact.get(name).map(|claims| claims.as_slice()).unwrap_or_default()
    }
}

/// The one that wins.
pub(super) fn first_of<'table>(claims: impl Iterator<Item = &'table Claim>) -> Option<&'table Claim> {
    claims.min_by(|left, right| left.precedence().cmp(&right.precedence()))
}

fn insert<Key: Eq + Hash + Clone>(map: &mut HashTrieMapSync<Key, Arc<Vec<Claim>>>, key: Key, claim: Claim) {
    if map.get(&key).is_none() {
        map.insert_mut(key, Arc::new(vec![claim]));
    } else if let Some(claims) = map.get_mut(&key) {
        let position = claims.partition_point(|other| other.precedence() <= claim.precedence());
        Arc::make_mut(claims).insert(position, claim);
    }
}

fn withdraw<Key: Eq + Hash + Clone>(map: &mut HashTrieMapSync<Key, Arc<Vec<Claim>>>, key: &Key, id: &PluginId) {
    let is_theirs = |claim: &Claim| claim.plugin.id() == id;
    match map.get(key) {
        Some(claims) if claims.iter().all(is_theirs) => {
            map.remove_mut(key);
        }
        Some(claims) if claims.iter().any(is_theirs) => {
            if let Some(claims) = map.get_mut(key) {
                Arc::make_mut(claims).retain(|claim| !is_theirs(claim));
            }
        }
        _ => {}
    }
}
