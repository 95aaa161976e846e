//! A SIP end, and strangers, against a transport.

use super::*;
use crate::{
    srtp::{Keys, Profile},
    testing::packet,
};

fn at(host: u8, port: u16) -> SocketAddr {
    ([192, 0, 2, host], port).into()
}

fn remote(rtp: Option<SocketAddr>) -> PlainRemote {
    PlainRemote {
        rtp,
        rtcp: RemoteRtcp::Own(at(1, 4001)),
        srtp: None,
    }
}

fn transport(latch: Latch) -> (PlainTransport, Instant) {
    let now = Instant::now();
    let mut transport = PlainTransport::new(latch, now);
    transport.set_remote(remote(Some(at(1, 4000))));
    (transport, now)
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 160, 0, 0, 0, 1, 0xd5, 0xd5];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet
}

const RTCP: &[u8] = &[0x80, 201, 0, 1, 0, 0, 0, 1];

fn receive(
    t: &mut PlainTransport,
    now: Instant,
    port: Port,
    from: SocketAddr,
    b: &[u8],
) -> Received {
    let mut buffer = [0; 300];
    t.receive(now, port, from, &mut packet(&mut buffer, b))
}

fn hear(t: &mut PlainTransport, now: Instant, from: SocketAddr) -> bool {
    receive(t, now, Port::Rtp, from, &rtp(1)) == Received::Rtp
}

fn sent_to(t: &mut PlainTransport) -> Option<SocketAddr> {
    t.send_rtp(&mut packet(&mut [0; 300], &rtp(9)))
}

#[test]
fn sends_where_the_description_says_until_it_hears_from_elsewhere() {
    let (mut t, now) = transport(Latch::Signalled);
    assert_eq!(sent_to(&mut t), Some(at(1, 4000)));
    assert!(hear(&mut t, now, at(1, 5000)), "another port");
    assert_eq!(sent_to(&mut t), Some(at(1, 5000)));
}

#[test]
fn a_stranger_is_never_heard_where_the_address_was_signalled() {
    let (mut t, now) = transport(Latch::Signalled);
    assert!(!hear(&mut t, now, at(2, 4000)));
    assert_eq!(sent_to(&mut t), Some(at(1, 4000)));
    assert_eq!(t.refused().strangers, 1);
    assert_eq!(
        t.diagnosis(now).unwrap(),
        "RTP comes from another address than the description's"
    );
}

#[test]
fn the_first_source_stays_and_only_the_signalled_one_replaces_it_soon() {
    let (mut t, now) = transport(Latch::Symmetric);
    assert!(hear(&mut t, now, at(9, 1)));
    assert!(!hear(&mut t, now, at(8, 1)));
    assert_eq!(sent_to(&mut t), Some(at(9, 1)));
    assert!(hear(&mut t, now + Duration::from_secs(2), at(1, 4000)));
    assert!(!hear(&mut t, now + Duration::from_secs(2), at(9, 1)));
    assert_eq!(sent_to(&mut t), Some(at(1, 4000)));

    let (mut t, now) = transport(Latch::Symmetric);
    assert!(hear(&mut t, now, at(9, 1)));
    assert!(!hear(&mut t, now + LEARNING, at(1, 4000)), "too late");
}

#[test]
fn a_new_address_is_learned_anew_and_the_same_one_is_kept() {
    let (mut t, now) = transport(Latch::Symmetric);
    assert!(hear(&mut t, now, at(9, 1)));
    t.set_remote(remote(Some(at(1, 4000))));
    assert_eq!(
        sent_to(&mut t),
        Some(at(9, 1)),
        "a re-INVITE with nothing new"
    );
    t.set_remote(remote(Some(at(3, 6000))));
    assert_eq!(sent_to(&mut t), Some(at(3, 6000)));
    assert!(hear(&mut t, now, at(3, 6000)));
    t.set_remote(remote(None));
    assert_eq!(sent_to(&mut t), None);
    assert!(!hear(&mut t, now, at(3, 6000)));
}

#[test]
fn nothing_is_heard_or_sent_before_a_description() {
    let now = Instant::now();
    let mut t = PlainTransport::new(Latch::Symmetric, now);
    assert!(!hear(&mut t, now, at(1, 4000)));
    assert_eq!(sent_to(&mut t), None);
    assert_eq!(
        t.diagnosis(now).unwrap(),
        "no description came from the SIP end"
    );
}

#[test]
fn rtcp_has_its_port_or_shares_that_of_rtp() {
    let (mut t, now) = transport(Latch::Symmetric);
    let hear = |t: &mut PlainTransport, port, from| receive(t, now, port, from, RTCP);
    let sent = |t: &mut PlainTransport| t.send_rtcp(&mut packet(&mut [0; 300], RTCP));
    assert_eq!(sent(&mut t), Some((Port::Rtcp, at(1, 4001))));
    assert_eq!(
        hear(&mut t, Port::Rtp, at(1, 4000)),
        Received::Nothing,
        "not muxed"
    );
    assert_eq!(
        receive(&mut t, now, Port::Rtcp, at(1, 4001), &rtp(1)),
        Received::Nothing
    );
    assert_eq!(
        receive(&mut t, now, Port::Rtp, at(9, 1), &rtp(1)),
        Received::Rtp
    );
    assert_eq!(
        hear(&mut t, Port::Rtcp, at(8, 2)),
        Received::Nothing,
        "another host than RTP's"
    );
    assert_eq!(hear(&mut t, Port::Rtcp, at(9, 2)), Received::Rtcp);
    assert_eq!(sent(&mut t), Some((Port::Rtcp, at(9, 2))));

    t.set_remote(PlainRemote {
        rtcp: RemoteRtcp::Muxed,
        ..remote(Some(at(1, 4000)))
    });
    assert_eq!(hear(&mut t, Port::Rtp, at(9, 1)), Received::Rtcp);
    assert_eq!(sent(&mut t), Some((Port::Rtp, at(9, 1))));
}

#[test]
fn what_is_no_media_is_refused() {
    let (mut t, now) = transport(Latch::Signalled);
    for bytes in [&b""[..], b"\0\x01\0\0", b"SIP/2.0 200 OK", &rtp(1)[..11]] {
        assert_eq!(
            receive(&mut t, now, Port::Rtp, at(1, 4000), bytes),
            Received::Nothing
        );
    }
    assert_eq!(t.refused().packets, 4);
    assert_eq!(t.diagnosis(now).unwrap(), "what comes is no RTP");
}

fn pair(seed: u8) -> KeyPair {
    let keys = |seed| Keys::new(Profile::AesCm128HmacSha1_80, &[seed; 30]).unwrap();
    KeyPair {
        outbound: keys(seed),
        inbound: keys(seed + 1),
    }
}

fn with_keys(keys: &KeyPair) -> PlainRemote {
    PlainRemote {
        srtp: Some(keys.clone()),
        ..remote(Some(at(1, 4000)))
    }
}

/// What the SIP end sends under these.
fn sealed(sender: &mut Outbound, sequence: u16) -> Vec<u8> {
    let mut buffer = [0; 300];
    let mut packet = packet(&mut buffer, &rtp(sequence));
    sender.protect_rtp(&mut packet).unwrap();
    packet.bytes().to_vec()
}

#[test]
fn under_keys_a_packet_proves_its_source() {
    let now = Instant::now();
    let mut t = PlainTransport::new(Latch::Signalled, now);
    t.set_remote(with_keys(&pair(1)));
    assert!(!hear(&mut t, now, at(1, 4000)), "in the clear");
    assert_eq!(t.diagnosis(now).unwrap(), "no SRTP packet is authentic");
    let mut sender = Outbound::new(&pair(1).inbound);
    let (first, second) = (sealed(&mut sender, 1), sealed(&mut sender, 2));
    let receive = |t: &mut PlainTransport, from, bytes: &[u8]| {
        let mut buffer = [0; 300];
        let mut packet = packet(&mut buffer, bytes);
        let received = t.receive(now, Port::Rtp, from, &mut packet);
        (received, packet.bytes().to_vec())
    };
    assert_eq!(
        receive(&mut t, at(1, 4000), &first),
        (Received::Rtp, rtp(1))
    );
    assert_eq!(
        receive(&mut t, at(7, 7), &first).0,
        Received::Nothing,
        "a replay moves nobody"
    );
    assert_eq!(sent_to(&mut t), Some(at(1, 4000)));
    assert_eq!(
        receive(&mut t, at(7, 7), &second).0,
        Received::Rtp,
        "its NAT gave it another address"
    );
}

#[test]
fn keys_change_without_a_gap_and_the_same_ones_go_on() {
    let now = Instant::now();
    let mut t = PlainTransport::new(Latch::Signalled, now);
    t.set_remote(with_keys(&pair(1)));
    let mut old = Outbound::new(&pair(1).inbound);
    let hear = |t: &mut PlainTransport, bytes: &[u8]| {
        receive(t, now, Port::Rtp, at(1, 4000), bytes) == Received::Rtp
    };
    let first = sealed(&mut old, 1);
    assert!(hear(&mut t, &first));
    t.set_remote(with_keys(&pair(1)));
    assert!(!hear(&mut t, &first), "the same keys remember");
    t.set_remote(with_keys(&pair(5)));
    let mut new = Outbound::new(&pair(5).inbound);
    assert!(hear(&mut t, &sealed(&mut old, 2)), "still on its way");
    assert!(hear(&mut t, &sealed(&mut new, 3)));
    assert!(!hear(&mut t, &sealed(&mut old, 4)), "over");
    t.set_remote(remote(Some(at(1, 4000))));
    assert!(hear(&mut t, &rtp(5)), "back to no keys");
}
