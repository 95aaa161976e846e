//! rsip reads plain messages as we do.

use bytes::Bytes;
use hookswitch_sip::{
    header::{NameAddr, Via},
    limits::Limits,
    message::Message,
};
use rsip::{SipMessage, headers::untyped::ToTypedHeader, message::HeadersExt};

use super::{
    chance::Chance,
    generate::{Style, message},
};

const SEEDS: u64 = 2_000;

#[test]
fn rsip_reads_plain_messages_as_we_do() {
    for seed in 0..SEEDS {
        let bytes = message(&mut Chance::new(seed), Style::Plain);
        let ours = Message::parse(Bytes::from(bytes.clone()), &Limits::default()).unwrap();
        let theirs = SipMessage::try_from(bytes.as_slice())
            .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        compare(seed, &ours, &theirs);
    }
}

fn compare(seed: u64, ours: &Message, theirs: &SipMessage) {
    match theirs {
        SipMessage::Request(request) => {
            assert_eq!(
                ours.method().unwrap().as_str(),
                request.method.to_string(),
                "seed {seed}"
            );
            same_uri(seed, ours.request_uri().unwrap(), &request.uri);
        }
        SipMessage::Response(response) => assert_eq!(
            ours.status().unwrap(),
            response.status_code.code(),
            "seed {seed}"
        ),
    }
    assert_eq!(ours.body(), theirs.body(), "seed {seed}");

    let lines = |name: &[u8], value: &[u8]| {
        format!(
            "{}: {}",
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value)
        )
    };
    let our_fields: Vec<String> = ours
        .headers()
        .map(|header| lines(header.name, header.value))
        .collect();
    let their_fields: Vec<String> = rsip::prelude::HasHeaders::headers(theirs)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(our_fields, their_fields, "seed {seed}");

    let (via, their_via) = (
        ours.top_via().unwrap(),
        theirs.via_header().unwrap().typed().unwrap(),
    );
    assert_eq!(
        via.branch(),
        their_via.branch().map(|branch| branch.value()),
        "seed {seed}"
    );
    assert_eq!(
        via.sent_by.host.to_string(),
        their_via.sent_by().host().to_string(),
        "seed {seed}"
    );
    assert_eq!(
        via.sent_by.port,
        their_via.sent_by().port().map(|port| *port.value()),
        "seed {seed}"
    );
    assert!(
        ours.values("Via").all(|via| Via::parse(via).is_ok()),
        "seed {seed}"
    );

    let (cseq, their_cseq) = (
        ours.cseq().unwrap(),
        theirs.cseq_header().unwrap().typed().unwrap(),
    );
    assert_eq!(
        (cseq.number, cseq.method.as_str()),
        (their_cseq.seq, &*their_cseq.method.to_string()),
        "seed {seed}"
    );

    let (from, their_from) = (
        ours.from().unwrap(),
        theirs.from_header().unwrap().typed().unwrap(),
    );
    assert_eq!(
        from.tag(),
        their_from.tag().map(|tag| tag.value()),
        "seed {seed}"
    );
    same_uri(seed, from.uri, &their_from.uri);
    if let Ok(contact) = theirs.contact_header() {
        let contact = contact.typed().unwrap();
        let ours = NameAddr::parse(ours.raw("Contact").unwrap()).unwrap();
        same_uri(seed, ours.uri, &contact.uri);
    }
}

/// rsip writes the transport of a URI in upper case.
fn same_uri(seed: u64, ours: &str, theirs: &rsip::Uri) {
    assert_eq!(
        ours.to_lowercase(),
        theirs.to_string().to_lowercase(),
        "seed {seed}"
    );
}
