//! Any bytes as a message: read by every view, answered, redacted, edited. Nothing panics, and what we answer can be read.

use bytes::Bytes;
use hookswitch_sip::{
    framing::{Frame, datagram},
    limits::Limits,
    message::{
        Fault, HeaderName,
        HeaderName::{CallId, From, To},
        Message,
    },
    redact::redact,
};

use super::read;

/// Between two of these stands what is said as often as it fits: so a short input is a long message, and a parser that looks at its
/// bytes again and again is slow enough to be seen.
const AGAIN: u8 = 0x1e;
const STRETCHED_BYTES_MAX: usize = 65_535;
const WIDE: Limits = Limits {
    message_bytes_max: STRETCHED_BYTES_MAX,
    header_count_max: STRETCHED_BYTES_MAX,
    header_line_bytes_max: STRETCHED_BYTES_MAX,
    body_bytes_max: STRETCHED_BYTES_MAX,
};

pub(crate) fn run(data: &[u8]) {
    let (limits, bytes) = match stretched(data) {
        Some(long) => (WIDE, long),
        None => (Limits::default(), data.to_vec()),
    };
    let bytes = Bytes::from(bytes);
    let _ = redact(&bytes);
    let Frame::Message(framed) = datagram(bytes) else {
        return;
    };
    match Message::parse(framed, &limits) {
        Ok(message) => {
            read::all(&message);
            assert!(message.is_answerable() || !is_answered(&message));
            answer(
                &Message::response_to(&message, 486, "Busy\r\nX: y", Some("t")),
                &limits,
            );
            forward(message, &limits);
        }
        Err(error) => {
            if let Some(message) = error.answerable.as_deref() {
                read::all(message);
            }
            if let Some(response) = error.response(Some("t")) {
                answer(&response, &limits);
            }
        }
    }
}

fn stretched(data: &[u8]) -> Option<Vec<u8>> {
    let mut parts = data.splitn(3, |byte| *byte == AGAIN);
    let (before, unit, after) = (parts.next()?, parts.next()?, parts.next()?);
    let room = STRETCHED_BYTES_MAX.checked_sub(before.len() + after.len())?;
    let times = room.checked_div(unit.len())?;
    Some([before, &unit.repeat(times), after].concat())
}

fn is_answered(message: &Message) -> bool {
    message
        .method()
        .is_some_and(|method| method.as_str() != "ACK")
}

/// What it copies may be malformed, but its lines are whole.
fn answer(response: &Message, limits: &Limits) {
    let bytes = response.to_bytes();
    assert_eq!(bytes.len(), response.size() + missing_length(response));
    let wide = Limits {
        message_bytes_max: Limits::MESSAGE_BYTES_MAX,
        header_line_bytes_max: Limits::MESSAGE_BYTES_MAX,
        ..*limits
    };
    match Message::parse(bytes, &wide) {
        Ok(read) => assert_eq!(read.status(), response.status()),
        Err(error) => assert!(
            matches!(
                error.fault,
                Fault::Malformed(From | To | CallId) | Fault::TooManyHeaders
            ),
            "{error}"
        ),
    }
}

/// The line that `to_bytes` adds.
fn missing_length(message: &Message) -> usize {
    match message.contains(HeaderName::ContentLength) {
        true => 0,
        false => format!("Content-Length: {}\r\n", message.body().len()).len(),
    }
}

/// What every proxy does to a request or response can be done, and the next hop can read it.
fn forward(mut message: Message, limits: &Limits) {
    let wide = Limits {
        message_bytes_max: limits.message_bytes_max + 256,
        header_count_max: limits.header_count_max + 3,
        ..*limits
    };
    assert!(
        message
            .prepend(HeaderName::Via, "SIP/2.0/UDP me;branch=z9hG4bK0")
            .is_ok()
    );
    assert!(message.set(HeaderName::MaxForwards, "69").is_ok());
    assert!(message.append("X-Ours", "1").is_ok());
    let next = Message::parse(message.to_bytes(), &wide);
    let mut next =
        next.unwrap_or_else(|error| panic!("{error}: {}", message.to_bytes().escape_ascii()));
    assert_eq!(next.body(), message.body());
    assert_eq!(next.remove_first_value("v"), Ok(true));
    assert_eq!(next.remove("x-ours"), 1);
    while next
        .remove_first_values(HeaderName::Route, 3)
        .is_ok_and(|removed| removed > 0)
    {}
    assert!(
        next.replace_first_value(HeaderName::Contact, "<sip:me>")
            .is_ok()
    );
}
