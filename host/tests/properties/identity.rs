//! Identity headers make a user behind a front proxy's verified certificate, and nowhere else.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use wasm_metrics_adapter::{
    auth::{
        AccessDecision, AuthenticationOptions, Authenticator, ReviewError, Reviews, TokenVerdict, Trust, TrustInputs,
    },
    model::{Attributes, AuthError, Connection, User},
};

/// Knows no token.
struct NoTokens;

#[async_trait]
impl Reviews for NoTokens {
    async fn token(&self, _token: &str) -> Result<TokenVerdict, ReviewError> {
        Ok(TokenVerdict::Invalid("unknown".to_owned()))
    }

    async fn access(&self, _user: &User, _attributes: &Attributes) -> Result<AccessDecision, ReviewError> {
        unreachable!("nothing here is authorized")
    }
}

struct World {
    authenticator: Authenticator,
    runtime: tokio::runtime::Runtime,
    /// The chain of a front proxy.
    proxy: Vec<Vec<u8>>,
    /// The same names, signed by somebody else.
    impostor: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let (front_proxies, strangers) = (authority(), authority());
        let list = |text: &str| vec![text.to_owned()];
        let inputs = TrustInputs {
            front_proxy_ca: Some(front_proxies.pem().into_bytes()),
            allowed_names: list("front-proxy-client"),
            username_headers: list("X-Remote-User"),
            uid_headers: list("X-Remote-Uid"),
            group_headers: list("X-Remote-Group"),
            extra_header_prefixes: list("X-Remote-Extra-"),
            ..TrustInputs::default()
        };
        let trust = Arc::new(Trust::new(inputs).unwrap());
        Self {
            authenticator: Authenticator::delegated(trust, Arc::new(NoTokens), &AuthenticationOptions::default()),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            proxy: proxy_of(&front_proxies),
            impostor: proxy_of(&strangers),
        }
    }

    fn authenticate(&self, chain: &[Vec<u8>], headers: &mut HeaderMap) -> Result<User, AuthError> {
        let mut connection = Connection::default();
        connection.peer_certificates.extend_from_slice(chain);
        self.runtime.block_on(self.authenticator.authenticate(&connection, headers))
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn proxy_of(authority: &CertifiedIssuer<'static, KeyPair>) -> Vec<Vec<u8>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "front-proxy-client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&KeyPair::generate().unwrap(), authority).unwrap();
    vec![certificate.der().to_vec()]
}

/// Headers that claim who asks, and others.
fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop_oneof![
        4 => prop::sample::select(vec![
            "X-Remote-User", "x-remote-user", "X-REMOTE-GROUP", "X-Remote-Uid", "Authorization", "Accept", "Impersonate-User",
            "X-Remote-Extra-", "X-Remote-Extra-Scopes", "X-Remote-Extra-a%2Fb", "X-Remote-Extra-%zz", "X-Remote-Extra-%ff", "X-Remote",
        ]).prop_map(str::to_owned),
        1 => "[Xx]-[Rr]emote-[-%a-zA-Z0-9]{0,12}",
    ];
    let value = prop_oneof![
        3 => prop::sample::select(vec!["admin", "system:masters", "system:anonymous", "", " ", "Bearer x", "Bearer ", "é"])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec((name, value), 0..8).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(&value)) {
                headers.append(name, value);
            }
        }
        headers
    })
}

fn claims_an_identity(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-remote-") || name == http::header::AUTHORIZATION
}

#[test]
fn unverified_clients_are_never_believed() {
    let world = World::new();
    proptest!(|(headers in any_headers(), garbage in prop::collection::vec(any::<u8>(), 0..100))| {
        for chain in [Vec::new(), world.impostor.clone(), vec![garbage.clone()]] {
            let mut headers = headers.clone();
            if let Ok(user) = world.authenticate(&chain, &mut headers) {
                prop_assert!(chain.is_empty(), "{user:?}");
                prop_assert_eq!(user.name, "system:anonymous");
                prop_assert_eq!(user.groups, ["system:unauthenticated"]);
                prop_assert!(user.uid.is_empty() && user.extra.is_empty());
            }
            prop_assert!(!headers.keys().any(claims_an_identity), "{headers:?}");
        }
    });
}

#[test]
fn no_header_of_a_front_proxy_is_too_odd() {
    let world = World::new();
    proptest!(|(headers in any_headers())| {
        let named = headers.get("x-remote-user").and_then(|name| std::str::from_utf8(name.as_bytes()).ok());
        let named = named.unwrap_or_default().to_owned();
        let mut headers = headers;
        if let Ok(user) = world.authenticate(&world.proxy, &mut headers) {
            // It is whom the proxy names, or nobody.
            prop_assert_eq!(user.name, named);
        }
        prop_assert!(!headers.keys().any(claims_an_identity), "{headers:?}");
    });
}

#[test]
fn a_front_proxy_is_taken_at_its_word() {
    let world = World::new();
    let word = "[a-z:@.-]{1,12}";
    let extra = prop::collection::btree_map("[a-zA-Z0-9/._ %é-]{1,8}", prop::collection::vec(word, 1..3), 0..3);
    proptest!(|(name in word, uid in word, groups in prop::collection::vec(word, 0..4), extra in extra)| {
        let mut headers = HeaderMap::new();
        let mut line = |name: String, value: &str| {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        };
        line("X-Remote-User".to_owned(), &name);
        line("X-Remote-Uid".to_owned(), &uid);
        groups.iter().for_each(|group| line("X-Remote-Group".to_owned(), group));
        for (key, values) in &extra {
            // As kube-aggregator writes them: HTTP/2 would lose capitals, so they are escaped as well.
            let escaped: String = key.bytes().map(|byte| match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            }).collect();
            values.iter().for_each(|value| line(format!("X-Remote-Extra-{escaped}"), value));
        }
        let user = world.authenticate(&world.proxy, &mut headers).unwrap();
        let mut expected = groups;
        if name != "system:anonymous" && !expected.iter().any(|group| group == "system:authenticated") {
            expected.push("system:authenticated".to_owned());
        }
        let extra: BTreeMap<String, Vec<String>> = extra;
        prop_assert_eq!(user, User { name, uid, groups: expected, extra });
    });
}
