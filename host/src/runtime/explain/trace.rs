//! What one explained call does, written down while it goes on: what is known when a call is cut off is told as well.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{question, redactor::Redactor};
use crate::{
    egress::{self, EgressError},
    model::{
        BackendCall, BackendOutcome, CallLimits, Detail, Excerpt, GuestValue, LogLine, Lookup, PluginCall, RawExchange,
    },
    runtime::{
        abi::Question,
        log::{Level, one_line},
        meter::CpuMeter,
        plugin::Limits,
    },
};

/// Requests to backends that are told of; each may have two bodies.
const BACKEND_CALLS: usize = 20;
/// Lookups that are told of.
const LOOKUPS: usize = 20;
/// Lines of the guest's log.
const LOG_LINES: usize = 50;
/// Values of the guest.
pub(in crate::runtime) const VALUES: usize = 20;
/// Headers of a request or response.
const HEADERS: usize = 40;
/// Bytes of a line, a URL or a header.
const TEXT: usize = 1024;
/// Bytes of a body.
const BODY: usize = 8 * 1024;

/// The record of one explained question, shared by its calls.
pub(in crate::runtime) struct Trace {
    detail: Detail,
    pub(super) redactor: Redactor,
    began: Instant,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    function: &'static str,
    arguments: Vec<(&'static str, String)>,
    calls: usize,
    meters: Vec<Arc<CpuMeter>>,
    memory_bytes: Option<usize>,
    backend_calls: Excerpt<BackendCall>,
    lookups: Excerpt<Lookup>,
    log_lines: usize,
    log: Excerpt<LogLine>,
    values: Excerpt<GuestValue>,
}

/// Sends a guest's request, and writes down what became of it if the call is explained.
pub(in crate::runtime) async fn fetch(
    http: &egress::Client,
    trace: Option<&Trace>,
    request: egress::Request,
    timeout: Duration,
) -> Result<egress::Response, EgressError> {
    let Some(trace) = trace else { return http.fetch(request, timeout).await };
    let place = trace.sent(&request);
    let outcome = http.fetch(request, timeout).await;
    if let Some(place) = place {
        trace.received(place, &outcome);
    }
    outcome
}

impl Trace {
    pub(super) fn new(detail: Detail, redactor: Redactor) -> Self {
        Self { detail, redactor, began: Instant::now(), records: Mutex::default() }
    }

    /// A call begins. Of several, the first one's question stands for all.
    pub(in crate::runtime) fn asked(&self, question: &Question, meter: Arc<CpuMeter>) {
        let mut records = self.records();
        if records.calls == 0 {
            let (function, arguments) = question::describe(question);
            records.function = function;
            records.arguments = arguments.into_iter().map(|(name, value)| (name, self.line(&value))).collect();
        }
        records.calls += 1;
        records.meters.push(meter);
    }

    /// A call ended by itself.
    pub(in crate::runtime) fn ended(&self, memory_bytes: usize) {
        let mut records = self.records();
        records.memory_bytes = records.memory_bytes.max(Some(memory_bytes));
    }

    /// The guest logged.
    pub(in crate::runtime) fn logged(&self, level: Level, text: &str) {
        let mut records = self.records();
        records.log_lines += 1;
        if self.detail == Detail::Raw {
            records.log.add(LOG_LINES, || LogLine { level: level.as_str(), text: self.line(text) });
        }
    }

    /// The guest looked objects up.
    pub(in crate::runtime) fn looked_up(&self, lookup: impl FnOnce() -> Lookup) {
        self.records().lookups.add(LOOKUPS, || {
            let Lookup { function, resource, selector, found } = lookup();
            let found = found.map_err(|message| self.line(&message));
            Lookup { function, resource: self.line(&resource), selector: self.line(&selector), found }
        });
    }

    /// The guest answered with a value.
    pub(in crate::runtime) fn answered(&self, value: impl FnOnce() -> GuestValue) {
        self.records().values.add(VALUES, || {
            let value = value();
            GuestValue { of: self.line(&value.of), ..value }
        });
    }

    /// Answers of the guest that are left out unseen.
    pub(in crate::runtime) fn left_out(&self, answers: usize) {
        self.records().values.left_out += answers;
    }

    fn sent(&self, request: &egress::Request) -> Option<usize> {
        let raw = (self.detail == Detail::Raw).then(|| RawExchange {
            url: self.line(&request.url),
            request_headers: self.headers(&request.headers),
            request_body: self.body(&request.body),
            ..RawExchange::default()
        });
        let origin = egress::Origin::of_url(&request.url).map(|origin| origin.to_string());
        let after = self.began.elapsed();
        let method = self.line(&request.method);
        let outcome = BackendOutcome::Unanswered;
        let call = BackendCall { method, origin, after, duration: None, outcome, raw };
        self.records().backend_calls.add(BACKEND_CALLS, || call)
    }

    fn received(&self, place: usize, outcome: &Result<egress::Response, EgressError>) {
        let now = self.began.elapsed();
        let mut records = self.records();
        let Some(call) = records.backend_calls.items.get_mut(place) else { return };
        call.duration = Some(now.saturating_sub(call.after));
        call.outcome = match outcome {
            Ok(response) => BackendOutcome::Response { status: response.status, bytes: response.body.len() },
            Err(error) => BackendOutcome::Failed(self.line(&error.to_string())),
        };
        if let (Some(raw), Ok(response)) = (&mut call.raw, outcome) {
            raw.response_headers = self.headers(&response.headers);
            raw.response_body = self.body(&response.body);
        }
    }

    /// What was written down so far.
    pub(super) fn tell(&self, limits: &Limits) -> PluginCall {
        let mut records = self.records();
        let cpu = records.meters.iter().map(|meter| meter.used()).sum();
        PluginCall {
            function: records.function,
            arguments: std::mem::take(&mut records.arguments),
            calls: records.calls,
            duration: self.began.elapsed(),
            cpu,
            memory_bytes: records.memory_bytes,
            limits: CallLimits {
                memory_bytes: limits.memory_bytes,
                timeout: limits.timeout,
                cpu: limits.cpu,
                concurrency: limits.concurrency,
                list_items: limits.list_items,
            },
            backend_calls: std::mem::take(&mut records.backend_calls),
            lookups: std::mem::take(&mut records.lookups),
            log_lines: records.log_lines,
            log: std::mem::take(&mut records.log),
            values: std::mem::take(&mut records.values),
        }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn headers(&self, headers: &[(String, String)]) -> Excerpt<(String, String)> {
        Excerpt::first(HEADERS, headers.iter().map(|(name, value)| (self.line(name), self.line(value))))
    }

    /// One printable line without secrets.
    fn line(&self, text: &str) -> String {
        one_line(&self.redactor.beginning(text, TEXT))
    }

    /// The beginning of a body without secrets. Bytes that are no UTF-8 are replaced.
    fn body(&self, body: &[u8]) -> String {
        let seen = body.get(..BODY + self.redactor.lookahead()).unwrap_or(body);
        self.redactor.beginning(&String::from_utf8_lossy(seen), BODY).into_owned()
    }
}
