//! What one plugin may use, and the durations and sizes in which that is written. Each number has a default, a floor
//! and a ceiling with the reason beside it; beyond them is an error, never a silent cut.

use std::time::Duration;

use crate::model::Quantity;

use super::{
    ManifestError,
    document::Value,
    fields::{Field, Fields, invalid},
};

/// What one plugin may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance in bytes, tables included. Default 64Mi: a Rust or C plugin needs 2, one in Python
    /// or JavaScript 30 to 50. At most 512Mi, so that one plugin never takes the adapter's whole memory.
    pub memory_bytes: u64,
    /// Elements of all tables of one instance: function pointers. Default 100000, what a large interpreter has with room. At
    /// most 1000000, which are 8 MiB.
    pub table_elements: u32,
    /// Core instances of one component instance. Default 100: a module and its adapter are two, an interpreter in Python with its
    /// libraries some thirty. At most 400: each costs the adapter memory of its own, which `memory` does not count.
    pub instances: u32,
    /// Wall clock of one call, backend requests included. Default 2 s. At most 5 s: the HPA controller has five workers
    /// and no timeout of its own.
    pub timeout: Duration,
    /// Time that one call really computes. Default 200 ms: over a hundred times what a plugin in any language needs to
    /// start and to parse an answer. At most 5 s, the ceiling of `timeout`.
    pub cpu: Duration,
    /// Calls at once; more are refused. Default 16. At most 64, so that the instances of one plugin don't fill the
    /// pool.
    pub concurrency: u32,
    /// Bytes of one backend response. Default 4Mi. At most 32Mi: the whole body is held until the guest has it.
    pub response_bytes: u64,
    /// Metrics in one answer of a list, and values in one answer. Default 1000. At most 10000: discovery holds them all
    /// in memory, and every kube-apiserver downloads it.
    pub list_items: u32,
    /// Bytes that the plugin hands to the adapter in one go: an answer, a request, a value to keep. Default 4Mi, ten times what
    /// 1000 values with labels are. At most 32Mi: the adapter holds a copy for each call under way.
    pub answer_bytes: u64,
    /// Requests to backends for one answer, however they are sent. Default 100: one for each pod of a large Deployment. At most
    /// 1000: every autoscaler multiplies it. 0 for a plugin that asks nobody.
    pub requests: u32,
    /// Log lines a second in the long run, five times as many at once. Default 10. At most 1000: the adapter's own lines must
    /// be found between them.
    pub log_lines: u32,
    /// Bytes of keys and values that outlive a call, for each namespace; for all namespaces together 16 times as many. Default
    /// 1Mi: a window of samples for some thousand series. At most 16Mi.
    pub state_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: 100_000,
            instances: 100,
            timeout: Duration::from_secs(2),
            cpu: Duration::from_millis(200),
            concurrency: 16,
            response_bytes: 4 << 20,
            list_items: 1000,
            answer_bytes: 4 << 20,
            requests: 100,
            log_lines: 10,
            state_bytes: 1 << 20,
        }
    }
}

/// How often a plugin's lists are asked for where plugin.yaml does not say.
pub(super) const LIST_EVERY: Duration = Duration::from_secs(60);
/// Faster listing would make every backend's metadata calls cost more than its metrics.
const LIST_EVERY_LEAST: Duration = Duration::from_secs(5);
/// A metric that is listed a day late is as good as not listed.
const LIST_EVERY_MOST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) const MEMORY: (u64, u64) = (1 << 20, 512 << 20);
pub(super) const TABLE_ELEMENTS: (i64, i64) = (1, 1_000_000);
pub(super) const INSTANCES: (i64, i64) = (1, 400);
pub(super) const TIMEOUT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));
pub(super) const CPU: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(5));
pub(super) const CONCURRENCY: (i64, i64) = (1, 64);
pub(super) const RESPONSE: (u64, u64) = (1 << 10, 32 << 20);
pub(super) const LIST_ITEMS: (i64, i64) = (1, 10_000);
pub(super) const ANSWER: (u64, u64) = (1 << 10, 32 << 20);
pub(super) const REQUESTS: (i64, i64) = (0, 1000);
pub(super) const LOG_LINES: (i64, i64) = (1, 1000);
pub(super) const STATE: (u64, u64) = (1 << 10, 16 << 20);

impl Limits {
    pub(super) fn parse(field: Field) -> Result<Self, ManifestError> {
        Self::default().parse_over(field)
    }

    /// What `field` does not say stays as it is.
    pub(super) fn parse_over(self, field: Field) -> Result<Self, ManifestError> {
        let known = [
            "memory",
            "tableElements",
            "instances",
            "timeout",
            "cpu",
            "concurrency",
            "responseBytes",
            "listItems",
            "answerBytes",
            "requests",
            "logLines",
            "stateBytes",
        ];
        let mut fields = Fields::of(field, &known)?;
        let mut limits = self;
        for (name, amount, bounds) in [
            ("memory", &mut limits.memory_bytes, MEMORY),
            ("responseBytes", &mut limits.response_bytes, RESPONSE),
            ("answerBytes", &mut limits.answer_bytes, ANSWER),
            ("stateBytes", &mut limits.state_bytes, STATE),
        ] {
            set(amount, fields.take(name), |field| bytes(field, bounds))?;
        }
        for (name, time, bounds) in [("timeout", &mut limits.timeout, TIMEOUT), ("cpu", &mut limits.cpu, CPU)] {
            set(time, fields.take(name), |field| duration(field, bounds))?;
        }
        for (name, number, bounds) in [
            ("tableElements", &mut limits.table_elements, TABLE_ELEMENTS),
            ("instances", &mut limits.instances, INSTANCES),
            ("concurrency", &mut limits.concurrency, CONCURRENCY),
            ("listItems", &mut limits.list_items, LIST_ITEMS),
            ("requests", &mut limits.requests, REQUESTS),
            ("logLines", &mut limits.log_lines, LOG_LINES),
        ] {
            set(number, fields.take(name), |field| count(field, bounds))?;
        }
        Ok(limits)
    }
}

fn set<T>(
    value: &mut T,
    field: Option<Field>,
    parse: impl FnOnce(Field) -> Result<T, ManifestError>,
) -> Result<(), ManifestError> {
    if let Some(field) = field {
        *value = parse(field)?;
    }
    Ok(())
}

/// The value of `listEvery`.
pub(super) fn list_every(field: Field) -> Result<Duration, ManifestError> {
    duration(field, (LIST_EVERY_LEAST, LIST_EVERY_MOST))
}

pub(super) fn duration(field: Field, (least, most): (Duration, Duration)) -> Result<Duration, ManifestError> {
    let expected = format!("a duration from {least:?} to {most:?}, as in `500ms`, `2s` or `1m`");
    field.parsed(&expected, |text| {
        let parsed: jiff::SignedDuration = text.parse().ok()?;
        Duration::try_from(parsed).ok().filter(|duration| (least..=most).contains(duration))
    })
}

fn bytes(field: Field, (least, most): (u64, u64)) -> Result<u64, ManifestError> {
    let text = match &field.value {
        Value::String(text) | Value::Number(text) => text.as_str(),
        _ => "",
    };
    let amount = text.parse::<Quantity>().ok().and_then(|quantity| u64::try_from(quantity.units()).ok());
    match amount {
        Some(amount) if (least..=most).contains(&amount) => Ok(amount),
        _ => {
            let expected = format!("a size from {} to {}, as in `64Mi`", binary(least), binary(most));
            Err(invalid(field.path, &field.value, &expected))
        }
    }
}

pub(super) fn count(field: Field, (least, most): (i64, i64)) -> Result<u32, ManifestError> {
    // Every ceiling of a count is far below 2^32.
    Ok(u32::try_from(field.integer(least, most)?).unwrap_or(u32::MAX))
}

/// A size as people write it; the bounds are whole Ki or Mi.
pub(super) fn binary(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{}Mi", bytes >> 20) } else { format!("{}Ki", bytes >> 10) }
}
