//! What goes on on one connection, and when that is enough: whoever is known may be silent for long, a stranger only for
//! seconds, and over HTTP/2 a stranger gets one answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Version;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::Limits;
use crate::model::Connection;

/// When a connection last had a request.
pub(super) struct Activity {
    connection: Arc<Connection>,
    since: Instant,
    under_way: AtomicUsize,
    /// Milliseconds after `since`.
    last: AtomicU64,
    dismissed: AtomicBool,
    dismissal: Notify,
}

impl Activity {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            since: Instant::now(),
            under_way: AtomicUsize::new(0),
            last: AtomicU64::new(0),
            dismissed: AtomicBool::new(false),
            dismissal: Notify::new(),
        }
    }

    /// Counts a request until the returned guard is dropped: one that the client takes back ends too. `None` for a stranger who
    /// has had an answer already.
    pub(super) fn enter(activity: &Arc<Self>, version: Version) -> Option<UnderWay> {
        if activity.dismissed.load(Ordering::Acquire) {
            return None;
        }
        activity.under_way.fetch_add(1, Ordering::AcqRel);
        Some(UnderWay { activity: activity.clone(), multiplexed: version == Version::HTTP_2 })
    }

    /// Returns when the connection has been silent for as long as its client may be, or its client is to go.
    pub(super) async fn over(&self, limits: &Limits) {
        let allowed = || if self.connection.is_known() { limits.idle } else { limits.stranger_idle };
        tokio::select! {
            () = self.dismissal.notified() => {}
            () = self.silent_since(self.since, allowed) => {}
        }
    }

    /// Returns when no request is under way and `limit` has passed since, and since now.
    pub(super) async fn quiet_for(&self, limit: Duration) {
        self.silent_since(Instant::now(), || limit).await;
    }

    async fn silent_since(&self, earliest: Instant, limit: impl Fn() -> Duration) {
        loop {
            let now = Instant::now();
            let busy = self.under_way.load(Ordering::Acquire) > 0;
            let last = self.since + Duration::from_millis(self.last.load(Ordering::Acquire));
            let end = if busy { now } else { last.max(earliest) } + limit();
            if end <= now {
                return;
            }
            sleep_until(end).await;
        }
    }
}

/// A request under way.
pub(super) struct UnderWay {
    activity: Arc<Activity>,
    multiplexed: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let activity = &self.activity;
        let elapsed = u64::try_from(activity.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        activity.last.store(elapsed, Ordering::Release);
        activity.under_way.fetch_sub(1, Ordering::AcqRel);
        // HTTP/2 makes requests cheap to send and to take back (CVE-2023-44487), so whoever is not known pays a handshake for
        // each: `UnauthenticatedHTTP2DOSMitigation` of k8s.io/apiserver.
        if self.multiplexed && !activity.connection.is_known() {
            activity.dismissed.store(true, Ordering::Release);
            activity.dismissal.notify_one();
        }
    }
}
