//! One line of a table of cases, and how it is checked.

use serde_json::{Value, json};

use crate::{
    certificates::Identity,
    client::{Answer, ask_by_http2},
    rules::Rule,
    world::World,
};

/// Header lines, what becomes of a request with them, and why.
pub(crate) type Row<'a> = (&'a [u8], Expected, Rule);

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expected {
    /// 200 as this user, who is authenticated and no administrator.
    User(&'static str),
    /// 403 as `system:anonymous`.
    Anonymous,
    /// 401
    Refused,
    /// 403, with these words.
    Forbidden(&'static str),
    /// 500, with these words.
    Internal(&'static str),
    /// 400
    Malformed,
}

/// Asks each line of a table over HTTP/1.1 and HTTP/2, each on a connection of its own.
pub(crate) async fn check_all(world: &World, identity: Option<&Identity>, rows: &[Row<'_>]) {
    for (headers, expected, rule) in rows {
        let case = format!("{} ({rule:?}: {})", String::from_utf8_lossy(headers), rule.text()[0]);
        expected.check(&case, &world.ask(identity, headers).await);
        if let Some(answer) = ask_by_http2(world.address, identity, headers).await {
            expected.check(&format!("over HTTP/2: {case}"), &answer);
        }
    }
}

impl Expected {
    pub(crate) fn check(&self, case: &str, answer: &Answer) {
        let Answer { status, body } = answer;
        let message = body["message"].as_str().unwrap_or_default();
        match self {
            Self::User(name) => {
                assert_eq!((*status, body["name"].as_str()), (200, Some(*name)), "{case}: {body}");
                let groups = body["groups"].as_array().unwrap();
                assert!(groups.contains(&json!("system:authenticated")), "{case}: {body}");
                assert!(!groups.contains(&json!("system:masters")), "{case}: {body}");
            }
            Self::Anonymous => {
                assert_eq!(*status, 403, "{case}: {body}");
                assert!(message.contains("User \"system:anonymous\" cannot get path"), "{case}: {body}");
            }
            Self::Refused => {
                assert_eq!(*status, 401, "{case}: {body}");
                assert_eq!(body["message"], "Unauthorized", "{case}: a reason is for the log alone");
            }
            Self::Forbidden(words) => {
                assert_eq!(*status, 403, "{case}: {body}");
                assert!(message.contains(words), "{case}: {body}");
            }
            Self::Internal(words) => {
                assert_eq!(*status, 500, "{case}: {body}");
                assert!(message.contains(words), "{case}: {body}");
            }
            Self::Malformed => assert_eq!((*status, body), (400, &Value::Null), "{case}"),
        }
    }
}
