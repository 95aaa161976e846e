//! What both kinds of description have in common.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use sdp_types::{Attribute, Connection, Media, Origin};

use super::{Kind, Protocol, Section, Session};

/// The whole body. `origin` is the address of `o=`; `c=` is that of the first section that has one.
pub(super) fn body(
    session: &Session,
    origin: Option<IpAddr>,
    lines: Lines,
    medias: Vec<Media>,
) -> Bytes {
    let address = address(session);
    let origin = Origin::with_ip_addr(&session.id, session.version, origin.unwrap_or(address));
    let mut written = sdp_types::Session::new(origin, "-");
    written.connection = Some(Connection::from_ip_addr(address));
    written.attributes = lines.0;
    written.medias = medias;
    let mut bytes = Vec::with_capacity(1024);
    written
        .write(&mut bytes)
        .expect("a vector takes all that is written");
    bytes.into()
}

/// A section without its attributes.
pub(super) fn media(session: &Session, section: &Section, port: u16, lines: Lines) -> Media {
    let numbers = section
        .codecs
        .iter()
        .map(|codec| codec.payload_type.to_string());
    let formats = match numbers.collect::<Vec<_>>().join(" ") {
        none if none.is_empty() => section.formats.clone(),
        numbers => numbers,
    };
    let own = section.address.filter(|own| *own != address(session));
    Media {
        media: section.kind.as_str().to_owned(),
        port,
        num_ports: None,
        proto: section.protocol.as_str().to_owned(),
        fmt: if formats.is_empty() {
            "0".to_owned()
        } else {
            formats
        },
        media_title: None,
        connections: own.map(Connection::from_ip_addr).into_iter().collect(),
        bandwidths: Vec::new(),
        key: None,
        attributes: lines.0,
    }
}

fn address(session: &Session) -> IpAddr {
    let mut addresses = session
        .sections
        .iter()
        .filter_map(|section| section.address);
    addresses.next().unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

/// Attributes in their order.
#[derive(Default)]
pub(super) struct Lines(Vec<Attribute>);

impl Lines {
    pub(super) fn flag(&mut self, name: &str) {
        self.0.push(Attribute::new(name));
    }

    pub(super) fn line(&mut self, name: &str, value: impl ToString) {
        self.0.push(Attribute::with_value(name, value));
    }

    /// What each codec is, and the length of a packet.
    pub(super) fn codecs(&mut self, section: &Section) {
        for codec in &section.codecs {
            let (number, name, clock_hz) = (codec.payload_type, &codec.name, codec.clock_hz);
            match codec.channels {
                1 => self.line("rtpmap", format!("{number} {name}/{clock_hz}")),
                channels => self.line("rtpmap", format!("{number} {name}/{clock_hz}/{channels}")),
            }
            if let Some(fmtp) = &codec.fmtp {
                self.line("fmtp", format!("{number} {fmtp}"));
            }
        }
        if let Some(ptime_ms) = section.ptime_ms {
            self.line("ptime", ptime_ms);
        }
    }

    /// What RTCP may say of each codec, where the profile has feedback (RFC 4585 §4.2).
    pub(super) fn feedback(&mut self, section: &Section) {
        for codec in &section.codecs {
            for feedback in &codec.feedback {
                self.line("rtcp-fb", format!("{} {feedback}", codec.payload_type));
            }
        }
    }
}

impl Kind {
    /// As `m=` has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Other(kind) => kind,
        }
    }
}

impl Protocol {
    /// As `m=` has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Avp => "RTP/AVP",
            Self::Avpf => "RTP/AVPF",
            Self::Savp => "RTP/SAVP",
            Self::Savpf => "RTP/SAVPF",
            Self::DtlsSavp => "UDP/TLS/RTP/SAVP",
            Self::DtlsSavpf => "UDP/TLS/RTP/SAVPF",
            Self::Other(protocol) => protocol,
        }
    }
}
