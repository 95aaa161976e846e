//! A media worker: a thread that has sockets and a clock, and moves datagrams between them and its engine.
//!
//! Packets come before anything else, and nothing here waits but for the sockets: signalling on other threads disturbs no call's sound.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token, Waker};

use crate::{
    Answer,
    engine::{Engine, Input, Output},
    packet::{PACKET_TAIL_BYTES, Packet},
    ports::{Interface, Ports},
    sockets::SocketId,
};

/// Longer datagrams are dropped: no media is.
const DATAGRAM_BYTES_MAX: usize = 2048;
/// Of one socket in one turn: a flood to one port leaves the others theirs.
const DATAGRAMS_MAX: usize = 64;
/// In one turn: setting up a call takes as long as many packets.
const INPUTS_MAX: usize = 8;
/// What waits for the worker.
const INPUTS_WAITING_MAX: usize = 4096;
/// Of them, packets of connections: they keep nobody else's from the worker.
const PACKETS_WAITING_MAX: u64 = 1024;
/// Sockets that are ready in one turn.
const EVENTS_MAX: usize = 1024;
/// How busy a worker is, is looked at so often.
const LOAD_WINDOW: Duration = Duration::from_millis(250);
/// Of a window, in which it must have waited at least so much to take new calls.
const IDLE_MIN: Duration = Duration::from_millis(25);
const WAKE: Token = Token(usize::MAX);

/// What a worker is made of.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// For the thread.
    pub name: String,
    /// The port of all browsers.
    pub web: SocketAddr,
    /// By [`crate::sockets::InterfaceId`]. Their ports are this worker's alone.
    pub interfaces: Vec<Interface>,
}

/// A running worker. Dropped, it ends, and its calls with it.
#[derive(Debug)]
pub struct Worker {
    inputs: Option<SyncSender<Input>>,
    waker: Arc<Waker>,
    web: SocketAddr,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

/// What a worker did so far.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams that came.
    pub received: AtomicU64,
    /// Packets of media that went on.
    pub relayed: AtomicU64,
    /// Datagrams that the system did not take.
    pub unsent: AtomicU64,
    /// New calls that were refused because the worker was too busy.
    pub refused: AtomicU64,
    /// Packets of connections that wait for the worker.
    pub waiting: AtomicU64,
    /// Calls that there are.
    pub calls: AtomicU64,
    /// Of the last quarter of a second, in thousandths.
    pub busy_permille: AtomicU64,
}

/// The worker has as much before it as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the media worker is overloaded")]
pub struct Busy;

impl Worker {
    /// Binds, and runs. `engine` is made with the port of the browsers; `told` gets what is for signalling.
    ///
    /// # Errors
    /// Those of the system: no port, no thread.
    pub fn start(
        config: WorkerConfig,
        engine: impl FnOnce(SocketId, SocketAddr) -> Engine,
        told: impl FnMut(Output) + Send + 'static,
    ) -> io::Result<Worker> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let mut ports = Ports::new(poll.registry().try_clone()?, config.interfaces);
        let (socket, web) = ports.open_web(config.web)?;
        let (inputs, waiting) = sync_channel(INPUTS_WAITING_MAX);
        let counters = Arc::new(Counters::default());
        let running = Running {
            poll,
            ports,
            engine: engine(socket, web),
            inputs: waiting,
            told: Box::new(told),
            unread: Vec::new(),
            load: Load::new(Instant::now()),
            counters: Arc::clone(&counters),
        };
        let thread = std::thread::Builder::new().name(config.name);
        let thread = thread.spawn(move || running.run())?;
        Ok(Worker {
            inputs: Some(inputs),
            waker,
            web,
            counters,
            thread: Some(thread),
        })
    }

    /// Where it is bound for browsers.
    #[must_use]
    pub fn web(&self) -> SocketAddr {
        self.web
    }

    /// What it did so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Hands it something.
    ///
    /// # Errors
    /// [`Busy`]: it does not take it.
    pub fn tell(&self, input: Input) -> Result<(), Busy> {
        let inputs = self.inputs.as_ref().ok_or(Busy)?;
        if let Input::Packet { .. } = input {
            let waiting = self.counters.waiting.fetch_add(1, Ordering::Relaxed);
            if waiting >= PACKETS_WAITING_MAX {
                self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
                return Err(Busy);
            }
        }
        inputs.try_send(input).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Busy,
        })?;
        self.waker.wake().map_err(|_| Busy)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.inputs = None;
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            // A panic in it was told by the thread itself.
            let _ = thread.join();
        }
    }
}

struct Running {
    poll: Poll,
    ports: Ports,
    engine: Engine,
    inputs: Receiver<Input>,
    told: Box<dyn FnMut(Output) + Send>,
    /// Sockets that may have more, though no event will say so again.
    unread: Vec<SocketId>,
    load: Load,
    counters: Arc<Counters>,
}

/// Whether there is more to do at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
    /// Whoever gave us work is gone.
    Over,
}

impl Running {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX + PACKET_TAIL_BYTES];
        let mut left = Left::Nothing;
        while left != Left::Over {
            let waited = self.wait(&mut events, left);
            let now = Instant::now();
            self.load.turn(now, waited, &self.counters);
            for id in std::mem::take(&mut self.unread) {
                self.read(now, id, &mut buffer);
            }
            for event in events.iter().filter(|event| event.token() != WAKE) {
                let id = u32::try_from(event.token().0).unwrap_or(u32::MAX);
                self.read(now, SocketId(id), &mut buffer);
            }
            left = self.take_inputs(now);
            if self.engine.poll_timeout().is_some_and(|at| at <= now) {
                self.engine.handle_timeout(now, &mut self.ports);
            }
            self.drain();
            let calls = u64::try_from(self.engine.calls()).unwrap_or(u64::MAX);
            self.counters.calls.store(calls, Ordering::Relaxed);
        }
    }

    /// Gives how long it waited.
    fn wait(&mut self, events: &mut Events, left: Left) -> Duration {
        let began = Instant::now();
        let due = self.engine.poll_timeout();
        let mut timeout = due.map(|due| due.saturating_duration_since(began));
        if left == Left::More || !self.unread.is_empty() {
            timeout = Some(Duration::ZERO);
        }
        // An interrupted wait is a short one.
        let _ = self.poll.poll(events, timeout);
        began.elapsed()
    }

    fn read(&mut self, now: Instant, id: SocketId, buffer: &mut [u8]) {
        for _ in 0..DATAGRAMS_MAX {
            let datagram = buffer.get_mut(..DATAGRAM_BYTES_MAX).unwrap_or_default();
            let Some((len, from)) = self.ports.receive(id, datagram) else {
                return;
            };
            count(&self.counters.received);
            if len == DATAGRAM_BYTES_MAX {
                continue;
            }
            let mut packet = Packet::new(buffer, len);
            if let Some((socket, to)) = self.engine.packet(now, id, from, &mut packet) {
                self.send(socket, to, packet.bytes());
            }
            self.drain();
        }
        self.unread.push(id);
    }

    fn send(&self, socket: SocketId, to: SocketAddr, bytes: &[u8]) {
        match self.ports.send(socket, to, bytes) {
            true => count(&self.counters.relayed),
            false => count(&self.counters.unsent),
        }
    }

    fn take_inputs(&mut self, now: Instant) -> Left {
        for _ in 0..INPUTS_MAX {
            let input = match self.inputs.try_recv() {
                Ok(input) => input,
                Err(TryRecvError::Empty) => return Left::Nothing,
                Err(TryRecvError::Disconnected) => return Left::Over,
            };
            if let Input::Packet { .. } = input {
                self.counters.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            match self.refusal(&input) {
                Some(refusal) => (self.told)(refusal),
                None => self.engine.handle(now, input, &mut self.ports),
            }
            self.drain();
        }
        Left::More
    }

    /// A call that would be one too many: those that are there keep their sound.
    fn refusal(&self, input: &Input) -> Option<Output> {
        let Input::Ask { id, ask } = input else {
            return None;
        };
        if !self.load.is_too_much || self.engine.knows(&ask.branch.call) {
            return None;
        }
        count(&self.counters.refused);
        let answer = Answer::Refuse {
            status: 503,
            reason: Busy.to_string(),
        };
        Some(Output::Answer { id: *id, answer })
    }

    fn drain(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Transmit { socket, .. } if socket.is_connection() => (self.told)(output),
                Output::Transmit { socket, to, bytes } => {
                    if !self.ports.send(socket, to, &bytes) {
                        count(&self.counters.unsent);
                    }
                }
                Output::Answer { .. }
                | Output::Dead { .. }
                | Output::Over(_)
                | Output::Seen { .. } => {
                    (self.told)(output);
                }
            }
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// How much of its time the worker waits.
struct Load {
    since: Instant,
    waited: Duration,
    is_too_much: bool,
}

impl Load {
    fn new(now: Instant) -> Load {
        Load {
            since: now,
            waited: Duration::ZERO,
            is_too_much: false,
        }
    }

    fn turn(&mut self, now: Instant, waited: Duration, counters: &Counters) {
        self.waited += waited;
        let window = now.duration_since(self.since);
        if window < LOAD_WINDOW {
            return;
        }
        // A window is as long as its last turn makes it.
        let idle = self.waited.as_nanos() * 1000 / window.as_nanos().max(1);
        let busy = 1000 - u64::try_from(idle).unwrap_or(1000).min(1000);
        counters.busy_permille.store(busy, Ordering::Relaxed);
        let least = IDLE_MIN.as_nanos() * 1000 / LOAD_WINDOW.as_nanos();
        self.is_too_much = idle < least;
        (self.since, self.waited) = (now, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests;
