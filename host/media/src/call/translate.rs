//! From what one end says to what the other is told (RFC 3264): sections, codecs, directions. Where media goes is the legs' to add.

use super::{
    party::{Party, Speaks},
    transcode::{self, Room},
};
use crate::sdp::{Codec, Crypto, Direction, Kind, Section, Session};

/// What can be said about video in RTCP without having agreed on more.
const KEYFRAMES: [&str; 2] = ["nack pli", "ccm fir"];

/// The port of a section that is not refused, until a leg says which (the discard port, as in RFC 9429 §5.2.1).
const SOMEWHERE: u16 = 9;

/// Why an end cannot be told what the other one says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// Nothing in it can be relayed.
    #[error("nothing in the offer can be relayed: {0}")]
    Nothing(String),
    /// And none that we could put between, or no more calls that are transcoded.
    #[error("no codec in common: {offered} offered, {answered} taken")]
    NoCodec {
        /// What one end has.
        offered: String,
        /// What the other one has.
        answered: String,
    },
    /// Not all sections are answered.
    #[error("{offered} sections offered, {answered} answered")]
    Sections {
        /// By us.
        offered: usize,
        /// By the far end.
        answered: usize,
    },
    /// It is said to be WebRTC, and has no ICE credentials or no fingerprint that is to be believed.
    #[error("a browser's description without ICE credentials or fingerprint")]
    NotWeb,
    /// SRTP without a key that fits.
    #[error("the answer chooses no key that was offered for SRTP")]
    NoKey,
}

/// An offer of one end, and what the other end was told for it.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    pub(super) said: Session,
    pub(super) told: Session,
}

/// What `to` is offered when `from` says so.
pub(super) fn offer(
    said: &Session,
    from: &Party,
    to: &mut Party,
    room: Room,
) -> Result<Session, Unfit> {
    let mut sections = Vec::with_capacity(said.sections.len());
    for (index, section) in said.sections.iter().enumerate() {
        sections.push(offered(index, section, from, to, room));
    }
    // An end that forgets sections must not make the other one forget them (RFC 3264 §8).
    let before = to.told.as_ref().map_or(&[][..], |told| &told.sections);
    let forgotten = before.iter().skip(sections.len());
    sections.extend(forgotten.map(refused));
    let wanted = said.sections.iter().any(|section| !section.is_refused());
    if wanted && sections.iter().all(Section::is_refused) {
        return Err(nothing(said, from, to));
    }
    Ok(session(sections))
}

/// What `to` is answered when the other end says so.
pub(super) fn answer(
    passed: &Passed,
    said: &Session,
    to: &Party,
    room: Room,
) -> Result<Session, Unfit> {
    let asked = passed.said.sections.len();
    if said.sections.len() != passed.told.sections.len() {
        return Err(Unfit::Sections {
            offered: passed.told.sections.len(),
            answered: said.sections.len(),
        });
    }
    let mut sections = Vec::with_capacity(asked);
    let pairs = passed
        .said
        .sections
        .iter()
        .zip(&passed.told.sections)
        .zip(&said.sections);
    for ((offer, told), said) in pairs {
        let shares = sections.iter().all(Section::is_refused)
            || offer
                .mid
                .as_ref()
                .is_some_and(|mid| passed.said.bundle.contains(mid));
        // One transport is all that a browser gets.
        sections.push(if to.is_web() && !shares {
            refused(offer)
        } else {
            answered(offer, told, said, room)?
        });
    }
    let before = to
        .told
        .as_ref()
        .filter(|_| to.is_web() && to.said.as_ref() == Some(&passed.said));
    if let Some(before) = before {
        let steady = before.sections.iter().zip(sections);
        sections = steady
            .map(|(before, section)| steadied(before, section))
            .collect();
    }
    let mut answer = session(sections);
    answer.bundle.retain(|mid| passed.said.bundle.contains(mid));
    Ok(answer)
}

fn session(sections: Vec<Section>) -> Session {
    let active = sections.iter().filter(|section| !section.is_refused());
    let bundle = active.filter_map(|section| section.mid.clone()).collect();
    Session {
        id: String::new(),
        version: 0,
        sections,
        bundle,
    }
}

fn offered(index: usize, section: &Section, from: &Party, to: &mut Party, room: Room) -> Section {
    let refused = blank(index, section, to);
    if !from.carries(section) || refused.kind != section.kind {
        return refused;
    }
    let taken = section.codecs.iter().filter(|codec| to.takes(codec));
    let mut taken: Vec<Codec> = taken.cloned().collect();
    if room == Room::Left {
        let ours = transcode::beside(index, section, &taken, to);
        let auxiliary = taken.iter().position(Codec::is_auxiliary);
        let at = auxiliary.unwrap_or(taken.len());
        taken.splice(at..at, ours);
    }
    if taken.iter().all(Codec::is_auxiliary) {
        return refused;
    }
    let mut codecs = to.number(index, &taken);
    for codec in &mut codecs {
        codec.feedback = feedback(&section.kind, codec, to);
    }
    Section {
        port: SOMEWHERE,
        direction: section.direction,
        codecs,
        ptime_ms: section.ptime_ms,
        ..refused
    }
}

/// The place of a section in an offer to the other end, without what is in it. What WebRTC alone has names for is not told to others.
fn blank(index: usize, section: &Section, to: &Party) -> Section {
    let web = to.is_web();
    // A browser fails at a section that becomes another kind.
    let kind = to.kind(index).filter(|_| web).unwrap_or(&section.kind);
    let foreign = section
        .protocol
        .as_str()
        .to_ascii_uppercase()
        .contains("DTLS");
    let (protocol, formats) = if section.is_rtp() {
        (to.protocol(index), section.formats.clone())
    } else if *kind == section.kind && (web || !foreign) {
        (section.protocol.clone(), section.formats.clone())
    } else {
        (to.protocol(index), "0".to_owned())
    };
    let mid = web.then(|| to.mid(index));
    Section::refused(kind.clone(), protocol, formats, mid)
}

/// What either end says of feedback, and what a browser needs in any case: a way to ask for a whole picture.
fn feedback(kind: &Kind, codec: &Codec, to: &Party) -> Vec<String> {
    match kind {
        Kind::Video => {}
        Kind::Audio | Kind::Other(_) => return Vec::new(),
    }
    let said = codec.feedback.iter().map(String::as_str);
    let mut feedback: Vec<&str> = said
        .filter(|said| *said == "nack" || KEYFRAMES.contains(said))
        .collect();
    if to.is_web() {
        let missing = KEYFRAMES
            .into_iter()
            .filter(|needed| !feedback.contains(needed));
        feedback.extend(missing.collect::<Vec<_>>());
    }
    feedback.into_iter().map(str::to_owned).collect()
}

/// `offer` is what one end said, `told` what the other was offered for it, `said` what that one says now.
fn answered(offer: &Section, told: &Section, said: &Section, room: Room) -> Result<Section, Unfit> {
    if offer.is_refused() || told.is_refused() || said.is_refused() || said.kind != told.kind {
        return Ok(refused(offer));
    }
    if !told.crypto.is_empty() && shared_key(&told.crypto, &said.crypto).is_none() {
        return Err(Unfit::NoKey);
    }
    let shared = said.codecs.iter().filter_map(|codec| chosen(codec, offer));
    let mut codecs: Vec<Codec> = shared.collect();
    if codecs.iter().all(Codec::is_auxiliary) && room == Room::Left {
        codecs = transcode::answer(offer, told, said).unwrap_or_default();
    }
    if codecs.iter().all(Codec::is_auxiliary) {
        return Err(Unfit::NoCodec {
            offered: names(&offer.codecs),
            answered: names(&said.codecs),
        });
    }
    Ok(Section {
        port: SOMEWHERE,
        direction: said.direction.intersect_with_remote(offer.direction),
        codecs,
        ptime_ms: said.ptime_ms,
        ..refused(offer)
    })
}

/// What the end that offered calls it. H.264 is accepted with the parameters that were offered: RFC 6184 §8.2.2 wants the same profile.
fn chosen(codec: &Codec, offer: &Section) -> Option<Codec> {
    let named = find(&offer.codecs, codec)?;
    let heard = |feedback: &&String| {
        codec.feedback.contains(feedback) || KEYFRAMES.contains(&feedback.as_str())
    };
    Some(Codec {
        payload_type: named.payload_type,
        fmtp: if codec.is_h264() {
            named.fmtp.clone()
        } else {
            codec.fmtp.clone()
        },
        feedback: named.feedback.iter().filter(heard).cloned().collect(),
        ..named.clone()
    })
}

/// The same codec, or else one that is as good.
pub(super) fn find<'c>(codecs: &'c [Codec], codec: &Codec) -> Option<&'c Codec> {
    let same = codecs.iter().find(|other| other.is(codec));
    same.or_else(|| codecs.iter().find(|other| other.suits(codec)))
}

/// The key of either side with the tag that the answer chose (RFC 4568 §5.1.2).
pub(super) fn shared_key<'c>(
    ours: &'c [Crypto],
    theirs: &'c [Crypto],
) -> Option<(&'c Crypto, &'c Crypto)> {
    let pairs = ours
        .iter()
        .flat_map(|ours| theirs.iter().map(move |theirs| (ours, theirs)));
    { pairs }.find(|(ours, theirs)| ours.tag == theirs.tag && ours.profile == theirs.profile)
}

/// A second answer to the offer of a browser, which has taken the first one: its sections stay, and so do its codecs as long as what it
/// sends is understood.
fn steadied(before: &Section, section: Section) -> Section {
    if before.is_refused() {
        return before.clone();
    }
    if section.is_refused() {
        return Section {
            direction: Direction::Inactive,
            ..before.clone()
        };
    }
    let sent = before.codecs.iter().find(|codec| !codec.is_auxiliary());
    if sent.is_some_and(|sent| section.codecs.iter().any(|codec| codec.is(sent))) {
        return Section {
            direction: section.direction,
            ..before.clone()
        };
    }
    section
}

/// Its place, without what is in it.
fn refused(section: &Section) -> Section {
    let (kind, protocol) = (section.kind.clone(), section.protocol.clone());
    Section::refused(kind, protocol, section.formats.clone(), section.mid.clone())
}

fn nothing(said: &Session, from: &Party, to: &Party) -> Unfit {
    let here = said.sections.iter().find(|section| from.carries(section));
    match (here, &to.speaks) {
        (Some(section), Speaks::Plain { codecs, .. }) if !codecs.is_empty() => Unfit::NoCodec {
            offered: names(&section.codecs),
            answered: codecs.join(", "),
        },
        _ => {
            let kinds = said.sections.iter().map(|section| {
                format!("{} by {}", section.kind.as_str(), section.protocol.as_str())
            });
            Unfit::Nothing(kinds.collect::<Vec<_>>().join(", "))
        }
    }
}

fn names(codecs: &[Codec]) -> String {
    let main = codecs.iter().filter(|codec| !codec.is_auxiliary());
    let names: Vec<&str> = main.map(|codec| codec.name.as_str()).take(8).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
