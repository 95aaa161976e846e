//! What one end of a call said last, and what it was told last: all that offers and answers are computed from (RFC 3264).

use crate::sdp::{Codec, Kind, Protocol, Section, Session};

/// Which kind of description an end understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    /// WebRTC.
    Web,
    /// RTP, or SRTP with SDES.
    Plain {
        /// What it is offered as long as it has offered nothing itself.
        protocol: Protocol,
        /// The codecs that it is offered at most, by name; empty: all.
        codecs: Vec<String>,
    },
}

/// One end.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) speaks: Speaks,
    /// Of the last exchange that came to an answer.
    pub(super) said: Option<Session>,
    /// Whether or not it was accepted.
    pub(super) told: Option<Session>,
    payloads: Payloads,
    id: u64,
}

impl Party {
    /// `id` is the sess-id of `o=` in all that it is told.
    pub(super) fn new(speaks: Speaks, id: u64) -> Self {
        let scope = match speaks {
            Speaks::Web => Scope::Bundle,
            Speaks::Plain { .. } => Scope::Section,
        };
        let known = Vec::new();
        Self {
            speaks,
            said: None,
            told: None,
            payloads: Payloads { known, scope },
            // Some read it as a signed number.
            id: id >> 1,
        }
    }

    pub(super) fn is_web(&self) -> bool {
        match self.speaks {
            Speaks::Web => true,
            Speaks::Plain { .. } => false,
        }
    }

    /// Whether a section that it says is one that can be relayed.
    pub(super) fn carries(&self, section: &Section) -> bool {
        let secured = match (&self.speaks, &section.protocol) {
            (
                Speaks::Web,
                Protocol::DtlsSavp | Protocol::DtlsSavpf | Protocol::Savp | Protocol::Savpf,
            ) => true,
            (Speaks::Plain { .. }, Protocol::Avp | Protocol::Avpf) => true,
            (Speaks::Plain { .. }, Protocol::Savp | Protocol::Savpf) => !section.crypto.is_empty(),
            (Speaks::Web, Protocol::Avp | Protocol::Avpf | Protocol::Other(_))
            | (
                Speaks::Plain { .. },
                Protocol::DtlsSavp | Protocol::DtlsSavpf | Protocol::Other(_),
            ) => false,
        };
        secured && section.is_rtp() && !section.is_refused()
    }

    /// Whether it is offered such a codec. What repairs packets is agreed on with us, and we do not.
    pub(super) fn takes(&self, codec: &Codec) -> bool {
        let allowed = match &self.speaks {
            Speaks::Web => true,
            Speaks::Plain { codecs, .. } => {
                let mut names = codecs.iter();
                codecs.is_empty()
                    || codec.is_auxiliary()
                    || names.any(|name| name.eq_ignore_ascii_case(&codec.name))
            }
        };
        allowed && !codec.is_repair()
    }

    /// The protocol that it is offered a section in: the one that it has, if it has one.
    pub(super) fn protocol(&self, index: usize) -> Protocol {
        let had = section_of(self.said.as_ref(), index).or(section_of(self.told.as_ref(), index));
        match (had.filter(|had| had.is_rtp()), &self.speaks) {
            (Some(had), _) => had.protocol.clone(),
            (None, Speaks::Web) => Protocol::DtlsSavpf,
            (None, Speaks::Plain { protocol, .. }) => protocol.clone(),
        }
    }

    /// The identification tag of a section: the one that it has, or one that no other section has.
    pub(super) fn mid(&self, index: usize) -> String {
        let had = section_of(self.said.as_ref(), index).or(section_of(self.told.as_ref(), index));
        if let Some(mid) = had.and_then(|had| had.mid.clone()) {
            return mid;
        }
        let is_taken = |tag: &str| {
            let known = [&self.said, &self.told].into_iter().flatten();
            let mut sections = known.flat_map(|session| &session.sections);
            sections.any(|section| section.mid.as_deref() == Some(tag))
        };
        let mut tag = index.to_string();
        // Browsers count, too, and need not begin with the first section.
        while is_taken(&tag) {
            tag.insert(0, 's');
        }
        tag
    }

    /// What the section was until now.
    pub(super) fn kind(&self, index: usize) -> Option<&Kind> {
        section_of(self.told.as_ref(), index).map(|section| &section.kind)
    }

    /// The codecs with the payload types that it knows them by, or gets to know them by.
    pub(super) fn number(&mut self, index: usize, codecs: &[Codec]) -> Vec<Codec> {
        let mut numbered: Vec<Codec> = Vec::with_capacity(codecs.len());
        for codec in codecs {
            let Some(payload_type) = self.payloads.number(index, codec) else {
                continue;
            };
            if numbered
                .iter()
                .all(|other| other.payload_type != payload_type)
            {
                numbered.push(Codec {
                    payload_type,
                    ..codec.clone()
                });
            }
        }
        numbered
    }

    /// Keeps in mind which payload types it gave to its codecs.
    pub(super) fn note(&mut self, said: &Session) {
        for (index, section) in said.sections.iter().enumerate() {
            for codec in &section.codecs {
                self.payloads.note(index, codec);
            }
        }
    }

    /// What it is told leaves under our name, and with a new version only if anything changed (RFC 3264 §8).
    pub(super) fn tell(&mut self, mut session: Session) -> &Session {
        session.id = self.id.to_string();
        session.version = self.told.as_ref().map_or(1, |last| last.version);
        if self.told.as_ref().is_some_and(|last| *last != session) {
            session.version += 1;
        }
        self.told.insert(session)
    }
}

fn section_of(session: Option<&Session>, index: usize) -> Option<&Section> {
    session?.sections.get(index)
}

/// Which payload type is which codec in which section, for the life of the call: it must not change (RFC 3264 §8.3.2).
#[derive(Debug)]
struct Payloads {
    known: Vec<(usize, Codec)>,
    scope: Scope,
}

/// Where a payload type must be unique.
#[derive(Clone, Copy, Debug)]
enum Scope {
    Section,
    /// It tells the sections of a bundle apart (RFC 8843 §9.1).
    Bundle,
}

impl Payloads {
    fn number(&mut self, section: usize, codec: &Codec) -> Option<u8> {
        let mut here = self.known.iter().filter(|(of, _)| *of == section);
        if let Some((_, known)) = here.find(|(_, known)| known.is(codec)) {
            return Some(known.payload_type);
        }
        // RFC 3551 §6 first, then what RTCP's types leave free where they are muxed (RFC 5761 §4).
        let wanted = [codec.payload_type].into_iter();
        let mut free = wanted.chain(96..=127).chain(35..=63);
        let payload_type = free.find(|number| !self.is_taken(section, *number))?;
        self.known.push((
            section,
            Codec {
                payload_type,
                ..codec.clone()
            },
        ));
        Some(payload_type)
    }

    fn note(&mut self, section: usize, codec: &Codec) {
        self.known.retain(|(of, known)| {
            *of != section || (known.payload_type != codec.payload_type && !known.is(codec))
        });
        self.known.push((section, codec.clone()));
    }

    fn is_taken(&self, section: usize, number: u8) -> bool {
        let mut known = self.known.iter();
        known.any(|(of, known)| {
            known.payload_type == number
                && match self.scope {
                    Scope::Section => *of == section,
                    Scope::Bundle => true,
                }
        })
    }
}
