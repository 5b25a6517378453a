//! A circuit breaker for one plugin and one origin: after some failures in a row requests are refused at once, so that a dead
//! backend costs neither slots nor time, until a single probe finds that it answers again.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::Rng;
use tokio::time::Instant;

use super::{EgressError, Origin};
use crate::{
    model::PluginId,
    telemetry::{Metrics, PluginLabels},
};

/// Failures in a row that open the circuit. Five are a minute of the HPA controller's questions about one metric, or a moment of
/// many: enough to tell a dead backend from a restarting one.
const FAILURES: u32 = 5;
/// The first wait before a probe; doubles with each probe that fails.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait: two periods of the HPA controller, so that a backend that is back is found soon.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The breaker of one origin. Monotonic time alone decides, never the wall clock.
pub(super) struct Breaker {
    origin: Origin,
    plugin: PluginId,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Requests pass; so many have failed in a row.
    Closed { failures: u32 },
    /// Requests are refused until the time has come for a probe.
    Open { until: Instant, wait: Duration, cause: String },
    /// One probe is under way; everything else is refused.
    HalfOpen { wait: Duration, cause: String },
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Good,
    /// How it failed, for whoever is refused until the backend answers.
    Bad(String),
}

impl Breaker {
    pub(super) fn new(plugin: PluginId, origin: Origin, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { origin, plugin, metrics, state: Mutex::new(State::Closed { failures: 0 }) })
    }

    /// Lets a request pass, or refuses it at once.
    pub(super) fn admit(self: &Arc<Self>) -> Result<Admission, EgressError> {
        let mut state = self.state();
        let is_probe = match &mut *state {
            State::Closed { .. } => false,
            State::Open { until, wait, cause } if *until <= Instant::now() => {
                *state = State::HalfOpen { wait: *wait, cause: std::mem::take(cause) };
                true
            }
            State::Open { cause, .. } | State::HalfOpen { cause, .. } => {
                return Err(EgressError::CircuitOpen { origin: self.origin.clone(), cause: cause.clone() });
            }
        };
        drop(state);
        Ok(Admission { breaker: Arc::clone(self), is_probe, begun: AtomicBool::new(false), settled: false })
    }

    fn settle(&self, is_probe: bool, verdict: Verdict) {
        let mut state = self.state();
        let next = match (&*state, verdict) {
            (State::HalfOpen { .. }, Verdict::Good) if is_probe => {
                self.note_closed();
                State::Closed { failures: 0 }
            }
            (State::HalfOpen { wait, .. }, Verdict::Bad(cause)) if is_probe => {
                open_for((*wait * 2).min(LONGEST_WAIT), cause)
            }
            (State::Closed { .. }, Verdict::Good) => State::Closed { failures: 0 },
            (State::Closed { failures }, Verdict::Bad(_)) if failures + 1 < FAILURES => {
                State::Closed { failures: failures + 1 }
            }
            (State::Closed { .. }, Verdict::Bad(cause)) => {
                self.note_opened(&cause);
                open_for(FIRST_WAIT, cause)
            }
            // A request from before the circuit opened tells nothing new.
            (State::Open { .. } | State::HalfOpen { .. }, _) => return,
        };
        *state = next;
    }

    /// The probe ended without telling anything: the next request is one.
    fn release(&self) {
        let mut state = self.state();
        if let State::HalfOpen { wait, cause } = &mut *state {
            *state = State::Open { until: Instant::now(), wait: *wait, cause: std::mem::take(cause) };
        }
    }

    fn note_opened(&self, cause: &str) {
        self.metrics.circuits_open.get_or_create(&self.labels()).inc();
        self.metrics.circuits_opened.get_or_create(&self.labels()).inc();
        tracing::warn!(plugin = %self.plugin, origin = %self.origin, cause, "circuit opened: {FAILURES} requests in a row failed");
    }

    fn note_closed(&self) {
        self.count_closed();
        tracing::info!(plugin = %self.plugin, origin = %self.origin, "circuit closed: the backend answers again");
    }

    /// A plugin that is gone has no count any more.
    fn count_closed(&self) {
        if let Some(open) = self.metrics.circuits_open.get(&self.labels()) {
            open.dec();
        }
    }

    fn labels(&self) -> PluginLabels {
        PluginLabels { plugin: self.plugin.to_string() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Breaker {
    /// A reload replaces an open circuit by a closed one.
    fn drop(&mut self) {
        if !matches!(*self.state(), State::Closed { .. }) {
            self.count_closed();
        }
    }
}

/// Open, for half of `wait` to all of it: replicas and plugins do not probe a backend at the same moment.
fn open_for(wait: Duration, cause: String) -> State {
    let until = Instant::now() + wait.mul_f64(rand::rng().random_range(0.5..=1.0));
    State::Open { until, wait, cause }
}

/// A request that may be sent. What is dropped unsettled (its caller went away, or it never got a connection's slot) tells
/// nothing about the backend.
pub(super) struct Admission {
    breaker: Arc<Breaker>,
    is_probe: bool,
    begun: AtomicBool,
    settled: bool,
}

impl Admission {
    /// The request is on its way to the backend: from here on time that runs out is the backend's failure.
    pub(super) fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// What the answer tells about the backend. 502, 503 and 504 are what proxies say for a dead one.
    pub(super) fn settle(mut self, answer: Result<u16, &EgressError>) {
        let verdict = match answer {
            Ok(status @ 502..=504) => Verdict::Bad(format!("answered {status}")),
            Err(EgressError::Failed { cause, .. }) => Verdict::Bad(cause.clone()),
            Err(EgressError::Timeout { .. }) if self.begun.load(Ordering::Relaxed) => {
                Verdict::Bad("no complete response in time".to_owned())
            }
            Ok(_) | Err(EgressError::TooLarge { .. }) => Verdict::Good,
            Err(_) => return,
        };
        self.settled = true;
        self.breaker.settle(self.is_probe, verdict);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.is_probe && !self.settled {
            self.breaker.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Arc<Breaker> {
        let plugin = PluginId { namespace: "shop".to_owned(), name: "queues".to_owned() };
        Breaker::new(plugin, origin(), Arc::default())
    }

    fn origin() -> Origin {
        Origin::parse("https://mq.example.com").unwrap()
    }

    fn failed() -> EgressError {
        EgressError::Failed { origin: origin(), cause: "Connection refused".to_owned() }
    }

    fn fail(breaker: &Arc<Breaker>, times: u32) {
        for _ in 0..times {
            breaker.admit().unwrap().settle(Err(&failed()));
        }
    }

    fn open(breaker: &Breaker) -> i64 {
        breaker.metrics.circuits_open.get_or_create(&breaker.labels()).get()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_the_circuit_and_any_answer_between_does_not() {
        let breaker = breaker();
        fail(&breaker, FAILURES - 1);
        breaker.admit().unwrap().settle(Ok(500));
        fail(&breaker, FAILURES - 1);
        breaker.admit().unwrap().settle(Ok(503));
        let refused = breaker.admit().err().unwrap();
        assert_eq!(
            refused.to_string(),
            "circuit open: the last requests to https://mq.example.com:443 failed (answered 503); it is probed until it answers"
        );
        assert_eq!(open(&breaker), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_decides() {
        let breaker = breaker();
        fail(&breaker, FAILURES);
        tokio::time::advance(FIRST_WAIT).await;
        let probe = breaker.admit().unwrap();
        assert!(breaker.admit().is_err(), "a second one waits for the first one's outcome");
        probe.settle(Err(&failed()));
        assert!(breaker.admit().is_err());
        tokio::time::advance(FIRST_WAIT * 2).await;
        breaker.admit().unwrap().settle(Ok(200));
        breaker.admit().unwrap().settle(Ok(200));
        breaker.admit().unwrap().settle(Ok(200));
        assert_eq!(open(&breaker), 0);
        let opened = breaker.metrics.circuits_opened.get_or_create(&breaker.labels()).get();
        assert_eq!(opened, 1, "a probe that fails does not open it again");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_grows_with_jitter_and_has_an_end() {
        let breaker = breaker();
        fail(&breaker, FAILURES);
        for expected in [1, 2, 4, 8, 16, 30, 30, 30].map(Duration::from_secs) {
            let State::Open { until, wait, .. } = *breaker.state() else { panic!("not open") };
            assert_eq!(wait, expected);
            let left = until - Instant::now();
            assert!(left >= wait / 2 && left <= wait, "{left:?} of {wait:?}");
            tokio::time::advance(left).await;
            breaker.admit().unwrap().settle(Err(&failed()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_caller_goes_away_leaves_its_place() {
        let breaker = breaker();
        fail(&breaker, FAILURES);
        tokio::time::advance(FIRST_WAIT).await;
        drop(breaker.admit().unwrap());
        let next = breaker.admit().unwrap();
        assert!(next.is_probe);
        // Nor is time that ran out before a slot was free the backend's failure.
        next.settle(Err(&EgressError::Timeout { origin: origin() }));
        breaker.admit().unwrap().settle(Ok(204));
        assert_eq!(*breaker.state(), State::Closed { failures: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_straggler_neither_closes_nor_prolongs() {
        let breaker = breaker();
        let (good, bad) = (breaker.admit().unwrap(), breaker.admit().unwrap());
        fail(&breaker, FAILURES);
        let before = breaker.state().clone();
        good.settle(Ok(200));
        bad.settle(Err(&failed()));
        assert_eq!(*breaker.state(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_circuit_that_a_reload_replaces_is_counted_no_more() {
        let breaker = breaker();
        fail(&breaker, FAILURES);
        let (metrics, labels) = (breaker.metrics.clone(), breaker.labels());
        drop(breaker);
        assert_eq!(metrics.circuits_open.get_or_create(&labels).get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_plugin_itself_did_wrong_does_not_count() {
        let breaker = breaker();
        let class = crate::egress::ForbiddenAddress::Loopback;
        for _ in 0..=FAILURES {
            breaker.admit().unwrap().settle(Err(&EgressError::TooLarge { origin: origin(), limit: 1 }));
            breaker.admit().unwrap().settle(Err(&EgressError::AddressForbidden { origin: origin(), class }));
        }
        assert_eq!(*breaker.state(), State::Closed { failures: 0 });
    }
}
