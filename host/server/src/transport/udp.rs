//! Datagrams of one listener, as one worker's socket gets them.

use std::{collections::HashMap, future::poll_fn, io, net::SocketAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use hookswitch_sip::{
    flow::{Flow, FlowId, ListenerId, Side, Transport},
    framing::{self, Frame},
};
use tokio::net::UdpSocket;

use crate::worker::WorkerRef;

/// The largest datagram of UDP.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Datagrams before connections have their turn.
const DATAGRAMS_PER_TURN_MAX: usize = 32;
/// Peers that are remembered, so that each datagram need not make a flow of its own.
const FLOWS_MAX: usize = 4_096;

/// Reads for ever.
pub(crate) async fn receive(socket: Rc<UdpSocket>, listener: ListenerId, worker: WorkerRef) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let mut flows = Flows::default();
    loop {
        poll_fn(|cx| worker.borrow().poll_uncongested(cx)).await;
        if socket.readable().await.is_err() {
            return;
        }
        for _ in 0..DATAGRAMS_PER_TURN_MAX {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, peer)) => {
                    let flow = flows.of(listener, peer, &worker);
                    let bytes = buffer.get(..length).unwrap_or_default();
                    take(&socket, &flow, bytes, &worker);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // What a peer's network says of an earlier datagram of ours.
                Err(_) => {}
            }
        }
        tokio::task::yield_now().await;
    }
}

fn take(socket: &UdpSocket, flow: &Arc<Flow>, bytes: &[u8], worker: &WorkerRef) {
    match framing::datagram(Bytes::copy_from_slice(bytes)) {
        Frame::Message(bytes) => worker
            .borrow_mut()
            .turn(|worker| worker.received(flow, bytes)),
        // A lost pong is like a lost ping.
        Frame::Ping => drop(socket.try_send_to(framing::PONG, flow.peer)),
        Frame::Blank => {}
    }
}

/// Flows of the peers that were heard lately.
#[derive(Default)]
struct Flows(HashMap<SocketAddr, Arc<Flow>>);

impl Flows {
    fn of(&mut self, listener: ListenerId, peer: SocketAddr, worker: &WorkerRef) -> Arc<Flow> {
        if let Some(flow) = self.0.get(&peer) {
            return Arc::clone(flow);
        }
        if self.0.len() >= FLOWS_MAX {
            self.0.clear();
        }
        let upstream = worker.borrow().upstream_of(listener, peer.ip());
        let flow = Arc::new(Flow {
            id: FlowId::Datagram { listener, peer },
            transport: Transport::Udp,
            listener,
            peer,
            side: upstream.map_or(Side::Stranger, Side::Upstream),
        });
        self.0.insert(peer, Arc::clone(&flow));
        flow
    }
}
