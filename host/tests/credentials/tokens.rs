//! Tokens of an authorization server: how often it is asked, and what becomes of the plugin when it fails.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use wasm_metrics_adapter::egress::{Client, ClientProof, Credential, OAuth2Client, TrustRoots};

use crate::{
    SECRET,
    backend::{Answer, Backend, Seen},
    client, fetched, origin,
};

fn issued(number: usize) -> Answer {
    Answer::text(&format!(r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":3600}}"#))
}

/// A server that issues t0, t1 ...
async fn login() -> Backend {
    let count = AtomicUsize::new(0);
    Backend::plain(move |_| issued(count.fetch_add(1, Ordering::SeqCst))).await
}

/// A plugin that authenticates at `to` with tokens of `login`.
fn plugin(to: &str, login: &str) -> Client {
    let origins = [origin(to), origin(login)].into_iter().collect();
    let identity = ("me", SECRET, ClientProof::Body);
    let oauth2 = OAuth2Client::new(&origin(to), &origins, &format!("{login}/token"), identity, &[], None).unwrap();
    client(TrustRoots::none(), &[to, login], |config| config.credentials = vec![Credential::oauth2(origin(to), oauth2)])
}

fn bearer(seen: &Seen) -> &str {
    seen.headers["authorization"].to_str().unwrap()
}

#[tokio::test]
async fn a_token_is_asked_for_once_however_many_requests_need_it() {
    let (backend, login) = (Backend::plain(|_| Answer::text("")).await, login().await);
    let to = backend.origin("mq.test");
    let plugin = plugin(&to, &login.origin("login.test"));
    let answers = futures::future::join_all((0..200).map(|_| fetched(&plugin, &to))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((backend.requests(), login.requests()), (200, 1));
    assert_eq!(bearer(&backend.last()), "Bearer t0");
    let asked = login.last();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    assert_eq!(asked.body, format!("grant_type=client_credentials&client_id=me&client_secret={SECRET}"));
}

#[tokio::test]
async fn a_token_that_the_backend_has_forgotten_is_renewed_and_the_request_sent_again() {
    let backend =
        Backend::plain(|seen| Answer::text("").status(if bearer(seen) == "Bearer t0" { 401 } else { 200 })).await;
    let (to, login) = (backend.origin("mq.test"), login().await);
    let plugin = plugin(&to, &login.origin("login.test"));
    assert_eq!(fetched(&plugin, &to).await.unwrap().status, 200);
    assert_eq!((backend.requests(), login.requests()), (2, 2));
    assert_eq!(fetched(&plugin, &to).await.unwrap().status, 200);
    assert_eq!((backend.requests(), login.requests()), (3, 2));
}

#[tokio::test]
async fn a_backend_that_refuses_every_token_costs_one_renewal() {
    let backend = Backend::plain(|_| Answer::text("no").status(401)).await;
    let (to, login) = (backend.origin("mq.test"), login().await);
    let plugin = plugin(&to, &login.origin("login.test"));
    for _ in 0..5 {
        let answer = fetched(&plugin, &to).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (401, &b"no"[..]), "the guest is told");
    }
    assert!(login.requests() <= 3, "{}: the first, and one every ten seconds", login.requests());
    assert_eq!(backend.requests(), 5 + login.requests() - 1);
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_the_same_request() {
    let backend =
        Backend::plain(|seen| Answer::text("").status(if bearer(seen) == "Bearer t0" { 401 } else { 200 })).await;
    let (to, login) = (backend.origin("mq.test"), login().await);
    let request = wasm_metrics_adapter::egress::Request {
        method: "POST".to_owned(),
        headers: vec![("x-guest".to_owned(), "1".to_owned())],
        body: bytes::Bytes::from_static(b"query"),
        ..crate::get(format!("{to}/search?q=1"))
    };
    plugin(&to, &login.origin("login.test")).fetch(request, crate::PATIENCE).await.unwrap();
    let seen = backend.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str(), &seen.body[..]), ("POST", "/search?q=1", &b"query"[..]));
    assert_eq!((&seen.headers["x-guest"], bearer(&seen)), (&"1".parse().unwrap(), "Bearer t1"));
}

/// A token endpoint that fails, and what the plugin's log says then.
type Failing = (&'static str, fn(&Seen) -> Answer, &'static str);

const FAILING: [Failing; 12] = [
    ("silent", |_| Answer::silence(), "no token came within 5 seconds"),
    ("dripping", |_| Answer::drip(), "no token came within 5 seconds"),
    ("nonsense", |_| Answer::text("<html>"), "something else than JSON"),
    ("empty", |_| Answer::text(""), "something else than JSON"),
    ("no token", |_| Answer::text(r#"{"token_type":"Bearer"}"#), "something else than JSON"),
    ("empty token", |_| Answer::text(r#"{"access_token":"","token_type":"Bearer"}"#), "is no token"),
    ("header injection", |_| Answer::text(r#"{"access_token":"a\r\nx: y","token_type":"Bearer"}"#), "is no token"),
    ("another type", |_| Answer::text(r#"{"access_token":"a","token_type":"mac"}"#), "other than Bearer"),
    ("refusal", |_| Answer::text(r#"{"error":"invalid_client"}"#).status(401), "answered 401 (invalid_client)"),
    ("echo", |seen| Answer::text(std::str::from_utf8(&seen.body).unwrap()).status(400), "answered 400; correct"),
    (
        "redirect",
        |_| Answer::text("").status(307).header("location", "http://evil.test/"),
        "redirects are not followed",
    ),
    ("huge", |_| Answer::text(&"x".repeat(100_000)), "sent more than 64 KiB"),
];

#[tokio::test]
async fn a_token_endpoint_that_fails_fails_the_request_in_words_and_nothing_is_sent_without_a_token() {
    let checks = FAILING.iter().map(async |(name, answer, expected)| {
        let backend = Backend::plain(|_| Answer::text("never")).await;
        let login = Backend::plain(*answer).await;
        let to = backend.origin("mq.test");
        let plugin = plugin(&to, &login.origin("login.test"));
        let error = fetched(&plugin, &to).await.unwrap_err().to_string();
        assert!(error.contains(&format!("request to {to} failed: its token could not be had (")), "{name}: {error}");
        assert!(error.contains(expected) && !error.contains(SECRET), "{name}: {error}");
        assert_eq!((backend.requests(), login.requests()), (0, 1), "{name}");
    });
    futures::future::join_all(checks).await;
}

#[tokio::test]
async fn a_token_endpoint_that_is_down_is_asked_once_a_second_and_recovers() {
    let login = Arc::new(AtomicUsize::new(0));
    let asked = login.clone();
    let endpoint = Backend::plain(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::text("").status(503),
        number => issued(number),
    })
    .await;
    let backend = Backend::plain(|_| Answer::text("")).await;
    let to = backend.origin("mq.test");
    let plugin = plugin(&to, &endpoint.origin("login.test"));
    let failed = futures::future::join_all((0..100).map(|_| fetched(&plugin, &to))).await;
    assert!(failed.iter().all(Result::is_err));
    assert_eq!(login.load(Ordering::SeqCst), 1, "a hundred requests, one question");
    crate::until(async || fetched(&plugin, &to).await.is_ok()).await;
    assert_eq!(login.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_token_endpoint_at_a_forbidden_address_or_a_closed_port_is_not_reached() {
    let backend = Backend::plain(|_| Answer::text("never")).await;
    let to = backend.origin("mq.test");
    for (endpoint, expected) in [
        ("http://169.254.169.254".to_owned(), "leads to"),
        (format!("http://login.test:{}", Backend::closed_port()), "Connection refused"),
        (format!("https://login.test:{}", backend.port()), "TLS failed"),
    ] {
        let error = fetched(&plugin(&to, &endpoint), &to).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{endpoint}: {error}");
    }
    assert_eq!(backend.requests(), 0);
}
