//! Why a call ended without an answer of the guest's own. Told apart by type; the texts are stable and name the limit to raise.

use std::time::Duration;

use wasmtime::Trap;

use super::log::one_line;
use crate::model::{FetchError, Reason};

/// Bytes that a guest may hand to the host in one call: what a full list of samples needs, with room.
pub(super) const HOSTCALL_BYTES: usize = 16 << 20;

/// A guest's fault, or the host's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the plugin stopped with a trap ({0}); its log has the cause")]
    Trap(String),
    #[error("the plugin used more than {limit:?} of CPU time for one request; make it do less, or raise limits.cpu")]
    Cpu { limit: Duration },
    #[error("the plugin needs more than {limit_mib} MiB of memory; make it use less, or raise limits.memory")]
    Memory { limit_mib: usize },
    #[error("the plugin needs a table of more than {limit} elements, the adapter's limit; build it from less code")]
    Table { limit: usize },
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
    #[error("the plugin moved more data in one call than the adapter carries ({} MiB); make it answer with less", HOSTCALL_BYTES >> 20)]
    TooMuchData,
    #[error("the plugin answered with more than {limit} items; make it answer with fewer, or raise limits.listItems")]
    TooManyItems { limit: usize },
    #[error("the plugin's answer makes no sense: {0}")]
    Nonsense(String),
    #[error("the adapter could not run the plugin; its log has the cause")]
    Host(String),
}

impl Fault {
    /// What wasmtime's error was. Faults that the adapter raised inside the call come back as they are.
    pub(super) fn of(error: &wasmtime::Error) -> Self {
        if let Some(fault) = error.downcast_ref::<Self>() {
            return fault.clone();
        }
        if error.downcast_ref::<wasmtime_wasi::I32Exit>().is_some() {
            return Self::Exit;
        }
        match error.downcast_ref::<Trap>() {
            Some(trap) => Self::Trap(one_line(&trap.to_string())),
            // wasmtime has no type for it (hostcall fuel): what is left is its own message.
            None if format!("{error:?}").contains("too much data is being copied") => Self::TooMuchData,
            None => Self::Host(format!("{error:#}")),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Self::Time { .. } => Reason::Timeout,
            Self::Busy { .. } | Self::Full => Reason::Overloaded,
            _ => Reason::Internal,
        }
    }
}

impl From<Fault> for FetchError {
    fn from(fault: Fault) -> Self {
        Self::new(fault.reason(), fault.to_string())
    }
}
