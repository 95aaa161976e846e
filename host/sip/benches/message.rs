//! What a message costs: `cargo bench -p hookswitch-sip`. Prints nanoseconds per operation, the best of many rounds.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(clippy::unwrap_used, reason = "the message is well-formed")]

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use hookswitch_sip::{
    framing::StreamFramer,
    limits::Limits,
    message::{HeaderName, Message},
};

const REQUEST: &str = "INVITE sip:bob@biloxi.example.com SIP/2.0\r\n\
    Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@atlanta.example.com>;tag=9fxced76sl\r\n\
    To: \"Bob\" <sip:bob@biloxi.example.com>\r\n\
    Call-ID: 3848276298220188511@atlanta.example.com\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:alice@df7jal23ls0d.invalid;transport=ws>;+sip.instance=\"<urn:uuid:0C67446E-F1A1-11D9-94D3-000A95A0E128>\"\r\n\
    User-Agent: SIP.js/0.21.2\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 4\r\n\
    \r\nv=0\n";

/// Short and many: the best one was not interrupted by other processes.
const ROUNDS: usize = 300;
const REPEATS: u32 = 1_000;

fn main() {
    let limits = Limits::default();
    let bytes = Bytes::from_static(REQUEST.as_bytes());
    let message = Message::parse(bytes.clone(), &limits).unwrap();
    let mut forwarded = message.clone();
    forward(&mut forwarded);

    measure("parse", || Message::parse(bytes.clone(), &limits));
    measure("clone", || message.clone());
    measure("top Via, CSeq, Call-ID, tags", || {
        (
            message.top_via(),
            message.cseq(),
            message.call_id(),
            message.from_tag(),
            message.to_tag(),
        )
    });
    measure("set an unknown field", || {
        message.clone().set("X-Policy", "1")
    });
    measure("clone, Via, Record-Route, Max-Forwards", || {
        let mut message = message.clone();
        forward(&mut message);
        message
    });
    measure("to_bytes, edited", || forwarded.to_bytes());
    measure("response_to", || {
        Message::response_to(&message, 180, "", Some("tag"))
    });
    measure("frame of a stream", || {
        let mut framer = StreamFramer::new(limits);
        framer.push(&bytes);
        framer.next_frame()
    });
}

fn forward(message: &mut Message) {
    message
        .replace_first_value(
            HeaderName::Via,
            "SIP/2.0/WSS a.invalid;branch=z9hG4bK56sdasks;received=192.0.2.1;rport=4",
        )
        .unwrap();
    message
        .prepend(
            HeaderName::Via,
            "SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bKabcdefghijkl",
        )
        .unwrap();
    message
        .prepend(HeaderName::RecordRoute, "<sip:token@192.0.2.7:5060;lr>")
        .unwrap();
    message.set(HeaderName::MaxForwards, "69").unwrap();
}

fn measure<T>(what: &str, mut operation: impl FnMut() -> T) {
    let wanted = std::env::args()
        .nth(1)
        .filter(|filter| !filter.starts_with("--"));
    if wanted.is_some_and(|wanted| !what.contains(&wanted)) {
        return;
    }
    let round = |operation: &mut dyn FnMut() -> T| {
        let start = Instant::now();
        for _ in 0..REPEATS {
            black_box(operation());
        }
        start.elapsed().as_nanos() / u128::from(REPEATS)
    };
    let best = (0..ROUNDS)
        .map(|_| round(&mut operation))
        .min()
        .unwrap_or_default();
    println!("{what:40} {best:6} ns");
}
