//! Each form of credential: what the backend sees of it over HTTP/1.1 and HTTP/2, and what others see.

use std::sync::Arc;

use async_trait::async_trait;
use http::Version;
use wasm_metrics_adapter::egress::{
    ClientProof, Credential, OAuth2Client, Origin, Origins, Request, Token, TokenError, TokenSource,
};

use crate::{
    PATIENCE, SECRET,
    backend::{Answer, Backend, Seen},
    client, fetched, get,
    identities::Authority,
    origin, trusting,
};

struct Fixed;

#[async_trait]
impl TokenSource for Fixed {
    async fn issue(&self) -> Result<Token, TokenError> {
        Ok(Token { value: SECRET.to_owned().into(), lifetime: PATIENCE })
    }
}

/// Where a credential is looked for in a request.
type Found = fn(&Seen) -> Vec<String>;

fn authorization(seen: &Seen) -> Vec<String> {
    all(seen, "authorization")
}

fn all(seen: &Seen, name: &str) -> Vec<String> {
    seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

fn target(seen: &Seen) -> Vec<String> {
    vec![seen.target.clone()]
}

/// Every form that a request shows, with what a backend finds. `login` is a token endpoint.
fn forms(to: &Origin, login: &str) -> Vec<(Credential, Found, String)> {
    let origins: Origins = [origin(login)].into_iter().collect();
    let identity = ("me", SECRET, ClientProof::Header);
    let oauth2 = OAuth2Client::new(to, &origins, &format!("{login}/token"), identity, &[], None).unwrap();
    let to = || to.clone();
    vec![
        (Credential::bearer(to(), SECRET).unwrap(), authorization, format!("Bearer {SECRET}")),
        (Credential::header(to(), "Authorization", "Basic bWU6").unwrap(), authorization, "Basic bWU6".to_owned()),
        (Credential::header(to(), "X-Api-Key", SECRET).unwrap(), |seen| all(seen, "x-api-key"), SECRET.to_owned()),
        (Credential::query(to(), "api_key", SECRET).unwrap(), target, format!("/queue?depth=1&api_key={SECRET}")),
        (Credential::oauth2(to(), oauth2), authorization, "Bearer issued".to_owned()),
        (Credential::token(to(), Arc::new(Fixed)), authorization, format!("Bearer {SECRET}")),
    ]
}

/// A guest's request that tries to set every credential itself.
fn forging(url: &str) -> Request {
    let headers =
        [("authorization", "forged"), ("AUTHORIZATION", "again"), ("X-API-key", "forged"), ("x-kept", "kept")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Request { headers, ..get(format!("{url}/queue?api_key=forged&depth=1&API%5FKEY=forged")) }
}

#[tokio::test]
async fn each_form_reaches_its_origin_alone_over_http1_and_http2_and_replaces_the_guests_copies() {
    let authority = Authority::new();
    for (http2, version) in [(false, Version::HTTP_11), (true, Version::HTTP_2)] {
        let tls = |name: &str| authority.identity(name).server(http2, None);
        let ours = Backend::secured(tls("ours.test"), |_| Answer::text("")).await;
        let other = Backend::secured(tls("other.test"), |_| Answer::text("")).await;
        let issued = r#"{"access_token":"issued","token_type":"Bearer","expires_in":60}"#;
        let login = Backend::secured(tls("login.test"), |_| Answer::text(issued)).await;
        let [to, elsewhere, login] = [ours.origin("ours.test"), other.origin("other.test"), login.origin("login.test")];
        for (credential, find, expected) in forms(&origin(&to), &login) {
            let name = format!("{credential:?} over {version:?}");
            let client = client(trusting(&authority.pem), &[&to, &elsewhere, &login], |config| {
                config.credentials = vec![credential];
            });
            client.fetch(forging(&to), PATIENCE).await.unwrap();
            let seen = ours.last();
            assert_eq!((seen.version, find(&seen)), (version, vec![expected]), "{name}");
            assert!(!authorization(&seen).iter().any(|value| value == "forged" || value == "again"), "{name}");
            assert_eq!(all(&seen, "x-kept"), ["kept"]);

            client.fetch(forging(&elsewhere), PATIENCE).await.unwrap();
            let seen = other.last();
            assert_eq!(authorization(&seen), ["forged", "again"], "{name}: another origin gets the guest's own");
            assert_eq!(all(&seen, "x-api-key"), ["forged"], "{name}");
            assert!(
                !format!("{seen:?}").contains(SECRET) && seen.target.contains("api_key=forged"),
                "{name}: {seen:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_its_origin_alone_over_http1_and_http2() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let mine = clients.identity("me");
    for http2 in [false, true] {
        let tls = |name: &str| servers.identity(name).server(http2, Some(&clients));
        let ours = Backend::secured(tls("ours.test"), |_| Answer::text("welcome")).await;
        let other = Backend::secured(tls("other.test"), |_| Answer::text("never")).await;
        let [to, elsewhere] = [ours.origin("ours.test"), other.origin("other.test")];
        let credential = Credential::client_certificate(origin(&to), &mine.chain, &mine.key).unwrap();
        let client = client(trusting(&servers.pem), &[&to, &elsewhere], |config| config.credentials = vec![credential]);
        assert_eq!(fetched(&client, &to).await.unwrap().body, "welcome", "HTTP/2: {http2}");
        fetched(&client, &elsewhere).await.expect_err("no certificate is shown there");
        assert_eq!((ours.requests(), other.requests()), (1, 0), "HTTP/2: {http2}");
    }
}

#[tokio::test]
async fn a_guest_that_follows_a_redirect_to_another_origin_carries_nothing() {
    let other = Backend::plain(|_| Answer::text("caught")).await;
    let elsewhere = other.origin("other.test");
    let location = format!("{elsewhere}/next");
    // The backend repeats the query that it was asked with, as login pages do.
    let ours = Backend::plain(move |seen| {
        let query = seen.target.split_once('?').map_or("", |(_, query)| query).to_owned();
        Answer::text("").status(302).header("location", &format!("{location}?{query}"))
    })
    .await;
    let to = ours.origin("ours.test");
    let client = client(trusting(&Authority::new().pem), &[&to, &elsewhere], |config| {
        config.credentials = vec![
            Credential::query(origin(&to), "api_key", SECRET).unwrap(),
            Credential::bearer(origin(&to), SECRET).unwrap(),
        ];
    });
    let moved = fetched(&client, format!("{to}/queue?depth=1")).await.unwrap();
    assert!(format!("{:?}", ours.last()).contains(SECRET), "our own origin has it");
    assert!(!format!("{moved:?}").contains(SECRET), "{moved:?}");
    let (_, location) = moved.headers.iter().find(|(name, _)| name == "location").unwrap();
    assert_eq!(location, &format!("{elsewhere}/next?depth=1&api_key=redacted"));
    fetched(&client, location).await.unwrap();
    assert!(!format!("{:?}", other.last()).contains(SECRET), "{:?}", other.last());
}

#[tokio::test]
async fn errors_of_an_origin_with_a_query_credential_do_not_show_it() {
    let ours = Backend::plain(|seen| match seen.target.as_str() {
        target if target.starts_with("/large") => Answer::text(&"x".repeat(100_000)),
        _ => Answer::silence(),
    })
    .await;
    let (to, closed) = (ours.origin("ours.test"), format!("http://ours.test:{}", Backend::closed_port()));
    let client = client(trusting(&Authority::new().pem), &[&to, &closed], |config| {
        let key = |to: &str| Credential::query(origin(to), "api_key", SECRET).unwrap();
        config.credentials = vec![key(&to), key(&closed)];
    });
    let short = std::time::Duration::from_millis(200);
    for url in [format!("{to}/large"), format!("{to}/silent"), closed, format!("{to}/\u{0}\"<>")] {
        let error = client.fetch(get(&url), short).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    }
}

#[tokio::test]
async fn methods_that_would_show_credentials_are_not_sent() {
    let ours = Backend::plain(|_| Answer::text("never")).await;
    let to = ours.origin("ours.test");
    let client = client(trusting(&Authority::new().pem), &[&to], |config| {
        config.credentials = vec![Credential::bearer(origin(&to), SECRET).unwrap()];
    });
    for method in ["TRACE", "trace", "TRACK", "CONNECT"] {
        let request = Request { method: method.to_owned(), ..get(&to) };
        let error = client.fetch(request, PATIENCE).await.unwrap_err();
        assert!(error.to_string().contains("is refused; use GET"), "{method}: {error}");
    }
    assert_eq!(ours.connections(), 0);
}
