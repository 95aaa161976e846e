//! Bytes that nobody chose, against both transports and what stands behind them, from seeds that replay.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    dtls::Setup,
    ice::IceCredentials,
    packet::Packet,
    relay::{Payload, Stream, StreamIds},
    rtcp, rtp,
    srtp::{Inbound, KeyPair, Keys, Outbound, Profile},
    stun::Message,
    testing::{Browser, dtls_config, packet},
    transport::{
        Demux, Event, Latch, PlainRemote, PlainTransport, Port, Received, Remote, RemoteRtcp,
        WebTransport,
    },
};

const ROUNDS: u32 = 20_000;
const BYTES_MAX: usize = 300;

/// xorshift64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = self.below(BYTES_MAX);
        (0..len).map(|_| self.byte()).collect()
    }

    /// One of these, with some of its bytes changed, cut, repeated or put elsewhere; or none of them at all.
    fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let which = self.below(seeds.len() + 1);
        let Some(seed) = seeds.get(which) else {
            let mut bytes = self.bytes();
            // So that each protocol gets its share.
            if let Some(first) = bytes.first_mut() {
                *first = [0, 1, 22, 23, 0x80, 0x90, 0xa1][self.below(7)];
            }
            return bytes;
        };
        let mut bytes = seed.clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(6) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => bytes[at] = self.byte(),
                3 => bytes.splice(at.., self.bytes()).for_each(drop),
                4 => bytes.rotate_left(at),
                _ => bytes.insert(at, self.byte()),
            }
        }
        bytes.truncate(1500);
        bytes
    }
}

fn at(host: u8, port: u16) -> SocketAddr {
    ([192, 0, 2, host], port).into()
}

fn rtp_packet(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x90, 8, 0, 0, 0, 0, 0, 160, 0, 0, 0, 1];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend([0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
    packet.extend([0xd5; 40]);
    packet
}

/// A sender report with a block, CNAME, BYE; NACK, PLI, FIR and REMB.
fn rtcp_packets() -> Vec<Vec<u8>> {
    let hex = crate::testing::hex;
    vec![
        hex(concat!(
            "81c8000c00000001e0000000800000000000000000000003000001e0",
            "00000063000000070000000a0000000100000000000000ff",
            "81ca000300000001010561406263000081cb000100000001"
        )),
        hex("81cd00030000000100000063000a0003"),
        hex("81ce00020000000100000063"),
        hex("84ce000400000001000000000000006305000000"),
        hex("8fce000500000001000000005245 4d4201020abc00000063"
            .replace(' ', "")
            .as_str()),
    ]
}

/// A browser that is connected, with all that it said before, and some packets of it.
fn connected() -> (WebTransport, Browser, Instant, Vec<Vec<u8>>) {
    let (now, config) = (Instant::now(), dtls_config());
    let ours = IceCredentials::from_entropy([1; 32]);
    let mut web = WebTransport::new(&config, ours.clone(), now);
    let mut browser = Browser::new(now, Setup::Active, &ours, config.fingerprint());
    web.set_remote(now, browser.description());
    let (mut said, mut keys) = (Vec::new(), false);
    browser.handle_timeout(now);
    while !keys || !browser.has_keys() {
        for bytes in std::mem::take(&mut browser.outbox) {
            let mut buffer = [0; 2048];
            web.receive(now, at(1, 1), &mut packet(&mut buffer, &bytes));
            said.push(bytes);
        }
        while let Some(transmit) = web.poll_transmit() {
            browser.receive(now, &transmit.bytes);
        }
        keys |= std::iter::from_fn(|| web.poll_event()).any(|event| event == Event::Keys);
    }
    said.extend((1..4).map(|sequence| browser.rtp(&rtp_packet(sequence))));
    (web, browser, now, said)
}

fn hears(web: &mut WebTransport, now: Instant, from: SocketAddr, bytes: &[u8]) -> Received {
    let mut buffer = [0; 2048];
    web.receive(now, from, &mut packet(&mut buffer, bytes))
}

#[test]
fn a_connected_browser_is_heard_after_anything_that_others_send_as_it() {
    let (mut web, mut browser, now, said) = connected();
    let mut chance = Chance(0x1234_5678_9abc_def1);
    for round in 0..ROUNDS {
        let from = [at(1, 1), at(9, 9), at(1, 2)][chance.below(3)];
        let bytes = chance.mutated(&said);
        let authentic = said.contains(&bytes);
        let received = hears(&mut web, now, from, &bytes);
        assert!(
            authentic || matches!(received, Received::Nothing | Received::Check),
            "{round}: {received:?} of {bytes:?}"
        );
        while web.poll_transmit().is_some() {}
        web.handle_timeout(now);
    }
    assert_eq!(web.poll_event(), None);
    let sealed = browser.rtp(&rtp_packet(500));
    assert_eq!(hears(&mut web, now, at(1, 1), &sealed), Received::Rtp);
    assert!(web.diagnosis(now).is_none());
}

/// Everything that the browser says, before it says it, in a changed form and from its own address.
#[test]
fn a_browser_connects_among_datagrams_that_nobody_chose() {
    let (.., said) = connected();
    for seed in 1..30 {
        let mut chance = Chance(seed << 32 | 77);
        let (mut now, config) = (Instant::now(), dtls_config());
        let ours = IceCredentials::from_entropy([1; 32]);
        let mut web = WebTransport::new(&config, ours.clone(), now);
        let mut browser = Browser::new(now, Setup::Active, &ours, config.fingerprint());
        web.set_remote(now, browser.description());
        let mut keys = false;
        for _ in 0..400 {
            browser.handle_timeout(now);
            web.handle_timeout(now);
            for bytes in std::mem::take(&mut browser.outbox) {
                // Nobody guesses what a handshake says in the clear, or it would be a man in the middle: only noise.
                let noise = chance.mutated(&said[..1]);
                hears(&mut web, now, at(1, 1), &noise);
                hears(&mut web, now, at(1, 1), &bytes);
            }
            while let Some(transmit) = web.poll_transmit() {
                let is_error = Message::parse(&transmit.bytes).is_some_and(|m| m.error().is_some());
                if !is_error {
                    browser.receive(now, &transmit.bytes);
                }
            }
            keys |= std::iter::from_fn(|| web.poll_event()).any(|event| event == Event::Keys);
            if keys && browser.has_keys() {
                break;
            }
            now += Duration::from_millis(50);
        }
        assert!(keys, "seed {seed}: {:?}", web.diagnosis(now));
        let sealed = browser.rtp(&rtp_packet(1));
        assert_eq!(hears(&mut web, now, at(1, 1), &sealed), Received::Rtp);
    }
}

#[test]
fn what_waits_to_be_sent_is_bounded() {
    let (now, config) = (Instant::now(), dtls_config());
    let ours = IceCredentials::from_entropy([1; 32]);
    let mut web = WebTransport::new(&config, ours.clone(), now);
    let browser = Browser::new(now, Setup::Active, &ours, config.fingerprint());
    for port in 1..2000 {
        hears(&mut web, now, at(1, port), &browser.check());
    }
    let waiting = std::iter::from_fn(|| web.poll_transmit()).count();
    assert!(waiting <= 32, "{waiting}");
    assert!(std::iter::from_fn(|| web.poll_event()).count() <= 1);
}

#[test]
fn a_sip_end_is_heard_after_anything_that_others_send() {
    let keys = |seed: u8| Keys::new(Profile::AesCm128HmacSha1_80, &[seed; 30]).unwrap();
    let pair = KeyPair {
        outbound: keys(1),
        inbound: keys(2),
    };
    for srtp in [None, Some(pair)] {
        let now = Instant::now();
        let mut plain = PlainTransport::new(Latch::Signalled, now);
        let mut sender = srtp.as_ref().map(|pair| Outbound::new(&pair.inbound));
        let mut send = |plain: &mut PlainTransport, sequence| {
            let (mut buffer, bytes) = ([0; 400], rtp_packet(sequence));
            let mut packet = packet(&mut buffer, &bytes);
            if let Some(sender) = &mut sender {
                sender.protect_rtp(&mut packet).unwrap();
            }
            plain.receive(now, Port::Rtp, at(1, 4000), &mut packet)
        };
        let rtp = Some(at(1, 4000));
        let rtcp = RemoteRtcp::Muxed;
        plain.set_remote(PlainRemote { rtp, rtcp, srtp });
        assert_eq!(send(&mut plain, 1), Received::Rtp);
        let mut seeds = rtcp_packets();
        seeds.push(rtp_packet(2));
        let mut chance = Chance(0xfeed_beef_1234_5678);
        for _ in 0..ROUNDS {
            let bytes = chance.mutated(&seeds);
            let port = [Port::Rtp, Port::Rtcp][chance.below(2)];
            let mut buffer = [0; 2048];
            let mut packet = packet(&mut buffer, &bytes);
            let from = at(2, u16::from(chance.byte()));
            let received = plain.receive(now, port, from, &mut packet);
            assert_eq!(received, Received::Nothing, "{bytes:?}");
        }
        assert_eq!(send(&mut plain, 2), Received::Rtp);
        let to = plain.send_rtp(&mut packet(&mut [0; 400], &rtp_packet(9)));
        assert_eq!(to, Some(at(1, 4000)));
    }
}

#[test]
fn nothing_that_is_relayed_or_translated_panics_or_grows() {
    let mut chance = Chance(0xabcd_ef01_2345_6789);
    let stream = |ssrc| {
        let mut stream = Stream::new(StreamIds {
            ssrc,
            sequence: 1,
            timestamp: 1,
        });
        let payload = |from| Payload {
            from,
            to: from,
            clock_hz: 8000,
        };
        stream.set_payloads(&[payload(0), payload(8), payload(111)]);
        stream
    };
    let (mut out, mut back) = (stream(0x62), stream(0x63));
    let mut now = Instant::now();
    let mut seeds = rtcp_packets();
    seeds.push(rtp_packet(1));
    for _ in 0..ROUNDS * 5 {
        now += Duration::from_millis(1);
        let bytes = chance.mutated(&seeds);
        let mut buffer = [0; 2048];
        let mut packet = packet(&mut buffer, &bytes);
        let len = packet.len();
        out.forward(now, &mut packet);
        assert!(packet.len() <= len);
        let _ = (rtp::extension(packet.bytes(), 1), out.stats());
        let mut buffer = [0; 2048];
        let mut packet = self::packet(&mut buffer, &bytes);
        back.forward(now, &mut packet);
        let mut packet = self::packet(&mut buffer, &bytes);
        rtcp::translate(now, &mut packet, &mut [&mut out], &mut [&mut back]);
        // By the empty report before feedback, at most, and CNAMEs are padded again.
        assert!(packet.len() <= bytes.len() + 12, "{bytes:?}");
    }
}

#[test]
fn srtp_opens_nothing_that_nobody_sealed() {
    for profile in [Profile::AesCm128HmacSha1_80, Profile::AeadAes256Gcm] {
        let bytes = vec![3; profile.key_bytes() + profile.salt_bytes()];
        let keys = Keys::new(profile, &bytes).unwrap();
        let (mut outbound, mut inbound) = (Outbound::new(&keys), Inbound::new(&keys));
        let mut sealed = Vec::new();
        for (i, plain) in rtcp_packets().iter().enumerate() {
            let mut buffer = [0; 400];
            let mut media = packet(&mut buffer, &rtp_packet(u16::try_from(i).unwrap()));
            outbound.protect_rtp(&mut media).unwrap();
            sealed.push(media.bytes().to_vec());
            let mut control = packet(&mut buffer, plain);
            outbound.protect_rtcp(&mut control).unwrap();
            sealed.push(control.bytes().to_vec());
        }
        let mut chance = Chance(0x0bad_cafe_0bad_cafe);
        for _ in 0..ROUNDS {
            let bytes = chance.mutated(&sealed);
            let mut open = |open: fn(&mut Inbound, &mut Packet) -> bool| {
                let mut buffer = [0; 2048];
                open(&mut inbound, &mut packet(&mut buffer, &bytes))
            };
            let opened =
                open(|i, p| i.unprotect_rtp(p).is_ok()) || open(|i, p| i.unprotect_rtcp(p).is_ok());
            assert!(!opened || sealed.contains(&bytes), "{bytes:?}");
        }
    }
}

/// One with a call of his own, who says that he sends from where another browser does.
#[test]
fn a_neighbour_takes_no_packet_of_another_s() {
    let (mut victim, mut browser, now, _) = connected();
    let (config, own) = (dtls_config(), IceCredentials::from_entropy([9; 32]));
    let mut attacker = WebTransport::new(&config, own.clone(), now);
    let mut demux = Demux::default();
    demux.insert(&victim.ice().ufrag.clone(), 1);
    demux.insert(&own.ufrag, 2);
    demux.learn(now, at(1, 1), 1);
    let evil = Browser::new(now, Setup::Active, &own, config.fingerprint());
    attacker.set_remote(
        now,
        Remote {
            ice: evil.ours.clone(),
            ..evil.description()
        },
    );
    let check = evil.check();
    assert_eq!(demux.find(at(1, 1), &check), Some(2));
    assert_eq!(hears(&mut attacker, now, at(1, 1), &check), Received::Check);
    demux.learn(now, at(1, 1), 2);
    let sealed = browser.rtp(&rtp_packet(9));
    assert_eq!(demux.find(at(1, 1), &sealed), Some(1));
    assert_eq!(hears(&mut victim, now, at(1, 1), &sealed), Received::Rtp);
}
