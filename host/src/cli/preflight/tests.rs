use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// A cluster, as far as `preflight` asks it.
#[derive(Default)]
struct Cluster {
    /// The name of whoever asks.
    asker: &'static str,
    /// Each APIService's owner and its condition `Available`: status and reason.
    api_services: BTreeMap<&'static str, (Value, &'static str, &'static str)>,
    /// Pages of HorizontalPodAutoscalers: namespace, name, types of metrics.
    autoscalers: Vec<Vec<(&'static str, &'static str, Vec<&'static str>)>>,
    installed: bool,
    /// Refused in access reviews, as verb and resource.
    denied: Vec<(&'static str, &'static str)>,
    /// Paths that the asker may not ask, each refused with 403.
    forbidden: Vec<&'static str>,
}

/// What was asked: method, path with query, body.
type Calls = Arc<Mutex<Vec<(Method, String, Value)>>>;

impl Cluster {
    /// A client of this cluster, and what it asks.
    fn serve(self) -> (Client, Calls) {
        let (service, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let calls = Calls::default();
        let record = calls.clone();
        tokio::spawn(async move {
            while let Some((request, send)) = handle.next_request().await {
                let (head, body) = request.into_parts();
                let path = head.uri.path_and_query().unwrap().to_string();
                let body = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let (code, answer) = self.answer(&head.method, &path, &body);
                record.lock().unwrap().push((head.method, path, body));
                let bytes = serde_json::to_vec(&answer).unwrap();
                send.send_response(Response::builder().status(code).body(Body::from(bytes)).unwrap());
            }
        });
        (Client::new(service, "default"), calls)
    }

    fn answer(&self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        if self.forbidden.iter().any(|forbidden| path.starts_with(forbidden)) {
            return (403, status(403, "Forbidden", &format!("user \"{}\" cannot", self.asker)));
        }
        let not_found = || (404, status(404, "NotFound", "not found"));
        if let Some(name) = path.strip_prefix("/apis/apiregistration.k8s.io/v1/apiservices/") {
            return self.api_service(name).map_or_else(not_found, |object| (200, object));
        }
        if let Some(query) = path.strip_prefix("/apis/autoscaling/v2/horizontalpodautoscalers?") {
            return (200, self.autoscaler_page(query));
        }
        match (method.as_str(), path.trim_end_matches('?')) {
            ("GET", "/api/v1/namespaces/wasm-metrics-adapter/serviceaccounts/wasm-metrics-adapter")
                if self.installed =>
            {
                (200, json!({ "metadata": { "name": "wasm-metrics-adapter", "namespace": "wasm-metrics-adapter" } }))
            }
            ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews") => {
                (201, json!({ "metadata": {}, "status": { "userInfo": { "username": self.asker } } }))
            }
            (
                "POST",
                "/apis/authorization.k8s.io/v1/subjectaccessreviews"
                | "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            ) => {
                let attributes = &body["spec"]["resourceAttributes"];
                let denied = self
                    .denied
                    .iter()
                    .any(|(verb, resource)| attributes["verb"] == *verb && attributes["resource"] == *resource);
                (201, json!({ "metadata": {}, "spec": {}, "status": { "allowed": !denied } }))
            }
            _ => not_found(),
        }
    }

    fn api_service(&self, name: &str) -> Option<Value> {
        let (service, status, reason) = self.api_services.get(name)?;
        Some(json!({
            "metadata": { "name": name },
            "spec": { "groupPriorityMinimum": 100, "versionPriority": 100, "service": service },
            "status": { "conditions": [
                { "type": "Available", "status": status, "reason": reason, "message": "no\nanswer" }
            ] },
        }))
    }

    fn autoscaler_page(&self, query: &str) -> Value {
        let token = query.split('&').find_map(|pair| pair.strip_prefix("continue="));
        let page: usize = token.map_or(0, |token| token.parse().unwrap());
        let items: Vec<_> = self.autoscalers.get(page).into_iter().flatten().map(autoscaler).collect();
        let next = if page + 1 < self.autoscalers.len() { (page + 1).to_string() } else { String::new() };
        json!({ "metadata": { "continue": next }, "items": items })
    }
}

fn autoscaler((namespace, name, types): &(&str, &str, Vec<&str>)) -> Value {
    let metrics: Vec<_> = types.iter().map(|kind| json!({ "type": kind })).collect();
    json!({
        "metadata": { "namespace": namespace, "name": name },
        "spec": { "maxReplicas": 2, "scaleTargetRef": { "kind": "Deployment", "name": name }, "metrics": metrics },
    })
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message })
}

fn service(namespace: &str, name: &str) -> Value {
    json!({ "namespace": namespace, "name": name, "port": 443 })
}

fn here() -> Installation {
    let name = || "wasm-metrics-adapter".to_owned();
    Installation { namespace: name(), service: name(), service_account: name(), plugin_namespaces: Vec::new() }
}

fn text_of(report: &Report) -> String {
    let mut bytes = Vec::new();
    text::print(report, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Every API is this adapter's and answers, and every right is there.
fn installed() -> Cluster {
    let ours = || (service("wasm-metrics-adapter", "wasm-metrics-adapter"), "True", "Passed");
    Cluster {
        asker: "admin",
        api_services: BTreeMap::from([
            ("v1beta1.custom.metrics.k8s.io", ours()),
            ("v1beta2.custom.metrics.k8s.io", ours()),
            ("v1beta1.external.metrics.k8s.io", ours()),
            ("v1beta1.metrics.k8s.io", (service("kube-system", "metrics-server"), "True", "Passed")),
        ]),
        autoscalers: vec![vec![("shop", "web", vec!["Pods", "Resource"])]],
        installed: true,
        ..Cluster::default()
    }
}

/// Other adapters serve what this one would.
fn foreign() -> Cluster {
    Cluster {
        api_services: BTreeMap::from([
            ("v1beta1.custom.metrics.k8s.io", (service("monitoring", "prometheus-adapter"), "True", "Passed")),
            ("v1beta1.external.metrics.k8s.io", (service("keda", "keda-metrics"), "False", "FailedDiscoveryCheck")),
            ("v1beta1.metrics.k8s.io", (service("kube-system", "metrics-server"), "True", "Passed")),
        ]),
        autoscalers: vec![
            vec![("shop", "web", vec!["Pods", "Object", "Resource"]), ("shop", "cart", vec!["Pods"])],
            vec![("mail", "worker", vec!["ContainerResource", "SomethingNew"])],
        ],
        installed: false,
        ..installed()
    }
}

#[tokio::test]
async fn before_an_install_it_tells_what_would_be_taken_from_whom() {
    let (client, calls) = foreign().serve();
    let report = inspect(&client, here()).await.unwrap();
    assert_eq!(report.outcome(), Outcome::Findings);
    let expected = "  \
  API                              SERVED BY                      STATE                                 HORIZONTALPODAUTOSCALERS
  v1beta1.custom.metrics.k8s.io    monitoring/prometheus-adapter  available                             2 (metrics: 1 Object, 2 Pods)
  v1beta2.custom.metrics.k8s.io    nobody                         -                                     (as above)
  v1beta1.external.metrics.k8s.io  keda/keda-metrics              not available (FailedDiscoveryCheck)  none
  v1beta1.metrics.k8s.io           kube-system/metrics-server     available                             2 (metrics: 1 ContainerResource, 1 Resource), and kubectl top

RIGHTS OF system:serviceaccount:wasm-metrics-adapter:wasm-metrics-adapter
  not installed yet: ask again after `kubectl apply -k deploy/base`

FINDINGS
  1. custom.metrics.k8s.io is served by monitoring/prometheus-adapter, and HorizontalPodAutoscalers depend on it (shop/cart, shop/web): applying deploy/components/custom takes it away
     first load plugins that answer their metrics, and keep the APIService as shown below; or leave deploy/components/custom out of your overlay

BEFORE AN INSTALL: KEEP WHAT IS THERE
  kubectl get apiservice v1beta1.custom.metrics.k8s.io -o yaml > v1beta1.custom.metrics.k8s.io.yaml
  kubectl get apiservice v1beta1.external.metrics.k8s.io -o yaml > v1beta1.external.metrics.k8s.io.yaml
  kubectl get apiservice v1beta1.metrics.k8s.io -o yaml > v1beta1.metrics.k8s.io.yaml

TO ROLL BACK
  kubectl replace --force -f v1beta1.custom.metrics.k8s.io.yaml
  kubectl delete apiservice v1beta2.custom.metrics.k8s.io --ignore-not-found
  kubectl replace --force -f v1beta1.external.metrics.k8s.io.yaml

TO UNINSTALL: ROLL BACK FIRST (OR NAMESPACES CAN'T BE DELETED), THEN
  kubectl delete -k deploy/base
";
    assert_eq!(text_of(&report), expected);
    let asked: Vec<_> = calls.lock().unwrap().iter().map(|(_, path, _)| path.clone()).collect();
    let pages = asked.iter().filter(|path| path.contains("horizontalpodautoscalers")).count();
    assert_eq!(pages, 2, "{asked:?}");
    assert!(
        !asked.iter().any(|path| path.contains("accessreviews")),
        "an account that is not there has no rights: {asked:?}"
    );
}

#[tokio::test]
async fn after_a_good_install_there_is_nothing_to_say() {
    let (client, calls) = installed().serve();
    let report = inspect(&client, here()).await.unwrap();
    assert_eq!((report.outcome().exit_code(), &report.findings), (0, &Vec::new()));
    let permissions = report.permissions.as_ref().unwrap();
    assert_eq!(permissions.missing, Vec::new());
    let calls = calls.lock().unwrap();
    let reviews: Vec<_> = calls.iter().filter(|(_, path, _)| path.contains("/subjectaccessreviews")).collect();
    assert_eq!(reviews.len(), permissions.asked);
    for (_, _, body) in &reviews {
        assert_eq!(body["spec"]["user"], "system:serviceaccount:wasm-metrics-adapter:wasm-metrics-adapter");
        let groups =
            json!(["system:serviceaccounts", "system:serviceaccounts:wasm-metrics-adapter", "system:authenticated"]);
        assert_eq!(body["spec"]["groups"], groups);
    }
    let trust = json!({
        "verb": "watch", "group": "", "resource": "configmaps",
        "name": "extension-apiserver-authentication", "namespace": "kube-system",
    });
    assert!(reviews.iter().any(|(_, _, body)| body["spec"]["resourceAttributes"] == trust));
    let save = ["kubectl get apiservice v1beta1.metrics.k8s.io -o yaml > v1beta1.metrics.k8s.io.yaml"];
    assert_eq!(report.roll_back.save, save, "of metrics-server's, for who wants to take it");
    assert!(report.roll_back.restore.iter().all(|command| command.starts_with("kubectl delete apiservice v1beta")));
    assert_eq!(report.roll_back.restore.len(), 3, "metrics.k8s.io was not taken");
}

#[tokio::test]
async fn metrics_k8s_io_is_given_back_by_whoever_took_it() {
    let mut cluster = installed();
    let ours = service("wasm-metrics-adapter", "wasm-metrics-adapter");
    cluster.api_services.insert("v1beta1.metrics.k8s.io", (ours, "True", "Passed"));
    let (client, _) = cluster.serve();
    let report = inspect(&client, here()).await.unwrap();
    assert_eq!(report.findings, Vec::new());
    let last = report.roll_back.restore.last().unwrap();
    assert_eq!(last, "kubectl delete apiservice v1beta1.metrics.k8s.io --ignore-not-found");
}

#[tokio::test]
async fn a_missing_right_is_named_with_the_manifest_that_grants_it() {
    let (client, _) =
        Cluster { denied: vec![("list", "pods"), ("watch", "pods"), ("patch", "apiservices")], ..installed() }.serve();
    let report = inspect(&client, here()).await.unwrap();
    assert_eq!(report.outcome().exit_code(), 1);
    let problems: Vec<_> = report.findings.iter().map(|finding| finding.problem.as_str()).collect();
    let user = "system:serviceaccount:wasm-metrics-adapter:wasm-metrics-adapter";
    assert_eq!(
        problems.first(),
        Some(&format!("{user} may not list, watch pods: selectors of this kind of object cannot be resolved").as_str())
    );
    assert_eq!(
        problems.len(),
        5,
        "two verbs of pods are one finding, and each of four APIServices is one: {problems:?}"
    );
    assert!(report.findings.iter().all(|finding| finding.remedy.contains("deploy/base/rbac-adapter.yaml")));
    let permissions = report.permissions.as_ref().unwrap();
    let granted =
        format!("  {} of {} granted; the others are among the findings", permissions.asked - 6, permissions.asked);
    assert!(text_of(&report).contains(&granted));
}

#[tokio::test]
async fn the_adapter_itself_asks_for_itself() {
    let asker = "system:serviceaccount:wasm-metrics-adapter:wasm-metrics-adapter";
    let denied = vec![("create", "subjectaccessreviews")];
    let forbidden =
        vec!["/api/v1/namespaces/wasm-metrics-adapter/serviceaccounts", "/apis/authorization.k8s.io/v1/subject"];
    let (client, calls) = Cluster { asker, denied, forbidden, ..installed() }.serve();
    let report = inspect(&client, here()).await.unwrap();
    let missing: Vec<_> = report.permissions.unwrap().missing.into_iter().map(|missing| missing.object).collect();
    assert_eq!(
        (missing, report.unanswered),
        (vec!["subjectaccessreviews.authorization.k8s.io".to_owned()], Vec::new())
    );
    let calls = calls.lock().unwrap();
    assert!(!calls.iter().any(|(_, path, _)| path.contains("/subjectaccessreviews")));
}

#[tokio::test]
async fn questions_that_are_refused_leave_the_others_answered() {
    let forbidden = vec!["/apis/autoscaling/v2", "/apis/authorization.k8s.io/", "/apis/authentication.k8s.io/"];
    let (client, _) = Cluster { forbidden, ..installed() }.serve();
    let report = inspect(&client, here()).await.unwrap();
    assert_eq!(report.outcome().exit_code(), 2);
    assert_eq!(
        report.unanswered,
        [
            "which HorizontalPodAutoscalers depend on each API: user \"admin\" cannot",
            "what system:serviceaccount:wasm-metrics-adapter:wasm-metrics-adapter may do: user \"admin\" cannot",
        ]
    );
    assert_eq!(report.api_services.len(), 4);
    let text = text_of(&report);
    assert!(text.contains("available  unknown"), "{text}");
}

#[tokio::test]
async fn an_api_of_ours_that_does_not_answer_is_a_finding() {
    let mut cluster = installed();
    let ours = service("wasm-metrics-adapter", "wasm-metrics-adapter");
    cluster.api_services.insert("v1beta1.external.metrics.k8s.io", (ours, "False", "FailedDiscoveryCheck"));
    let report = inspect(&cluster.serve().0, here()).await.unwrap();
    assert_eq!(
        report.findings.first().unwrap().problem,
        "v1beta1.external.metrics.k8s.io is this adapter's and is not available: FailedDiscoveryCheck: no\nanswer"
    );
    assert!(
        text_of(&report).contains("FailedDiscoveryCheck: no answer\n"),
        "other programs' line breaks are not printed"
    );
}

#[tokio::test]
async fn a_group_with_two_owners_is_a_finding() {
    let mut cluster = installed();
    let other = (service("monitoring", "prometheus-adapter"), "True", "Passed");
    cluster.api_services.insert("v1beta1.custom.metrics.k8s.io", other);
    let report = inspect(&cluster.serve().0, here()).await.unwrap();
    let problems: Vec<_> = report.findings.iter().map(|finding| finding.problem.clone()).collect();
    assert!(
        problems.iter().any(|problem| problem
            == "custom.metrics.k8s.io is split: v1beta1.custom.metrics.k8s.io still belongs to another adapter"),
        "{problems:?}"
    );
}

#[tokio::test]
async fn programs_read_json() {
    let report = inspect(&foreign().serve().0, here()).await.unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["apiServices"][0],
        json!({
            "name": "v1beta1.custom.metrics.k8s.io",
            "group": "custom.metrics.k8s.io",
            "owner": { "kind": "other", "namespace": "monitoring", "name": "prometheus-adapter" },
            "state": { "available": true, "reason": "" },
        })
    );
    assert_eq!(json["dependents"][0]["autoscalers"], json!(["shop/cart", "shop/web"]));
    assert_eq!(json["installed"], false);
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_an_error() {
    let (service, handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    drop(handle);
    let error = inspect(&Client::new(service, "default"), here()).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot ask the API server: "), "{error}");
}

#[tokio::test]
async fn a_kubeconfig_that_is_not_there_is_an_error() {
    let args = PreflightArgs {
        kubeconfig: Some("does/not/exist".into()),
        namespace: "n".to_owned(),
        service: "s".to_owned(),
        service_account: "a".to_owned(),
        output: Format::Text,
        plugin_namespaces: Vec::new(),
    };
    let error = run(&args, &mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("--kubeconfig"), "{error}");
}
