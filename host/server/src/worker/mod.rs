//! One worker: one thread, one runtime, one `Proxy`, no lock on the way of a message. Sockets live where the kernel put them; a
//! message is handed to the worker that owns it, and bytes to the worker that has the connection.

mod calls;
mod keepalive;
mod lines;
mod media;
pub(crate) mod message;
mod outbox;
pub(crate) mod policy;
mod post;
mod run;
mod send;

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hookswitch_policy::{
    Runner,
    context::{self, Finished},
};
use hookswitch_sip::{
    flow::{Destination, Flow, FlowId, ListenerId, Side, UpstreamId, WorkerId},
    framing::FramingError,
    limits::Limits,
    message::{Message, ParseError},
    placement::{self, Arrival},
    proxy::{
        Proxy,
        io::{AskId, DropCause, Hook, Input, Output, Policies},
    },
};
use tokio::sync::{Notify, mpsc};

use crate::{
    metrics::{Count, WorkerMetrics},
    server::Shared,
    source::Source,
    transport::{
        pipe::{Ended, Pipe},
        udp::DatagramSocket,
        web, websocket,
    },
    turn::Turn,
};
use media::Description;
use outbox::Outbox;
pub(crate) use post::Mail;
pub(crate) use run::{Seat, Start, TIMER_GRAIN, spawn};

/// Every task of a worker's thread has one; a borrow never lasts over an await.
pub(crate) type WorkerRef = Rc<RefCell<Worker>>;

/// A verdict that comes late, from the thread of slow hooks.
pub(crate) type LateVerdict = (AskId, Hook, Finished);

/// What one thread works on.
pub(crate) struct Worker {
    id: WorkerId,
    proxy: Proxy,
    runner: Runner,
    shared: Arc<Shared>,
    pub(crate) metrics: WorkerMetrics,
    /// By serial.
    connections: HashMap<u64, Open>,
    /// By listener; `None` where it is not UDP.
    datagrams: Vec<Option<Rc<DatagramSocket>>>,
    /// Those that this worker opened, by where they lead.
    lines: lines::Lines,
    outbox: Rc<Outbox<Mail>>,
    /// Inputs that wait for their turn: answers that were there at once.
    inputs: VecDeque<Input>,
    late: mpsc::UnboundedSender<LateVerdict>,
    /// Wakes the timer's task when something is due earlier than what it sleeps for.
    alarm: Rc<Notify>,
    sleeping_until: Option<Instant>,
    calls: calls::OpenCalls<RandomState>,
    seats: media::Seats,
    serials: RandomState,
    last_serial: u64,
}

/// An open connection of this worker.
struct Open {
    flow: Arc<Flow>,
    pipe: Rc<Pipe>,
}

impl Worker {
    /// What is done in one go, by whichever task: what it has for other workers leaves together, and numbers are written once.
    pub(crate) fn turn(&mut self, work: impl FnOnce(&mut Self)) {
        work(self);
        self.send_mail();
        self.metrics.proxy(
            self.proxy.gauges(),
            self.proxy.unanswered(),
            self.calls.len(),
        );
        let due = self.proxy.poll_timeout();
        if due.is_some_and(|due| self.sleeping_until.is_none_or(|until| due < until)) {
            self.alarm.notify_one();
        }
    }

    /// A fault of ours must cost the message that brought it up, and not the task that reads everybody's messages.
    fn guard(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_err() {
            self.metrics.count(Count::Panics);
            tracing::error!(
                "a message was lost to a fault of ours; please report what stands above"
            );
        }
    }

    /// Bytes of one message came on `flow`. Within a turn.
    pub(crate) fn received(&mut self, flow: &Arc<Flow>, bytes: Bytes) {
        self.guard(|worker| {
            worker.metrics.count(Count::Received);
            worker
                .shared
                .observe_received(flow, &bytes, &worker.metrics);
            match Message::parse(bytes, &worker.shared.message_limits) {
                Ok(message) if worker.take_pong(&message, flow) => {}
                Ok(message) => worker.place(flow, message),
                Err(error) => worker.refuse(flow, &error),
            }
        });
    }

    /// Answers what can be answered, without a transaction (RFC 3261 §8.2, §16.3).
    fn refuse(&mut self, flow: &Arc<Flow>, error: &ParseError) {
        self.metrics.count(Count::Malformed);
        tracing::debug!(peer = %flow.peer, fault = %error.fault, "malformed message");
        let tag = format!("{:x}", self.serials.hash_one(flow.peer));
        match error.response(Some(&tag)) {
            Some(response) => self.send(Destination::Flow(flow.id), response.to_bytes()),
            None => self.metrics.dropped(DropCause::Unanswerable),
        }
    }

    /// A stream cannot be cut into messages any more: what can be answered is (RFC 3261 §18.3). Within a turn.
    pub(crate) fn unframed(&mut self, flow: &Arc<Flow>, error: &FramingError) {
        self.metrics.count(Count::Malformed);
        tracing::debug!(peer = %flow.peer, fault = %error.fault, "malformed stream");
        let tag = format!("{:x}", self.serials.hash_one(flow.peer));
        match error.response(&self.shared.message_limits, Some(&tag)) {
            Some(response) => self.send(Destination::Flow(flow.id), response.to_bytes()),
            None => self.metrics.dropped(DropCause::Unanswerable),
        }
        self.drain();
    }

    fn place(&mut self, flow: &Arc<Flow>, message: Message) {
        let arrival = match (flow.side, flow.id) {
            (Side::Web, _) | (Side::Stranger, FlowId::Connection { .. }) => {
                Arrival::Client(self.id)
            }
            (Side::Upstream(_), _) | (Side::Stranger, FlowId::Datagram { .. }) => Arrival::Shared,
        };
        let owner = placement::owner(
            &message,
            arrival,
            self.shared.config.workers,
            &self.shared.placement,
        );
        if owner == self.id {
            return self.take(Arc::clone(flow), message);
        }
        self.metrics.count(Count::Forwarded);
        let mail = Mail::Received {
            flow: Arc::clone(flow),
            message,
        };
        self.post(owner, mail);
    }

    /// A message that this worker owns.
    fn take(&mut self, flow: Arc<Flow>, message: Message) {
        let policies = self.shared.policies();
        self.handle(Input::Received {
            flow,
            message,
            policies,
        });
    }

    /// One input, then every output, then the inputs that came of them.
    fn handle(&mut self, input: Input) {
        self.proxy.handle(Instant::now(), input);
        self.drain();
    }

    fn tick(&mut self) {
        self.proxy.handle_timeout(Instant::now());
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            while let Some(output) = self.proxy.poll_output() {
                self.perform(output);
            }
            match self.inputs.pop_front() {
                Some(input) => self.proxy.handle(Instant::now(), input),
                None => break,
            }
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send { to, bytes } => self.send(to, bytes),
            Output::Ask(ask) => self.ask(*ask),
            Output::Store { id, op } => {
                let reply = self.shared.locations.answer(op, Instant::now());
                self.inputs.push_back(Input::Stored { id, reply });
            }
            Output::Media {
                id,
                branch,
                direction,
                role,
                sdp,
                mode,
            } => self.ask_media(
                id,
                Description {
                    branch,
                    direction,
                    role,
                    sdp,
                    mode,
                },
            ),
            Output::Key {
                id,
                branch,
                direction,
                body,
            } => self.press(id, branch, direction, body),
            Output::MediaNews(news) => self.tell_media(news),
            // A hook that runs on is bounded by its own limits; its late verdict is ignored.
            Output::Withdraw { id } => self.withdraw(id),
            Output::Ended(ended) => {
                self.calls.ended(&ended, Instant::now());
                self.metrics.ended(&ended);
                self.shared.log_transaction(&ended);
            }
            Output::Dropped { cause } => self.metrics.dropped(cause),
            Output::Challenged { upstream, outcome } => {
                self.shared.carriers.challenged(upstream, outcome);
            }
            // RFC 5626 §5.4: what is on its way gets a grace.
            Output::FlowTimer { flow, timer } => self.expect_within(flow, timer * 5 / 4),
            Output::Trunk { trunk, state } => self.shared.carriers.trunk_is(trunk, state),
        }
    }

    /// What a message may be.
    pub(crate) fn message_limits(&self) -> Limits {
        self.shared.message_limits
    }

    /// A name for a new connection.
    pub(crate) fn new_connection_id(&mut self) -> FlowId {
        self.last_serial += 1;
        FlowId::Connection {
            worker: self.id,
            serial: self.serials.hash_one(self.last_serial),
        }
    }

    pub(crate) fn opened(&mut self, flow: &Arc<Flow>, pipe: Rc<Pipe>) {
        if let FlowId::Connection { serial, .. } = flow.id {
            if let Side::Upstream(id) = flow.side {
                self.shared.directory.connected(id, flow.peer.ip(), flow.id);
            }
            let doubted = self.shared.locations.opened(flow);
            let flow = Arc::clone(flow);
            self.connections.insert(serial, Open { flow, pipe });
            if !doubted.is_empty() {
                self.turn(|worker| doubted.into_iter().for_each(|flow| worker.doubt(flow)));
            }
        }
    }

    /// Asks the peer of a connection whether it is still there.
    fn doubt(&mut self, flow: FlowId) {
        match flow {
            FlowId::Connection { worker, serial } if worker == self.id => {
                let open = self.connections.get(&serial);
                open.into_iter().for_each(|open| open.pipe.doubt());
            }
            FlowId::Connection { worker, .. } => self.post(worker, Mail::Doubt { flow }),
            FlowId::Datagram { .. } => {}
        }
    }

    /// From now on a connection is closed when nothing was heard on it for this long.
    fn expect_within(&mut self, flow: FlowId, silence_max: Duration) {
        match flow {
            FlowId::Connection { worker, serial } if worker == self.id => {
                let open = self.connections.get(&serial).into_iter();
                open.for_each(|open| open.pipe.expect_within(silence_max));
            }
            FlowId::Connection { worker, .. } => {
                self.post(worker, Mail::ExpectWithin { flow, silence_max });
            }
            FlowId::Datagram { .. } => {}
        }
    }

    /// Told to all who may wait for it: transactions of any worker, and bindings.
    pub(crate) fn closed(&mut self, flow: &Flow, ended: Ended) {
        match ended {
            Ended::Idle => self.metrics.count(Count::ConnectionsIdle),
            Ended::Unreadable(_) => self.metrics.count(Count::ConnectionsUnreadable),
            Ended::Overflowed => self.metrics.count(Count::ConnectionsSlow),
            Ended::Closed | Ended::Drained => {}
        }
        let FlowId::Connection { serial, .. } = flow.id else {
            return;
        };
        self.connections.remove(&serial);
        if let Side::Upstream(_) = flow.side {
            self.shared.directory.disconnected(flow.id);
        }
        self.shared.locations.closed(flow);
        self.turn(|worker| {
            for other in worker.others() {
                worker.post(other, Mail::FlowClosed { flow: flow.id });
            }
            worker.guard(|worker| worker.flow_closed(flow.id));
        });
    }

    fn flow_closed(&mut self, flow: FlowId) {
        self.calls.flow_closed(flow);
        self.return_lent(flow);
        self.handle(Input::FlowClosed { flow });
    }

    fn others(&self) -> impl Iterator<Item = WorkerId> + use<> {
        let me = self.id;
        let all = (0..self.shared.config.workers).map(WorkerId);
        all.filter(move |worker| *worker != me)
    }

    /// The upstream that sends from this address to this listener, with a certificate that was verified for these names.
    pub(crate) fn upstream_of(
        &self,
        listener: ListenerId,
        peer: IpAddr,
        certificate: &[String],
    ) -> Option<UpstreamId> {
        let transport = self.shared.listener(listener).transport;
        let directory = &self.shared.directory;
        directory.upstream_from(peer, listener, transport, certificate)
    }

    /// Grows whenever an address may belong to another upstream than before.
    pub(crate) fn directory_version(&self) -> u64 {
        self.shared.directory.version()
    }

    /// Pending while mail of ours waits for room with another worker: so whoever floods us waits, not memory.
    pub(crate) fn poll_uncongested(&self, cx: &Context<'_>) -> Poll<()> {
        self.outbox.poll_free(cx)
    }
}

impl websocket::Inbox for WorkerRef {
    fn poll_uncongested(&self, cx: &Context<'_>) -> Poll<()> {
        self.borrow().poll_uncongested(cx)
    }

    fn received(&self, flow: &Arc<Flow>, bytes: Bytes) {
        self.borrow_mut()
            .turn(|worker| worker.received(flow, bytes));
    }

    fn heard(&self, flow: &Flow) {
        self.borrow().shared.locations.heard(flow);
    }
}

impl web::Gate for WorkerRef {
    fn count(&self, count: Count) {
        self.borrow().metrics.count(count);
    }

    async fn admit(&self, upgrade: context::Upgrade, source: Arc<Source>) -> policy::Admission {
        policy::admit(self, upgrade, source).await
    }

    fn turn(&self) -> Option<Arc<Turn>> {
        self.borrow().shared.turn.clone()
    }
}

impl Shared {
    /// The policies that a new transaction begins with.
    fn policies(&self) -> Policies {
        policy::current(&self.policies)
    }
}
