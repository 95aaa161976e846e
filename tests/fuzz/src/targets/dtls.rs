//! Records of DTLS into a leg before, during and after the handshake: the browser's own, lost, late, doubled and changed, and anything from
//! elsewhere. Media passes only under keys of the browser whose fingerprint was named, and passes once there are such.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hookswitch_media::{
    dtls::Setup,
    ice::IceCredentials,
    sdp::Web,
    transport::{Event, Received, Remote, WebTransport},
};

use super::media::{
    BUFFER_BYTES,
    browser::{Browser, CERTIFICATES},
    put,
};
use crate::Choices;

const STEPS_MAX: usize = 120;
/// What waits to be sent.
const TRANSMITS_MAX: usize = 32;
/// Of one browser: connected, lost and connected again, keys or a failure.
const EVENTS_MAX: usize = 60;
const RTP: [u8; 16] = [
    0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, b'm', b'e', b'd', b'i',
];
/// Types and versions of records.
const HEADS: [[u8; 3]; 7] = [
    [22, 254, 253],
    [22, 254, 255],
    [21, 254, 253],
    [20, 254, 253],
    [23, 254, 253],
    [26, 254, 253],
    [0x2f, 0, 0],
];

pub(crate) fn run(data: &[u8]) {
    let mut scene = Scene::new(data);
    for _ in 0..STEPS_MAX {
        if scene.choices.is_empty() {
            break;
        }
        scene.step();
    }
    scene.rest();
}

struct Scene<'d> {
    choices: Choices<'d>,
    web: WebTransport,
    browser: Browser,
    now: Instant,
    /// What is on the way to the leg, and what was.
    to_us: Vec<Vec<u8>>,
    said: Vec<Vec<u8>>,
    to_browser: Vec<Vec<u8>>,
    /// Somebody spoke from where the browser is.
    is_disturbed: bool,
    is_named: bool,
    keys: usize,
    events: usize,
    sequence: u16,
}

impl<'d> Scene<'d> {
    fn new(data: &'d [u8]) -> Self {
        let [own, _] = &*CERTIFICATES;
        let (now, ours) = (Instant::now(), IceCredentials::from_entropy([1; 32]));
        let web = WebTransport::new(&Arc::new(own.clone()), ours.clone(), now);
        let mut browser = Browser::new(now);
        browser.read(
            now,
            &Web {
                ice: ours,
                candidates: Vec::new(),
                fingerprints: vec![own.fingerprint().clone()],
                setup: Setup::Passive,
            },
        );
        let mut scene = Self {
            choices: Choices::new(data),
            web,
            browser,
            now,
            to_us: Vec::new(),
            said: Vec::new(),
            to_browser: Vec::new(),
            is_disturbed: false,
            is_named: true,
            keys: 0,
            events: 0,
            sequence: 0,
        };
        scene.describe();
        scene
    }

    /// The browser's description comes: with its fingerprint, or another's.
    fn describe(&mut self) {
        self.is_named = !self.choices.once_in(8);
        let certificate = &CERTIFICATES[usize::from(self.is_named)];
        self.web.set_remote(
            self.now,
            Remote {
                ice: self.browser.ours.clone(),
                fingerprints: vec![certificate.fingerprint().clone()],
                setup: Setup::Active,
            },
        );
        self.drain();
    }

    fn step(&mut self) {
        match self.choices.below(12) {
            0..=4 => self.exchange(),
            5 => self.noise(at(9)),
            6 => {
                self.is_disturbed = true;
                self.noise(at(1));
            }
            7 => self.again(),
            8 => {
                let lost = if self.choices.once_in(2) {
                    &mut self.to_us
                } else {
                    &mut self.to_browser
                };
                lost.pop();
            }
            9 => self.media(),
            10 => {
                let ms = [20, 450, 3_000, 31_000][self.choices.below(4)];
                self.pass(Duration::from_millis(ms));
            }
            _ => self.to_us.reverse(),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.browser.handle_timeout(self.now);
        self.web.handle_timeout(self.now);
        self.drain();
    }

    /// What is on the way arrives.
    fn exchange(&mut self) {
        self.to_us.append(&mut self.browser.outbox);
        for bytes in std::mem::take(&mut self.to_us) {
            self.said.push(bytes.clone());
            let received = self.hear(at(1), &bytes);
            assert!(matches!(received, Received::Nothing | Received::Check));
        }
        for bytes in std::mem::take(&mut self.to_browser) {
            self.browser.receive(self.now, &bytes);
        }
        self.browser.handle_timeout(self.now);
    }

    fn noise(&mut self, from: SocketAddr) {
        let mut bytes = match self.choices.below(3) {
            0 if !self.said.is_empty() => self.said[self.choices.below(self.said.len())].clone(),
            1 => {
                let head = HEADS[self.choices.below(HEADS.len())];
                let epoch = self.choices.below(4) as u8;
                let length = self.choices.byte();
                let body = self.choices.take(length.into());
                let [high, low] = (body.len() as u16).to_be_bytes();
                let record = [
                    &head[..],
                    &[0, epoch, 0, 0, 0, 0, 0, length, high, low],
                    body,
                ];
                record.concat()
            }
            _ => {
                let length = self.choices.byte();
                self.choices.take(length.into()).to_vec()
            }
        };
        for _ in 0..self.choices.below(4) {
            let (at, byte) = (usize::from(self.choices.number()), self.choices.byte());
            let at = at % bytes.len().max(1);
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        let received = self.hear(from, &bytes);
        assert!(
            !matches!(received, Received::Rtp | Received::Rtcp),
            "{}",
            bytes.escape_ascii()
        );
    }

    /// What the browser said before.
    fn again(&mut self) {
        if !self.said.is_empty() {
            let bytes = self.said[self.choices.below(self.said.len())].clone();
            // An old ClientHello is another handshake: an attacker who sees the wire could say it.
            self.is_disturbed = true;
            self.hear(at(1), &bytes);
        }
    }

    fn media(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut plain = RTP;
        plain[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        let is_sealed = !self.choices.once_in(3);
        let bytes = match is_sealed {
            true => self.browser.seal(&plain),
            false => Some(plain.to_vec()),
        };
        let Some(bytes) = bytes else {
            return;
        };
        let received = self.hear(at(1), &bytes);
        assert!(
            received == Received::Nothing || (is_sealed && self.keys > 0),
            "{received:?}"
        );
        let mut buffer = [0; BUFFER_BYTES];
        let to = self.web.send_rtp(&mut put(&mut buffer, &plain));
        assert!(to.is_none() || self.keys > 0, "media without keys");
    }

    fn hear(&mut self, from: SocketAddr, bytes: &[u8]) -> Received {
        let mut buffer = [0; BUFFER_BYTES];
        let received = self
            .web
            .receive(self.now, from, &mut put(&mut buffer, bytes));
        self.drain();
        received
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(transmit) = self.web.poll_transmit() {
            count += 1;
            if transmit.to.address == at(1) {
                self.to_browser.push(transmit.bytes);
            }
        }
        assert!(count <= TRANSMITS_MAX, "{count} waited to be sent");
        while let Some(event) = self.web.poll_event() {
            self.events += 1;
            if event == Event::Keys {
                assert!(self.is_named, "keys of one who was not named");
                self.keys += 1;
            }
        }
        assert!(self.events <= EVENTS_MAX, "{} events", self.events);
        // What it is told of is of use to somebody.
        let _ = self.web.diagnosis(self.now);
    }

    /// Nobody disturbs any more: it connects, if nobody spoke for the browser, and then media passes.
    fn rest(&mut self) {
        self.choices = Choices::new(&[]);
        let can = self.is_named && !self.is_disturbed && self.browser.has_keys() == (self.keys > 0);
        for _ in 0..400 {
            if self.browser.has_keys() && self.keys > 0 {
                break;
            }
            self.exchange();
            self.pass(Duration::from_millis(100));
        }
        assert!(
            !can || self.keys == 0 || self.browser.has_keys(),
            "{:?}",
            self.web.diagnosis(self.now)
        );
        if self.browser.has_keys() && self.keys > 0 && !self.is_disturbed {
            // There is consent again with the next check.
            self.exchange();
            self.sequence = self.sequence.wrapping_add(1);
            let mut plain = RTP;
            plain[2..4].copy_from_slice(&self.sequence.to_be_bytes());
            let sealed = self.browser.seal(&plain).unwrap_or_default();
            assert_eq!(
                self.hear(at(1), &sealed),
                Received::Rtp,
                "{:?}",
                self.web.diagnosis(self.now)
            );
        }
    }
}

fn at(host: u8) -> SocketAddr {
    ([192, 0, 2, host], 5_000).into()
}
