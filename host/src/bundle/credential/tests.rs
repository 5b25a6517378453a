use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::source::{CREDENTIAL_LABEL, Part, RawPlugin, ReadError, Secret, ServiceAccount};

const ORIGIN: &str = "https://mq.example.com:443";
const ALLOWED: &str = "wasm-metrics-adapter.io/allowed-origins";
const AUDIENCES: &str = "wasm-metrics-adapter.io/allowed-audiences";

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A Secret of type Opaque that consents to `origins`.
fn secret(origins: &str, data: &[(&str, &str)]) -> Secret {
    Secret {
        kind: "Opaque".to_owned(),
        labels: map(&[(CREDENTIAL_LABEL, "true")]),
        annotations: map(&[(ALLOWED, origins)]),
        data: data.iter().map(|(key, value)| ((*key).to_owned(), Bytes::from((*value).to_owned()))).collect(),
    }
}

fn token(origins: &str, value: &str) -> Secret {
    secret(origins, &[("token", value)])
}

/// The one Secret and the one ServiceAccount of namespace `shop`.
#[derive(Default)]
struct Objects {
    secret: Option<Secret>,
    account: Option<ServiceAccount>,
}

#[async_trait]
impl Dependencies for Objects {
    async fn plugin(&self, _: &PluginId) -> Result<RawPlugin, ReadError> {
        unreachable!("a credential names no plugin")
    }

    async fn file(&self, path: &str, _: usize) -> Result<Bytes, ReadError> {
        unreachable!("a credential names no file such as {path}")
    }

    async fn part(&self, _: &str, name: &str) -> Result<Part, ReadError> {
        Err(ReadError::NotFound(name.to_owned()))
    }

    async fn secret(&self, _: &str, name: &str) -> Result<Secret, ReadError> {
        self.secret.clone().ok_or_else(|| ReadError::NotFound(name.to_owned()))
    }

    async fn config_map_key(&self, _: &str, name: &str, _: &str) -> Result<Bytes, ReadError> {
        Err(ReadError::NotFound(name.to_owned()))
    }

    async fn service_account(&self, _: &str, name: &str) -> Result<ServiceAccount, ReadError> {
        self.account.clone().ok_or_else(|| ReadError::NotFound(name.to_owned()))
    }

    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audience: &str,
        lifetime: Duration,
    ) -> Result<IssuedToken, ReadError> {
        Ok(IssuedToken { value: Zeroizing::new(format!("{namespace}/{name} for {audience}")), lifetime })
    }
}

async fn resolved(objects: &Objects, origin: &str, form: CredentialForm) -> Result<CredentialValue, BundleError> {
    let id = PluginId { namespace: "shop".to_owned(), name: "queue".to_owned() };
    let request = CredentialRequest { origin: origin.to_owned(), form };
    let mut credentials = resolve(&id, &[request], objects, &Grants::default()).await?;
    let credential = credentials.remove(0);
    assert_eq!(credential.origin, origin);
    Ok(credential.value)
}

async fn from_secret(secret: Secret, form: SecretForm) -> Result<CredentialValue, SecretRefused> {
    let objects = Objects { secret: Some(secret), ..Objects::default() };
    let form = CredentialForm::Secret { name: "mq".to_owned(), form };
    resolved(&objects, ORIGIN, form).await.map_err(|error| match error {
        BundleError::Secret { cause, .. } => *cause,
        other => panic!("{other}"),
    })
}

fn bearer() -> SecretForm {
    SecretForm::Bearer { key: "token".to_owned() }
}

async fn used(secret: Secret) -> Result<CredentialValue, SecretRefused> {
    from_secret(secret, bearer()).await
}

fn header(value: &CredentialValue) -> (&str, &str) {
    match value {
        CredentialValue::Header(name, value) => (name.as_str(), value.reveal()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_consenting_secret_becomes_a_header() {
    for origins in
        [ORIGIN, "https://MQ.example.com", "http://a,https://mq.example.com:443", "http://a \n https://mq.example.com/"]
    {
        let credential = used(token(origins, "abc\n")).await.unwrap();
        assert_eq!(header(&credential), ("authorization", "Bearer abc"), "{origins}");
    }
    let form = SecretForm::Header { name: HeaderName::from_static("x-api-key"), key: "token".to_owned() };
    let credential = from_secret(token(ORIGIN, "k e y\r\n"), form).await.unwrap();
    assert_eq!(header(&credential), ("x-api-key", "k e y"));
}

#[tokio::test]
async fn user_and_password_are_joined_as_basic_authentication_has_them() {
    let basic = || SecretForm::Basic { username_key: "username".to_owned(), password_key: "password".to_owned() };
    // The example of RFC 7617, section 2.
    let pair = [("username", "Aladdin\n"), ("password", "open sesame")];
    let typed = Secret { kind: "kubernetes.io/basic-auth".to_owned(), ..secret(ORIGIN, &pair) };
    let credential = from_secret(typed, basic()).await.unwrap();
    assert_eq!(header(&credential), ("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    let colon = secret(ORIGIN, &[("username", "a:b"), ("password", "hunter2")]);
    let error = from_secret(colon, basic()).await.unwrap_err();
    assert!(error.to_string().starts_with("key `username` of Secret shop/mq holds a `:`"), "{error}");
    let alone = from_secret(secret(ORIGIN, &[("username", "a")]), basic()).await;
    assert!(matches!(alone, Err(SecretRefused::NoKey { key, .. }) if key == "password"));
}

#[tokio::test]
async fn a_query_value_and_a_certificate_are_kept_as_they_are() {
    let form = SecretForm::Query { name: "api_key".to_owned(), key: "token".to_owned() };
    let CredentialValue::Query(name, value) = from_secret(token(ORIGIN, "a&b\n"), form).await.unwrap() else {
        panic!()
    };
    assert_eq!((name.as_str(), value.reveal()), ("api_key", "a&b"));

    let files = [("tls.crt", "CHAIN\n"), ("tls.key", "KEY\n")];
    for kind in ["kubernetes.io/tls", "Opaque"] {
        let secret = Secret { kind: kind.to_owned(), ..secret(ORIGIN, &files) };
        let certificate = from_secret(secret, SecretForm::ClientCertificate).await.unwrap();
        let CredentialValue::ClientCertificate(chain, key) = certificate else { panic!() };
        assert_eq!((chain.reveal(), key.reveal()), ("CHAIN\n", "KEY\n"));
    }
    let large = secret(ORIGIN, &[("tls.crt", &"x".repeat(70_000)), ("tls.key", "KEY")]);
    let refused = from_secret(large, SecretForm::ClientCertificate).await;
    assert!(matches!(refused, Err(SecretRefused::NotPem { key, .. }) if key == "tls.crt"));
}

fn client(token_url: &str) -> SecretForm {
    SecretForm::ClientCredentials(ClientCredentials {
        token_url: token_url.to_owned(),
        client_id_key: "client-id".to_owned(),
        client_secret_key: "client-secret".to_owned(),
        scopes: vec!["read".to_owned()],
        audience: None,
        method: ClientAuthentication::Post,
    })
}

#[tokio::test]
async fn a_clients_secret_needs_consent_for_the_token_endpoint_too() {
    let pair = [("client-id", "me"), ("client-secret", "hunter2")];
    let both = format!("{ORIGIN} https://login.example.com:8443");
    let credential = from_secret(secret(&both, &pair), client("https://login.example.com:8443/token?a=b")).await;
    let CredentialValue::Client(client_of_both) = credential.unwrap() else { panic!() };
    assert_eq!((client_of_both.id.reveal(), client_of_both.secret.reveal()), ("me", "hunter2"));
    assert!(client_of_both.in_body && !format!("{client_of_both:?}").contains("hunter2"));
    for (origins, missing) in [(ORIGIN, "https://login.example.com:8443"), ("https://login.example.com:8443", ORIGIN)] {
        let error = from_secret(secret(origins, &pair), client("https://login.example.com:8443/token")).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(&format!("does not consent to be sent to {missing}")), "{error}");
    }
}

fn account(origins: &str, audiences: &str) -> Objects {
    let annotations = map(&[(ALLOWED, origins), (AUDIENCES, audiences)]);
    let labels = map(&[(CREDENTIAL_LABEL, "true")]);
    Objects { account: Some(ServiceAccount { labels, annotations }), ..Objects::default() }
}

fn account_token() -> CredentialForm {
    CredentialForm::ServiceAccountToken {
        service_account: "reader".to_owned(),
        audience: "mq".to_owned(),
        expiration: Duration::from_secs(900),
    }
}

#[tokio::test]
async fn a_service_account_consents_to_origin_and_audience_for_each_token() {
    let good = account(ORIGIN, "other mq");
    let CredentialValue::ServiceAccount(tokens) = resolved(&good, ORIGIN, account_token()).await.unwrap() else {
        panic!()
    };
    let issued = tokens.issue(&good).await.unwrap();
    assert_eq!((issued.value.as_str(), issued.lifetime), ("shop/reader for mq", Duration::from_secs(900)));
    for (objects, expected) in [
        (account("https://other.example.com", "mq"), "does not consent to be sent to https://mq.example.com:443"),
        (account(ORIGIN, ""), "allowed-audiences: \"mq\""),
        (account(ORIGIN, "https://kubernetes.default.svc"), "does not consent to tokens for audience mq"),
        (Objects::default(), "reader does not exist; create it, with the label and annotations of a credential"),
    ] {
        let at_load = resolved(&objects, ORIGIN, account_token()).await.unwrap_err().to_string();
        let later = tokens.issue(&objects).await.unwrap_err().to_string();
        assert!(at_load.contains(expected), "{at_load}");
        assert_eq!(at_load, later, "consent that is withdrawn ends with the last token");
    }
    let mut unlabelled = good;
    unlabelled.account.as_mut().unwrap().labels.clear();
    let error = resolved(&unlabelled, ORIGIN, account_token()).await.unwrap_err().to_string();
    assert!(error.starts_with("ServiceAccount shop/reader is not labelled as a credential"), "{error}");
}

#[tokio::test]
async fn other_origins_need_their_own_consent() {
    for origins in [
        "",
        "http://mq.example.com:443",
        "https://mq.example.com:8443",
        "https://example.com",
        "https://mq.example.com.evil.org",
        "*",
        "https://*",
        "https://u@mq.example.com",
        "https://mq.example.com/path",
    ] {
        let error = used(token(origins, "abc")).await.expect_err(origins).to_string();
        assert!(error.contains("allowed-origins: \"https://mq.example.com:443\""), "{origins}: {error}");
    }
    let objects = Objects { secret: Some(token("mq.example.com", "abc")), ..Objects::default() };
    let form = CredentialForm::Secret { name: "mq".to_owned(), form: bearer() };
    let refused = resolved(&objects, "mq.example.com", form).await;
    assert!(
        matches!(&refused, Err(BundleError::Secret { cause, .. }) if matches!(**cause, SecretRefused::NotAnOrigin { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn without_the_label_there_is_no_consent() {
    let mut unlabelled = token(ORIGIN, "abc");
    unlabelled.labels.clear();
    let error = used(unlabelled.clone()).await.expect_err("unlabelled").to_string();
    assert!(
        error.contains("Secret shop/mq")
            && error.contains("add the label `wasm-metrics-adapter.io/credential: \"true\"`"),
        "{error}"
    );
    unlabelled.labels.insert(CREDENTIAL_LABEL.to_owned(), "yes".to_owned());
    assert!(matches!(used(unlabelled).await, Err(SecretRefused::NotLabelled { .. })));
}

#[tokio::test]
async fn keys_of_the_cluster_are_refused_by_type() {
    let files = [("token", "abc"), ("tls.crt", "CHAIN"), ("tls.key", "KEY")];
    for kind in consent::REFUSED_TYPES {
        let secret = || Secret { kind: kind.to_owned(), ..secret(ORIGIN, &files) };
        assert!(matches!(used(secret()).await, Err(SecretRefused::Type { .. })), "{kind}");
        let as_certificate = from_secret(secret(), SecretForm::ClientCertificate).await;
        assert_eq!(as_certificate.is_ok(), kind == "kubernetes.io/tls", "{kind}");
    }
}

#[tokio::test]
async fn values_that_no_request_carries_are_refused_and_never_printed() {
    for value in ["", "\n", "one\ntwo", "tab\u{0}", "ümlaut", " padded ", &"x".repeat(9000), "hunter2\n\n"] {
        let error = used(token(ORIGIN, value)).await.expect_err(value);
        assert!(matches!(error, SecretRefused::NotAValue { .. }));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    assert!(matches!(used(secret(ORIGIN, &[])).await, Err(SecretRefused::NoKey { .. })));
    assert!(!format!("{:?}", used(token(ORIGIN, "hunter2")).await).contains("hunter2"));
}
