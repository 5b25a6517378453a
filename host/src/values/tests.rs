//! The value cache through its door, with a scripted plugin and paused time.

mod memory;
mod properties;
mod scenarios;
mod sharing;

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{Mutex, atomic::AtomicU64},
};

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, sleep};

use super::*;
use crate::{
    model::{
        CustomMetric, CustomSample, ExternalSample, GroupResource, MetricName, ObjectSelection, Quantity, Reason,
        Selector, UnixMillis,
    },
    telemetry::Metrics,
};

/// A plugin that answers by a script; its last line is repeated. It answers every question with the same.
struct Scripted {
    replies: Mutex<VecDeque<Reply>>,
    calls: AtomicU64,
}

/// What a call comes to, and how long it takes.
#[derive(Debug, Clone)]
struct Reply {
    takes: Duration,
    outcome: Result<Vec<(String, Duration)>, FetchError>,
    ahead: Duration,
}

impl Reply {
    /// One value, true now.
    fn good(value: &str) -> Self {
        Self::aged(value, 0)
    }

    /// One value, so many seconds old.
    fn aged(value: &str, seconds: u64) -> Self {
        let outcome = Ok(vec![(value.to_owned(), Duration::from_secs(seconds))]);
        Self { takes: Duration::ZERO, outcome, ahead: Duration::ZERO }
    }

    /// One value, from so many seconds in the future.
    fn ahead(value: &str, seconds: u64) -> Self {
        Self { ahead: Duration::from_secs(seconds), ..Self::good(value) }
    }

    /// Several series.
    fn series(values: &[&str]) -> Self {
        let outcome = Ok(values.iter().map(|value| ((*value).to_owned(), Duration::ZERO)).collect());
        Self { outcome, ..Self::good("0") }
    }

    fn fails(reason: Reason) -> Self {
        Self { outcome: Err(FetchError::new(reason, "the backend is down")), ..Self::good("0") }
    }

    fn fails_for(reason: Reason, seconds: u64) -> Self {
        let mut error = FetchError::new(reason, "the backend asks for patience");
        error.retry_after = Some(Duration::from_secs(seconds));
        Self { outcome: Err(error), ..Self::good("0") }
    }

    fn after(self, millis: u64) -> Self {
        Self { takes: Duration::from_millis(millis), ..self }
    }
}

impl Scripted {
    fn new(replies: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Arc::new(Self { replies: Mutex::new(replies.into_iter().collect()), calls: AtomicU64::new(0) })
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    async fn reply(&self) -> Result<Vec<(String, Quantity, UnixMillis)>, FetchError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let reply = {
            let mut replies = self.replies.lock().unwrap();
            if replies.len() > 1 { replies.pop_front().unwrap() } else { replies.front().unwrap().clone() }
        };
        sleep(reply.takes).await;
        let values = reply.outcome?;
        let now = UnixMillis::now().0 + reply.ahead.as_millis() as u64;
        let samples = values.iter().enumerate().map(|(place, (value, age))| {
            (place.to_string(), value.parse().unwrap(), UnixMillis(now - age.as_millis() as u64))
        });
        Ok(samples.collect())
    }
}

#[async_trait]
impl Provider for Scripted {
    fn catalog(&self) -> Arc<Catalog> {
        Arc::default()
    }

    async fn custom(&self, query: &CustomQuery) -> Result<CustomAnswer, FetchError> {
        let object = |place: String| match &query.objects {
            ObjectSelection::Named(name) => name.clone(),
            ObjectSelection::Selected(_) => place,
        };
        let samples = self.reply().await?.into_iter().map(|(place, value, timestamp)| CustomSample {
            object: object(place),
            value,
            timestamp,
            window: None,
        });
        Ok(CustomAnswer { plugin: plugin(), samples: samples.collect(), cache: CacheState::None })
    }

    async fn external(&self, query: &ExternalQuery) -> Result<ExternalAnswer, FetchError> {
        let samples = self.reply().await?.into_iter().map(|(place, value, timestamp)| ExternalSample {
            labels: vec![("series".to_owned(), place)],
            value,
            timestamp,
            window: None,
        });
        let (metric, samples) = (query.metric.clone(), samples.collect());
        Ok(ExternalAnswer { plugin: plugin(), metric, samples, cache: CacheState::None })
    }
}

fn plugin() -> PluginId {
    PluginId { namespace: "plugins".to_owned(), name: "queue".to_owned() }
}

fn cached(provider: Arc<dyn Provider>, policy: &ValuePolicy) -> Cached {
    Cached::new(plugin(), provider, policy, &Arc::default())
}

fn external(namespace: &str, metric: &str, series: &str) -> ExternalQuery {
    let (metric, series) = (MetricName::new(metric).unwrap(), Selector::parse(series).unwrap());
    ExternalQuery { namespace: namespace.to_owned(), metric, series }
}

fn custom(objects: ObjectSelection) -> CustomQuery {
    let metric = CustomMetric { resource: GroupResource::core("pods"), name: MetricName::new("depth").unwrap() };
    CustomQuery { metric, namespace: Some("shop".to_owned()), objects, series: Selector::everything() }
}

/// `VALUE,VALUE cache` or `reason cache`.
fn told<'a>(values: impl IntoIterator<Item = &'a Quantity>, cache: CacheState) -> String {
    let mut text = String::new();
    for value in values {
        let comma = if text.is_empty() { "" } else { "," };
        write!(text, "{comma}{value}").unwrap();
    }
    format!("{text} {}", cache.as_str())
}

fn told_failure(error: &FetchError) -> String {
    format!("{} {}", error.reason.as_str(), error.cache.as_str())
}

async fn ask(cached: &Cached, query: &ExternalQuery) -> String {
    match cached.external(query).await {
        Ok(answer) => told(answer.samples.iter().map(|sample| &sample.value), answer.cache),
        Err(error) => told_failure(&error),
    }
}

async fn ask_custom(cached: &Cached, query: &CustomQuery) -> String {
    match cached.custom(query).await {
        Ok(answer) => told(answer.samples.iter().map(|sample| &sample.value), answer.cache),
        Err(error) => told_failure(&error),
    }
}

/// Whatever is ready has run; no time passes.
async fn settled() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
