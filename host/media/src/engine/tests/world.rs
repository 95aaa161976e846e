//! An engine on a virtual clock, with a browser and phones around it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use super::super::*;
use crate::{
    Branch, Direction, Leg,
    config::{Limits, PlainProfile},
    sdp::{Candidate, CandidateTransport, Protocol, Session},
    sockets::{InterfaceId, OpenError, Pair},
    testing::{Browser, dtls_config, packet},
    transport::Latch,
};

pub(super) const CHROMIUM: &str = include_str!("../../sdp/samples/chromium-audio.sdp");
pub(super) const CHROMIUM_VIDEO: &str = include_str!("../../sdp/samples/chromium-audio-video.sdp");
pub(super) const WEB: SocketId = SocketId(1);
const LOOK: u64 = 7;

/// Ports from 40000; the number of a socket is its port.
#[derive(Debug, Default)]
pub(super) struct Ports {
    pub(super) open: BTreeSet<u16>,
    pub(super) max: usize,
}

impl Sockets for Ports {
    fn open(&mut self, _on: InterfaceId, remote: Option<IpAddr>) -> Result<Pair, OpenError> {
        let free = (40_000..).step_by(2).find(|port| !self.open.contains(port));
        let Some(port) = free.filter(|_| self.open.len() < self.max) else {
            return Err(OpenError::Exhausted("inside".into()));
        };
        self.open.insert(port);
        let address = match remote {
            Some(IpAddr::V6(_)) => "2001:db8::9",
            Some(IpAddr::V4(_)) | None => "198.51.100.9",
        };
        Ok(Pair {
            rtp: SocketId(port.into()),
            rtcp: SocketId(u32::from(port) + 1),
            public: SocketAddr::new(address.parse().unwrap(), port),
        })
    }

    fn close(&mut self, pair: Pair) {
        assert!(self.open.remove(&pair.public.port()), "closed twice");
    }
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) ports: Ports,
    pub(super) now: Instant,
    pub(super) browser: Browser,
    pub(super) browser_at: SocketAddr,
    /// A connection, if it comes by one.
    pub(super) browser_by: SocketId,
    /// What the browser heard, in the clear.
    pub(super) heard: Vec<Vec<u8>>,
    /// What phones heard besides what [`World::arrive`] gave.
    pub(super) phone_heard: Vec<Vec<u8>>,
    /// What the engine said apart from answers and datagrams.
    pub(super) said: Vec<String>,
    /// What it answered to the last look.
    seen: Vec<CallReport>,
    pub(super) caller: Leg,
    pub(super) callee: Leg,
    pub(super) asks: u64,
    sequence: u16,
    /// Datagrams of DTLS that do not arrive at the browser.
    pub(super) lost: usize,
    /// Of what the browser heard last.
    pub(super) last_ssrc: Option<u32>,
}

/// A packet of RTP as a test thinks of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rtp {
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) payload: Vec<u8>,
}

impl Rtp {
    fn new(payload_type: u8, sequence: u16, payload: &[u8]) -> Self {
        let payload = payload.to_vec();
        Self {
            payload_type,
            sequence,
            payload,
        }
    }

    fn bytes(&self, ssrc: u32) -> Vec<u8> {
        let mut bytes = vec![0x80, self.payload_type];
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend((u32::from(self.sequence) * 160).to_be_bytes());
        bytes.extend(ssrc.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    fn read(bytes: &[u8]) -> Self {
        let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
        Self::new(bytes[1] & 127, sequence, &bytes[12..])
    }
}

impl World {
    /// The browser calls.
    pub(super) fn web_calls() -> Self {
        Self::new(Leg::Web, Leg::Sip(None), |_| {})
    }

    /// The browser is called.
    pub(super) fn sip_calls() -> Self {
        Self::new(Leg::Sip(None), Leg::Web, |_| {})
    }

    pub(super) fn new(caller: Leg, callee: Leg, configure: impl FnOnce(&mut Config)) -> Self {
        let now = Instant::now();
        let web = dtls_config();
        let mut config = Config {
            web: Arc::clone(&web),
            web_socket: WEB,
            web_candidates: vec![Candidate {
                address: "203.0.113.1:3478".parse().unwrap(),
                transport: CandidateTransport::Udp,
            }],
            plain: PlainProfile {
                interface: InterfaceId(0),
                protocol: Protocol::Avp,
                codecs: Vec::new(),
                latch: Latch::Symmetric,
            },
            upstreams: Vec::new(),
            limits: Limits::default(),
        };
        configure(&mut config);
        let at = "192.0.2.17:51472".parse().unwrap();
        let unknown = crate::ice::IceCredentials {
            ufrag: String::new(),
            password: String::new(),
        };
        let browser = Browser::new(now, crate::dtls::Setup::Active, &unknown, web.fingerprint());
        Self {
            engine: Engine::new(config, [1; 32]),
            ports: Ports {
                max: 100,
                ..Ports::default()
            },
            now,
            browser,
            browser_at: at,
            browser_by: WEB,
            heard: Vec::new(),
            phone_heard: Vec::new(),
            said: Vec::new(),
            seen: Vec::new(),
            caller,
            callee,
            asks: 0,
            sequence: 65_000,
            lost: 0,
            last_ssrc: None,
        }
    }

    pub(super) fn branch(&self, branch: &str, to_tag: &str) -> Branch {
        Branch {
            call: "call".into(),
            branch: branch.into(),
            to_tag: Some(to_tag).filter(|tag| !tag.is_empty()).map(Into::into),
            caller: self.caller,
            callee: self.callee,
        }
    }

    /// `at` is the branch and the To tag: `0`, `0 a`.
    pub(super) fn ask(&mut self, at: &str, direction: Direction, role: Role, sdp: &str) -> Answer {
        let (branch, to_tag) = at.split_once(' ').unwrap_or((at, ""));
        let ask = Ask {
            branch: self.branch(branch, to_tag),
            direction,
            role,
            sdp: sdp.replace('\n', "\r\n").into(),
        };
        self.asks += 1;
        self.handle(Input::Ask { id: self.asks, ask })
            .expect("an answer")
    }

    /// The calls whose names begin so.
    pub(super) fn look(&mut self, named: &str) -> Vec<CallReport> {
        let (named, calls_max) = (named.to_owned(), 10);
        self.handle(Input::Look {
            id: LOOK,
            named,
            calls_max,
        });
        std::mem::take(&mut self.seen)
    }

    /// As [`World::ask`], and the answer is another description.
    pub(super) fn tell(&mut self, at: &str, direction: Direction, role: Role, sdp: &str) -> String {
        match self.ask(at, direction, role, sdp) {
            Answer::Replace(sdp) => String::from_utf8(sdp.to_vec()).unwrap().replace('\r', ""),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn handle(&mut self, input: Input) -> Option<Answer> {
        self.engine.handle(self.now, input, &mut self.ports);
        self.outputs()
    }

    fn outputs(&mut self) -> Option<Answer> {
        let mut answered = None;
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Answer { id, answer } => {
                    assert_eq!(id, self.asks);
                    answered = Some(answer);
                }
                Output::Transmit { bytes, .. } if self.lost > 0 && (20..64).contains(&bytes[0]) => {
                    self.lost -= 1;
                }
                Output::Transmit { socket, bytes, .. } if socket != self.browser_by => {
                    self.phone_heard.push(bytes);
                }
                Output::Transmit { socket, to, bytes } => {
                    assert_eq!((socket, to), (self.browser_by, self.browser_at));
                    self.heard.extend(self.browser.receive(self.now, &bytes));
                }
                Output::Dead { call, reason } => {
                    self.said.push(format!("{call} is dead: {reason}"))
                }
                Output::Over(report) => self.said.push(format!(
                    "{} is over after {} s, {} legs",
                    report.call,
                    report.duration.as_secs(),
                    report.legs.len()
                )),
                Output::Seen { id, calls } => {
                    assert_eq!(id, LOOK);
                    self.seen = calls;
                }
            }
        }
        answered
    }

    /// The browser reads what it is told: whom to check.
    pub(super) fn browser_reads(&mut self, sdp: &str) {
        let session = Session::parse(sdp.as_bytes()).unwrap();
        let web = session
            .sections
            .iter()
            .find_map(|section| section.web.clone())
            .unwrap();
        if self.browser.theirs != web.ice {
            self.browser.restart_ice(self.now, &web.ice);
        }
    }

    /// What the browser says: this text with its own credentials.
    pub(super) fn by_browser(&self, sdp: &str) -> String {
        let lines =
            sdp.lines().map(
                |line| match line.split_once(':').map_or(line, |(name, _)| name) {
                    "a=ice-ufrag" => format!("a=ice-ufrag:{}", self.browser.ours.ufrag),
                    "a=ice-pwd" => format!("a=ice-pwd:{}", self.browser.ours.password),
                    "a=fingerprint" => {
                        format!("a=fingerprint:{}", self.browser.config.fingerprint())
                    }
                    _ => line.to_owned(),
                },
            );
        lines.map(|line| line + "\n").collect()
    }

    /// Lets time pass, with the browser and the engine talking to each other.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let sent = std::mem::take(&mut self.browser.outbox);
            for bytes in sent.clone() {
                if self.browser_by == WEB {
                    self.arrive(WEB, self.browser_at, &bytes);
                } else {
                    self.by_connection(bytes);
                }
            }
            let due = self
                .engine
                .poll_timeout()
                .into_iter()
                .chain([self.browser.poll_timeout()])
                .min();
            match due.filter(|_| sent.is_empty()) {
                None => {}
                Some(due) if due > end => break,
                Some(due) => {
                    self.now = self.now.max(due);
                    self.browser.handle_timeout(self.now);
                    self.engine.handle_timeout(self.now, &mut self.ports);
                    self.outputs();
                }
            }
        }
        self.now = end;
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// The browser's, by its connection.
    pub(super) fn by_connection(&mut self, bytes: Vec<u8>) {
        let (connection, from) = (self.browser_by, self.browser_at);
        self.handle(Input::Packet {
            connection,
            from,
            bytes,
        });
    }

    /// A datagram from somebody; what leaves for it.
    pub(super) fn arrive(
        &mut self,
        socket: SocketId,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Option<(SocketId, SocketAddr, Vec<u8>)> {
        let mut buffer = vec![0; 2048];
        let mut packet = packet(&mut buffer, bytes);
        let leaves = self.engine.packet(self.now, socket, from, &mut packet);
        let leaves = leaves.map(|(socket, to)| (socket, to, packet.bytes().to_vec()));
        self.outputs();
        leaves
    }

    fn next(&mut self, payload_type: u8, payload: &[u8]) -> Rtp {
        self.sequence = self.sequence.wrapping_add(1);
        Rtp::new(payload_type, self.sequence, payload)
    }

    /// The browser sends a packet: what arrives somewhere, and where.
    pub(super) fn browser_sends(
        &mut self,
        payload_type: u8,
        payload: &[u8],
    ) -> Option<(SocketAddr, Rtp)> {
        let bytes = self.next(payload_type, payload).bytes(0xb0b0);
        let bytes = self.browser.rtp(&bytes);
        let (_, to, bytes) = self.arrive(WEB, self.browser_at, &bytes)?;
        Some((to, Rtp::read(&bytes)))
    }

    /// A phone sends a packet to this port of ours: what the browser hears.
    pub(super) fn phone_sends(
        &mut self,
        from: &str,
        port: u16,
        payload_type: u8,
        payload: &[u8],
    ) -> Option<Rtp> {
        let from: SocketAddr = from.parse().unwrap();
        let bytes = self.next(payload_type, payload).bytes(from.port().into());
        let (socket, to, bytes) = self.arrive(SocketId(port.into()), from, &bytes)?;
        assert_eq!((socket, to), (WEB, self.browser_at));
        let heard = self
            .browser
            .receive(self.now, &bytes)
            .expect("it can be decrypted");
        self.last_ssrc = Some(u32::from_be_bytes(heard[8..12].try_into().unwrap()));
        Some(Rtp::read(&heard))
    }
}

/// The port of the section of this number.
pub(super) fn port(sdp: &str, section: usize) -> u16 {
    Session::parse(sdp.as_bytes()).unwrap().sections[section].port
}

/// A phone's description.
pub(super) fn phone(at: &str, version: u64, media: &str) -> String {
    let address: SocketAddr = at.parse().unwrap();
    let (ip, port) = (address.ip(), address.port());
    let media = media.replace("PORT", &port.to_string());
    format!("v=0\no=- 7 {version} IN IP4 {ip}\ns=phone\nc=IN IP4 {ip}\nt=0 0\n{media}")
}

/// Without what chance and keys make differ from run to run.
pub(super) fn masked(sdp: &str) -> String {
    let lines = sdp.lines().map(|line| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name {
            "a=fingerprint" => format!("{name}:{}", &value[..8]),
            _ => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}
