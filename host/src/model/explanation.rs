//! Why a metric is answered as it is: what each room has to say of one question, from the claims on it to the guest's own words.

use std::time::Duration;

use super::{
    CacheView, CustomAnswer, CustomQuery, ExternalAnswer, ExternalQuery, FetchError, NodeSample, PluginId, PodRef,
    PodSample, Provider, Quantity, ResourceAnswer, UnixMillis,
};

/// How much an explanation tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What happened, without what was sent and received.
    Summary,
    /// Also URLs, headers, the beginning of bodies, and what the guest logged. It needs a right of its own.
    Raw,
}

/// A question to a [`Provider`], whatever the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricQuery {
    /// [`Provider::custom`]
    Custom(CustomQuery),
    /// [`Provider::external`]
    External(ExternalQuery),
    /// [`Provider::pods`]
    Pods(Vec<PodRef>),
    /// [`Provider::nodes`]
    Nodes(Vec<String>),
}

/// The answer to a [`MetricQuery`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricAnswer {
    /// Of [`Provider::custom`].
    Custom(CustomAnswer),
    /// Of [`Provider::external`].
    External(ExternalAnswer),
    /// Of [`Provider::pods`].
    Pods(ResourceAnswer<PodSample>),
    /// Of [`Provider::nodes`].
    Nodes(ResourceAnswer<NodeSample>),
}

impl MetricQuery {
    /// Asks `provider` in the usual way.
    pub async fn ask<P: Provider + ?Sized>(&self, provider: &P) -> Result<MetricAnswer, FetchError> {
        match self {
            Self::Custom(query) => provider.custom(query).await.map(MetricAnswer::Custom),
            Self::External(query) => provider.external(query).await.map(MetricAnswer::External),
            Self::Pods(pods) => provider.pods(pods).await.map(MetricAnswer::Pods),
            Self::Nodes(names) => provider.nodes(names).await.map(MetricAnswer::Nodes),
        }
    }
}

/// What there is to say of one question. A provider fills in what it knows and leaves the rest.
///
/// Invariant: no text in it holds a secret that the host knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The answer, or why there is none: what a client gets.
    pub answer: Result<MetricAnswer, FetchError>,
    /// Who claims the metric in the namespace of the question, the one that answers first.
    pub claims: Excerpt<ConsideredClaim>,
    /// Metrics of the namespace of the question that are named nearly alike, the nearest first; for a metric that nobody claims.
    pub similar: Vec<String>,
    /// What the cache of values knows of the question; absent where there is no such cache.
    pub cache: Option<CacheView>,
    /// The plugin's call for just this explanation; absent where no plugin was called.
    pub call: Option<PluginCall>,
}

impl Explanation {
    /// An explanation that knows the answer alone.
    pub fn of(answer: Result<MetricAnswer, FetchError>) -> Self {
        Self { answer, claims: Excerpt::default(), similar: Vec::new(), cache: None, call: None }
    }
}

/// The first of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt<Item> {
    /// Those that are shown.
    pub items: Vec<Item>,
    /// How many more there are.
    pub left_out: usize,
}

impl<Item> Default for Excerpt<Item> {
    fn default() -> Self {
        Self { items: Vec::new(), left_out: 0 }
    }
}

impl<Item> Excerpt<Item> {
    /// The first `limit` of `items`.
    pub fn first(limit: usize, items: impl IntoIterator<Item = Item>) -> Self {
        let mut excerpt = Self::default();
        items.into_iter().for_each(|item| {
            excerpt.add(limit, || item);
        });
        excerpt
    }

    /// Shows one more unless `limit` are shown already; its place if it is shown.
    pub fn add(&mut self, limit: usize, item: impl FnOnce() -> Item) -> Option<usize> {
        let place = self.items.len();
        if place >= limit {
            self.left_out += 1;
            return None;
        }
        self.items.push(item());
        Some(place)
    }
}

/// A plugin's claim on a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsideredClaim {
    /// Who claims.
    pub plugin: PluginId,
    /// What: the metric itself, or a pattern that it is of.
    pub claim: String,
    /// What became of it.
    pub standing: Standing,
}

/// What becomes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It wins: this plugin is asked.
    Owns,
    /// It wins, and its plugin has not loaded yet.
    Loading,
    /// It loses, by this rule; in order of weight.
    Loses(Precedence),
    /// Its plugin does not answer for the namespace of the question.
    OtherNamespaces,
}

/// Which claim comes first, rule by rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// Plugins of the adapter's namespace come before tenants.
    OwnNamespace,
    /// An exact claim comes before a pattern.
    Exact,
    /// The longer literal prefix comes first.
    Prefix,
    /// The higher `serves.priority` comes first.
    Priority,
    /// The namespace and name of the ConfigMap decide between claims that are alike.
    Name,
}

/// What a plugin did for one question.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginCall {
    /// The export that was called, as in `external-metrics.get`; "" if it came to no call.
    pub function: &'static str,
    /// What it was called with, after parsing: name and value of each parameter.
    pub arguments: Vec<(&'static str, String)>,
    /// How many calls it took: a long list of pods is asked for in parts.
    pub calls: usize,
    /// From the question to the answer, waiting for a place included.
    pub duration: Duration,
    /// CPU time really run.
    pub cpu: Duration,
    /// Linear memory at the end, which never shrinks; absent if the call was cut off.
    pub memory_bytes: Option<usize>,
    /// What it might have used.
    pub limits: CallLimits,
    /// Requests to backends, in the order in which they began.
    pub backend_calls: Excerpt<BackendCall>,
    /// Objects that the guest looked up.
    pub lookups: Excerpt<Lookup>,
    /// Lines that the guest logged.
    pub log_lines: usize,
    /// Those lines; with [`Detail::Raw`] alone, since a guest may log what it received.
    pub log: Excerpt<LogLine>,
    /// The guest's own values, each with what became of it.
    pub values: Excerpt<GuestValue>,
}

/// What a call may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Bytes of linear memory.
    pub memory_bytes: usize,
    /// Wall-clock time.
    pub timeout: Duration,
    /// CPU time.
    pub cpu: Duration,
    /// Calls at once.
    pub concurrency: usize,
    /// Items of an answer.
    pub list_items: usize,
}

/// A guest's request to a backend, as the guest made it: without what the host put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendCall {
    /// As in `GET`.
    pub method: String,
    /// As in `https://mq.example.com`; absent if the URL has none.
    pub origin: Option<String>,
    /// When it began, counted from the question.
    pub after: Duration,
    /// How long it took, if it ended.
    pub duration: Option<Duration>,
    /// What came back.
    pub outcome: BackendOutcome,
    /// With [`Detail::Raw`] alone.
    pub raw: Option<RawExchange>,
}

/// What became of a request to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendOutcome {
    /// The call ended first.
    Unanswered,
    /// A response.
    Response {
        /// Its HTTP status.
        status: u16,
        /// Bytes of its body.
        bytes: usize,
    },
    /// None, and why.
    Failed(String),
}

/// What was sent and received, each text cut to a length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawExchange {
    /// With its query.
    pub url: String,
    /// The guest's own headers.
    pub request_headers: Excerpt<(String, String)>,
    /// The beginning of the request's body.
    pub request_body: String,
    /// The response's headers.
    pub response_headers: Excerpt<(String, String)>,
    /// The beginning of the response's body.
    pub response_body: String,
}

/// A question of the guest about the cluster's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The import, as in `objects.names`.
    pub function: &'static str,
    /// Which objects, as in `pods`.
    pub resource: String,
    /// Which of them.
    pub selector: String,
    /// How many there are, or why that is not known.
    pub found: Result<usize, String>,
}

/// A line that the guest logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// As in `warn`.
    pub level: &'static str,
    /// What it says.
    pub text: String,
}

/// A number as the guest gave it, and what it is in Kubernetes.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestValue {
    /// The object, the series' labels, or what of a container or node it is.
    pub of: String,
    /// As in `12.5 (float)`.
    pub number: String,
    /// The quantity that it became, or why it became none.
    pub quantity: Result<Quantity, String>,
    /// When it was true, if the guest said so; else it counts as true now.
    pub timestamp: Option<UnixMillis>,
    /// Over which time a rate was computed.
    pub window: Option<Duration>,
}
