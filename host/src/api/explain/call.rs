//! The part of the document that is about the plugin's own call.

use std::collections::BTreeMap;

use serde::Serialize;

use super::document::{Many, millis};
use crate::{
    api::wire::whole_seconds,
    model::{
        BackendCall, BackendOutcome, CallLimits, Detail, Excerpt, GuestValue, LogLine, Lookup, PluginCall, RawExchange,
    },
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Call {
    function: &'static str,
    arguments: BTreeMap<&'static str, String>,
    calls: usize,
    duration_ms: f64,
    cpu_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<usize>,
    limits: Limits,
    backend_calls: Many<Backend>,
    lookups: Many<Looked>,
    log_lines: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<Many<Line>>,
    values: Many<Given>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    memory_bytes: usize,
    timeout_ms: f64,
    cpu_ms: f64,
    concurrency: usize,
    list_items: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Backend {
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    after_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Raw>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    url: String,
    request_headers: Many<Header>,
    request_body: String,
    response_headers: Many<Header>,
    response_body: String,
}

#[derive(Serialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Looked {
    function: &'static str,
    resource: String,
    selector: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct Line {
    level: &'static str,
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Given {
    of: String,
    number: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_ms: Option<f64>,
}

impl Call {
    pub(super) fn of(call: PluginCall, detail: Detail) -> Self {
        Self {
            function: call.function,
            arguments: call.arguments.into_iter().collect(),
            calls: call.calls,
            duration_ms: millis(call.duration),
            cpu_ms: millis(call.cpu),
            memory_bytes: call.memory_bytes,
            limits: Limits::of(call.limits),
            backend_calls: Many::of(call.backend_calls, Backend::of),
            lookups: Many::of(call.lookups, Looked::of),
            log_lines: call.log_lines,
            log: (detail == Detail::Raw).then(|| Many::of(call.log, |LogLine { level, text }| Line { level, text })),
            values: Many::of(call.values, Given::of),
        }
    }
}

impl Limits {
    fn of(limits: CallLimits) -> Self {
        let CallLimits { memory_bytes, timeout, cpu, concurrency, list_items } = limits;
        Self { memory_bytes, timeout_ms: millis(timeout), cpu_ms: millis(cpu), concurrency, list_items }
    }
}

impl Backend {
    fn of(call: BackendCall) -> Self {
        let (status, bytes, error) = match call.outcome {
            BackendOutcome::Response { status, bytes } => (Some(status), Some(bytes), None),
            BackendOutcome::Failed(error) => (None, None, Some(error)),
            BackendOutcome::Unanswered => (None, None, Some("no answer when the plugin's call ended".to_owned())),
        };
        Self {
            method: call.method,
            origin: call.origin,
            after_ms: millis(call.after),
            duration_ms: call.duration.map(millis),
            status,
            bytes,
            error,
            raw: call.raw.map(Raw::of),
        }
    }
}

impl Raw {
    fn of(raw: RawExchange) -> Self {
        let headers = |headers: Excerpt<(String, String)>| Many::of(headers, |(name, value)| Header { name, value });
        Self {
            url: raw.url,
            request_headers: headers(raw.request_headers),
            request_body: raw.request_body,
            response_headers: headers(raw.response_headers),
            response_body: raw.response_body,
        }
    }
}

impl Looked {
    fn of(Lookup { function, resource, selector, found }: Lookup) -> Self {
        let (found, error) = match found {
            Ok(found) => (Some(found), None),
            Err(error) => (None, Some(error)),
        };
        Self { function, resource, selector, found, error }
    }
}

impl Given {
    fn of(value: GuestValue) -> Self {
        let (quantity, error) = match value.quantity {
            Ok(quantity) => (Some(quantity.to_string()), None),
            Err(error) => (None, Some(error)),
        };
        Self {
            of: value.of,
            number: value.number,
            quantity,
            error,
            timestamp: value.timestamp.and_then(whole_seconds).map(|time| time.to_string()),
            window_ms: value.window.map(millis),
        }
    }
}
