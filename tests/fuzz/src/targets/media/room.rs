//! An engine on a virtual clock, with ports that are numbers, and what must hold of all that it says.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use hookswitch_media::{
    Answer, Ask, Branch, Leg,
    config::{Config, Limits, PlainProfile},
    engine::{Engine, Gauges, Input, Output},
    packet::Packet,
    sdp::{Candidate, CandidateTransport, Protocol},
    sockets::{InterfaceId, OpenError, Pair, SocketId, Sockets},
    transport::Latch,
};

use super::{browser::CERTIFICATES, put, told};

/// That of all browsers.
pub(crate) const WEB: SocketId = SocketId(1);
pub(crate) const WEB_ADDRESS: &str = "203.0.113.1:3478";
pub(crate) const INSIDE: [&str; 2] = ["198.51.100.9", "2001:db8::9"];
/// The first one for SIP ends.
pub(crate) const PORTS: u16 = 40_000;
const PAIRS_MAX: usize = 24;
const CALLS_MAX: usize = 3;
const TRANSCODED_CALLS_MAX: usize = 2;
/// Of one input: what many losses that are concealed make of a packet, or a flight of DTLS for each leg.
const OUTPUTS_PER_INPUT_MAX: usize = 100;
/// In one wait: each call is looked at every 5 s, and DTLS repeats itself.
const TIMERS_PER_S_MAX: u64 = 40;

/// The ends that a call may have.
pub(crate) const LEGS: [Leg; 5] = [
    Leg::Web,
    Leg::Sip(None),
    Leg::Sip(Some(0)),
    Leg::Sip(Some(1)),
    Leg::Sip(Some(2)),
];

fn profile(protocol: Protocol, codecs: &[&str], latch: Latch) -> PlainProfile {
    PlainProfile {
        interface: InterfaceId(0),
        protocol,
        codecs: codecs.iter().map(|name| (*name).to_owned()).collect(),
        latch,
    }
}

/// The socket behind this port: sockets are numbered from one above the browsers'.
pub(crate) fn socket(port: u16) -> SocketId {
    SocketId(u32::from(port.saturating_sub(PORTS)) + WEB.0 + 1)
}

/// Those that are open, from [`PORTS`] on.
#[derive(Debug, Default)]
pub(crate) struct Ports(pub(crate) BTreeSet<u16>);

impl Sockets for Ports {
    fn open(&mut self, _on: InterfaceId, remote: Option<IpAddr>) -> Result<Pair, OpenError> {
        let mut free = (PORTS..).step_by(2).filter(|port| !self.0.contains(port));
        let port = free.next().filter(|_| self.0.len() < PAIRS_MAX);
        let port = port.ok_or_else(|| OpenError::Exhausted("inside".to_owned()))?;
        self.0.insert(port);
        let address = INSIDE[usize::from(remote.is_some_and(|remote| remote.is_ipv6()))];
        let address: IpAddr = address
            .parse()
            .unwrap_or_else(|_| unreachable!("{address}"));
        Ok(Pair {
            rtp: socket(port),
            rtcp: socket(port + 1),
            public: SocketAddr::new(address, port),
        })
    }

    fn close(&mut self, pair: Pair) {
        assert!(self.0.remove(&pair.public.port()), "closed twice: {pair:?}");
    }
}

/// What leaves.
pub(crate) type Sent = (SocketId, SocketAddr, Vec<u8>);

pub(crate) struct Room {
    pub(crate) engine: Engine,
    pub(crate) ports: Ports,
    pub(crate) now: Instant,
    /// What it sent, besides what the last packet became.
    pub(crate) sent: Vec<Sent>,
    asks: u64,
    offered: told::Offered,
}

impl Room {
    pub(crate) fn new() -> Self {
        let [own, _] = &*CERTIFICATES;
        let address = WEB_ADDRESS
            .parse()
            .unwrap_or_else(|_| unreachable!("{WEB_ADDRESS}"));
        let config = Config {
            web: Arc::new(own.clone()),
            web_socket: WEB,
            web_candidates: vec![Candidate {
                address,
                transport: CandidateTransport::Udp,
            }],
            plain: profile(Protocol::Avp, &[], Latch::Signalled),
            upstreams: vec![
                profile(Protocol::Savp, &[], Latch::Symmetric),
                profile(Protocol::Avp, &["PCMA", "PCMU"], Latch::Signalled),
                profile(Protocol::Avpf, &[], Latch::Signalled),
            ],
            limits: Limits {
                calls_max: CALLS_MAX,
                transcoded_calls_max: TRANSCODED_CALLS_MAX,
                branches_max: 3,
                dialogs_max: 3,
                ..Limits::default()
            },
        };
        Self {
            engine: Engine::new(config, [1; 32]),
            ports: Ports::default(),
            now: Instant::now(),
            sent: Vec::new(),
            asks: 0,
            offered: told::Offered::default(),
        }
    }

    /// What the recipient is told, if it is told anything.
    pub(crate) fn ask(&mut self, ask: Ask) -> Option<String> {
        self.asks += 1;
        let input = Input::Ask {
            id: self.asks,
            ask: ask.clone(),
        };
        let mut answers = self.handle(input);
        let answer = answers
            .pop()
            .unwrap_or_else(|| panic!("no answer to {ask:?}"));
        assert!(answers.is_empty(), "two answers");
        match answer {
            Answer::Replace(sdp) => Some(told::check(&ask, &sdp, &mut self.offered)),
            Answer::Refuse { status, reason } => {
                assert!(matches!(status, 488 | 500 | 503), "{status} {reason}");
                assert!(
                    !reason.is_empty() && !reason.contains(char::is_control),
                    "{reason:?}"
                );
                None
            }
            Answer::Unchanged | Answer::Taken => panic!("told what was said: {ask:?}"),
        }
    }

    /// Gives the answers.
    pub(crate) fn handle(&mut self, input: Input) -> Vec<Answer> {
        self.engine.handle(self.now, input, &mut self.ports);
        self.outputs()
    }

    /// A datagram: what leaves for it.
    pub(crate) fn packet(
        &mut self,
        socket: SocketId,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Option<Sent> {
        let mut buffer = [0; super::BUFFER_BYTES];
        let mut packet: Packet<'_> = put(&mut buffer, bytes);
        let left = self.engine.packet(self.now, socket, from, &mut packet);
        let left = left.map(|(socket, to)| (socket, to, packet.bytes().to_vec()));
        let answers = self.outputs();
        assert!(answers.is_empty(), "an answer to a packet");
        left
    }

    pub(crate) fn handle_timeout(&mut self) {
        self.engine.handle_timeout(self.now, &mut self.ports);
        let answers = self.outputs();
        assert!(answers.is_empty(), "an answer to nobody");
    }

    /// The engine alone.
    pub(crate) fn pass(&mut self, time: Duration) {
        let (end, mut timers) = (self.now + time, 0);
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.handle_timeout();
            timers += 1;
        }
        let max = TIMERS_PER_S_MAX * (1 + time.as_secs());
        assert!(timers <= max, "{timers} timers in {time:?}");
        self.now = end;
    }

    fn outputs(&mut self) -> Vec<Answer> {
        let (mut answers, mut count) = (Vec::new(), 0);
        while let Some(output) = self.engine.poll_output() {
            count += 1;
            match output {
                Output::Answer { id, answer } => {
                    assert_eq!(id, self.asks);
                    answers.push(answer);
                }
                Output::Transmit { socket, to, bytes } => self.sent.push((socket, to, bytes)),
                Output::Dead { call, reason } => {
                    assert!(!reason.is_empty());
                    assert!(!self.engine.knows(&call), "{call} is dead and there");
                }
                Output::Seen { calls, .. } => assert!(calls.len() <= CALLS_MAX),
                Output::Over(report) => assert!(report.legs.len() <= 2),
            }
        }
        assert!(
            count <= OUTPUTS_PER_INPUT_MAX,
            "{count} outputs of one input"
        );
        let gauges = self.engine.gauges();
        assert!(
            gauges.calls <= CALLS_MAX && gauges.timers <= gauges.calls,
            "{gauges:?}"
        );
        assert!(
            gauges.transcoded_calls <= gauges.calls.min(TRANSCODED_CALLS_MAX),
            "{gauges:?}"
        );
        assert_eq!(gauges.ports, 2 * self.ports.0.len());
        // Ours and those before a restart; as many addresses as a leg may have.
        assert!(
            gauges.ufrags <= 2 * gauges.web_legs && gauges.addresses <= 8 * gauges.web_legs,
            "{gauges:?}"
        );
        answers
    }

    /// All calls end: nothing is left of them.
    pub(crate) fn close(&mut self, names: &[Arc<str>]) {
        for call in names {
            self.handle(Input::End {
                call: Arc::clone(call),
            });
        }
        assert_eq!(self.engine.gauges(), Gauges::default());
        assert_eq!((self.engine.poll_timeout(), self.ports.0.len()), (None, 0));
    }
}

/// A branch of a call, by names.
pub(crate) fn branch(call: &Arc<str>, branch: &str, to_tag: &str, ends: [Leg; 2]) -> Branch {
    let [caller, callee] = ends;
    Branch {
        call: Arc::clone(call),
        branch: branch.into(),
        to_tag: Some(to_tag).filter(|tag| !tag.is_empty()).map(Into::into),
        caller,
        callee,
    }
}
