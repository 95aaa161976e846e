//! A user agent of RFC 3261: small, but with transactions, retransmissions, dialogs and Route sets of its own.
//!
//! Time is an argument and what it sends piles up in `out`. What only a person or a script can decide (whom to call, when to answer)
//! is a method; what a stack does by itself (ACK to a failure, 487 after CANCEL, 200 to BYE) it does by itself.

mod client;
mod dialog;
mod relay;
mod server;

use std::{net::SocketAddr, time::Duration};

pub use self::{
    client::{Client, ClientEnd, Draft, to_uri},
    dialog::{Dialog, DialogState},
    server::{Answer, STRAY_ACK, Server},
};
use hookswitch_sip::flow::SessionKey;

use crate::wire::{self, Msg};

/// RFC 3261 §17.1.1.1.
pub const T1: Duration = Duration::from_millis(500);
/// RFC 3261 §17.1.2.2.
pub const T2: Duration = Duration::from_secs(4);
/// 64 * T1: timers B, D, F, H, L and M.
pub const GIVE_UP: Duration = Duration::from_secs(32);

/// How an agent reaches the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One WebSocket, to which it clings (RFC 7118).
    Browser,
    /// Datagrams from one socket.
    Udp,
}

/// Where a packet of an agent goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Onto its WebSocket.
    Connection,
    /// A datagram.
    Address(SocketAddr),
}

/// What an agent does without being told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// Whether an INVITE ends when a CANCEL arrives.
    pub cancelled: Cancelled,
    /// Whether a 2xx is acknowledged at once.
    pub ack: Ack,
    /// Whether a BYE is taken as it is.
    pub bye: Bye,
}

/// Reaction to BYE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bye {
    /// The dialog is over.
    #[default]
    Ends,
    /// Not before it has credentials for the nonce `bye`.
    Challenged,
}

/// Reaction to CANCEL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cancelled {
    /// 487, as RFC 3261 §9.2 says.
    #[default]
    Ends,
    /// The CANCEL gets its 200 and nothing else happens: the answer that crosses it is on its way.
    Ignores,
}

/// Reaction to a 2xx.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// Somebody says when.
    #[default]
    Told,
    /// At once.
    AtOnce,
}

/// Whether an agent complains of what should not have reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Judges {
    /// Of all of it.
    #[default]
    Everything,
    /// It sent bytes past its stack, which does not know their answers.
    Nothing,
}

/// A message that should not have reached an agent.
#[derive(Clone, Debug)]
pub struct Wrong {
    /// Why.
    pub what: &'static str,
    /// Its Call-ID.
    pub call_id: String,
    /// All of it, for people.
    pub text: String,
}

/// One user agent.
#[derive(Debug)]
pub struct Agent {
    /// Its name in ladders, unique.
    pub name: String,
    /// The user part of its address of record.
    pub user: String,
    /// Its transport.
    pub kind: Kind,
    /// Its address on the network.
    pub addr: SocketAddr,
    /// Host and port that it writes into Via.
    pub sent_by: String,
    /// Where it sends requests that have no Route.
    pub outbound: SocketAddr,
    /// What its REGISTER says of its instance, after `urn:uuid:`.
    pub instance: String,
    /// That it names when it connects.
    pub session: Option<SessionKey>,
    /// Those of its pages before this one.
    pub earlier_contacts: Vec<String>,
    /// What it does by itself.
    pub habits: Habits,
    /// Client transactions, oldest first; none is ever removed.
    pub clients: Vec<Client>,
    /// Server transactions, oldest first; none is ever removed.
    pub servers: Vec<Server>,
    /// Dialogs, oldest first; none is ever removed but by `reload`.
    pub dialogs: Vec<Dialog>,
    /// To be sent, in this order.
    pub out: Vec<(Hop, Msg)>,
    /// What it complains of.
    pub judges: Judges,
    /// When its connection broke, each time.
    pub lost_at: Vec<Duration>,
    /// What arrived and should not have.
    pub wrongs: Vec<Wrong>,
    relayed: Vec<relay::Relayed>,
    granted: Vec<relay::Granted>,
    counter: u32,
    pub(crate) register_call: (String, u32),
}

impl Agent {
    /// An agent that has done nothing yet.
    #[must_use]
    pub fn new(name: &str, user: &str, kind: Kind, addr: SocketAddr, outbound: SocketAddr) -> Self {
        let sent_by = match kind {
            Kind::Browser => format!("{name}.invalid"),
            Kind::Udp => addr.to_string(),
        };
        Self {
            name: name.to_owned(),
            user: user.to_owned(),
            kind,
            addr,
            sent_by,
            outbound,
            instance: name.to_owned(),
            session: None,
            habits: Habits::default(),
            clients: Vec::new(),
            servers: Vec::new(),
            dialogs: Vec::new(),
            out: Vec::new(),
            judges: Judges::default(),
            lost_at: Vec::new(),
            wrongs: Vec::new(),
            relayed: Vec::new(),
            granted: Vec::new(),
            earlier_contacts: Vec::new(),
            counter: 0,
            register_call: (String::new(), 0),
        }
    }

    /// `sip:alice@example.com`
    #[must_use]
    pub fn aor(&self) -> String {
        format!("sip:{}@example.com", self.user)
    }

    /// The URI in its Contact.
    #[must_use]
    pub fn contact(&self) -> String {
        match self.kind {
            Kind::Browser => format!("sip:{}@{};transport=ws", self.user, self.sent_by),
            Kind::Udp => format!("sip:{}@{}", self.user, self.sent_by),
        }
    }

    /// A message arrived from `source`.
    pub fn receive(&mut self, now: Duration, source: SocketAddr, msg: Msg) {
        match msg.status() {
            Some(_) if self.relay_response(&msg) => {}
            Some(status) => self.receive_response(status, msg),
            None if self.relay_onward(&msg) => {}
            None => self.receive_request(now, source, msg),
        }
    }

    /// The next moment when something happens without a message.
    #[must_use]
    pub fn next_timer(&self) -> Option<Duration> {
        let clients = self
            .clients
            .iter()
            .flat_map(|c| [c.retransmit_at, c.give_up_at]);
        let servers = self.servers.iter().flat_map(Server::timers);
        clients.chain(servers).flatten().min()
    }

    /// Lets every timer that is due do its work.
    pub fn run_timers(&mut self, now: Duration) {
        self.run_client_timers(now);
        self.run_server_timers(now);
    }

    /// Its WebSocket broke: what waits on it fails, dialogs stay.
    pub fn connection_lost(&mut self, now: Duration) {
        self.lost_at.push(now);
        self.out.clear();
        for client in &mut self.clients {
            client.connection_lost();
        }
        for server in &mut self.servers {
            server.connection_lost();
        }
    }

    /// A browser's page was loaded again: it knows of no dialog, and has another Contact, as SIP.js and JsSIP make them.
    pub fn reload(&mut self) {
        if self.kind == Kind::Udp {
            return;
        }
        self.earlier_contacts.push(self.contact());
        let page = self.earlier_contacts.len() + 1;
        self.sent_by = format!("{}-{page}.invalid", self.name);
        self.dialogs.clear();
        self.register_call = (String::new(), 0);
    }

    /// RFC 3261 §12.2.1.1 and RFC 7118: a browser knows one way out.
    fn hop_for(&self, request: &Msg) -> Hop {
        if self.kind == Kind::Browser {
            return Hop::Connection;
        }
        let route = request.all("Route").into_iter().next();
        let next = route.map_or_else(
            || request.uri().to_owned(),
            |route| wire::uri_of(&route).to_owned(),
        );
        let host_port = wire::host_port(&next);
        let addr = host_port
            .parse()
            .or_else(|_| format!("{host_port}:5060").parse());
        Hop::Address(addr.unwrap_or(self.outbound))
    }

    fn reliable(&self) -> bool {
        self.kind == Kind::Browser
    }

    fn via(&self, branch: &str) -> String {
        match self.kind {
            Kind::Browser => format!("SIP/2.0/WSS {};branch={branch}", self.sent_by),
            Kind::Udp => format!("SIP/2.0/UDP {};rport;branch={branch}", self.sent_by),
        }
    }

    /// Branches, tags and Call-IDs: readable, and never twice.
    fn fresh(&mut self, what: &str) -> String {
        self.counter += 1;
        format!("{what}{}{}", self.name, self.counter)
    }

    fn wrong(&mut self, what: &'static str, msg: &Msg) {
        if self.judges == Judges::Nothing {
            return;
        }
        let (call_id, cseq) = (msg.header("Call-ID"), msg.header("CSeq"));
        let text = format!("{}: {what}: {} ({call_id}, {cseq})", self.name, msg.start);
        self.wrongs.push(Wrong {
            what,
            call_id: call_id.to_owned(),
            text,
        });
    }
}
