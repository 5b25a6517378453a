//! Cells of tables, in the words of kubectl.

use serde_json::Value;

use super::whole_seconds;
use crate::model::UnixMillis;

const NONE: &str = "<none>";

/// `a=1,b=2`
pub(super) fn pairs(pairs: &[(String, String)]) -> Value {
    let text: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if text.is_empty() { NONE.into() } else { text.join(",").into() }
}

/// `60s`
pub(super) fn seconds(window: Option<i64>) -> Value {
    window.map_or_else(|| NONE.into(), |seconds| format!("{seconds}s").into())
}

/// `2026-01-02T03:04:05Z`: the time and not the age, so that replicas answer alike.
pub(super) fn time(time: UnixMillis) -> Value {
    whole_seconds(time).map_or_else(|| NONE.into(), |time| time.to_string().into())
}
