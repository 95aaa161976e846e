//! A message that is parsed, edited, written and parsed again: what was not edited stays byte for byte and in order.
//!
//! The judge splits the bytes at their line ends and knows nothing else of messages.

use bytes::Bytes;
use hookswitch_sip::{
    limits::Limits,
    message::{HeaderName, Message},
};

use crate::Choices;

const EDITS_MAX: usize = 8;
const NAMES: [&str; 12] = [
    "Subject",
    "X-Unknown",
    "X-New",
    "Route",
    "Via",
    "Contact",
    "Supported",
    "m",
    "Record-Route",
    "Expires",
    "Content-Type",
    "To",
];
const VALUES: [&str; 5] = ["v", "", "<sip:a@h>", "a, b ,\"c,d\"", "x\r\n y"];

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let edits = choices.below(EDITS_MAX + 1);
    let script = choices.take(edits * 3);
    let bytes = Bytes::copy_from_slice(choices.rest());
    let Ok(message) = Message::parse(bytes.clone(), &Limits::default()) else {
        return;
    };
    written_again(&bytes, &message);
    let mut choices = Choices::new(script);
    let mut edited = message;
    while !choices.is_empty() {
        edit(&mut choices, &mut edited);
    }
    assert_eq!(
        edited.size(),
        edited.to_bytes().len() - added_length(&edited)
    );
}

/// Untouched, it is what came.
fn written_again(bytes: &[u8], message: &Message) {
    let out = message.to_bytes();
    let came = Wire::of(bytes);
    if message.contains(HeaderName::ContentLength) {
        assert_eq!(out, bytes[..out.len()]);
    } else {
        let left = Wire::of(&out);
        assert_eq!((left.start, left.body), (came.start, came.body));
        assert_eq!(left.fields[..came.fields.len()], came.fields[..]);
    }
    let again = Message::parse(out.clone(), &Limits::default());
    // The line that was added may be one too many.
    if let Ok(again) = again {
        assert_eq!(again.to_bytes(), out);
    } else {
        assert!(!message.contains(HeaderName::ContentLength));
    }
}

fn added_length(message: &Message) -> usize {
    match message.contains(HeaderName::ContentLength) {
        true => 0,
        false => format!("Content-Length: {}\r\n", message.body().len()).len(),
    }
}

fn edit(choices: &mut Choices<'_>, message: &mut Message) {
    // With the line that writing adds, so that this is no difference.
    let before = message.to_bytes();
    let (what, name, value) = (choices.byte(), choices.pick(&NAMES), choices.pick(&VALUES));
    let touched = match what % 10 {
        0 => message.set(name, value).map(|()| vec![name]),
        1 => message.prepend(name, value).map(|()| vec![name]),
        2 => message.append(name, value).map(|()| vec![name]),
        3 => {
            let there = message.count(name);
            assert_eq!(message.remove(name), there);
            assert!(!message.contains(name));
            Ok(vec![name])
        }
        4 => message.set_values(name, &[value, "w"]).map(|()| vec![name]),
        5 => message.remove_first_value(name).map(|_| vec![name]),
        6 => {
            let values = message.values(name).count();
            let removed = message.remove_first_values(name, usize::from(what / 10));
            if let Ok(removed) = removed {
                assert_eq!(message.values(name).count() + removed, values);
            }
            removed.map(|_| vec![name])
        }
        7 => message
            .replace_first_value(name, value)
            .map(|()| vec![name]),
        8 => {
            let set = message.set_body(Bytes::from_static(b"body"), Some("text/plain"));
            set.map(|()| vec!["Content-Type", "Content-Length"])
        }
        _ => match message.is_request() {
            true => message.set_request_uri("sip:new@h").map(|()| Vec::new()),
            false => message.set_status(299, value).map(|()| Vec::new()),
        },
    };
    let after = message.to_bytes();
    let (before, after) = (Wire::of(&before), Wire::of(&after));
    match touched {
        Ok(touched) => {
            assert_eq!(before.without(&touched), after.without(&touched));
            assert!(what % 10 == 9 || before.start == after.start);
            assert!(what % 10 == 8 || before.body == after.body);
        }
        Err(_) => assert_eq!(before, after, "a refused edit changes nothing"),
    }
}

/// A message cut at its line ends.
#[derive(Debug, PartialEq)]
struct Wire<'b> {
    start: &'b [u8],
    /// With their folds.
    fields: Vec<&'b [u8]>,
    body: &'b [u8],
}

impl<'b> Wire<'b> {
    fn of(bytes: &'b [u8]) -> Self {
        let (start, mut rest) = bytes.split_at(line_end(bytes));
        let mut fields = Vec::new();
        while !rest.is_empty() && !rest.starts_with(b"\r\n") {
            let mut end = line_end(rest);
            while matches!(rest.get(end), Some(b' ' | b'\t')) {
                end += line_end(&rest[end..]);
            }
            let (field, after) = rest.split_at(end);
            fields.push(field);
            rest = after;
        }
        let body = rest.get(2..).unwrap_or_default();
        Self {
            start,
            fields,
            body,
        }
    }

    fn without(&self, names: &[&str]) -> Vec<&'b [u8]> {
        let is_other = |field: &&&[u8]| {
            let colon = field.iter().position(|byte| *byte == b':');
            let name = field[..colon.unwrap_or(0)].trim_ascii_end();
            !names.iter().any(|other| is_same(name, other.as_bytes()))
        };
        self.fields.iter().filter(is_other).copied().collect()
    }
}

fn is_same(a: &[u8], b: &[u8]) -> bool {
    let known = HeaderName::find(a);
    a.eq_ignore_ascii_case(b) || (known.is_some() && known == HeaderName::find(b))
}

fn line_end(bytes: &[u8]) -> usize {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n");
    end.map_or(bytes.len(), |at| at + 2)
}
