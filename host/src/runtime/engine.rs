//! wasmtime's engines and the clock that interrupts guests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often a running guest is interrupted: it yields to others, and its CPU time is checked against its limit. 5 ms keeps the
/// cost of the checks unseen, the error of a 200 ms limit small, and the wait of a call that finds every thread busy short.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Instances of pooled components alive at once, over all plugins. Each slot is address space only, until it is used.
pub(super) const POOL_SLOTS: u32 = 256;

/// The most linear memory that the pool gives one instance; a plugin's own limit is below it. Also the ceiling of `limits.memory`.
const POOL_MEMORY_BYTES: usize = 512 << 20;

/// Core instances and tables of a pooled component, of which the pool has as many for each slot: whatever components do, each of
/// the pool's instances finds its parts. An adapter module beside the main one is usual in components of C and Go toolchains.
const POOL_PARTS: u32 = 4;

/// Stack of a guest's functions. wasmtime's default: interpreters need a quarter of it. The stack on which host functions run below
/// them is four times as large.
pub(super) const STACK_BYTES: usize = 512 << 10;

/// Bytes of a slot that stay mapped between calls, zeroed instead of unmapped: with none of it the kernel's page-table work under
/// 32 parallel streams doubles the cost of a call. Where the kernel can tell which pages were written (PAGEMAP_SCAN, Linux 6.7), only
/// those count and are zeroed; elsewhere it is the lowest addresses, and more than this would only add zeroing.
const KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// The same compiled code runs on both engines: they differ only in where instances live.
#[derive(Clone)]
pub(super) struct Engines {
    /// Pre-reserved slots: half the cost per call for small components.
    pub(super) pooled: Engine,
    /// For components that don't fit a slot (several memories, large tables).
    pub(super) on_demand: Engine,
    clock: Arc<Clock>,
}

impl Engines {
    pub(super) fn start() -> wasmtime::Result<Self> {
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(POOL_SLOTS)
            .total_core_instances(POOL_SLOTS * POOL_PARTS)
            .total_memories(POOL_SLOTS)
            .total_tables(POOL_SLOTS * POOL_PARTS)
            .total_stacks(POOL_SLOTS)
            .max_core_instances_per_component(POOL_PARTS)
            .max_memories_per_component(1)
            .max_tables_per_component(POOL_PARTS)
            .max_memory_size(POOL_MEMORY_BYTES)
            .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
            .table_keep_resident(KEEP_RESIDENT_BYTES)
            .pagemap_scan(Enabled::Auto);
        let pooled = Engine::new(configuration().allocation_strategy(InstanceAllocationStrategy::Pooling(pool)))?;
        let on_demand = Engine::new(&configuration())?;
        let clock = Clock::start([pooled.clone(), on_demand.clone()])?;
        Ok(Self { pooled, on_demand, clock })
    }

    /// The clock ticks as long as any of these lives.
    pub(super) fn ticking(&self) -> Ticking {
        self.clock.active.fetch_add(1, Ordering::SeqCst);
        if self.clock.parked.swap(false, Ordering::SeqCst) {
            self.clock.thread.unpark();
        }
        Ticking(self.clock.clone())
    }
}

/// What is compiled in. Whatever changes the code must be the same in the compiler's child process.
pub(super) fn configuration() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.max_wasm_stack(STACK_BYTES);
    // Async (WASI 0.3) components are not of our WIT version; without their support a call is 1 to 2 us cheaper.
    config.concurrency_support(false);
    // Guest backtraces never reach a client, and the tables for them are a tenth of the code.
    config.generate_address_map(false);
    config.wasm_backtrace_max_frames(None);
    config.memory_init_cow(true);
    config
}

/// An engine that can compile and not run: no pool is reserved.
pub(super) fn compiling_engine() -> wasmtime::Result<Engine> {
    Engine::new(&configuration())
}

struct Clock {
    thread: thread::Thread,
    active: AtomicUsize,
    parked: AtomicBool,
}

impl Clock {
    fn start(engines: [Engine; 2]) -> wasmtime::Result<Arc<Self>> {
        let (give, take) = std::sync::mpsc::sync_channel::<Arc<Self>>(1);
        let handle = thread::Builder::new().name("guest-clock".to_owned()).spawn(move || {
            let Ok(clock) = take.recv() else { return };
            clock.run(&engines);
        })?;
        let clock = Arc::new(Self {
            thread: handle.thread().clone(),
            active: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
        });
        // The thread waits for exactly this message.
        let _ = give.send(clock.clone());
        Ok(clock)
    }

    /// Ticks while calls run, and for a while after, so that a call a second does not wake a thread each time; then sleeps without
    /// waking the processor.
    fn run(&self, engines: &[Engine]) {
        const IDLE_TICKS: u32 = 1000;
        let mut idle = 0;
        loop {
            idle = if self.active.load(Ordering::SeqCst) == 0 { idle + 1 } else { 0 };
            if idle > IDLE_TICKS {
                self.parked.store(true, Ordering::SeqCst);
                // A call that began before the line above did not see it, and is seen here.
                if self.active.load(Ordering::SeqCst) == 0 {
                    thread::park();
                }
                self.parked.store(false, Ordering::SeqCst);
                idle = 0;
            }
            thread::sleep(TICK);
            for engine in engines {
                engine.increment_epoch();
            }
        }
    }
}

/// Keeps the clock ticking.
pub(super) struct Ticking(Arc<Clock>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::SeqCst);
    }
}
