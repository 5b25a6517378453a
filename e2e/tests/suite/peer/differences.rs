//! Every difference between the Go test adapter's answers and ours that is allowed, with the reason. One that no longer occurs
//! fails the case, as one does that is not listed.

use super::compare::{Comparison, Mismatch};

/// An allowed difference.
#[derive(Debug)]
pub(super) struct Difference {
    /// The questions, as they print themselves; `*` stands for any text.
    pub(super) asked: &'static [&'static str],
    /// What may differ: `status`, a header's name, `body`, `bytes` (of the same JSON value), `answer`.
    pub(super) what: &'static [&'static str],
    /// What the whole of their answer holds (status line, headers, body).
    pub(super) theirs: &'static [&'static str],
    /// What the whole of ours holds.
    pub(super) ours: &'static [&'static str],
    /// Why ours is better, or why it does not matter.
    pub(super) why: &'static str,
}

/// Content, paths, values, failures, parameters, documents, access.
pub(super) const ALLOWED: &[Difference] = &[
    // Content
    Difference {
        asked: &["GET /version [accept: text/*"],
        what: &["status", "body"],
        theirs: &["406 Not Acceptable"],
        ours: &["gitVersion"],
        why: "a person who looks from a browser gets to read it",
    },
    Difference {
        asked: &["*[accept: *"],
        what: &["status", "body", "content-type", "etag", "vary"],
        theirs: &["406 Not Acceptable", "Available representations"],
        ours: &["200 OK"],
        why: "`*`, `application/*`, a second `Accept` line and capital letters are acceptable by RFC 9110, 12.5.1; the Go \
              library's router compares texts",
    },
    Difference {
        asked: &["GET *[accept: *"],
        what: &["status", "body"],
        theirs: &["406 Not Acceptable", "Available representations"],
        ours: &["404 Not Found", "could not find the metric"],
        why: "the same ranges, for a metric that is not there",
    },
    Difference {
        asked: &["*[accept: *"],
        what: &["body"],
        theirs: &["406 Not Acceptable", "Available representations"],
        ours: &["406 Not Acceptable", "only the following media types are accepted: application/json"],
        why: "one text for all that is not acceptable, that of k8s.io/apiserver; theirs is their router's",
    },
    Difference {
        asked: &["GET *[accept: application/json;as=Table;*"],
        what: &["status", "body"],
        theirs: &[],
        ours: &["200 OK", "\"kind\":\"Table\""],
        why: "kubectl get asks for tables; the Go library has none of these groups",
    },
    Difference {
        asked: &["GET *[accept: application/json;as=PartialObjectMetadataList;*"],
        what: &["status", "body"],
        theirs: &[],
        ours: &["200 OK", "\"kind\":\"PartialObjectMetadataList\""],
        why: "metadata alone is a form of any list; theirs has it for none of these groups, and fails with 500 over external",
    },
    Difference {
        asked: &["GET */pods/nobody/peer_packets [accept: application/json;*as=*"],
        what: &["status", "body"],
        theirs: &["404 Not Found"],
        ours: &["406 Not Acceptable"],
        why: "what form the answer has is settled before a backend is asked",
    },
    // Paths
    Difference {
        asked: &[
            "GET */namespaces/peer/deployments/web/peer_rps",
            "GET */namespaces/peer/deployment.apps/web/peer_rps",
            "GET */namespaces/peer/Pods/a/peer_packets",
            "GET */namespaces/peer/pods./a/peer_packets",
        ],
        what: &["status", "body"],
        theirs: &["200 OK"],
        ours: &["404 Not Found"],
        why: "a resource has one name: what was authorized as `deployments` is not served as `deployments.apps`",
    },
    Difference {
        asked: &["GET */namespaces//*", "GET */namespaces/peer/pods//*", "GET */namespaces/peer//pods/*"],
        what: &["status", "body"],
        theirs: &[],
        ours: &["404 Not Found", "could not find the requested resource"],
        why: "an empty segment names nothing; the Go library takes the next one for it, after another was authorized",
    },
    Difference {
        asked: &["GET *%2F*", "GET *%25*"],
        what: &["status", "body"],
        theirs: &[],
        ours: &["404 Not Found", "is refused: decoded"],
        why: "kube-apiserver authorizes the decoded path, on which such a segment is another resource",
    },
    Difference {
        asked: &["GET */namespaces/Peer_/*"],
        what: &["status", "body"],
        theirs: &["404 Not Found"],
        ours: &["400 Bad Request", "is no namespace's name"],
        why: "no such namespace can be, and a person who mistyped it is told",
    },
    Difference {
        asked: &["GET */external.metrics.k8s.io/v1beta1/namespaces/peer/status", "GET */namespaces/peer/finalize"],
        what: &["status", "body"],
        theirs: &["200 OK"],
        ours: &["404 Not Found", "rename the metric"],
        why: "kube-apiserver authorizes these as subresources of the namespace; design.md refuses them as names",
    },
    Difference {
        asked: &["GET */namespaces/nowhere/pods/a/peer_packets"],
        what: &["status", "body"],
        theirs: &["404 Not Found"],
        ours: &["200 OK"],
        why: "a line of the static plugin holds for every namespace, a value of the sample for one",
    },
    Difference {
        asked: &["GET */namespaces/peer/metrics/peer_orders*"],
        what: &["status", "body"],
        theirs: &["404 Not Found"],
        ours: &["200 OK"],
        why: "the sample stores values of Namespace objects as namespaced and looks them up as not: it never finds one",
    },
    // Values
    Difference {
        asked: &["GET */pods/*/peer_binary", "GET */pods/*/peer_exponent"],
        what: &["body"],
        theirs: &["200 OK"],
        ours: &["200 OK"],
        why: "a plugin gives numbers, and ours prints them in DecimalSI; the sample keeps the suffix of what was written",
    },
    Difference {
        asked: &["GET */external.metrics.k8s.io/v1beta1/namespaces/peer/MY-EXTERNAL-METRIC"],
        what: &["body"],
        theirs: &["\"items\":[]"],
        ours: &["\"value\":\"42\""],
        why: "client-go writes the names of external metrics in lower case, so an HPA never finds one with capitals there",
    },
    // Failures
    Difference {
        asked: &["*"],
        what: &["allow"],
        theirs: &["405 Method Not Allowed"],
        ours: &["405 Method Not Allowed", "allow: GET"],
        why: "RFC 9110, 15.5.6: a 405 says what is allowed",
    },
    Difference {
        asked: &["GET */pods/*/unknown", "GET */external.metrics.k8s.io/v1beta1/namespaces/peer/*"],
        what: &["status", "body"],
        theirs: &["200 OK", "\"items\":[]"],
        ours: &["404 Not Found", "could not find the metric"],
        why: "an HPA cannot scale on an empty list either, and 404 tells its owner which metric is missing",
    },
    Difference {
        asked: &["*"],
        what: &["body"],
        theirs: &["404 Not Found", "could not find the metric"],
        ours: &["404 Not Found", "could not find the metric"],
        why: "the same failure: ours says which plugin lacks the value, and names a metric that nobody serves without an object",
    },
    Difference {
        asked: &["GET */gizmos*"],
        what: &["status", "body"],
        theirs: &["500 Internal Server Error", "no matches for"],
        ours: &["404 Not Found"],
        why: "a kind that is not there is a metric that is not there, and no failure of the server",
    },
    Difference {
        asked: &["GET *metricLabelSelector=*"],
        what: &["status", "body"],
        theirs: &["500 Internal Server Error"],
        ours: &["400 Bad Request", "\"reason\":\"BadRequest\""],
        why: "a selector that does not parse is the client's mistake, as a labelSelector is; the text is theirs",
    },
    Difference {
        asked: &["GET *metricLabelSelector=*"],
        what: &["status", "body"],
        theirs: &["500 Internal Server Error", "is not a valid label selector operator"],
        ours: &["200 OK", "\"operator\":\"NotIn\""],
        why: "`!=` can be said in the answer's selector: as NotIn",
    },
    Difference {
        asked: &["GET *metricLabelSelector=foo%3E1", "GET *metricLabelSelector=foo%3C1"],
        what: &["status", "body"],
        theirs: &["404 Not Found"],
        ours: &["400 Bad Request", "isn't supported in label selectors"],
        why: "the answer's selector cannot say it: with a value to answer, theirs is 500",
    },
    // Parameters
    Difference {
        asked: &["GET *?resourceVersionMatch=*", "GET *?sendInitialEvents=*"],
        what: &["status", "body"],
        theirs: &["422 Unprocessable Entity"],
        ours: &["200 OK"],
        why: "they choose among stored versions; a metric has none, and nothing else of them is looked at either",
    },
    Difference {
        asked: &["GET *?timeout=5", "GET *?timeout=soon"],
        what: &["status", "body"],
        theirs: &["400 Bad Request"],
        ours: &["200 OK"],
        why: "no call takes longer than 5 s (limits.timeout), so that the parameter is not read",
    },
    Difference {
        asked: &["GET */pods/a/peer_packets?fieldSelector=*"],
        what: &["status", "body"],
        theirs: &[],
        ours: &["400 Bad Request", "fieldSelector metadata.name doesn't match requested name"],
        why: "one text for a selector that is not of this object's name; theirs takes one without a field for none",
    },
    Difference {
        asked: &["GET */my-external-metric?fieldSelector=spec.nodeName*"],
        what: &["status", "body"],
        theirs: &["400 Bad Request", "is not a known field selector"],
        ours: &["200 OK"],
        why: "external metrics have no fields: theirs passes metadata.name over as well",
    },
    // Documents
    Difference {
        asked: &["* /apis*"],
        what: &["vary"],
        theirs: &[],
        ours: &["vary: Accept"],
        why: "these documents come in several forms, and a cache must not mix them up",
    },
    Difference {
        asked: &["GET /apis*"],
        what: &["etag"],
        theirs: &[],
        ours: &["etag: \""],
        why: "a client that polls the documents gets 304",
    },
    Difference {
        asked: &["GET /apis/custom.metrics.k8s.io/v1beta*", "GET /apis/external.metrics.k8s.io/v1beta1*"],
        what: &["body"],
        theirs: &["APIResourceList", "metrics"],
        ours: &["APIResourceList", "my-external-metric"],
        why: "ours lists the metrics that there are; the sample always lists the placeholder `externalmetrics`",
    },
    Difference {
        asked: &["GET /apis/custom.metrics.k8s.io/v1beta*"],
        what: &["body"],
        theirs: &["APIResourceList", "/custommetrics"],
        ours: &["APIResourceList", "pods/peer_packets"],
        why: "ours lists the metrics that there are; the sample always lists the placeholder `custommetrics`",
    },
    Difference {
        asked: &["GET /apis", "GET /apis*", "GET /apis/custom.metrics.k8s.io*"],
        what: &["body"],
        theirs: &["v1beta1"],
        ours: &["v1beta2", "v1beta1"],
        why: "the Go library leaves v1beta2 out of its group, and the kind's apiVersion out of the list",
    },
    Difference {
        asked: &["GET /apis [accept: application/json;g=apidiscovery.k8s.io;*"],
        what: &["body"],
        theirs: &["APIGroupDiscoveryList", "\"items\":[]"],
        ours: &["APIGroupDiscoveryList", "\"resource\":\"my-external-metric\""],
        why: "the Go library leaves its groups out, so that `kubectl api-resources` shows none of their resources",
    },
    Difference {
        asked: &["GET /openapi/*"],
        what: &["body", "etag", "vary", "accept-ranges"],
        theirs: &["200 OK"],
        ours: &["200 OK", "etag: \""],
        why: "ours describes what it serves, in its words; no part of a document is asked for alone",
    },
    Difference {
        asked: &["HEAD /openapi/v2"],
        what: &["etag", "vary", "accept-ranges"],
        theirs: &["200 OK"],
        ours: &["200 OK", "etag: \""],
        why: "the same",
    },
    Difference {
        asked: &["POST /openapi/v2", "OPTIONS /openapi/v2"],
        what: &["status", "body", "allow", "etag", "vary", "accept-ranges"],
        theirs: &["200 OK"],
        ours: &["405 Method Not Allowed"],
        why: "their file server does not look at the method",
    },
    Difference {
        asked: &["GET /openapi/v3/apis/unknown/v1"],
        what: &["status", "body", "content-type"],
        theirs: &["200 OK"],
        ours: &["404 Not Found"],
        why: "theirs answers 200 and nothing for a group version that it does not have",
    },
    Difference {
        asked: &["GET /version*"],
        what: &["status", "body"],
        theirs: &["200 OK", "gitVersion"],
        ours: &[],
        why: "another program; and the path has no slash at its end",
    },
    Difference {
        asked: &[
            "HEAD /version",
            "POST /version",
            "OPTIONS /version",
            "POST /healthz",
            "OPTIONS /healthz",
            "POST /",
            "OPTIONS /",
        ],
        what: &["status", "body", "content-type", "x-content-type-options"],
        theirs: &[],
        ours: &[],
        why: "nobody sends these: theirs answers what its routers happen to; ours reads by GET and HEAD and knows nothing else",
    },
    Difference {
        asked: &["GET /healthz*", "GET /livez*", "GET /readyz*"],
        what: &["body", "x-content-type-options"],
        theirs: &["ok"],
        ours: &["ok"],
        why: "each lists the checks that it has; and what is text is said to be text for single checks as well",
    },
    Difference {
        asked: &["GET /metrics*", "GET /debug/pprof/", "GET /logs"],
        what: &["status", "body", "content-type", "x-content-type-options", "process-start-time-unix"],
        theirs: &[],
        ours: &[],
        why: "metrics have names of their own; there is no Go profile of a Rust program, and no log to fetch",
    },
    Difference {
        asked: &["*"],
        what: &["body"],
        theirs: &["\"paths\": ["],
        ours: &["\"paths\": ["],
        why: "each lists the paths that it has",
    },
    // Access
    Difference {
        asked: &["GET /apis/custom.metrics.k8s.io/v1beta2/namespaces/peer/pods as Anonymous"],
        what: &["body"],
        theirs: &["403 Forbidden", "cannot list resource"],
        ours: &["403 Forbidden", "cannot get path"],
        why: "what is no path of a metric is authorized as a path",
    },
    Difference {
        asked: &["* /apis/custom.metrics.k8s.io/v1beta2/namespaces/peer/pods as *"],
        what: &["status", "body", "x-content-type-options"],
        theirs: &["403 Forbidden"],
        ours: &["400 Bad Request", "invalid request path"],
        why: "there is nothing to be authorized for: the path is none, whoever asks",
    },
];

impl Difference {
    /// Whether this difference covers the mismatch.
    pub(super) fn allows(&self, question: &str, mismatch: &Mismatch, comparison: &Comparison) -> bool {
        self.what.contains(&mismatch.what.as_str())
            && self.asked.iter().any(|pattern| fits(pattern, question))
            && self.theirs.iter().all(|part| comparison.theirs.contains(part))
            && self.ours.iter().all(|part| comparison.ours.contains(part))
    }
}

/// Whether the text is the pattern, with anything in place of each `*`.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match text.split_once(part) {
            Some((_, behind)) => text = behind,
            None => return false,
        }
    }
    text.ends_with(end)
}
