//! What all plugins use together, and what of it one may: guest memory, and places for calls. A plugin may hold as much as it
//! leaves free, as a queue of a shared packet buffer may (dynamic thresholds, Choudhury and Hahne 1998): alone half of it, two
//! greedy ones a third each, and something is always left for whoever asks for little.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::Notify;

/// An amount, and how much of it is held.
pub(super) struct Budget {
    amount: usize,
    held: Mutex<usize>,
    freed: Notify,
    observe: Box<dyn Fn(usize) + Send + Sync>,
}

impl Budget {
    /// `observe` hears how much is held, each time that it changes.
    pub(super) fn new(amount: usize, observe: impl Fn(usize) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { amount, held: Mutex::new(0), freed: Notify::new(), observe: Box::new(observe) })
    }

    fn held(&self) -> MutexGuard<'_, usize> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One plugin's share of a budget.
pub(super) struct Share {
    budget: Arc<Budget>,
    /// Changes under the budget's lock alone.
    held: AtomicUsize,
}

impl Share {
    pub(super) fn of(budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { budget: budget.clone(), held: AtomicUsize::new(0) })
    }

    /// The whole budget.
    pub(super) fn of_all(&self) -> usize {
        self.budget.amount
    }

    /// Waits for `amount`, which may be 0, until `deadline`.
    pub(super) async fn take(self: &Arc<Self>, amount: usize, deadline: Instant) -> Option<Held> {
        let mut held = Held { share: self.clone(), amount: 0 };
        loop {
            let mut freed = std::pin::pin!(self.budget.freed.notified());
            // Before the try: what is freed in between must not be missed.
            freed.as_mut().enable();
            if held.try_grow(amount) {
                return Some(held);
            }
            tokio::time::timeout_at(deadline.into(), freed).await.ok()?;
        }
    }
}

/// A part of a share, given back when it is dropped.
pub(super) struct Held {
    share: Arc<Share>,
    amount: usize,
}

impl Held {
    pub(super) fn amount(&self) -> usize {
        self.amount
    }

    /// The whole budget.
    pub(super) fn of_all(&self) -> usize {
        self.share.of_all()
    }

    /// Takes `more` at once, or nothing.
    pub(super) fn try_grow(&mut self, more: usize) -> bool {
        if more == 0 {
            return true;
        }
        let Share { budget, held: own } = &*self.share;
        let mut held = budget.held();
        let free = budget.amount.saturating_sub(*held);
        if own.load(Ordering::Relaxed).saturating_add(more) > free.saturating_sub(more) {
            return false;
        }
        own.fetch_add(more, Ordering::Relaxed);
        *held += more;
        (budget.observe)(*held);
        self.amount += more;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        let Share { budget, held: own } = &*self.share;
        let mut held = budget.held();
        own.fetch_sub(self.amount, Ordering::Relaxed);
        *held -= self.amount;
        (budget.observe)(*held);
        drop(held);
        budget.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn budget(amount: usize) -> (Arc<Budget>, Arc<AtomicUsize>) {
        let seen = Arc::new(AtomicUsize::new(0));
        let observed = seen.clone();
        (Budget::new(amount, move |held| observed.store(held, Ordering::Relaxed)), seen)
    }

    /// All that a plugin gets if it takes whatever it can.
    fn greedy(budget: &Arc<Budget>) -> Held {
        let mut held = Held { share: Share::of(budget), amount: 0 };
        while held.try_grow(1) {}
        held
    }

    #[test]
    fn one_plugin_gets_half_and_something_is_left_for_the_next() {
        let (budget, seen) = budget(1000);
        let first = greedy(&budget);
        assert_eq!(first.amount, 500);
        let second = greedy(&budget);
        assert_eq!(second.amount, 250);
        let third = greedy(&budget);
        assert_eq!(third.amount, 125);
        assert_eq!(seen.load(Ordering::Relaxed), 875);
        drop((first, second, third));
        assert_eq!(seen.load(Ordering::Relaxed), 0, "all of it was given back");
        assert_eq!(greedy(&budget).amount, 500);
    }

    #[test]
    fn calls_of_one_plugin_share() {
        let (budget, _) = budget(1000);
        let share = Share::of(&budget);
        let mut calls: Vec<_> = (0..3).map(|_| Held { share: share.clone(), amount: 0 }).collect();
        let granted: Vec<_> = calls.iter_mut().map(|call| call.try_grow(200)).collect();
        assert_eq!(granted, [true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_when_something_is_given_back() {
        let (budget, _) = budget(100);
        let share = Share::of(&budget);
        let deadline = Instant::now() + Duration::from_secs(3600);
        let first = share.take(40, deadline).await.unwrap();
        let waiting = tokio::spawn({
            let share = share.clone();
            async move { share.take(40, deadline).await.map(|held| held.amount()) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.await.unwrap(), Some(40));
    }

    #[tokio::test]
    async fn whoever_waits_in_vain_is_told() {
        let (budget, _) = budget(100);
        let greedy = greedy(&budget);
        assert!(greedy.share.take(1, Instant::now()).await.is_none());
        assert!(greedy.share.take(0, Instant::now()).await.is_some(), "nothing can always be had");
        assert!(Share::of(&budget).take(1, Instant::now()).await.is_some(), "another plugin has its own share");
    }
}
