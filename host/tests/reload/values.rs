//! The value cache between a real registry and a real guest, with an HTTP backend on loopback that counts.

use std::sync::{
    Arc,
    atomic::{AtomicU16, AtomicU64, Ordering},
};

use axum::{Router, extract::State, http::StatusCode};
use futures::future::join_all;
use tokio::{net::TcpListener, sync::Semaphore};
use wasm_metrics_adapter::{
    model::{CacheState, ExternalAnswer, ExternalQuery, FetchError, MetricName, Provider as _, Reason, Selector},
    source::RawPlugin,
};

use crate::{
    stage::{Stage, plugin, with_code},
    support::guest,
};

/// A backend that counts what it is asked, and answers when it may.
struct Backend {
    requests: AtomicU64,
    status: AtomicU16,
    /// As many answers as it has permits.
    may_answer: Semaphore,
}

impl Backend {
    async fn start() -> (Arc<Self>, String) {
        let (requests, status) = (AtomicU64::new(0), AtomicU16::new(200));
        let backend = Arc::new(Self { requests, status, may_answer: Semaphore::new(Semaphore::MAX_PERMITS) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(backend.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (backend, origin)
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

async fn answer(State(backend): State<Arc<Backend>>) -> (StatusCode, String) {
    let number = backend.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let _permit = backend.may_answer.acquire().await.unwrap();
    let status = StatusCode::from_u16(backend.status.load(Ordering::Relaxed)).unwrap();
    (status, format!(r#"{{ "depth": {number} }}"#))
}

/// `plugins/http-json` that answers with the number of the backend's answer; `version` tells one of its versions from another.
fn counting(origin: &str, version: u32, values: &str) -> RawPlugin {
    let metrics = format!("metrics: [{{ name: depth, type: external, url: '{origin}/{version}', value: $.depth }}]");
    let body = format!("egress: ['{origin}']\n{values}");
    with_code(plugin("queue", &metrics, &body), guest("http-json"))
}

async fn ask(stage: &Stage, series: &str) -> Result<ExternalAnswer, FetchError> {
    let (metric, series) = (MetricName::new("depth").unwrap(), Selector::parse(series).unwrap());
    stage.reader.external(&ExternalQuery { namespace: "shop".to_owned(), metric, series }).await
}

async fn value(stage: &Stage) -> (i64, CacheState) {
    let answer = ask(stage, "").await.unwrap();
    (answer.samples.first().unwrap().value.units(), answer.cache)
}

#[tokio::test]
async fn a_thousand_autoscalers_of_a_slow_backend_are_one_request() {
    let (backend, origin) = Backend::start().await;
    let mut stage = Stage::new().await;
    stage.load(counting(&origin, 1, "cache: { ttl: 0s }")).await;
    backend.may_answer.forget_permits(Semaphore::MAX_PERMITS);
    let asking = join_all((0..1000).map(|_| value(&stage)));
    let answering = async {
        // The backend is asked when all thousand wait: they were polled before this.
        backend.may_answer.add_permits(1);
    };
    let (answers, ()) = tokio::join!(asking, answering);
    assert!(answers.iter().all(|(value, _)| *value == 1));
    assert_eq!(answers.iter().filter(|(_, cache)| *cache == CacheState::Shared).count(), 999);
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn a_thousand_autoscalers_in_one_ttl_are_one_request() {
    let (backend, origin) = Backend::start().await;
    let mut stage = Stage::new().await;
    stage.load(counting(&origin, 1, "cache: { ttl: 5m }")).await;
    for _ in 0..1000 {
        assert_eq!(value(&stage).await.0, 1);
    }
    assert_eq!(backend.requests(), 1);
    assert_eq!(ask(&stage, "queue=a,tier in (x,y)").await.unwrap().cache, CacheState::Miss);
    assert_eq!(ask(&stage, "tier in (y, x),queue in (a)").await.unwrap().cache, CacheState::Hit);
}

#[tokio::test]
async fn a_new_version_never_answers_with_old_values() {
    let (backend, origin) = Backend::start().await;
    let mut stage = Stage::new().await;
    stage.load(counting(&origin, 1, "cache: { ttl: 5m, staleFor: 1h }")).await;
    assert_eq!(value(&stage).await, (1, CacheState::Miss));
    stage.put(counting(&origin, 2, "cache: { ttl: 5m, staleFor: 1h }")).await;
    stage.until_loaded("queue", 2).await;
    stage.until("depth", |answer| answer.as_deref() == Ok("2")).await;
    backend.status.store(503, Ordering::Relaxed);
    stage.put(counting(&origin, 3, "cache: { ttl: 5m, staleFor: 1h }")).await;
    stage.until("depth", |answer| answer.as_ref().is_err_and(|error| error.reason == Reason::Unavailable)).await;
}

#[tokio::test]
async fn a_backend_that_dies_is_covered_by_its_last_value_and_not_hammered() {
    let (backend, origin) = Backend::start().await;
    let mut stage = Stage::new().await;
    stage.load(counting(&origin, 1, "cache: { ttl: 0s, staleFor: 1h }")).await;
    assert_eq!(value(&stage).await, (1, CacheState::Miss));
    backend.status.store(503, Ordering::Relaxed);
    let began = std::time::Instant::now();
    for _ in 0..1000 {
        assert_eq!(value(&stage).await, (1, CacheState::Stale));
    }
    // At most one a second, less and less.
    let most = 2 + began.elapsed().as_secs();
    assert!(backend.requests() - 1 <= most, "{} requests, where {most} are right", backend.requests() - 1);
}
