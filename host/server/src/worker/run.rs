//! A worker's thread: its runtime and its tasks, from the first socket to the last goodbye.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    hash::RandomState,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hookswitch_policy::Runner;
use hookswitch_sip::{
    flow::{ListenerId, WorkerId},
    proxy::{Proxy, ProxyConfig, io::Input},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::{Notify, Semaphore, mpsc, watch},
    task::{AbortHandle, JoinSet, spawn_local},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Mail, Worker, WorkerRef,
    calls::OpenCalls,
    keepalive,
    lines::{self, Lines},
    media::{self, Seats},
    outbox::Outbox,
    policy, post,
};
use crate::{
    config::{ListenerKind, length},
    media::Late,
    metrics::WorkerMetrics,
    server::{Phase, Shared},
    transport::{
        accept::{self, Door, Speaks},
        udp::{self, DatagramSocket, Port},
        websocket::Bounds,
    },
};

/// How much later than due a timer may fire: little beside the shortest that SIP has.
pub(crate) const TIMER_GRAIN: Duration = Duration::from_millis(10);
/// How often calls that are thought to be over are forgotten.
const EXPIRE_CALLS_EVERY: Duration = Duration::from_secs(60);
/// How long a WebSocket may leave a ping unanswered when its client has another.
const PONG_MAX: Duration = Duration::from_secs(5);
/// How long connections may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(3);

/// What one worker gets of the listeners, in their order.
pub(crate) enum Seat {
    Udp(std::net::UdpSocket),
    Tcp(std::net::TcpListener, Option<TlsAcceptor>),
}

/// What a worker needs to begin.
pub(crate) struct Start {
    pub(crate) id: WorkerId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) proxy: ProxyConfig,
    pub(crate) seed: [u8; 32],
    pub(crate) metrics: WorkerMetrics,
    pub(crate) seats: Vec<Seat>,
    pub(crate) mailbox: mpsc::Receiver<Mail>,
    /// Of media, that come late.
    pub(crate) answers: mpsc::UnboundedReceiver<Late>,
    /// While it drains nothing new is accepted.
    pub(crate) phase: watch::Receiver<Phase>,
}

/// Starts the thread; it ends after [`Mail::Close`].
pub(crate) fn spawn(start: Start) -> io::Result<JoinHandle<()>> {
    let name = format!("worker-{}", start.id.0);
    thread::Builder::new().name(name).spawn(move || {
        let shared = Arc::clone(&start.shared);
        let serve = || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())?;
            runtime.block_on(run(start));
            Ok::<_, io::Error>(())
        };
        match catch_unwind(AssertUnwindSafe(serve)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => shared.broke(&format!("a worker has no runtime: {error}")),
            Err(_) => shared.broke("a worker has ended"),
        }
    })
}

async fn run(start: Start) {
    let Start {
        id,
        shared,
        proxy,
        seed,
        metrics,
        seats,
        mailbox,
        answers,
        phase,
    } = start;
    let (late, late_verdicts) = mpsc::unbounded_channel();
    let (datagrams, listeners) = sit_down(seats, &shared);
    let outbox = Rc::new(Outbox::new(
        shared.mailboxes.clone(),
        length(shared.config.limits.mailbox_messages_max),
    ));
    let (lines, orders) = Lines::new();
    let worker: WorkerRef = Rc::new(RefCell::new(Worker {
        id,
        proxy: Proxy::new(proxy, seed),
        runner: Runner::new(shared.engine.clone(), id.0.into()),
        shared: Arc::clone(&shared),
        metrics,
        connections: HashMap::new(),
        datagrams: datagrams.clone(),
        lines,
        outbox: Rc::clone(&outbox),
        inputs: VecDeque::new(),
        late,
        alarm: Rc::default(),
        sleeping_until: None,
        calls: OpenCalls::new(RandomState::new(), length(shared.config.limits.calls_max)),
        seats: Seats::new(length(shared.config.limits.calls_max)),
        serials: RandomState::new(),
        last_serial: 0,
    }));
    let mut tasks = JoinSet::new();
    tasks.spawn_local(timers(Rc::clone(&worker)));
    tasks.spawn_local(async move { outbox.flush().await });
    tasks.spawn_local(expire_calls(Rc::clone(&worker)));
    tasks.spawn_local(policy::late_verdicts(late_verdicts, Rc::clone(&worker)));
    tasks.spawn_local(media::late_answers(answers, Rc::clone(&worker)));
    tasks.spawn_local(lines::open_all(orders, Rc::clone(&worker)));
    keepalive::start(&worker, &mut tasks);
    for (index, socket) in datagrams.into_iter().enumerate() {
        if let (Some(socket), Ok(index)) = (socket, u8::try_from(index)) {
            let port = port(&shared, ListenerId(index));
            tasks.spawn_local(udp::receive(socket, port, Rc::clone(&worker)));
        }
    }
    let accepting = accept_all(listeners, &shared, &worker, &mut tasks);
    let stopping = spawn_local(stop_accepting(phase, accepting));
    let watching = spawn_local(async move {
        watch_over(tasks, |task| shared.broke(task)).await;
    });
    worker
        .borrow_mut()
        .turn(|worker| worker.guard(|worker| worker.handle(Input::Begin)));
    post::read(mailbox, Rc::clone(&worker)).await;
    say_goodbye(&worker).await;
    stopping.abort();
    watching.abort();
}

/// A worker that has lost a task hears or says less than it should, and nobody would notice: its listeners alone may end, by a drain.
async fn watch_over(mut tasks: JoinSet<()>, broke: impl Fn(&str)) {
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Err(ended) if ended.is_cancelled() => {}
            Ok(()) => broke("a task of a worker has ended"),
            Err(panicked) => broke(&format!("a task of a worker has ended: {panicked}")),
        }
    }
}

type Listeners = Vec<(ListenerId, TcpListener, Option<TlsAcceptor>)>;

/// Puts the sockets into this thread's runtime.
fn sit_down(seats: Vec<Seat>, shared: &Shared) -> (Vec<Option<Rc<DatagramSocket>>>, Listeners) {
    let (mut datagrams, mut listeners) = (Vec::new(), Vec::new());
    for (index, seat) in seats.into_iter().enumerate() {
        let mut datagram = None;
        let taken = match seat {
            Seat::Udp(socket) => {
                DatagramSocket::new(socket).map(|socket| datagram = Some(Rc::new(socket)))
            }
            Seat::Tcp(listener, tls) => TcpListener::from_std(listener).map(|listener| {
                listeners
                    .extend(u8::try_from(index).map(|index| (ListenerId(index), listener, tls)))
            }),
        };
        if let Err(error) = taken {
            shared.broke(&format!(
                "a socket of listener[{index}] cannot be used: {error}"
            ));
        }
        datagrams.push(datagram);
    }
    (datagrams, listeners)
}

fn port(shared: &Shared, listener: ListenerId) -> Port {
    let sources_max = length(shared.config.limits.datagram_sources_max);
    Port {
        listener,
        name: Arc::clone(&shared.listener(listener).name),
        sources_max: sources_max.div_ceil(usize::from(shared.config.workers).max(1)),
    }
}

fn accept_all(
    listeners: Listeners,
    shared: &Arc<Shared>,
    worker: &WorkerRef,
    tasks: &mut JoinSet<()>,
) -> Vec<AbortHandle> {
    let limits = &shared.config.limits;
    let share = length(limits.handshakes_in_flight_max)
        .div_ceil(usize::from(shared.config.workers))
        .max(1);
    let handshakes = Arc::new(Semaphore::new(share));
    let mut accepting = Vec::new();
    for (id, listener, tls) in listeners {
        let Some(speaks) = speaks(shared, id) else {
            continue;
        };
        let idle_max = match &speaks {
            Speaks::WebSocket(_) => limits.idle_max(),
            Speaks::Sip => limits.stream_idle_max(),
        };
        let door = Door {
            listener: id,
            name: Arc::clone(&shared.listener(id).name),
            transport: shared.listener(id).transport,
            speaks,
            tls,
            worker: Rc::clone(worker),
            handshakes: Arc::clone(&handshakes),
            handshake_max: limits.handshake_max(),
            connections_max: limits.connections_max,
            crowd: Arc::clone(&shared.crowd),
            bounds: Bounds {
                message_bytes_max: length(limits.message_bytes_max),
                queue_bytes_max: length(limits.connection_queue_bytes_max),
                idle_max,
                pong_max: PONG_MAX,
            },
        };
        accepting.push(tasks.spawn_local(accept::accept(listener, Rc::new(door))));
    }
    accepting
}

fn speaks(shared: &Shared, id: ListenerId) -> Option<Speaks> {
    match &shared.config.listeners.get(usize::from(id.0))?.kind {
        ListenerKind::Ws(web) | ListenerKind::Wss(web, _) => Some(Speaks::WebSocket(web.clone())),
        ListenerKind::Tcp | ListenerKind::Tls(..) => Some(Speaks::Sip),
        ListenerKind::Udp => None,
    }
}

/// The listening sockets close with their tasks.
async fn stop_accepting(mut phase: watch::Receiver<Phase>, accepting: Vec<AbortHandle>) {
    // An error says that the server is gone: a reason to stop, too.
    let _ = phase
        .wait_for(|phase| matches!(phase, Phase::Draining(_)))
        .await;
    accepting.iter().for_each(AbortHandle::abort);
}

/// Fires what is due; sleeps until the next, or until something earlier comes up. Each transaction leaves some timers behind, most with
/// nothing left to do: those of [`TIMER_GRAIN`] share a wake-up.
async fn timers(worker: WorkerRef) {
    let alarm: Rc<Notify> = Rc::clone(&worker.borrow().alarm);
    let mut fired_at = Instant::now();
    loop {
        let due = worker.borrow().proxy.poll_timeout();
        worker.borrow_mut().sleeping_until = due;
        match due {
            None => alarm.notified().await,
            Some(due) => tokio::select! {
                () = tokio::time::sleep_until(due.max(fired_at + TIMER_GRAIN).into()) => {
                    worker.borrow_mut().turn(|worker| worker.guard(Worker::tick));
                    fired_at = Instant::now();
                }
                () = alarm.notified() => {}
            },
        }
    }
}

async fn expire_calls(worker: WorkerRef) {
    loop {
        tokio::time::sleep(EXPIRE_CALLS_EVERY).await;
        worker.borrow_mut().turn(|worker| {
            worker.calls.expire(Instant::now());
            worker.seats.expire(Instant::now());
        });
    }
}

async fn say_goodbye(worker: &WorkerRef) {
    let all_gone = async {
        while !worker.borrow().connections.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Who does not answer our Close is cut off.
    let _ = tokio::time::timeout(GOODBYE_MAX, all_gone).await;
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_by_itself_is_told_of() {
        let told = RefCell::new(Vec::new());
        let scene = async {
            let mut tasks = JoinSet::new();
            tasks.spawn_local(std::future::pending()).abort();
            tasks.spawn_local(async {});
            watch_over(tasks, |task| told.borrow_mut().push(task.to_owned())).await;
        };
        LocalSet::new().run_until(scene).await;
        assert_eq!(told.into_inner(), ["a task of a worker has ended"]);
    }
}
