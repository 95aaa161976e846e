//! Forty minutes of one call under keys at both ends: every packet arrives once, and who hears it hears one source that goes on.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{calls::*, world::*};
use crate::{
    Direction::{ToCallee, ToCaller},
    Leg, Role,
    engine::Input,
    ice::IceCredentials,
    packet::Packet,
    rtp::Header,
    sdp::{Protocol, Session},
    sockets::SocketId,
    srtp::{Inbound, Keys, Outbound, Profile},
    testing::packet,
};

/// Packets in a second.
const RATE: u32 = 50;
const PACKET: Duration = Duration::from_millis(20);
/// Of G.711, in one packet, and in one ms.
const UNITS: u32 = 160;
const UNITS_PER_MS: u32 = 8;
/// So near to a wrap of sequence numbers the network loses one packet of seven, and changes the order of others.
const NEAR: u16 = 100;

/// So many packets may be between where two of them belong and where they come.
const DISORDER: u32 = 6;

/// One end: what it sends, and what it heard last.
struct End {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// Counts what it sends.
    number: u32,
    newest: Option<Heard>,
    began: Option<(Instant, u32)>,
    /// Of the sequence numbers that it sends, and of those that it hears.
    wraps: [u32; 2],
}

struct Heard {
    header: Header,
    number: u32,
}

impl End {
    fn new(ssrc: u32, sequence: u16) -> Self {
        Self {
            ssrc,
            sequence,
            timestamp: u32::MAX - 1_000_000,
            number: 0,
            newest: None,
            began: None,
            wraps: [0; 2],
        }
    }

    fn sends(&mut self, payload_type: u8) -> Vec<u8> {
        let mut bytes = vec![0x80, payload_type];
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.timestamp.to_be_bytes());
        bytes.extend(self.ssrc.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        self.number += 1;
        self.wraps[0] += u32::from(self.sequence == u16::MAX);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(UNITS);
        bytes
    }

    fn is_near_a_wrap(&self) -> bool {
        self.sequence.wrapping_add(NEAR) < 2 * NEAR
    }

    fn hears(&mut self, sent: Instant, bytes: &[u8], number: u32) {
        let header = Header::parse(bytes).unwrap();
        assert_eq!(bytes[12..], number.to_be_bytes());
        let (began, first) = *self.began.get_or_insert((sent, header.timestamp));
        let elapsed = u32::try_from(sent.duration_since(began).as_millis()).unwrap();
        let off = header.timestamp.wrapping_sub(first);
        let off = off.wrapping_sub(elapsed * UNITS_PER_MS).cast_signed();
        assert!(
            off.unsigned_abs() <= DISORDER * UNITS,
            "{number} is {off} off"
        );
        if let Some(newest) = &self.newest {
            assert_eq!(header.ssrc, newest.header.ssrc);
            let step = header.sequence.wrapping_sub(newest.header.sequence);
            let ahead = number.wrapping_sub(newest.number).cast_signed();
            assert_eq!(i32::from(step.cast_signed()), ahead, "{number}");
            if ahead < 0 {
                return;
            }
            self.wraps[1] += u32::from(header.sequence < newest.header.sequence);
        }
        self.newest = Some(Heard { header, number });
    }
}

/// A call from a phone that speaks SRTP with SDES to a browser.
struct Long {
    world: World,
    profile: Profile,
    srtp: (Outbound, Inbound),
    port: u16,
    browser: End,
    phone: End,
    payload_type: u8,
    version: u64,
    /// What the browser was told last.
    told: String,
}

impl Long {
    fn new(profile: Profile) -> Self {
        let savp = |config: &mut crate::config::Config| config.plain.protocol = Protocol::Savp;
        let world = World::new(Leg::Sip(None), Leg::Web, savp);
        let own = vec![7; profile.key_bytes() + profile.salt_bytes()];
        let keys = Keys::new(profile, &own).unwrap();
        let mut long = Self {
            srtp: (Outbound::new(&keys), Inbound::new(&keys)),
            port: 0,
            browser: End::new(0xb0b0, 65_000),
            phone: End::new(0xf0f0, 65_500),
            payload_type: 8,
            version: 0,
            told: String::new(),
            profile,
            world,
        };
        let offer = long.described("8 0", "sendrecv", 1);
        long.told = long.world.tell("0", ToCallee, Role::Offer, &offer);
        long.world.browser_reads(&long.told);
        let answer = answer_of_browser(&long.world, &long.told);
        let answered = long.world.tell("0 b", ToCaller, Role::Answer, &answer);
        let branch = long.world.branch("0", "b");
        long.world.handle(Input::Established { branch });
        long.pass(2);
        let section = Session::parse(answered.as_bytes())
            .unwrap()
            .sections
            .remove(0);
        let theirs = Keys::new(profile, &section.crypto[0].key_and_salt).unwrap();
        long.srtp.1 = Inbound::new(&theirs);
        long.port = section.port;
        long
    }

    /// What the phone says of itself, with its key under this tag.
    fn described(&mut self, formats: &str, direction: &str, tag: u32) -> String {
        self.version += 1;
        let key = vec![7; self.profile.key_bytes() + self.profile.salt_bytes()];
        let (suite, key) = (self.profile.sdes(), BASE64_STANDARD.encode(key));
        let media = format!(
            "m=audio PORT RTP/SAVP {formats}\na=crypto:{tag} {suite} inline:{key}\na={direction}\n"
        );
        phone(PHONE, self.version, &media)
    }

    /// A re-INVITE of the phone.
    fn phone_offers(&mut self, formats: &str, direction: &str) {
        let offer = self.described(formats, direction, 1);
        self.told = self.world.tell("0 b", ToCallee, Role::Offer, &offer);
        let answer = answer_of_browser(&self.world, &self.told);
        self.world.tell("0 b", ToCaller, Role::Answer, &answer);
        self.pass(1);
    }

    /// A re-INVITE of the browser, which is in another network.
    fn ice_restarts(&mut self) {
        self.world.browser.ours = IceCredentials::from_entropy([3; 32]);
        let offer = answer_of_browser(&self.world, &self.told).replace("active", "actpass");
        let told = self.world.tell("0 b", ToCaller, Role::Offer, &offer);
        let section = Session::parse(told.as_bytes()).unwrap().sections.remove(0);
        let mut suites = section.crypto.iter();
        let same = suites.find(|crypto| crypto.profile == self.profile);
        let tag = same.expect("the suite that it speaks is offered").tag;
        let answer = self.described("8 0", "sendrecv", tag);
        self.told = self.world.tell("0 b", ToCallee, Role::Answer, &answer);
        self.world.browser_at = "198.51.100.77:6000".parse().unwrap();
        self.world.browser_reads(&self.told);
        self.pass(1);
    }

    /// Nobody says anything, but the clocks of both go on.
    fn pass(&mut self, seconds: u32) {
        self.world.run(Duration::from_secs(seconds.into()));
        for end in [&mut self.browser, &mut self.phone] {
            let units = seconds * 1000 * UNITS_PER_MS;
            end.timestamp = end.timestamp.wrapping_add(units);
        }
    }

    fn talk(&mut self, seconds: u32) {
        for _ in 0..seconds {
            let began = self.world.now;
            self.browser_talks(began);
            self.phone_talks(began);
            self.world.now = began;
            self.world.run_ms(1000);
        }
    }

    fn browser_talks(&mut self, began: Instant) {
        let (payload_type, browser) = (self.payload_type, &mut self.world.browser);
        let sent = second(&mut self.browser, |end| {
            browser.rtp(&end.sends(payload_type))
        });
        for (after, number, bytes) in sent {
            self.world.now = began + after;
            let (_, _, mut bytes) = self
                .world
                .arrive(WEB, self.world.browser_at, &bytes)
                .expect("it is passed on");
            let mut heard = Packet::new(&mut bytes, usize::MAX);
            self.srtp
                .1
                .unprotect_rtp(&mut heard)
                .expect("it can be decrypted");
            self.phone.hears(self.world.now, heard.bytes(), number);
        }
    }

    fn phone_talks(&mut self, began: Instant) {
        let (payload_type, outbound) = (self.payload_type, &mut self.srtp.0);
        let sent = second(&mut self.phone, |end| {
            let mut buffer = [0; 100];
            let mut sealed = packet(&mut buffer, &end.sends(payload_type));
            outbound.protect_rtp(&mut sealed).unwrap();
            sealed.bytes().to_vec()
        });
        for (after, number, bytes) in sent {
            self.world.now = began + after;
            let (from, socket) = (PHONE.parse().unwrap(), SocketId(self.port.into()));
            let (_, _, bytes) = self
                .world
                .arrive(socket, from, &bytes)
                .expect("it is passed on");
            let heard = self.world.browser.receive(self.world.now, &bytes);
            let heard = heard.expect("it can be decrypted");
            self.browser.hears(self.world.now, &heard, number);
        }
    }
}

/// A second's packets as they arrive: when, their numbers, sealed.
fn second(
    end: &mut End,
    mut seal: impl FnMut(&mut End) -> Vec<u8>,
) -> Vec<(Duration, u32, Vec<u8>)> {
    let is_near = end.is_near_a_wrap();
    let sent = (0..RATE).map(|index| (PACKET * index, end.number, seal(end)));
    let mut sent: Vec<_> = sent.collect();
    if is_near {
        sent.retain(|(_, number, _)| number % 7 != 3);
        for three in sent.chunks_exact_mut(3) {
            let [(first, ..), _, (last, ..)] = three else {
                unreachable!("chunks of three");
            };
            std::mem::swap(first, last);
            three.swap(0, 2);
        }
    }
    sent
}

fn forty_minutes(profile: Profile) {
    let mut long = Long::new(profile);
    long.talk(300);
    long.ice_restarts();
    long.talk(300);
    long.phone_offers("8 0", "inactive");
    long.pass(600);
    long.phone_offers("8 0", "sendrecv");
    long.talk(600);
    long.payload_type = 0;
    long.phone_offers("0", "sendrecv");
    long.talk(450);
    (long.phone.ssrc, long.phone.sequence) = (0xf0f1, 65_200);
    long.talk(75);
    (long.browser.ssrc, long.browser.sequence) = (0xb0b1, 65_300);
    long.talk(75);
    assert!(long.world.said.is_empty(), "{:?}", long.world.said);
    for end in [&long.browser, &long.phone] {
        assert!(end.number == 1800 * RATE && end.wraps[0] >= 3 && end.wraps[1] >= 1);
    }
}

#[test]
fn forty_minutes_with_hmac() {
    forty_minutes(Profile::AesCm128HmacSha1_80);
}

#[test]
fn forty_minutes_with_gcm() {
    forty_minutes(Profile::AeadAes128Gcm);
}
