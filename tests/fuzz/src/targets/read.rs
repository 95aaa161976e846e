//! Reads all that can be read of a message, for targets that want nothing but that it can.

use hookswitch_sip::{
    header::{CSeq, Contact, NameAddr, TokenParams, Via, unquote},
    message::{HeaderName, Message, unfold},
    uri::unescape,
};

/// Names whose values are read one by one: lists, single fields, and those that nobody knows.
const NAMES: [&str; 10] = [
    "Via",
    "Route",
    "Record-Route",
    "Contact",
    "Path",
    "Supported",
    "Reason",
    "Warning",
    "Subject",
    "X-Unknown",
];

pub(crate) fn all(message: &Message) {
    let _ = (
        message.method(),
        message.request_uri(),
        message.status(),
        message.reason(),
    );
    let _ = (
        message.top_via(),
        message.cseq(),
        message.call_id(),
        message.from(),
        message.to(),
    );
    let _ = (
        message.from_uri(),
        message.to_uri(),
        message.from_tag(),
        message.to_tag(),
    );
    let _ = (
        message.max_forwards(),
        message.content_length(),
        message.is_answerable(),
    );
    let _ = (
        message.number::<u32>(HeaderName::Expires),
        format!("{message:?}"),
    );
    for header in message.headers() {
        value(header.value);
    }
    for name in NAMES {
        let _ = (message.count(name), message.header(name));
        message.values(name).for_each(value);
    }
}

/// As each of the views.
pub(crate) fn value(value: &[u8]) {
    let _ = (CSeq::parse(value), Contact::parse(value), unfold(value));
    if let Ok(via) = Via::parse(value) {
        let _ = (via.branch(), via.rport(), via.sent_by.host.to_string());
    }
    if let Ok(value) = TokenParams::parse(value) {
        let values = value.params.iter().filter_map(|(_, value)| value);
        values.for_each(|value| drop(unquote(value)));
    }
    if let Ok(address) = NameAddr::parse(value) {
        let _ = (address.display(), address.q(), address.expires());
        let _ = (address.instance(), address.reg_id(), address.tag());
        assert!(address.parsed_uri().is_ok(), "`parse` has checked it");
        let _ = unescape(address.uri);
    }
}
