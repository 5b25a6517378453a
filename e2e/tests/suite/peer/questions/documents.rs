//! Discovery, OpenAPI, health, and paths that are no API.

use http::Method;

use crate::peer::ask::{Question, Who};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// Paths whose answers are documents, and their neighbours that are nothing.
const PATHS: [&str; 46] = [
    "/",
    "/apis",
    "/apis/",
    "/apis?pretty=true",
    "/apis/custom.metrics.k8s.io",
    "/apis/custom.metrics.k8s.io/",
    "/apis/external.metrics.k8s.io",
    "/apis/custom.metrics.k8s.io/v1beta1",
    "/apis/custom.metrics.k8s.io/v1beta1/",
    "/apis/custom.metrics.k8s.io/v1beta2",
    "/apis/external.metrics.k8s.io/v1beta1",
    "/apis/external.metrics.k8s.io/v1beta1?pretty=true",
    "/apis/custom.metrics.k8s.io/v1",
    "/apis/custom.metrics.k8s.io/v1/namespaces/peer/pods/a/peer_packets",
    "/apis/external.metrics.k8s.io/v1beta2",
    "/apis/unknown.metrics.k8s.io",
    "/apis/unknown.metrics.k8s.io/v1",
    "/apis/Custom.metrics.k8s.io",
    "/api",
    "/api/v1",
    "/api/v1/namespaces/peer/pods",
    "/healthz",
    "/healthz/",
    "/healthz/ping",
    "/healthz/unknown",
    "/healthz?verbose",
    "/livez",
    "/livez/ping",
    "/livez?verbose",
    "/readyz",
    "/readyz/ping",
    "/readyz?verbose",
    "/readyz?exclude=ping",
    "/version",
    "/version/",
    "/metrics",
    "/metrics/slis",
    "/openapi",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/apis/external.metrics.k8s.io/v1beta1",
    "/openapi/v3/apis/unknown/v1",
    "/debug/pprof/",
    "/logs",
    "/unknown",
    "//apis",
];

pub(super) fn all() -> Vec<Question> {
    let mut questions: Vec<Question> = PATHS.iter().map(|path| Question::get(*path)).collect();
    for path in ["/apis", "/apis/custom.metrics.k8s.io", "/apis/custom.metrics.k8s.io/v1beta2"] {
        questions.push(Question::get(path).header("accept", AGGREGATED));
        questions.push(Question::get(path).header("accept", "application/vnd.kubernetes.protobuf"));
        questions.push(Question::get(path).header("accept", "application/yaml"));
        questions.push(Question::get(path).header("accept", "text/html"));
        questions.push(Question::get(path).header("if-none-match", "\"0\""));
    }
    for path in ["/apis", "/healthz", "/version", "/openapi/v2", "/unknown", "/"] {
        for method in [Method::POST, Method::HEAD, Method::OPTIONS] {
            questions.push(Question::get(path).method(method));
        }
    }
    for path in ["/healthz", "/livez", "/readyz", "/version", "/metrics", "/apis", "/unknown", "/"] {
        questions.push(Question::get(path).who(Who::Anonymous));
        questions.push(Question::get(path).who(Who::Powerless));
    }
    for accept in ["text/html", "application/yaml", "text/plain"] {
        for path in ["/healthz", "/version", "/unknown"] {
            questions.push(Question::get(path).header("accept", accept));
        }
    }
    questions
}
