//! The network: which packets arrive, when, how often, and at which worker.

use std::{
    hash::{BuildHasherDefault, DefaultHasher},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hookswitch_sip::{
    flow::{Destination, Flow, FlowId, WorkerId},
    limits::Limits,
    message::Message,
    placement::{self, Arrival},
    proxy::io::{DropCause, Input},
};

use super::{Event, Invite, World};
use crate::{
    agent::{Hop, Kind},
    node::WORKERS,
    wire::Msg,
};

impl World {
    /// Bytes that an agent sends past its own stack.
    pub fn send_raw(&mut self, agent: usize, bytes: Bytes) {
        let hop = match self.agents[agent].kind {
            Kind::Browser => Hop::Connection,
            Kind::Udp => Hop::Address(self.agents[agent].outbound),
        };
        self.send_from(agent, hop, bytes);
    }

    /// What a transport does: frame, parse, answer what cannot be parsed, find the worker.
    pub(super) fn arrive(&mut self, from: SocketAddr, serial: Option<u64>, bytes: Bytes) {
        let flow = match serial {
            Some(serial) => self.node.connection(serial),
            None => Some(self.node.datagram(from)),
        };
        let Some(flow) = flow else { return };
        match Message::parse(bytes, &Limits::default()) {
            Ok(message) => {
                self.note_arrival(&message);
                self.note_response(&message);
                let (arrival, here) = match flow.id {
                    FlowId::Connection { worker, .. } => (Arrival::Client(worker), worker),
                    FlowId::Datagram { .. } => (Arrival::Shared, WorkerId(0)),
                };
                let keyed = BuildHasherDefault::<DefaultHasher>::default();
                let owner = placement::owner(&message, arrival, WORKERS, &keyed);
                let hop = if owner == here {
                    Duration::ZERO
                } else {
                    self.weather.between_workers
                };
                let input = Input::Received {
                    flow,
                    message,
                    policies: self.node.policies(),
                };
                self.tell_worker(hop, usize::from(owner.0), input);
            }
            Err(error) => match error.response(Some("malformed")) {
                Some(response) => self.send_to(&flow, response.to_bytes()),
                None => self.count_drop(DropCause::Unanswerable),
            },
        }
    }

    fn note_arrival(&mut self, message: &Message) {
        let method = message
            .method()
            .map(|method| method.as_str().to_owned())
            .filter(|method| method != "ACK");
        if let Some(method) = method {
            let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
            let branch = message
                .top_via()
                .and_then(|via| via.branch().map(str::to_owned))
                .unwrap_or_default();
            self.arrived
                .insert((self.node.life, text(message.call_id()), method, branch));
        }
    }

    fn note_response(&mut self, message: &Message) {
        let branch = message.top_via().and_then(|via| via.branch());
        if message.status().is_some()
            && let Some(invite) = branch.and_then(|branch| self.invites.get_mut(branch))
        {
            invite.heard_at.get_or_insert(self.now);
        }
    }

    fn note_invite(&mut self, bytes: &[u8]) {
        if let Some(invite) = Msg::parse(bytes).filter(|msg| msg.start.starts_with("INVITE ")) {
            self.invites.entry(invite.branch()).or_insert(Invite {
                sent_at: self.now,
                heard_at: None,
            });
        }
    }

    /// Bytes of the proxy on their way.
    pub(super) fn deliver(&mut self, worker: usize, to: Destination, bytes: Bytes) {
        let flow = match to {
            Destination::Flow(FlowId::Connection { serial, .. }) => self.node.connection(serial),
            Destination::Flow(FlowId::Datagram { peer, .. }) => Some(self.node.datagram(peer)),
            Destination::Connect { .. } => None,
        };
        match flow {
            Some(flow)
                if !flow.transport.is_reliable()
                    && self.rng.percent(self.weather.refused_percent) =>
            {
                self.ladder
                    .message(self.now, "proxy", "nobody", &bytes, " (refused)");
                let input = Input::Undelivered { to, bytes };
                self.tell_worker(Duration::ZERO, worker, input);
            }
            Some(flow) => self.send_to(&flow, bytes),
            None => {
                self.ladder.message(self.now, "proxy", "nobody", &bytes, "");
                self.tell_worker(
                    self.weather.between_workers,
                    worker,
                    Input::SendFailed { to },
                );
            }
        }
    }

    pub(super) fn send_to(&mut self, flow: &Arc<Flow>, bytes: Bytes) {
        self.sent += 1;
        self.note_invite(&bytes);
        let (agent, serial) = match flow.id {
            FlowId::Connection { serial, .. } => (
                self.serials.iter().position(|s| *s == Some(serial)),
                Some(serial),
            ),
            FlowId::Datagram { peer, .. } => {
                (self.agents.iter().position(|a| a.addr == peer), None)
            }
        };
        let name = agent.map_or_else(
            || flow.peer.to_string(),
            |agent| self.agents[agent].name.clone(),
        );
        let fate = self.fate("proxy", &name, serial);
        self.ladder
            .message(self.now, "proxy", &name, &bytes, fate.0);
        let Some(agent) = agent else { return };
        for _ in 0..fate.1 {
            let after = self.way(serial, false);
            self.schedule(
                after,
                Event::Agent {
                    agent,
                    serial,
                    bytes: bytes.clone(),
                },
            );
        }
    }

    pub(super) fn send_from(&mut self, agent: usize, hop: Hop, bytes: Bytes) {
        let (from, name, serial) = (
            self.agents[agent].addr,
            self.agents[agent].name.clone(),
            self.serials[agent],
        );
        let to = match hop {
            Hop::Connection if serial.is_none() => return,
            Hop::Connection => None,
            Hop::Address(addr) => self.agents.iter().position(|a| a.addr == addr),
        };
        let to_name = to
            .map_or("proxy", |to| self.agents[to].name.as_str())
            .to_owned();
        let fate = self.fate(&name, &to_name, serial);
        self.ladder
            .message(self.now, &name, &to_name, &bytes, fate.0);
        for _ in 0..fate.1 {
            let after = self.way(serial, true);
            let event = match to {
                Some(agent) => Event::Agent {
                    agent,
                    serial: None,
                    bytes: bytes.clone(),
                },
                None => Event::Proxy {
                    from,
                    serial,
                    bytes: bytes.clone(),
                },
            };
            self.schedule(after, event);
        }
    }

    /// What the ladder says of a packet's fate, and how often it arrives.
    fn fate(&mut self, from: &str, to: &str, serial: Option<u64>) -> (&'static str, u32) {
        if let Some(doomed) = self
            .doomed
            .iter_mut()
            .find(|(f, t, left)| f == from && t == to && *left > 0)
        {
            doomed.2 -= 1;
            return (" (lost)", 0);
        }
        if serial.is_some() {
            return ("", 1);
        }
        if self.rng.percent(self.weather.loss_percent) {
            (" (lost)", 0)
        } else if self.rng.percent(self.weather.twice_percent) {
            (" (twice)", 2)
        } else {
            ("", 1)
        }
    }

    fn way(&mut self, serial: Option<u64>, inbound: bool) -> Duration {
        let after = self.weather.latency + self.rng.duration(self.weather.jitter);
        let Some(serial) = serial else { return after };
        let latest = self.arrivals.entry((serial, inbound)).or_default();
        *latest = (*latest).max(self.now + after);
        *latest - self.now
    }
}
