//! A browser against a transport, over a net that loses and reorders, on a virtual clock.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::*;
use crate::testing::{Browser, dtls_config, packet};

const AT: Peer = by_udp([192, 0, 2, 1], 50_000);
const STRANGER: Peer = by_udp([203, 0, 113, 9], 1234);

const fn by_udp([a, b, c, d]: [u8; 4], port: u16) -> Peer {
    Peer {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), port),
        connection: None,
    }
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 111, 0, 0, 0, 0, 0, 160, 0, 0, 0, 1, 1, 2, 3, 4];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet
}

struct Net {
    now: Instant,
    web: WebTransport,
    browser: Browser,
    chance: u64,
    /// Of 100 datagrams.
    lost: u64,
    events: Vec<Event>,
}

impl Net {
    /// `setup`: the browser's. Its description has not come yet.
    fn new(setup: Setup) -> Net {
        let (now, config) = (Instant::now(), dtls_config());
        let ours = IceCredentials::from_entropy([1; 32]);
        let web = WebTransport::new(&config, ours.clone(), now);
        let browser = Browser::new(now, setup, &ours, config.fingerprint());
        Net {
            now,
            web,
            browser,
            chance: 88_172_645_463_325_252,
            lost: 0,
            events: Vec::new(),
        }
    }

    fn connected(setup: Setup) -> Net {
        let mut net = Net::new(setup);
        net.describe();
        net.run_until(|net| net.web.srtp.is_some() && net.browser.has_keys());
        net
    }

    fn describe(&mut self) {
        let remote = self.browser.description();
        self.web.set_remote(self.now, remote);
    }

    /// xorshift64.
    fn chance(&mut self, of: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance % of
    }

    fn receive(&mut self, from: Peer, bytes: &[u8]) -> (Received, Vec<u8>) {
        let mut buffer = [0; 2048];
        let mut packet = packet(&mut buffer, bytes);
        let received = self.web.receive(self.now, from, &mut packet);
        (received, packet.bytes().to_vec())
    }

    /// Sends what waits at both ends, until nothing waits; in any order where some go lost.
    fn exchange(&mut self) {
        loop {
            let mut out = std::mem::take(&mut self.browser.outbox);
            let mut back: Vec<_> = std::iter::from_fn(|| self.web.poll_transmit()).collect();
            if out.is_empty() && back.is_empty() {
                return;
            }
            if self.lost > 0 && self.chance(2) == 0 {
                out.reverse();
                back.reverse();
            }
            for bytes in out {
                if self.chance(100) >= self.lost {
                    self.receive(AT, &bytes);
                }
            }
            for Transmit { to, bytes } in back {
                assert_eq!(to, AT);
                if self.chance(100) >= self.lost {
                    self.browser.receive(self.now, &bytes);
                }
            }
            let events = std::iter::from_fn(|| self.web.poll_event());
            self.events.extend(events);
        }
    }

    fn run_until(&mut self, done: impl Fn(&Net) -> bool) {
        let end = self.now + Duration::from_secs(120);
        self.exchange();
        while !done(self) {
            let wakes = [self.web.poll_timeout(), Some(self.browser.poll_timeout())];
            let wake = wakes.into_iter().flatten().min().unwrap();
            self.now = wake.max(self.now + Duration::from_millis(1));
            assert!(self.now < end, "{:?}", self.web.diagnosis(self.now));
            self.browser.handle_timeout(self.now);
            self.web.handle_timeout(self.now);
            self.exchange();
        }
    }

    /// A packet from the browser, and one to it.
    #[track_caller]
    fn media_flows(&mut self, sequence: u16) {
        let sealed = self.browser.rtp(&rtp(sequence));
        assert_eq!(self.receive(AT, &sealed), (Received::Rtp, rtp(sequence)));
        let mut buffer = [0; 300];
        let mut packet = packet(&mut buffer, &rtp(sequence));
        assert_eq!(self.web.send_rtp(&mut packet), Some(AT));
        let opened = self.browser.receive(self.now, packet.bytes());
        assert_eq!(opened, Some(rtp(sequence)));
    }

    fn can_send(&mut self) -> bool {
        let mut buffer = [0; 300];
        let chance = self.chance(1 << 15) as u16;
        let sent = self.web.send_rtp(&mut packet(&mut buffer, &rtp(chance)));
        sent.is_some()
    }
}

#[test]
fn connects_whoever_is_the_dtls_client() {
    for (setup, ours) in [
        (Setup::Active, Setup::Passive),
        (Setup::ActPass, Setup::Passive),
        (Setup::Passive, Setup::Active),
    ] {
        let mut net = Net::connected(setup);
        assert_eq!(net.events, [Event::Connected(AT), Event::Keys]);
        assert_eq!(net.web.setup(), Some(ours));
        net.media_flows(1);
        assert_eq!(net.web.diagnosis(net.now), None);
    }
}

#[test]
fn connects_over_a_net_that_loses_and_reorders() {
    for (seed, setup) in (1..40).zip([Setup::Active, Setup::Passive].into_iter().cycle()) {
        let mut net = Net::new(setup);
        (net.chance, net.lost) = (seed << 40 | 12_345, 20);
        net.describe();
        net.run_until(|net| net.web.srtp.is_some() && net.browser.has_keys());
        net.media_flows(1);
    }
}

#[test]
fn holds_media_until_the_description_with_the_fingerprint_comes() {
    let mut net = Net::new(Setup::Active);
    net.run_until(|net| net.browser.has_keys());
    let sealed = net.browser.rtp(&rtp(1));
    assert_eq!(net.receive(AT, &sealed).0, Received::Nothing);
    assert!(!net.can_send());
    assert_eq!(
        net.web.diagnosis(net.now).unwrap(),
        "DTLS connected, the fingerprint to verify it by has not come"
    );
    net.describe();
    assert_eq!(net.web.poll_event(), Some(Event::Keys));
    net.media_flows(2);
}

#[test]
fn a_wrong_fingerprint_fails_and_lets_nothing_through() {
    for late in [false, true] {
        let mut net = Net::new(Setup::Active);
        let mut remote = net.browser.description();
        remote.fingerprints = vec![Fingerprint::of(b"another")];
        if !late {
            net.web.set_remote(net.now, remote.clone());
        }
        net.run_until(|net| net.browser.has_keys());
        if late {
            net.web.set_remote(net.now, remote);
        }
        net.exchange();
        net.events.extend(net.web.poll_event());
        let wrong = DtlsError::WrongFingerprint;
        assert_eq!(
            net.events,
            [Event::Connected(AT), Event::Failed(wrong.clone())]
        );
        assert_eq!(net.web.diagnosis(net.now), Some(wrong.to_string()));
        let sealed = net.browser.rtp(&rtp(1));
        assert_eq!(net.receive(AT, &sealed).0, Received::Nothing);
        assert!(!net.can_send());
    }
}

#[test]
fn strangers_and_replays_change_nothing() {
    let mut net = Net::connected(Setup::Active);
    let sealed = net.browser.rtp(&rtp(1));
    assert_eq!(net.receive(STRANGER, &sealed).0, Received::Nothing);
    assert_eq!(net.receive(AT, &sealed).0, Received::Rtp);
    assert_eq!(net.receive(AT, &sealed).0, Received::Nothing);
    let mut hello = Browser::new(net.now, Setup::Active, net.web.ice(), &Fingerprint::of(b""));
    hello.theirs.password = "x".repeat(24);
    assert_eq!(net.receive(STRANGER, &hello.check()).0, Received::Nothing);
    assert!(
        net.web.poll_transmit().is_some_and(|t| t.to == STRANGER),
        "401"
    );
    net.media_flows(2);
}

#[test]
fn a_spoofed_handshake_does_not_keep_the_browser_out() {
    let mut net = Net::new(Setup::Active);
    net.describe();
    net.browser.handle_timeout(net.now);
    let check = net.browser.outbox.remove(0);
    assert_eq!(net.receive(AT, &check).0, Received::Check);
    // Another's ClientHello, with the browser's source.
    let mut other = Browser::new(net.now, Setup::Active, net.web.ice(), &Fingerprint::of(b""));
    let answer = net.web.poll_transmit().unwrap();
    other.receive(net.now, &answer.bytes);
    for bytes in std::mem::take(&mut other.outbox) {
        assert_eq!(net.receive(AT, &bytes).0, Received::Nothing);
    }
    while net.web.poll_transmit().is_some() {}
    for len in 0..60_u8 {
        let noise: Vec<u8> = (0..len).map(|i| 20 + (i ^ len) % 40).collect();
        net.receive(AT, &noise);
    }
    net.lost = 0;
    net.browser.receive(net.now, &answer.bytes);
    net.run_until(|net| net.web.srtp.is_some() && net.browser.has_keys());
    net.media_flows(1);
}

#[test]
fn consent_ends_and_comes_back() {
    let mut net = Net::connected(Setup::Active);
    net.media_flows(1);
    // The browser falls silent.
    while net.web.poll_event().is_some() {}
    net.now += Duration::from_secs(31);
    net.web.handle_timeout(net.now);
    assert_eq!(net.web.poll_event(), Some(Event::ConsentLost));
    assert!(!net.can_send());
    assert_eq!(
        net.web.diagnosis(net.now).unwrap(),
        "ICE checks ended, no consent to send"
    );
    let check = net.browser.check();
    assert_eq!(net.receive(AT, &check).0, Received::Check);
    assert_eq!(net.web.poll_event(), Some(Event::Connected(AT)));
    net.media_flows(2);
}

#[test]
fn a_connected_transport_is_quiet_between_checks() {
    let mut net = Net::connected(Setup::Active);
    net.run_until(|_| true);
    let start = net.now;
    net.run_until(|net| net.now > start + Duration::from_secs(60));
    let wake = net.web.poll_timeout().unwrap();
    assert!(
        wake > net.now + Duration::from_secs(20),
        "it wakes for nothing"
    );
    assert_eq!(net.events, [Event::Connected(AT), Event::Keys]);
    net.media_flows(1);
}

#[test]
fn an_ice_restart_keeps_keys_and_media() {
    let mut net = Net::connected(Setup::Active);
    net.media_flows(1);
    net.browser.ours = IceCredentials::from_entropy([77; 32]);
    let remote = net.browser.description();
    assert!(net.web.is_restart(&remote.ice));
    let new = IceCredentials::from_entropy([2; 32]);
    net.web.restart(new.clone());
    net.web.set_remote(net.now, remote.clone());
    assert!(!net.web.is_restart(&remote.ice));
    assert_eq!(net.web.ice(), &new);
    net.media_flows(2);
    net.browser.restart_ice(net.now, &new);
    net.run_until(|net| net.browser.answered > 0);
    net.media_flows(3);
    assert_eq!(net.events, [Event::Connected(AT), Event::Keys]);
}

#[test]
fn the_same_description_again_changes_nothing_and_another_certificate_all() {
    let mut net = Net::connected(Setup::Active);
    net.describe();
    net.media_flows(1);
    let mut remote = net.browser.description();
    remote.setup = Setup::ActPass;
    net.web.set_remote(net.now, remote);
    net.media_flows(2);
    // A page made another PeerConnection of the call's leg.
    net.browser.config = dtls_config();
    net.browser.association = None;
    net.describe();
    assert!(!net.can_send());
    net.browser.restart_ice(net.now, &net.web.ice().clone());
    net.run_until(|net| net.web.srtp.is_some() && net.browser.association.is_some());
    net.run_until(|net| net.events.len() == 3);
    net.media_flows(1);
}

#[test]
fn says_why_there_is_no_media() {
    let mut net = Net::new(Setup::Active);
    let says = |net: &Net, seconds| net.web.diagnosis(net.now + Duration::from_secs(seconds));
    assert_eq!(says(&net, 7).unwrap(), "no ICE check for 7 s");
    let wrong = {
        let right = net.browser.theirs.clone();
        net.browser.theirs.password = "x".repeat(24);
        let check = net.browser.check();
        net.browser.theirs = right;
        check
    };
    net.receive(AT, &wrong);
    assert_eq!(
        says(&net, 7).unwrap(),
        "ICE checks come with a wrong password"
    );
    let check = net.browser.check();
    net.receive(AT, &check);
    assert_eq!(
        says(&net, 5).unwrap(),
        "ICE connected, no DTLS ClientHello for 5 s"
    );
    net.receive(AT, &[22, 254, 253, 0]);
    assert_eq!(says(&net, 3).unwrap(), "DTLS handshake not done for 3 s");
    let net = Net::connected(Setup::Active);
    assert_eq!(says(&net, 9).unwrap(), "DTLS connected, no SRTP for 9 s");
    let mut net = Net::connected(Setup::Active);
    net.media_flows(1);
    assert_eq!(says(&net, 5), None);
    assert_eq!(says(&net, 6).unwrap(), "no SRTP for 6 s");
}
