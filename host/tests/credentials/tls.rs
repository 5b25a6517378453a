//! Who is trusted, by whom, and who is not: each row is a handshake that must fail, and no request may have left.

use rcgen::date_time_ymd;
use wasm_metrics_adapter::egress::{Credential, ExtraRoots};

use crate::{
    backend::{Answer, Backend},
    client, fetched,
    identities::{Authority, Identity},
    origin, trusting,
};

fn extra(pem: &str) -> ExtraRoots {
    ExtraRoots::of_pem("key `ca.crt` of ConfigMap shop/mq-ca", pem.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_plugins_own_authority_is_trusted_beside_those_of_all_and_by_it_alone() {
    let (everybodys, own) = (Authority::new(), Authority::new());
    let public = Backend::secured(everybodys.identity("public.test").server(true, None), |_| Answer::text("")).await;
    let private = Backend::secured(own.identity("private.test").server(true, None), |_| Answer::text("")).await;
    let origins = [public.origin("public.test"), private.origin("private.test")];
    let [to_public, to_private] = origins.each_ref().map(String::as_str);
    let with = |roots| client(trusting(&everybodys.pem), &[to_public, to_private], |config| config.extra_roots = roots);
    let (plugin, other_plugin) = (with(Some(extra(&own.pem))), with(None));
    fetched(&plugin, to_public).await.unwrap();
    fetched(&plugin, to_private).await.unwrap();
    fetched(&other_plugin, to_public).await.unwrap();
    let error = fetched(&other_plugin, to_private).await.unwrap_err().to_string();
    assert!(error.contains("certificate is not trusted (UnknownIssuer)"), "{error}");
}

/// What a server shows, and what the refusal says.
fn bad_servers(authority: &Authority) -> Vec<(&'static str, Identity, &'static str)> {
    vec![
        ("another authority's", Authority::new().identity("mq.test"), "UnknownIssuer"),
        ("nobody's", Identity::self_signed("mq.test"), "not trusted"),
        ("another name's", authority.identity("other.test"), "not valid for name"),
        ("a parent name's", authority.identity("test"), "not valid for name"),
        ("an address's", authority.identity("127.0.0.1"), "not valid for name"),
        (
            "an expired one",
            authority.identity_with("mq.test", |params| {
                (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
            }),
            "expired",
        ),
        (
            "one of the future",
            authority.identity_with("mq.test", |params| {
                (params.not_before, params.not_after) = (date_time_ymd(2901, 1, 1), date_time_ymd(2902, 1, 1));
            }),
            "not valid yet",
        ),
        (
            "a client's",
            authority.identity_with("mq.test", |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            }),
            "not trusted",
        ),
    ]
}

#[tokio::test]
async fn certificates_that_do_not_vouch_for_the_backend_are_refused() {
    let authority = Authority::new();
    for (whose, identity, expected) in bad_servers(&authority) {
        let backend = Backend::secured(identity.server(true, None), |_| Answer::text("never")).await;
        let to = backend.origin("mq.test");
        // As an authority of all plugins and as the plugin's own: the rules are the same.
        for roots in [None, Some(extra(&authority.pem))] {
            let everybodys = if roots.is_none() { &authority.pem } else { &Authority::new().pem };
            let client = client(trusting(everybodys), &[&to], |config| {
                config.extra_roots = roots;
                config.credentials = vec![Credential::bearer(origin(&to), crate::SECRET).unwrap()];
            });
            let error = fetched(&client, &to).await.unwrap_err().to_string();
            assert!(error.contains("certificate is not trusted") && error.contains(expected), "{whose}: {error}");
        }
        assert_eq!(backend.requests(), 0, "{whose}");
    }
}

#[tokio::test]
async fn a_backend_that_wants_a_certificate_refuses_who_has_none_or_another() {
    let (servers, clients) = (Authority::new(), Authority::new());
    for http2 in [false, true] {
        let tls = servers.identity("mq.test").server(http2, Some(&clients));
        let backend = Backend::secured(tls, |_| Answer::text("never")).await;
        let to = backend.origin("mq.test");
        for (whose, identity) in [
            ("none", None),
            ("a stranger's", Some(Authority::new().identity("me"))),
            ("a self-signed one", Some(Identity::self_signed("me"))),
            (
                "an expired one",
                Some(clients.identity_with("me", |params| {
                    (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
                })),
            ),
        ] {
            let client = client(trusting(&servers.pem), &[&to], |config| {
                let shown = identity.iter();
                let shown =
                    shown.map(|mine| Credential::client_certificate(origin(&to), &mine.chain, &mine.key).unwrap());
                config.credentials = shown.collect();
            });
            let error = fetched(&client, &to).await.unwrap_err().to_string();
            assert!(error.contains(&format!("request to {to} failed")), "{whose}: {error}");
        }
        assert_eq!(backend.requests(), 0);
    }
}
