//! From an accepted socket to an open WebSocket: TLS, then HTTP, each with a limit in time and number.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use hookswitch_sip::flow::{Attachment, Flow, ListenerId, Side, Transport};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    pipe::Pipe,
    web::{self, Visitor},
    websocket::{Bounds, Connection},
};
use crate::{
    config::Web,
    metrics::{Count, Gauge},
    worker::WorkerRef,
};

/// A browser that loads pages over one connection, or a policy that thinks about an upgrade, has this long in all.
const HTTP_MAX: Duration = Duration::from_secs(120);
/// After an error of `accept`, such as no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// One listener, as one worker serves it.
pub(crate) struct Door {
    pub(crate) listener: ListenerId,
    pub(crate) name: Arc<str>,
    pub(crate) transport: Transport,
    pub(crate) web: Web,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) worker: WorkerRef,
    pub(crate) handshakes: Arc<Semaphore>,
    pub(crate) handshake_max: Duration,
    pub(crate) connections_max: u64,
    pub(crate) bounds: Bounds,
}

/// Accepts until the worker stops it.
pub(crate) async fn accept(listener: TcpListener, door: Rc<Door>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(listener = &*door.name, %error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
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
    if metrics.total(Gauge::Connections) > door.connections_max {
        metrics.count(Count::ConnectionsRefused);
        return;
    }
    // A message is one write: there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = &door.tls else {
        drop(permit);
        return serve(stream, peer, None, door).await;
    };
    match timeout(door.handshake_max, Box::pin(acceptor.accept(stream))).await {
        Ok(Ok(stream)) => {
            metrics.count(Count::Handshakes);
            drop(permit);
            let sni = stream.get_ref().1.server_name().map(str::to_owned);
            serve(stream, peer, sni, door).await;
        }
        Ok(Err(error)) => {
            metrics.count(Count::HandshakesFailed);
            tracing::debug!(listener = &*door.name, %peer, %error, "TLS handshake failed");
        }
        Err(_) => metrics.count(Count::HandshakesFailed),
    }
}

async fn serve<S>(stream: S, peer: SocketAddr, sni: Option<String>, door: Rc<Door>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let visitor = Visitor {
        peer,
        sni,
        door: &door,
    };
    let Ok(Some(upgraded)) = timeout(HTTP_MAX, Box::pin(web::serve(stream, &visitor))).await else {
        return;
    };
    drop(visitor);
    let pipe = Rc::new(Pipe::new(door.bounds.queue_bytes_max));
    let flow = {
        let mut worker = door.worker.borrow_mut();
        let flow = Arc::new(Flow {
            id: worker.new_connection_id(),
            transport: door.transport,
            listener: door.listener,
            peer,
            side: Side::Web,
            attachment: Attachment::new(upgraded.source),
        });
        worker.opened(&flow, Rc::clone(&pipe));
        flow
    };
    let worker = Rc::clone(&door.worker);
    let bounds = door.bounds;
    drop(door);
    let connection = Box::pin(Connection::open(
        upgraded.stream,
        upgraded.early,
        Arc::clone(&flow),
        pipe,
        Rc::clone(&worker),
        bounds,
    ))
    .await;
    let ended = connection.run().await;
    tracing::debug!(peer = %flow.peer, ?ended, "connection ended");
    worker.borrow_mut().closed(&flow, ended);
}
