//! Who may ask: certificates, tokens, and what a front proxy says.

use http::Method;

use super::{custom, external};
use crate::peer::ask::{Question, Who};

/// What clients say of themselves beside what they show. Believed of the front proxy alone.
const CLAIMS: [&[(&str, &str)]; 14] = [
    &[],
    &[("x-remote-user", "admin"), ("x-remote-group", "system:masters")],
    &[("x-remote-user", "admin"), ("x-remote-group", "team-a"), ("x-remote-group", "system:masters")],
    &[("x-remote-user", "nobody")],
    &[("x-remote-user", "")],
    &[("x-remote-group", "system:masters")],
    &[("x-remote-user", ""), ("x-remote-user", "admin"), ("x-remote-group", "system:masters")],
    &[("x-remote-user", "system:serviceaccount:peer:reader"), ("x-remote-group", "system:serviceaccounts")],
    &[("x-remote-user", "nobody"), ("x-remote-extra-scopes", "a"), ("x-remote-extra-example.com%2fid", "b")],
    &[("x-remote-user", "nobody"), ("x-remote-uid", "1"), ("x-remote-group", "")],
    &[("x-remote-user", "system:kube-aggregator")],
    &[("authorization", "Bearer nonsense")],
    &[("authorization", "Basic YWRtaW46YWRtaW4=")],
    &[("authorization", "bearer"), ("x-remote-user", "nobody")],
];

const EVERYBODY: [Who; 7] =
    [Who::FrontProxy, Who::Anonymous, Who::Direct, Who::Root, Who::OtherName, Who::Stranger, Who::Reader];

pub(super) fn all() -> Vec<Question> {
    let mut questions = Vec::new();
    for who in EVERYBODY {
        for claims in CLAIMS {
            let question = custom("/namespaces/peer/pods/*/peer_packets").who(who);
            questions.push(claims.iter().fold(question, |question, (name, value)| question.header(name, *value)));
        }
    }
    for who in [Who::Reader, Who::Powerless, Who::Direct, Who::Anonymous] {
        for question in targets() {
            questions.push(question.who(who));
        }
        let refused = custom("/namespaces/peer/pods/*/peer_packets").who(who);
        questions.push(refused.clone().header("accept", "application/vnd.kubernetes.protobuf"));
        questions.push(refused.clone().header("accept", "text/html"));
        questions.push(refused.clone().method(Method::POST));
        questions.push(refused.method(Method::HEAD));
    }
    questions
}

/// Each asks for another right.
fn targets() -> Vec<Question> {
    vec![
        custom("/namespaces/peer/pods/a/peer_packets"),
        custom("/namespaces/default/pods/*/peer_packets"),
        custom("/namespaces/peer/deployments.apps/web/peer_rps"),
        custom("/namespaces/peer/metrics/peer_orders"),
        custom("/nodes/peer-node/peer_load"),
        custom("/namespaces/peer/pods"),
        custom(""),
        external("/namespaces/peer/my-external-metric"),
        external("/namespaces/peer/my-external-metric?labelSelector=foo%3Dbar"),
        external("/namespaces/default/my-external-metric"),
        external(""),
        Question::get("/apis"),
        Question::get("/openapi/v2"),
        Question::get("/metrics"),
    ]
}
