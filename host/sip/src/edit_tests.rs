use super::*;

const BYE: &str = "BYE sip:bob@h SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
    From: \"A\" <sip:a@h;x=y>;tag=1;other=\"a;b\"\r\nTo: sip:b@h;tag=2\r\nCall-ID: 1\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n";

const LIMITS: Limits = Limits {
    message_bytes_max: 1000,
    header_count_max: 12,
    header_line_bytes_max: 200,
    body_bytes_max: 300,
};

fn message() -> Message {
    Message::parse(Bytes::from_static(BYE.as_bytes()), &LIMITS).unwrap()
}

fn is_invalid<T: std::fmt::Debug>(result: Result<T, EditError>) -> bool {
    matches!(result, Err(EditError::Invalid(_)))
}

/// Refused, and nothing was changed.
#[track_caller]
fn refused(expected: &EditError, edit: impl FnOnce(&mut Message) -> Result<(), EditError>) {
    let mut message = message();
    assert_eq!(&edit(&mut message).unwrap_err(), expected);
    assert_eq!(message.to_bytes(), BYE);
}

#[test]
fn protected_fields_are_refused_in_any_case_and_form() {
    let names = [
        "Via",
        "v",
        "V",
        "ROUTE",
        "record-route",
        "Max-Forwards",
        "cseq",
        "Call-ID",
        "i",
        "Content-Length",
        "l",
        "From",
        "f",
        "To",
        "t",
        "Contact",
        "m",
    ];
    for name in names {
        assert!(is_protected(name), "{name}");
        refused(&EditError::Protected, |m| set_header(m, &LIMITS, name, "x"));
        refused(&EditError::Protected, |m| {
            set_header_values(m, &LIMITS, name, &["x"])
        });
        refused(&EditError::Protected, |m| {
            prepend_header(m, &LIMITS, name, "x")
        });
        refused(&EditError::Protected, |m| {
            append_header(m, &LIMITS, name, "x")
        });
        refused(&EditError::Protected, |m| remove_header(m, name));
    }
    assert!(!is_protected("X-Via"));
}

#[test]
fn a_protected_field_cannot_be_smuggled_in() {
    for name in ["Via ", " Via", "Via:", "X\r\nVia", "X: y\r\nVia", ""] {
        assert!(
            is_invalid(set_header(&mut message(), &LIMITS, name, "x")),
            "{name:?}"
        );
    }
    for value in ["x\r\nVia: y", "x\nVia: y", "x\rVia: y", "x\0", "x\r\n y"] {
        assert!(
            is_invalid(append_header(&mut message(), &LIMITS, "X", value)),
            "{value:?}"
        );
        assert!(
            is_invalid(set_header_values(
                &mut message(),
                &LIMITS,
                "X",
                &["fine", value]
            )),
            "{value:?}"
        );
        assert!(
            is_invalid(set_from(&mut message(), &LIMITS, Some(value), "sip:a@h")),
            "{value:?}"
        );
        assert!(
            is_invalid(set_from(
                &mut message(),
                &LIMITS,
                None,
                &format!("sip:a@{value}")
            )),
            "{value:?}"
        );
        assert!(
            is_invalid(set_body(
                &mut message(),
                &LIMITS,
                Some((&format!("text/plain;{value}"), Bytes::new()))
            )),
            "{value:?}"
        );
    }
}

#[test]
fn from_and_to_keep_their_tags() {
    let mut message = message();
    set_from(
        &mut message,
        &LIMITS,
        Some("Dr. \"No\" \\"),
        "sip:anonymous@anonymous.invalid",
    )
    .unwrap();
    set_to(&mut message, &LIMITS, None, "tel:+49").unwrap();
    let from = message.header("From").unwrap();
    assert_eq!(
        *from,
        *br#""Dr. \"No\" \\" <sip:anonymous@anonymous.invalid>;tag=1;other="a;b""#
    );
    assert_eq!(
        message.from().unwrap().display().as_deref(),
        Some("Dr. \"No\" \\")
    );
    assert_eq!(
        message.header("To").as_deref(),
        Some(&b"<tel:+49>;tag=2"[..])
    );
}

#[test]
fn uris_are_checked() {
    for uri in [
        "",
        "bob",
        "sip:",
        "sip:a b@h",
        "<sip:a@h>",
        "sip:a@h>;tag=x<sip:h",
        "sip:\u{e9}@h",
    ] {
        assert!(
            is_invalid(set_request_uri(&mut message(), &LIMITS, uri)),
            "{uri}"
        );
        assert!(
            is_invalid(set_to(&mut message(), &LIMITS, None, uri)),
            "{uri}"
        );
    }
    let mut edited = message();
    set_request_uri(&mut edited, &LIMITS, "sip:+49@192.0.2.1;user=phone").unwrap();
    assert_eq!(edited.request_uri(), Some("sip:+49@192.0.2.1;user=phone"));
    let mut response = Message::response_to(&edited, 200, "", None);
    assert!(is_invalid(set_request_uri(&mut response, &LIMITS, "sip:h")));
}

#[test]
fn fields_that_stand_once_are_set_and_not_added() {
    let mut message = message();
    append_header(&mut message, &LIMITS, "c", "text/plain").unwrap();
    assert!(is_invalid(append_header(
        &mut message,
        &LIMITS,
        "Content-Type",
        "text/html"
    )));
    assert!(is_invalid(prepend_header(
        &mut message,
        &LIMITS,
        "content-type",
        "text/html"
    )));
    assert!(is_invalid(set_header_values(
        &mut message,
        &LIMITS,
        "c",
        &["a/b", "c/d"]
    )));
    set_header(&mut message, &LIMITS, "content-type", "text/html").unwrap();
    assert_eq!(
        message.values("Content-Type").collect::<Vec<_>>(),
        [b"text/html"]
    );
}

#[test]
fn bodies_have_a_media_type() {
    let mut edited = message();
    set_body(
        &mut edited,
        &LIMITS,
        Some(("text/plain;charset=utf-8", Bytes::from_static(b"hi"))),
    )
    .unwrap();
    assert_eq!(
        (edited.content_length(), edited.body().as_ref()),
        (Some(2), &b"hi"[..])
    );
    set_body(&mut edited, &LIMITS, None).unwrap();
    assert_eq!(edited.to_bytes(), BYE);
    for media_type in ["", "text", "text/", "/plain", "te xt/plain", "text/pl\"ain"] {
        assert!(
            is_invalid(set_body(
                &mut message(),
                &LIMITS,
                Some((media_type, Bytes::new()))
            )),
            "{media_type}"
        );
    }
}

#[test]
fn no_edit_makes_a_message_that_the_next_hop_refuses_for_its_size() {
    refused(&EditError::TooLarge, |m| {
        set_header(m, &LIMITS, "X", &"x".repeat(200))
    });
    refused(&EditError::TooLarge, |m| {
        set_header_values(m, &LIMITS, "X", &["x"; 6])
    });
    refused(&EditError::TooLarge, |m| {
        set_header_values(m, &LIMITS, "X", &vec!["x".repeat(190); 5])
    });
    refused(&EditError::TooLarge, |m| {
        set_from(m, &LIMITS, Some(&"x".repeat(200)), "sip:a@h")
    });
    refused(&EditError::TooLarge, |m| {
        set_request_uri(m, &LIMITS, &format!("sip:{}@h", "x".repeat(200)))
    });
    refused(&EditError::TooLarge, |m| {
        set_body(m, &LIMITS, Some(("text/plain", Bytes::from(vec![0; 301]))))
    });
    let mut message = message();
    let outcome = (0..).find_map(|_| append_header(&mut message, &LIMITS, "X", "x").err());
    assert_eq!(outcome, Some(EditError::TooLarge));
    assert!(Message::parse(message.to_bytes(), &LIMITS).is_ok());
}
