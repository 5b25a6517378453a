//! The memory that all plugins' values share. When it is used up, who holds most gives first: a plugin that is asked a million
//! different questions pushes its own answers out, and not those of others.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering},
};

use crate::telemetry::Metrics;

/// Bytes of all values: about 100,000 answers of one series each, or 80 of 5,000 pods; a sixteenth of the memory that deploy/ grants.
const LIMIT: usize = 64 << 20;

/// An answer of more than this part of the store is given and not kept, so that no answer can push out most of the others.
const LARGEST: usize = 8;

/// The memory of the values of all plugins of this process.
pub struct Store {
    limit: usize,
    used: AtomicUsize,
    shelves: Mutex<Vec<Weak<dyn Evict>>>,
    pub(super) metrics: Arc<Metrics>,
}

/// One plugin's part of the store.
pub(super) trait Evict: Send + Sync {
    /// What it holds.
    fn bytes(&self) -> usize;

    /// Gives up one answer; false if there is none to give up.
    fn evict(&self) -> bool;
}

impl Store {
    /// An empty store, which counts in `metrics`.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self::with_limit(LIMIT, metrics)
    }

    /// The same for that many bytes.
    pub fn with_limit(limit: usize, metrics: Arc<Metrics>) -> Self {
        Self { limit, used: AtomicUsize::new(0), shelves: Mutex::default(), metrics }
    }

    /// Bytes of everything that is kept, about.
    pub fn bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// The most bytes of an answer that is kept.
    pub(super) fn largest(&self) -> usize {
        self.limit / LARGEST
    }

    pub(super) fn register(&self, shelf: Weak<dyn Evict>) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.retain(|shelf| shelf.strong_count() > 0);
        shelves.push(shelf);
    }

    /// Accounts for something that weighed `before` and weighs `after`.
    pub(super) fn account(&self, before: usize, after: usize) {
        self.used.fetch_add(after, Ordering::Relaxed);
        let used = self.used.fetch_sub(before, Ordering::Relaxed).saturating_sub(before);
        self.metrics.value_cache_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
    }

    /// Makes room, if there is too little.
    pub(super) fn settle(&self) {
        if self.bytes() <= self.limit {
            return;
        }
        let shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let mut holders: Vec<Arc<dyn Evict>> = shelves.iter().filter_map(Weak::upgrade).collect();
        while self.bytes() > self.limit {
            let Some((place, most)) = holders.iter().enumerate().max_by_key(|(_, holder)| holder.bytes()) else {
                return;
            };
            if most.evict() {
                self.metrics.value_cache_evictions.inc();
            } else {
                holders.swap_remove(place);
            }
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}
