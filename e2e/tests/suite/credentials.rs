//! A backend that believes nobody: it asks for a client certificate in the handshake and lets the API server review the token of
//! each request. Its own certificate is of an authority that only the plugin knows.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    ADAPTER_NAME, ADAPTER_NAMESPACE,
    certificates::{Authority, Identity},
    eventually::eventually,
    plugins::{self, Plugin, component},
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenReview, TokenReviewSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

use crate::world::{EXTERNAL, PATIENCE, World};

const AUDIENCE: &str = "backend.e2e";
const ACCOUNT: &str = "queue-reader";

/// TokenRequest and TokenReview of a real API server, a client certificate and `tls.caFrom`; then the consent is withdrawn.
pub(crate) async fn a_backend_that_checks_certificate_and_token_is_read(world: &mut World) -> Result<()> {
    let (servers, clients) = (Authority::new("backend-ca")?, Authority::new("backend-clients")?);
    let backend = Backend::start(&servers.server(&["127.0.0.1"])?, &clients, world.admin.clone()).await?;
    let path = format!("{EXTERNAL}/namespaces/default/checked_depth");
    apply(world, &ca_config_map(&servers.certificate)).await?;
    apply(world, &client_secret(&backend.origin, &clients.client("adapter", &[])?)).await?;
    apply(world, &service_account(&backend.origin, AUDIENCE)).await?;
    let plugin = Plugin::new("checked", component("http-json")?, &configuration(&backend.origin, AUDIENCE));
    plugin.apply(&world.admin).await?;
    let message = warning_of(world, "the verb get on serviceaccounts").await?;
    ensure!(message.contains("ServiceAccount wasm-metrics-adapter/queue-reader"), "{message}");

    apply(world, &rights()).await?;
    // What a missing right hides is looked at again after seconds; a changed object is at once.
    let plugin = Plugin { yaml: format!("{}\n", plugin.yaml), ..plugin };
    plugin.apply(&world.admin).await?;
    world.expect_values(&path, &["42"]).await?;
    let accepted = backend.accepted.load(Ordering::SeqCst);
    ensure!(accepted > 0 && backend.refused.load(Ordering::SeqCst) == 0, "tokens were refused");

    // A token that the API server itself would take reaches nobody, though its ServiceAccount consents.
    let own = api_audience(&world.admin).await?;
    apply(world, &service_account(&backend.origin, &own)).await?;
    Plugin::new("checked", component("http-json")?, &configuration(&backend.origin, &own)).apply(&world.admin).await?;
    eventually("a token for the API server is not sent", PATIENCE, async || {
        for answer in world.get_everywhere(&path).await? {
            ensure!(!answer.status.is_success(), "{}", answer.text());
            ensure!(answer.text().contains("one that the API server takes"), "{}", answer.text());
        }
        Ok(())
    })
    .await?;
    ensure!(backend.refused.load(Ordering::SeqCst) == 0, "a token that the backend refuses has reached it");

    apply(world, &service_account("https://elsewhere.example.com", AUDIENCE)).await?;
    Plugin::new("checked", component("http-json")?, &configuration(&backend.origin, AUDIENCE))
        .apply(&world.admin)
        .await?;
    let message = warning_of(world, "does not consent to be sent to").await?;
    ensure!(message.contains("ServiceAccount wasm-metrics-adapter/queue-reader"), "{message}");
    for (kind, name) in [
        ("role", ACCOUNT),
        ("rolebinding", ACCOUNT),
        ("serviceaccount", ACCOUNT),
        ("secret", "checked"),
        ("configmap", "checked-ca"),
    ] {
        world.kubectl.run(&["delete", kind, name, "--namespace", ADAPTER_NAMESPACE]).await?;
    }
    plugins::delete(&world.admin, "checked").await
}

async fn apply(world: &World, object: &Value) -> Result<()> {
    world.kubectl.apply(&object.to_string()).await?;
    Ok(())
}

async fn warning_of(world: &World, words: &str) -> Result<String> {
    eventually(&format!("a Warning says `{words}`"), PATIENCE, async || {
        let warnings = plugins::events(&world.admin, "checked", "Warning").await?;
        let mut messages = warnings.into_iter().filter_map(|event| event.message);
        messages.find(|message| message.contains(words)).context("no such Warning")
    })
    .await
}

fn ca_config_map(pem: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "checked-ca", "namespace": ADAPTER_NAMESPACE },
        "data": { "ca.crt": pem },
    })
}

fn client_secret(origin: &str, identity: &Identity) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {
            "name": "checked", "namespace": ADAPTER_NAMESPACE,
            "labels": { "wasm-metrics-adapter.io/credential": "true" },
            "annotations": { "wasm-metrics-adapter.io/allowed-origins": origin },
        },
        "stringData": { "tls.crt": identity.certificate, "tls.key": identity.key },
    })
}

fn service_account(origin: &str, audience: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {
            "name": ACCOUNT, "namespace": ADAPTER_NAMESPACE,
            "labels": { "wasm-metrics-adapter.io/credential": "true" },
            "annotations": {
                "wasm-metrics-adapter.io/allowed-origins": origin,
                "wasm-metrics-adapter.io/allowed-audiences": audience,
            },
        },
    })
}

/// As deploy/examples/service-account-token grants them.
fn rights() -> Value {
    let metadata = json!({ "name": ACCOUNT, "namespace": ADAPTER_NAMESPACE });
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
        "rules": [
            { "apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": [ACCOUNT], "verbs": ["get"] },
            { "apiGroups": [""], "resources": ["serviceaccounts/token"], "resourceNames": [ACCOUNT], "verbs": ["create"] },
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT },
        "subjects": [{ "kind": "ServiceAccount", "name": ADAPTER_NAME, "namespace": ADAPTER_NAMESPACE }],
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [role, binding] })
}

fn configuration(origin: &str, audience: &str) -> Value {
    json!({
        "apiVersion": "wasm-metrics-adapter.io/v1alpha1", "kind": "PluginConfiguration",
        "serves": { "external": ["checked_depth"] },
        "egress": [origin],
        "tls": { "caFrom": { "configMap": "checked-ca", "key": "ca.crt" } },
        "credentials": [
            { "origin": origin, "clientCertificate": { "secret": "checked" } },
            { "origin": origin, "serviceAccountToken": { "serviceAccount": ACCOUNT, "audience": audience, "expirationSeconds": 600 } },
        ],
        "config": { "metrics": [{
            "name": "checked_depth", "type": "external", "url": format!("{origin}/depth"), "items": "$", "value": "$.depth",
        }] },
    })
}

/// An HTTPS server for clients of one authority, with tokens of one ServiceAccount for one audience.
struct Backend {
    origin: String,
    accepted: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Backend {
    async fn start(identity: &Identity, clients: &Authority, admin: Client) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("https://{}", listener.local_addr()?);
        let tls = TlsAcceptor::from(Arc::new(tls(identity, clients)?));
        let (accepted, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (accepted.clone(), refused.clone());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, admin, (accepted, refused)) = (tls.clone(), admin.clone(), counters.clone());
                tokio::spawn(async move {
                    // Who shows no certificate of the authority comes no further.
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (admin, accepted, refused) = (admin.clone(), accepted.clone(), refused.clone());
                        async move {
                            let known = is_known(&admin, &request).await;
                            if known { &accepted } else { &refused }.fetch_add(1, Ordering::SeqCst);
                            let (status, body) = if known { (200, r#"{ "depth": 42 }"#) } else { (401, "{}") };
                            let mut response = Response::new(Full::new(Bytes::from(body)));
                            *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
                            Ok::<_, Infallible>(response)
                        }
                    });
                    // A client that hangs up early is no concern of a server.
                    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { origin, accepted, refused, accepting })
    }
}

/// An audience that the API server takes for itself: that of a token for which none was named.
async fn api_audience(admin: &Client) -> Result<String> {
    let accounts = Api::<ServiceAccount>::namespaced(admin.clone(), ADAPTER_NAMESPACE);
    let issued = accounts.create_token_request(ACCOUNT, &PostParams::default(), &TokenRequest::default()).await?;
    let audiences = issued.spec.and_then(|spec| spec.audiences).unwrap_or_default();
    audiences.into_iter().next().context("the API server names no audience of its own")
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn tls(identity: &Identity, clients: &Authority) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(clients.certificate.as_bytes())?)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_client_cert_verifier(verifier).with_single_cert(chain, key)?)
}

/// Whether the request carries a token of the ServiceAccount for the audience, in the eyes of the API server.
async fn is_known(admin: &Client, request: &Request<Incoming>) -> bool {
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else { return false };
    let spec = TokenReviewSpec { token: token.to_owned(), audiences: Some(vec![AUDIENCE.to_owned()]) };
    let review = TokenReview { spec, ..TokenReview::default() };
    let reviewed = Api::<TokenReview>::all(admin.clone()).create(&PostParams::default(), &review).await;
    let status = reviewed.ok().and_then(|review| review.status).unwrap_or_default();
    let user = status.user.and_then(|user| user.username).unwrap_or_default();
    status.authenticated == Some(true) && user == format!("system:serviceaccount:{ADAPTER_NAMESPACE}:{ACCOUNT}")
}
