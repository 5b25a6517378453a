//! What an answer means: whether the metric has a value, what is wrong, and what to do about it. Pure: it asks nobody.

use serde_json::Value;

use super::{MetricReport, Verdict, question::Question};
use crate::cli::preflight::{ApiService, Owner};

/// Values that a summary spells out.
const VALUES: usize = 5;

/// What became of a question.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// The adapter explained its answer.
    Explained(Value),
    /// Somebody who does not know `explain` answered.
    Answered(Value),
    /// The API server, or the adapter, refused.
    Refused { code: u16, message: String },
    /// Nobody answered.
    Unreachable(String),
    /// It is no question.
    Impossible(String),
}

/// Whose Warnings may tell more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspect<'asked> {
    /// Nobody's.
    Nobody,
    /// One plugin's, by its ConfigMap.
    Plugin { namespace: &'asked str, name: &'asked str },
    /// Any plugin's that was not loaded: one of them may be the one that is missing.
    Rejected,
}

/// A text of a document; "" where there is none.
pub(super) fn text<'document>(document: &'document Value, pointer: &str) -> &'document str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Items of a list in a document.
pub(super) fn items<'document>(document: &'document Value, pointer: &str) -> &'document [Value] {
    document.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn number(document: &Value, pointer: &str) -> u64 {
    document.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

pub(super) fn suspect(asked: &Asked) -> Suspect<'_> {
    let Asked::Explained(explanation) = asked else { return Suspect::Nobody };
    if number(explanation, "/response/code") == 200 {
        return Suspect::Nobody;
    }
    match owner(explanation).split_once('/') {
        Some((namespace, name)) => Suspect::Plugin { namespace, name },
        None => Suspect::Rejected,
    }
}

/// The plugin that answers the metric; "" if nobody does.
fn owner(explanation: &Value) -> &str {
    let first = items(explanation, "/claims/items").first();
    let owns = first.filter(|claim| matches!(text(claim, "/standing"), "owns" | "loading"));
    owns.map(|claim| text(claim, "/plugin")).unwrap_or_default()
}

/// What `asked` means for `question`. `warnings` are those of [`suspect`].
pub(super) fn judge(question: Question, asked: Asked, services: &[ApiService], warnings: &[String]) -> MetricReport {
    let (verdict, summary, remedies, explanation) = match asked {
        Asked::Explained(explanation) => {
            let (verdict, summary, remedies) = explained(&question, &explanation, warnings);
            (verdict, summary, remedies, explanation)
        }
        Asked::Answered(list) => {
            let (verdict, summary, remedies) = answered_by_another(&question, &list, services);
            (verdict, summary, remedies, Value::Null)
        }
        Asked::Refused { code, message } => {
            let (verdict, summary, remedies) = refused(&question, code, &message, services);
            (verdict, summary, remedies, Value::Null)
        }
        Asked::Unreachable(cause) => {
            let remedy = "check the server and the user of the kubeconfig".to_owned();
            (Verdict::Unasked, format!("the API server does not answer: {cause}"), vec![remedy], Value::Null)
        }
        Asked::Impossible(why) => {
            let remedy =
                "correct the HorizontalPodAutoscaler: its controller can't ask for this metric either".to_owned();
            (Verdict::Fails, why, vec![remedy], Value::Null)
        }
    };
    MetricReport { question, verdict, summary, remedies, explanation }
}

type Judgement = (Verdict, String, Vec<String>);

fn explained(question: &Question, explanation: &Value, warnings: &[String]) -> Judgement {
    let code = number(explanation, "/response/code");
    if code != 200 {
        let summary = format!("{code} {}", text(explanation, "/response/body/message"));
        return (Verdict::Fails, summary, remedies(question, code, explanation, warnings));
    }
    match values(
        explanation.pointer("/response/body").unwrap_or(&Value::Null),
        number(explanation, "/response/itemsLeftOut"),
    ) {
        Some(values) => (Verdict::Answers, values, Vec::new()),
        None => {
            let summary = "the plugin answered without a value, which the HPA controller takes for a failure";
            (Verdict::Fails, summary.to_owned(), without_value(question, explanation))
        }
    }
}

/// The values of a list, or of the one object that the body is; none if it has none.
fn values(body: &Value, left_out: u64) -> Option<String> {
    let Some(items) = body.get("items").and_then(Value::as_array) else { return Some("a value".to_owned()) };
    let total = items.len() as u64 + left_out;
    if total == 0 {
        return None;
    }
    let shown: Vec<&str> =
        items.iter().take(VALUES).map(|item| text(item, "/value")).filter(|value| !value.is_empty()).collect();
    let more = total - shown.len() as u64;
    Some(match (shown.is_empty(), more) {
        (true, _) => format!("{total} with values"),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    })
}

fn without_value(question: &Question, explanation: &Value) -> Vec<String> {
    let empty = items(explanation, "/call/lookups/items")
        .iter()
        .filter(|lookup| number(lookup, "/found") == 0 && lookup.get("error").is_none());
    let mut remedies: Vec<String> = empty
        .map(|lookup| {
            let (resource, selector) = (text(lookup, "/resource"), text(lookup, "/selector"));
            format!(
                "the selector {selector:?} selects no {resource} of this namespace; correct the labels or the selector"
            )
        })
        .collect();
    if remedies.is_empty() && !question.selector.is_empty() {
        remedies.push(format!(
            "nothing has the labels {}; ask without the selector, and compare it with the labels that there are",
            question.selector
        ));
    }
    if remedies.is_empty() {
        remedies.push("the backend has no such series; look for it there".to_owned());
    }
    remedies
}

fn remedies(question: &Question, code: u64, explanation: &Value, warnings: &[String]) -> Vec<String> {
    let mut remedies = match code {
        404 => missing(question, explanation),
        400 => vec!["correct the selector or the name of the metric where it is asked for".to_owned()],
        429 => vec![
            "let fewer ask at once, or raise limits.concurrency of the plugin, as far as its backend can bear"
                .to_owned(),
        ],
        504 => slow(explanation),
        503 if first_standing(explanation) == "loading" => {
            vec![
                "wait some seconds; if it stays so, the Events of the plugin's ConfigMap say why it can't be loaded"
                    .to_owned(),
            ]
        }
        _ => broken(explanation),
    };
    let told = if owner(explanation).is_empty() {
        "a plugin that could not be loaded may be the one"
    } else {
        "the last Warning about its plugin"
    };
    remedies.extend(warnings.iter().map(|warning| format!("{told}: {warning}")));
    remedies
}

fn first_standing(explanation: &Value) -> &str {
    items(explanation, "/claims/items").first().map(|claim| text(claim, "/standing")).unwrap_or_default()
}

/// Nobody has the metric, or its owner has not.
fn missing(question: &Question, explanation: &Value) -> Vec<String> {
    let mut remedies = Vec::new();
    let owner = owner(explanation);
    let claims = items(explanation, "/claims/items");
    if !owner.is_empty() {
        remedies.push(format!(
            "plugin {owner} claims the name and has no such metric: correct the name, or what the plugin offers"
        ));
    } else if let Some(elsewhere) = claims.first() {
        let plugin = text(elsewhere, "/plugin");
        remedies.push(format!("plugin {plugin} claims it for other namespaces; add this one to its serves.namespaces"));
    } else {
        remedies.push(format!(
            "no plugin serves {}; load one, add the name to a plugin's `serves`, or correct the name",
            question.metric
        ));
    }
    let similar: Vec<&str> = items(explanation, "/similar").iter().filter_map(Value::as_str).collect();
    if !similar.is_empty() {
        remedies.push(format!("similar names are served here: {}", similar.join(", ")));
    }
    remedies
}

fn slow(explanation: &Value) -> Vec<String> {
    let limit = explanation.pointer("/call/limits/timeoutMs").and_then(Value::as_f64).unwrap_or_default();
    let mut remedies: Vec<String> = items(explanation, "/call/backendCalls/items")
        .iter()
        .filter(|call| call.get("status").is_none())
        .map(|call| format!("backend {} gave no answer in time; look at it first", text(call, "/origin")))
        .collect();
    remedies.dedup();
    remedies.push(format!("make the plugin ask for less, or raise its limits.timeout ({limit} ms now, 5 s at most)"));
    remedies
}

/// What the backends said, or what the plugin did wrong.
fn broken(explanation: &Value) -> Vec<String> {
    let calls = items(explanation, "/call/backendCalls/items").iter().filter_map(|call| {
        let origin = text(call, "/origin");
        match (number(call, "/status"), text(call, "/error")) {
            (401 | 403, _) => Some(format!(
                "backend {origin} refuses the credentials; check the plugin's `credentials` and their Secret"
            )),
            (status @ 400.., _) => Some(format!("backend {origin} answered {status}; look at its log")),
            (_, "") => None,
            (_, error) => Some(error.to_owned()),
        }
    });
    let values = items(explanation, "/call/values/items").iter().filter_map(|value| {
        let error = Some(text(value, "/error")).filter(|error| !error.is_empty())?;
        Some(format!("the plugin answered {} for {:?}: {error}", text(value, "/number"), text(value, "/of")))
    });
    let mut remedies: Vec<String> = calls.chain(values).collect();
    remedies.dedup();
    if remedies.is_empty() && explanation.get("call").is_some() {
        remedies.push(
            "no backend failed: the plugin itself did; --raw shows what it logged, and its author can mend it"
                .to_owned(),
        );
    }
    remedies
}

/// The group is another server's.
fn answered_by_another(question: &Question, list: &Value, services: &[ApiService]) -> Judgement {
    let owner = services.iter().find(|service| service.group == question.group).map_or("another server".to_owned(), of);
    match values(list, 0) {
        Some(values) => (Verdict::Answers, format!("{values}, by {owner}, which explains nothing"), Vec::new()),
        None => {
            let remedy = format!("{} is served by {owner}: look there", question.group);
            (Verdict::Fails, format!("{owner} answers without a value"), vec![remedy])
        }
    }
}

fn of(service: &ApiService) -> String {
    match &service.owner {
        Owner::Nobody => "nobody".to_owned(),
        Owner::ThisAdapter => "this adapter".to_owned(),
        Owner::Other { namespace, name } => format!("{namespace}/{name}"),
        Owner::ApiServer => "the API server itself".to_owned(),
    }
}

/// The request did not get as far as an explanation.
fn refused(question: &Question, code: u16, message: &str, services: &[ApiService]) -> Judgement {
    let summary = format!("{code} {message}");
    if code == 403 {
        let remedy = if message.contains("explanations") {
            "leave out --raw, or have the ClusterRole wasm-metrics-adapter-raw-explainer bound to you in this namespace"
        } else {
            "have the ClusterRole wasm-metrics-adapter-reader bound to you in this namespace; the HPA controller has rights of its own"
        };
        return (Verdict::Unasked, summary, vec![remedy.to_owned()]);
    }
    if matches!(code, 401 | 429) {
        return (Verdict::Unasked, summary, vec!["ask again in a while, as a user whom the cluster knows".to_owned()]);
    }
    let mut of_group = services.iter().filter(|service| service.group == question.group);
    let broken = of_group.find(|service| service.state.as_ref().is_none_or(|state| !state.available));
    let remedy = match broken {
        Some(ApiService { name, owner: Owner::Nobody, .. }) => {
            format!(
                "there is no APIService {name}; apply the component of deploy/components, and see `wasm-metrics-adapter preflight`"
            )
        }
        Some(service @ ApiService { name, state: Some(state), .. }) => {
            format!(
                "APIService {name} of {} is not available ({}); see `wasm-metrics-adapter preflight`",
                of(service),
                state.reason
            )
        }
        _ => "see `wasm-metrics-adapter preflight`, and the log of the adapter's pods".to_owned(),
    };
    (Verdict::Fails, summary, vec![remedy])
}
