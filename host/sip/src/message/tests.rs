//! A message, read and edited.

use bytes::Bytes;
use expect_test::{Expect, expect};

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
    assert_eq!(message.remove_first_value(HeaderName::Via), Ok(true));
    assert_eq!(text(&message), INVITE);
    assert_eq!(message.remove_first_value(HeaderName::Via), Ok(true));
    assert!(
        text(&message).contains("\r\nv: SIP/2.0/WSS b.invalid;branch=z9hG4bK2\r\nX-Odd  :\tkept")
    );
}

#[test]
fn many_values_go_at_once_and_what_is_left_is_written_once() {
    let route = "<sip:192.0.2.1>,".repeat(500);
    let routes = || {
        let mut message = parse(INVITE);
        message.set("Route", format!("{route}<sip:a>")).unwrap();
        message.append("Route", "<sip:b>, <sip:c>").unwrap();
        message
    };
    let mut message = routes();
    let before = message.edits.len();
    assert_eq!(message.remove_first_values("Route", 502), Ok(502));
    assert_eq!(message.header("Route").as_deref(), Some(&b"<sip:c>"[..]));
    assert!(message.edits.len() < before + 40);
    assert_eq!(message.remove_first_values("Route", 2), Ok(1));
    // One by one each is written again, up to the limit.
    let mut message = routes();
    let removed = (0..500).map(|_| message.remove_first_value("Route"));
    assert_eq!(removed.last(), Some(Err(MessageError::TooLarge)));
    assert!(message.edits.len() <= 1024 * 1024);
}

/// The message after `edit`, and what that returned.
fn check<T>(edit: impl FnOnce(&mut Message) -> T, expected: Expect) -> T {
    let mut message = parse(INVITE);
    let returned = edit(&mut message);
    expected.assert_eq(&text(&message).replace("\r\n", "\n"));
    returned
}

#[test]
fn values_of_lists_are_removed_and_replaced_one_by_one() {
    let removed = check(
        |message| {
            message
                .set("Route", "<sip:a;lr>, \"x,y\" <sip:b,c;lr> ,<sip:d>")
                .unwrap();
            message.replace_first_value("Route", "<sip:new>").unwrap();
            message
                .replace_first_value(
                    HeaderName::Via,
                    "SIP/2.0/UDP a;branch=z9hG4bK1;received=192.0.2.1",
                )
                .unwrap();
            message
                .replace_first_value(HeaderName::RecordRoute, "<sip:me;lr>")
                .unwrap();
            let removed = [(); 3].map(|()| message.remove_first_value("Route"));
            message.append("Route", "").unwrap();
            (
                removed.map(Result::unwrap),
                message.remove_first_value("Route").unwrap(),
                message.remove_first_value("Path").unwrap(),
            )
        },
        expect![[r#"
            INVITE sip:bob@biloxi.example SIP/2.0
            Record-Route: <sip:me;lr>
            v: SIP/2.0/UDP a;branch=z9hG4bK1;received=192.0.2.1,SIP/2.0/WSS b.invalid;branch=z9hG4bK2
            X-Odd  :	kept   as is 
            Max-Forwards: 70
            f: "A" <sip:a@h>;tag=1
            t: <sip:b@h>
            Call-ID: c1
            CSEQ: 1
              INVITE
            Content-Length: 4

            body"#]],
    );
    assert_eq!(removed, ([true; 3], false, false));
}

#[test]
fn start_line_and_body_are_replaced() {
    check(
        |message| {
            message.set_request_uri("tel:+49").unwrap();
            message
                .set_body(Bytes::from_static(b"v=0"), Some("application/sdp"))
                .unwrap();
            assert_eq!(message.method(), Some(Method::Invite));
            assert_eq!(message.request_uri(), Some("tel:+49"));
        },
        expect![[r#"
            INVITE tel:+49 SIP/2.0
            v: SIP/2.0/UDP a.example;branch=z9hG4bK1 ,SIP/2.0/WSS b.invalid;branch=z9hG4bK2
            X-Odd  :	kept   as is 
            Max-Forwards: 70
            f: "A" <sip:a@h>;tag=1
            t: <sip:b@h>
            Call-ID: c1
            CSEQ: 1
              INVITE
            Content-Length: 3
            Content-Type: application/sdp

            v=0"#]],
    );
    check(
        |message| {
            message.set_body(Bytes::new(), None).unwrap();
            *message = Message::response_to(message, 180, "", Some("us"));
            message.set_status(486, "Busy\r\nX: y").unwrap();
            assert_eq!(message.reason(), Some(&b"Busy  X: y"[..]));
        },
        expect![[r#"
            SIP/2.0 486 Busy  X: y
            Via: SIP/2.0/UDP a.example;branch=z9hG4bK1 ,SIP/2.0/WSS b.invalid;branch=z9hG4bK2
            From: "A" <sip:a@h>;tag=1
            To: <sip:b@h>;tag=us
            Call-ID: c1
            CSeq: 1
              INVITE
            Content-Length: 0

        "#]],
    );
}

#[test]
fn refused_edits_leave_the_message_as_it_was() {
    let mut message = parse(INVITE);
    for value in ["a\rb", "a\nb", "a\r\nb", "a\r\n", "a\r\n\r\n b", "a\n b"] {
        assert_eq!(message.set("X", value), Err(MessageError::Value));
        assert_eq!(
            message.set_values("Via", &["fine", value]),
            Err(MessageError::Value)
        );
        assert_eq!(
            message.replace_first_value("Via", value),
            Err(MessageError::Value)
        );
    }
    for name in ["", "a b", "X:", "X\r\n", "\u{e9}", &"x".repeat(1000)] {
        assert_eq!(message.append(name, "x"), Err(MessageError::Name));
        assert_eq!(message.prepend(name, "x"), Err(MessageError::Name));
    }
    for uri in ["", "a", "sip:a b", "sip:a\r\n"] {
        assert_eq!(message.set_request_uri(uri), Err(MessageError::Uri));
    }
    assert_eq!(message.set_status(200, "OK"), Err(MessageError::WrongKind));
    assert_eq!(
        message.set("X", vec![b'x'; 2_000_000]),
        Err(MessageError::TooLarge)
    );
    assert_eq!(text(&message), INVITE);
    assert_eq!(
        Message::request("IN VITE", "sip:h").unwrap_err(),
        MessageError::Method
    );
    assert_eq!(
        Message::request("INVITE", "sip:h SIP/2.0\r\n").unwrap_err(),
        MessageError::Uri
    );
}

#[test]
fn values_of_one_message_are_fit_for_another() {
    let from = parse(&INVITE.replace("\"A\"", "\"A\\\0\"\r\n\t"));
    let mut request = Message::request("ACK", "sip:h").unwrap();
    request.append("From", from.raw("From").unwrap()).unwrap();
    assert_eq!(request.raw("From"), from.raw("From"));
    assert!(text(&request).contains("\r\nFrom: \"A\\\0\"\r\n\t <sip:a@h>;tag=1\r\n"));
}

#[test]
fn a_request_of_our_own() {
    let mut request = Message::request("OPTIONS", "sip:h").unwrap();
    request.append("v", "SIP/2.0/UDP me").unwrap();
    request.append("X-Any", "1").unwrap();
    assert_eq!(
        text(&request),
        "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP me\r\nX-Any: 1\r\nContent-Length: 0\r\n\r\n"
    );
}

#[test]
fn a_100_echoes_the_timestamp_and_no_other_response_does() {
    let request = parse(&INVITE.replace("X-Odd  :", "Timestamp:"));
    let echoes =
        |status| Message::response_to(&request, status, "", None).contains(HeaderName::Timestamp);
    assert_eq!((echoes(100), echoes(180)), (true, false));
}

#[test]
fn a_to_tag_is_never_added_twice() {
    let request = parse(&INVITE.replace("<sip:b@h>", "<sip:b@h>;tag=there"));
    assert_eq!(
        Message::response_to(&request, 200, "", Some("us")).to_tag(),
        Some("there")
    );
}

#[test]
fn what_was_settled_reads_and_is_edited_as_before() {
    let response = "SIP/2.0 200 Fine with me\r\nv: SIP/2.0/UDP a;branch=z9hG4bK1\r\nTo: <sip:b@h>;tag=2\r\nf: <sip:a@h>;tag=1\r\n\
        Call-ID: c\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
    for received in [INVITE, response] {
        let mut message = parse(received);
        let via = "SIP/2.0/UDP me;branch=z9hG4bK0";
        message.prepend(HeaderName::Via, via).unwrap();
        message.append(HeaderName::Route, "<sip:r>").unwrap();
        let sent = message.to_bytes();
        let mut settled = message.clone();
        assert_eq!(settled.settle(), sent);
        assert_eq!((&settled.wire, settled.to_bytes()), (&sent, sent.clone()));
        let fields = |message: &Message| -> Vec<(Vec<u8>, Vec<u8>)> {
            let fields = message.headers();
            let pairs = fields.map(|field| (field.name.to_vec(), field.value.to_vec()));
            pairs.collect()
        };
        assert_eq!(fields(&settled), fields(&message));
        assert_eq!(
            (
                settled.method(),
                settled.request_uri(),
                settled.status(),
                settled.body()
            ),
            (
                message.method(),
                message.request_uri(),
                message.status(),
                message.body()
            )
        );
        for edited in [&mut settled, &mut message] {
            edited.set(HeaderName::MaxForwards, "3").unwrap();
            edited.set_body(Bytes::from_static(b"other"), None).unwrap();
        }
        assert_eq!(text(&settled), text(&message));
    }
}

#[test]
fn what_lacks_its_content_length_is_sent_with_it_and_stays_as_it_is() {
    let mut message = parse(&INVITE.replace("Content-Length: 4\r\n", ""));
    let sent = message.to_bytes();
    assert_eq!(message.settle(), sent);
    assert!(!message.contains(HeaderName::ContentLength));
    assert_eq!(message.to_bytes(), sent);
}
