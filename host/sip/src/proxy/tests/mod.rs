//! A proxy between a browser, a phone that registered over UDP, and a PBX; store and media answer at once. The ladders of races are
//! in `tests/simulator`; here is what proves that each part does its work.

mod believe;
mod calls;
mod chaos;
mod fork;
mod hang_up;
mod keys;
mod odd;
mod policy;
mod refuse;
mod register;
mod relayed;
mod rewrite;
mod upstreams;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Gauges, Proxy, ProxyConfig,
    config::{ListenerConfig, UpstreamConfig},
    io::{
        Ask, AskId, Ended, Hooks, Input, MediaVerdict, Output, Policies, StoreOp, StoreReply,
        Verdict,
    },
};
use crate::{
    flow::{
        Attachment, Destination, Flow, FlowId, ListenerId, Side, Transport, UpstreamId, WorkerId,
    },
    limits::Limits,
    message::{HeaderName, Message},
    registrar::{self, Aor, Binding},
    token::{Key, Keyring},
};

/// Who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Browsers on WSS, by connection serial.
    Web(u64),
    Pbx,
    /// The second member of the PBX's upstream.
    Pbx2,
    Stranger,
}

const PBX: &str = "192.0.2.10:5060";
const PBX2: &str = "192.0.2.11:5060";
const STRANGER: &str = "198.51.100.9:5070";

impl Peer {
    fn flow(self) -> Arc<Flow> {
        let datagram = |peer: &str, side| Flow {
            id: FlowId::Datagram {
                listener: ListenerId(1),
                peer: peer.parse().unwrap(),
            },
            transport: Transport::Udp,
            listener: ListenerId(1),
            peer: peer.parse().unwrap(),
            side,
            session: None,
            attachment: Attachment::default(),
        };
        Arc::new(match self {
            Self::Web(serial) => Flow {
                id: FlowId::Connection {
                    worker: WorkerId(0),
                    serial,
                },
                transport: Transport::Wss,
                listener: ListenerId(0),
                peer: "203.0.113.5:40000".parse().unwrap(),
                side: Side::Web,
                session: None,
                attachment: Attachment::default(),
            },
            Self::Pbx => datagram(PBX, Side::Upstream(UpstreamId(0))),
            Self::Pbx2 => datagram(PBX2, Side::Upstream(UpstreamId(0))),
            Self::Stranger => datagram(STRANGER, Side::Stranger),
        })
    }

    fn at(to: Destination) -> Self {
        match to {
            Destination::Flow(FlowId::Connection { serial, .. }) => Self::Web(serial),
            Destination::Flow(FlowId::Datagram { peer, .. })
            | Destination::Connect { peer, .. } => {
                let peers = [
                    (PBX, Self::Pbx),
                    (PBX2, Self::Pbx2),
                    (STRANGER, Self::Stranger),
                ];
                let at = peers
                    .into_iter()
                    .find(|(address, _)| *address == peer.to_string());
                at.map_or(Self::Stranger, |(_, at)| at)
            }
        }
    }

    fn via(self) -> &'static str {
        match self {
            Self::Web(_) => "SIP/2.0/WSS x.invalid",
            Self::Pbx => "SIP/2.0/UDP 192.0.2.10:5060",
            Self::Pbx2 => "SIP/2.0/UDP 192.0.2.11:5060",
            Self::Stranger => "SIP/2.0/UDP 198.51.100.9:5070;rport",
        }
    }
}

pub(super) fn config() -> ProxyConfig {
    let listener = |name: &str, transport, host: &str, port| ListenerConfig {
        name: name.to_owned(),
        transport,
        host: host.to_owned(),
        port,
        flow_timer: None,
    };
    let mut config = ProxyConfig::new(Keyring::new(Key::new(0, &[1; 32])));
    config.listeners = vec![
        listener("web", Transport::Wss, "proxy.test", 443),
        listener("udp", Transport::Udp, "192.0.2.1", 5060),
    ];
    config.upstreams = vec![UpstreamConfig::new(
        "pbx",
        ListenerId(1),
        vec![PBX.parse().unwrap()],
    )];
    config.default_upstream = Some(UpstreamId(0));
    config.domains = vec!["test".to_owned()];
    config
}

pub(super) struct Net {
    pub(super) proxy: Proxy,
    pub(super) now: Instant,
    pub(super) hooks: Hooks,
    bindings: BTreeMap<Aor, Vec<Binding>>,
    /// What was sent and not yet taken.
    sent: Vec<(Peer, Message)>,
    /// Where everything went that was ever sent.
    pub(super) went: Vec<Destination>,
    /// Sent, but not to be read: only where a peer broke what we hand on untouched, such as the Via below ours.
    pub(super) unreadable: usize,
    pub(super) ended: Vec<Ended>,
    pub(super) dropped: Vec<super::io::DropCause>,
    /// What media says of each session description.
    pub(super) media: MediaVerdict,
    /// The call that it was asked about last.
    pub(super) media_call: Option<Arc<str>>,
    /// Asks that wait for a verdict.
    pub(super) asks: Vec<Ask>,
    pub(super) withdrawn: Vec<AskId>,
}

pub(super) fn net() -> Net {
    net_with(config())
}

pub(super) fn net_with(config: ProxyConfig) -> Net {
    Net {
        proxy: Proxy::new(config, [3; 32]),
        #[expect(
            clippy::disallowed_methods,
            reason = "a beginning for the virtual clock"
        )]
        now: Instant::now(),
        hooks: Hooks::default(),
        bindings: BTreeMap::new(),
        sent: Vec::new(),
        went: Vec::new(),
        unreadable: 0,
        ended: Vec::new(),
        dropped: Vec::new(),
        media: MediaVerdict::Unchanged,
        media_call: None,
        asks: Vec::new(),
        withdrawn: Vec::new(),
    }
}

pub(super) fn parse(text: &str) -> Message {
    Message::parse(Bytes::from(text.replace('\n', "\r\n")), &Limits::default()).unwrap()
}

/// A request of `from` with the fields that every request has; `fields` are whole lines.
pub(super) fn request(
    from: Peer,
    method: &str,
    uri: &str,
    branch: &str,
    fields: &str,
    body: &str,
) -> Message {
    let content = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\n"
    };
    let dialog = if fields.contains("From:") {
        ""
    } else {
        "From: <sip:alice@test>;tag=a\nTo: <sip:bob@test>\n"
    };
    parse(&format!(
        "{method} {uri} SIP/2.0\nVia: {};branch=z9hG4bK{branch}\nMax-Forwards: 70\n{dialog}Call-ID: call\n\
         CSeq: 1 {method}\n{fields}{content}Content-Length: {}\n\n{body}",
        from.via(),
        body.len()
    ))
}

/// The answer of whoever got `request`, with this To tag.
pub(super) fn response(
    request: &Message,
    status: u16,
    to_tag: &str,
    fields: &str,
    body: &str,
) -> Message {
    let mut response = Message::response_to(request, status, "", Some(to_tag));
    let routes: Vec<_> = request
        .values(HeaderName::RecordRoute)
        .map(<[u8]>::to_vec)
        .collect();
    response
        .set_values(HeaderName::RecordRoute, &routes)
        .unwrap();
    for line in fields.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        response.append(name, value).unwrap();
    }
    response
        .set_body(
            Bytes::copy_from_slice(body.as_bytes()),
            (!body.is_empty()).then_some("application/sdp"),
        )
        .unwrap();
    parse_bytes(&response)
}

fn parse_bytes(message: &Message) -> Message {
    Message::parse(message.to_bytes(), &Limits::default()).unwrap()
}

impl Net {
    pub(super) fn receive(&mut self, from: Peer, message: Message) {
        self.hand(from, message);
        self.drain();
    }

    /// Hands it to the proxy, whose outputs stay where they are.
    pub(super) fn hand(&mut self, from: Peer, message: Message) {
        let policies = Policies {
            hooks: self.hooks,
            generation: Arc::new(()),
        };
        let input = Input::Received {
            flow: from.flow(),
            message,
            policies,
        };
        self.proxy.handle(self.now, input);
    }

    pub(super) fn input(&mut self, input: Input) {
        self.proxy.handle(self.now, input);
        self.drain();
    }

    pub(super) fn verdict(&mut self, ask: &Ask, verdict: Verdict) {
        self.input(Input::Verdict {
            id: ask.id,
            verdict,
        });
    }

    /// Lets `ms` pass, timer by timer.
    pub(super) fn pass_ms(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(at) = self.proxy.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.proxy.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(output) = self.proxy.poll_output() {
            match output {
                Output::Send { to, bytes } => match Message::parse(bytes, &Limits::WIDEST) {
                    Ok(message) => {
                        self.went.push(to);
                        self.sent.push((Peer::at(to), message));
                    }
                    Err(_) => self.unreadable += 1,
                },
                Output::Ask(ask) => self.asks.push(*ask),
                Output::Store { id, op } => {
                    if let Some(reply) = self.store(op) {
                        self.proxy.handle(self.now, Input::Stored { id, reply });
                    }
                }
                Output::Media { id, branch, .. } => {
                    self.media_call = Some(branch.call);
                    let verdict = self.media.clone();
                    self.proxy
                        .handle(self.now, Input::MediaDone { id, verdict });
                }
                Output::Key { id, body, .. } => {
                    let verdict = match &body[..] {
                        b"Signal=5" => MediaVerdict::Taken,
                        _ => MediaVerdict::Unchanged,
                    };
                    self.proxy
                        .handle(self.now, Input::MediaDone { id, verdict });
                }
                Output::Withdraw { id } => self.withdrawn.push(id),
                Output::Ended(ended) => self.ended.push(*ended),
                Output::Dropped { cause } => self.dropped.push(cause),
                // Ladders show these.
                Output::Challenged { .. }
                | Output::FlowTimer { .. }
                | Output::MediaNews(_)
                | Output::Trunk { .. } => {}
            }
        }
    }

    fn store(&mut self, op: StoreOp) -> Option<StoreReply> {
        match op {
            StoreOp::Register { aor, update } => {
                let bindings = self.bindings.entry(aor).or_default();
                Some(match registrar::apply(bindings, &update, self.now) {
                    Ok(()) => StoreReply::Bindings(bindings.clone()),
                    Err(error) => StoreReply::Refused {
                        status: error.status(),
                        reason: error.to_string(),
                    },
                })
            }
            StoreOp::Lookup { aor } => Some(StoreReply::Bindings(
                self.bindings.get(&aor).cloned().unwrap_or_default(),
            )),
            StoreOp::Session { key, flow } => {
                let all: Vec<_> = self.bindings.values().flatten().cloned().collect();
                let flow = registrar::flow_of_session(&all, key, flow, self.now);
                Some(StoreReply::Session(flow))
            }
            StoreOp::Client { key } => {
                let all = self.bindings.values().flatten();
                let found = all.filter(|b| b.client == key && b.expires_at > self.now);
                Some(StoreReply::Bindings(found.cloned().collect()))
            }
            StoreOp::FlowClosed { flow } => {
                for bindings in self.bindings.values_mut() {
                    registrar::flow_closed(bindings, flow);
                }
                None
            }
        }
    }

    /// The oldest message that was sent and not yet taken.
    pub(super) fn next(&mut self) -> (Peer, Message) {
        assert!(!self.sent.is_empty(), "nothing was sent");
        self.sent.remove(0)
    }

    /// It, for `peer`.
    pub(super) fn next_for(&mut self, peer: Peer) -> Message {
        let (to, message) = self.next();
        assert_eq!(to, peer, "{message:?}");
        message
    }

    /// `peer first-line`, for all that was sent and not yet taken.
    pub(super) fn ladder(&mut self) -> String {
        let lines = self
            .sent
            .drain(..)
            .map(|(peer, message)| format!("{peer:?} ← {}\n", first_line(&message)));
        lines.collect()
    }

    pub(super) fn register(&mut self, peer: Peer, user: &str, call_id: &str, contact: &str) {
        let message = parse(&format!(
            "REGISTER sip:test SIP/2.0\nVia: {};branch=z9hG4bKr{call_id}\nFrom: <sip:{user}@test>;tag=r\nTo: <sip:{user}@test>\n\
             Call-ID: {call_id}\nCSeq: 1 REGISTER\nContact: {contact}\nContent-Length: 0\n\n",
            peer.via()
        ));
        self.receive(peer, message);
        assert_eq!(self.next_for(peer).status(), Some(200));
        self.ended.clear();
    }

    /// Everything is over, and nothing is left.
    pub(super) fn assert_empty(&mut self) {
        self.pass_ms(300_000);
        assert_eq!(self.unreadable, 0);
        let gauges = self.proxy.gauges();
        // Timers are never taken out.
        let empty = Gauges {
            timers: gauges.timers,
            ..Gauges::default()
        };
        assert_eq!(gauges, empty, "{:?}", self.proxy);
    }
}

pub(super) fn first_line(message: &Message) -> String {
    match message.method() {
        Some(method) => format!("{method} {}", message.request_uri().unwrap()),
        None => format!(
            "{} {}",
            message.status().unwrap(),
            message.cseq().unwrap().method
        ),
    }
}

/// The Route set that an end of the dialog has: as it stands in what the callee got, the other way round for the caller.
pub(super) fn routes(message: &Message) -> String {
    let mut routes: Vec<_> = message
        .values(HeaderName::RecordRoute)
        .map(|route| format!("Route: {}\n", text(route)))
        .collect();
    if !message.is_request() {
        routes.reverse();
    }
    routes.concat()
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(super) fn field(message: &Message, name: HeaderName) -> String {
    text(message.raw(name).unwrap_or_default())
}
