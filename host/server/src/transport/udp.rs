//! Datagrams of one listener, as one worker's socket gets them.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    io,
    net::{SocketAddr, UdpSocket},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use hookswitch_sip::{
    flow::{Attachment, Flow, FlowId, ListenerId, Side, Transport, UpstreamId},
    framing::{self, Frame},
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    source::Source,
    worker::{Worker, WorkerRef},
};

/// The largest datagram of UDP.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Datagrams before connections have their turn.
const DATAGRAMS_PER_TURN_MAX: usize = 32;
/// Peers that are remembered, so that each datagram need not make a flow of its own.
const FLOWS_MAX: usize = 4_096;

/// What one worker knows of a listener.
pub(crate) struct Port {
    pub(crate) listener: ListenerId,
    pub(crate) name: Arc<str>,
    /// Peers that a policy keeps something of.
    pub(crate) sources_max: usize,
}

/// A listener's socket, as one worker has it. Only reading is waited for: an interest in writing would wake the worker whenever the
/// kernel has freed one of its datagrams, and what the kernel has no room for is lost like any other datagram.
#[derive(Debug)]
pub(crate) struct DatagramSocket(AsyncFd<UdpSocket>);

impl DatagramSocket {
    /// Within the runtime that it is to be read on.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        // SAFETY: a socket of std has one descriptor, open as long as it lives.
        #[allow(unsafe_code)]
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
        Ok(Self(socket?))
    }

    /// At once, or not at all.
    pub(crate) fn send(&self, bytes: &[u8], peer: SocketAddr) -> io::Result<()> {
        self.0.get_ref().send_to(bytes, peer).map(drop)
    }
}

/// What is left in a socket after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    Perhaps,
}

/// Reads for ever.
pub(crate) async fn receive(socket: Rc<DatagramSocket>, port: Port, worker: WorkerRef) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut flows = Flows::new(port);
    loop {
        poll_fn(|cx| worker.borrow().poll_uncongested(cx)).await;
        let Ok(mut readable) = socket.0.readable().await else {
            return;
        };
        let mut left = Left::Perhaps;
        worker.borrow_mut().turn(|worker| {
            left = read(&socket, &mut buffer, &mut flows, worker);
        });
        match left {
            Left::Nothing => readable.clear_ready(),
            Left::Perhaps => tokio::task::yield_now().await,
        }
    }
}

fn read(
    socket: &DatagramSocket,
    buffer: &mut [u8],
    flows: &mut Flows,
    worker: &mut Worker,
) -> Left {
    for _ in 0..DATAGRAMS_PER_TURN_MAX {
        match socket.0.get_ref().recv_from(buffer) {
            Ok((length, peer)) => {
                flows.know(worker.directory_version());
                let flow = flows.of(peer, |listener| {
                    worker.upstream_of(listener, peer.ip(), &[])
                });
                let bytes = buffer.get(..length).unwrap_or_default();
                take(socket, &flow, bytes, worker);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Left::Nothing,
            // What a peer's network says of an earlier datagram of ours.
            Err(_) => {}
        }
    }
    Left::Perhaps
}

fn take(socket: &DatagramSocket, flow: &Arc<Flow>, bytes: &[u8], worker: &mut Worker) {
    match framing::datagram(Bytes::copy_from_slice(bytes)) {
        Frame::Message(bytes) => worker.received(flow, bytes),
        // A lost pong is like a lost ping.
        Frame::Ping => drop(socket.send(framing::PONG, flow.peer)),
        Frame::Blank => {}
    }
}

/// Flows of the peers that were heard lately. All requests of a peer come to the same worker's socket, so only that one has what policies
/// gave to it.
struct Flows {
    port: Port,
    /// Of the directory that said whose they are.
    version: u64,
    recent: HashMap<SocketAddr, Arc<Flow>>,
    /// What policies gave to those who were not heard lately.
    sources: HashMap<SocketAddr, Arc<Source>>,
    /// The oldest is forgotten first.
    order: VecDeque<SocketAddr>,
}

impl Flows {
    fn new(port: Port) -> Self {
        Self {
            port,
            version: 0,
            recent: HashMap::new(),
            sources: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Names of upstreams may lead elsewhere than before.
    fn know(&mut self, version: u64) {
        if self.version != version {
            self.version = version;
            self.make_room();
        }
    }

    fn of(
        &mut self,
        peer: SocketAddr,
        upstream_of: impl FnOnce(ListenerId) -> Option<UpstreamId>,
    ) -> Arc<Flow> {
        if let Some(flow) = self.recent.get(&peer) {
            return Arc::clone(flow);
        }
        if self.recent.len() >= FLOWS_MAX {
            self.make_room();
        }
        let source = match self.sources.get(&peer) {
            Some(source) => Arc::clone(source),
            None => {
                let name = Arc::clone(&self.port.name);
                Arc::new(Source::address(Transport::Udp, peer, name))
            }
        };
        let listener = self.port.listener;
        let flow = Arc::new(flow(listener, peer, upstream_of(listener), source));
        self.recent.insert(peer, Arc::clone(&flow));
        flow
    }

    fn make_room(&mut self) {
        for (peer, flow) in self.recent.drain() {
            let source = flow.attachment.get::<Source>();
            let Some(source) = source.filter(|source| source.was_given_something()) else {
                continue;
            };
            if self.sources.insert(peer, source).is_none() {
                self.order.push_back(peer);
            }
            if self.order.len() > self.port.sources_max
                && let Some(oldest) = self.order.pop_front()
            {
                self.sources.remove(&oldest);
            }
        }
    }
}

/// The flow of one peer of a listener.
pub(crate) fn flow(
    listener: ListenerId,
    peer: SocketAddr,
    upstream: Option<UpstreamId>,
    source: Arc<Source>,
) -> Flow {
    Flow {
        id: FlowId::Datagram { listener, peer },
        transport: Transport::Udp,
        listener,
        peer,
        side: upstream.map_or(Side::Stranger, Side::Upstream),
        session: None,
        attachment: Attachment::new(source),
    }
}

#[cfg(test)]
mod tests {
    use hookswitch_policy::context::Source as _;

    use super::*;

    fn source(flows: &mut Flows, peer: usize) -> Arc<Source> {
        let address = [10, 0, (peer / 256) as u8, (peer % 256) as u8];
        let flow = flows.of((address, 5060).into(), |_| None);
        flow.attachment.get().unwrap()
    }

    #[test]
    fn what_a_policy_gave_to_an_address_outlasts_a_flood_of_others() {
        let mut flows = Flows::new(Port {
            listener: ListenerId(0),
            name: "udp".into(),
            sources_max: 2,
        });
        let give = |flows: &mut Flows, peer| {
            let attribute = vec![("k".to_owned(), Some(format!("{peer}")))];
            source(flows, peer).apply(None, attribute);
        };
        let flood = |flows: &mut Flows| {
            (100..100 + FLOWS_MAX).for_each(|peer| drop(source(flows, peer)));
        };
        for peer in 1..=3 {
            give(&mut flows, peer);
            assert_eq!(
                source(&mut flows, peer).attribute("k"),
                Some(peer.to_string())
            );
            flood(&mut flows);
        }
        let kept = [1, 2, 3, 4].map(|peer| source(&mut flows, peer).attribute("k"));
        assert_eq!(kept, [None, Some("2".into()), Some("3".into()), None]);
        assert!(flows.recent.len() <= FLOWS_MAX && flows.order.len() <= 2);
    }
}
