//! One call from permit to answer: a fresh store, a fresh instance, one exported function, and the end of all of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Store, UpdateDeadline};

use super::{
    Runtime,
    abi::{Answer, InstancePre, Question},
    budget::{Held, Share},
    engine::Engines,
    explain::Trace,
    fault::Fault,
    lane::Turns,
    limiter::Limiter,
    log::one_line,
    meter::CpuMeter,
    plugin::Limits,
    requests::Requests,
    store::{CallState, Reach},
};

/// What each call of a plugin needs; shared by its calls.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) reach: Arc<Reach>,
    pub(super) instance: InstancePre,
    pub(super) limits: Limits,
    engines: Engines,
    guests: tokio::runtime::Handle,
    turns: Turns,
    permits: Arc<Semaphore>,
    places: Arc<Share>,
    memory: Arc<Share>,
    /// Bytes that calls needed of late: what the next one waits for before it begins. A call that waited in its middle would
    /// hold what others wait for.
    expected_bytes: Arc<AtomicUsize>,
    /// Where calls are written down that are explained.
    pub(super) trace: Option<Arc<Trace>>,
}

/// What a call holds from its beginning to its end.
struct Admitted {
    _permit: OwnedSemaphorePermit,
    _place: Held,
    memory: Held,
}

impl Caller {
    pub(super) fn new(reach: Arc<Reach>, instance: InstancePre, limits: Limits, runtime: &Runtime) -> Self {
        Self {
            reach,
            instance,
            limits,
            engines: runtime.engines.clone(),
            guests: runtime.guests.clone(),
            turns: runtime.lane.turns(),
            permits: Arc::new(Semaphore::new(limits.concurrency)),
            places: Share::of(&runtime.places),
            memory: Share::of(&runtime.memory),
            expected_bytes: Arc::default(),
            trace: None,
        }
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
            self.reach.log.note(&format!("call failed: {fault} {detail}"));
        }
        outcome
    }

    async fn ask_until(self: &Arc<Self>, deadline: Instant, question: Question) -> Result<Answer, Fault> {
        // Whoever has not begun in half of its time would hardly be answered in the rest.
        let admitted = self.admit(deadline - self.limits.timeout / 2).await?;
        let this = self.clone();
        let call = self.guests.spawn(async move { this.run(question, deadline, admitted).await });
        let mut call = tokio_util::task::AbortOnDropHandle::new(call);
        match tokio::time::timeout_at(deadline.into(), &mut call).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failed)) => Err(Fault::Host(failed.to_string())),
            // A guest that waits is seen here; one that spins is interrupted by its own clock.
            Err(_) => Err(Fault::Time { limit: self.limits.timeout }),
        }
    }

    /// A place among this plugin's calls, then one among all, then memory.
    async fn admit(&self, until: Instant) -> Result<Admitted, Fault> {
        let busy = || Fault::Busy { limit: self.limits.concurrency };
        let permit = tokio::time::timeout_at(until.into(), self.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| busy())?.map_err(|_| busy())?;
        let place = self.places.take(1, until).await.ok_or(Fault::Full)?;
        let memory = self.memory.take(self.expected_bytes.load(Ordering::Relaxed), until).await;
        let memory = memory.ok_or(Fault::Crowded { budget_mib: self.memory.of_all() >> 20 })?;
        Ok(Admitted { _permit: permit, _place: place, memory })
    }

    async fn run(&self, question: Question, deadline: Instant, admitted: Admitted) -> Result<Answer, Fault> {
        let Admitted { _permit, _place, memory } = admitted;
        let _ticking = self.engines.ticking();
        let mut store = self.store(&question, deadline, memory);
        let meter = store.data().meter.clone();
        if let Some(trace) = &self.trace {
            trace.asked(&question, meter.clone());
        }
        let outcome = meter.run(self.instance.ask(&mut store, question), &self.turns).await;
        let state = store.data();
        self.expect(state.limiter.bytes());
        if let Some(trace) = &self.trace {
            trace.ended(state.limiter.bytes());
        }
        let answer = outcome.map_err(|error| {
            state.log_stderr();
            tracing::debug!(plugin = %self.reach.id, "call ended: {}", one_line(&format!("{error:#}")));
            Fault::of(&error, &self.limits)
        })?;
        state.requests.check()?;
        Ok(answer)
    }

    /// Follows a rise at once and a fall slowly.
    fn expect(&self, bytes: usize) {
        let before = self.expected_bytes.load(Ordering::Relaxed);
        self.expected_bytes.store(bytes.max(before - before / 8), Ordering::Relaxed);
    }

    fn store(&self, question: &Question, deadline: Instant, memory: Held) -> Store<CallState> {
        // A guest whose backend is slow has time left to say which one it was.
        let backends_until = deadline - self.limits.timeout / 10;
        let mut state = CallState::new(
            self.reach.clone(),
            question.namespace().map(str::to_owned),
            backends_until,
            Limiter::new(self.limits, memory),
            CpuMeter::new(self.limits.cpu),
            Arc::new(Requests::new(self.limits.requests)),
        );
        state.trace.clone_from(&self.trace);
        let mut store = Store::new(self.instance.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(self.limits.answer_bytes);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|context| {
            context.data().meter.check()?;
            Ok(UpdateDeadline::Yield(1))
        });
        store
    }
}
