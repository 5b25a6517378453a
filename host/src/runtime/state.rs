//! What guests keep between calls: by plugin and namespace of the request, in memory, within a quota.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use crate::model::PluginId;

/// How many namespaces' quotas one plugin may use up in sum.
const FULL_NAMESPACES: usize = 16;
/// Keys that one plugin may keep for one namespace; bounds the cost of the map itself.
const QUOTA_KEYS: usize = 4096;
/// Namespaces for which one plugin may keep anything: whoever may ask for metrics chooses the namespace in the URL.
const QUOTA_NAMESPACES: usize = 1024;

/// All plugins' values.
#[derive(Default)]
pub(super) struct States {
    plugins: Mutex<HashMap<PluginId, Arc<PluginState>>>,
}

impl States {
    /// A plugin's values; they survive its reload.
    pub(super) fn of(&self, plugin: &PluginId) -> Arc<PluginState> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.entry(plugin.clone()).or_default().clone()
    }

    pub(super) fn forget(&self, plugin: &PluginId) {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner).remove(plugin);
    }
}

/// One plugin's values. Calls without a namespace have a room of their own.
#[derive(Default)]
pub(super) struct PluginState {
    namespaces: Mutex<HashMap<Option<String>, Values>>,
}

/// Where a call keeps its values.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The namespace of the request.
    pub(super) namespace: &'a Option<String>,
    /// Bytes of keys and values for it.
    pub(super) quota_bytes: usize,
}

#[derive(Default)]
struct Values {
    entries: HashMap<String, Entry>,
    bytes: usize,
}

struct Entry {
    value: Vec<u8>,
    set: Instant,
}

/// A value with its age.
pub(super) struct Kept {
    pub(super) value: Vec<u8>,
    pub(super) age_ms: u64,
}

/// The quota is used up. The text is for the plugin.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum QuotaExceeded {
    #[error(
        "the state of this plugin for this namespace would exceed {quota_bytes} bytes; delete keys, keep less, or raise limits.stateBytes"
    )]
    Bytes { quota_bytes: usize },
    #[error(
        "the state of this plugin for all namespaces would exceed {quota_bytes} bytes, 16 times limits.stateBytes; delete keys, keep less, or raise that"
    )]
    AllBytes { quota_bytes: usize },
    #[error("the state of this plugin for this namespace would exceed {QUOTA_KEYS} keys; delete keys or keep less")]
    Keys,
    #[error("this plugin keeps state for {QUOTA_NAMESPACES} namespaces already")]
    Namespaces,
}

impl PluginState {
    pub(super) fn get(&self, namespace: &Option<String>, key: &str) -> Option<Kept> {
        self.with(|namespaces| {
            let entry = namespaces.get(namespace)?.entries.get(key)?;
            let age_ms = u64::try_from(entry.set.elapsed().as_millis()).unwrap_or(u64::MAX);
            Some(Kept { value: entry.value.clone(), age_ms })
        })
    }

    pub(super) fn set(&self, place: Place<'_>, key: String, value: Vec<u8>) -> Result<(), QuotaExceeded> {
        self.with(|namespaces| Self::put(namespaces, place, key, value))
    }

    /// Sets `key` if it holds `expected`; false if it does not.
    pub(super) fn compare_and_set(
        &self,
        place: Place<'_>,
        key: String,
        expected: Option<&[u8]>,
        value: Vec<u8>,
    ) -> Result<bool, QuotaExceeded> {
        self.with(|namespaces| {
            let current = namespaces.get(place.namespace).and_then(|values| values.entries.get(&key));
            if current.map(|entry| entry.value.as_slice()) != expected {
                return Ok(false);
            }
            Self::put(namespaces, place, key, value).map(|()| true)
        })
    }

    pub(super) fn delete(&self, namespace: &Option<String>, key: &str) {
        self.with(|namespaces| {
            let Some(values) = namespaces.get_mut(namespace) else { return };
            if let Some(entry) = values.entries.remove(key) {
                values.bytes -= key.len() + entry.value.len();
            }
            if values.entries.is_empty() {
                namespaces.remove(namespace);
            }
        });
    }

    fn with<R>(&self, work: impl FnOnce(&mut HashMap<Option<String>, Values>) -> R) -> R {
        work(&mut self.namespaces.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(
        namespaces: &mut HashMap<Option<String>, Values>,
        Place { namespace, quota_bytes }: Place<'_>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), QuotaExceeded> {
        let all: usize = namespaces.values().map(|values| values.bytes).sum();
        let quota_of_all = quota_bytes.saturating_mul(FULL_NAMESPACES);
        if !namespaces.contains_key(namespace) && namespaces.len() >= QUOTA_NAMESPACES {
            return Err(QuotaExceeded::Namespaces);
        }
        let known = namespaces.get(namespace);
        let old = known.and_then(|values| values.entries.get(&key)).map(|entry| key.len() + entry.value.len());
        let before = known.map_or(0, |values| values.bytes);
        let bytes = before - old.unwrap_or(0) + key.len() + value.len();
        if bytes > quota_bytes {
            return Err(QuotaExceeded::Bytes { quota_bytes });
        }
        if all - before + bytes > quota_of_all {
            return Err(QuotaExceeded::AllBytes { quota_bytes: quota_of_all });
        }
        if old.is_none() && known.map_or(0, |values| values.entries.len()) >= QUOTA_KEYS {
            return Err(QuotaExceeded::Keys);
        }
        let values = namespaces.entry(namespace.clone()).or_default();
        values.bytes = bytes;
        values.entries.insert(key, Entry { value, set: Instant::now() });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA_BYTES: usize = 1 << 20;

    fn shop() -> Option<String> {
        Some("shop".to_owned())
    }

    fn place(namespace: &Option<String>) -> Place<'_> {
        Place { namespace, quota_bytes: QUOTA_BYTES }
    }

    #[test]
    fn namespaces_and_plugins_do_not_see_each_other() {
        let states = States::default();
        let id = |name: &str| PluginId { namespace: "ns".to_owned(), name: name.to_owned() };
        states.of(&id("a")).set(place(&shop()), "key".to_owned(), b"1".to_vec()).unwrap();
        assert!(states.of(&id("b")).get(&shop(), "key").is_none());
        assert!(states.of(&id("a")).get(&None, "key").is_none());
        assert_eq!(states.of(&id("a")).get(&shop(), "key").unwrap().value, b"1");
        states.forget(&id("a"));
        assert!(states.of(&id("a")).get(&shop(), "key").is_none());
    }

    #[test]
    fn compare_and_set_notices_another_call() {
        let state = PluginState::default();
        assert_eq!(state.compare_and_set(place(&shop()), "n".to_owned(), Some(b"0"), b"1".to_vec()), Ok(false));
        assert_eq!(state.compare_and_set(place(&shop()), "n".to_owned(), None, b"1".to_vec()), Ok(true));
        assert_eq!(state.compare_and_set(place(&shop()), "n".to_owned(), None, b"2".to_vec()), Ok(false));
        assert_eq!(state.compare_and_set(place(&shop()), "n".to_owned(), Some(b"1"), b"2".to_vec()), Ok(true));
        state.delete(&shop(), "n");
        assert!(state.get(&shop(), "n").is_none());
    }

    #[test]
    fn the_quota_counts_what_is_kept_now() {
        let state = PluginState::default();
        let half = vec![0; QUOTA_BYTES / 2];
        for _ in 0..3 {
            state.set(place(&shop()), "same".to_owned(), half.clone()).unwrap();
        }
        assert_eq!(
            state.set(place(&shop()), "other".to_owned(), half.clone()),
            Err(QuotaExceeded::Bytes { quota_bytes: QUOTA_BYTES })
        );
        state.delete(&shop(), "same");
        state.set(place(&shop()), "other".to_owned(), half).unwrap();
    }

    #[test]
    fn many_namespaces_share_a_quota_too() {
        let state = PluginState::default();
        let mut filled = 0;
        let refused = loop {
            let namespace = Some(format!("ns-{filled}"));
            match state.set(place(&namespace), "key".to_owned(), vec![0; QUOTA_BYTES - 3]) {
                Ok(()) => filled += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((filled, &refused), (16, &QuotaExceeded::AllBytes { quota_bytes: 16 << 20 }));
        state.delete(&Some("ns-3".to_owned()), "key");
        state.set(place(&Some("ns-16".to_owned())), "key".to_owned(), vec![0; 1]).unwrap();
    }

    #[test]
    fn a_write_that_is_refused_leaves_nothing_behind() {
        let state = PluginState::default();
        for name in 0..2 * QUOTA_NAMESPACES {
            let namespace = Some(format!("ns-{name}"));
            assert!(state.set(place(&namespace), "key".to_owned(), vec![0; QUOTA_BYTES]).is_err());
        }
        state.set(place(&shop()), "key".to_owned(), b"1".to_vec()).unwrap();
    }

    #[test]
    fn keys_are_counted() {
        let state = PluginState::default();
        let set = |key: usize| state.set(place(&shop()), key.to_string(), Vec::new());
        (0..QUOTA_KEYS).for_each(|key| set(key).unwrap());
        assert_eq!(set(QUOTA_KEYS), Err(QuotaExceeded::Keys));
        assert_eq!(set(7), Ok(()), "a key that is there may be set again");
    }
}
