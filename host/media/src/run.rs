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
use rustix::{
    process::setpriority_process,
    time::{ClockId, clock_gettime},
};

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
/// Of that of the browsers, which has as much to say as all the others together.
const WEB_DATAGRAMS_MAX: usize = 1024;
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
/// So many windows may others have the core before no new calls are taken for that.
const STARVED_WINDOWS_MAX: u32 = 4;
/// Before what else runs, our signalling too, where the system allows it (CAP_SYS_NICE, or a limit of `nice`): a packet that waits for a
/// core is heard, a request is not.
const NICE: i32 = -10;
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
            web: socket,
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
    /// The port of the browsers.
    web: SocketId,
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
        // Without the right to it, it runs as all others do.
        let _ = setpriority_process(None, NICE);
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX + PACKET_TAIL_BYTES];
        let mut left = Left::Nothing;
        while left != Left::Over {
            let waited = self.wait(&mut events, left);
            let now = Instant::now();
            self.load.turn(now, waited, cpu_time, &self.counters);
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
        let most = match id == self.web {
            true => WEB_DATAGRAMS_MAX,
            false => DATAGRAMS_MAX,
        };
        for _ in 0..most {
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

/// Of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // It began at zero.
    Duration::try_from(time).unwrap_or_default()
}

/// How much of its time the worker waits.
struct Load {
    since: Instant,
    waited: Duration,
    /// [`cpu_time`] at `since`.
    ran: Duration,
    starved_windows: u32,
    is_too_much: bool,
}

impl Load {
    fn new(now: Instant) -> Load {
        Load {
            since: now,
            waited: Duration::ZERO,
            ran: Duration::ZERO,
            starved_windows: 0,
            is_too_much: false,
        }
    }

    fn turn(
        &mut self,
        now: Instant,
        waited: Duration,
        cpu_time: impl FnOnce() -> Duration,
        counters: &Counters,
    ) {
        self.waited += waited;
        let window = now.duration_since(self.since);
        if window < LOAD_WINDOW {
            return;
        }
        // A window is as long as its last turn makes it.
        let permille = |time: Duration| {
            let share = time.as_nanos() * 1000 / window.as_nanos().max(1);
            u64::try_from(share).unwrap_or(1000).min(1000)
        };
        let (idle, before) = (permille(self.waited), self.ran);
        self.ran = cpu_time();
        let ran = permille(self.ran.saturating_sub(before));
        counters.busy_permille.store(1000 - idle, Ordering::Relaxed);
        let least = IDLE_MIN.as_nanos() * 1000 / LOAD_WINDOW.as_nanos();
        let never_waits = u128::from(idle) < least;
        // It had something to do, but not the core: that is another's load, and over soon or not.
        let starves = never_waits && ran < 500;
        self.starved_windows = if starves { self.starved_windows + 1 } else { 0 };
        self.is_too_much = never_waits && (!starves || self.starved_windows > STARVED_WINDOWS_MAX);
        (self.since, self.waited) = (now, Duration::ZERO);
    }
}

#[cfg(test)]
mod tests;
