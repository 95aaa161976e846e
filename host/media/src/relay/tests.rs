//! What the hearer of a stream gets, whatever its sender does.

use super::*;
use crate::testing::packet;

const IDS: StreamIds = StreamIds {
    ssrc: 0xaaaa,
    sequence: 1000,
    timestamp: 50_000,
};
const MS: Duration = Duration::from_millis(1);

struct Sender {
    stream: Stream,
    now: Instant,
}

impl Sender {
    fn new() -> Sender {
        let mut stream = Stream::new(IDS);
        let payload = |from, to, clock_hz| Payload { from, to, clock_hz };
        stream.set_payloads(&[payload(8, 8, 8000), payload(101, 126, 8000)]);
        let now = Instant::now();
        Sender { stream, now }
    }

    fn send_as(&mut self, pt: u8, ssrc: u32, sequence: u16, timestamp: u32) -> Option<rtp::Header> {
        let mut bytes = vec![0x80, pt];
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(timestamp.to_be_bytes());
        bytes.extend(ssrc.to_be_bytes());
        bytes.extend(b"payload");
        let mut buffer = [0; 100];
        let mut packet = packet(&mut buffer, &bytes);
        match self.stream.forward(self.now, &mut packet) {
            Forward::Send => rtp::Header::parse(packet.bytes()),
            Forward::Drop => None,
        }
    }

    /// Our sequence and timestamp.
    fn send(&mut self, ssrc: u32, sequence: u16, timestamp: u32) -> Option<(u16, u32)> {
        self.send_as(8, ssrc, sequence, timestamp)
            .map(|h| (h.sequence, h.timestamp))
    }
}

#[test]
fn begins_with_our_ids_and_maps_payload_types() {
    let mut sender = Sender::new();
    let header = sender.send_as(8, 1, 65_535, 7).unwrap();
    assert_eq!((header.ssrc, header.sequence), (0xaaaa, 1000));
    assert_eq!((header.timestamp, header.payload_type), (50_000, 8));
    assert!(header.marker);
    let header = sender.send_as(101, 1, 0, 167).unwrap();
    assert_eq!((header.sequence, header.timestamp), (1001, 50_160));
    assert_eq!((header.payload_type, header.marker), (126, false));
}

#[test]
fn losses_and_disorder_pass_as_they_are() {
    let mut sender = Sender::new();
    assert_eq!(sender.send(1, 10, 0), Some((1000, 50_000)));
    assert_eq!(sender.send(1, 13, 480), Some((1003, 50_480)));
    assert_eq!(sender.send(1, 12, 320), Some((1002, 50_320)));
    assert_eq!(sender.stream.stats().lost, 1);
}

#[test]
fn what_is_not_negotiated_leaves_no_hole() {
    let mut sender = Sender::new();
    assert_eq!(sender.send(1, 10, 0), Some((1000, 50_000)));
    assert_eq!(sender.send_as(13, 1, 11, 160), None);
    assert_eq!(sender.send_as(99, 77, 900, 1), None, "another source's");
    assert_eq!(sender.send(1, 12, 320), Some((1001, 50_320)));
    assert_eq!(sender.stream.stats().lost, 0);
}

#[test]
fn another_source_goes_on_where_the_last_one_was() {
    let mut sender = Sender::new();
    sender.send(1, 10, 0);
    sender.send(1, 11, 160);
    sender.now += 2000 * MS;
    // 2 s of silence are 16,000 units.
    assert_eq!(sender.send(2, 60_000, 9), Some((1002, 50_160 + 16_000)));
    assert_eq!(sender.stream.source(), Some(2));
    assert_eq!(sender.send(1, 12, 320), None, "a late one of the first");
    assert_eq!(sender.send(2, 60_001, 169), Some((1003, 66_320)));
    sender.now += 600 * MS;
    assert_eq!(sender.send(1, 13, 480).map(|(s, _)| s), Some(1004), "back");
    let stats = sender.stream.stats();
    assert_eq!((stats.packets, stats.lost), (5, 0));
}

#[test]
fn another_sequence_of_the_same_source_goes_on_where_the_last_one_was() {
    let mut sender = Sender::new();
    sender.send(1, 30_000, 0);
    assert_eq!(sender.send(1, 5, 160), None, "may be a stray one");
    assert_eq!(sender.send(1, 6, 320), Some((1001, 50_000)));
    assert_eq!(sender.send(1, 7, 480), Some((1002, 50_160)));
}

#[test]
fn header_extensions_stay_on_their_leg_and_csrcs_pass() {
    let mut sender = Sender::new();
    let mut bytes = vec![0x91, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 9, 9, 9, 9];
    bytes.extend([0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
    bytes.extend(b"payload");
    let mut buffer = [0; 100];
    let mut packet = packet(&mut buffer, &bytes);
    let forward = sender.stream.forward(sender.now, &mut packet);
    assert_eq!(forward, Forward::Send);
    let header = rtp::Header::parse(packet.bytes()).unwrap();
    assert_eq!((header.ssrc, header.payload.clone()), (0xaaaa, 16..23));
    assert_eq!(packet.bytes()[0], 0x81);
    assert_eq!(&packet.bytes()[12..], b"\x09\x09\x09\x09payload");
}

#[test]
fn what_is_no_rtp_goes_nowhere() {
    let mut sender = Sender::new();
    for bytes in [&b""[..], b"\x80\x08", &[0; 40]] {
        let mut buffer = [0; 100];
        let mut packet = packet(&mut buffer, bytes);
        let forward = sender.stream.forward(sender.now, &mut packet);
        assert_eq!(forward, Forward::Drop);
    }
    sender.stream.set_payloads(&[]);
    assert_eq!(sender.send(1, 1, 1), None);
}
