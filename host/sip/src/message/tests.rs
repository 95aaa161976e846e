//! A message, read and edited.

use bytes::Bytes;

use super::*;
use crate::limits::Limits;

const INVITE: &str = "INVITE sip:bob@biloxi.example SIP/2.0\r\n\
    v: SIP/2.0/UDP a.example;branch=z9hG4bK1 ,SIP/2.0/WSS b.invalid;branch=z9hG4bK2\r\n\
    X-Odd  :\tkept   as is \r\n\
    Max-Forwards: 70\r\n\
    f: \"A\" <sip:a@h>;tag=1\r\n\
    t: <sip:b@h>\r\n\
    Call-ID: c1\r\n\
    CSEQ: 1\r\n  INVITE\r\n\
    Content-Length: 4\r\n\
    \r\nbody";

fn parse(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
}

fn text(message: &Message) -> String {
    String::from_utf8(message.to_bytes().to_vec()).unwrap()
}

#[test]
fn untouched_bytes_leave_as_they_came() {
    let message = parse(INVITE);
    assert_eq!(text(&message), INVITE);
    assert_eq!(message.method(), Some(Method::Invite));
    assert_eq!(message.request_uri(), Some("sip:bob@biloxi.example"));
    assert_eq!(message.top_via().unwrap().branch(), Some("z9hG4bK1"));
    assert_eq!(message.values("Via").count(), 2);
    assert_eq!(message.cseq().unwrap().number, 1);
    assert_eq!(
        message.header("x-odd").as_deref(),
        Some(&b"kept   as is"[..])
    );
    assert_eq!(
        (message.from_tag(), message.to_tag(), message.max_forwards()),
        (Some("1"), None, Some(70))
    );
    assert_eq!(*message.body(), "body");
}

#[test]
fn the_top_via_is_pushed_and_popped() {
    let mut message = parse(INVITE);
    message
        .prepend(HeaderName::Via, "SIP/2.0/UDP me;branch=z9hG4bK0")
        .unwrap();
    assert_eq!(message.top_via().unwrap().branch(), Some("z9hG4bK0"));
    assert!(message.remove_first_value(HeaderName::Via));
    assert_eq!(text(&message), INVITE);
    assert!(message.remove_first_value(HeaderName::Via));
    assert!(
        text(&message).contains("\r\nv: SIP/2.0/WSS b.invalid;branch=z9hG4bK2\r\nX-Odd  :\tkept")
    );
}
