//! Failures: each reason has a constructor, so that a plugin says in one word what a failure means to the client.

use std::time::Duration;

use crate::{Failure, Reason};

impl Failure {
    /// A failure whose `message` is one stable sentence that says what to do, without times, counters or ids: the HPA
    /// controller writes a new Event each time the text changes.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after_ms: None }
    }

    /// 404: this plugin has no metric of that name.
    pub fn metric_not_found(metric: &str) -> Self {
        Self::new(Reason::MetricNotFound, format!("there is no metric `{metric}`"))
    }

    /// 404: there is such a metric, but not for this object.
    pub fn object_not_found(metric: &str, object: &str) -> Self {
        Self::new(Reason::ObjectNotFound, format!("metric `{metric}` has no value for `{object}`"))
    }

    /// 400: the selector, name or setting makes no sense. From [`Settings::validate`](crate::Settings::validate) it
    /// refuses the load.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// 429: the backend asks for patience.
    pub fn rate_limited(message: impl Into<String>) -> Self {
        Self::new(Reason::RateLimited, message)
    }

    /// 503: the backend did not answer, or not sensibly.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::Unavailable, message)
    }

    /// 503: the backend refused the credentials.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(Reason::Unauthorized, message)
    }

    /// 504: the backend did not answer in time.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(Reason::Timeout, message)
    }

    /// 500: a fault of the plugin itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Reason::Internal, message)
    }

    /// The same failure, with the time until asking again makes sense; the adapter waits at most five minutes.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after_ms = Some(u32::try_from(pause.as_millis()).unwrap_or(u32::MAX));
        self
    }
}
