//! Looks after the members of upstreams where the configuration wants it: keeps connections and NAT bindings open, and finds out who
//! answers. OPTIONS and datagrams go from the first worker alone; connections are each worker's own, and ping themselves.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use hookswitch_sip::{
    flow::{Destination, Flow, FlowId, ListenerId, Side, Transport, UpstreamId, WorkerId},
    framing,
    message::Message,
    proxy::{config::MemberHealth, io::Input},
};
use tokio::task::JoinSet;

use super::{Mail, Worker, WorkerRef};
use crate::{
    config::{Keepalive, KeepaliveBy},
    health::{self, Ping},
    source::transport_name,
};

/// From the start to the first look: listeners are ready then.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// One task for each upstream that is looked after, until the worker ends.
pub(super) fn start(worker: &WorkerRef, tasks: &mut JoinSet<()>) {
    let shared = Arc::clone(&worker.borrow().shared);
    for (id, upstream) in (0..).map(UpstreamId).zip(&shared.config.upstreams) {
        if let Some(keepalive) = upstream.keepalive {
            tasks.spawn_local(watch(id, keepalive, Rc::clone(worker)));
        }
    }
}

async fn watch(id: UpstreamId, keepalive: Keepalive, worker: WorkerRef) {
    tokio::time::sleep(FIRST_LOOK).await;
    loop {
        worker.borrow_mut().turn(|worker| {
            for member in worker.shared.directory.members(id) {
                worker.guard(|worker| worker.look_after(id, member.address, keepalive.by));
            }
        });
        tokio::time::sleep(keepalive.every).await;
    }
}

impl Worker {
    fn look_after(&mut self, id: UpstreamId, member: SocketAddr, by: KeepaliveBy) {
        let (Some(upstream), Some(way)) = (self.shared.upstream(id), self.shared.directory.way(id))
        else {
            return;
        };
        let (transport, listener) = (way.transport, way.listener);
        let lanes = upstream.connections_max;
        let is_first = self.id == WorkerId(0);
        let to = next_hop(transport, listener, member);
        if transport != Transport::Udp {
            // The next message finds it open; a failure tells itself.
            for lane in 0..lanes {
                let _ = self.line(to.in_lane(lane));
            }
        }
        if !is_first {
            return;
        }
        match by {
            KeepaliveBy::Options => self.ping(listener, transport, member, to),
            KeepaliveBy::Crlf => self.send_empty_lines(listener, transport, member),
        }
        self.drain();
    }

    /// Connections do it themselves. A lost datagram is made up for by the next.
    fn send_empty_lines(&self, listener: ListenerId, transport: Transport, member: SocketAddr) {
        if let (Transport::Udp, Some(socket)) = (transport, self.socket(listener)) {
            let _ = socket.send(framing::PING, member);
        }
    }

    fn ping(
        &mut self,
        listener: ListenerId,
        transport: Transport,
        member: SocketAddr,
        to: Destination,
    ) {
        let Ping { number, silent } = self.shared.pings.next(member);
        if silent {
            self.tell_health(member, MemberHealth::Silent);
        }
        let info = self.shared.listener(listener);
        let name = transport_name(transport).to_ascii_uppercase();
        let options = health::options(&name, &info.advertised, member, number);
        self.send(to, options);
    }

    /// An answer to an OPTIONS of ours is for nobody else.
    pub(super) fn take_pong(&mut self, response: &Message, flow: &Flow) -> bool {
        let (false, Side::Upstream(_)) = (response.is_request(), flow.side) else {
            return false;
        };
        let branch = response.top_via().and_then(|via| via.branch());
        let Some(number) = branch.and_then(health::number_of) else {
            return false;
        };
        let is_serving = response.status() != Some(503);
        if is_serving && let Some(member) = self.shared.pings.answered(number, flow.peer.ip()) {
            self.tell_health(member, MemberHealth::Answers);
        }
        true
    }

    fn tell_health(&mut self, member: SocketAddr, health: MemberHealth) {
        for other in self.others() {
            self.post(other, Mail::Member { member, health });
        }
        self.handle(Input::Member { member, health });
    }
}

fn next_hop(transport: Transport, listener: ListenerId, peer: SocketAddr) -> Destination {
    match transport {
        Transport::Udp => Destination::Flow(FlowId::Datagram { listener, peer }),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => Destination::Connect {
            transport,
            listener,
            peer,
            lane: 0,
        },
    }
}
