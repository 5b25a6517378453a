//! How many requests to backends a call makes, by whatever way.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::fault::Fault;

/// Counts one call's requests.
pub(super) struct Requests {
    limit: usize,
    made: AtomicUsize,
}

impl Requests {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, made: AtomicUsize::new(0) }
    }

    /// Before `more` requests: the fault if they are too many.
    pub(super) fn admit(&self, more: usize) -> Result<(), Fault> {
        self.made.fetch_add(more, Ordering::Relaxed);
        self.check()
    }

    /// Whether too many were tried: also at the end of a call, because WASI tells a guest of a refusal in a code that it may
    /// ignore.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.made.load(Ordering::Relaxed) > self.limit {
            return Err(Fault::TooManyRequests { limit: self.limit });
        }
        Ok(())
    }
}
