//! What one call's instance can reach, and how much of it. Made anew for each call: nothing of one call is left for the next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use zeroize::Zeroizing;

use super::{
    abi::{wasi_http::Hooks, wasi_sockets::CallSockets},
    explain::Trace,
    limiter::Limiter,
    log::{GuestLog, Level},
    meter::CpuMeter,
    requests::Requests,
    state::{Place, PluginState},
    stderr::Stderr,
};
use crate::{
    egress,
    model::{Kinds, Objects, PluginId},
};

/// Streams, requests, timers and the like of WASI that an instance holds at once. Each is memory of the adapter's; a hundred
/// requests at once are some six hundred.
const RESOURCES: usize = 4096;
/// Random bytes in one go, which the host makes before the guest has room for them. A seed is 32.
const RANDOM_BYTES: u64 = 1 << 20;

/// What an instance reaches of its plugin: shared by all of the plugin's calls.
pub(super) struct Reach {
    pub(super) id: PluginId,
    pub(super) config: Vec<(String, String)>,
    pub(super) secrets: Vec<Zeroizing<String>>,
    pub(super) http: egress::Client,
    pub(super) objects: Arc<dyn Objects>,
    pub(super) kinds: Arc<dyn Kinds>,
    pub(super) state: Arc<PluginState>,
    pub(super) state_bytes: usize,
    pub(super) log: GuestLog,
}

impl Reach {
    /// Every secret of the plugin that the host knows: what no text that leaves the host may hold.
    pub(super) fn secrets(&self) -> impl Iterator<Item = Zeroizing<String>> {
        self.secrets.iter().cloned().chain(self.http.secrets())
    }

    /// Where a call for `namespace` keeps its values.
    pub(super) fn place<'a>(&self, namespace: &'a Option<String>) -> Place<'a> {
        Place { namespace, quota_bytes: self.state_bytes }
    }
}

/// The data of a call's store.
pub(super) struct CallState {
    pub(super) reach: Arc<Reach>,
    /// The namespace of the request under way; absent for cluster-scoped objects, lists and validation.
    pub(super) namespace: Option<String>,
    /// When requests to backends are given up.
    backends_until: Instant,
    pub(super) limiter: Limiter,
    pub(super) meter: Arc<CpuMeter>,
    pub(super) requests: Arc<Requests>,
    /// Where the call is written down if it is explained.
    pub(super) trace: Option<Arc<Trace>>,
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
        limiter: Limiter,
        meter: Arc<CpuMeter>,
        requests: Arc<Requests>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        Self { reach, namespace, backends_until, limiter, meter, requests, trace: None, table, wasi: None }
    }

    /// Time left, for requests to backends.
    pub(super) fn remaining(&self) -> Duration {
        self.backends_until.saturating_duration_since(Instant::now())
    }

    /// Writes a line of the guest's.
    pub(super) fn log(&self, level: Level, message: &str) {
        self.reach.log.write(level, message);
        if let Some(trace) = &self.trace {
            trace.logged(level, message);
        }
    }

    /// Logs what the guest printed to standard error: for most languages a panic's message.
    pub(super) fn log_stderr(&self) {
        let Some(wasi) = &self.wasi else { return };
        let printed = wasi.stderr.printed();
        if !printed.is_empty() {
            self.log(Level::Warn, &printed);
        }
    }

    /// What the call may still do with sockets.
    pub(super) fn call_sockets(&mut self) -> Arc<CallSockets> {
        self.wasi().0.sockets.clone()
    }

    fn wasi(&mut self) -> (&mut Wasi, &mut ResourceTable) {
        let Self { wasi, table, reach, backends_until, requests, trace, .. } = self;
        let wasi = wasi.get_or_insert_with(|| {
            let (stderr, sockets) = (Stderr::default(), CallSockets::new(reach.clone()));
            let (permitted, counted) = (sockets.clone(), requests.clone());
            // No arguments, environment, preopened folders or UDP; clocks and random numbers are harmless.
            let mut ctx = WasiCtx::builder();
            ctx.stderr(stderr.clone()).max_random_size(RANDOM_BYTES);
            ctx.allow_udp(false).allow_tcp(sockets.are_allowed()).socket_addr_check(move |address, purpose| {
                let is_permitted = permitted.permits(address, purpose) && counted.admit(1).is_ok();
                Box::pin(std::future::ready(is_permitted))
            });
            let hooks = Hooks::new(reach.clone(), *backends_until, trace.clone(), requests.clone());
            Box::new(Wasi { ctx: ctx.build(), stderr, http: WasiHttpCtx::new(), hooks, sockets })
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
