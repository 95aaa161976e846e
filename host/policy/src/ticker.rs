//! The clock that preempts guests: one thread that advances the engine's epoch each millisecond while calls are made, and sleeps
//! when none are. It decides nothing: what a call does at a tick, its instance says.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::{Engine, EngineWeak};

/// The slice of a guest on the slow lane; on a worker it gets three at most.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// A poll that used so much ended at a tick, and not because it waits.
pub(crate) const SLICE_USED_MIN: Duration = Duration::from_micros(500);
/// Ticks without a call until the thread sleeps.
const IDLE_TICKS_MAX: u32 = 100;

/// Wakes the thread when a call begins.
#[derive(Clone)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    used: AtomicBool,
    asleep: AtomicBool,
}

impl Ticker {
    /// Runs until the engine is gone.
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (engine, theirs) = (engine.weak(), shared.clone());
        let handle = thread::Builder::new()
            .name("policy-epoch".into())
            .spawn(move || tick(&engine, &theirs))?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
        })
    }

    /// To be called before a guest runs. Reads two flags that seldom change.
    pub(crate) fn touch(&self) {
        if !self.shared.used.load(Relaxed) {
            self.shared.used.store(true, SeqCst);
        }
        if self.shared.asleep.load(SeqCst) {
            self.thread.unpark();
        }
    }
}

fn tick(engine: &EngineWeak, shared: &Shared) {
    let mut idle_ticks = 0;
    loop {
        thread::sleep(TICK);
        let Some(engine) = engine.upgrade() else {
            return;
        };
        engine.increment_epoch();
        idle_ticks = if shared.used.swap(false, SeqCst) {
            0
        } else {
            idle_ticks + 1
        };
        drop(engine);
        if idle_ticks > IDLE_TICKS_MAX {
            sleep(shared);
            idle_ticks = 0;
        }
    }
}

/// Until a call begins; now and then it looks whether the engine is still there.
fn sleep(shared: &Shared) {
    shared.asleep.store(true, SeqCst);
    if !shared.used.load(SeqCst) {
        thread::park_timeout(Duration::from_secs(1));
    }
    shared.asleep.store(false, SeqCst);
}
