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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            timeout: Duration::from_secs(2),
            cpu: Duration::from_millis(200),
            concurrency: 16,
            response_bytes: 4 << 20,
            list_items: 1000,
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
pub(super) const TIMEOUT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(5));
pub(super) const CPU: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(5));
pub(super) const CONCURRENCY: (i64, i64) = (1, 64);
pub(super) const RESPONSE: (u64, u64) = (1 << 10, 32 << 20);
pub(super) const LIST_ITEMS: (i64, i64) = (1, 10_000);

impl Limits {
    pub(super) fn parse(field: Field) -> Result<Self, ManifestError> {
        Self::default().parse_over(field)
    }

    /// What `field` does not say stays as it is.
    pub(super) fn parse_over(self, field: Field) -> Result<Self, ManifestError> {
        let known = ["memory", "timeout", "cpu", "concurrency", "responseBytes", "listItems"];
        let mut fields = Fields::of(field, &known)?;
        let mut limits = self;
        if let Some(field) = fields.take("memory") {
            limits.memory_bytes = bytes(field, MEMORY)?;
        }
        if let Some(field) = fields.take("timeout") {
            limits.timeout = duration(field, TIMEOUT)?;
        }
        if let Some(field) = fields.take("cpu") {
            limits.cpu = duration(field, CPU)?;
        }
        if let Some(field) = fields.take("concurrency") {
            limits.concurrency = count(field, CONCURRENCY)?;
        }
        if let Some(field) = fields.take("responseBytes") {
            limits.response_bytes = bytes(field, RESPONSE)?;
        }
        if let Some(field) = fields.take("listItems") {
            limits.list_items = count(field, LIST_ITEMS)?;
        }
        Ok(limits)
    }
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

fn count(field: Field, (least, most): (i64, i64)) -> Result<u32, ManifestError> {
    // Every ceiling of a count is far below 2^32.
    Ok(u32::try_from(field.integer(least, most)?).unwrap_or(u32::MAX))
}

/// A size as people write it; the bounds are whole Ki or Mi.
pub(super) fn binary(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{}Mi", bytes >> 20) } else { format!("{}Ki", bytes >> 10) }
}
