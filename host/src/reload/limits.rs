//! The limits of plugin.yaml in the runtime's words.

use crate::{manifest, runtime};

/// Each limit of `limits` but that of a backend's response, which the `egress` room holds.
pub(super) fn of_calls(limits: &manifest::Limits) -> runtime::Limits {
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    runtime::Limits {
        memory_bytes: bytes(limits.memory_bytes),
        table_elements: limits.table_elements as usize,
        instances: limits.instances as usize,
        timeout: limits.timeout,
        cpu: limits.cpu,
        concurrency: limits.concurrency as usize,
        list_items: limits.list_items as usize,
        answer_bytes: bytes(limits.answer_bytes),
        requests: limits.requests as usize,
        log_lines: limits.log_lines as usize,
        state_bytes: bytes(limits.state_bytes),
    }
}
