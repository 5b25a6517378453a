//! Why a metric could not be fetched, as the client is to understand it. Which HTTP code that is, `api::status` decides.

use std::{fmt, time::Duration};

use super::{CacheState, PluginId};

/// What a failure means to the client. The first eight are a plugin's own (`reason` in wit/v0.1/types.wit).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// There is no such metric.
    MetricNotFound,
    /// There is such a metric, but not for this object.
    ObjectNotFound,
    /// The selector, name or setting makes no sense.
    BadRequest,
    /// The backend asks for patience.
    RateLimited,
    /// The backend did not answer, or not sensibly.
    Unavailable,
    /// The backend refused the credentials.
    Unauthorized,
    /// No answer in time, of the backend or of the plugin itself.
    Timeout,
    /// The plugin trapped, broke a limit or answered nonsense.
    Internal,
    /// The plugin that owns the metric has not loaded yet, or its caches are filling.
    Loading,
    /// All calls that this plugin may run at once are under way.
    Overloaded,
}

impl Reason {
    /// As in logs and metric labels; the plugin's own as in wit/v0.1/types.wit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MetricNotFound => "metric-not-found",
            Self::ObjectNotFound => "object-not-found",
            Self::BadRequest => "bad-request",
            Self::RateLimited => "rate-limited",
            Self::Unavailable => "unavailable",
            Self::Unauthorized => "unauthorized",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::Loading => "loading",
            Self::Overloaded => "overloaded",
        }
    }
}

/// A failed lookup.
///
/// Invariant: `message` is stable from call to call (no times, counters or ids), because the HPA controller writes an Event
/// for each new text. It holds no credentials and no guest backtraces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchError {
    /// What it means to the client.
    pub reason: Reason,
    /// The plugin at fault or in charge; absent where no plugin was asked.
    pub plugin: Option<PluginId>,
    /// One sentence, without a final period, that says what to do.
    pub message: String,
    /// How long asking again makes no sense, as the plugin said.
    pub retry_after: Option<Duration>,
    /// What the value cache had to do with it.
    pub cache: CacheState,
}

impl FetchError {
    /// An error that no plugin has been named for yet.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, plugin: None, message: message.into(), retry_after: None, cache: CacheState::None }
    }

    /// What metrics.k8s.io says where no plugin claims it. Unavailable rather than an empty list: an autoscaler's owner must
    /// see that nobody measures, and not that there are no pods.
    pub fn nobody_measures() -> Self {
        let message = "no plugin serves metrics.k8s.io; load one that exports resource-metrics, with `serves.resource: true`, \
                       into the adapter's own namespace";
        Self::new(Reason::Unavailable, message)
    }

    /// Names the plugin in charge, unless a room closer to the fault did.
    #[must_use]
    pub fn of(mut self, plugin: &PluginId) -> Self {
        self.plugin.get_or_insert_with(|| plugin.clone());
        self
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.plugin {
            Some(plugin) => write!(formatter, "plugin {plugin}: {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

impl std::error::Error for FetchError {}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A credential was presented, and it is not valid. The cause is for the log, not for the client.
    #[error("{0}")]
    Unauthenticated(String),
    /// Authorization was asked and said no.
    #[error("not allowed: {reason}")]
    Forbidden {
        /// The authorizer's own reason; may be empty.
        reason: String,
    },
    /// The API server could not be asked, so the answer is no: authentication and authorization fail closed.
    #[error("{0}")]
    Unavailable(String),
    /// So many questions wait for the API server already that this one is not asked.
    #[error("{0}")]
    Overloaded(String),
}
