//! Bounds what is asked of the API server: how many questions at once, how many wait behind them, how long, and how often again.
//! Whoever comes when all places are taken is sent away at once: waiting questions hold requests, and those are bounded too.

use std::{future::Future, time::Duration};

use rand::Rng;
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::reviews::ReviewError;
use crate::model::AuthError;

/// How much is asked of the API server.
#[derive(Debug, Clone)]
pub struct ReviewLimits {
    /// For an answer, with waiting for a place and all attempts; as the client's timeout in k8s.io/apiserver, but for the whole.
    pub timeout: Duration,
    /// Reviews at once. A burst of clients must not become a burst on the API server.
    pub in_flight: usize,
    /// Reviews that wait for a place; more are refused. In sum well below the requests that may be under way, so that those
    /// who need no review are served whatever becomes of the API server.
    pub waiting: usize,
}

impl ReviewLimits {
    /// For clients that may be anybody: as many reviews as an API server answers beside its own work, and no queue.
    pub(super) const STRANGERS: Self = Self { timeout: Duration::from_secs(10), in_flight: 8, waiting: 0 };
}

impl Default for ReviewLimits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), in_flight: 64, waiting: 64 }
    }
}

/// Bounds reviews by [`ReviewLimits`], and asks again where that makes sense.
#[derive(Debug)]
pub(super) struct Gate {
    admitted: Semaphore,
    places: Semaphore,
    timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unanswered {
    /// As many as may are waiting already.
    #[error("too many reviews are waiting for the API server, please try again later")]
    Crowded,
    /// The API server could not be asked.
    #[error(transparent)]
    Failed(#[from] ReviewError),
}

impl Unanswered {
    /// The refusal of a request because of it; `what` could not be asked.
    pub(super) fn refusal(&self, what: &str) -> AuthError {
        match self {
            Self::Crowded => AuthError::Overloaded(self.to_string()),
            Self::Failed(error) => AuthError::Unavailable(format!("{what}: {error}")),
        }
    }
}

/// `DefaultAuthWebhookRetryBackoff` in `pkg/server/options/authentication.go` of k8s.io/apiserver.
const ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const WAIT_FACTOR: f64 = 1.5;
const WAIT_JITTER: f64 = 0.2;

impl Gate {
    pub(super) fn new(limits: &ReviewLimits) -> Self {
        let ReviewLimits { timeout, in_flight, waiting } = *limits;
        Self { admitted: Semaphore::new(in_flight + waiting), places: Semaphore::new(in_flight), timeout }
    }

    /// Asks until there is an answer, a failure that asking again won't cure, or no attempt or time left.
    pub(super) async fn ask<Answer, Asking>(&self, ask: impl Fn() -> Asking) -> Result<Answer, Unanswered>
    where
        Asking: Future<Output = Result<Answer, ReviewError>>,
    {
        let _admitted = self.admitted.try_acquire().map_err(|_| Unanswered::Crowded)?;
        let answer = async {
            let Ok(_place) = self.places.acquire().await else { return Err(closed()) };
            persist(ask).await
        };
        let answer = timeout(self.timeout, answer).await;
        Ok(answer.unwrap_or_else(|_| Err(too_late(self.timeout)))?)
    }
}

async fn persist<Answer, Asking>(ask: impl Fn() -> Asking) -> Result<Answer, ReviewError>
where
    Asking: Future<Output = Result<Answer, ReviewError>>,
{
    let mut wait = FIRST_WAIT;
    let mut attempt = 1;
    loop {
        match ask().await {
            Err(error) if error.retryable && attempt < ATTEMPTS => {
                let jitter = 1.0 + WAIT_JITTER * rand::rng().random::<f64>();
                sleep(error.retry_after.unwrap_or_default().max(wait.mul_f64(jitter))).await;
                wait = wait.mul_f64(WAIT_FACTOR);
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

fn closed() -> ReviewError {
    ReviewError { message: "the adapter is shutting down".to_owned(), retryable: false, retry_after: None }
}

fn too_late(limit: Duration) -> ReviewError {
    let message = format!(
        "the API server gave no answer within {} seconds; check that the adapter can reach it",
        limit.as_secs()
    );
    ReviewError { message, retryable: false, retry_after: None }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn error(retryable: bool) -> ReviewError {
        ReviewError { message: "no route".to_owned(), retryable, retry_after: None }
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_asks_five_times_with_growing_waits() {
        let gate = Gate::new(&ReviewLimits::default());
        let began = tokio::time::Instant::now();
        for (retryable, attempts) in [(true, 5), (false, 1)] {
            let asked = AtomicUsize::new(0);
            let ask = || async {
                asked.fetch_add(1, Ordering::SeqCst);
                Err::<(), _>(error(retryable))
            };
            assert_eq!(gate.ask(ask).await, Err(Unanswered::Failed(error(retryable))));
            assert_eq!(asked.load(Ordering::SeqCst), attempts);
        }
        // 500 + 750 + 1125 + 1687.5 ms, up to a fifth longer.
        let waited = began.elapsed();
        assert!((Duration::from_millis(4062)..Duration::from_millis(4900)).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_gate_gives_up_in_time_whatever_the_api_server_does() {
        let limits = ReviewLimits { timeout: Duration::from_secs(10), in_flight: 1, waiting: 1 };
        let (gate, other) = (Gate::new(&limits), Gate::new(&limits));
        let began = tokio::time::Instant::now();
        let patient = ReviewError { retry_after: Some(Duration::from_secs(3600)), ..error(true) };
        let (silent, waiting, told_to_wait) = tokio::join!(
            gate.ask(std::future::pending::<Result<(), _>>),
            gate.ask(|| async { Ok(()) }),
            other.ask(|| async { Err::<(), _>(patient.clone()) }),
        );
        for outcome in [silent, waiting, told_to_wait] {
            assert!(matches!(outcome, Err(Unanswered::Failed(_))), "{outcome:?}");
        }
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        assert_eq!(gate.ask(|| async { Ok(7) }).await, Ok(7), "the place is free again");
    }

    #[tokio::test(start_paused = true)]
    async fn one_question_more_than_may_wait_is_refused_at_once() {
        let gate = Gate::new(&ReviewLimits { in_flight: 1, waiting: 1, ..ReviewLimits::default() });
        let slow = || async {
            sleep(Duration::from_secs(1)).await;
            Ok(())
        };
        let began = tokio::time::Instant::now();
        let third = async {
            let refused = gate.ask(slow).await;
            (refused, began.elapsed())
        };
        let (first, second, (third, after)) = tokio::join!(gate.ask(slow), gate.ask(slow), third);
        assert_eq!((first, second), (Ok(()), Ok(())));
        assert_eq!((third, after), (Err(Unanswered::Crowded), Duration::ZERO));
    }
}
