//! Turns for calls that compute for long. A call runs freely at first; one that has used its start goes on only while it holds a
//! turn, for one slice at a time. Turns are for half of the guests' threads, and one plugin has half of them at most: however many
//! guests spin, a call that needs a millisecond finds a thread, and one that needs fifty is not behind all of a neighbour's.

use std::{sync::Arc, time::Duration};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::engine::TICK;

/// What a call may compute before it needs turns: far more than a plugin in Rust or C takes, and what one in an interpreted
/// language takes to start.
pub(super) const START: Duration = TICK;

/// The turns of all plugins.
pub(super) struct Lane {
    turns: Arc<Semaphore>,
    of_one_plugin: usize,
}

impl Lane {
    /// `threads` is how many threads guests have; one thread is shared by slices.
    pub(super) fn new(threads: usize) -> Self {
        let turns = (threads / 2).max(1);
        Self { turns: Arc::new(Semaphore::new(turns)), of_one_plugin: (turns / 2).max(1) }
    }

    /// One plugin's way to them.
    pub(super) fn turns(&self) -> Turns {
        Turns { own: Arc::new(Semaphore::new(self.of_one_plugin)), all: self.turns.clone() }
    }
}

/// One plugin's turns.
#[derive(Clone)]
pub(super) struct Turns {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// Held for one slice. The semaphores are never closed, so both permits are there.
pub(super) struct Turn<'a> {
    _own: Option<SemaphorePermit<'a>>,
    _of_all: Option<SemaphorePermit<'a>>,
}

impl Turns {
    /// Waits, first come first served among plugins.
    pub(super) async fn next(&self) -> Turn<'_> {
        let own = self.own.acquire().await.ok();
        Turn { _own: own, _of_all: self.all.acquire().await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_plugin_has_one_turn_of_two_and_another_has_the_other() {
        let lane = Lane::new(4);
        let (greedy, modest) = (lane.turns(), lane.turns());
        let first = greedy.next().await;
        assert!(greedy.next().now_or_never().is_none(), "its second call waits");
        assert!(modest.next().now_or_never().is_some(), "another plugin does not");
        drop(first);
        assert!(greedy.next().now_or_never().is_some());
    }

    #[tokio::test]
    async fn plugins_take_turns_where_there_is_one() {
        for threads in [1, 2, 3] {
            let lane = Lane::new(threads);
            let (one, other) = (lane.turns(), lane.turns());
            let turn = one.next().await;
            let mut waiting = std::pin::pin!(other.next());
            assert!(waiting.as_mut().now_or_never().is_none(), "{threads} threads");
            let mut again = std::pin::pin!(one.next());
            assert!(again.as_mut().now_or_never().is_none());
            drop(turn);
            assert!(again.as_mut().now_or_never().is_none(), "the other was first");
            assert!(waiting.now_or_never().is_some());
        }
    }
}
