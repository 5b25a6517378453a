//! What one call's instance can reach, and how much of it. Made anew for each call: nothing of one call is left for the next.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{
    abi::{wasi_http::Hooks, wasi_sockets::CallSockets},
    fault::Fault,
    log::{GuestLog, Level},
    state::PluginState,
    stderr::Stderr,
};
use crate::{
    egress,
    model::{Kinds, Objects, PluginId},
};

/// Elements of all tables of an instance: function pointers of a large interpreter, with room.
const TABLE_ELEMENTS: usize = 100_000;

/// What an instance reaches of its plugin: shared by all of the plugin's calls.
pub(super) struct Reach {
    pub(super) id: PluginId,
    pub(super) config: Vec<(String, String)>,
    pub(super) http: egress::Client,
    pub(super) objects: Arc<dyn Objects>,
    pub(super) kinds: Arc<dyn Kinds>,
    pub(super) state: Arc<PluginState>,
    pub(super) log: GuestLog,
}

/// The data of a call's store.
pub(super) struct CallState {
    pub(super) reach: Arc<Reach>,
    /// The namespace of the request under way; absent for cluster-scoped objects, lists and validation.
    pub(super) namespace: Option<String>,
    /// When requests to backends are given up.
    backends_until: Instant,
    pub(super) memory: MemoryLimit,
    pub(super) meter: Arc<CpuMeter>,
    table: ResourceTable,
    // Most Rust and C guests never call WASI: it is built at the first use.
    wasi: Option<Box<Wasi>>,
}

struct Wasi {
    ctx: WasiCtx,
    stderr: Stderr,
    http: WasiHttpCtx,
    hooks: Hooks,
    sockets: Arc<CallSockets>,
}

impl CallState {
    pub(super) fn new(
        reach: Arc<Reach>,
        namespace: Option<String>,
        backends_until: Instant,
        memory_bytes: usize,
        meter: Arc<CpuMeter>,
    ) -> Self {
        let memory = MemoryLimit { bytes: memory_bytes, used: 0 };
        Self { reach, namespace, backends_until, memory, meter, table: ResourceTable::new(), wasi: None }
    }

    /// Time left, for requests to backends.
    pub(super) fn remaining(&self) -> Duration {
        self.backends_until.saturating_duration_since(Instant::now())
    }

    /// Logs what the guest printed to standard error: for most languages a panic's message.
    pub(super) fn log_stderr(&self) {
        let Some(wasi) = &self.wasi else { return };
        let printed = wasi.stderr.printed();
        if !printed.is_empty() {
            self.reach.log.write(Level::Warn, &printed);
        }
    }

    /// What the call may still do with sockets.
    pub(super) fn call_sockets(&mut self) -> Arc<CallSockets> {
        self.wasi().0.sockets.clone()
    }

    fn wasi(&mut self) -> (&mut Wasi, &mut ResourceTable) {
        let Self { wasi, table, reach, backends_until, .. } = self;
        let wasi = wasi.get_or_insert_with(|| {
            let (stderr, sockets) = (Stderr::default(), CallSockets::new(reach.clone()));
            let permitted = sockets.clone();
            // No arguments, environment, preopened folders or UDP; clocks and random numbers are harmless.
            let ctx = WasiCtx::builder()
                .stderr(stderr.clone())
                .allow_udp(false)
                .allow_tcp(sockets.are_allowed())
                .socket_addr_check(move |address, purpose| {
                    Box::pin(std::future::ready(permitted.permits(address, purpose)))
                })
                .build();
            let hooks = Hooks::new(reach.clone(), *backends_until);
            Box::new(Wasi { ctx, stderr, http: WasiHttpCtx::new(), hooks, sockets })
        });
        (wasi, table)
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (wasi, table) = self.wasi();
        WasiCtxView { ctx: &mut wasi.ctx, table }
    }
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (wasi, table) = self.wasi();
        WasiHttpCtxView { hooks: &mut wasi.hooks, table, ctx: &mut wasi.http }
    }
}

/// Bounds the linear memories of an instance in sum.
pub(super) struct MemoryLimit {
    pub(super) bytes: usize,
    used: usize,
}

impl MemoryLimit {
    pub(super) fn exceeded(&self) -> Fault {
        Fault::Memory { limit_mib: self.bytes >> 20 }
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.bytes {
            // A guest that sees a failed growth aborts in its own words; a trap of ours says which limit it was.
            return Err(self.exceeded().into());
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS { Err(Fault::Table { limit: TABLE_ELEMENTS }.into()) } else { Ok(true) }
    }
}

/// Counts the CPU time that a call really ran, not the time it waited for a backend or for its turn.
pub(super) struct CpuMeter {
    limit: Duration,
    used_nanos: AtomicU64,
    slice_start_nanos: AtomicU64,
}

impl CpuMeter {
    pub(super) fn new(limit: Duration) -> Arc<Self> {
        Arc::new(Self { limit, used_nanos: AtomicU64::new(0), slice_start_nanos: AtomicU64::new(0) })
    }

    /// Runs `work` until it is done, counting each slice between two waits.
    pub(super) async fn count<F: Future>(&self, work: F) -> F::Output {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| {
            self.slice_start_nanos.store(thread_cpu_nanos(), Ordering::Relaxed);
            let outcome = work.as_mut().poll(context);
            self.used_nanos.fetch_add(self.slice(), Ordering::Relaxed);
            outcome
        })
        .await
    }

    /// An error once the limit is reached; asked from within a slice.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let used = self.used_nanos.load(Ordering::Relaxed) + self.slice();
        if Duration::from_nanos(used) > self.limit { Err(Fault::Cpu { limit: self.limit }) } else { Ok(()) }
    }

    fn slice(&self) -> u64 {
        thread_cpu_nanos().saturating_sub(self.slice_start_nanos.load(Ordering::Relaxed))
    }
}

fn thread_cpu_nanos() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
