//! One line for each request, for whoever has to say afterwards who asked what and what became of it. Lines are made and written by
//! a thread of their own: a request hands over what it has anyway, never waits, and when the queue is full its line is dropped and
//! counted.
//!
//! Whatever a client chose is bounded and, by the formats of tracing, escaped. Never in a line: tokens, extra attributes of the
//! user, groups, the query.

use std::{
    net::SocketAddr,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method, Uri};
use prometheus_client::metrics::counter::Counter;

/// The target of the lines, as `--log-filter` names it.
const TARGET: &str = "request";
/// Lines that wait to be written: 4 MiB at about 1 KiB each. The thread writes tens of thousands a second, so this is for bursts and
/// for a standard error that stalls.
const QUEUE: usize = 4096;
/// Bytes of a text that a client chose. A service account's name has at most 345.
const TEXT: usize = 384;
/// Bytes of an audit id in a log, as in k8s.io/apiserver `pkg/audit/context.go`.
const AUDIT_ID: usize = 64;

/// Which requests have a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RequestLogging {
    /// None
    Off,
    /// Those that failed: status 400 and above
    Errors,
    /// Every one
    All,
}

/// What there is to say of a request.
#[derive(Debug, Clone)]
pub struct RequestLine {
    /// When it came.
    pub received: SystemTime,
    /// The header `Audit-Id` of the answer.
    pub audit_id: HeaderValue,
    /// Who asked; absent if that could not be told.
    pub user: Option<String>,
    /// That user's unique id, "" where there is none.
    pub user_id: String,
    /// The other end of the connection: kube-apiserver, for what came through it.
    pub source: Option<SocketAddr>,
    /// `X-Forwarded-For`: who asked kube-apiserver, by its word.
    pub forwarded_for: Option<HeaderValue>,
    /// `User-Agent`
    pub user_agent: Option<HeaderValue>,
    /// The HTTP method.
    pub method: Method,
    /// What was asked for; only the path is logged.
    pub uri: Uri,
    /// The API group, or another of the values of the metric label `group`.
    pub group: &'static str,
    /// The metric that was asked for.
    pub metric: Option<String>,
    /// `true` or `raw` where the metric was to be explained: then the status is that of the explanation.
    pub explain: Option<&'static str>,
    /// The plugin that answered or failed.
    pub plugin: Option<String>,
    /// What the value cache had to do with the answer, in a word; `none` for what it does not hold.
    pub cache: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Why it failed, in a word.
    pub reason: Option<&'static str>,
    /// Why it failed, in a sentence.
    pub message: Option<String>,
    /// From the request's head to the answer's.
    pub duration: Duration,
    /// Bytes of the answer's body.
    pub bytes: Option<u64>,
}

/// Takes lines.
#[derive(Debug)]
pub struct RequestLog {
    logging: RequestLogging,
    lines: SyncSender<RequestLine>,
    dropped: Counter,
}

/// The end of the thread that writes them.
#[derive(Debug)]
pub struct RequestLogEnd(Receiver<()>);

impl RequestLog {
    /// A log and its queue. `dropped` counts the lines that find the queue full.
    pub fn new(logging: RequestLogging, dropped: Counter) -> (Self, Receiver<RequestLine>) {
        let (lines, queue) = sync_channel(QUEUE);
        (Self { logging, lines, dropped }, queue)
    }

    /// A log with the thread that writes it.
    pub fn start(logging: RequestLogging, dropped: Counter) -> std::io::Result<(Self, RequestLogEnd)> {
        let (log, queue) = Self::new(logging, dropped);
        let (finished, end) = sync_channel::<()>(0);
        thread::Builder::new().name("request-log".to_owned()).spawn(move || {
            queue.iter().for_each(|line| write(&line));
            drop(finished);
        })?;
        Ok((log, RequestLogEnd(end)))
    }

    /// Whether an answer of this status has a line.
    pub fn wants(&self, status: u16) -> bool {
        match self.logging {
            RequestLogging::Off => false,
            RequestLogging::Errors => status >= 400,
            RequestLogging::All => true,
        }
    }

    /// Hands over a line. Never blocks.
    pub fn write(&self, line: RequestLine) {
        if self.lines.try_send(line).is_err() {
            self.dropped.inc();
        }
    }
}

impl RequestLogEnd {
    /// Waits until everything is written that was handed over before the log was dropped; not for ever.
    pub fn wait(&self, at_most: Duration) -> Result<(), RecvTimeoutError> {
        match self.0.recv_timeout(at_most) {
            Err(RecvTimeoutError::Timeout) => Err(RecvTimeoutError::Timeout),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
        }
    }
}

/// Texts are recorded as texts, never by their `Display`: so each format escapes them in its way, and no client can end a line or
/// begin one.
fn write(line: &RequestLine) {
    let received = jiff::Timestamp::try_from(line.received).unwrap_or_default();
    let (audit_id, agent) = (text(&line.audit_id), line.user_agent.as_ref().map(text));
    let (source, forwarded_for) =
        (line.source.map(|address| address.to_string()), line.forwarded_for.as_ref().map(text));
    tracing::info!(
        target: TARGET,
        received = format!("{received:.6}"),
        audit_id = bounded(&audit_id, AUDIT_ID),
        user = line.user.as_deref().map(|user| bounded(user, TEXT)),
        user_id = Some(bounded(&line.user_id, TEXT)).filter(|id| !id.is_empty()),
        source,
        forwarded_for = forwarded_for.as_deref().map(|addresses| bounded(addresses, TEXT)),
        user_agent = agent.as_deref().map(|agent| bounded(agent, TEXT)),
        method = bounded(line.method.as_str(), AUDIT_ID),
        path = bounded(line.uri.path(), 2 * TEXT),
        group = line.group,
        metric = line.metric.as_deref().map(|metric| bounded(metric, TEXT)),
        explain = line.explain,
        plugin = line.plugin,
        cache = line.cache,
        status = line.status,
        reason = line.reason,
        cause = line.message.as_deref().map(|message| bounded(message, 2 * TEXT)),
        duration_us = u64::try_from(line.duration.as_micros()).unwrap_or(u64::MAX),
        bytes = line.bytes,
    );
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// The longest beginning of at most `bytes` bytes that ends with a whole character.
fn bounded(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests;
