//! The egress room through its door, against real servers on loopback: what leaves, what does not, and what comes back.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, in its helpers too")]

#[path = "egress/backend.rs"]
mod backend;
#[path = "egress/hostile.rs"]
mod hostile;
#[path = "egress/names.rs"]
mod names;
#[path = "egress/resilience.rs"]
mod resilience;

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use backend::{Answer, Backend};
use bytes::Bytes;
use wasm_metrics_adapter::{
    egress::{
        AddressPolicy, Client, Credential, EgressConfig, EgressError, ForbiddenAddress, Origin, Request, Resolve,
        Response, Shared, TrustRoots,
    },
    model::PluginId,
};

/// Long enough that no healthy exchange meets it, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const HASTE: Duration = Duration::from_millis(200);

/// A name server that gives the next of its answers each time, and the last one again and again.
struct Script(Mutex<Vec<Vec<IpAddr>>>);

impl Script {
    fn of(answers: &[&[&str]]) -> Arc<Self> {
        let parsed =
            answers.iter().rev().map(|answer| answer.iter().map(|text| text.parse().unwrap()).collect()).collect();
        Arc::new(Self(Mutex::new(parsed)))
    }
}

#[async_trait]
impl Resolve for Script {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        let mut answers = self.0.lock().unwrap();
        let next = if answers.len() > 1 { answers.pop() } else { answers.last().cloned() };
        next.ok_or_else(|| std::io::Error::other("no such host"))
    }
}

fn loopback_allowed() -> AddressPolicy {
    AddressPolicy { loopback: vec!["127.0.0.0/8".parse().unwrap()], ..AddressPolicy::default() }
}

fn always_here() -> Arc<Script> {
    Script::of(&[&["127.0.0.1"]])
}

fn client_with(
    origins: &[&str],
    resolver: Arc<dyn Resolve>,
    addresses: AddressPolicy,
    change: impl FnOnce(&mut EgressConfig),
) -> Client {
    client_trusting(TrustRoots::none(), origins, resolver, addresses, change)
}

fn client_trusting(
    roots: TrustRoots,
    origins: &[&str],
    resolver: Arc<dyn Resolve>,
    addresses: AddressPolicy,
    change: impl FnOnce(&mut EgressConfig),
) -> Client {
    let origins = origins.iter().map(|text| Origin::parse(text).unwrap()).collect();
    let mut config = EgressConfig { origins, response_bytes: 64 * 1024, exchanges: 8, ..EgressConfig::default() };
    change(&mut config);
    let plugin = PluginId { namespace: "shop".to_owned(), name: "queues".to_owned() };
    Client::new(plugin, config, Arc::new(Shared::new(roots, resolver, addresses).unwrap()))
}

/// A client that may reach `origin` on loopback.
fn client_of(origin: &str) -> Client {
    client_with(&[origin], always_here(), loopback_allowed(), |_| {})
}

fn get(url: impl Into<String>) -> Request {
    Request { method: "GET".to_owned(), url: url.into(), ..Request::default() }
}

fn body_of(response: &Response) -> &str {
    std::str::from_utf8(&response.body).unwrap()
}

#[tokio::test]
async fn a_request_arrives_as_it_was_meant() {
    let backend = Backend::plain(|_| Answer::text("42")).await;
    let client = client_of(&backend.origin("mq.test"));
    let request = Request {
        method: "POST".to_owned(),
        url: format!("{}/query?q=depth%20now", backend.origin("mq.test")),
        headers: vec![("Accept".to_owned(), "text/plain".to_owned()), ("Host".to_owned(), "evil.test".to_owned())],
        body: Bytes::from_static(b"body"),
    };
    let response = client.fetch(request, PATIENCE).await.unwrap();
    assert_eq!((response.status, body_of(&response)), (200, "42"));
    let seen = backend.last();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), &seen.body[..]),
        ("POST", "/query?q=depth%20now", &b"body"[..])
    );
    assert_eq!(seen.headers["host"], format!("mq.test:{}", backend.port()));
    assert_eq!(seen.headers["accept"], "text/plain");
    assert_eq!(seen.headers["content-length"], "4");
}

#[tokio::test]
async fn any_status_is_a_response_and_redirects_are_not_followed() {
    let backend = Backend::plain(|seen| match seen.target.as_str() {
        "/moved" => Answer::text("").status(302).header("location", "/elsewhere"),
        _ => Answer::text("down").status(503),
    })
    .await;
    let client = client_of(&backend.origin("mq.test"));
    let moved = client.fetch(get(format!("{}/moved", backend.origin("mq.test"))), PATIENCE).await.unwrap();
    assert_eq!(moved.status, 302);
    assert!(moved.headers.contains(&("location".to_owned(), "/elsewhere".to_owned())));
    let down = client.fetch(get(backend.origin("mq.test")), PATIENCE).await.unwrap();
    assert_eq!((down.status, body_of(&down)), (503, "down"));
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn an_origin_that_is_not_named_is_not_even_resolved() {
    let client = client_with(&[], Script::of(&[]), loopback_allowed(), |_| {});
    let error = client.fetch(get("http://mq.test:8080/x?secret=1"), PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), "origin http://mq.test:8080 is not in `egress` of plugin shop/queues; add it there");
}

#[tokio::test]
async fn a_credential_reaches_its_origin_alone_and_replaces_the_guests_copy() {
    let ours = Backend::plain(|_| Answer::text("")).await;
    let other = Backend::plain(|_| Answer::text("")).await;
    let (ours_origin, other_origin) = (ours.origin("ours.test"), other.origin("other.test"));
    let credential = Credential::bearer(Origin::parse(&ours_origin).unwrap(), "hunter2\n").unwrap();
    let client = client_with(&[&ours_origin, &other_origin], always_here(), loopback_allowed(), |config| {
        config.credentials = vec![credential];
    });
    for origin in [&ours_origin, &other_origin] {
        let forged = vec![("authorization".to_owned(), "Bearer forged".to_owned())];
        client.fetch(Request { headers: forged, ..get(origin) }, PATIENCE).await.unwrap();
    }
    assert_eq!(ours.last().headers.get_all("authorization").iter().collect::<Vec<_>>(), ["Bearer hunter2"]);
    assert_eq!(other.last().headers["authorization"], "Bearer forged");
}

#[tokio::test]
async fn connections_are_used_again_and_belong_to_one_client() {
    let backend = Backend::plain(|_| Answer::text("x")).await;
    let origin = backend.origin("mq.test");
    let client = client_of(&origin);
    for _ in 0..5 {
        client.fetch(get(&origin), PATIENCE).await.unwrap();
    }
    assert_eq!((backend.requests(), backend.connections()), (5, 1));
    client_of(&origin).fetch(get(&origin), PATIENCE).await.unwrap();
    assert_eq!(backend.connections(), 2);
    drop(client);
    backend.until_open(0).await;
}

#[tokio::test]
async fn a_response_larger_than_the_limit_is_an_error_that_names_it() {
    let backend = Backend::plain(|seen| match seen.target.as_str() {
        "/announced" => Answer::text(&"x".repeat(1001)),
        "/streamed" => Answer::chunks(vec!["x".repeat(600), "x".repeat(600)]),
        _ => Answer::text(&"x".repeat(1000)),
    })
    .await;
    let origin = backend.origin("mq.test");
    let client = client_with(&[&origin], always_here(), loopback_allowed(), |config| config.response_bytes = 1000);
    for path in ["/announced", "/streamed"] {
        let error = client.fetch(get(format!("{origin}{path}")), PATIENCE).await.unwrap_err();
        assert!(matches!(error, EgressError::TooLarge { limit: 1000, .. }), "{path}: {error}");
        assert!(error.to_string().contains("larger than 1000 bytes"), "{error}");
    }
    assert_eq!(client.fetch(get(&origin), PATIENCE).await.unwrap().body.len(), 1000);
}

#[tokio::test]
async fn endless_headers_are_refused() {
    let backend = Backend::plain(|_| Answer::text("x").header("x-long", &"v".repeat(100_000))).await;
    let origin = backend.origin("mq.test");
    let error = client_of(&origin).fetch(get(&origin), PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("headers of its response are longer than 65536 bytes"), "{error}");
}

#[tokio::test]
async fn a_backend_that_drips_or_is_silent_is_a_timeout() {
    let backend =
        Backend::plain(|seen| if seen.target == "/silent" { Answer::silence() } else { Answer::drip() }).await;
    let origin = backend.origin("mq.test");
    let client = client_of(&origin);
    for path in ["/silent", "/drip"] {
        let error = client.fetch(get(format!("{origin}{path}?token=1")), HASTE).await.unwrap_err();
        assert_eq!(error.to_string(), format!("no complete response from {origin} in time"), "{path}");
    }
    // What was given up is closed: nothing is left behind at the backend.
    backend.until_open(0).await;
}

#[tokio::test]
async fn exchanges_beyond_the_limit_wait_their_turn() {
    let backend =
        Backend::plain(|seen| if seen.target == "/silent" { Answer::silence() } else { Answer::text("x") }).await;
    let origin = backend.origin("mq.test");
    let client = client_with(&[&origin], always_here(), loopback_allowed(), |config| config.exchanges = 1);
    let (first, second) = tokio::join!(
        client.fetch(get(format!("{origin}/silent")), HASTE),
        client.fetch(get(format!("{origin}/quick")), PATIENCE)
    );
    assert!(matches!(first.unwrap_err(), EgressError::Timeout { .. }));
    assert_eq!(second.unwrap().status, 200);
    assert_eq!(backend.targets(), ["/silent", "/quick"]);
}

#[tokio::test]
async fn dropping_a_fetch_ends_its_exchange() {
    let backend = Backend::plain(|_| Answer::silence()).await;
    let origin = backend.origin("mq.test");
    let client = client_of(&origin);
    tokio::select! {
        _ = client.fetch(get(&origin), PATIENCE) => panic!("a silent backend answered"),
        () = backend.until_open(1) => {}
    }
    backend.until_open(0).await;
}

#[tokio::test]
async fn names_without_answer_and_closed_ports_are_failures_in_words() {
    let client = client_with(&["http://gone.test"], Script::of(&[]), loopback_allowed(), |_| {});
    let error = client.fetch(get("http://gone.test/"), PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), "request to http://gone.test:80 failed: its host name can't be resolved");

    let closed = Backend::closed_port();
    let origin = format!("http://mq.test:{closed}");
    let error = client_of(&origin).fetch(get(&origin), PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn tls_is_verified_against_the_trusted_authorities() {
    let (backend, authority) = Backend::tls("mq.test", |_| Answer::text("secure")).await;
    let trusted = TrustRoots::none().with_pem("ca.pem", authority.as_bytes()).unwrap();
    let origin = backend.origin("mq.test");

    let client = client_trusting(trusted.clone(), &[&origin], always_here(), loopback_allowed(), |_| {});
    let (first, second) = tokio::join!(client.fetch(get(&origin), PATIENCE), client.fetch(get(&origin), PATIENCE));
    assert_eq!(body_of(&first.unwrap()), "secure");
    assert_eq!(body_of(&second.unwrap()), "secure");
    assert_eq!(backend.last().version, http::Version::HTTP_2);

    let error = client_of(&origin).fetch(get(&origin), PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("certificate is not trusted (UnknownIssuer)"), "{error}");

    let misnamed = backend.origin("other.test");
    let client = client_trusting(trusted, &[&misnamed], always_here(), loopback_allowed(), |_| {});
    let error = client.fetch(get(&misnamed), PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("certificate is not trusted"), "{error}");
    assert_eq!(backend.requests(), 2);
}

#[tokio::test]
async fn authorities_are_replaced_while_plugins_run() {
    let (first, of_first) = Backend::tls("mq.test", |_| Answer::text("first")).await;
    let (second, of_second) = Backend::tls("mq.test", |_| Answer::text("second")).await;
    let roots = |pem: &str| TrustRoots::none().with_pem("ca.pem", pem.as_bytes()).unwrap();
    let shared = Arc::new(Shared::new(roots(&of_first), always_here(), loopback_allowed()).unwrap());
    let origins = [first.origin("mq.test"), second.origin("mq.test")];
    let new_client = || {
        let origins = origins.iter().map(|text| Origin::parse(text).unwrap()).collect();
        let config = EgressConfig { origins, response_bytes: 1024, exchanges: 1, ..EgressConfig::default() };
        let plugin = PluginId { namespace: "shop".to_owned(), name: "queues".to_owned() };
        Client::new(plugin, config, shared.clone())
    };
    let ask = async |client: &Client| {
        let [first, second] = origins.each_ref().map(|origin| client.fetch(get(origin), PATIENCE));
        (first.await.is_ok(), second.await.is_ok())
    };
    let client = new_client();
    assert_eq!(ask(&client).await, (true, false));
    shared.replace_roots(roots(&of_second)).unwrap();
    assert_eq!(ask(&client).await, (true, true), "a connection that is there goes on");
    assert_eq!(ask(&new_client()).await, (false, true));
    shared.replace_roots(TrustRoots::none()).unwrap();
    assert_eq!(ask(&new_client()).await, (false, false));
}

#[tokio::test]
async fn plain_text_where_tls_is_expected_is_a_failure_in_words() {
    let backend = Backend::plain(|_| Answer::text("x")).await;
    let origin = format!("https://mq.test:{}", backend.port());
    let error = client_of(&origin).fetch(get(&origin), PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("TLS failed"), "{error}");
}

#[tokio::test]
async fn compressed_bodies_stay_as_they_are() {
    let backend = Backend::plain(|_| Answer::text("not really gzip").header("content-encoding", "gzip")).await;
    let origin = backend.origin("mq.test");
    let response = client_of(&origin).fetch(get(&origin), PATIENCE).await.unwrap();
    assert_eq!(body_of(&response), "not really gzip");
    assert!(response.headers.contains(&("content-encoding".to_owned(), "gzip".to_owned())));
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let backend = Backend::plain(|_| Answer::text("x")).await;
    let origin = backend.origin("mq.test");
    let client = client_of(&origin);
    client.fetch(get(&origin), PATIENCE).await.unwrap();
    assert_eq!((backend.open(), backend.connections()), (1, 1));
    // From here on the clock moves on whenever nothing else does.
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    backend.until_open(0).await;
    assert!(started.elapsed() >= Duration::from_secs(29), "{:?}", started.elapsed());
    drop(client);
}

#[tokio::test]
async fn a_backend_that_never_speaks_tls_is_a_timeout() {
    // The kernel completes the connection; nobody ever accepts it.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let origin = format!("https://mq.test:{}", silent.local_addr().unwrap().port());
    let error = client_of(&origin).fetch(get(&origin), HASTE).await.unwrap_err();
    assert!(matches!(error, EgressError::Timeout { .. }), "{error}");
}

/// A name server that never answers and counts who waits.
#[derive(Default)]
struct Dead(AtomicUsize);

#[async_trait]
impl Resolve for Dead {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_dead_name_server_holds_few_lookups_however_many_give_up() {
    let dead = Arc::new(Dead::default());
    let client = client_with(&["http://mq.test"], dead.clone(), loopback_allowed(), |_| {});
    let fetches = (0..6).map(|_| client.fetch(get("http://mq.test/"), HASTE));
    for outcome in futures::future::join_all(fetches).await {
        assert!(matches!(outcome.unwrap_err(), EgressError::Timeout { .. }));
    }
    // Those that gave up left their lookups behind: a further one has no place.
    client.fetch(get("http://mq.test/"), HASTE).await.unwrap_err();
    assert_eq!(dead.0.load(Ordering::SeqCst), 4);
}

#[test]
fn connections_outlive_the_runtime_that_asked_for_them() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let home = runtime();
    let backend = home.block_on(Backend::plain(|_| Answer::text("x")));
    let origin = backend.origin("mq.test");
    let client = home.block_on(async { client_of(&origin) });
    for _ in 0..2 {
        runtime().block_on(client.fetch(get(&origin), PATIENCE)).unwrap();
    }
    assert_eq!((backend.requests(), backend.connections()), (2, 1));
}
