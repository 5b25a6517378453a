//! Readiness as named facts. Each latch is opened once, by the room that knows; none ever closes because a plugin or a backend is
//! unwell: an adapter that is not ready takes every metric, and namespace deletion, with it. What may come and go is a
//! [`Notice`]: told in the detail, and never counted.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// All facts that readiness waits for, and what is told beside them.
#[derive(Clone, Default)]
pub struct Readiness {
    latches: Arc<Mutex<Vec<Latch>>>,
    notices: Arc<Mutex<Vec<Notice>>>,
    draining: Arc<AtomicBool>,
}

/// One fact.
#[derive(Clone)]
pub struct Latch {
    name: &'static str,
    open: Arc<AtomicBool>,
}

impl Latch {
    /// The fact holds from now on.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Whether the fact holds.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

/// Something that the process does without for a while. Holds until it is told otherwise.
#[derive(Clone)]
pub struct Notice {
    name: &'static str,
    missing: Arc<AtomicBool>,
}

impl Notice {
    /// Says whether it holds now; gives whether that is news.
    pub fn set(&self, holds: bool) -> bool {
        self.missing.swap(!holds, Ordering::AcqRel) == holds
    }

    /// Whether it holds.
    pub fn holds(&self) -> bool {
        !self.missing.load(Ordering::Acquire)
    }

    /// What it is called in the detail.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl Readiness {
    /// Adds something to tell of.
    pub fn notice(&self, name: &'static str) -> Notice {
        let notice = Notice { name, missing: Arc::default() };
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice.clone());
        notice
    }

    /// All notices, in the order in which they were added.
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a fact to wait for.
    pub fn latch(&self, name: &'static str) -> Latch {
        let latch = Latch { name, open: Arc::default() };
        self.latches.lock().unwrap_or_else(PoisonError::into_inner).push(latch.clone());
        latch
    }

    /// The process is about to stop: not ready, so that no new connection comes.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Each fact with whether it holds.
    pub fn facts(&self) -> Vec<(&'static str, bool)> {
        let latches = self.latches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut facts: Vec<_> = latches.iter().map(|latch| (latch.name, latch.is_open())).collect();
        facts.push(("shutdown", !self.draining.load(Ordering::Acquire)));
        facts
    }

    /// Whether all hold.
    pub fn is_ready(&self) -> bool {
        self.facts().iter().all(|(_, holds)| *holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_every_latch_is_open_and_until_the_drain() {
        let readiness = Readiness::default();
        let (one, other) = (readiness.latch("one"), readiness.latch("other"));
        one.open();
        assert!(!readiness.is_ready());
        other.open();
        assert!(readiness.is_ready());
        readiness.drain();
        assert_eq!(readiness.facts(), [("one", true), ("other", true), ("shutdown", false)]);
    }

    #[test]
    fn a_notice_is_told_and_never_counts() {
        let readiness = Readiness::default();
        let notice = readiness.notice("api-server");
        assert!(notice.holds() && !notice.set(true), "it holds before anybody looked");
        assert!(notice.set(false) && !notice.set(false), "a change is news once");
        assert!(readiness.is_ready());
        assert!(readiness.notices().iter().all(|notice| !notice.holds()));
        assert!(notice.set(true) && readiness.notices().iter().all(Notice::holds));
    }
}
