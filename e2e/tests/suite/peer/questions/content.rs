//! The forms of an answer: what `Accept` chooses, what a person gets, what is compressed; and methods other than GET.

use e2e::connection::Protocol;
use http::Method;

use super::{custom, samples};
use crate::peer::ask::{Question, Who};

/// Values of `Accept`, of known clients and of none.
const ACCEPTS: [&str; 42] = [
    "",
    "*/*",
    "*",
    "application/json",
    "application/json, */*",
    "application/json;charset=utf-8",
    "application/yaml",
    "application/yaml, application/json",
    "text/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf, */*",
    "application/vnd.kubernetes.protobuf,application/json",
    "application/json;q=0.5,application/yaml;q=0.9",
    "application/json;q=0.5,application/vnd.kubernetes.protobuf;q=0.9",
    "application/yaml;q=0.1, application/vnd.kubernetes.protobuf;q=0.2, */*;q=0.05",
    "application/json;q=0",
    "application/json;q=0, application/yaml",
    "application/json;q=2",
    "application/json;q=x, application/yaml;q=0.1",
    "application/*",
    "application/*;q=0.1",
    "text/*",
    "*/json",
    "APPLICATION/JSON",
    "application/json;pretty=1",
    "application/json;pretty=0",
    "application/yaml;pretty=1",
    "text/html",
    "text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8",
    "application/cbor",
    "application/cbor, application/json;q=0.1",
    "image/png, text/plain",
    "json",
    ";;;",
    ",",
    "application/json;stream=watch",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io, application/json",
    "application/json;as=Gizmo;v=v1;g=example.com, application/json;q=0.5",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
];

/// All but GET, and one that no server knows.
const METHODS: [&str; 8] = ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "FETCH"];

pub(super) fn all() -> Vec<Question> {
    let mut questions = Vec::new();
    for accept in ACCEPTS {
        questions.extend(samples().into_iter().map(|sample| sample.header("accept", accept)));
    }
    for name in METHODS {
        let method = Method::from_bytes(name.as_bytes()).unwrap_or_default();
        questions.extend(samples().into_iter().map(|sample| sample.method(method.clone())));
    }
    let refused = samples().into_iter().take(1).map(|sample| sample.method(Method::POST));
    questions.extend(refused.map(|sample| sample.header("accept", "application/vnd.kubernetes.protobuf, */*")));
    for agent in ["curl/8.5.0", "Wget/1.21", "Mozilla/5.0 (X11; Linux)", "kubectl/v1.36.2", "Go-http-client/2.0"] {
        questions.extend(samples().into_iter().map(|sample| sample.header("user-agent", agent)));
    }
    questions.push(two_accepts());
    questions.extend(compressed());
    // The same over HTTP/1.1, the protocol of probes and of whoever does without ALPN.
    questions.extend(samples().into_iter().map(|sample| sample.protocol(Protocol::Http1)));
    questions.extend(samples().into_iter().map(|sample| sample.method(Method::HEAD).protocol(Protocol::Http1)));
    questions.extend(samples().into_iter().map(|sample| sample.who(Who::Anonymous).protocol(Protocol::Http1)));
    questions
}

fn two_accepts() -> Question {
    let path = "/namespaces/peer/services/front/peer_rate";
    custom(path).header("accept", "application/cbor").header("accept", "application/yaml")
}

/// Small answers, and one of more than 128 KiB, for clients that take compressed ones.
fn compressed() -> Vec<Question> {
    let large = "/namespaces/peer/replicasets.apps/*/peer_many";
    let mut questions = Vec::new();
    for encoding in ["gzip", "gzip, deflate, br", "br", "deflate", "gzip;q=0", "identity", "*"] {
        questions.push(custom(large).header("accept-encoding", encoding));
        questions.push(custom("/namespaces/peer/pods/a/peer_packets").header("accept-encoding", encoding));
    }
    for accept in ["application/yaml", "application/vnd.kubernetes.protobuf"] {
        questions.push(custom(large).header("accept-encoding", "gzip").header("accept", accept));
    }
    questions.push(custom(large));
    questions
}
