//! Connections that this worker opens to next hops: one for each destination, kept while it is of use, opened again with back-off.
//! What is sent while one is being opened waits in its pipe, which is bounded like any other.

use std::{
    collections::HashMap,
    net::IpAddr,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use hookswitch_sip::{
    flow::{Attachment, Destination, Flow, FlowId, Side, Transport},
    proxy::io::Input,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::spawn_local,
};

use super::{Worker, WorkerRef, send::Undelivered};
use crate::{
    config::{KeepaliveBy, length},
    metrics::{Count, Gauge},
    source::Source,
    transport::{
        dial::{self, DialError, Dialed, Dialing},
        pipe::{Ended, Pipe},
        stream::{Connection, Keeping},
    },
};

/// Destinations that are remembered; more cannot be reached until some are idle.
const LINES_MAX: usize = 4_096;
/// After a failure the next try waits, each time twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// For addresses that belong to no upstream.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const IDLE_MAX: Duration = Duration::from_secs(60);

/// By their destinations.
pub(super) struct Lines {
    lines: HashMap<Destination, Line>,
    orders: mpsc::UnboundedSender<Order>,
}

enum Line {
    /// Open, or being opened; and how long it waited after the last failure.
    Up { pipe: Rc<Pipe>, waited: Duration },
    /// It could not be opened: a connection that the upstream has opened to us serves instead.
    Lent(FlowId),
    /// It could not be opened, and is not tried again before this.
    Down { until: Instant, waited: Duration },
}

/// A connection to be opened. There are never more than lines.
pub(super) struct Order {
    to: Destination,
    pipe: Rc<Pipe>,
}

impl Lines {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Order>) {
        let (orders, ordered) = mpsc::unbounded_channel();
        let lines = HashMap::new();
        (Self { lines, orders }, ordered)
    }

    /// A connection that was lent is gone: what is reached by it no more.
    fn take_lent(&mut self, flow: FlowId) -> Vec<Destination> {
        let is_lent = |line: &Line| matches!(line, Line::Lent(lent) if *lent == flow);
        let lost = self.lines.extract_if(|_, line| is_lent(line));
        lost.map(|(to, _)| to).collect()
    }

    fn make_room(&mut self) -> Result<(), Undelivered> {
        if self.lines.len() >= LINES_MAX {
            let now = Instant::now();
            let is_over = |line: &Line| matches!(line, Line::Down { until, .. } if *until <= now);
            self.lines.retain(|_, line| !is_over(line));
        }
        match self.lines.len() < LINES_MAX {
            true => Ok(()),
            false => Err(Undelivered::Way),
        }
    }
}

impl Worker {
    /// By a connection of ours to there, which is opened if need be.
    pub(super) fn send_by_line(
        &mut self,
        to: Destination,
        bytes: Bytes,
    ) -> Result<(), Undelivered> {
        let Destination::Connect { listener, peer, .. } = to else {
            return Err(Undelivered::Way);
        };
        if let Some(Line::Lent(flow)) = self.lines.lines.get(&to) {
            let flow = *flow;
            self.send(Destination::Flow(flow), bytes);
            return Ok(());
        }
        let pipe = self.line(to)?;
        self.shared
            .observe_sent(listener, peer, &bytes, &self.metrics);
        pipe.push(bytes).map_err(|_| Undelivered::Way)?;
        self.metrics.count(Count::Sent);
        Ok(())
    }

    /// The pipe to there, with its connection open or on its way.
    pub(super) fn line(&mut self, to: Destination) -> Result<Rc<Pipe>, Undelivered> {
        let waited = match self.lines.lines.get(&to) {
            Some(Line::Up { pipe, .. }) => return Ok(Rc::clone(pipe)),
            Some(Line::Lent(_)) => return Err(Undelivered::Way),
            Some(Line::Down { until, .. }) if *until > Instant::now() => {
                return Err(Undelivered::Way);
            }
            Some(Line::Down { waited, .. }) => *waited,
            None => {
                self.lines.make_room()?;
                Duration::ZERO
            }
        };
        let queue_bytes_max = length(self.shared.config.limits.connection_queue_bytes_max);
        let pipe = Rc::new(Pipe::new(queue_bytes_max));
        let order = Order {
            to,
            pipe: Rc::clone(&pipe),
        };
        self.lines
            .orders
            .send(order)
            .map_err(|_| Undelivered::Way)?;
        let line = Line::Up {
            pipe: Rc::clone(&pipe),
            waited,
        };
        self.lines.lines.insert(to, line);
        Ok(pipe)
    }

    /// Nothing can be delivered there any more: all who wait for an answer from there are told.
    pub(super) fn is_lost(&mut self, to: Destination) {
        if let Destination::Flow(flow) = to {
            self.return_lent(flow);
        }
        self.inputs.push_back(Input::SendFailed { to });
    }

    /// What was reached by that connection no more.
    pub(super) fn return_lent(&mut self, flow: FlowId) {
        let lost = self.lines.take_lent(flow).into_iter();
        self.inputs.extend(lost.map(|to| Input::SendFailed { to }));
    }

    fn dialing(&self, to: Destination) -> Result<Dialing, DialError> {
        let Destination::Connect {
            transport,
            listener,
            peer,
            lane: _,
        } = to
        else {
            return Err(DialError::Unknown);
        };
        let upstream = self.shared.directory.upstream_at(peer);
        let tls = match transport {
            Transport::Tls => {
                let connector = upstream.and_then(|id| self.shared.tls_to(id, peer));
                Some(connector.ok_or(DialError::Unknown)?)
            }
            Transport::Udp | Transport::Tcp | Transport::Ws | Transport::Wss => None,
        };
        let bound = self.shared.listener(listener).bound_ip;
        let fits = |ip: &IpAddr| !ip.is_unspecified() && ip.is_ipv4() == peer.is_ipv4();
        let settings = upstream.and_then(|id| self.shared.upstream(id));
        Ok(Dialing {
            from: Some(bound).filter(fits),
            to: peer,
            connect_max: settings.map_or(CONNECT_MAX, |upstream| upstream.connect_max),
            tls,
        })
    }

    /// It is open: what waits is written.
    fn line_opened(&mut self, to: Destination, pipe: &Rc<Pipe>) -> Option<(Arc<Flow>, Keeping)> {
        let Destination::Connect {
            transport,
            listener,
            peer,
            lane: _,
        } = to
        else {
            return None;
        };
        if let Some(Line::Up { waited, .. }) = self.lines.lines.get_mut(&to) {
            *waited = Duration::ZERO;
        }
        let upstream = self.shared.directory.upstream_at(peer);
        let name = Arc::clone(&self.shared.listener(listener).name);
        let flow = Arc::new(Flow {
            id: self.new_connection_id(),
            transport,
            listener,
            peer,
            side: upstream.map_or(Side::Stranger, Side::Upstream),
            session: None,
            attachment: Attachment::new(Arc::new(Source::address(transport, peer, name))),
        });
        self.opened(&flow, Rc::clone(pipe));
        let settings = upstream.and_then(|id| self.shared.upstream(id));
        let pings = settings
            .and_then(|upstream| upstream.keepalive)
            .filter(|keepalive| keepalive.by == KeepaliveBy::Crlf);
        let keeping = Keeping {
            idle_max: settings.map_or(IDLE_MAX, |upstream| upstream.idle_max),
            ping_every: pings.map(|keepalive| keepalive.every),
        };
        Some((flow, keeping))
    }

    /// Whoever waits goes to the next member, unless the upstream has opened a connection to us.
    fn line_failed(&mut self, Order { to, pipe }: &Order, error: &DialError) {
        self.metrics.count(Count::DialsFailed);
        let peer = to.peer();
        tracing::warn!(peer = peer.map(tracing::field::display), %error, "cannot connect");
        let waited = match self.lines.lines.get(to) {
            Some(Line::Up { waited, .. }) => *waited,
            Some(Line::Down { .. } | Line::Lent(_)) | None => Duration::ZERO,
        };
        let upstream = peer.and_then(|peer| self.shared.directory.upstream_at(peer));
        let lent = upstream.and_then(|id| self.shared.directory.connection_of(id, peer?.ip()));
        if let Some(flow) = lent {
            self.lines.lines.insert(*to, Line::Lent(flow));
            while let Some(bytes) = pipe.pop() {
                self.send(Destination::Flow(flow), bytes);
            }
            return self.drain();
        }
        let waited = (waited * 2).clamp(BACKOFF_FIRST, BACKOFF_MAX);
        let until = Instant::now() + waited;
        self.lines.lines.insert(*to, Line::Down { until, waited });
        self.handle(Input::SendFailed { to: *to });
    }

    fn line_closed(&mut self, to: Destination, flow: &Flow, ended: Ended) {
        self.lines.lines.remove(&to);
        self.closed(flow, ended);
        self.turn(|worker| worker.guard(|worker| worker.handle(Input::SendFailed { to })));
    }
}

/// Opens what is ordered.
pub(super) async fn open_all(mut orders: mpsc::UnboundedReceiver<Order>, worker: WorkerRef) {
    while let Some(order) = orders.recv().await {
        spawn_local(serve(order, Rc::clone(&worker)));
    }
}

async fn serve(order: Order, worker: WorkerRef) {
    let (metrics, dialing) = {
        let worker = worker.borrow();
        (worker.metrics.clone(), worker.dialing(order.to))
    };
    metrics.count(Count::Dials);
    let _open = metrics.hold(Gauge::Lines);
    let dialed = match dialing {
        Ok(dialing) => Box::pin(dial::dial(dialing)).await,
        Err(error) => Err(error),
    };
    match dialed {
        Ok(Dialed::Tcp(stream)) => run(stream, order, worker).await,
        Ok(Dialed::Tls(stream)) => run(stream, order, worker).await,
        Err(error) => worker
            .borrow_mut()
            .turn(|worker| worker.guard(|worker| worker.line_failed(&order, &error))),
    }
}

async fn run<S>(stream: S, Order { to, pipe }: Order, worker: WorkerRef)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let opened = worker.borrow_mut().line_opened(to, &pipe);
    let Some((flow, keeping)) = opened else {
        return;
    };
    let connection = Connection::new(stream, Arc::clone(&flow), pipe, Rc::clone(&worker), keeping);
    // However it ends, others are told: they would send into its pipe for ever.
    let ended = AssertUnwindSafe(connection.run()).catch_unwind().await;
    let ended = ended.unwrap_or_else(|_| {
        worker.borrow().metrics.count(Count::Panics);
        Ended::Closed
    });
    tracing::debug!(peer = %flow.peer, ?ended, "connection to an upstream ended");
    worker.borrow_mut().line_closed(to, &flow, ended);
}
