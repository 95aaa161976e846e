//! Where two ends may share no codec: which of ours an end is offered beside the other's, what the other is answered then, and what
//! becomes of its packets. What both have is always taken before.

use super::party::{Party, Speaks};
use super::translate::find;
use crate::{
    codec::{Encoding, Rate},
    relay::{Coded, Events, Transcoding},
    sdp::{Codec, Kind, Section},
};

/// What PBXs and phones are offered where G.711, which they all have, is not: the cheapest first. A profile may name others.
const PLAIN: [Encoding; 3] = [Encoding::Pcma, Encoding::Pcmu, Encoding::G722];
/// What every browser has (RFC 7874 §3).
const WEB: [Encoding; 1] = [Encoding::Opus];
const ALL: [Encoding; 4] = [
    Encoding::Opus,
    Encoding::G722,
    Encoding::Pcma,
    Encoding::Pcmu,
];

/// Whether one more call may be transcoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Left,
    /// `transcoded_calls_max` of them are.
    Full,
}

/// What an end said and was told of one section.
pub(super) type Spoken<'s> = (&'s Section, &'s Section);

/// What `to` is offered besides `taken`, which is what it takes of the offer `said`: nothing, if it has said before that it has any of
/// that, so that a refresh stays one.
pub(super) fn beside(index: usize, said: &Section, taken: &[Codec], to: &Party) -> Vec<Codec> {
    let before = to.said.as_ref().and_then(|said| said.sections.get(index));
    let mut known = before.into_iter().flat_map(|section| &section.codecs);
    if known.any(|codec| !codec.is_auxiliary() && find(taken, codec).is_some()) {
        return Vec::new();
    }
    let has = |encoding: &Encoding| {
        taken
            .iter()
            .any(|codec| encoding_of(codec) == Some(*encoding))
    };
    let spoken: Vec<Encoding> = said.codecs.iter().filter_map(encoding_of).collect();
    if spoken.is_empty() || said.kind != Kind::Audio {
        return Vec::new();
    }
    let rate = Encoding::rate_between(spoken.into_iter(), Encoding::Opus);
    let ours = ours(to, taken)
        .into_iter()
        .filter(|encoding| !has(encoding));
    let mut codecs: Vec<Codec> = ours.map(|encoding| codec(encoding, rate)).collect();
    let Some(event) = said.codecs.iter().find(|codec| is_event(codec)) else {
        return codecs;
    };
    // RFC 4733 §2.1: events have the clock of the sound that they interrupt. The numbers are those of habit.
    for (payload_type, clock_hz) in [(101, 8000), (110, 48_000)] {
        let same = |codec: &Codec| codec.clock_hz == clock_hz;
        if codecs.iter().any(same) && !taken.iter().any(|codec| is_event(codec) && same(codec)) {
            codecs.push(Codec {
                payload_type,
                clock_hz,
                ..event.clone()
            });
        }
    }
    codecs
}

/// What the end that made the offer is answered where the other one took nothing of it. `None` where we cannot stand between them.
pub(super) fn answer(offer: &Section, told: &Section, said: &Section) -> Option<Vec<Codec>> {
    let taken = said
        .codecs
        .iter()
        .filter(|codec| find(&told.codecs, codec).is_some());
    let taken: Vec<Encoding> = taken.filter_map(encoding_of).collect();
    let (sound, encoding) = offer
        .codecs
        .iter()
        .find_map(|codec| Some((codec, encoding_of(codec)?)))?;
    taken.first()?;
    let mut codecs = vec![Codec {
        payload_type: sound.payload_type,
        feedback: Vec::new(),
        ..codec(
            encoding,
            Encoding::rate_between(taken.into_iter(), encoding),
        )
    }];
    codecs[0].name.clone_from(&sound.name);
    if said.codecs.iter().any(is_event) {
        codecs.extend(event(&offer.codecs, sound.clock_hz).cloned());
    }
    Some(codecs)
}

/// What becomes of what one end sends where the other has agreed on no codec that it has. `None` where there is one, and where there is
/// nothing that we could do.
pub(super) fn plan((said, told): Spoken<'_>, (wants, knows): Spoken<'_>) -> Option<Transcoding> {
    let agreed = |codec: &&Codec, with: &Section| find(&with.codecs, codec).is_some();
    let sent = || said.codecs.iter().filter(|codec| agreed(codec, told));
    let heard: Vec<Codec> = wants
        .codecs
        .iter()
        .filter(|codec| agreed(codec, knows))
        .cloned()
        .collect();
    let is_shared = |codec: &Codec| !codec.is_auxiliary() && find(&heard, codec).is_some();
    if said.kind != Kind::Audio || sent().any(is_shared) {
        return None;
    }
    let to = heard.iter().find_map(coded)?;
    let mut plan = Transcoding {
        from: Vec::new(),
        to,
        events: Vec::new(),
    };
    // It sends by the numbers that it was told; some go by their own.
    let told = sent().filter_map(|codec| find(&told.codecs, codec));
    for codec in told.chain(sent()) {
        let known = |number: u8| {
            plan.from.iter().any(|coded| coded.payload_type == number)
                || plan.events.iter().any(|events| events.from == number)
        };
        if known(codec.payload_type) {
            continue;
        }
        plan.from.extend(coded(codec));
        let hears = event(&heard, to.encoding.clock_hz()).filter(|_| is_event(codec));
        plan.events.extend(hears.map(|hears| Events {
            from: codec.payload_type,
            from_clock_hz: codec.clock_hz,
            to: hears.payload_type,
            to_clock_hz: hears.clock_hz,
        }));
    }
    (!plan.from.is_empty()).then_some(plan)
}

/// What an end needs beside `taken`, so that it finds something that it has.
fn ours(to: &Party, taken: &[Codec]) -> Vec<Encoding> {
    let has = |is: fn(&Codec) -> bool| taken.iter().any(is);
    match &to.speaks {
        Speaks::Web => WEB.to_vec(),
        Speaks::Plain { codecs, .. } if codecs.is_empty() => match has(is_g711) {
            true => Vec::new(),
            false => PLAIN.to_vec(),
        },
        Speaks::Plain { .. } if has(|codec| !codec.is_auxiliary()) => Vec::new(),
        Speaks::Plain { codecs, .. } => {
            let named = codecs.iter().filter_map(|name| {
                let mut all = ALL.into_iter();
                all.find(|encoding| encoding.name().eq_ignore_ascii_case(name))
            });
            named.collect()
        }
    }
}

fn is_g711(codec: &Codec) -> bool {
    matches!(encoding_of(codec), Some(Encoding::Pcma | Encoding::Pcmu))
}

/// As we offer it, by the number that RFC 3551 §6 or habit gives it.
fn codec(encoding: Encoding, rate: Rate) -> Codec {
    let (payload_type, channels, fmtp) = match encoding {
        Encoding::Pcmu => (0, 1, None),
        Encoding::Pcma => (8, 1, None),
        Encoding::G722 => (9, 1, None),
        // RFC 7587 §6.1: more than the other end can hear is not to be sent.
        Encoding::Opus => {
            let hz = rate.hz();
            let fmtp = format!("maxplaybackrate={hz};sprop-maxcapturerate={hz};useinbandfec=1");
            (111, 2, Some(fmtp))
        }
    };
    Codec {
        payload_type,
        name: encoding.name().to_owned(),
        clock_hz: encoding.clock_hz(),
        channels,
        fmtp,
        feedback: Vec::new(),
    }
}

fn encoding_of(codec: &Codec) -> Option<Encoding> {
    Encoding::of(&codec.name, codec.clock_hz)
}

fn coded(codec: &Codec) -> Option<Coded> {
    Some(Coded {
        payload_type: codec.payload_type,
        encoding: encoding_of(codec)?,
    })
}

/// The telephone events of this clock, or else any.
fn event(codecs: &[Codec], clock_hz: u32) -> Option<&Codec> {
    let events = || codecs.iter().filter(|codec| is_event(codec));
    let same = events().find(|codec| codec.clock_hz == clock_hz);
    same.or_else(|| events().next())
}

fn is_event(codec: &Codec) -> bool {
    codec.name.eq_ignore_ascii_case("telephone-event")
}
