//! What peers say and policies write: mostly right, and then bent by the bytes.

use bytes::Bytes;
use hookswitch_sip::{
    edit,
    header::NameAddr,
    limits::Limits,
    message::{HeaderName, Message},
};

use super::{
    login,
    peers::{Peer, VICTIM},
};
use crate::Choices;

const METHODS: [&str; 14] = [
    "INVITE",
    "REGISTER",
    "MESSAGE",
    "INVITE",
    "SUBSCRIBE",
    "OPTIONS",
    "BYE",
    "ACK",
    "CANCEL",
    "PRACK",
    "UPDATE",
    "NOTIFY",
    "REFER",
    "FOO",
];
const URIS: [&str; 12] = [
    "sip:bob@test",
    "sip:100@pbx.test.org",
    "sip:test",
    "sip:alice@test",
    "sip:192.0.2.1:5060",
    "sip:x@198.51.100.66",
    "sips:bob@test",
    "tel:+1201",
    "urn:service:sos",
    "sip:bob@test;transport=tcp",
    "sip:c.AAAA@192.0.2.1",
    "sip:x@198.51.100.66:5060;maddr=198.51.100.66",
];
const ADDRESSES: [&str; 5] = [
    "<sip:alice@test>",
    "<sip:bob@test>",
    "\"A, B\" <sip:100@pbx.test.org>",
    "sip:eve@198.51.100.66",
    "<tel:+1201>",
];
const CONTACTS: [&str; 8] = [
    "",
    "Contact: <sip:1@x.invalid;transport=ws>\r\n",
    "Contact: <sip:2@y.invalid>;expires=60, <sip:3@z.invalid>;q=0.1\r\n",
    "Contact: *\r\n",
    "Contact: <sip:e@198.51.100.66:5060>;+sip.instance=\"<urn:uuid:1>\";reg-id=1\r\n",
    "Contact: <sip:1@x.invalid>;expires=0\r\n",
    "m: sip:1@x.invalid;ob\r\n",
    "Contact: <urn:x:y>\r\n",
];
const MORE: [&str; 13] = [
    "",
    "Max-Forwards: 0\r\n",
    "Max-Forwards: 1\r\n",
    "Expires: 0\r\n",
    "Expires: 4294967295\r\n",
    "Require: foo\r\n",
    "Proxy-Require: bar, baz\r\n",
    "Supported: path, outbound\r\n",
    "Path: <sip:198.51.100.66;lr>\r\n",
    "P-Asserted-Identity: <sip:boss@test>\r\n",
    "Via: SIP/2.0/UDP 198.51.100.66;branch=z9hG4bKv\r\n",
    "Event: presence\r\nAllow-Events: x\r\n",
    "Via: broken\r\n",
];
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\n";
const STATUSES: [u16; 16] = [
    200, 180, 100, 183, 486, 404, 503, 603, 302, 401, 407, 487, 408, 481, 430, 423,
];

/// A request that begins something, perhaps with a Route set or an alias that was seen.
pub(super) fn request(
    choices: &mut Choices<'_>,
    from: Peer,
    seen: &[(Peer, Message)],
) -> Option<Message> {
    let method = choices.pick(&METHODS);
    let uri = choices.pick(&URIS);
    let branch = branch(choices);
    let (caller, callee) = (choices.pick(&ADDRESSES), choices.pick(&ADDRESSES));
    let (call, cseq) = (choices.below(3), choices.below(4));
    let to_tag = choices.pick(&["", ";tag=b", "", ";tag=c"]);
    let route = match choices.below(8) {
        0 => "Route: <sip:198.51.100.66;lr>\r\n".to_owned(),
        1 => "Route: <sip:proxy.test;lr>\r\n".to_owned(),
        2 => "Route: <sip:AAAA@192.0.2.1;lr>, <sip:192.0.2.10:5060;lr>\r\n".to_owned(),
        3 => seen
            .get(choices.below(seen.len().clamp(1, 256)))
            .map(|(_, message)| routes(message))
            .unwrap_or_default(),
        _ => String::new(),
    };
    let (contact, more) = (choices.pick(&CONTACTS), choices.pick(&MORE));
    let via = from.via();
    let head = format!(
        "{method} {uri} SIP/2.0\r\nVia: {via}{branch}\r\nFrom: {caller};tag=a\r\nTo: {callee}{to_tag}\r\nCall-ID: {call}@call\r\n\
         CSeq: {cseq} {method}\r\n{route}{contact}{more}"
    );
    parse(choices, head)
}

fn branch(choices: &mut Choices<'_>) -> String {
    match choices.below(8) {
        0 => String::new(),
        1 => ";branch=old".to_owned(),
        number => format!(";branch=z9hG4bK{number}"),
    }
}

/// An answer to what somebody got, with the route that it recorded.
pub(super) fn response(choices: &mut Choices<'_>, asked: &Message) -> Option<Message> {
    let status = STATUSES[choices.below(STATUSES.len())];
    let tag = choices.pick(&["b", "c", "d"]);
    let response = Message::response_to(asked, status, "", Some(tag));
    let mut head = String::from_utf8_lossy(&response.to_bytes()).into_owned();
    head.truncate(head.find("Content-Length").unwrap_or_default());
    for route in asked.values(HeaderName::RecordRoute) {
        head += &format!("Record-Route: {}\r\n", String::from_utf8_lossy(route));
    }
    match status {
        401 | 407 => head += &login::challenge(choices),
        423 => head += &format!("Min-Expires: {}\r\n", 30 * choices.below(256)),
        // What a registrar grants.
        200 if asked
            .method()
            .is_some_and(|method| method.as_str() == "REGISTER") =>
        {
            let granted = [0, 60, 3_600][choices.below(3)];
            let ours = String::from_utf8_lossy(asked.raw(HeaderName::Contact).unwrap_or_default());
            head += &format!("Contact: {ours};expires={granted}\r\n");
        }
        _ => {}
    }
    head += choices.pick(&CONTACTS);
    head += choices.pick(&[
        "",
        "RSeq: 1\r\nRequire: 100rel\r\n",
        "",
        "Via: SIP/2.0/UDP 198.51.100.66\r\n",
        "Path: <sip:a>\r\n",
    ]);
    parse(choices, head)
}

/// A request of the dialog that `of` made, from whoever got or sent it.
pub(super) fn in_dialog(choices: &mut Choices<'_>, peer: Peer, of: &Message) -> Option<Message> {
    let methods = [
        "ACK",
        "BYE",
        "INVITE",
        "CANCEL",
        "PRACK",
        "UPDATE",
        "INFO",
        "NOTIFY",
        "REFER",
        "SUBSCRIBE",
    ];
    let method = choices.pick(&methods);
    let text = |name| String::from_utf8_lossy(of.raw(name).unwrap_or_default()).into_owned();
    let (mut from, mut to) = (text(HeaderName::From), text(HeaderName::To));
    let (branch, cseq) = match choices.below(3) {
        // Of the same transaction, as ACK and CANCEL are.
        0 => (
            of.top_via()?
                .branch()
                .map(|branch| format!(";branch={branch}"))?,
            of.cseq()?.number,
        ),
        _ => (branch(choices), choices.below(6) as u32),
    };
    if choices.once_in(2) {
        std::mem::swap(&mut from, &mut to);
    }
    if choices.once_in(4) {
        to += ";tag=b";
    }
    let uri = match choices.below(3) {
        0 => of.request_uri().unwrap_or("sip:bob@test").to_owned(),
        1 => contact(of).unwrap_or_else(|| "sip:1@x.invalid".to_owned()),
        _ => format!("sip:x@{VICTIM}"),
    };
    let mut route = routes(of);
    if choices.once_in(8) {
        route += "Route: <sip:198.51.100.66;lr>\r\n";
    }
    let (via, call, more) = (
        peer.via(),
        text(HeaderName::CallId),
        choices.pick(&CONTACTS),
    );
    let head = format!(
        "{method} {uri} SIP/2.0\r\nVia: {via}{branch}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n\
         {route}{more}"
    );
    parse(choices, head)
}

fn contact(of: &Message) -> Option<String> {
    let value = of.values(HeaderName::Contact).next()?;
    Some(NameAddr::parse(value).ok()?.uri.to_owned())
}

/// The Route set that `message` makes for who sends it and who gets it.
fn routes(message: &Message) -> String {
    let recorded = message.values(HeaderName::RecordRoute);
    let mut routes: Vec<String> = recorded
        .map(|route| format!("Route: {}\r\n", String::from_utf8_lossy(route)))
        .collect();
    if !message.is_request() {
        routes.reverse();
    }
    routes.concat()
}

/// With a body or without one, and bent.
fn parse(choices: &mut Choices<'_>, mut head: String) -> Option<Message> {
    let body = if choices.once_in(3) { SDP } else { "" };
    if !body.is_empty() {
        head += "Content-Type: application/sdp\r\n";
    }
    let mut bytes = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes();
    for _ in 0..choices.below(6).saturating_sub(3) {
        bend(choices, &mut bytes);
    }
    Message::parse(Bytes::from(bytes), &Limits::default()).ok()
}

fn bend(choices: &mut Choices<'_>, bytes: &mut Vec<u8>) {
    let at = usize::from(choices.number()) % (bytes.len() + 1);
    let end = (at + choices.below(4)).min(bytes.len());
    let with: &[u8] = match choices.below(12) {
        0 => b"\r\n ",
        1 => b"\r\nX: y\r\n",
        2 => b",",
        3 => b";",
        4 => b"\"",
        5 => b">",
        6 => b"\xff",
        7 => b"%40",
        8 => b"0",
        9 => b"\r\nRoute: ",
        10 => b"\r\nv: SIP/2.0/UDP h, ",
        _ => b"",
    };
    drop(bytes.splice(at..end, with.iter().copied()));
}

/// What a policy may do to a message.
pub(super) fn edit(choices: &mut Choices<'_>, message: &mut Message) {
    let limits = Limits::default();
    for _ in 0..choices.below(3) {
        let name = choices.pick(&[
            "Subject",
            "X-New",
            "P-Asserted-Identity",
            "Supported",
            "Require",
            "Via",
        ]);
        let value = choices.pick(&["a", "", "<sip:a@h>, <sip:b@h>", "100rel"]);
        let _ = match choices.below(8) {
            0 => edit::set_header(message, &limits, name, value),
            1 => edit::append_header(message, &limits, name, value),
            2 => edit::prepend_header(message, &limits, name, value),
            3 => edit::remove_header(message, name),
            4 => edit::set_request_uri(message, &limits, choices.pick(&URIS)),
            5 => edit::set_from(message, &limits, Some("N"), choices.pick(&URIS)),
            6 => edit::set_to(message, &limits, None, choices.pick(&URIS)),
            _ => edit::set_body(
                message,
                &limits,
                Some(("text/plain", Bytes::from_static(b"x"))),
            ),
        };
    }
}
