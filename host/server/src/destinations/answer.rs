//! Offer and answer (RFC 3264) of the test destinations: one section of sound over plain RTP, every other refused.

use std::net::SocketAddr;

use hookswitch_media::sdp::{Codec, Direction, Kind, Protocol, RtcpPort, Section, Session};

use super::Destination;

/// How a session description was answered, or is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Where the other end wants its media; nowhere while it holds without an address.
    pub(super) to: Option<SocketAddr>,
    pub(super) flow: Direction,
    pub(super) payload_type: u8,
    pub(super) law: Law,
}

/// Of G.711.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Law {
    U,
    A,
}

impl Plan {
    /// Before anything was agreed.
    pub(super) const SILENCE: Self = Self {
        to: None,
        flow: Direction::Inactive,
        payload_type: 0,
        law: Law::U,
    };

    /// Where packets go, while they are wanted.
    pub(super) fn sends_to(&self) -> Option<SocketAddr> {
        self.to.filter(|_| match self.flow {
            Direction::SendRecv | Direction::SendOnly => true,
            Direction::RecvOnly | Direction::Inactive => false,
        })
    }

    /// As this section of theirs has it, for us who say `flow`.
    fn of(theirs: &Section, codec: &Codec, flow: Direction) -> Self {
        let address = theirs.address.filter(|_| theirs.port != 0);
        Self {
            to: address.map(|address| SocketAddr::new(address, theirs.port)),
            flow,
            payload_type: codec.payload_type,
            law: law_of(codec).unwrap_or(Law::U),
        }
    }
}

impl Destination {
    fn takes(self, codec: &Codec) -> bool {
        match self {
            Self::Echo => !codec.is_auxiliary(),
            Self::Tone => law_of(codec).is_some(),
        }
    }

    /// The section of their session that there can be sound by, and its codec.
    fn chosen(self, theirs: &Session) -> Option<(usize, &Codec)> {
        let is_sound = |section: &Section| {
            section.kind == Kind::Audio
                && !section.is_refused()
                && matches!(section.protocol, Protocol::Avp | Protocol::Avpf)
        };
        let sections = theirs.sections.iter().enumerate();
        let mut sound = sections.filter(|(_, section)| is_sound(section));
        sound.find_map(|(at, section)| {
            let codec = section.codecs.iter().find(|codec| self.takes(codec))?;
            Some((at, codec))
        })
    }

    /// Answers an offer with media at `us`; `None` if there is nothing in it that we could play.
    pub(super) fn answer(self, offer: &Session, us: SocketAddr) -> Option<(Vec<Section>, Plan)> {
        let (at, codec) = self.chosen(offer)?;
        let answered = |(index, theirs): (usize, &Section)| match index == at {
            true => sound(us, theirs, codec),
            false => refused(theirs),
        };
        let sections: Vec<Section> = offer.sections.iter().enumerate().map(answered).collect();
        let theirs = offer.sections.get(at)?;
        Some((
            sections,
            Plan::of(theirs, codec, mirrored(theirs.direction)),
        ))
    }

    /// What the answer to an offer of ours comes to.
    pub(super) fn answered(self, answer: &Session) -> Option<Plan> {
        let (at, codec) = self.chosen(answer)?;
        let theirs = answer.sections.get(at)?;
        Some(Plan::of(theirs, codec, mirrored(theirs.direction)))
    }
}

/// An offer of ours, for who asks for one: G.711 and DTMF.
pub(super) fn offer(us: SocketAddr) -> Vec<Section> {
    let codec = |payload_type, name: &str, fmtp: Option<&str>| Codec {
        payload_type,
        name: name.to_owned(),
        clock_hz: 8_000,
        channels: 1,
        fmtp: fmtp.map(str::to_owned),
        feedback: Vec::new(),
    };
    let section = Section::refused(Kind::Audio, Protocol::Avp, String::new(), None);
    vec![Section {
        port: us.port(),
        address: Some(us.ip()),
        direction: Direction::SendRecv,
        codecs: vec![
            codec(0, "PCMU", None),
            codec(8, "PCMA", None),
            codec(101, "telephone-event", Some("0-15")),
        ],
        ..section
    }]
}

fn sound(us: SocketAddr, theirs: &Section, codec: &Codec) -> Section {
    let is_dtmf = |other: &&Codec| {
        other.name.eq_ignore_ascii_case("telephone-event") && other.clock_hz == codec.clock_hz
    };
    let dtmf = theirs.codecs.iter().find(is_dtmf);
    let codecs = [Some(codec), dtmf].into_iter().flatten();
    let refused = refused(theirs);
    Section {
        port: us.port(),
        address: Some(us.ip()),
        rtcp: match theirs.rtcp {
            RtcpPort::Muxed => RtcpPort::Muxed,
            RtcpPort::Next | RtcpPort::At { .. } => RtcpPort::Next,
        },
        direction: mirrored(theirs.direction),
        codecs: codecs
            .map(|codec| Codec {
                feedback: Vec::new(),
                ..codec.clone()
            })
            .collect(),
        ptime_ms: theirs.ptime_ms,
        ..refused
    }
}

fn refused(theirs: &Section) -> Section {
    let formats = theirs.formats.clone();
    let mid = theirs.mid.clone();
    Section::refused(theirs.kind.clone(), theirs.protocol.clone(), formats, mid)
}

/// RFC 3264 §6.1.
fn mirrored(theirs: Direction) -> Direction {
    match theirs {
        Direction::SendRecv => Direction::SendRecv,
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        Direction::Inactive => Direction::Inactive,
    }
}

fn law_of(codec: &Codec) -> Option<Law> {
    let laws = [("PCMU", Law::U), ("PCMA", Law::A)];
    let mut named = laws
        .into_iter()
        .filter(|(name, _)| codec.name.eq_ignore_ascii_case(name));
    named
        .next()
        .map(|(_, law)| law)
        .filter(|_| codec.clock_hz == 8_000 && codec.channels == 1)
}
