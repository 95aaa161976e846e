//! Values and URIs: written again from their parts they are read the same, and what a policy writes is what the next one reads.

use std::fmt::Write;

use bytes::Bytes;
use hookswitch_sip::{
    edit,
    header::{CSeq, NameAddr, Params, TokenParams, Via},
    limits::Limits,
    message::{Message, unfold},
    uri::{Host, SipUri, Uri},
};

use super::read;

/// Edited by policies' ways.
const INVITE: &[u8] = b"INVITE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\nFrom: \"A\" <sip:a@example.com>;tag=1\r\n\
    To: <sip:b@example.com>;x=y\r\nCall-ID: c@h\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

pub(crate) fn run(data: &[u8]) {
    read::value(data);
    let unfolded = unfold(data);
    assert_eq!(unfold(&unfolded), unfolded);
    if let Ok(cseq) = CSeq::parse(data) {
        let again = format!("{} {}", cseq.number, cseq.method);
        assert_eq!(CSeq::parse(again.as_bytes()), Ok(cseq));
    }
    if let Ok(via) = Via::parse(data) {
        let (transport, sent_by) = (via.transport, via.sent_by.text);
        let again = format!("SIP/2.0/{transport} {sent_by}{}", params(via.params));
        assert_eq!(Via::parse(again.as_bytes()), Ok(via));
        host(via.sent_by.host);
    }
    if let Ok(value) = TokenParams::parse(data) {
        let again = format!("{}{}", value.token, params(value.params));
        assert_eq!(TokenParams::parse(again.as_bytes()), Ok(value));
    }
    if let Ok(address) = NameAddr::parse(data) {
        name_addr(&address);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        text_of_policies(text);
    }
}

fn name_addr(address: &NameAddr<'_>) {
    let rest = format!(" <{}>{}", address.uri, params(address.params));
    let again = [address.display_name, rest.as_bytes()].concat();
    assert_eq!(NameAddr::parse(&again), Ok(*address));
    assert!(address.q().is_none_or(|q| q <= 1000));
}

fn text_of_policies(text: &str) {
    if let Ok(parsed) = Uri::parse(text) {
        uri(text, parsed);
    }
    let mut message = Message::parse(Bytes::from_static(INVITE), &Limits::default())
        .unwrap_or_else(|error| unreachable!("a whole INVITE: {error}"));
    let limits = Limits::default();
    if edit::set_header(&mut message, &limits, "Subject", text).is_ok() {
        assert_eq!(
            message.raw("Subject"),
            Some(hookswitch_sip::message::trim(text.as_bytes()))
        );
    }
    let (display, address) = text.split_once('|').unwrap_or((text, "sip:x@y"));
    if edit::set_from(&mut message, &limits, Some(display), address).is_ok() {
        let from = message
            .from()
            .unwrap_or_else(|| panic!("From cannot be read"));
        assert_eq!(from.display().as_deref(), Some(display));
        assert_eq!((from.uri, from.tag()), (address, Some("1")));
    }
    if edit::set_to(&mut message, &limits, None, text).is_ok() {
        let to = message.to().unwrap_or_else(|| panic!("To cannot be read"));
        assert_eq!((to.uri, to.params.get("x")), (text, Some("y")));
    }
    if edit::set_request_uri(&mut message, &limits, text).is_ok() {
        assert_eq!(message.request_uri(), Some(text));
    }
    let read = Message::parse(message.to_bytes(), &limits);
    let read =
        read.unwrap_or_else(|error| panic!("{error}: {}", message.to_bytes().escape_ascii()));
    assert_eq!(read.request_uri(), message.request_uri());
    assert_eq!((read.from(), read.to()), (message.from(), message.to()));
}

fn uri(text: &str, parsed: Uri<'_>) {
    match parsed {
        Uri::Sip(sip) => {
            let again = print(&sip);
            assert_eq!(Uri::parse(&again), Ok(parsed), "{again}");
            host(sip.host);
        }
        Uri::Tel(tel) => {
            let again = format!("tel:{}{}", tel.number, params(tel.params));
            assert_eq!(Uri::parse(&again), Ok(parsed));
        }
        Uri::Other(other) => assert_eq!(format!("{}:{}", other.scheme, other.rest), text),
    }
}

fn print(sip: &SipUri<'_>) -> String {
    let mut out = format!("{}:", sip.scheme);
    if let Some(user) = sip.user {
        out += user;
        if let Some(password) = sip.password {
            let _ = write!(out, ":{password}");
        }
        out += "@";
    }
    let _ = write!(out, "{}", sip.host);
    if let Some(port) = sip.port {
        let _ = write!(out, ":{port}");
    }
    out += &params(sip.params);
    if let Some(headers) = sip.headers {
        let _ = write!(out, "?{headers}");
    }
    out
}

fn params(params: Params<'_>) -> String {
    match params.as_str() {
        "" => String::new(),
        params => format!(";{params}"),
    }
}

fn host(host: Host<'_>) {
    let text = host.to_string();
    assert!(
        Host::parse(&text).is_ok_and(|again| again.is_same(host)),
        "{text}"
    );
}
