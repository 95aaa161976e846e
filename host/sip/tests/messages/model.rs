//! Random edits of a message beside the same edits of a plain list of names and values.

use bytes::Bytes;
use hookswitch_sip::{
    limits::Limits,
    message::{HeaderName, Message},
};

use super::{
    chance::Chance,
    generate::{Style, message},
};

const SEEDS: u64 = 2_000;
const EDITS: usize = 12;

type Fields = Vec<(String, Vec<u8>)>;

#[test]
fn edits_do_what_they_do_to_a_plain_list() {
    for seed in 0..SEEDS {
        let mut chance = Chance::new(seed);
        let mut edited = Message::parse(
            Bytes::from(message(&mut chance, Style::Odd)),
            &Limits::default(),
        )
        .unwrap();
        let mut model = fields(&edited);
        for step in 0..EDITS {
            edit(&mut chance, &mut edited, &mut model, step);
            assert_eq!(fields(&edited), model, "seed {seed} step {step}");
        }
        let bytes = edited.to_bytes();
        assert_eq!(edited.size(), bytes.len(), "seed {seed}");
        let read = Message::parse(bytes, &Limits::default()).unwrap();
        assert_eq!(
            (fields(&read), read.body()),
            (model, edited.body()),
            "seed {seed}"
        );
    }
}

fn fields(message: &Message) -> Fields {
    message
        .headers()
        .map(|header| (canonical(header.name), header.value.to_vec()))
        .collect()
}

fn canonical(name: &[u8]) -> String {
    let known = HeaderName::find(name).map(|known| known.as_str().to_owned());
    known.unwrap_or_else(|| String::from_utf8(name.to_ascii_lowercase()).unwrap())
}

fn edit(chance: &mut Chance, message: &mut Message, model: &mut Fields, step: usize) {
    let name = chance.pick(&[
        "X-Unknown",
        "X-New",
        "s",
        "Subject",
        "Route",
        "User-Agent",
        "Expires",
    ]);
    let key = canonical(name.as_bytes());
    let value = format!("v{step}");
    let first = model.iter().position(|(name, _)| *name == key);
    let entry = (key.clone(), value.clone().into_bytes());
    match chance.below(6) {
        0 => {
            message.set(name, &value).unwrap();
            let at = first.unwrap_or(model.len());
            model.retain(|(name, _)| *name != key);
            model.insert(at, entry);
        }
        1 => {
            message.prepend(name, &value).unwrap();
            model.insert(first.unwrap_or(0), entry);
        }
        2 => {
            message.append(name, &value).unwrap();
            let last = model.iter().rposition(|(name, _)| *name == key);
            model.insert(last.map_or(model.len(), |last| last + 1), entry);
        }
        3 => {
            let before = model.len();
            model.retain(|(name, _)| *name != key);
            assert_eq!(message.remove(name), before - model.len());
        }
        4 => {
            message.set_values(name, &[&value, "second"]).unwrap();
            let at = first.unwrap_or(model.len());
            model.retain(|(name, _)| *name != key);
            model.insert(at, (key, b"second".to_vec()));
            model.insert(at, entry);
        }
        _ => {
            message
                .set_body(Bytes::from(value.clone()), Some("text/plain"))
                .unwrap();
            for (name, value) in [
                ("Content-Type", "text/plain"),
                ("Content-Length", &value.len().to_string()),
            ] {
                match model.iter_mut().find(|(key, _)| key == name) {
                    Some(field) => field.1 = value.as_bytes().to_vec(),
                    None => model.push((name.to_owned(), value.as_bytes().to_vec())),
                }
            }
        }
    }
}
