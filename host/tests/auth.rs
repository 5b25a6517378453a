//! Authentication over real TLS connections: who gets in as whom, and above all who does not.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "clippy takes only functions marked as tests for tests, not what they share"
)]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;
use wasm_metrics_adapter::{
    auth::{
        AccessDecision, AuthenticationOptions, Authenticator, ReviewError, Reviews, TokenVerdict, Trust, TrustInputs,
    },
    certificates,
    model::{Attributes, AuthError, Connection, User},
    serve::{Limits, Server, ServingCertificate, TlsPolicy, server_config},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate authority, or whatever else signs.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's certificate chain and key.
#[derive(Clone)]
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

/// How a client's certificate is unlike a good one.
#[derive(Clone)]
struct Issued<'a> {
    common_name: Option<&'a str>,
    organizations: &'a [&'a str],
    alternative_name: Option<&'a str>,
    usage: Vec<ExtendedKeyUsagePurpose>,
    begin: SystemTime,
    end: SystemTime,
}

impl<'a> Issued<'a> {
    fn to(common_name: &'a str) -> Self {
        let now = SystemTime::now();
        Self {
            common_name: Some(common_name),
            organizations: &[],
            alternative_name: None,
            usage: vec![ExtendedKeyUsagePurpose::ClientAuth],
            begin: now - DAY,
            end: now + DAY,
        }
    }

    fn params(&self) -> CertificateParams {
        let mut params =
            CertificateParams::new(self.alternative_name.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
                .unwrap();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = self.common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        for organization in self.organizations {
            params.distinguished_name.push(DnType::OrganizationName, *organization);
        }
        params.extended_key_usages = self.usage.clone();
        (params.not_before, params.not_after) = (self.begin.into(), self.end.into());
        params
    }

    fn by(&self, authority: &Authority) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = self.params().signed_by(&key, &authority.issuer).unwrap();
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    fn by_itself(&self) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = self.params().self_signed(&key).unwrap();
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }
}

impl Authority {
    fn new(name: &str) -> Self {
        Self::ending(name, SystemTime::now() + 30 * DAY)
    }

    fn ending(name: &str, end: SystemTime) -> Self {
        let params = Self::params(name, end);
        let key = KeyPair::generate().unwrap();
        Self { pem: params.self_signed(&key).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    fn params(name: &str, end: SystemTime) -> CertificateParams {
        let mut params =
            Issued { usage: Vec::new(), begin: SystemTime::now() - 2 * DAY, end, ..Issued::to(name) }.params();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params
    }

    fn intermediate(&self, name: &str) -> Self {
        let params = Self::params(name, SystemTime::now() + 30 * DAY);
        let key = KeyPair::generate().unwrap();
        Self { pem: params.signed_by(&key, &self.issuer).unwrap().pem(), issuer: Issuer::new(params, key) }
    }

    /// Signs with a client's key, as if its holder were a CA.
    fn of(identity: &Identity, issued: &Issued<'_>) -> Self {
        let key = KeyPair::try_from(identity.key.as_slice()).unwrap();
        Self { pem: String::new(), issuer: Issuer::new(issued.params(), key) }
    }
}

/// Knows three tokens and counts.
#[derive(Default)]
struct FakeReviews {
    asked: AtomicUsize,
}

#[async_trait]
impl Reviews for FakeReviews {
    async fn token(&self, token: &str) -> Result<TokenVerdict, ReviewError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match token {
            "good" => Ok(TokenVerdict::Valid(User { name: "token-jane".to_owned(), ..User::default() })),
            "unreviewable" => Err(ReviewError { message: "no route".to_owned(), retryable: false, retry_after: None }),
            _ => Ok(TokenVerdict::Invalid("unknown".to_owned())),
        }
    }

    async fn access(&self, _user: &User, _attributes: &Attributes) -> Result<AccessDecision, ReviewError> {
        unreachable!("nothing here is authorized")
    }
}

/// A server that answers who it takes the client for.
struct World {
    address: SocketAddr,
    trust: Arc<Trust>,
    reviews: Arc<FakeReviews>,
    front_proxies: Authority,
    clients: Authority,
    shutdown: CancellationToken,
}

fn inputs(front_proxies: &str, clients: &str, allowed_names: &[&str]) -> TrustInputs {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    TrustInputs {
        client_ca: Some(clients.as_bytes().to_vec()),
        front_proxy_ca: Some(front_proxies.as_bytes().to_vec()),
        allowed_names: list(allowed_names),
        username_headers: list(&["X-Remote-User"]),
        uid_headers: list(&["X-Remote-Uid"]),
        group_headers: list(&["X-Remote-Group"]),
        extra_header_prefixes: list(&["X-Remote-Extra-"]),
    }
}

impl World {
    async fn start() -> Self {
        let (front_proxies, clients) = (Authority::new("front-proxy-ca"), Authority::new("client-ca"));
        let trust = Arc::new(Trust::new(inputs(&front_proxies.pem, &clients.pem, &["front-proxy-client"])).unwrap());
        let reviews = Arc::new(FakeReviews::default());
        let authenticator =
            Arc::new(Authenticator::delegated(trust.clone(), reviews.clone(), &AuthenticationOptions::default()));
        let certificate = Arc::new(ServingCertificate::default());
        certificates::ephemeral(&["localhost".to_owned()], &certificate).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tower::service_fn(move |request| answer(authenticator.clone(), request));
        let server = Server {
            listener,
            tls: server_config(certificate, &TlsPolicy::default()).unwrap(),
            service,
            limits: Limits::default(),
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(server.run(shutdown.clone()));
        Self { address, trust, reviews, front_proxies, clients, shutdown }
    }

    fn front_proxy(&self) -> Identity {
        Issued::to("front-proxy-client").by(&self.front_proxies)
    }

    async fn connect(&self, identity: Option<&Identity>) -> Client {
        Client(connect(self.address, identity, rustls::DEFAULT_VERSIONS).await)
    }

    async fn ask(&self, identity: Option<&Identity>, headers: &[u8]) -> Answer {
        self.connect(identity).await.ask(headers).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn answer(
    authenticator: Arc<Authenticator>,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let connection = request.extensions().get::<Arc<Connection>>().unwrap().clone();
    let (status, body) = match authenticator.authenticate(&connection, request.headers_mut()).await {
        Ok(user) => {
            (StatusCode::OK, json!({ "name": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra }))
        }
        Err(AuthError::Unauthenticated(_)) => (StatusCode::UNAUTHORIZED, Value::Null),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, Value::Null),
    };
    let credentials =
        |name: &&http::HeaderName| name.as_str().starts_with("x-remote-") || *name == http::header::AUTHORIZATION;
    let leaked: Vec<_> = request.headers().keys().filter(credentials).map(http::HeaderName::as_str).collect();
    assert_eq!(leaked, [""; 0], "credentials went through");
    Ok(Response::builder().status(status).body(Full::from(body.to_string())).unwrap())
}

async fn connect(
    address: SocketAddr,
    identity: Option<&Identity>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(any_server::AnyServer));
    let config = match identity {
        None => config.with_no_client_auth(),
        Some(Identity { chain, key }) => {
            config.with_client_auth_cert(chain.clone(), PrivateKeyDer::try_from(key.clone()).unwrap()).unwrap()
        }
    };
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

/// An HTTP/1.1 connection that sends headers byte by byte as they are written here.
struct Client(TlsStream<TcpStream>);

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    body: Value,
}

impl Client {
    async fn ask(&mut self, headers: &[u8]) -> Answer {
        let request = [b"GET /?access_token=good HTTP/1.1\r\nHost: localhost\r\n", headers, b"\r\n"].concat();
        self.0.write_all(&request).await.unwrap();
        let mut received = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let count = self.0.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "closed after {:?}", String::from_utf8_lossy(&received));
            received.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&received);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return Answer { status, body: serde_json::from_str(body).unwrap_or_default() };
            }
        }
    }
}

/// What a case expects.
#[derive(Debug, PartialEq)]
enum Expected {
    User(&'static str),
    Anonymous,
    Refused,
    Unavailable,
    Malformed,
}

impl Expected {
    fn check(&self, case: &str, answer: &Answer) {
        let groups = answer.body["groups"].clone();
        match self {
            Self::User(name) => {
                assert_eq!((answer.status, answer.body["name"].as_str()), (200, Some(*name)), "{case}");
                assert!(groups.as_array().unwrap().contains(&json!("system:authenticated")), "{case}: {groups}");
                assert!(!groups.as_array().unwrap().contains(&json!("system:masters")), "{case}: {groups}");
            }
            Self::Anonymous => {
                assert_eq!((answer.status, answer.body["name"].as_str()), (200, Some("system:anonymous")), "{case}");
                assert_eq!(groups, json!(["system:unauthenticated"]), "{case}");
            }
            Self::Refused => assert_eq!(answer.status, 401, "{case}: {}", answer.body),
            Self::Unavailable => assert_eq!(answer.status, 503, "{case}: {}", answer.body),
            Self::Malformed => assert_eq!(answer.status, 400, "{case}: {}", answer.body),
        }
    }
}

use Expected::{Anonymous, Malformed, Refused, Unavailable};

const ADMIN: &[u8] = b"X-Remote-User: admin\r\nX-Remote-Group: system:masters\r\n";

#[tokio::test]
async fn without_a_certificate_headers_are_nothing_and_tokens_are_reviewed() {
    let world = World::start().await;
    let jane = || Expected::User("token-jane");
    let cases: Vec<(&[u8], Expected)> = vec![
        (b"", Anonymous),
        (ADMIN, Anonymous),
        (b"X-REMOTE-USER: admin\r\nx-remote-GROUP: system:masters\r\n", Anonymous),
        (b"X-Remote-User: admin\r\nX-Remote-User: admin\r\n", Anonymous),
        (b"X-Remote-Extra-Scopes: all\r\nX-Remote-Uid: 0\r\n", Anonymous),
        (b"X-Remote-User: admin\r\nAuthorization: Bearer good\r\nX-Remote-Group: system:masters\r\n", jane()),
        (b"X-Remote-User: admin\r\nAuthorization: Bearer bad\r\n", Refused),
        (b"Authorization: Bearer good\r\n", jane()),
        (b"authorization: bearer good\r\n", jane()),
        (b"Authorization: Bearer bad\r\n", Refused),
        (b"Authorization: Bearer GOOD\r\n", Refused),
        (b"Authorization: Bearer good,bad\r\n", Refused),
        (b"Authorization: Bearer bad\r\nAuthorization: Bearer good\r\n", Refused),
        (b"Authorization: Bearer \xff\xfe\r\n", Refused),
        (b"Authorization: Bearer unreviewable\r\n", Unavailable),
        // Nothing that is presented, as kube-apiserver sees it.
        (b"Authorization: Bearer\r\n", Anonymous),
        (b"Authorization: Bearer  good\r\n", Anonymous),
        (b"Authorization: Basic YWRtaW46YWRtaW4=\r\n", Anonymous),
        (b"Authorization: BearerX good\r\n", Anonymous),
        (b"Authorization: good\r\n", Anonymous),
        (b"Proxy-Authorization: Bearer good\r\n", Anonymous),
        (b"X-Remote-User : admin\r\n", Malformed),
        (b"X-Remote-User: a\r\n dmin\r\n", Malformed),
    ];
    for (headers, expected) in cases {
        expected.check(&String::from_utf8_lossy(headers), &world.ask(None, headers).await);
    }
}

#[tokio::test]
async fn a_certificate_makes_nobody_a_front_proxy_unless_all_of_it_is_right() {
    let world = World::start().await;
    let (now, proxy) = (SystemTime::now(), Issued::to("front-proxy-client"));
    let impostor = Authority::new("front-proxy-ca");
    let unknown = Authority::new("unknown-ca");
    let good = world.front_proxy();
    let server_only = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let named = |common_name| Issued { common_name, ..proxy.clone() };
    let ca_itself = {
        let key = KeyPair::try_from(world.front_proxies.issuer.key().serialized_der()).unwrap();
        Identity {
            chain: vec![CertificateDer::from_pem_slice(world.front_proxies.pem.as_bytes()).unwrap()],
            key: key.serialize_der(),
        }
    };
    let mut by_a_client = proxy.by(&Authority::of(&good, &proxy));
    by_a_client.chain.extend(good.chain.clone());
    let mut padded = proxy.by(&unknown);
    padded.chain.extend(good.chain.clone());
    let cases = [
        ("self-signed", proxy.by_itself()),
        ("of an unknown CA", proxy.by(&unknown)),
        ("of another CA by the same name", proxy.by(&impostor)),
        ("of an unknown CA with a good certificate behind it", padded),
        ("of a front proxy that plays CA", by_a_client),
        ("of the CA itself", ca_itself),
        ("expired", Issued { end: now - Duration::from_secs(60), ..proxy.clone() }.by(&world.front_proxies)),
        ("not valid yet", Issued { begin: now + DAY / 2, ..proxy.clone() }.by(&world.front_proxies)),
        ("for servers alone", Issued { usage: server_only.clone(), ..proxy.clone() }.by(&world.front_proxies)),
        (
            "for e-mail alone",
            Issued { usage: vec![ExtendedKeyUsagePurpose::EmailProtection], ..proxy.clone() }.by(&world.front_proxies),
        ),
        ("of a name that is not allowed", named(Some("other")).by(&world.front_proxies)),
        ("of an allowed name in another case", named(Some("Front-Proxy-Client")).by(&world.front_proxies)),
        ("of a name that begins like an allowed one", named(Some("front-proxy-client.evil")).by(&world.front_proxies)),
        ("of a name with a space behind it", named(Some("front-proxy-client ")).by(&world.front_proxies)),
        ("without a name", named(None).by(&world.front_proxies)),
        (
            "of an allowed name as alternative name",
            Issued { alternative_name: Some("front-proxy-client"), ..named(Some("other")) }.by(&world.front_proxies),
        ),
        (
            "of an allowed name as organization",
            Issued { organizations: &["front-proxy-client"], ..named(Some("other")) }.by(&world.front_proxies),
        ),
    ];
    for (case, identity) in &cases {
        Refused.check(case, &world.ask(Some(identity), ADMIN).await);
        Refused.check(case, &world.ask(Some(identity), b"").await);
        let with = |token: &[u8]| [ADMIN, b"Authorization: Bearer ", token, b"\r\n"].concat();
        Expected::User("token-jane").check(case, &world.ask(Some(identity), &with(b"good")).await);
        Refused.check(case, &world.ask(Some(identity), &with(b"bad")).await);
        Unavailable.check(case, &world.ask(Some(identity), &with(b"unreviewable")).await);
    }
}

#[tokio::test]
async fn a_front_proxy_names_whom_it_names() {
    let world = World::start().await;
    let proxy = world.front_proxy();
    let user = Expected::User;
    let cases: Vec<(&[u8], Expected)> = vec![
        (b"X-Remote-User: jane\r\n", user("jane")),
        (b"x-rEmOtE-uSeR: jane\r\n", user("jane")),
        (b"X-Remote-User: jane\r\nAuthorization: Bearer bad\r\n", user("jane")),
        (b"X-Remote-User: jane\r\nX-Remote-User: admin\r\n", user("jane")),
        ("X-Remote-User: j\u{e4}ne\r\n".as_bytes(), user("j\u{e4}ne")),
        (b"", Refused),
        (b"X-Remote-User:\r\n", Refused),
        (b"X-Remote-User:\r\nX-Remote-User: admin\r\n", Refused),
        (b"X-Remote-User:  \t \r\n", Refused),
        (b"X_Remote_User: admin\r\n", Refused),
        (b"X-Remote-Users: admin\r\n", Refused),
        (b"X-Remote-Group: system:masters\r\n", Refused),
        (b"X-Remote-Extra-User: admin\r\n", Refused),
        (b"X-Remote-User: \xff\r\n", Refused),
        (b"X-Remote-User: jane\r\nX-Remote-Group: \xff\r\n", Refused),
        (b"X-Remote-User: jane\r\nX-Remote-Uid: \xff\r\n", Refused),
        (b"X-Remote-User: jane\r\nX-Remote-Extra-%ff: 1\r\n", Refused),
        (b"X-Remote-User: jane\r\nX-Remote-Extra-a: \xff\r\n", Refused),
        (b"Authorization: Bearer good\r\n", user("token-jane")),
        (b"Authorization: Bearer bad\r\n", Refused),
    ];
    for (headers, expected) in cases {
        expected.check(&String::from_utf8_lossy(headers), &world.ask(Some(&proxy), headers).await);
    }
    let headers =
        b"X-Remote-User: jane\r\nX-Remote-Uid: 7\r\nX-Remote-Group: a\r\nX-Remote-Group: system:authenticated\r\n\
                    X-Remote-Extra-Example.com%2Fscope: x\r\nX-Remote-Extra-example.com%2fscope: y\r\n";
    let expected = json!({ "name": "jane", "uid": "7", "groups": ["a", "system:authenticated"], "extra": { "example.com/scope": ["x", "y"] } });
    assert_eq!(world.ask(Some(&proxy), headers).await.body, expected);
    let anonymous =
        world.ask(Some(&proxy), b"X-Remote-User: system:anonymous\r\nX-Remote-Group: system:unauthenticated\r\n").await;
    Anonymous.check("a stranger behind the proxy", &anonymous);
    let bare = world.ask(Some(&proxy), b"X-Remote-User: system:anonymous\r\n").await.body;
    assert_eq!(bare["groups"], json!([]), "a stranger is not authenticated, whoever says so");
    assert_eq!(world.reviews.asked.load(Ordering::SeqCst), 2, "one review for each token");
}

#[tokio::test]
async fn a_users_certificate_speaks_for_that_user_alone() {
    let world = World::start().await;
    let (now, jane) = (SystemTime::now(), Issued { organizations: &["shop"], ..Issued::to("jane") });
    for (case, identity, expected) in [
        ("good", jane.by(&world.clients), Expected::User("jane")),
        ("without usages", Issued { usage: Vec::new(), ..jane.clone() }.by(&world.clients), Expected::User("jane")),
        (
            "by a front proxy's name",
            Issued::to("front-proxy-client").by(&world.clients),
            Expected::User("front-proxy-client"),
        ),
        ("self-signed", jane.by_itself(), Refused),
        ("of an unknown CA", jane.by(&Authority::new("unknown")), Refused),
        ("of another CA by the same name", jane.by(&Authority::new("client-ca")), Refused),
        ("of the front proxies' CA", jane.by(&world.front_proxies), Refused),
        ("expired", Issued { end: now - Duration::from_secs(60), ..jane.clone() }.by(&world.clients), Refused),
        ("not valid yet", Issued { begin: now + DAY / 2, ..jane.clone() }.by(&world.clients), Refused),
        (
            "for servers alone",
            Issued { usage: vec![ExtendedKeyUsagePurpose::ServerAuth], ..jane.clone() }.by(&world.clients),
            Refused,
        ),
        ("without a name", Issued { common_name: None, ..jane.clone() }.by(&world.clients), Refused),
        ("with an empty name", Issued { common_name: Some(""), ..jane.clone() }.by(&world.clients), Refused),
        (
            "with an alternative name alone",
            Issued { common_name: None, alternative_name: Some("jane"), ..jane.clone() }.by(&world.clients),
            Refused,
        ),
    ] {
        expected.check(case, &world.ask(Some(&identity), b"").await);
        expected.check(case, &world.ask(Some(&identity), ADMIN).await);
    }
    let user = world.ask(Some(&jane.by(&world.clients)), b"").await.body;
    assert_eq!(user["groups"], json!(["shop", "system:authenticated"]));
    let fingerprint = user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
    assert_eq!(fingerprint.strip_prefix("X509SHA256=").map(str::len), Some(64));
}

#[tokio::test]
async fn an_intermediate_certificate_authority_is_followed_and_tls_1_2_proves_as_much() {
    let world = World::start().await;
    let intermediate = world.clients.intermediate("intermediate");
    let mut jane = Issued::to("jane").by(&intermediate);
    Refused.check("chain missing", &world.ask(Some(&jane), b"").await);
    jane.chain.push(CertificateDer::from_pem_slice(intermediate.pem.as_bytes()).unwrap());
    Expected::User("jane").check("chain whole", &world.ask(Some(&jane), b"").await);
    let mut old = Client(connect(world.address, Some(&jane), &[&rustls::version::TLS12]).await);
    Expected::User("jane").check("TLS 1.2", &old.ask(b"").await);
}

#[tokio::test]
async fn trust_that_changes_holds_for_the_next_request_of_every_connection() {
    let world = World::start().await;
    let mut proxy = world.connect(Some(&world.front_proxy())).await;
    let mut user = world.connect(Some(&Issued::to("kim").by(&world.clients))).await;
    let jane: &[u8] = b"X-Remote-User: jane\r\n";
    let (proxies, clients, other) = (&world.front_proxies.pem, &world.clients.pem, &Authority::new("other").pem);
    let both = format!("{other}{proxies}");
    let named = || Expected::User("jane");
    for (case, trust, by_proxy, by_user) in [
        ("as it was", inputs(proxies, clients, &["front-proxy-client"]), named(), Expected::User("kim")),
        (
            "the front proxies' CA is replaced",
            inputs(other, clients, &["front-proxy-client"]),
            Refused,
            Expected::User("kim"),
        ),
        (
            "it is back beside the other",
            inputs(&both, clients, &["front-proxy-client"]),
            named(),
            Expected::User("kim"),
        ),
        ("the clients' CA is replaced", inputs(proxies, other, &["front-proxy-client"]), named(), Refused),
        ("other names are allowed", inputs(proxies, clients, &["somebody-else"]), Refused, Expected::User("kim")),
        ("an empty name is allowed", inputs(proxies, clients, &[""]), Refused, Expected::User("kim")),
        ("any name is allowed", inputs(proxies, clients, &[]), named(), Expected::User("kim")),
        ("nobody is trusted", TrustInputs::default(), Refused, Refused),
        ("all is well again", inputs(proxies, clients, &["front-proxy-client"]), named(), Expected::User("kim")),
    ] {
        world.trust.update(trust).unwrap();
        by_proxy.check(case, &proxy.ask(jane).await);
        by_user.check(case, &user.ask(b"").await);
    }
    assert!(world.trust.update(inputs("garbage", clients, &[])).is_err());
    named().check("garbage changes nothing", &proxy.ask(jane).await);
}

#[tokio::test]
async fn a_certificate_authority_that_has_ended_vouches_for_nobody() {
    let world = World::start().await;
    let ended = Authority::ending("ended", SystemTime::now() - Duration::from_secs(60));
    let identity = Issued::to("front-proxy-client").by(&ended);
    world.trust.update(inputs(&ended.pem, &ended.pem, &[])).unwrap();
    Refused.check("ended", &world.ask(Some(&identity), ADMIN).await);
}

#[tokio::test]
async fn anonymous_requests_can_be_turned_off_and_local_ones_need_nothing() {
    let options = AuthenticationOptions { anonymous: false, ..AuthenticationOptions::default() };
    let trust = Arc::new(Trust::new(TrustInputs::default()).unwrap());
    let strict = Authenticator::delegated(trust, Arc::new(FakeReviews::default()), &options);
    let outcome = strict.authenticate(&Connection::default(), &mut http::HeaderMap::new()).await;
    assert!(matches!(outcome, Err(AuthError::Unauthenticated(_))));
    let mut headers = http::HeaderMap::new();
    headers.insert("x-remote-user", "admin".parse().unwrap());
    let local = Authenticator::local_only().authenticate(&Connection::default(), &mut headers).await.unwrap();
    assert_eq!((local.name.as_str(), headers.len()), ("local", 0));
}

/// The server's certificate is not what these tests are about.
mod any_server {
    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    #[derive(Debug)]
    pub(super) struct AnyServer;

    impl ServerCertVerifier for AnyServer {
        fn verify_server_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _server_name: &ServerName<'_>,
            _ocsp_response: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }
}
