//! Properties over generated messages, whole and broken. Each failure names its seed.

use bytes::Bytes;
use hookswitch_sip::{
    framing::{Frame, StreamFramer, datagram},
    header::{CSeq, Contact, NameAddr, TokenParams, Via, unquote},
    limits::Limits,
    message::{
        Fault, HeaderName,
        HeaderName::{CallId, From, To},
        Message,
    },
    redact::redact,
    uri::unescape,
};

use super::{
    chance::Chance,
    generate::{Style, message},
};

const WELL_FORMED: u64 = 5_000;
const MUTATED: u64 = 120_000;

#[test]
fn a_well_formed_message_leaves_as_it_came() {
    for seed in 0..WELL_FORMED {
        let bytes = message(&mut Chance::new(seed), Style::Odd);
        let parsed = Message::parse(Bytes::from(bytes.clone()), &Limits::default());
        let parsed =
            parsed.unwrap_or_else(|error| panic!("seed {seed}: {error}: {}", bytes.escape_ascii()));
        assert_eq!(parsed.to_bytes(), bytes, "seed {seed}");
        assert_eq!(parsed.size(), bytes.len(), "seed {seed}");

        let mut edited = parsed.clone();
        edited
            .prepend(HeaderName::Via, "SIP/2.0/UDP me;branch=z9hG4bK0")
            .unwrap();
        edited.append("X-Ours", "1").unwrap();
        assert_eq!(
            edited.remove_first_value(HeaderName::Via),
            Ok(true),
            "seed {seed}"
        );
        assert_eq!(edited.remove("x-ours"), 1, "seed {seed}");
        assert_eq!(edited.to_bytes(), bytes, "seed {seed}");
        assert_eq!(edited.size(), bytes.len(), "seed {seed}");
    }
}

#[test]
fn no_bytes_make_the_parsers_panic_or_lie() {
    let mut accepted = 0;
    for seed in 0..MUTATED {
        let mut chance = Chance::new(seed);
        let mut bytes = message(&mut chance, Style::Odd);
        for _ in 0..=chance.below(4) {
            mutate(&mut chance, &mut bytes);
        }
        let bytes = Bytes::from(bytes);
        let _ = redact(&bytes);
        feed(&mut chance, &bytes);
        let Frame::Message(framed) = datagram(bytes) else {
            continue;
        };
        match Message::parse(framed.clone(), &Limits::default()) {
            Ok(message) => {
                accepted += 1;
                check_accepted(seed, &framed, &message);
            }
            Err(error) => {
                let Some(response) = error.response(Some("t")) else {
                    continue;
                };
                let bytes = response.to_bytes();
                let again = Message::parse(bytes.clone(), &Limits::default());
                // What it copies may be malformed, but its lines are whole.
                let copied = matches!(&again, Err(error) if matches!(error.fault, Fault::Malformed(From | To | CallId)));
                assert!(
                    again.is_ok() || copied,
                    "seed {seed}: {again:?}: {}",
                    bytes.escape_ascii()
                );
            }
        }
    }
    assert!(
        accepted > MUTATED / 10,
        "only {accepted} were worth reading"
    );
}

fn mutate(chance: &mut Chance, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let at = chance.below(bytes.len());
    let odd = chance.pick::<[u8]>(&[
        b"\r\n", b"\r", b"\n", b"\0", b" ", b":", b",", b"\"", b"<", b">", b";", b"=", b"@", b"%",
        b"[", b"\\", b"\xff", b"9",
    ]);
    match chance.below(6) {
        0 => bytes[at] = chance.below(256) as u8,
        1 => drop(bytes.remove(at)),
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(at..at, odd.iter().copied())),
        4 => {
            let end = (at + 1 + chance.below(40)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            let to = chance.below(bytes.len());
            drop(bytes.splice(to..to, copy));
        }
        _ => {
            let end = (at + 1 + chance.below(40)).min(bytes.len());
            drop(bytes.drain(at..end));
        }
    }
}

/// In pieces, until the framer gives up.
fn feed(chance: &mut Chance, bytes: &[u8]) {
    let limits = Limits {
        message_bytes_max: 600,
        ..Limits::default()
    };
    let mut framer = StreamFramer::new(limits);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + chance.below(200)).min(rest.len()));
        rest = after;
        framer.push(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(Frame::Message(message))) => {
                    assert!(message.len() <= limits.message_bytes_max)
                }
                Ok(Some(Frame::Ping | Frame::Blank)) => {}
                Ok(None) => break,
                Err(error) => {
                    let _ = error.response(&limits, None);
                    return;
                }
            }
        }
    }
}

/// What was accepted is forwarded untouched, can be read whole, and is read the same by the next hop.
fn check_accepted(seed: u64, bytes: &[u8], message: &Message) {
    let out = message.to_bytes();
    if message.contains(HeaderName::ContentLength) {
        assert_eq!(out, bytes[..out.len()], "seed {seed}");
    }
    read_all(message);

    let mut forwarded = message.clone();
    forwarded
        .prepend(HeaderName::Via, "SIP/2.0/UDP me;branch=z9hG4bK0")
        .unwrap();
    forwarded.set(HeaderName::MaxForwards, "69").unwrap();
    let next = Message::parse(forwarded.to_bytes(), &Limits::default());
    let mut next = next.unwrap_or_else(|error| {
        panic!(
            "seed {seed}: {error}: {}",
            forwarded.to_bytes().escape_ascii()
        )
    });
    assert_eq!(next.remove_first_value("v"), Ok(true), "seed {seed}");
    let fields = |message: &Message| -> Vec<(Vec<u8>, Vec<u8>)> {
        let others = message.headers().filter(|h| {
            !matches!(
                h.known,
                Some(HeaderName::MaxForwards | HeaderName::ContentLength)
            )
        });
        others
            .map(|header| (header.name.to_vec(), header.value.to_vec()))
            .collect()
    };
    assert_eq!(fields(&next), fields(message), "seed {seed}");
    assert_eq!(next.body(), message.body(), "seed {seed}");
}

fn read_all(message: &Message) {
    let views = (
        message.top_via().is_some(),
        message.cseq().is_some(),
        message.call_id().is_some(),
    );
    assert_eq!(views, (true, true, true), "parse has checked them");
    for header in message.headers() {
        read_value(header.value);
        for value in message.values(header.name) {
            read_value(value);
        }
    }
}

fn read_value(value: &[u8]) {
    let _ = (CSeq::parse(value), Contact::parse(value));
    if let Ok(via) = Via::parse(value) {
        let _ = (via.branch(), via.rport());
    }
    if let Ok(value) = TokenParams::parse(value) {
        value
            .params
            .iter()
            .filter_map(|(_, value)| value)
            .for_each(|value| drop(unquote(value)));
    }
    if let Ok(address) = NameAddr::parse(value) {
        let _ = (
            address.display(),
            address.q(),
            address.expires(),
            address.instance(),
            address.reg_id(),
        );
        address.parsed_uri().unwrap();
        let _ = unescape(address.uri);
    }
}
