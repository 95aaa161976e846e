//! RFC 5769's messages, and what is no message.

use super::*;
use crate::testing::hex;

/// RFC 5769 §2.1: password `VOkJxbRl1RmTxUk/WvJxBt`.
const REQUEST: &str = concat!(
    "000100582112a442b7e7a701bc34d686fa87dfae",
    "802200105354554e207465737420636c69656e74",
    "002400046e0001ff",
    "80290008932ff9b151263b36",
    "000600096576746a3a68367659202020",
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2",
    "80280004e57a3bcf"
);
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

#[test]
fn reads_the_request_of_rfc_5769() {
    let bytes = hex(REQUEST);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.kind, Kind::Request);
    assert_eq!(message.ufrags(), Some(("evtj", "h6vY")));
    assert!(message.is_authentic(PASSWORD));
    assert!(!message.is_authentic("another"));
    assert!(message.is_from_controlled() && !message.nominates());
    assert_eq!(message.unknown(), []);
    assert_eq!(asked_ufrag(&bytes), Some("evtj"));
}

/// §2.2 and §2.3, but for SOFTWARE, which we do not send: the mapped address is theirs.
#[test]
fn maps_addresses_as_rfc_5769() {
    let transaction = hex("b7e7a701bc34d686fa87dfae").try_into().unwrap();
    let mapped = |address: &str| {
        let builder = Builder::new(Kind::Success, transaction);
        let bytes = builder
            .xor_mapped_address(address.parse().unwrap())
            .integrity(PASSWORD)
            .finish();
        assert!(Message::parse(&bytes).unwrap().is_authentic(PASSWORD));
        let len = usize::from(bytes[23]);
        bytes[24..24 + len].to_vec()
    };
    assert_eq!(mapped("192.0.2.1:32853"), hex("0001a147e112a643"));
    assert_eq!(
        mapped("[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        hex("0002a1470113a9faa5d3f179bc25f4b5bed2b9d9")
    );
    assert_eq!(mapped("[::ffff:192.0.2.1]:32853"), hex("0001a147e112a643"));
}

#[test]
fn refuses_what_is_changed_or_cut() {
    let bytes = hex(REQUEST);
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        // Only the four bytes before the last four are covered by nothing: the type and length of FINGERPRINT.
        let authentic = Message::parse(&changed).is_some_and(|m| m.is_authentic(PASSWORD));
        assert!(!authentic || bit / 8 / 4 == bytes.len() / 4 - 2, "{bit}");
    }
    for len in 0..bytes.len() {
        assert!(Message::parse(&bytes[..len]).is_none(), "{len}");
    }
}

#[test]
fn believes_nothing_behind_the_integrity() {
    let bytes = Builder::new(Kind::Request, [7; 12])
        .attribute(a::USERNAME, b"us:them")
        .integrity("secret")
        .attribute(a::USE_CANDIDATE, b"")
        .finish();
    let message = Message::parse(&bytes).unwrap();
    assert!(message.is_authentic("secret") && !message.nominates());
}

#[test]
fn lists_what_it_must_understand_and_does_not() {
    let bytes = Builder::new(Kind::Request, [7; 12])
        .attribute(0x0030, b"new")
        .attribute(0xc057, b"cost")
        .finish();
    assert_eq!(Message::parse(&bytes).unwrap().unknown(), [0x0030]);
}

#[test]
fn tells_an_error() {
    let bytes = Builder::new(Kind::Error, [7; 12]).error(487).finish();
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.kind, message.error()), (Kind::Error, Some(487)));
    assert!(!message.has_integrity());
}
