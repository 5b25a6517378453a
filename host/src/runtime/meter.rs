//! The CPU time that a call really runs, not the time it waits for a backend or for its turn.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use super::{
    fault::Fault,
    lane::{START, Turns},
};

/// Counts a call's CPU time in slices: from when it is given a thread until it waits or is interrupted.
pub(super) struct CpuMeter {
    limit: Duration,
    used_nanos: AtomicU64,
    slice_start_nanos: AtomicU64,
}

impl CpuMeter {
    pub(super) fn new(limit: Duration) -> Arc<Self> {
        Arc::new(Self { limit, used_nanos: AtomicU64::new(0), slice_start_nanos: AtomicU64::new(0) })
    }

    /// Runs `work` until it is done. Once it has computed for longer than a start may take, each slice needs a turn.
    pub(super) async fn run<F: Future>(&self, work: F, turns: &Turns) -> F::Output {
        let mut work = pin!(work);
        loop {
            let turn = if self.used() < START { None } else { Some(turns.next().await) };
            let outcome = std::future::poll_fn(|context| Poll::Ready(self.slice(work.as_mut(), context))).await;
            drop(turn);
            match outcome {
                Poll::Ready(output) => return output,
                Poll::Pending => woken().await,
            }
        }
    }

    fn slice<F: Future>(&self, work: Pin<&mut F>, context: &mut std::task::Context<'_>) -> Poll<F::Output> {
        self.slice_start_nanos.store(thread_cpu_nanos(), Ordering::Relaxed);
        let outcome = work.poll(context);
        self.used_nanos.fetch_add(self.running(), Ordering::Relaxed);
        outcome
    }

    /// An error once the limit is reached; asked from within a slice.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let used = self.used() + Duration::from_nanos(self.running());
        if used > self.limit { Err(Fault::Cpu { limit: self.limit }) } else { Ok(()) }
    }

    /// What was used in the slices that are over.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_nanos.load(Ordering::Relaxed))
    }

    fn running(&self) -> u64 {
        thread_cpu_nanos().saturating_sub(self.slice_start_nanos.load(Ordering::Relaxed))
    }
}

/// Until the task is polled again: by whatever `work` waits for, which has its waker.
async fn woken() {
    let mut polled = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

fn thread_cpu_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::runtime::lane::Lane;

    fn compute(time: Duration) {
        let until = thread_cpu_nanos() + u64::try_from(time.as_nanos()).unwrap();
        while thread_cpu_nanos() < until {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn a_call_needs_turns_only_after_its_start() {
        let turns = Lane::new(2).turns();
        let elsewhere = turns.next().await;
        let meter = CpuMeter::new(Duration::MAX);
        assert!(meter.run(async { compute(START) }, &turns).now_or_never().is_some(), "a start is free");
        let mut waiting = pin!(meter.run(async {}, &turns));
        assert!(waiting.as_mut().now_or_never().is_none(), "and then it waits for its turn");
        drop(elsewhere);
        assert!(waiting.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_call_that_waits_holds_no_turn() {
        let turns = Lane::new(2).turns();
        let meter = CpuMeter::new(Duration::MAX);
        let (wake, woken) = tokio::sync::oneshot::channel();
        let work = async {
            compute(START);
            tokio::task::yield_now().await;
            woken.await
        };
        let mut call = pin!(meter.run(work, &turns));
        for _ in 0..3 {
            assert!(call.as_mut().now_or_never().is_none());
        }
        assert!(turns.next().now_or_never().is_some());
        wake.send(7).unwrap();
        assert_eq!(call.await, Ok(7));
        assert!(meter.used() >= START);
    }

    #[test]
    fn waits_are_not_counted() {
        let meter = CpuMeter::new(START);
        meter.slice_start_nanos.store(thread_cpu_nanos(), Ordering::Relaxed);
        assert_eq!(meter.check(), Ok(()));
        compute(START);
        assert_eq!(meter.check(), Err(Fault::Cpu { limit: START }));
    }
}
