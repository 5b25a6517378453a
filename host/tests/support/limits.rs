//! Limits that no healthy call meets.

use std::time::Duration;

use wasm_metrics_adapter::runtime::Limits;

/// Long enough that no healthy call meets it, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The limits of a plugin that says nothing, with patience.
pub(crate) fn limits() -> Limits {
    Limits {
        memory_bytes: 64 << 20,
        table_elements: 100_000,
        instances: 100,
        timeout: PATIENCE,
        cpu: PATIENCE,
        concurrency: 16,
        list_items: 1000,
        answer_bytes: 4 << 20,
        requests: 100,
        log_lines: 10,
        state_bytes: 1 << 20,
    }
}
