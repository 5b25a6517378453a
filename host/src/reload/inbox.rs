//! What a worker has yet to do, coalesced: the newest version of its plugin, and what it depends on that was touched.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::version::Version;
use crate::source::Dependency;

/// Filled by the reloader, emptied by one worker.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    pending: Pending,
    /// The worker is at what it took before.
    busy: bool,
    /// The worker has ended and takes nothing more.
    ended: bool,
}

/// Everything since the last time.
#[derive(Default)]
pub(super) struct Pending {
    /// What the plugin is now, if that changed.
    pub(super) newest: Option<Newest>,
    /// It was gone in between, so it is another object: nothing of the one before may serve on.
    pub(super) was_gone: bool,
    /// Parts and Secrets that were touched.
    pub(super) touched: BTreeSet<Dependency>,
    /// Whether what is granted to it may be something else now.
    pub(super) judge_again: bool,
}

/// The newest state of a plugin.
pub(super) enum Newest {
    /// It is there.
    Version(Box<Version>),
    /// It is gone.
    Gone,
}

impl Inbox {
    /// Gives it back if the worker has ended: a plugin that comes back needs another one. What has to wait for the worker waits
    /// without its bytes.
    pub(super) fn put(&self, mut newest: Newest) -> Result<(), Newest> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return Err(newest);
        }
        let (busy, pending) = (state.busy, &mut state.pending);
        match (&mut newest, &pending.newest) {
            (Newest::Version(version), Some(Newest::Version(waiting))) if version.is_older_than(waiting) => {
                return Ok(());
            }
            (Newest::Version(version), waiting) => {
                pending.was_gone |= matches!(waiting, Some(Newest::Gone));
                if busy {
                    version.shed();
                }
            }
            (Newest::Gone, _) => {}
        }
        pending.newest = Some(newest);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    pub(super) fn touch(&self, dependency: &Dependency) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pending.touched.insert(dependency.clone());
        drop(state);
        self.filled.notify_one();
    }

    pub(super) fn judge_again(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pending.judge_again = true;
        drop(state);
        self.filled.notify_one();
    }

    /// Waits until there is something, and takes all of it. Dropping the future loses nothing.
    pub(super) async fn take(&self) -> Pending {
        loop {
            if let Some(pending) = self.state.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return pending;
            }
            self.filled.notified().await;
        }
    }

    /// Ends the worker, unless the plugin came back meanwhile: then there is more to take.
    pub(super) fn end(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended = state.pending.newest.is_none();
        state.ended
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended
    }
}

impl State {
    fn take(&mut self) -> Option<Pending> {
        let Pending { newest, touched, judge_again, .. } = &self.pending;
        self.busy = newest.is_some() || !touched.is_empty() || *judge_again;
        self.busy.then(|| std::mem::take(&mut self.pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::PluginId, source::RawPlugin};

    fn version(version: &str) -> Newest {
        Newest::Version(Box::new(Version::of(RawPlugin {
            id: PluginId { namespace: "shop".to_owned(), name: "queue".to_owned() },
            uid: String::new(),
            version: version.to_owned(),
            manifest: None,
            code: [("plugin.wasm".to_owned(), b"code".as_slice().into())].into(),
            unknown_keys: Vec::new(),
        })))
    }

    #[tokio::test]
    async fn the_newest_version_is_taken_and_those_before_are_not() {
        let inbox = Inbox::default();
        for newest in [version("1"), Newest::Gone, version("2")] {
            assert!(inbox.put(newest).is_ok());
        }
        let Some(Newest::Version(taken)) = inbox.take().await.newest else { panic!("nothing") };
        assert_eq!(taken.raw().version, "2");
        assert!(!taken.is_shed(), "nobody waited");
    }

    #[tokio::test]
    async fn an_older_version_does_not_push_a_newer_one_out() {
        let inbox = Inbox::default();
        for (newest, was_gone) in [(["10", "9", "9"], false), (["11", "gone", "12"], true), (["13", "13", "14"], false)]
        {
            for put in newest {
                assert!(inbox.put(if put == "gone" { Newest::Gone } else { version(put) }).is_ok());
            }
            let taken = inbox.take().await;
            assert_eq!(taken.was_gone, was_gone, "{newest:?}");
            let Some(Newest::Version(taken)) = taken.newest else { panic!("nothing") };
            assert_eq!(taken.raw().version, newest.into_iter().rfind(|put| *put != "9" && *put != "gone").unwrap());
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_busy_worker_waits_without_its_bytes() {
        let inbox = Inbox::default();
        for (put, shed) in [("1", false), ("2", true), ("3", true)] {
            assert!(inbox.put(version(put)).is_ok());
            let Some(Newest::Version(taken)) = inbox.take().await.newest else { panic!("nothing") };
            assert_eq!(taken.is_shed(), shed, "{put}");
        }
        let waiting = std::pin::pin!(inbox.take());
        assert!(futures::poll!(waiting).is_pending(), "there is nothing to do");
        assert!(inbox.put(version("4")).is_ok());
        let Some(Newest::Version(taken)) = inbox.take().await.newest else { panic!("nothing") };
        assert!(!taken.is_shed());
    }

    #[test]
    fn a_worker_ends_only_with_nothing_left_to_do() {
        let inbox = Inbox::default();
        assert!(inbox.put(version("1")).is_ok());
        assert!(!inbox.end(), "the plugin came back");
        assert!(inbox.put(version("2")).is_ok(), "and its worker takes more");
        let _ = std::mem::take(&mut inbox.state.lock().unwrap().pending);
        assert!(inbox.end() && inbox.has_ended());
        assert!(inbox.put(version("3")).is_err(), "a new worker has to");
    }
}
