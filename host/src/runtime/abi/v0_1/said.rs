//! What a guest of track 0.1 answered, in its own words and value by value, for an explanation.

use std::time::Duration;

use super::{
    bindings::exports::wasm_metrics_adapter::plugin::{custom_metrics, external_metrics, resource_metrics},
    quantity, types,
};
use crate::{
    model::{GuestValue, UnixMillis},
    runtime::{explain::VALUES, store::CallState},
};

type Said<'guest, Item> = &'guest Result<Vec<Item>, types::Failure>;

pub(super) fn external(state: &CallState, said: Said<'_, external_metrics::Sample>) {
    each(state, said, |sample, tell| {
        let labels = sample.labels.iter().map(|label| format!("{}={}", label.key, label.value));
        let of = labels.collect::<Vec<_>>().join(",");
        tell(value(of, sample.value, sample.timestamp, sample.window_ms));
    });
}

pub(super) fn custom(state: &CallState, said: Said<'_, custom_metrics::Sample>) {
    each(state, said, |sample, tell| {
        tell(value(sample.object.clone(), sample.value, sample.timestamp, sample.window_ms));
    });
}

pub(super) fn pods(state: &CallState, said: Said<'_, resource_metrics::Pod>) {
    each(state, said, |pod, tell| {
        for container in &pod.containers {
            let of = format!("{}/{} {}", pod.ref_.namespace, pod.ref_.name, container.name);
            usage(&of, container.usage, pod.timestamp, pod.window_ms, tell);
        }
    });
}

pub(super) fn nodes(state: &CallState, said: Said<'_, resource_metrics::Node>) {
    each(state, said, |node, tell| usage(&node.name, node.usage, node.timestamp, node.window_ms, tell));
}

/// Nothing is made ready for a call that nobody wants explained.
fn each<Item>(state: &CallState, said: Said<'_, Item>, tell: impl Fn(&Item, &mut dyn FnMut(GuestValue))) {
    let (Some(trace), Ok(items)) = (&state.trace, said) else { return };
    items.iter().take(VALUES).for_each(|item| tell(item, &mut |value| trace.answered(|| value)));
    trace.left_out(items.len().saturating_sub(VALUES));
}

fn usage(of: &str, usage: resource_metrics::Usage, timestamp: u64, window_ms: u32, tell: &mut dyn FnMut(GuestValue)) {
    tell(value(format!("{of} cpu"), usage.cpu, Some(timestamp), Some(window_ms)));
    tell(value(format!("{of} memory"), usage.memory, Some(timestamp), Some(window_ms)));
}

fn value(of: String, number: types::Number, timestamp: Option<u64>, window_ms: Option<u32>) -> GuestValue {
    let said = match number {
        types::Number::Integer(value) => format!("{value} (integer)"),
        types::Number::Float(value) => format!("{value} (float)"),
        types::Number::Exact(exact) => format!("{}e{} (exact)", exact.digits, exact.exponent),
    };
    GuestValue {
        of,
        number: said,
        quantity: quantity(number).map_err(|error| error.to_string()),
        timestamp: timestamp.map(UnixMillis),
        window: window_ms.map(|millis| Duration::from_millis(millis.into())),
    }
}
