//! Asks the API server: each question with `explain`, and what lies around it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, GroupVersionKind},
    discovery::{self, Scope},
};
use serde_json::Value;

use super::{
    MetricReport, diagnosis,
    diagnosis::{Asked, Suspect, text},
    question::{Question, and},
};
use crate::cli::{
    cluster::cause,
    preflight::{ApiService, Installation, ownership},
};

/// Events that are repeated of one object.
const EVENTS: usize = 3;
/// Plugins whose rejections are repeated.
const REJECTIONS: usize = 5;
/// How often a question is asked that the adapter puts off, and the wait in between: it explains two a second.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// What is read once for all questions.
pub(super) struct Surroundings {
    pub(super) installation: Installation,
    pub(super) api_services: Vec<ApiService>,
}

impl Surroundings {
    pub(super) async fn read(client: &Client, installation: &Installation, unanswered: &mut Vec<String>) -> Self {
        let api_services = ownership::ask(client, installation, unanswered).await;
        Self { installation: installation.clone(), api_services }
    }
}

/// Asks, and says what the answer means.
pub(super) async fn explain(
    client: &Client,
    question: Question,
    raw: bool,
    surroundings: &Surroundings,
    unanswered: &mut Vec<String>,
) -> MetricReport {
    let asked = match &question.path {
        Ok(path) => get(client, &and(path, if raw { "explain=raw" } else { "explain=true" })).await,
        Err(why) => Asked::Impossible(why.clone()),
    };
    let warnings = match diagnosis::suspect(&asked) {
        Suspect::Nobody => Vec::new(),
        Suspect::Plugin { namespace, name } => events(client, namespace, "ConfigMap", Some(name), unanswered).await,
        Suspect::Rejected => events(client, &surroundings.installation.namespace, "ConfigMap", None, unanswered).await,
    };
    diagnosis::judge(question, asked, &surroundings.api_services, &warnings)
}

async fn get(client: &Client, path: &str) -> Asked {
    let mut attempt = 1;
    loop {
        let request = match http::Request::get(path).body(Vec::new()) {
            Ok(request) => request,
            Err(error) => return Asked::Impossible(error.to_string()),
        };
        return match client.request::<Value>(request).await {
            Ok(document) if text(&document, "/kind") == "MetricExplanation" => Asked::Explained(document),
            Ok(document) => Asked::Answered(document),
            Err(kube::Error::Api(status)) if status.code == 429 && attempt < ATTEMPTS => {
                attempt += 1;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(kube::Error::Api(status)) => Asked::Refused { code: status.code, message: status.message.clone() },
            Err(error) => Asked::Unreachable(cause(&error)),
        };
    }
}

/// The last Warnings about objects of a kind, each as one line; of one object, or the last of each.
pub(super) async fn events(
    client: &Client,
    namespace: &str,
    kind: &str,
    name: Option<&str>,
    unanswered: &mut Vec<String>,
) -> Vec<String> {
    let of_name = name.map(|name| format!(",involvedObject.name={name}")).unwrap_or_default();
    let filter = format!("involvedObject.kind={kind},type=Warning{of_name}");
    let parameters = ListParams::default().fields(&filter).limit(500);
    let listed = Api::<Event>::namespaced(client.clone(), namespace).list(&parameters).await;
    let mut events = match listed {
        Ok(list) => list.items,
        Err(error) => {
            let question = format!("Events about {kind}s of namespace {namespace}: {}", cause(&error));
            if !unanswered.contains(&question) {
                unanswered.push(question);
            }
            return Vec::new();
        }
    };
    events.sort_by_key(|event| std::cmp::Reverse(last_seen(event)));
    if name.is_none() {
        let mut told = std::collections::BTreeSet::new();
        events.retain(|event| told.insert(event.involved_object.name.clone()));
    }
    events.iter().take(if name.is_some() { EVENTS } else { REJECTIONS }).map(line).collect()
}

fn last_seen(event: &Event) -> Option<String> {
    let micro = event.event_time.as_ref().map(|time| time.0.to_string());
    let series =
        event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0.to_string());
    event.last_timestamp.as_ref().map(|time| time.0.to_string()).max(micro).max(series)
}

fn line(event: &Event) -> String {
    let of_series = event.series.as_ref().and_then(|series| series.count);
    let count = of_series.or(event.count).filter(|count| *count > 1);
    let count = count.map(|count| format!(" ({count} times)")).unwrap_or_default();
    let name = event.involved_object.name.as_deref().unwrap_or_default();
    let reason = event.reason.as_deref().unwrap_or_default();
    format!("{name}: {reason}{count}: {}", event.message.as_deref().unwrap_or_default())
}

/// The resource of a kind, and whether its objects live in namespaces.
pub(super) async fn kind_of(
    client: &Client,
    api_version: Option<&str>,
    kind: &str,
) -> Result<(ApiResource, bool), String> {
    let (group, version) = api_version.unwrap_or("v1").split_once('/').unwrap_or(("", api_version.unwrap_or("v1")));
    let found = discovery::pinned_kind(client, &GroupVersionKind::gvk(group, version, kind)).await;
    let (resource, capabilities) =
        found.map_err(|error| format!("what {kind} of {group}/{version} is: {}", cause(&error)))?;
    Ok((resource, capabilities.scope == Scope::Namespaced))
}

/// The namespace to ask in for objects of `resource`, as in `deployments.apps`: none if they live in none.
pub(super) async fn namespace_of(client: &Client, resource: &str, namespace: &str) -> Result<Option<String>, String> {
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    let group = discovery::group(client, group).await.map_err(|error| cause(&error))?;
    let known = group.recommended_resources().into_iter().find(|(known, _)| known.plural == plural);
    let (_, capabilities) = known.ok_or_else(|| format!("the cluster has no resource {resource}"))?;
    Ok((capabilities.scope == Scope::Namespaced).then(|| namespace.to_owned()))
}
