//! Calls in an engine: offers, answers, ends, packets and time in any order, by anybody. Whatever was, nothing is left when they are over.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hookswitch_media::{
    Ask, Direction, Leg, Role, engine::Input, ice::IceCredentials, sdp::Session, sockets::SocketId,
};

use super::media::{
    browser::Browser,
    compound,
    room::{LEGS, Room, WEB, branch, socket},
};
use crate::Choices;

const STEPS_MAX: usize = 80;
/// One more than there may be.
const CALLS: [&str; 4] = ["a", "b", "c", "d"];
const PROTOCOLS: [&str; 6] = [
    "RTP/AVP",
    "UDP/TLS/RTP/SAVPF",
    "RTP/SAVP",
    "RTP/AVPF",
    "udptl",
    "UDP/DTLS/SCTP",
];
const KINDS: [&str; 4] = ["audio", "video", "application", "image"];
const FORMATS: [&str; 8] = ["8", "0", "9", "111", "101", "96", "110", "18"];
const MAPS: &str = "a=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\na=rtpmap:96 VP8/90000\r\n\
    a=rtpmap:110 telephone-event/48000\r\na=rtcp-fb:* nack pli\r\n";
const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];
const KEYS: [&str; 2] = [
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\r\n",
    "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\r\n",
];

pub(crate) fn run(data: &[u8]) {
    let mut scene = Scene::new(data);
    for _ in 0..STEPS_MAX {
        if scene.choices.is_empty() {
            break;
        }
        scene.step();
    }
    let calls = CALLS.map(Arc::from);
    scene.room.close(&calls);
}

struct Scene<'d> {
    choices: Choices<'d>,
    room: Room,
    /// By call: whatever it was first, it stays.
    ends: [[Leg; 2]; 4],
    browser: Browser,
    /// What browsers were told.
    credentials: Vec<IceCredentials>,
    restarts: u8,
}

impl<'d> Scene<'d> {
    fn new(data: &'d [u8]) -> Self {
        let mut choices = Choices::new(data);
        let room = Room::new();
        let mut leg = || LEGS[choices.below(LEGS.len())];
        let ends = CALLS.map(|_| [leg(), leg()]);
        Self {
            browser: Browser::new(room.now),
            choices,
            room,
            ends,
            credentials: Vec::new(),
            restarts: 0,
        }
    }

    fn step(&mut self) {
        match self.choices.below(12) {
            0..=4 => self.ask(),
            5 => self.news(),
            6..=9 => self.packet(),
            10 => self.connect(),
            _ => {
                let ms = [20, 500, 5_000, 31_000, 700_000][self.choices.below(5)];
                self.room.pass(Duration::from_millis(ms));
            }
        }
        self.room.sent.clear();
    }

    fn ask(&mut self) {
        let call = self.choices.below(CALLS.len());
        let direction = [Direction::ToCallee, Direction::ToCaller][self.choices.below(2)];
        let role = [Role::Offer, Role::Answer][self.choices.below(2)];
        let [caller, callee] = self.ends[call];
        let (speaker, hearer) = match direction {
            Direction::ToCallee => (caller, callee),
            Direction::ToCaller => (callee, caller),
        };
        let branch = self.branch(call);
        let sdp = self.description(speaker).into();
        let Some(told) = self.room.ask(Ask {
            branch,
            direction,
            role,
            sdp,
        }) else {
            return;
        };
        let told = Session::parse(told.as_bytes());
        let told = told.unwrap_or_else(|error| panic!("{error}"));
        let mut sections = told
            .sections
            .iter()
            .filter_map(|section| section.web.as_ref());
        if let (Leg::Web, Some(web)) = (hearer, sections.next()) {
            self.browser.read(self.room.now, web);
            if !self.credentials.contains(&web.ice) {
                self.credentials.push(web.ice.clone());
            }
        }
    }

    fn branch(&mut self, call: usize) -> hookswitch_media::Branch {
        let name = self.choices.pick(&["0", "1", "2", "3"]);
        let to_tag = self.choices.pick(&["", "a", "b", "c", "d"]);
        branch(&CALLS[call].into(), name, to_tag, self.ends[call])
    }

    fn description(&mut self, speaker: Leg) -> String {
        if self.choices.once_in(6) {
            self.restarts = self.restarts.wrapping_add(1);
            self.browser.ours = IceCredentials::from_entropy([self.restarts; 32]);
        }
        let host = self.choices.below(4);
        let address = ["192.0.2.1", "192.0.2.2", "0.0.0.0", "2001:db8::1"][host];
        let family = if address.contains(':') { "IP6" } else { "IP4" };
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n"
        );
        if self.choices.once_in(2) {
            sdp += "a=group:BUNDLE 0 1\r\n";
        }
        for section in 0..=self.choices.below(3) {
            sdp += &self.section(speaker, section);
        }
        sdp
    }

    fn section(&mut self, speaker: Leg, section: usize) -> String {
        let choices = &mut self.choices;
        let kind = if choices.once_in(4) {
            choices.pick(&KINDS)
        } else {
            KINDS[section % 2]
        };
        let usual = match speaker {
            Leg::Web => 1,
            Leg::Sip(Some(0)) => 2,
            Leg::Sip(_) => 0,
        };
        let protocol = if choices.once_in(6) {
            choices.pick(&PROTOCOLS)
        } else {
            PROTOCOLS[usual]
        };
        let port = if choices.once_in(8) {
            0
        } else {
            5_000 + 2 * section
        };
        let formats: Vec<&str> = (0..=choices.below(4))
            .map(|_| choices.pick(&FORMATS))
            .collect();
        let direction = choices.pick(&DIRECTIONS);
        let mut text = format!(
            "m={kind} {port} {protocol} {}\r\n{MAPS}a={direction}\r\n",
            formats.join(" ")
        );
        if choices.once_in(3) {
            text += "a=rtcp-mux\r\n";
        }
        if protocol.contains("DTLS") || protocol.contains("TLS") {
            let setup = choices.pick(&["actpass", "active", "passive"]);
            text += &format!(
                "a=mid:{section}\r\na=setup:{setup}\r\n{}",
                self.browser.lines()
            );
        } else if protocol.contains("SAVP") {
            text += choices.pick(&KEYS);
        }
        text
    }

    fn news(&mut self) {
        let call = self.choices.below(CALLS.len());
        let branch = self.branch(call);
        let input = match self.choices.below(5) {
            4 => Input::Look {
                id: 7,
                named: CALLS[call].to_owned(),
                calls_max: 2,
            },
            0 => Input::Established { branch },
            1 => Input::BranchOver { branch },
            2 => Input::DialogOver { branch },
            _ => Input::End { call: branch.call },
        };
        self.room.handle(input);
    }

    fn packet(&mut self) {
        let from = self.from();
        let open: Vec<u16> = self.room.ports.0.iter().copied().collect();
        let socket = match (self.choices.below(3), open.as_slice()) {
            (0, _) | (_, []) => WEB,
            (_, open) => {
                let port = open[self.choices.below(open.len())];
                let more = u16::from(self.choices.once_in(3));
                socket(port + more)
            }
        };
        let bytes = self.datagram();
        self.said(socket, from, &bytes);
    }

    fn said(&mut self, socket: SocketId, from: SocketAddr, bytes: &[u8]) {
        let left = self.room.packet(socket, from, bytes);
        if let Some((_, _, left)) = left {
            assert!(
                left.len() <= bytes.len() + 32,
                "{} bytes of {}",
                left.len(),
                bytes.len()
            );
        }
    }

    fn from(&mut self) -> SocketAddr {
        let host = 1 + self.choices.below(3) as u8;
        ([192, 0, 2, host], 5_000 + self.choices.below(4) as u16).into()
    }

    fn datagram(&mut self) -> Vec<u8> {
        let choices = &mut self.choices;
        match choices.below(5) {
            0 if !self.credentials.is_empty() => {
                let with = self.credentials[choices.below(self.credentials.len())].clone();
                self.browser.check_with(&with)
            }
            1 => compound::choose(choices, &[7, 8]),
            2 => {
                let length = choices.byte();
                choices.take(length.into()).to_vec()
            }
            _ => {
                let kind = FORMATS[choices.below(FORMATS.len())].parse().unwrap_or(8);
                let [high, low] = choices.number().to_be_bytes();
                let mut bytes = vec![
                    0x80,
                    kind,
                    high,
                    low,
                    0,
                    0,
                    high,
                    low,
                    0,
                    0,
                    0,
                    7 + choices.byte() % 2,
                ];
                let length = choices.byte();
                bytes.extend(choices.take(length.into()));
                bytes
            }
        }
    }

    /// A browser and the engine talk to each other until they have nothing more to say.
    fn connect(&mut self) {
        let from = self.from();
        for _ in 0..40 {
            let now = self.room.now;
            self.browser.handle_timeout(now);
            let sent = std::mem::take(&mut self.browser.outbox);
            if sent.is_empty() && self.room.sent.is_empty() {
                break;
            }
            for bytes in sent {
                self.said(WEB, from, &bytes);
            }
            for (_, to, bytes) in std::mem::take(&mut self.room.sent) {
                // Media is another browser's, or was sealed for one that has begun anew.
                if to == from && matches!(bytes.first(), Some(0..=63)) {
                    self.browser.receive(now, &bytes);
                }
            }
        }
    }
}
