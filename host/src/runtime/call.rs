//! One call from permit to answer: a fresh store, a fresh instance, one exported function, and the end of all of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use wasmtime::{Store, UpdateDeadline};

use super::{
    abi::{Answer, InstancePre, Question},
    engine::{Engines, POOL_SLOTS},
    explain::Trace,
    fault::{Fault, HOSTCALL_BYTES},
    log::{Level, one_line},
    plugin::Limits,
    store::{CallState, CpuMeter, Reach},
};

/// What each call of a plugin needs; shared by its calls.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) reach: Arc<Reach>,
    pub(super) instance: InstancePre,
    pub(super) limits: Limits,
    pub(super) engines: Engines,
    pub(super) guests: tokio::runtime::Handle,
    /// This plugin's share, so that it can't occupy every slot.
    permits: Arc<Semaphore>,
    /// Where calls are written down that are explained.
    pub(super) trace: Option<Arc<Trace>>,
}

/// Slots of the whole process: never more calls than the pool has instances for, so that an instance is never refused.
static SLOTS: Semaphore = Semaphore::const_new(POOL_SLOTS as usize);

impl Caller {
    pub(super) fn new(
        reach: Arc<Reach>,
        instance: InstancePre,
        limits: Limits,
        engines: Engines,
        guests: tokio::runtime::Handle,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(limits.concurrency));
        Self { reach, instance, limits, engines, guests, permits, trace: None }
    }

    /// The same plugin's calls, written down in `trace`.
    pub(super) fn traced(&self, trace: &Arc<Trace>) -> Self {
        Self { trace: Some(Arc::clone(trace)), ..self.clone() }
    }

    /// Asks the guest on the guests' own runtime. Dropping this future ends the call.
    pub(super) async fn ask(self: &Arc<Self>, question: Question) -> Result<Answer, Fault> {
        let deadline = Instant::now() + self.limits.timeout;
        let outcome = self.ask_until(deadline, question).await;
        if let Err(fault) = &outcome {
            let detail = if let Fault::Host(detail) = fault { detail.as_str() } else { "" };
            self.reach.log.write(Level::Warn, &format!("call failed: {fault} {detail}"));
        }
        outcome
    }

    async fn ask_until(self: &Arc<Self>, deadline: Instant, question: Question) -> Result<Answer, Fault> {
        let permits = self.permits(self.limits.timeout / 2).await?;
        let this = self.clone();
        let call = self.guests.spawn(async move {
            let _permits = permits;
            this.run(question, deadline).await
        });
        let mut call = tokio_util::task::AbortOnDropHandle::new(call);
        match tokio::time::timeout_at(deadline.into(), &mut call).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failed)) => Err(Fault::Host(failed.to_string())),
            // A guest that waits is seen here; one that spins is interrupted by its own clock.
            Err(_) => Err(Fault::Time { limit: self.limits.timeout }),
        }
    }

    /// A place among this plugin's calls, then one among all. Whoever has not got them in half of its time would hardly be
    /// answered in the rest.
    async fn permits(&self, patience: Duration) -> Result<(OwnedSemaphorePermit, SemaphorePermit<'static>), Fault> {
        let until = tokio::time::Instant::now() + patience;
        let busy = Fault::Busy { limit: self.limits.concurrency };
        let own = tokio::time::timeout_at(until, self.permits.clone().acquire_owned()).await;
        let own = own.map_err(|_| busy.clone())?.map_err(|_| busy)?;
        let slot = tokio::time::timeout_at(until, SLOTS.acquire()).await;
        let slot = slot.map_err(|_| Fault::Full)?.map_err(|_| Fault::Full)?;
        Ok((own, slot))
    }

    async fn run(&self, question: Question, deadline: Instant) -> Result<Answer, Fault> {
        let _ticking = self.engines.ticking();
        let meter = CpuMeter::new(self.limits.cpu);
        let mut store = self.store(&question, deadline, meter.clone());
        if let Some(trace) = &self.trace {
            trace.asked(&question, meter.clone());
        }
        let outcome = meter.count(self.instance.ask(&mut store, question)).await;
        if let Some(trace) = &self.trace {
            trace.ended(store.data().memory.used());
        }
        outcome.map_err(|error| {
            store.data().log_stderr();
            tracing::debug!(plugin = %self.reach.id, "call ended: {}", one_line(&format!("{error:#}")));
            Fault::of(&error)
        })
    }

    fn store(&self, question: &Question, deadline: Instant, meter: Arc<CpuMeter>) -> Store<CallState> {
        let namespace = question.namespace().map(str::to_owned);
        // A guest whose backend is slow has time left to say which one it was.
        let backends_until = deadline - self.limits.timeout / 10;
        let mut state = CallState::new(self.reach.clone(), namespace, backends_until, self.limits.memory_bytes, meter);
        state.trace.clone_from(&self.trace);
        let mut store = Store::new(self.instance.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            context.data().meter.check()?;
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }
}
