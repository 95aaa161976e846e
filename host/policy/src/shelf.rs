//! The instances of one version that stand ready for one worker, and the calls that wait for one. It makes none.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::{fault::Fault, instance::Instance};

/// Instances on one shelf. One is enough but for calls that did not end at once, and for what traps.
pub(crate) const READY_MAX: usize = 4;

/// On a cache line of its own. The lock is taken by another thread only when a slow call gives its instance back, or one was made.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Shelf(Mutex<Stock>);

/// An instance, or why there is none.
pub(crate) type Made = Result<Instance, Fault>;

/// What came of asking for an instance.
pub(crate) enum Taken {
    /// The shelf is empty without it.
    Last(Instance),
    Ready(Instance),
    /// It comes when one is made or given back. Places in flight bound how many wait.
    Awaited(oneshot::Receiver<Made>),
}

/// Whether somebody makes instances for this shelf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Maker {
    #[default]
    Idle,
    Busy,
}

#[derive(Default)]
struct Stock {
    ready: Vec<Instance>,
    waiting: VecDeque<oneshot::Sender<Made>>,
    maker: Maker,
    /// Taken since the last sweep.
    taken: u64,
}

impl Shelf {
    pub(crate) fn take(&self) -> Option<Instance> {
        let mut stock = self.lock();
        stock.taken += 1;
        stock.ready.pop()
    }

    pub(crate) fn take_or_wait(&self) -> Taken {
        let mut stock = self.lock();
        stock.taken += 1;
        match stock.ready.pop() {
            Some(instance) if stock.ready.is_empty() => Taken::Last(instance),
            Some(instance) => Taken::Ready(instance),
            None => {
                let (sender, receiver) = oneshot::channel();
                stock.waiting.push_back(sender);
                Taken::Awaited(receiver)
            }
        }
    }

    /// To whoever waits longest, or onto the shelf; beyond its limit the instance ends.
    pub(crate) fn put(&self, instance: Instance) {
        self.lock().put(instance);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().ready.is_empty()
    }

    /// One at a time makes instances; the answer is who did so before.
    pub(crate) fn begin_making(&self) -> Maker {
        mem::replace(&mut self.lock().maker, Maker::Busy)
    }

    /// Takes what the maker made. The answer is whether it goes on: until nobody waits and `ready_min` instances are there. Without
    /// an instance it does not go on, and all who wait hear why.
    pub(crate) fn made(&self, made: Made, ready_min: usize) -> Maker {
        let mut stock = self.lock();
        let instance = match made {
            Ok(instance) => instance,
            Err(fault) => {
                stock.maker = Maker::Idle;
                for waiting in stock.waiting.drain(..) {
                    // An error says that the call has ended meanwhile.
                    let _ = waiting.send(Err(fault.clone()));
                }
                return Maker::Idle;
            }
        };
        let spent: Vec<Instance> = stock
            .ready
            .extract_if(.., |ready| ready.is_spent())
            .collect();
        stock.put(instance);
        if stock.waiting.is_empty() && stock.ready.len() >= ready_min {
            stock.maker = Maker::Idle;
        }
        let maker = stock.maker;
        // Instances take their time to end.
        drop(stock);
        drop(spent);
        maker
    }

    /// Ends the instances of a shelf that nobody has used since the last sweep.
    pub(crate) fn sweep(&self) {
        let mut stock = self.lock();
        if mem::take(&mut stock.taken) == 0 {
            let unused = mem::take(&mut stock.ready);
            drop(stock);
            drop(unused);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stock {
    fn put(&mut self, mut instance: Instance) {
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting.send(Ok(instance)) {
                Ok(()) => return,
                // That call has ended meanwhile.
                Err(Ok(back)) => instance = back,
                Err(Err(_)) => unreachable!("an instance was sent"),
            }
        }
        if self.ready.len() < READY_MAX {
            self.ready.push(instance);
        }
    }
}
