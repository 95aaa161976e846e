//! The wasmtime engine that all policies share, its clock, its compile threads and its slow lane. It knows no policy.

use std::{io, path::PathBuf, sync::Arc, thread};

use hookswitch_auth::Auth;
use thiserror::Error;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::{
    cache::{Cache, CacheError},
    slow_lane::SlowLane,
    ticker::Ticker,
};

/// What compiled code and slow hooks are niced to, so that workers come first.
pub(crate) const NICE: i32 = 10;
/// One policy that takes long to compile or to configure must not delay the others.
const COMPILE_THREADS_MIN: usize = 2;
/// Core instances, memories and tables for each instance of a policy: guests of interpreted languages have several.
const CORE_INSTANCES_PER_INSTANCE: u32 = 8;
const MEMORIES_PER_INSTANCE: u32 = 1;
const TABLES_PER_INSTANCE: u32 = 4;
const TABLE_ELEMENTS_MAX: usize = 100_000;
const INSTANCE_METADATA_BYTES_MAX: usize = 16 << 20;
const MEMORY_KEEP_RESIDENT_BYTES: usize = 1 << 20;
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;
const ASYNC_STACK_BYTES: usize = 1 << 20;
const WASM_STACK_BYTES_MAX: usize = 512 << 10;

/// What the engine needs to know.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Who will call hooks: workers are numbered from 0.
    pub workers: usize,
    /// Instances of all policies at once, those that stand ready included: [`instances_needed`](crate::pool::instances_needed).
    pub instances_max: u32,
    /// Where compiled code is kept; made with mode 0700. `None`: nowhere.
    pub compile_cache: Option<PathBuf>,
    /// What policies may ask about who sends, where they are granted it.
    pub auth: Arc<Auth>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            workers: 1,
            instances_max: 1_000,
            compile_cache: None,
            auth: Arc::default(),
        }
    }
}

/// Why there is no engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Most often address space: `ulimit -v` must be unlimited.
    #[error(
        "no engine for {instances_max} instances (is the address space limited, `ulimit -v`?): {source}"
    )]
    Wasmtime {
        /// As configured.
        instances_max: u32,
        /// What wasmtime says.
        source: wasmtime::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// The compile threads could not be started.
    #[error("cannot start the compile threads: {0}")]
    Compilers(#[from] rayon::ThreadPoolBuildError),
    /// The folder of compiled code cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// Shared by all policies and workers; clones are one engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    wasm: wasmtime::Engine,
    ticker: Ticker,
    compilers: rayon::ThreadPool,
    cache: Option<Cache>,
    slow_lane: SlowLane,
    auth: Arc<Auth>,
    workers: usize,
}

impl Engine {
    /// Reserves address space and starts the threads.
    ///
    /// # Errors
    /// [`EngineError`]; nothing is left behind.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let instances_max = config.instances_max;
        let wasm = wasmtime::Engine::new(&wasm_config(instances_max)).map_err(|source| {
            EngineError::Wasmtime {
                instances_max,
                source,
            }
        })?;
        let threads = thread::available_parallelism().map_or(1, Into::into);
        let compilers = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(COMPILE_THREADS_MIN))
            .thread_name(|index| format!("policy-compile-{index}"))
            .start_handler(|_| lower_priority())
            .build()?;
        let cache = config
            .compile_cache
            .map(|folder| Cache::open(folder, &wasm))
            .transpose()?;
        let ticker = Ticker::start(&wasm)?;
        let slow_lane = SlowLane::start()?;
        let workers = config.workers.max(1);
        Ok(Self {
            shared: Arc::new(Shared {
                wasm,
                ticker,
                compilers,
                cache,
                slow_lane,
                auth: config.auth,
                workers,
            }),
        })
    }

    /// Where a hook goes on that did not end in its first poll.
    pub fn slow_lane(&self) -> &SlowLane {
        &self.shared.slow_lane
    }

    /// How many workers may run hooks.
    pub fn workers(&self) -> usize {
        self.shared.workers
    }

    pub(crate) fn auth(&self) -> &Arc<Auth> {
        &self.shared.auth
    }

    pub(crate) fn wasm(&self) -> &wasmtime::Engine {
        &self.shared.wasm
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.shared.ticker
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.shared.cache.as_ref()
    }

    /// Starts a job on the low-priority threads.
    pub(crate) fn spawn_load(&self, job: impl FnOnce() + Send + 'static) {
        self.shared.compilers.spawn(job);
    }

    /// Runs a compilation on the low-priority threads.
    pub(crate) fn compile<R: Send>(&self, compilation: impl FnOnce() -> R + Send) -> R {
        self.shared.compilers.install(compilation)
    }
}

/// Lowers the calling thread's priority; on Linux that is a thread's own. Without the right to do so it stays as it is.
pub(crate) fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "thread keeps its priority");
    }
}

fn wasm_config(instances_max: u32) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max.saturating_mul(CORE_INSTANCES_PER_INSTANCE))
        .total_memories(instances_max.saturating_mul(MEMORIES_PER_INSTANCE))
        .total_tables(instances_max.saturating_mul(TABLES_PER_INSTANCE))
        .total_stacks(instances_max)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_component_instance_size(INSTANCE_METADATA_BYTES_MAX)
        .max_core_instance_size(INSTANCE_METADATA_BYTES_MAX)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .max_wasm_stack(WASM_STACK_BYTES_MAX)
        .async_stack_size(ASYNC_STACK_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
