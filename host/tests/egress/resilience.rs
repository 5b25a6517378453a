//! What the host does about backends that come and go: pools, retries within a budget, circuits that open and close.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};
use wasm_metrics_adapter::telemetry::{Metrics, PluginLabels};

use super::*;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A client for `origins` that counts.
fn counted(origins: &[&str]) -> (Client, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let shared = Shared::new(TrustRoots::none(), always_here(), loopback_allowed()).unwrap();
    let origins = origins.iter().map(|text| Origin::parse(text).unwrap()).collect();
    let config = EgressConfig { origins, response_bytes: 1024, exchanges: 8, ..EgressConfig::default() };
    (Client::new(plugin(), config, Arc::new(shared.with_metrics(metrics.clone()))), metrics)
}

fn plugin() -> PluginId {
    PluginId { namespace: "shop".to_owned(), name: "queues".to_owned() }
}

fn labels() -> PluginLabels {
    PluginLabels { plugin: plugin().to_string() }
}

/// A server that answers so many requests of each connection and ends it at the next one; connections of `deaf` not even one.
struct Fickle {
    origin: String,
    connections: Arc<AtomicUsize>,
}

impl Fickle {
    async fn start(answers: usize, deaf: fn(usize) -> bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://mq.test:{}", listener.local_addr().unwrap().port());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answers = if deaf(count.fetch_add(1, Ordering::SeqCst)) { 0 } else { answers };
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    for _ in 0..answers {
                        if stream.read(&mut buffer).await.unwrap_or(0) == 0 || stream.write_all(OK).await.is_err() {
                            return;
                        }
                    }
                    // The request that is not answered has been read: its sender can't know what became of it.
                    let _read = stream.read(&mut buffer).await;
                });
            }
        });
        Self { origin, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_connection_lost_before_an_answer_is_retried_once_for_queries_alone() {
    let backend = Fickle::start(1, |_| false).await;
    let (client, metrics) = counted(&[&backend.origin]);
    client.fetch(get(&backend.origin), PATIENCE).await.unwrap();
    assert_eq!(client.fetch(get(&backend.origin), PATIENCE).await.unwrap().status, 200);
    assert_eq!((backend.connections(), metrics.backend_retries.get_or_create(&labels()).get()), (2, 1));
    let post = Request { method: "POST".to_owned(), ..get(&backend.origin) };
    let error = client.fetch(post, PATIENCE).await.unwrap_err();
    assert!(matches!(error, EgressError::Failed { .. }), "{error}");
    assert_eq!((backend.connections(), metrics.backend_retries.get_or_create(&labels()).get()), (2, 1));
}

#[tokio::test]
async fn a_backend_that_never_answers_gets_each_query_twice_at_most() {
    let backend = Fickle::start(0, |_| true).await;
    let (client, _) = counted(&[&backend.origin]);
    client.fetch(get(&backend.origin), PATIENCE).await.unwrap_err();
    assert_eq!(backend.connections(), 2);
}

#[tokio::test]
async fn retries_do_not_double_the_load_of_a_failing_backend() {
    // Every second connection ends without an answer, so that every query would need a retry.
    let backend = Fickle::start(1, |number| number % 2 == 0).await;
    let (client, metrics) = counted(&[&backend.origin]);
    let started = Instant::now();
    for _ in 0..60 {
        // Not kept for the next one.
        let headers = vec![("cache-control".to_owned(), "no-cache".to_owned())];
        let _maybe = client.fetch(Request { headers, ..get(&backend.origin) }, PATIENCE).await;
    }
    let retries = metrics.backend_retries.get_or_create(&labels()).get();
    let allowed = 10 + 6 + started.elapsed().as_secs() + 1;
    assert!(retries >= 10 && retries <= allowed, "{retries} retries, at most {allowed} are allowed");
}

#[tokio::test]
async fn a_dead_backend_is_left_alone_and_other_origins_and_plugins_are_not() {
    let dead = format!("http://mq.test:{}", Backend::closed_port());
    let healthy = Backend::plain(|_| Answer::text("well")).await;
    let other = healthy.origin("other.test");
    let (client, metrics) = counted(&[&dead, &other]);
    for _ in 0..5 {
        assert!(matches!(client.fetch(get(&dead), PATIENCE).await.unwrap_err(), EgressError::Failed { .. }));
    }
    let error = client.fetch(get(&dead), PATIENCE).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("circuit open: the last requests to {dead} failed")), "{error}");
    assert_eq!(client.fetch(get(&other), PATIENCE).await.unwrap().status, 200);
    let (another, _) = counted(&[&dead]);
    assert!(matches!(another.fetch(get(&dead), PATIENCE).await.unwrap_err(), EgressError::Failed { .. }));
    let text = metrics.encode();
    assert!(text.contains(r#"wasm_metrics_adapter_plugin_circuits_open{plugin="shop/queues"} 1"#), "{text}");
    drop(client);
    assert_eq!(metrics.circuits_open.get_or_create(&labels()).get(), 0);
}

#[tokio::test]
async fn a_backend_that_comes_back_is_found_by_one_probe() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let backend = Backend::plain(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0..5 => Answer::text("down").status(503),
        _ => Answer::text("up"),
    })
    .await;
    let origin = backend.origin("mq.test");
    let (client, _) = counted(&[&origin]);
    for _ in 0..5 {
        assert_eq!(client.fetch(get(&origin), PATIENCE).await.unwrap().status, 503, "the guest gets the answer itself");
    }
    let refused = client.fetch(get(&origin), PATIENCE).await;
    assert!(matches!(refused, Err(EgressError::CircuitOpen { .. })), "{refused:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 5, "nothing was sent");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    for _ in 0..3 {
        assert_eq!(client.fetch(get(&origin), PATIENCE).await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn waiting_for_a_slot_in_vain_is_not_the_backends_failure() {
    let backend = Backend::plain(|seen| match seen.target.as_str() {
        "/silent" => Answer::silence(),
        _ => Answer::text("x"),
    })
    .await;
    let healthy = Backend::plain(|_| Answer::text("x")).await;
    let (origin, other) = (backend.origin("mq.test"), healthy.origin("other.test"));
    let client = client_with(&[&origin, &other], always_here(), loopback_allowed(), |config| config.exchanges = 1);
    let silent = client.fetch(get(format!("{origin}/silent")), PATIENCE);
    let crowded = async {
        backend.until_open(1).await;
        for _ in 0..6 {
            let error = client.fetch(get(&other), Duration::from_millis(10)).await.unwrap_err();
            assert!(matches!(error, EgressError::Timeout { .. }), "{error}");
        }
    };
    tokio::select! {
        _ = silent => panic!("a silent backend answered"),
        () = crowded => {}
    }
    assert_eq!(client.fetch(get(&other), PATIENCE).await.unwrap().status, 200);
}

#[tokio::test]
async fn http2_carries_many_requests_on_one_connection_and_plugins_share_none() {
    let (backend, authority) = Backend::tls("mq.test", |_| Answer::text("x")).await;
    let roots = || TrustRoots::none().with_pem("ca.pem", authority.as_bytes()).unwrap();
    let origin = backend.origin("mq.test");
    let client = || client_trusting(roots(), &[&origin], always_here(), loopback_allowed(), |_| {});
    let (first, second) = (client(), client());
    first.fetch(get(&origin), PATIENCE).await.unwrap();
    let answers = futures::future::join_all((0..30).map(|_| first.fetch(get(&origin), PATIENCE))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((backend.requests(), backend.connections()), (31, 1));
    second.fetch(get(&origin), PATIENCE).await.unwrap();
    assert_eq!(backend.connections(), 2);
}
