//! Tokens and what pretends to be one: opened they say what was sealed, or they are refused.

use hookswitch_sip::{
    flow::{ListenerId, NameTags, SessionKey, Transport, UpstreamId, WorkerId},
    proxy::io::MediaMode,
    registrar::Aor,
    token::{ClientKey, End, Key, Keyring, Reach, Token, TokenError},
};

use crate::Choices;

const CALL_ID: &[u8] = b"call";
const TAG: &[u8] = b"tag";

pub(crate) fn run(data: &[u8]) {
    let keys = Keyring {
        current: Key::new(1, &[7; 32]),
        previous: vec![Key::new(0, &[8; 32])],
    };
    let names = NameTags::new(["web", "udp"], ["pbx", "carrier"]);
    foreign(&keys, &names, data);
    let mut choices = Choices::new(data);
    let token = Token {
        worker: WorkerId(choices.byte()),
        passage: u32::from(choices.number()),
        branch: choices.byte(),
        caller: end(&mut choices),
        callee: end(&mut choices),
        ahead: choices.byte(),
        media: media(&mut choices),
    };
    let mut text = token.seal(&keys, &names, CALL_ID, TAG).into_bytes();
    assert_eq!(open(&keys, &names, &text), Ok(token));
    assert_eq!(Token::worker_hint(&text), Some(token.worker));
    let (at, byte) = (choices.below(text.len()), choices.byte());
    if text[at] != byte {
        text[at] = byte;
        let opened = open(&keys, &names, &text);
        assert!(opened.is_err(), "forged: {opened:?}");
    }
}

fn media(choices: &mut Choices<'_>) -> Option<MediaMode> {
    match choices.below(5) {
        0 => Some(MediaMode::Auto),
        1 => Some(MediaMode::Direct),
        2 => Some(MediaMode::Relay),
        3 => Some(MediaMode::Rtpengine),
        _ => None,
    }
}

fn open(keys: &Keyring, names: &NameTags, text: &[u8]) -> Result<Token, TokenError> {
    Token::open(keys, names, text, CALL_ID, TAG, b"other").map(|(token, _)| token)
}

/// Nobody can have made it.
fn foreign(keys: &Keyring, names: &NameTags, data: &[u8]) {
    let opened = open(keys, names, data);
    assert!(opened.is_err(), "opened: {opened:?}");
    let _ = Token::worker_hint(data);
    if let Ok(text) = std::str::from_utf8(data) {
        let opened = ClientKey::open(keys, text);
        assert!(!matches!(opened, Some(Ok(_))), "opened: {opened:?}");
        let opened = ClientKey::open(keys, &format!("c.{text}"));
        assert!(!matches!(opened, Some(Ok(_))), "opened: {opened:?}");
        let _ = (Aor::new(text, "H"), Aor::canonical(text));
    }
}

/// One whose names are known: of others nothing but that is left.
fn end(choices: &mut Choices<'_>) -> End {
    End {
        reach: reach(choices),
        upstream: *choices.pick(&[&None, &Some(UpstreamId(0)), &Some(UpstreamId(1))]),
    }
}

fn reach(choices: &mut Choices<'_>) -> Reach {
    let listener = ListenerId(choices.below(2) as u8);
    match choices.below(3) {
        0 => Reach::Session {
            worker: WorkerId(choices.byte()),
            serial: u64::from(choices.number()) << 40,
            listener,
            key: SessionKey(u64::from(choices.number())),
        },
        1 => Reach::Hop {
            listener,
            transport: *choices.pick(&[&Transport::Udp, &Transport::Tls, &Transport::Ws]),
            peer: ([192, 0, choices.byte(), choices.byte()], choices.number()).into(),
        },
        _ => Reach::Hop {
            listener,
            transport: *choices.pick(&[&Transport::Tcp, &Transport::Wss]),
            peer: (
                [choices.number(), 1, 2, 3, 4, 5, 6, choices.number()],
                choices.number(),
            )
                .into(),
        },
    }
}
