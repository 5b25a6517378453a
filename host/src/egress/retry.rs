//! Which requests are sent once more, and how many: a retry hides that a backend closed an idle connection or that one of several
//! endpoints has just gone, and must not double the load of a backend that is failing.

use std::{
    error::Error,
    io,
    sync::{Mutex, PoisonError},
};

use http::Method;
use http_body_util::Full;
use hyper::body::{Body, Bytes};
use tokio::time::Instant;

/// Retries that each request earns: under load one request in ten may be sent twice.
const EARNED_BY_REQUEST: f64 = 0.1;
/// Retries earned by a second, so that a plugin that asks rarely has some too.
const EARNED_BY_SECOND: f64 = 1.0;
/// Retries that are saved up at most: one burst, as when a backend restarts and all its connections end.
const MOST_SAVED: f64 = 10.0;

/// The retries that one plugin has for one origin: a token bucket.
pub(super) struct RetryBudget(Mutex<Bucket>);

struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Bucket { tokens: MOST_SAVED, filled: Instant::now() }))
    }

    /// A request is sent for the first time.
    pub(super) fn earn(&self) {
        self.with(|bucket| bucket.tokens = (bucket.tokens + EARNED_BY_REQUEST).min(MOST_SAVED));
    }

    /// Takes one retry, if there is one left.
    pub(super) fn spend(&self) -> bool {
        self.with(|bucket| {
            let enough = bucket.tokens >= 1.0;
            if enough {
                bucket.tokens -= 1.0;
            }
            enough
        })
    }

    fn with<R>(&self, work: impl FnOnce(&mut Bucket) -> R) -> R {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = now.duration_since(bucket.filled).as_secs_f64() * EARNED_BY_SECOND;
        bucket.tokens = (bucket.tokens + earned).min(MOST_SAVED);
        bucket.filled = now;
        work(&mut bucket)
    }
}

/// Whether sending it twice changes no more than sending it once (RFC 9110, 9.2.2). PUT and DELETE are left out: a metrics query
/// is neither.
pub(super) fn is_repeatable(request: &http::Request<Full<Bytes>>) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_end_stream()
}

/// Whether the connection ended, or was never made, before an answer began. Names, certificates, forbidden addresses and time
/// that ran out are the same a moment later.
pub(super) fn is_lost_connection(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| super::error::cause(*error)).any(|error| {
        let io = error.downcast_ref::<io::Error>().is_some_and(|error| {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset};
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionRefused | ConnectionReset)
        });
        let http = error.downcast_ref::<hyper::Error>();
        let http = http.is_some_and(|error| error.is_incomplete_message() || error.is_closed() || error.is_canceled());
        // The server says that it has not looked at the request (RFC 9113, 8.7).
        let refused = error.downcast_ref::<h2::Error>();
        let refused = refused.is_some_and(|error| error.reason() == Some(h2::Reason::REFUSED_STREAM));
        io || http || refused
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_tenth_of_the_requests_and_one_a_second() {
        let budget = RetryBudget::new();
        assert!((0..10).all(|_| budget.spend()));
        assert!(!budget.spend(), "what was saved is spent");
        (0..11).for_each(|_| budget.earn());
        assert!(budget.spend());
        assert!(!budget.spend());
        tokio::time::advance(Duration::from_millis(2500)).await;
        assert!(budget.spend() && budget.spend());
        assert!(!budget.spend());
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert!((0..10).all(|_| budget.spend()));
        assert!(!budget.spend(), "a day saves no more than one burst");
    }

    #[test]
    fn only_queries_without_a_body_are_repeated() {
        let request = |method: &str, body: &'static str| {
            http::Request::builder().method(method).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
        };
        assert!(is_repeatable(&request("GET", "")) && is_repeatable(&request("HEAD", "")));
        for (method, body) in [("GET", "query"), ("POST", ""), ("PUT", ""), ("DELETE", ""), ("PATCH", "")] {
            assert!(!is_repeatable(&request(method, body)), "{method} {body:?}");
        }
    }

    #[test]
    fn only_a_lost_connection_is_worth_a_retry() {
        assert!(is_lost_connection(&io::Error::from(io::ErrorKind::ConnectionReset)));
        assert!(is_lost_connection(&io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused))));
        assert!(is_lost_connection(&h2::Error::from(h2::Reason::REFUSED_STREAM)));
        assert!(!is_lost_connection(&h2::Error::from(h2::Reason::PROTOCOL_ERROR)));
        assert!(!is_lost_connection(&io::Error::from(io::ErrorKind::TimedOut)));
        assert!(!is_lost_connection(&rustls::Error::DecryptError));
    }
}
