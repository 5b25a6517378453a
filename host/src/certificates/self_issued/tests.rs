//! Replicas against an API server that is small but strict: resource versions conflict, names are unique, patches merge.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::*;

const SECRET: &str = "/api/v1/namespaces/metrics/secrets/adapter-serving";
const SECRETS: &str = "/api/v1/namespaces/metrics/secrets";
const EXTERNAL: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io";
const CUSTOM: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta2.custom.metrics.k8s.io";

/// Objects by path, and who may write what.
#[derive(Default)]
struct FakeCluster {
    objects: Mutex<BTreeMap<String, Value>>,
    writes: Mutex<Vec<String>>,
    forbidden: Mutex<Option<&'static str>>,
    /// Answers that nothing is to be had before the API server is up.
    starting: AtomicUsize,
    /// Both replicas see the Secret missing before either makes it.
    first_looks: Option<Barrier>,
    /// Both replicas see the Secret as it is before either renews it.
    next_looks: Mutex<Option<Arc<Barrier>>>,
}

impl FakeCluster {
    fn client(self: &Arc<Self>) -> kube::Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move { Ok::<_, std::convert::Infallible>(cluster.answer(request).await) }
        });
        kube::Client::new(service, "metrics")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if self.starting.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
        }
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = parts.uri.path().to_owned();
        let found = self.objects.lock().unwrap().get(&path).cloned();
        if let Some(barrier) = &self.first_looks
            && parts.method == Method::GET
            && path == SECRET
            && found.is_none()
        {
            barrier.wait().await;
        }
        if parts.method == Method::GET && path == SECRET && found.is_some() {
            // Taken by the second: whoever looks again after that finds no barrier.
            let barrier = self.next_looks.lock().unwrap().clone();
            if let Some(barrier) = barrier
                && barrier.wait().await.is_leader()
            {
                *self.next_looks.lock().unwrap() = None;
            }
        }
        if self.forbidden.lock().unwrap().is_some_and(|part| path.contains(part)) {
            return failure(StatusCode::FORBIDDEN, "Forbidden");
        }
        if parts.method != Method::GET {
            self.writes.lock().unwrap().push(format!("{} {path}", parts.method));
        }
        match parts.method {
            Method::GET => found.map_or_else(|| failure(StatusCode::NOT_FOUND, "NotFound"), |object| success(&object)),
            Method::POST => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.objects.lock().unwrap().contains_key(&path) {
                    return failure(StatusCode::CONFLICT, "AlreadyExists");
                }
                self.store(&path, body)
            }
            Method::PUT | Method::PATCH => {
                let Some(found) = found else { return failure(StatusCode::NOT_FOUND, "NotFound") };
                if found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return failure(StatusCode::CONFLICT, "Conflict");
                }
                let object = if parts.method == Method::PUT { body } else { merge(found, &body) };
                self.store(&path, object)
            }
            method => panic!("unexpected {method} {path}"),
        }
    }

    fn store(&self, path: &str, mut object: Value) -> Response<Body> {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let version: u64 =
            objects.get(path).map_or(0, |old| old["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap());
        object["metadata"]["resourceVersion"] = json!((version + 1).to_string());
        objects.insert(path.to_owned(), object.clone());
        success(&object)
    }

    fn api_service(&self, path: &str, service: &str, insecure: bool) {
        let name = path.rsplit('/').next().unwrap();
        let spec = json!({ "service": { "name": service, "namespace": "metrics" }, "insecureSkipTLSVerify": insecure,
                           "groupPriorityMinimum": 100, "versionPriority": 100 });
        self.store(path, json!({ "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": { "name": name }, "spec": spec }));
    }

    fn object(&self, path: &str) -> Value {
        self.objects.lock().unwrap().get(path).cloned().unwrap_or_default()
    }

    fn writes_to(&self, path: &str) -> usize {
        self.writes
            .lock()
            .unwrap()
            .iter()
            .filter(|write| write.split_once(' ').is_some_and(|(_, to)| to == path))
            .count()
    }

    /// The Secret's bundle, as base64 as APIServices carry it.
    fn bundle(&self) -> String {
        self.object(SECRET)["data"]["ca-bundle.crt"].as_str().unwrap().to_owned()
    }

    async fn replica(self: &Arc<Self>) -> Result<(SelfIssued, Arc<ServingCertificate>), CertificateError> {
        let settings = SelfIssuedSettings {
            namespace: "metrics".into(),
            service: "adapter".into(),
            secret: "adapter-serving".into(),
        };
        let certificate = Arc::new(ServingCertificate::default());
        let issued = SelfIssued::start(self.client(), settings, certificate.clone(), &CancellationToken::new()).await?;
        Ok((issued, certificate))
    }
}

fn merge(mut object: Value, patch: &Value) -> Value {
    for (key, value) in patch.as_object().unwrap() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(key)),
            Value::Object(_) => object[key] = merge(object[key].take(), value),
            value => object[key] = value.clone(),
        }
    }
    object
}

fn success(object: &Value) -> Response<Body> {
    Response::new(Body::from(object.to_string().into_bytes()))
}

fn failure(status: StatusCode, reason: &str) -> Response<Body> {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "reason": reason,
                       "code": status.as_u16() });
    Response::builder().status(status).body(Body::from(body.to_string().into_bytes())).unwrap()
}

/// Whether a client that trusts the base64 bundle believes the server's certificate to be that of `name`.
fn trusted(bundle: &str, certificate: &ServingCertificate, name: &str) -> bool {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier};
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&STANDARD.decode(bundle).unwrap()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let name = name.to_owned().try_into().unwrap();
    let now = rustls_pki_types::UnixTime::now();
    verifier.verify_server_cert(&certificate.leaf().unwrap(), &[], &name, &[], now).is_ok()
}

#[tokio::test]
async fn two_replicas_that_start_at_once_share_the_authority_of_the_first() {
    let cluster = Arc::new(FakeCluster { first_looks: Some(Barrier::new(2)), ..FakeCluster::default() });
    let (one, two) = tokio::join!(cluster.replica(), cluster.replica());
    let ((_, one), (_, two)) = (one.unwrap(), two.unwrap());
    assert_eq!(cluster.writes_to(SECRETS), 2, "both tried, and one was refused");
    assert_ne!(one.leaf(), two.leaf(), "each has a certificate of its own");
    for certificate in [&one, &two] {
        for name in ["adapter", "adapter.metrics", "adapter.metrics.svc"] {
            assert!(trusted(&cluster.bundle(), certificate, name), "{name}");
        }
        assert!(!trusted(&cluster.bundle(), certificate, "adapter.other.svc"));
    }
    let secret = cluster.object(SECRET);
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret["metadata"]["labels"]["wasm-metrics-adapter.io/credential"], Value::Null);
}

#[tokio::test]
async fn only_the_adapters_own_api_services_get_the_bundle_and_only_once() {
    let cluster = Arc::new(FakeCluster::default());
    cluster.api_service(EXTERNAL, "adapter", true);
    cluster.api_service(CUSTOM, "prometheus-adapter", true);
    let foreign = cluster.object(CUSTOM);
    let (mut replica, _) = cluster.replica().await.unwrap();
    assert_eq!(cluster.object(EXTERNAL)["spec"]["caBundle"], json!(cluster.bundle()));
    assert_eq!(cluster.object(EXTERNAL)["spec"]["insecureSkipTLSVerify"], Value::Null);
    assert_eq!(cluster.object(CUSTOM), foreign);
    assert_eq!(replica.refresh(SystemTime::now()).await.unwrap(), 1);
    assert_eq!((cluster.writes_to(EXTERNAL), cluster.writes_to(CUSTOM)), (1, 0));
    cluster.api_service(CUSTOM, "adapter", false);
    assert_eq!(replica.refresh(SystemTime::now()).await.unwrap(), 2, "an APIService that comes later is found");
    assert_eq!(cluster.object(CUSTOM)["spec"]["caBundle"], json!(cluster.bundle()));
}

#[tokio::test(start_paused = true)]
async fn the_start_waits_for_the_api_server_and_an_api_service_is_found_within_seconds() {
    let cluster = Arc::new(FakeCluster { starting: AtomicUsize::new(3), ..FakeCluster::default() });
    let began = tokio::time::Instant::now();
    let (replica, _) = cluster.replica().await.unwrap();
    assert_eq!(began.elapsed(), START_RETRY * 3);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(replica.run(shutdown.clone()));
    let bundle_of = |path: &str| cluster.object(path)["spec"]["caBundle"].clone();
    tokio::time::sleep(EVERY).await;
    cluster.api_service(EXTERNAL, "adapter", false);
    tokio::time::sleep(EVERY_UNTIL_FOUND * 2).await;
    assert_eq!(bundle_of(EXTERNAL), json!(cluster.bundle()));
    cluster.api_service(CUSTOM, "adapter", false);
    tokio::time::sleep(EVERY * 2).await;
    assert_eq!(bundle_of(CUSTOM), json!(cluster.bundle()), "a later one in a minute");
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn missing_rights_on_api_services_leave_the_adapter_serving() {
    let cluster = Arc::new(FakeCluster::default());
    cluster.api_service(EXTERNAL, "adapter", false);
    *cluster.forbidden.lock().unwrap() = Some("apiservices");
    let (mut replica, certificate) = cluster.replica().await.unwrap();
    assert!(trusted(&cluster.bundle(), &certificate, "adapter.metrics.svc"));
    assert!(replica.registration.complaint.as_deref().is_some_and(|text| text.contains("get and patch")));
    *cluster.forbidden.lock().unwrap() = None;
    assert_eq!(replica.refresh(SystemTime::now()).await.unwrap(), 1);
    assert_eq!(replica.registration.complaint, None);
}

#[tokio::test]
async fn missing_rights_on_the_secret_and_somebody_elses_secret_are_errors() {
    let cluster = Arc::new(FakeCluster::default());
    *cluster.forbidden.lock().unwrap() = Some("secrets");
    assert!(matches!(cluster.replica().await.err(), Some(CertificateError::Forbidden { .. })));
    *cluster.forbidden.lock().unwrap() = None;
    for data in [
        json!({ "password": "aHVudGVyMg==" }),
        json!({ "tls.crt": "eA==", "tls.key": "eA==", "ca-bundle.crt": "eA==" }),
    ] {
        cluster.store(
            SECRET,
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "adapter-serving" }, "data": data }),
        );
        let before = cluster.object(SECRET);
        assert!(matches!(cluster.replica().await.err(), Some(CertificateError::Foreign { .. })), "{data}");
        assert_eq!(cluster.object(SECRET), before, "never overwritten");
    }
}

#[tokio::test]
async fn an_empty_secret_made_for_the_adapter_is_filled() {
    let cluster = Arc::new(FakeCluster::default());
    cluster.store(SECRET, json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "adapter-serving", "labels": { "kept": "yes" } } }));
    let (_, certificate) = cluster.replica().await.unwrap();
    assert!(trusted(&cluster.bundle(), &certificate, "adapter.metrics.svc"));
    assert_eq!(cluster.object(SECRET)["metadata"]["labels"]["kept"], "yes");
}

#[tokio::test]
async fn a_serving_certificate_is_replaced_at_two_thirds_of_its_life() {
    let cluster = Arc::new(FakeCluster::default());
    let (mut replica, certificate) = cluster.replica().await.unwrap();
    let first = certificate.leaf();
    let now = SystemTime::now();
    replica.refresh(now + issue::SERVING_LIFE * 6 / 10).await.unwrap();
    assert_eq!(certificate.leaf(), first);
    replica.refresh(now + issue::SERVING_LIFE * 7 / 10).await.unwrap();
    assert_ne!(certificate.leaf(), first);
    assert_eq!(cluster.writes_to(SECRET), 0, "the authority stays");
}

#[tokio::test]
async fn a_new_authority_is_published_beside_the_old_one_before_anything_is_served_under_it() {
    let cluster = Arc::new(FakeCluster::default());
    cluster.api_service(EXTERNAL, "adapter", false);
    let (mut one, served_by_one) = cluster.replica().await.unwrap();
    let (mut two, served_by_two) = cluster.replica().await.unwrap();
    let old_bundle = cluster.bundle();
    // The CA is renewed at two thirds of its life; the certificates under it would be anyway.
    let late = SystemTime::now() + issue::AUTHORITY_LIFE * 7 / 10;
    one.refresh(late).await.unwrap();
    assert_eq!(cluster.writes_to(SECRET), 1);
    let both = cluster.bundle();
    assert_ne!(both, old_bundle);
    assert_eq!(cluster.object(EXTERNAL)["spec"]["caBundle"], json!(both));
    two.refresh(late).await.unwrap();
    assert_eq!(cluster.writes_to(SECRET), 1, "renewed once");
    for certificate in [&served_by_one, &served_by_two] {
        assert!(trusted(&old_bundle, certificate, "adapter"), "still under the old authority");
        assert!(trusted(&both, certificate, "adapter"));
    }
    one.refresh(late + SETTLE).await.unwrap();
    let authority = &one.served.as_ref().unwrap().authority;
    assert!(cluster.object(SECRET)["data"]["tls.crt"] == json!(base64_of(authority)), "served under the new authority");
    assert!(!trusted(&old_bundle, &served_by_one, "adapter"));
}

#[tokio::test]
async fn of_two_replicas_that_renew_the_authority_at_once_one_does() {
    let cluster = Arc::new(FakeCluster::default());
    cluster.api_service(EXTERNAL, "adapter", false);
    let (mut one, served_by_one) = cluster.replica().await.unwrap();
    let (mut two, served_by_two) = cluster.replica().await.unwrap();
    let late = SystemTime::now() + issue::AUTHORITY_LIFE * 7 / 10;
    *cluster.next_looks.lock().unwrap() = Some(Arc::new(Barrier::new(2)));
    let (first, second) = tokio::join!(one.refresh(late), two.refresh(late));
    assert_eq!((first.unwrap(), second.unwrap()), (1, 1));
    assert_eq!(cluster.writes_to(SECRET), 2, "both tried, and one was refused");
    let bundle = cluster.bundle();
    assert_eq!(cluster.object(EXTERNAL)["spec"]["caBundle"], json!(bundle));
    for (replica, certificate) in [(&mut one, &served_by_one), (&mut two, &served_by_two)] {
        assert!(trusted(&bundle, certificate, "adapter"), "the old authority is among those of the bundle");
        replica.refresh(late).await.unwrap();
        replica.refresh(late + SETTLE).await.unwrap();
        let authority = &replica.served.as_ref().unwrap().authority;
        assert_eq!(cluster.object(SECRET)["data"]["tls.crt"], json!(base64_of(authority)), "served under the one new");
    }
}

fn base64_of(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}
