//! Which of two versions of an object is the older one, so that what a watch says late, twice or out of order changes nothing.
//!
//! Resource versions of one resource are integers that only grow, whatever the object and its uid: one that is deleted and made
//! again has a larger one (KEP-5504, stable in Kubernetes 1.35, and what etcd has always given; `CompareResourceVersion` in
//! apimachinery's `pkg/util/resourceversion`). They go backwards only where etcd is restored from a backup, after which Kubernetes
//! asks for a restart of whatever watches.

use std::{
    cmp::Ordering,
    collections::{HashMap, HashSet},
};

use crate::model::PluginId;

/// Whether `version` comes before `other`. What is not a resource version, as the time of a file, is never older.
pub fn is_older(version: &str, other: &str) -> bool {
    compare(version, other) == Some(Ordering::Less)
}

/// Digits without a zero in front, of any length.
fn compare(one: &str, other: &str) -> Option<Ordering> {
    let is_well_formed =
        |version: &str| matches!(version.as_bytes(), [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    let both = is_well_formed(one) && is_well_formed(other);
    both.then(|| one.len().cmp(&other.len()).then_with(|| one.cmp(other)))
}

/// The newest that a watch has told of each plugin.
#[derive(Default)]
pub(super) struct Newest {
    present: HashMap<PluginId, String>,
    /// The newest version of all that are gone: whatever is no newer is one of them.
    gone: String,
}

impl Newest {
    /// Whether a plugin in this version is news, or at least no older than what is known.
    pub(super) fn takes(&mut self, id: &PluginId, version: &str) -> bool {
        let known = self.present.get(id).unwrap_or(&self.gone);
        if is_older(version, known) {
            tracing::warn!(plugin = %id, version, known, "an older version of the plugin than the one known is passed over; if the cluster was restored from a backup, restart the adapter");
            return false;
        }
        self.present.insert(id.clone(), version.to_owned());
        true
    }

    /// Whether a plugin that was deleted in this version is gone: not if it was made again since.
    pub(super) fn removes(&mut self, id: &PluginId, version: &str) -> bool {
        if self.present.get(id).is_some_and(|known| is_older(version, known)) {
            return false;
        }
        self.present.remove(id);
        self.bury(version);
        true
    }

    /// A list is complete: what it does not have is gone.
    pub(super) fn keep(&mut self, listed: &[PluginId]) {
        let listed: HashSet<_> = listed.iter().collect();
        let gone: Vec<_> = self.present.extract_if(|id, _| !listed.contains(id)).collect();
        gone.iter().for_each(|(_, version)| self.bury(version));
    }

    fn bury(&mut self, version: &str) {
        if compare(version, &self.gone) != Some(Ordering::Less) {
            version.clone_into(&mut self.gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> PluginId {
        PluginId { namespace: "shop".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn integers_of_any_length_are_compared_and_nothing_else_is() {
        assert!(is_older("9", "10") && is_older("99999999999999999999998", "99999999999999999999999"));
        assert!(!is_older("10", "9") && !is_older("10", "10"));
        for other in ["", "0", "07", "1a", "-1", "2026-01-01T00:00:00Z"] {
            assert!(!is_older(other, "5") && !is_older("5", other), "{other}");
        }
    }

    #[test]
    fn what_is_gone_comes_back_only_newer() {
        let mut newest = Newest::default();
        assert!(newest.takes(&id("queue"), "5") && newest.takes(&id("queue"), "5") && !newest.takes(&id("queue"), "4"));
        assert!(newest.removes(&id("queue"), "8"));
        assert!(!newest.takes(&id("queue"), "5"), "told late");
        assert!(newest.takes(&id("queue"), "9") && !newest.removes(&id("queue"), "8"), "made again");
        newest.keep(&[]);
        assert!(!newest.takes(&id("queue"), "8") && newest.takes(&id("queue"), "10"));
    }
}
