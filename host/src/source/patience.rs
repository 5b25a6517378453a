//! How long a watch of plugins waits before it is taken up again.

use std::time::Duration;

use kube::runtime::{utils::Backoff, watcher::DefaultBackoff};

/// The longest wait before a lost watch is taken up again. Clients of whole clusters wait for up to a minute; these watches are of
/// one namespace, and an edit made right after an outage waits for them.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// kube's own waits, which double and jitter, up to [`LONGEST_WAIT`].
#[derive(Default)]
pub(super) struct Patience(DefaultBackoff);

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|wait| wait.min(LONGEST_WAIT))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_watch_is_taken_up_within_seconds_however_long_the_outage() {
        let mut patience = Patience::default();
        let waits: Vec<_> = patience.by_ref().take(50).collect();
        assert!(waits.len() == 50 && waits.iter().all(|wait| *wait <= LONGEST_WAIT), "{waits:?}");
        assert!(waits.last() > waits.first(), "it grows: {waits:?}");
    }
}
