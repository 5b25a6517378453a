//! Paths of metrics in every form, selectors good and bad, and the other parameters.

use super::{custom, custom_old, external};
use crate::peer::ask::Question;

/// Below a version of custom.metrics.k8s.io: what is there, what is not, and what is no path at all.
const CUSTOM_PATHS: [&str; 59] = [
    "/namespaces/peer/pods/a/peer_packets",
    "/namespaces/peer/pods/a/peer_packets/",
    "/namespaces/peer/pods/*/peer_packets",
    "/namespaces/peer/pods/%2A/peer_packets",
    "/namespaces/peer/pods/*/peer_binary",
    "/namespaces/peer/pods/*/peer_exponent",
    "/namespaces/peer/pods/*/peer_small",
    "/namespaces/peer/pods/*/peer_labelled",
    "/namespaces/peer/pods/a/Peer%7Codd%3AName%40x",
    "/namespaces/peer/pods/a/Peer|odd:Name@x",
    "/namespaces/peer/services/front/peer_rate",
    "/namespaces/peer/services/*/peer_rate",
    "/namespaces/peer/services/front/peer_labelled",
    "/namespaces/peer/deployments.apps/web/peer_rps",
    "/namespaces/peer/deployments.apps/*/peer_rps",
    "/namespaces/peer/deployments/web/peer_rps",
    "/namespaces/peer/deployment.apps/web/peer_rps",
    "/namespaces/peer/Pods/a/peer_packets",
    "/namespaces/peer/pods./a/peer_packets",
    "/nodes/peer-node/peer_load",
    "/nodes/*/peer_load",
    "/nodes/nobody/peer_load",
    "/nodes/peer-node/unknown",
    "/namespaces/peer/nodes/peer-node/peer_load",
    "/pods/a/peer_packets",
    "/namespaces/peer/metrics/peer_orders",
    "/namespaces/peer/metrics/unknown",
    "/namespaces/nowhere/metrics/peer_orders",
    "/namespaces/peer/metrics/peer_orders/more",
    "/namespaces/peer/namespaces/peer/peer_orders",
    "/namespaces/peer/pods/nobody/peer_packets",
    "/namespaces/peer/pods/a/unknown",
    "/namespaces/peer/pods/*/unknown",
    "/namespaces/nowhere/pods/*/peer_packets",
    "/namespaces/nowhere/pods/a/peer_packets",
    "/namespaces/peer/gizmos/a/peer_packets",
    "/namespaces/peer/gizmos.example.com/*/peer_packets",
    "/namespaces/peer/pods/a/PEER_PACKETS",
    "/namespaces/peer/pods/a/p%65er_packets",
    "/namespaces/peer/%70ods/a/peer_packets",
    "/%6Eamespaces/peer/pods/a/peer_packets",
    "/namespaces/peer/pods/a/peer%2Fpackets",
    "/namespaces/peer/pods/a/peer%25packets",
    "/namespaces/peer/pods/a/peer%20packets",
    "/namespaces/peer/pods/a/peer+packets",
    "/namespaces/peer/pods/a/%C3%A4",
    "/namespaces/peer/pods/a",
    "/namespaces/peer/pods",
    "/namespaces/peer",
    "/namespaces",
    "/namespaces/peer/pods/a/peer_packets/more",
    "/namespaces//pods/a/peer_packets",
    "/namespaces/peer/pods//peer_packets",
    "/namespaces/peer//pods/a/peer_packets",
    "/nodes",
    "/nodes/peer-node",
    "/nodes/peer-node/peer_load/more",
    "/blah",
    "/namespaces/Peer_/pods/a/peer_packets",
];

/// Below external.metrics.k8s.io/v1beta1.
const EXTERNAL_PATHS: [&str; 20] = [
    "/namespaces/peer/my-external-metric",
    "/namespaces/peer/my-external-metric/",
    "/namespaces/peer/other-external-metric",
    "/namespaces/nowhere/my-external-metric",
    "/namespaces/peer/MY-EXTERNAL-METRIC",
    "/namespaces/peer/unknown",
    "/namespaces/peer/my%2Dexternal-metric",
    "/namespaces/peer/my%2Fmetric",
    "/namespaces/peer/my%25metric",
    "/namespaces/peer/status",
    "/namespaces/peer/finalize",
    "/namespaces/peer/my-external-metric/more",
    "/namespaces/peer",
    "/namespaces/peer/",
    "/namespaces",
    "/my-external-metric",
    "/my-external-metric/more",
    "/namespaces//my-external-metric",
    "/nodes/peer-node/peer_load",
    "/namespaces/peer/*",
];

/// Selectors as they stand in a query: all forms, and mistakes in each.
const SELECTORS: [&str; 44] = [
    "",
    "foo=bar",
    "foo==bar",
    "foo%3Dbar",
    "foo%3D%3Dbar",
    "foo!%3Dbar",
    "foo%21%3Dbar",
    "foo",
    "!foo",
    "%21foo",
    "foo+in+(bar)",
    "foo+in+%28bar%2Cbaz%29",
    "foo%20in%20(baz)",
    "foo+notin+(bar)",
    "foo+notin+(x,y)",
    "foo%3Dbar,foo!%3Dbaz",
    "foo,!other",
    "app%3Dweb",
    "verb%3DGET",
    "foo+in+()",
    "foo%3D",
    "foo%3E1",
    "foo%3C1",
    "foo%3Ebar",
    "example.com/foo%3Dbar",
    "=",
    "%3Dbar",
    "foo%3Dbar%3Dbaz",
    "foo%3Dbar,",
    ",foo",
    "foo+bar",
    "foo+in",
    "foo+in+bar",
    "foo+in+(bar",
    "foo+notin+)",
    "!!foo",
    "!foo%3Dbar",
    "foo%3D!bar",
    "-foo%3Dbar",
    "foo%3D-bar",
    "a/b/c%3Dd",
    "foo%3Db%C3%A4r",
    "foo%3Dxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "foo%3Dbar%3Bbaz",
];

/// Parameters that every API server knows, and some that none does.
const PARAMETERS: [&str; 38] = [
    "watch=true",
    "watch=1",
    "watch=false",
    "watch",
    "watch=maybe",
    "limit=1",
    "limit=-1",
    "limit=many",
    "continue=abc",
    "resourceVersion=0",
    "resourceVersion=x",
    "resourceVersionMatch=Exact",
    "allowWatchBookmarks=true",
    "sendInitialEvents=true",
    "timeoutSeconds=5",
    "timeoutSeconds=x",
    "timeout=5s",
    "timeout=0s",
    "timeout=-1s",
    "timeout=5",
    "timeout=soon",
    "timeout=10h",
    "pretty=true",
    "pretty=1",
    "pretty=false",
    "pretty",
    "pretty=maybe",
    "unknown=1",
    "=",
    "&&",
    "%zz",
    "labelSelector=foo%3Dbar&labelSelector=foo%3Dbaz",
    "labelselector=foo%3Dbar",
    "fieldSelector=metadata.name%3Da",
    "fieldSelector=metadata.name%3Db",
    "fieldSelector=metadata.name!%3Da",
    "fieldSelector=spec.nodeName%3Da",
    "fieldSelector=%3D",
];

pub(super) fn all() -> Vec<Question> {
    let mut questions = Vec::new();
    for path in CUSTOM_PATHS {
        questions.push(custom(path));
        questions.push(custom_old(path));
    }
    questions.extend(EXTERNAL_PATHS.map(external));
    for selector in SELECTORS {
        questions.push(custom(&format!("/namespaces/peer/pods/*/peer_packets?labelSelector={selector}")));
        questions
            .push(custom(&format!("/namespaces/peer/services/front/peer_labelled?metricLabelSelector={selector}")));
        questions.push(external(&format!("/namespaces/peer/my-external-metric?labelSelector={selector}")));
    }
    // The value that is asked for by a selector says so, and in either version in another place.
    for series in ["verb%3DGET", "verb+in+(GET,POST)", "verb", "!none", "verb!%3DPOST,verb", "verb%3DPUT"] {
        for path in ["/namespaces/peer/pods/a/peer_labelled", "/namespaces/peer/pods/*/peer_labelled"] {
            questions.push(custom(&format!("{path}?metricLabelSelector={series}")));
            questions.push(custom_old(&format!("{path}?metricLabelSelector={series}")));
        }
    }
    for parameters in PARAMETERS {
        questions.push(custom(&format!("/namespaces/peer/pods/a/peer_packets?{parameters}")));
        questions.push(external(&format!("/namespaces/peer/my-external-metric?{parameters}")));
    }
    questions
}
