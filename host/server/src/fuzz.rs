//! What tests feed with bytes that nobody chose, without sockets, workers and policies: the way of a browser's bytes to its messages,
//! and that of a configuration to the proxy. Nothing else calls it.

use std::{
    cell::RefCell,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use hookswitch_policy::context::{self, Source as _};
use hookswitch_sip::{
    flow::{Attachment, Flow, FlowId, ListenerId, Side, Transport, WorkerId},
    proxy::ProxyConfig,
    token::Keyring,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
};

pub use crate::transport::pipe::Ended;
use crate::{
    carriers::Carriers,
    config::{Config, Origins, Web},
    metrics::Count,
    proxy_config,
    source::Source,
    transport::{
        Bound, Sockets,
        accept::Visit,
        advertised,
        pipe::Pipe,
        web::{self, Gate, Visitor},
        websocket::{Bounds, Connection, Inbox},
    },
    turn::Turn,
    worker::policy::Admission,
};

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5_000);
const QUEUE_BYTES_MAX: usize = 4 << 20;
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What came of a connection.
#[derive(Debug, Default)]
pub struct Visited {
    /// What policies read of the upgrade, by its names; `None` if there was none.
    pub upgrade: Option<[(&'static str, Option<String>); 4]>,
    /// What the worker would have got, in order.
    pub messages: Vec<Bytes>,
    /// How the WebSocket ended.
    pub ended: Option<Ended>,
}

/// Serves a connection to a WebSocket listener until it ends. Every message is said back.
pub async fn visit<S>(stream: S, origins: Origins, message_bytes_max: usize) -> Visited
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let web = Web {
        origins,
        pages: None,
    };
    let handshakes = Arc::new(Semaphore::new(1));
    let Ok(permit) = handshakes.try_acquire_owned() else {
        unreachable!("nobody else has a permit of it");
    };
    let visitor = Visitor {
        peer: PEER,
        sni: None,
        visit: Visit::begin(permit, WAIT_MAX),
        listener: &"web".into(),
        transport: Transport::Ws,
        handshake_max: WAIT_MAX,
        web: &web,
        gate: &Everybody,
    };
    let Some(upgraded) = web::serve(stream, &visitor).await else {
        return Visited::default();
    };
    let pipe = Rc::new(Pipe::new(QUEUE_BYTES_MAX));
    let echo = Echo {
        messages: Rc::default(),
        pipe: Rc::clone(&pipe),
    };
    let bounds = Bounds {
        message_bytes_max,
        queue_bytes_max: QUEUE_BYTES_MAX,
        idle_max: WAIT_MAX,
        pong_max: WAIT_MAX,
    };
    let flow = flow(&upgraded.source);
    let connection = Connection::open(
        upgraded.stream,
        upgraded.early,
        flow,
        pipe,
        echo.clone(),
        bounds,
    );
    let ended = connection.await.run().await;
    let names = ["host", "path", "query", "origin"];
    Visited {
        upgrade: Some(names.map(|name| (name, upgraded.source.upgrade(name)))),
        messages: echo.messages.take(),
        ended: Some(ended),
    }
}

fn flow(source: &Arc<Source>) -> Arc<Flow> {
    Arc::new(Flow {
        id: FlowId::Connection {
            worker: WorkerId(0),
            serial: 1,
        },
        transport: Transport::Ws,
        listener: ListenerId(0),
        peer: PEER,
        side: Side::Web,
        session: source.session(),
        attachment: Attachment::new(Arc::clone(source)),
    })
}

/// Lets everybody in.
struct Everybody;

impl Gate for Everybody {
    fn count(&self, _count: Count) {}

    async fn admit(&self, _upgrade: context::Upgrade, _source: Arc<Source>) -> Admission {
        Admission::Accepted
    }

    fn turn(&self) -> Option<Arc<Turn>> {
        None
    }
}

/// Says back what comes, and keeps it.
#[derive(Clone)]
struct Echo {
    messages: Rc<RefCell<Vec<Bytes>>>,
    pipe: Rc<Pipe>,
}

impl Inbox for Echo {
    fn poll_uncongested(&self, _cx: &Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn received(&self, _flow: &Arc<Flow>, bytes: Bytes) {
        self.messages.borrow_mut().push(bytes.clone());
        // A full pipe ends the connection.
        let _ = self.pipe.push(bytes);
    }

    fn heard(&self, _flow: &Flow) {}
}

/// What the proxy of the first worker is told. Nothing is bound; files of passwords are read.
///
/// # Errors
/// A file of a password cannot be used.
pub fn proxy_config(config: &Config, keys: &Keyring) -> Result<ProxyConfig> {
    let listeners = config.listeners.iter();
    let bound: Vec<Bound> = listeners
        .map(|listener| Bound {
            name: listener.name.clone(),
            transport: listener.kind.transport(),
            address: listener.address,
            advertised: advertised(listener, listener.address),
            sockets: Sockets::Udp(Vec::new()),
        })
        .collect();
    let carriers = Carriers::new(config)?;
    Ok(proxy_config::of(
        config,
        &bound,
        keys,
        &carriers,
        WorkerId(0),
    ))
}
