//! From an accepted socket to an open connection: TLS, then SIP or, for browsers, HTTP, with one limit in time and number for both.

use std::{
    cell::Cell, net::SocketAddr, panic::AssertUnwindSafe, rc::Rc, sync::Arc, time::Duration,
};

use futures_util::FutureExt;
use hookswitch_sip::flow::{Attachment, Flow, ListenerId, Side, Transport};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use super::{
    crowd::Crowd,
    dial,
    pipe::{Ended, Pipe},
    stream::{self, Keeping},
    tls,
    web::{self, Visitor},
    websocket::{self, Bounds},
};
use crate::{
    config::Web,
    metrics::{Count, Gauge},
    source::Source,
    worker::WorkerRef,
};

/// A browser that has got one page may load others over the same connection for this long.
const PAGES_MAX: Duration = Duration::from_secs(120);
/// After an error of `accept`, such as no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One listener, as one worker serves it.
pub(crate) struct Door {
    pub(crate) listener: ListenerId,
    pub(crate) name: Arc<str>,
    pub(crate) transport: Transport,
    pub(crate) speaks: Speaks,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) worker: WorkerRef,
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) handshake_max: Duration,
    pub(crate) connections_max: u64,
    pub(crate) crowd: Arc<Crowd>,
    pub(crate) bounds: Bounds,
}

/// What is spoken inside TCP or TLS.
pub(crate) enum Speaks {
    Sip,
    WebSocket(Web),
}

/// Who is at the other end, by TLS.
#[derive(Default)]
struct Introduced {
    sni: Option<String>,
    /// What the client's certificate was verified for.
    certificate: Vec<String>,
}

/// Accepts until the worker stops it.
pub(crate) async fn accept(listener: TcpListener, door: Rc<Door>) {
    let mut failing = None;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Once, and not again with each attempt.
                if failing.replace(error.kind()) != Some(error.kind()) {
                    tracing::warn!(listener = &*door.name, %error, "cannot accept");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        failing = None;
        // While all are taken, further newcomers wait in the kernel.
        let Ok(permit) = Arc::clone(&door.handshakes).acquire_owned().await else {
            return;
        };
        tokio::task::spawn_local(admit(stream, peer, Rc::clone(&door), permit));
    }
}

async fn admit(stream: TcpStream, peer: SocketAddr, door: Rc<Door>, permit: OwnedSemaphorePermit) {
    let metrics = door.worker.borrow().metrics.clone();
    let _open = metrics.hold(Gauge::Connections);
    let counted = door.crowd.enter(peer.ip());
    if counted.is_none() || metrics.total(Gauge::Connections) > door.connections_max {
        metrics.count(Count::ConnectionsRefused);
        return;
    }
    dial::tune(&stream);
    let visit = Visit::begin(permit, door.handshake_max);
    let Some(acceptor) = &door.tls else {
        return serve(stream, peer, Introduced::default(), visit, door).await;
    };
    match timeout_at(visit.until.get(), Box::pin(acceptor.accept(stream))).await {
        Ok(Ok(stream)) => {
            metrics.count(Count::Handshakes);
            let (_, session) = stream.get_ref();
            let introduced = Introduced {
                sni: session.server_name().map(str::to_owned),
                certificate: tls::client_names(session),
            };
            serve(stream, peer, introduced, visit, door).await;
        }
        Ok(Err(error)) => {
            metrics.count(Count::HandshakesFailed);
            tracing::debug!(listener = &*door.name, %peer, %error, "TLS handshake failed");
        }
        Err(_) => metrics.count(Count::HandshakesSlow),
    }
}

/// What is before the WebSocket: one of the handshakes in flight, and limited in time from its first byte to its last.
pub(crate) struct Visit {
    until: Cell<Instant>,
    permit: Cell<Option<OwnedSemaphorePermit>>,
}

impl Visit {
    pub(crate) fn begin(permit: OwnedSemaphorePermit, handshake_max: Duration) -> Self {
        Self {
            until: Cell::new(Instant::now() + handshake_max),
            permit: Cell::new(Some(permit)),
        }
    }

    /// It asked for a page and got it: a reader of pages makes room for handshakes, and may stay for a while.
    pub(crate) fn reads_pages(&self) {
        if self.permit.take().is_some() {
            self.until.set(Instant::now() + PAGES_MAX);
        }
    }

    /// What `work` comes to; `None` when the time is over.
    async fn limited<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = Box::pin(work);
        loop {
            let until = self.until.get();
            match timeout_at(until, &mut work).await {
                Ok(done) => return Some(done),
                Err(_) if self.until.get() > until => {}
                Err(_) => return None,
            }
        }
    }
}

async fn serve<S>(stream: S, peer: SocketAddr, introduced: Introduced, visit: Visit, door: Rc<Door>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match &door.speaks {
        Speaks::Sip => {
            drop(visit);
            // Boxed: a browser's connection need not have room for it.
            Box::pin(serve_sip(stream, peer, introduced.certificate, door)).await;
        }
        Speaks::WebSocket(_) => serve_web(stream, peer, introduced.sni, visit, door).await,
    }
}

async fn serve_sip<S>(stream: S, peer: SocketAddr, certificate: Vec<String>, door: Rc<Door>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let worker = Rc::clone(&door.worker);
    let source = Source::address(door.transport, peer, Arc::clone(&door.name));
    let upstream = worker
        .borrow()
        .upstream_of(door.listener, peer.ip(), &certificate);
    let side = upstream.map_or(Side::Stranger, Side::Upstream);
    let flow = Arc::new(door.flow(peer, side, source.verified(certificate.into_iter().next())));
    let pipe = Rc::new(Pipe::new(door.bounds.queue_bytes_max));
    worker.borrow_mut().opened(&flow, Rc::clone(&pipe));
    let keeping = Keeping {
        idle_max: door.bounds.idle_max,
        ping_every: None,
    };
    drop(door);
    let connection =
        stream::Connection::new(stream, Arc::clone(&flow), pipe, Rc::clone(&worker), keeping);
    let ended = AssertUnwindSafe(connection.run()).catch_unwind().await;
    end(&worker, &flow, ended.ok());
}

async fn serve_web<S>(
    stream: S,
    peer: SocketAddr,
    sni: Option<String>,
    visit: Visit,
    door: Rc<Door>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Speaks::WebSocket(web) = &door.speaks else {
        return;
    };
    let visitor = Visitor {
        peer,
        sni,
        visit,
        listener: &door.name,
        transport: door.transport,
        handshake_max: door.handshake_max,
        web,
        gate: &door.worker,
    };
    let served = visitor.visit.limited(web::serve(stream, &visitor)).await;
    let upgraded = match served {
        Some(Some(upgraded)) => upgraded,
        Some(None) => return,
        None => return door.worker.borrow().metrics.count(Count::HandshakesSlow),
    };
    drop(visitor);
    let pipe = Rc::new(Pipe::new(door.bounds.queue_bytes_max));
    let flow = Arc::new(door.flow(peer, Side::Web, upgraded.source));
    let worker = Rc::clone(&door.worker);
    worker.borrow_mut().opened(&flow, Rc::clone(&pipe));
    let bounds = door.bounds;
    drop(door);
    let connection = Box::pin(websocket::Connection::open(
        upgraded.stream,
        upgraded.early,
        Arc::clone(&flow),
        pipe,
        Rc::clone(&worker),
        bounds,
    ))
    .await;
    let ended = AssertUnwindSafe(connection.run()).catch_unwind().await;
    end(&worker, &flow, ended.ok());
}

/// However it ended, by a fault of ours too, others are told: they would send into its pipe for ever.
fn end(worker: &WorkerRef, flow: &Flow, ended: Option<Ended>) {
    let ended = ended.unwrap_or_else(|| {
        worker.borrow().metrics.count(Count::Panics);
        Ended::Closed
    });
    tracing::debug!(peer = %flow.peer, ?ended, "connection ended");
    worker.borrow_mut().closed(flow, ended);
}

impl Door {
    /// A new one.
    fn flow(&self, peer: SocketAddr, side: Side, source: impl Into<Arc<Source>>) -> Flow {
        let source = source.into();
        Flow {
            id: self.worker.borrow_mut().new_connection_id(),
            transport: self.transport,
            listener: self.listener,
            peer,
            side,
            session: source.session(),
            attachment: Attachment::new(source),
        }
    }
}
