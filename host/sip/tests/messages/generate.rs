//! Well-formed messages: plain ones, and ones as odd as the grammar allows.

use super::chance::Chance;

/// How a message is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As most write it: long names, one value a line, no folds.
    Plain,
    /// Any case, compact names, folds, lists, bytes that are not UTF-8, unknown fields.
    Odd,
}

const METHODS: [&str; 6] = [
    "INVITE",
    "OPTIONS",
    "REGISTER",
    "BYE",
    "MESSAGE",
    "SUBSCRIBE",
];
const URIS: [&str; 5] = [
    "sip:bob@biloxi.example.com",
    "sips:carol@chicago.example.com:5061;transport=tcp",
    "sip:1000@192.0.2.4:5062",
    "sip:registrar.example.com",
    "sip:alice%20x@atlanta.example.com;lr",
];
const ODD_URIS: [&str; 6] = [
    "tel:+1-201-555-0123;phone-context=example.com",
    "urn:service:sos",
    "sip:[2001:db8::9]:5070;lr",
    "SIP:a;b=c?d:e@H.example;maddr=[::1]?Subject=x%20y&to=z",
    "soap.beep://192.0.2.103:3002",
    "sip:%00@h-1_2.example.",
];
const ODD_METHODS: [&str; 3] = ["!-Method0.%*_+`'~", "RE%47IST%45R", "invite"];
/// Name, compact name, values.
const FIELDS: [(&str, &str, &[&[u8]]); 9] = [
    (
        "Contact",
        "m",
        &[
            b"<sip:alice@pc33.example.com>",
            b"\"A, \\\"B\\\"\" <sip:a@h>;expires=60;q=0.5",
            b"sip:a@h",
        ],
    ),
    (
        "Subject",
        "s",
        &[b"lunch", b"", b"a, b; c <d \"e", b"\xc3\xa4 and \xff\xfe"],
    ),
    ("Supported", "k", &[b"path, outbound", b"", b"100rel"]),
    (
        "Route",
        "Route",
        &[
            b"<sip:p1.example.com;lr>",
            b"<sip:p2.example.com;lr>,<sip:p3;lr>",
        ],
    ),
    (
        "Record-Route",
        "Record-Route",
        &[
            b"<sip:p1.example.com;lr>",
            b"\"x,y\" <sip:p2;x=\"a>b\";lr> , <sip:p3>",
        ],
    ),
    ("User-Agent", "User-Agent", &[b"Example/1.0 (a, b)", b"x"]),
    (
        "X-Unknown",
        "x-uNKNOWN",
        &[
            b";;,,;;,;",
            b"kept  as\tit is",
            b"\x01\x00\x7f",
            b"\"never closed",
        ],
    ),
    ("Expires", "EXPIRES", &[b"3600", b"0"]),
    (
        "Reason",
        "reason",
        &[
            b"SIP ;cause=200 ;text=\"done, elsewhere\"",
            b"Q.850;cause=16",
        ],
    ),
];

/// A request or a response with right mandatory fields and Content-Length.
pub(crate) fn message(chance: &mut Chance, style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    let odd = style == Style::Odd;
    let method = if odd && chance.once_in(4) {
        chance.pick(&ODD_METHODS)
    } else {
        chance.pick(&METHODS)
    };
    if chance.once_in(3) {
        let line = chance.pick(&["200 OK", "180 Ringing", "404 Not Found", "603 Decline"]);
        let line: &[u8] = if odd && chance.once_in(3) {
            b"699 = 2**3 * 3**2 \xd0\xb8"
        } else {
            line.as_bytes()
        };
        out.extend_from_slice(&[b"SIP/2.0 ", line, b"\r\n"].concat());
    } else {
        let uri = if odd && chance.once_in(2) {
            chance.pick(&ODD_URIS)
        } else {
            chance.pick(&URIS)
        };
        out.extend_from_slice(format!("{method} {uri} SIP/2.0\r\n").as_bytes());
    }
    let body: Vec<u8> = if chance.once_in(2) {
        Vec::new()
    } else {
        (0..chance.below(60))
            .map(|_| chance.below(256) as u8)
            .collect()
    };
    let mut fields = mandatory(chance, style, method);
    fields.push(field(
        chance,
        style,
        "Content-Length",
        "l",
        body.len().to_string().as_bytes(),
    ));
    for _ in 0..chance.below(8) {
        let (name, compact, values) = FIELDS[chance.below(FIELDS.len())];
        let value = if odd { chance.pick(values) } else { values[0] };
        let line = field(chance, style, name, compact, value);
        fields.insert(chance.below(fields.len() + 1), line);
    }
    out.extend(fields.concat());
    out.extend_from_slice(b"\r\n");
    out.extend(body);
    out
}

fn mandatory(chance: &mut Chance, style: Style, method: &str) -> Vec<Vec<u8>> {
    let uri = chance.pick(&URIS);
    let number = chance.below(1 << 30);
    let (call, tag) = (chance.below(1 << 30), chance.below(1 << 30));
    let via = match style {
        Style::Plain => format!("SIP/2.0/UDP 192.0.2.{}:5060;branch=z9hG4bK{call}", call % 256),
        Style::Odd => chance
            .pick(&[
                "SIP / 2.0 / TCP \t spindle.example.com  ;\r\n branch  =   z9hG4bK9 ,SIP/2.0/UDP [2001:db8::1] : 5 ;rport",
                "SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK56sdasks;x=\"a,b;c\"",
                "SIP/2.0/UNKNOWN h;received=192.0.2.1;hidden",
            ])
            .to_owned(),
    };
    let display = match style {
        Style::Plain => "\"Alice\" ",
        Style::Odd => chance.pick(&["\"A \\\" <x>, \" ", "Anna Lena ", "", "\"\u{dc}\" "]),
    };
    let mut lines = vec![
        field(chance, style, "Via", "v", via.as_bytes()),
        field(
            chance,
            style,
            "From",
            "f",
            format!("{display}<{uri}>;tag={tag}").as_bytes(),
        ),
        field(chance, style, "To", "t", format!("<{uri}>").as_bytes()),
        field(
            chance,
            style,
            "Call-ID",
            "i",
            format!("{call}@h").as_bytes(),
        ),
        field(
            chance,
            style,
            "CSeq",
            "CSEQ",
            format!("{number} {method}").as_bytes(),
        ),
    ];
    if chance.once_in(2) {
        lines.push(field(chance, style, "Max-Forwards", "max-forwards", b"70"));
    }
    lines
}

fn field(chance: &mut Chance, style: Style, name: &str, compact: &str, value: &[u8]) -> Vec<u8> {
    if style == Style::Plain {
        return [name.as_bytes(), b": ", value, b"\r\n"].concat();
    }
    let name = if chance.once_in(2) { compact } else { name };
    let name = if chance.once_in(3) {
        name.to_uppercase()
    } else {
        name.to_owned()
    };
    let colon = chance.pick(&[":", ": ", " :", "\t: \t", ":\r\n ", ":  "]);
    let end = chance.pick(&["", " ", "\t ", "\r\n  "]);
    [
        name.as_bytes(),
        colon.as_bytes(),
        value,
        end.as_bytes(),
        b"\r\n",
    ]
    .concat()
}
