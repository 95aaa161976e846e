//! What must hold of a session description that an end is told, whatever the other one said.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hookswitch_media::{
    Ask, Direction, Leg, Role,
    sdp::{RtcpPort, Session},
};

use super::room::{INSIDE, PORTS, WEB_ADDRESS};

/// All that a SIP end is told of; what WebRTC alone has is not among it.
const PLAIN: [&str; 11] = [
    "rtpmap", "fmtp", "ptime", "rtcp-fb", "crypto", "rtcp-mux", "rtcp", "sendrecv", "sendonly",
    "recvonly", "inactive",
];

/// How many sections the offers had, by call, that who called has made, and who was called.
pub(crate) type Offered = [BTreeMap<Arc<str>, BTreeSet<usize>>; 2];

/// Gives it as text.
pub(crate) fn check(ask: &Ask, sdp: &[u8], offered: &mut Offered) -> String {
    let text = String::from_utf8(sdp.to_vec());
    let text = text.unwrap_or_else(|error| panic!("told in no UTF-8: {error}"));
    let told = Session::parse(sdp).unwrap_or_else(|error| panic!("{error}: {text}"));
    lines(&text);
    match ask.recipient() {
        Leg::Web => web(&told, &text),
        Leg::Sip(_) => plain(&told, &text),
    }
    let said = Session::parse(&ask.sdp).unwrap_or_else(|error| panic!("{error} was told on"));
    let call = Arc::clone(&ask.branch.call);
    match (ask.role, ask.direction) {
        (Role::Offer, direction) => {
            assert!(
                told.sections.len() >= said.sections.len(),
                "sections are gone: {text}"
            );
            let counts = &mut offered[side(direction)].entry(call).or_default();
            counts.insert(said.sections.len());
        }
        (Role::Answer, direction) => {
            let counts = offered[1 - side(direction)].get(&call);
            let is_asked = counts.is_some_and(|counts| counts.contains(&told.sections.len()));
            assert!(
                is_asked,
                "an answer with other sections than the offer: {text}"
            );
        }
    }
    text
}

/// Who speaks what travels so.
fn side(direction: Direction) -> usize {
    match direction {
        Direction::ToCallee => 0,
        Direction::ToCaller => 1,
    }
}

/// Nothing that ends a line but what ends all lines.
fn lines(text: &str) {
    let rest = text.replace("\r\n", "");
    assert!(
        !rest.contains(['\r', '\n', '\0']),
        "{}",
        text.escape_debug()
    );
    for line in text.lines() {
        assert!(
            matches!(line.as_bytes(), [b'a'..=b'z', b'=', ..]),
            "{line:?}"
        );
    }
}

fn attributes(text: &str) -> impl Iterator<Item = &str> {
    let attributes = text.lines().filter_map(|line| line.strip_prefix("a="));
    attributes.map(|attribute| attribute.split(':').next().unwrap_or_default())
}

fn plain(told: &Session, text: &str) {
    for name in attributes(text) {
        assert!(PLAIN.contains(&name), "a={name} to a SIP end: {text}");
    }
    let active = told.sections.iter().filter(|section| !section.is_refused());
    for section in active {
        let address = section.address.map(|address| address.to_string());
        assert!(
            address.is_some_and(|address| INSIDE.contains(&address.as_str())),
            "{text}"
        );
        assert!(section.port >= PORTS && section.port % 2 == 0, "{text}");
        assert_eq!(
            section.is_rtp(),
            section.codecs.iter().any(|codec| !codec.is_auxiliary()),
            "{text}"
        );
    }
}

fn web(told: &Session, text: &str) {
    assert!(attributes(text).any(|name| name == "ice-lite"), "{text}");
    let ours: Vec<&str> = text.lines().filter(|line| line.starts_with("o=")).collect();
    assert!(
        matches!(ours[..], [line] if line.ends_with("IN IP4 127.0.0.1")),
        "{text}"
    );
    let mut tags = BTreeSet::new();
    for section in told.sections.iter().filter(|section| !section.is_refused()) {
        let web = section.web.as_ref();
        let web = web.unwrap_or_else(|| panic!("no credentials or fingerprint: {text}"));
        let address = WEB_ADDRESS.parse();
        let first = web.candidates.first().map(|first| first.address);
        assert_eq!(first, address.ok(), "{text}");
        assert_eq!(section.rtcp, RtcpPort::Muxed, "{text}");
        let tag = section.mid.as_ref();
        let tag = tag.unwrap_or_else(|| panic!("no tag: {text}"));
        assert!(tags.insert(tag), "a tag twice: {text}");
    }
}
