//! How much memory an instance takes: its own limits, and its plugin's share of what there is for all.

use wasmtime::ResourceLimiter;

use super::{budget::Held, fault::Fault, plugin::Limits};

/// Memories of an instance. A composed component has one for each of its parts; each reserves gigabytes of address space.
const MEMORIES: usize = 8;
/// Tables of an instance: one for each module that has function pointers.
const TABLES: usize = 100;
/// Bytes of a table's element: a pointer.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// Bounds an instance's linear memories and tables, each in sum.
pub(super) struct Limiter {
    limits: Limits,
    /// What this call has been given; at the end, what it needed.
    budget: Held,
    bytes: usize,
    elements: usize,
}

impl Limiter {
    pub(super) fn new(limits: Limits, budget: Held) -> Self {
        Self { limits, budget, bytes: 0, elements: 0 }
    }

    /// Bytes in use. What was grown is never given back before the end, so it is the peak too.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The fault of an instance whose host would have to hold `bytes` for it.
    pub(super) fn check(&self, bytes: usize) -> Result<(), Fault> {
        let limit = self.limits.memory_bytes;
        if bytes > limit { Err(Fault::Memory { limit_mib: limit >> 20 }) } else { Ok(()) }
    }

    fn grow(&mut self, more: usize) -> Result<(), Fault> {
        let bytes = self.bytes.saturating_add(more);
        self.check(bytes)?;
        if !self.budget.try_grow(bytes.saturating_sub(self.budget.amount())) {
            return Err(Fault::Crowded { budget_mib: self.budget.of_all() >> 20 });
        }
        self.bytes = bytes;
        Ok(())
    }
}

/// A guest that sees a failed growth aborts in its own words: a trap of ours says which limit it was.
impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(desired.saturating_sub(current))?;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        self.elements = self.elements.saturating_add(more);
        if self.elements > self.limits.table_elements {
            return Err(Fault::Table { limit: self.limits.table_elements }.into());
        }
        self.grow(more.saturating_mul(ELEMENT_BYTES))?;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.limits.instances
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}
