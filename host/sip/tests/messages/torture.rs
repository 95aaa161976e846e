//! Messages in the manner of RFC 4475: valid ones that look wrong, and wrong ones with the answer that each gets.

use bytes::Bytes;
use expect_test::{Expect, expect};
use hookswitch_sip::{
    framing::{Frame, datagram},
    header::{Contact, NameAddr, Via},
    limits::Limits,
    message::{HeaderName, Message, Method},
    uri::Uri,
};

/// Mandatory fields of a well-formed INVITE, to be mixed with what a test is about.
const VIA: &str = "Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\n";
const FROM: &str = "From: <sip:a@example.com>;tag=1\n";
const TO: &str = "To: <sip:b@example.com>\n";
const CALL: &str = "Call-ID: c@h\nCSeq: 1 INVITE\nMax-Forwards: 70\n";
const LINE: &str = "INVITE sip:b@example.com SIP/2.0\n";

fn wire(text: &str) -> Bytes {
    Bytes::from(text.replace('\n', "\r\n"))
}

fn accepted(text: &str) -> Message {
    let message = Message::parse(wire(text), &Limits::default())
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut expected = text.replace('\n', "\r\n");
    if !message.contains(HeaderName::ContentLength) {
        let length = format!("\r\nContent-Length: {}\r\n\r\n", message.body().len());
        expected = expected.replacen("\r\n\r\n", &length, 1);
    }
    assert!(
        expected.as_bytes().starts_with(&message.to_bytes()),
        "{text}"
    );
    message
}

/// The first line of the answer, or why there is none.
fn refused(text: &str, expected: Expect) {
    let error = Message::parse(wire(text), &Limits::default()).unwrap_err();
    let answer = match error.response(Some("t")) {
        Some(response) => format!(
            "{} {}",
            response.status().unwrap(),
            response.reason().unwrap().escape_ascii()
        ),
        None => format!("unanswerable: {error}"),
    };
    expected.assert_eq(&answer);
}

#[test]
fn white_space_folds_and_cases() {
    let text = "INVITE sip:v@example.net;unknownparam SIP/2.0\nTO :\n sip:v@example.com ;   tag    = 19\nfrom   : \"J \\\\\\\"R\"       <sip:j@example.com>\n  ;\n  tag = 98\nMaX-fOrWaRdS: 0068\n\
        Call-ID: w.0ha@192.0.2.1\ncseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch=390\ns :\nNewField:   one\n two\nOther: ;;,,;;,;\nContent-Type: application/sdp\nRoute:\n <sip:s.example.com;lr;x=y;z>\n\
        v:  SIP  / 2.0  / TCP     spindle.example.com   ;\n  branch  =   z9hG4bK9  ,\n SIP  /    2.0   / UDP  192.0.2.255   ; branch=\n z9hG4bK30\nm:\"Q \\\"\\\"\" <sip:j@example.com> ; n =\n      v ;\n  s ; q = 0.33\n\n";
    let message = accepted(text);
    assert_eq!(
        (message.from_tag(), message.to_tag(), message.max_forwards()),
        (Some("98"), Some("19"), Some(68))
    );
    assert_eq!(
        message.cseq().map(|cseq| (cseq.number, cseq.method)),
        Some((9, Method::Invite))
    );
    let branches: Vec<_> = message
        .values("Via")
        .map(|via| Via::parse(via).unwrap().branch().unwrap())
        .collect();
    assert_eq!(branches, ["390", "z9hG4bK9", "z9hG4bK30"]);
    assert_eq!(message.header("NEWFIELD").as_deref(), Some(&b"one two"[..]));
    assert_eq!(message.raw(HeaderName::Subject), Some(&b""[..]));
    let Ok(Contact::Address(contact)) = Contact::parse(message.raw("contact").unwrap()) else {
        panic!()
    };
    assert_eq!(
        (contact.display().as_deref(), contact.q()),
        (Some("Q \"\""), Some(330))
    );
}

#[test]
fn every_character_that_the_grammar_allows() {
    let method = "!interesting-Method0123456789_*+`.%indeed'~";
    let uri = "sip:1_u.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(n't-it)@example.com";
    let text = format!(
        "{method} {uri} SIP/2.0\n{VIA}To: \"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f\" <{uri}>\nFrom: token1~` token2'+_ token3*%!.- <sip:m@example.com>;f''~+*_!.-%=\"\u{440};\";tag=_t~1%\n\
         Call-ID: w!-%.*_+`'@(<>:\\\"/[]?{{}}\nCSeq: 139 {method}\nextensionHeader-!.%*+_`'~: \u{fffd}\u{5927}\n\n"
    );
    let message = accepted(&text);
    assert_eq!(message.method(), Some(Method::Other(method)));
    assert_eq!(message.from_tag(), Some("_t~1%"));
    let sip = Uri::parse(message.request_uri().unwrap())
        .unwrap()
        .as_sip()
        .unwrap();
    assert_eq!(sip.user, Some("1_u.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(sip.host.to_string(), "example.com");
}

#[test]
fn escapes_are_kept() {
    let uri = "sip:null-%00-null%40@example.com;unknown%3bparam=%25";
    let message = accepted(&format!(
        "RE%47IST%45R {uri} SIP/2.0\n{VIA}{FROM}{TO}Call-ID: 1\nCSeq: 1 RE%47IST%45R\n\n"
    ));
    assert_eq!(
        (message.method(), message.request_uri()),
        (Some(Method::Other("RE%47IST%45R")), Some(uri))
    );
}

#[test]
fn a_display_name_may_touch_its_address() {
    let message = accepted(&format!(
        "{LINE}{VIA}From: caller<sip:caller@example.com>;tag=323\n{TO}{CALL}\n"
    ));
    assert_eq!(message.from().unwrap().display().as_deref(), Some("caller"));
}

#[test]
fn long_fields_within_the_limits() {
    let long = "long".repeat(1000);
    let message = accepted(&format!(
        "{LINE}{VIA}{FROM}{TO}{CALL}Unknown-{}-Name: {long}\nContact: <sip:{long}@h>\n\n",
        "Long".repeat(20)
    ));
    assert_eq!(
        NameAddr::parse(message.raw("m").unwrap())
            .unwrap()
            .uri
            .len(),
        long.len() + 6
    );
}

#[test]
fn bytes_beyond_content_length_are_dropped() {
    let message = accepted(&format!(
        "{LINE}{VIA}{FROM}{TO}{CALL}l: 4\n\nbodyINVITE sip:x SIP/2.0\n"
    ));
    assert_eq!(message.body(), "body");
    assert!(message.to_bytes().ends_with(b"\r\n\r\nbody"));
}

#[test]
fn a_body_without_content_length_gets_one() {
    let message = Message::parse(
        wire(&format!("{LINE}{VIA}{FROM}{TO}{CALL}\nbody")),
        &Limits::default(),
    )
    .unwrap();
    assert_eq!(
        message.to_bytes(),
        wire(&format!(
            "{LINE}{VIA}{FROM}{TO}{CALL}Content-Length: 4\n\nbody"
        ))
    );
}

#[test]
fn unknown_transports_and_schemes() {
    let vias = "Via: SIP/2.0/SCTP s.example.com;branch=1\nVia: SIP/2.0/UNKNOWN [2001:db8::9:1]:7;branch=2\n";
    let message = accepted(&format!(
        "OPTIONS nobodyKnows:totallyopaquecontent SIP/2.0\n{vias}{FROM}To: isbn:2983792873\nCall-ID: 1\nCSeq: 1 OPTIONS\n\n"
    ));
    assert_eq!(
        message
            .values(HeaderName::Via)
            .filter_map(|via| Via::parse(via).ok())
            .map(|via| via.transport)
            .collect::<Vec<_>>(),
        ["SCTP", "UNKNOWN"]
    );
    assert!(matches!(
        Uri::parse(message.to().unwrap().uri),
        Ok(Uri::Other(_))
    ));
}

#[test]
fn reasons_may_be_empty_or_of_any_bytes() {
    let response = |line: &[u8]| {
        let rest = format!("{VIA}{FROM}{TO}{CALL}\n");
        Message::parse(
            [line, b"\r\n", &wire(&rest)].concat().into(),
            &Limits::default(),
        )
    };
    let message = response(b"SIP/2.0 200 = 2**3 * 5**2 \xd0\xbd\xff").unwrap();
    assert_eq!(
        (message.status(), message.reason()),
        (Some(200), Some(&b"= 2**3 * 5**2 \xd0\xbd\xff"[..]))
    );
    assert_eq!(response(b"SIP/2.0 100 ").unwrap().reason(), Some(&b""[..]));
    assert_eq!(response(b"sip/2.0 486").unwrap().status(), Some(486));
    for wrong in [
        &b"SIP/2.0 4294967301 big"[..],
        b"SIP/2.0 99 low",
        b"SIP/2.0 700 high",
        b"SIP/2.0 20 OK",
        b"SIP/2.0  200 OK",
        b"SIP/2.0",
    ] {
        assert!(response(wrong).is_err(), "{}", wrong.escape_ascii());
    }
}

#[test]
fn wrong_start_lines() {
    let head =
        |line: &str, expected| refused(&format!("{line}\n{VIA}{FROM}{TO}{CALL}\n"), expected);
    head(
        "INVITE <sip:b@example.com> SIP/2.0",
        expect!["400 Malformed Request-URI"],
    );
    head(
        "INVITE sip:b@example.com; lr SIP/2.0",
        expect!["400 Malformed Request-URI"],
    );
    head(
        "INVITE  sip:b@example.com  SIP/2.0",
        expect!["400 Malformed Request-URI"],
    );
    head(
        "INVITE sip:b@example.com SIP/2.0  ",
        expect!["400 Malformed start line"],
    );
    head(
        "INVITE sip:b@example.com SIP/7.0",
        expect!["505 SIP version not supported"],
    );
    head(
        "INVITE sip:b@example.com HTTP/1.1",
        expect!["400 Malformed start line"],
    );
    head("INVITE SIP/2.0", expect!["400 Malformed Request-URI"]);
    head("INV ITE", expect!["400 Malformed start line"]);
    head(
        "IN\"VITE sip:b@example.com SIP/2.0",
        expect!["unanswerable: Malformed start line"],
    );
    head(
        "ACK <sip:b@example.com> SIP/2.0",
        expect!["unanswerable: Malformed Request-URI"],
    );
    head(
        &format!("INVITE sip:{}@h SIP/2.0", "x".repeat(9000)),
        expect!["414 Request-URI too long"],
    );
}

#[test]
fn wrong_fields() {
    let field = |field: &str, expected| {
        refused(&format!("{LINE}{VIA}{FROM}{TO}{CALL}{field}\n\n"), expected)
    };
    field(
        "no colon here",
        expect!["400 Malformed header field in line 8"],
    );
    field("sp ace: x", expect!["400 Malformed header field in line 8"]);
    field(": x", expect!["400 Malformed header field in line 8"]);
    field("X: a\rb", expect!["400 Malformed header field in line 8"]);
    field(
        "Content-Length: 5",
        expect!["400 Body shorter than Content-Length"],
    );
    field(
        "Content-Length: -999",
        expect!["400 Malformed Content-Length"],
    );
    field(
        "Content-Length: 0, 0",
        expect!["400 Malformed Content-Length"],
    );
    field(
        "Content-Length: 0\nl: 0",
        expect!["400 Duplicate Content-Length"],
    );
    field("Max-Forwards: 1", expect!["400 Duplicate Max-Forwards"]);
    field("t: <sip:other@h>", expect!["400 Duplicate To"]);
    field(
        &format!("X: {}", "x".repeat(9000)),
        expect!["400 Header field too long"],
    );
    field(&"X: x\n".repeat(256), expect!["400 Too many header fields"]);
    field(
        &format!("\n{}", "b".repeat(66_000)),
        expect!["513 Message too large"],
    );
}

#[test]
fn wrong_mandatory_fields() {
    let request = |fields: &str, expected| refused(&format!("{LINE}{fields}\n"), expected);
    request(
        &format!("{VIA}{FROM}{TO}Call-ID: 1\nMax-Forwards: 300\nCSeq: 1 INVITE\n"),
        expect!["400 Malformed Max-Forwards"],
    );
    request(
        &format!("{VIA}{FROM}{TO}Call-ID: 1\nCSeq: 1 OPTIONS\n"),
        expect!["400 CSeq method does not match"],
    );
    request(
        &format!("{VIA}{FROM}{TO}Call-ID: 1\nCSeq: 36893488147419103232 INVITE\n"),
        expect!["unanswerable: Malformed CSeq"],
    );
    request(
        &format!("{VIA}{FROM}To: \"Mr. J <sip:j@example.com>\n{CALL}"),
        expect!["400 Malformed To"],
    );
    request(
        &format!("{VIA}{FROM}To: <sip:b@exa mple.com>\n{CALL}"),
        expect!["400 Malformed To"],
    );
    request(
        &format!("{VIA}{FROM}To: sip:b@h?Route=%3Csip:x%3E\n{CALL}"),
        expect!["400 Malformed To"],
    );
    request(
        &format!("Via: SIP/2.0/UDP\n{FROM}{TO}{CALL}"),
        expect!["unanswerable: Malformed Via"],
    );
    request(
        &format!("{FROM}{TO}{CALL}"),
        expect!["unanswerable: Missing Via"],
    );
    request(
        &format!("{VIA}{TO}{CALL}"),
        expect!["unanswerable: Missing From"],
    );
    request(
        &format!("{VIA}{FROM}{TO}Call-ID: a b\nCSeq: 1 INVITE\n"),
        expect!["400 Malformed Call-ID"],
    );
}

#[test]
fn messages_that_end_too_early() {
    refused(
        &format!("{LINE}{VIA}{FROM}{TO}{CALL}"),
        expect!["400 Header fields do not end in an empty line"],
    );
    refused(
        &format!("{LINE}{VIA}{FROM}{TO}{CALL}X"),
        expect!["400 Header fields do not end in an empty line"],
    );
    refused(
        "INVITE sip:b@h SIP/2.0",
        expect!["unanswerable: Malformed start line"],
    );
    refused("", expect!["unanswerable: Malformed start line"]);
}

#[test]
fn an_answer_copies_what_it_must() {
    let text = format!(
        "{LINE}v: SIP/2.0/UDP a;branch=z9hG4bK1 , SIP/2.0/UDP b\nX: y\nVia: SIP/2.0/TCP c\n{FROM}{TO}{CALL}Content-Length: nine\n\n"
    );
    let Frame::Message(bytes) = datagram(wire(&text)) else {
        panic!()
    };
    let error = Message::parse(bytes, &Limits::default()).unwrap_err();
    let response = error.response(Some("us")).unwrap();
    expect![[r#"
        SIP/2.0 400 Malformed Content-Length
        Via: SIP/2.0/UDP a;branch=z9hG4bK1 , SIP/2.0/UDP b
        Via: SIP/2.0/TCP c
        From: <sip:a@example.com>;tag=1
        To: <sip:b@example.com>;tag=us
        Call-ID: c@h
        CSeq: 1 INVITE
        Content-Length: 0

    "#]]
    .assert_eq(
        &String::from_utf8(response.to_bytes().to_vec())
            .unwrap()
            .replace("\r\n", "\n"),
    );
}
