//! What a browser, or somebody who would like to be taken for one, says: mostly right.

use hookswitch::config::Origins;

use super::{
    STREAM_BYTES_MAX,
    model::{End, Expected, Frame, Model, Upgrade},
};
use crate::Choices;

const FRAMES_MAX: usize = 64;
/// After that many bytes nothing more is said, so that the last frame is whole.
const BYTES_MAX: usize = STREAM_BYTES_MAX - 4_096;
const NOT_FIRST: usize = 5;
/// A header line, and whether an upgrade may have it. The first is what browsers say.
type Line = (&'static str, bool);

const UPGRADE: [Line; 4] = [
    ("Upgrade: websocket\r\n", true),
    ("uPGRADE: h2c, WebSocket\r\n", true),
    ("Upgrade: h2c\r\n", false),
    ("", false),
];
const CONNECTION: [Line; 4] = [
    ("Connection: Upgrade\r\n", true),
    ("Connection: keep-alive, upgrade\r\n", true),
    ("Connection: keep-alive\r\n", false),
    ("", false),
];
const KEY: [Line; 3] = [
    ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", true),
    ("Sec-WebSocket-Key: short\r\n", false),
    ("", false),
];
const VERSION: [Line; 3] = [
    ("Sec-WebSocket-Version: 13\r\n", true),
    ("Sec-WebSocket-Version: 8\r\n", false),
    ("", false),
];
const PROTOCOL: [Line; 5] = [
    ("Sec-WebSocket-Protocol: sip\r\n", true),
    ("Sec-WebSocket-Protocol: xmpp , SIP\r\n", true),
    (
        "Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Protocol: sip\r\n",
        true,
    ),
    ("Sec-WebSocket-Protocol: sips, xsip\r\n", false),
    ("", false),
];
/// Request target, and its path and query.
const TARGETS: [(&str, &str, Option<&str>); 6] = [
    ("/", "/", None),
    (
        "/sip?session=4f1c&access_token=a.b.c",
        "/sip",
        Some("session=4f1c&access_token=a.b.c"),
    ),
    ("/a%20b/?", "/a%20b/", Some("")),
    ("//x?y?z", "//x", Some("y?z")),
    ("http://pbx.example/x?y", "/x", Some("y")),
    ("/\u{e4}?\u{e4}={}", "/\u{e4}", Some("\u{e4}={}")),
];
const HOST: &str = "PBX.example:8443";
const ORIGINS: [Option<&str>; 4] = [
    None,
    Some("https://pbx.example:8443"),
    Some("https://phone.example"),
    Some("null"),
];
const MORE: [&str; 4] = [
    "",
    "Cookie: a=b; token=x\r\n",
    "Authorization: Bearer a.b.c\r\n",
    "X-Odd: \u{e4}\r\nX-Odd:\r\n",
];

/// The bytes of a connection, and what must come of them.
pub(super) fn script(choices: &mut Choices<'_>, origins: &Origins) -> (Vec<u8>, Expected) {
    let (mut bytes, upgrade) = request(choices, origins);
    let mut model = Model::default();
    let mut end = None;
    if upgrade.is_some() {
        for _ in 0..FRAMES_MAX {
            if choices.is_empty() || bytes.len() > BYTES_MAX {
                break;
            }
            let frame = frame(choices);
            write(&frame, choices.once_in(8), &mut bytes);
            // What is said behind it is heard by nobody.
            end = end.or_else(|| model.read(&frame));
            if end.is_some() {
                break;
            }
        }
    }
    let expected = Expected {
        upgrade,
        payloads: model.payloads,
        pings: model.pings,
        end: end.unwrap_or(End::HungUp),
    };
    (bytes, expected)
}

/// What policies read of it, if it is accepted.
fn request(choices: &mut Choices<'_>, origins: &Origins) -> (Vec<u8>, Option<Upgrade>) {
    let mut is_good = true;
    let mut text = String::new();
    let (target, path, query) = TARGETS[choices.below(TARGETS.len())];
    text += &format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n");
    for lines in [&UPGRADE[..], &CONNECTION, &KEY, &VERSION, &PROTOCOL] {
        let at = choices
            .below(NOT_FIRST + lines.len())
            .saturating_sub(NOT_FIRST);
        let (line, may_be) = lines[at];
        text += line;
        is_good &= may_be;
    }
    let origin = ORIGINS[choices.below(ORIGINS.len())];
    if let Some(origin) = origin {
        text += &format!("Origin: {origin}\r\n");
        is_good &= match origins {
            Origins::Any => true,
            Origins::SameHost => origin == "https://pbx.example:8443",
            Origins::Listed(listed) => listed.iter().any(|listed| listed == origin),
        };
    }
    text += choices.pick(&MORE);
    text += "\r\n";
    let known = |text: &str| Some(text.to_owned());
    let upgrade = [
        ("host", known(HOST)),
        ("path", known(path)),
        ("query", query.map(str::to_owned)),
        ("origin", origin.map(str::to_owned)),
    ];
    (text.into_bytes(), is_good.then_some(upgrade))
}

fn frame(choices: &mut Choices<'_>) -> Frame {
    let (is_final, opcode) = match choices.below(32) {
        0..=7 => (true, 1),
        8..=11 => (true, 2),
        12..=14 => (false, 1),
        15 | 16 => (false, 2),
        17..=19 => (false, 0),
        20..=23 => (true, 0),
        24..=26 => (true, 9),
        27 => (true, 10),
        28 => (true, 8),
        29 => (false, 9),
        other => (true, other as u8 - 16),
    };
    let payload = match choices.below(8) {
        0 => b"\r\n\r\n".to_vec(),
        1 => b"OPTIONS sip:h SIP/2.0\r\n\r\n".to_vec(),
        2 => {
            let times = usize::from(choices.number()) % 1_100;
            let unit = choices.take(2);
            unit.repeat(times)
        }
        3 => Vec::new(),
        _ => {
            let length = choices.below(48);
            choices.take(length).to_vec()
        }
    };
    let length = payload.len() as u64;
    Frame {
        is_final,
        reserved_bits: match choices.once_in(32) {
            true => 1 + choices.below(7) as u8,
            false => 0,
        },
        opcode,
        mask: match choices.below(16) {
            0 => None,
            1..=3 => Some([1, 2, 3, 4]),
            _ => Some([0; 4]),
        },
        length: match choices.below(32) {
            0 => length + u64::from(choices.number()),
            1 => u64::MAX,
            _ => length,
        },
        payload,
    }
}

/// RFC 6455 §5.2; `is_long` writes the length in more bytes than it needs.
fn write(frame: &Frame, is_long: bool, into: &mut Vec<u8>) {
    let fin = if frame.is_final { 0x80 } else { 0 };
    into.push(fin | frame.reserved_bits << 4 | frame.opcode);
    let masked = if frame.mask.is_some() { 0x80 } else { 0 };
    match (u8::try_from(frame.length), u16::try_from(frame.length)) {
        (Ok(length), _) if length < 126 && !is_long => into.push(masked | length),
        (_, Ok(length)) if !is_long || length < 126 => {
            into.push(masked | 126);
            into.extend(length.to_be_bytes());
        }
        (_, _) => {
            into.push(masked | 127);
            into.extend(frame.length.to_be_bytes());
        }
    }
    into.extend(
        frame
            .mask
            .unwrap_or_default()
            .iter()
            .take(if frame.mask.is_some() { 4 } else { 0 }),
    );
    let mask = frame.mask.unwrap_or_default();
    into.extend(
        frame
            .payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
}
