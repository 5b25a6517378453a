//! What a worker has yet to do, coalesced: the newest version of its plugin, and what it depends on that was touched.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::source::{Dependency, RawPlugin};

/// Filled by the reloader, emptied by one worker.
#[derive(Default)]
pub(super) struct Inbox {
    pending: Mutex<Pending>,
    filled: Notify,
}

/// Everything since the last time.
#[derive(Default)]
pub(super) struct Pending {
    /// The newest version, if there is one.
    pub(super) raw: Option<Arc<RawPlugin>>,
    /// Parts and Secrets that were touched.
    pub(super) touched: BTreeSet<Dependency>,
    /// The plugin is gone.
    pub(super) closed: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.raw.is_none() && self.touched.is_empty() && !self.closed
    }
}

impl Inbox {
    pub(super) fn put(&self, raw: RawPlugin) {
        self.fill(|pending| pending.raw = Some(Arc::new(raw)));
    }

    pub(super) fn touch(&self, dependency: &Dependency) {
        self.fill(|pending| {
            pending.touched.insert(dependency.clone());
        });
    }

    pub(super) fn close(&self) {
        self.fill(|pending| pending.closed = true);
    }

    /// Waits until there is something, and takes all of it. Dropping the future loses nothing.
    pub(super) async fn take(&self) -> Pending {
        loop {
            let pending = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
            if !pending.is_empty() {
                return pending;
            }
            self.filled.notified().await;
        }
    }

    fn fill(&self, with: impl FnOnce(&mut Pending)) {
        with(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        self.filled.notify_one();
    }
}
