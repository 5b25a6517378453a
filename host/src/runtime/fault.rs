//! Why a call ended without an answer of the guest's own. Told apart by type; the texts are stable and name the limit to raise.

use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Trap, component::ResourceTableError};

use super::{engine::STACK_BYTES, log::one_line, plugin::Limits};
use crate::model::{FetchError, Reason};

/// A guest's fault, or the host's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the plugin stopped with a trap ({0}); its log has the cause")]
    Trap(String),
    #[error("the plugin used more than {limit:?} of CPU time for one request; make it do less, or raise limits.cpu")]
    Cpu { limit: Duration },
    #[error("the plugin needs more than {limit_mib} MiB of memory; make it use less, or raise limits.memory")]
    Memory { limit_mib: usize },
    #[error(
        "the plugin's calls need more memory than is free of the {budget_mib} MiB that plugins have together; raise --guest-memory-budget, or run more replicas"
    )]
    Crowded { budget_mib: usize },
    #[error(
        "the plugin needs tables of more than {limit} elements; build it from less code, or raise limits.tableElements"
    )]
    Table { limit: usize },
    #[error("the plugin has more than {limit} core instances; compose it of less, or raise limits.instances")]
    Instances { limit: usize },
    #[error("the plugin has more memories or tables than the adapter runs ({0}); compose it of less")]
    Parts(String),
    #[error("the plugin needs more than {} KiB of stack, the adapter's limit; make it recurse less", STACK_BYTES >> 10)]
    Stack,
    #[error(
        "the plugin holds more streams, requests or timers of WASI than the adapter keeps for one request; make it drop them"
    )]
    Resources,
    #[error(
        "the plugin made more than {limit} requests to backends for one answer; make it ask for several things at once, or raise limits.requests"
    )]
    TooManyRequests { limit: usize },
    #[error(
        "the plugin did not answer within {limit:?}; its backend may be slow: make it ask for less, or raise limits.timeout"
    )]
    Time { limit: Duration },
    #[error(
        "{limit} requests of this plugin are under way and none ended in half its timeout; its backend may be slow, or raise limits.concurrency"
    )]
    Busy { limit: usize },
    #[error(
        "the adapter runs as many requests of all plugins as it can; their backends may be slow, or run more replicas"
    )]
    Full,
    #[error("the plugin ended itself instead of answering (exit); answer with a failure instead")]
    Exit,
    #[error(
        "the plugin handed more than {limit} bytes to the adapter in one go; make it answer with less, or raise limits.answerBytes"
    )]
    TooMuchData { limit: usize },
    #[error("the plugin answered with more than {limit} items; make it answer with fewer, or raise limits.listItems")]
    TooManyItems { limit: usize },
    #[error("the plugin's answer makes no sense: {0}")]
    Nonsense(String),
    #[error("the plugin broke the rules of its interfaces ({0}); build it with a current toolchain")]
    Rules(String),
    #[error("the adapter could not run the plugin; its log has the cause")]
    Host(String),
}

impl Fault {
    /// What wasmtime's error was. Faults that the adapter raised inside the call come back as they are.
    pub(super) fn of(error: &wasmtime::Error, limits: &Limits) -> Self {
        if let Some(fault) = error.downcast_ref::<Self>() {
            return fault.clone();
        }
        if error.downcast_ref::<wasmtime_wasi::I32Exit>().is_some() {
            return Self::Exit;
        }
        if let Some(ResourceTableError::Full) = error.downcast_ref() {
            return Self::Resources;
        }
        if error.is::<PoolConcurrencyLimitError>() || error.is::<std::io::Error>() {
            return Self::Host(format!("{error:#}"));
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::StackOverflow) => Self::Stack,
            Some(trap) => Self::Trap(one_line(&trap.to_string())),
            None => Self::of_text(&error.root_cause().to_string(), limits),
        }
    }

    /// Where wasmtime has no type for it: what is left is its own message.
    fn of_text(text: &str, limits: &Limits) -> Self {
        if text.contains("too much data is being copied") {
            return Self::TooMuchData { limit: limits.answer_bytes };
        }
        match text.strip_prefix("resource limit exceeded: ") {
            Some(which) if which.starts_with("instance") => Self::Instances { limit: limits.instances },
            Some(which) => Self::Parts(one_line(which)),
            None => Self::Rules(one_line(text)),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Time { .. } => Reason::Timeout,
            Self::Busy { .. } | Self::Full | Self::Crowded { .. } => Reason::Overloaded,
            _ => Reason::Internal,
        }
    }
}

impl From<Fault> for FetchError {
    fn from(fault: Fault) -> Self {
        Self::new(fault.reason(), fault.to_string())
    }
}
