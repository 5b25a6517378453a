//! Real clients on loopback: what a connection carries, what it may hold, and how it ends.

mod strangers;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::{http1, http2};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{PrivateKeyDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

/// Fails a test that would hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server that answers how many certificates its client sent and on which connection it is.
struct Running {
    address: SocketAddr,
    certificate: Arc<ServingCertificate>,
    shutdown: CancellationToken,
    end: JoinHandle<()>,
    /// Requests for `.../slow` wait for a permit each. Those for `/stranger...` come from nobody who is known, all others do.
    slow: Arc<Semaphore>,
    /// Requests for `.../slow` that have begun.
    begun: Arc<AtomicUsize>,
}

fn renew(certificate: &ServingCertificate) {
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    certificate.replace(issued.cert.pem().as_bytes(), issued.signing_key.serialize_pem().as_bytes()).unwrap();
}

impl Running {
    async fn start(limits: Limits) -> Self {
        Self::start_with(limits, &TlsPolicy::default()).await
    }

    async fn start_with(limits: Limits, policy: &TlsPolicy) -> Self {
        let certificate = Arc::new(ServingCertificate::default());
        renew(&certificate);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (slow, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (waits, counts) = (slow.clone(), begun.clone());
        let service = tower::service_fn(move |request: Request<Incoming>| {
            let (waits, counts) = (waits.clone(), counts.clone());
            async move {
                let connection = request.extensions().get::<Arc<Connection>>().unwrap();
                let path = request.uri().path();
                connection.set_known(!path.starts_with("/stranger"));
                if path.ends_with("/slow") {
                    counts.fetch_add(1, Ordering::SeqCst);
                    waits.acquire().await.unwrap().forget();
                }
                let text = format!("{} {:p}", connection.peer_certificates.len(), Arc::as_ptr(connection));
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text)))
            }
        });
        let shutdown = CancellationToken::new();
        let server = Server { listener, tls: server_config(certificate.clone(), policy).unwrap(), service, limits };
        let end = tokio::spawn(server.run(shutdown.clone()));
        Self { address, certificate, shutdown, end, slow, begun }
    }

    async fn connect(&self, client: &Client) -> TlsStream<TcpStream> {
        client.connect(self.address, self.certificate.leaf().unwrap()).await.unwrap()
    }

    async fn http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let stream = self.connect(&Client::default()).await;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http1(&self) -> http1::SendRequest<Empty<Bytes>> {
        let stream = self.connect(&Client { http1: true, ..Client::default() }).await;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn until_begun(&self, count: usize) {
        until(|| self.begun.load(Ordering::SeqCst) == count).await;
    }
}

/// What a client offers.
struct Client {
    /// HTTP/1.1 alone, in place of both.
    http1: bool,
    version: &'static SupportedProtocolVersion,
    with_certificate: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self { http1: false, version: &TLS13, with_certificate: false }
    }
}

impl Client {
    async fn connect(
        &self,
        address: SocketAddr,
        trusted: rustls::pki_types::CertificateDer<'static>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(trusted).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[self.version]).unwrap();
        let config = config.with_root_certificates(roots);
        let mut config = if self.with_certificate {
            let issued = rcgen::generate_simple_self_signed(vec!["nobody knows".to_owned()]).unwrap();
            let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
            config.with_client_auth_cert(vec![issued.cert.der().clone()], key).unwrap()
        } else {
            config.with_no_client_auth()
        };
        let protocols: &[&[u8]] = if self.http1 { &[b"http/1.1"] } else { &[b"h2", b"http/1.1"] };
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }
}

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("https://localhost{path}")).body(Empty::new()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, met).await.unwrap();
}

/// Reads until the server hangs up.
async fn hung_up(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut received = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut received)).await.unwrap();
    received
}

#[tokio::test]
async fn every_client_gets_in_whatever_certificate_it_has() {
    let running = Running::start(Limits::default()).await;
    for version in [&TLS12, &TLS13] {
        for with_certificate in [false, true] {
            let stream = running.connect(&Client { version, with_certificate, ..Client::default() }).await;
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            let first = text(sender.send_request(get("/")).await.unwrap()).await;
            assert_eq!(first.split(' ').next(), Some(if with_certificate { "1" } else { "0" }));
            assert_eq!(text(sender.send_request(get("/")).await.unwrap()).await, first, "one connection");
        }
    }
    let (mut one, mut two) = (running.http1().await, running.http1().await);
    let (one, two) = (one.send_request(get("/")).await.unwrap(), two.send_request(get("/")).await.unwrap());
    assert_eq!(one.version(), http::Version::HTTP_11);
    assert_ne!(text(one).await, text(two).await, "two connections");
}

#[tokio::test]
async fn a_policy_holds_in_the_handshake() {
    let policy = TlsPolicy { tls13_only: true, ..TlsPolicy::default() };
    let running = Running::start_with(Limits::default(), &policy).await;
    let trusted = running.certificate.leaf().unwrap();
    let old = Client { version: &TLS12, ..Client::default() };
    assert!(old.connect(running.address, trusted.clone()).await.is_err());
    assert!(Client::default().connect(running.address, trusted).await.is_ok());
    let suite = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    let policy = TlsPolicy { cipher_suites: vec![suite.to_owned()], ..TlsPolicy::default() };
    let running = Running::start_with(Limits::default(), &policy).await;
    let stream = running.connect(&old).await;
    let negotiated = stream.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(negotiated.as_str(), Some(suite));
}

#[tokio::test]
async fn a_replaced_certificate_is_for_new_connections_and_old_ones_go_on() {
    let running = Running::start(Limits::default()).await;
    let old = running.certificate.leaf().unwrap();
    let mut before = running.http2().await;
    renew(&running.certificate);
    assert!(Client::default().connect(running.address, old).await.is_err(), "the old certificate is gone");
    assert!(running.http2().await.send_request(get("/")).await.is_ok());
    assert!(before.send_request(get("/")).await.is_ok());
}

#[tokio::test]
async fn who_never_finishes_a_handshake_or_its_headers_is_cut_off() {
    let short = Duration::from_millis(50);
    let running = Running::start(Limits { handshake: short, ..Limits::default() }).await;
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(hung_up(&mut silent).await, b"");
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(!hung_up(&mut plain).await.starts_with(b"HTTP"), "no answer without TLS");
    let running = Running::start(Limits { header_read: short, ..Limits::default() }).await;
    let mut unfinished = running.connect(&Client { http1: true, ..Client::default() }).await;
    unfinished.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-").await.unwrap();
    assert!(!String::from_utf8_lossy(&hung_up(&mut unfinished).await).contains(" 200 "));
}

#[tokio::test]
async fn headers_are_bounded_and_a_user_of_many_groups_fits() {
    let running = Running::start(Limits::default()).await;
    let of_groups = |count: usize| {
        let mut request = get("/");
        for number in 0..count {
            request
                .headers_mut()
                .append("x-remote-group", format!("system:serviceaccounts:namespace-{number}").parse().unwrap());
        }
        request
    };
    let mut too_long = get("/");
    too_long.headers_mut().append("x-long", "x".repeat(300 * 1024).parse().unwrap());
    assert_eq!(running.http2().await.send_request(of_groups(1000)).await.unwrap().status(), StatusCode::OK);
    assert_eq!(running.http1().await.send_request(of_groups(1000)).await.unwrap().status(), StatusCode::OK);
    for refused in [of_groups(5000), too_long] {
        let status = |answer: Result<Response<Incoming>, hyper::Error>| answer.map(|answer| answer.status()).ok();
        let by_http1 = status(running.http1().await.send_request(refused.clone()).await);
        assert!(by_http1.is_none_or(|status| status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE), "{by_http1:?}");
        let by_http2 = status(running.http2().await.send_request(refused).await);
        assert!(by_http2.is_none_or(|status| status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE), "{by_http2:?}");
    }
}

#[tokio::test]
async fn idle_connections_are_closed_and_busy_ones_are_not() {
    let running = Running::start(Limits {
        idle: Duration::from_millis(50),
        stranger_idle: Duration::from_millis(50),
        ..Limits::default()
    })
    .await;
    for http1 in [false, true] {
        let mut nothing_sent = running.connect(&Client { http1, ..Client::default() }).await;
        hung_up(&mut nothing_sent).await;
    }
    let (mut one, mut two) = (running.http1().await, running.http2().await);
    let _ = tokio::join!(one.send_request(get("/")), two.send_request(get("/")));
    until(|| one.is_closed() && two.is_closed()).await;
    // On a busy machine a connection may be idle for too long before its request comes; such a request has not begun.
    let by_http1 = async {
        loop {
            if let Ok(answer) = running.http1().await.send_request(get("/slow")).await {
                return answer.status();
            }
        }
    };
    let by_http2 = async {
        loop {
            if let Ok(answer) = running.http2().await.send_request(get("/slow")).await {
                return answer.status();
            }
        }
    };
    let meanwhile = async {
        running.until_begun(2).await;
        // Idle connections that are younger come and go.
        hung_up(&mut running.connect(&Client::default()).await).await;
        running.slow.add_permits(2);
    };
    let (one, two, ()) = timeout(PATIENCE, async { tokio::join!(by_http1, by_http2, meanwhile) }).await.unwrap();
    assert_eq!((one, two), (StatusCode::OK, StatusCode::OK));
    assert_eq!(running.begun.load(Ordering::SeqCst), 2, "no request that had begun was cut");
}

#[tokio::test]
async fn one_connection_too_many_waits_for_a_place() {
    let running = Running::start(Limits { connections: 1, ..Limits::default() }).await;
    let mut first = running.http2().await;
    assert!(first.send_request(get("/")).await.is_ok());
    let waiting = running.http2();
    tokio::pin!(waiting);
    assert!(
        timeout(Duration::from_millis(50), waiting.as_mut()).await.is_err(),
        "no handshake while the place is taken"
    );
    drop(first);
    assert!(timeout(PATIENCE, waiting).await.unwrap().send_request(get("/")).await.is_ok());
}

#[tokio::test]
async fn one_request_too_many_on_a_connection_waits_for_another() {
    let running = Running::start(Limits { streams: 2, ..Limits::default() }).await;
    let mut sender = running.http2().await;
    // The server's settings have come with the first answer.
    sender.send_request(get("/")).await.unwrap();
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..3 {
        requests.spawn(sender.send_request(get("/slow")));
    }
    running.until_begun(2).await;
    assert!(timeout(Duration::from_millis(50), requests.join_next()).await.is_err());
    assert_eq!(running.begun.load(Ordering::SeqCst), 2);
    running.slow.add_permits(3);
    while let Some(answer) = requests.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn at_shutdown_requests_under_way_finish_and_nobody_new_gets_in() {
    let running = Running::start(Limits::default()).await;
    let (mut one, mut two) = (running.http1().await, running.http2().await);
    let _idle = running.http2().await;
    let mut under_way = tokio::task::JoinSet::new();
    under_way.spawn(async move { one.send_request(get("/slow")).await });
    under_way.spawn(async move { two.send_request(get("/slow")).await });
    running.until_begun(2).await;
    running.shutdown.cancel();
    let refused = async {
        while TcpStream::connect(running.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refused).await.unwrap();
    running.slow.add_permits(2);
    while let Some(answer) = under_way.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::OK);
    }
    timeout(Duration::from_secs(10), running.end).await.expect("sooner than the drain time").unwrap();
}

#[tokio::test]
async fn a_request_that_does_not_finish_in_the_drain_time_is_cut() {
    let running = Running::start(Limits { drain: Duration::from_millis(50), ..Limits::default() }).await;
    let mut sender = running.http2().await;
    let stuck = tokio::spawn(async move { sender.send_request(get("/slow")).await });
    running.until_begun(1).await;
    running.shutdown.cancel();
    timeout(PATIENCE, running.end).await.unwrap().unwrap();
    assert!(stuck.await.unwrap().is_err());
}
