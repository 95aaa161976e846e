//! Session descriptions (RFC 8866) as calls see them: one typed [`Session`] for what an end says and for what it is told.
//!
//! [`Session::parse`] reads what either kind of end writes; [`web`] and [`plain`] write for their kind of end and know no other
//! attributes than that kind's, so that nothing leaks. Decides nothing: offers and answers are `call`'s.

mod parse;
pub mod plain;
#[cfg(test)]
mod tests;
pub mod web;
mod write;

use std::net::{IpAddr, SocketAddr};

pub use sdp_types::Direction;

use crate::{
    dtls::{Fingerprint, Setup},
    ice::IceCredentials,
    srtp::Profile,
};

/// A longer description is refused.
pub const SDP_BYTES_MAX: usize = 64 * 1024;
/// Sections of one description.
pub const SECTIONS_MAX: usize = 16;
/// Codecs of one section.
pub const CODECS_MAX: usize = 64;
/// Lines of one kind that repeat in one section: candidates, fingerprints, keys, sources, feedback of one codec.
pub const LINES_MAX: usize = 64;

/// Why a description is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Beyond [`SDP_BYTES_MAX`].
    #[error("the session description has {0} bytes, more than {SDP_BYTES_MAX}")]
    TooLong(usize),
    /// RFC 8866 §9.
    #[error("no session description: {0}")]
    Syntax(String),
    /// A limit of this module.
    #[error("the session description has more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are taken.
        max: usize,
    },
    /// An attribute that calls depend on.
    #[error("the session description has a={name}:{value}, which is not its syntax")]
    Attribute {
        /// Its name.
        name: &'static str,
        /// What it says.
        value: String,
    },
}

/// What one end says, or is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The sess-id of `o=`.
    pub id: String,
    /// The sess-version of `o=`: changes with every change (RFC 3264 §8).
    pub version: u64,
    /// What `m=` begins, in order; never removed, a refused one stays with port 0.
    pub sections: Vec<Section>,
    /// The identification tags of the first BUNDLE group (RFC 8843).
    pub bundle: Vec<String>,
}

/// One media section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Audio, video or something else.
    pub kind: Kind,
    /// Of RTP. 0: refused, or `bundle_only`.
    pub port: u16,
    /// How it is carried.
    pub protocol: Protocol,
    /// The formats of `m=` as they are written, for what is not RTP.
    pub formats: String,
    /// Where media is wanted. `None` if there is no such address: a name, or 0.0.0.0, which was a hold once.
    pub address: Option<IpAddr>,
    /// Where RTCP is wanted.
    pub rtcp: RtcpPort,
    /// From the speaker's side.
    pub direction: Direction,
    /// The codecs, the preferred one first.
    pub codecs: Vec<Codec>,
    /// Of a packet, ms.
    pub ptime_ms: Option<u16>,
    /// Keys of SDES (RFC 4568) that we know the suite of, the preferred one first.
    pub crypto: Vec<Crypto>,
    /// What WebRTC alone has.
    pub web: Option<Web>,
    /// The identification tag (RFC 5888).
    pub mid: Option<String>,
    /// Whether port 0 means that it shares the transport of another section (RFC 8843 §6).
    pub bundle_only: bool,
    /// The stream and the track in the browser (RFC 8830).
    pub msid: Option<String>,
    /// The sources (RFC 5576).
    pub sources: Vec<Source>,
}

/// The media type of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// `application`, `image`, `text`, …
    Other(String),
}

/// The transport protocol of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RTP/AVP (RFC 3551).
    Avp,
    /// RTP/AVPF (RFC 4585).
    Avpf,
    /// RTP/SAVP (RFC 3711), keyed by SDES.
    Savp,
    /// RTP/SAVPF (RFC 5124), keyed by SDES.
    Savpf,
    /// UDP/TLS/RTP/SAVP (RFC 5764).
    DtlsSavp,
    /// UDP/TLS/RTP/SAVPF (RFC 5764).
    DtlsSavpf,
    /// What carries no RTP.
    Other(String),
}

/// Where an end wants RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpPort {
    /// One above that of RTP (RFC 3550 §11).
    Next,
    /// RFC 3605.
    At {
        /// Its own port.
        port: u16,
        /// Its own address if it has one.
        address: Option<IpAddr>,
    },
    /// That of RTP (RFC 5761).
    Muxed,
}

/// One payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codec {
    /// 0 to 127.
    pub payload_type: u8,
    /// As it was written; compared without case.
    pub name: String,
    /// Of the RTP timestamps.
    pub clock_hz: u32,
    /// 1 for video.
    pub channels: u8,
    /// Format parameters as they were written.
    pub fmtp: Option<String>,
    /// RFC 4585 §4.2, such as `nack pli`.
    pub feedback: Vec<String>,
}

/// Our or their key of one direction (RFC 4568).
#[derive(Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Names it in the answer.
    pub tag: u32,
    /// The suite.
    pub profile: Profile,
    /// Master key and salt, decoded.
    pub key_and_salt: Vec<u8>,
}

/// What WebRTC alone has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// RFC 8839 §5.4.
    pub ice: IceCredentials,
    /// Where it can be reached, the preferred one first.
    pub candidates: Vec<Candidate>,
    /// Of its certificate (RFC 8122).
    pub fingerprints: Vec<Fingerprint>,
    /// Who begins DTLS (RFC 4145).
    pub setup: Setup,
}

/// Where an agent of ICE can be reached (RFC 8839 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Host and port.
    pub address: SocketAddr,
    /// By what.
    pub transport: CandidateTransport,
}

/// By what a candidate is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateTransport {
    /// Datagrams.
    Udp,
    /// A connection that the other agent opens (RFC 6544).
    TcpPassive,
}

/// A source of RTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Synchronisation source.
    pub ssrc: u32,
    /// Its canonical name, the same for all that is played together.
    pub cname: String,
}

impl Section {
    /// Whether nothing is to be sent: port 0 that does not mean another section's.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.port == 0 && !self.bundle_only
    }

    /// One that is refused: it has the place of another in the list, and nothing else.
    #[must_use]
    pub fn refused(kind: Kind, protocol: Protocol, formats: String, mid: Option<String>) -> Self {
        Self {
            kind,
            port: 0,
            protocol,
            formats,
            address: None,
            rtcp: RtcpPort::Next,
            direction: Direction::Inactive,
            codecs: Vec::new(),
            ptime_ms: None,
            crypto: Vec::new(),
            web: None,
            mid,
            bundle_only: false,
            msid: None,
            sources: Vec::new(),
        }
    }

    /// Whether it carries RTP that we know how to relay.
    #[must_use]
    pub fn is_rtp(&self) -> bool {
        match self.kind {
            Kind::Audio | Kind::Video => !matches!(self.protocol, Protocol::Other(_)),
            Kind::Other(_) => false,
        }
    }
}

impl Codec {
    /// Whether both are the same encoding, whatever their payload types: RFC 3264 §6.1, and what its format parameters make another
    /// codec of H.264 (RFC 6184 §8.2.2) and VP9.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.suits(other) && self.flags() == other.flags()
    }

    /// As [`Codec::is`], but baseline and constrained baseline are one: they are told apart by flags that phones set as they like.
    #[must_use]
    pub fn suits(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            && self.clock_hz == other.clock_hz
            && self.channels == other.channels
            && self.variant() == other.variant()
    }

    /// Whether it only repeats or repairs other packets: useless to an end that did not agree on it with us.
    #[must_use]
    pub fn is_repair(&self) -> bool {
        ["rtx", "red", "ulpfec", "flexfec-03", "flexfec"]
            .iter()
            .any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// Whether it carries no sound or picture of its own: DTMF, comfort noise.
    #[must_use]
    pub fn is_auxiliary(&self) -> bool {
        self.is_repair()
            || ["telephone-event", "cn"]
                .iter()
                .any(|name| self.name.eq_ignore_ascii_case(name))
    }

    /// What its format parameters make another codec.
    fn variant(&self) -> Option<(&str, &str)> {
        if self.is_h264() {
            let mode = self.parameter("packetization-mode").unwrap_or("0");
            Some((mode, self.profile().get(..2).unwrap_or_default()))
        } else if self.name.eq_ignore_ascii_case("VP9") {
            Some((self.parameter("profile-id").unwrap_or("0"), ""))
        } else {
            None
        }
    }

    /// The profile-iop of H.264.
    fn flags(&self) -> Option<String> {
        self.is_h264().then(|| {
            self.profile()
                .get(2..4)
                .unwrap_or_default()
                .to_ascii_lowercase()
        })
    }

    /// Whether it is H.264.
    #[must_use]
    pub fn is_h264(&self) -> bool {
        self.name.eq_ignore_ascii_case("H264")
    }

    fn profile(&self) -> &str {
        self.parameter("profile-level-id").unwrap_or("420010")
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let parameters = self.fmtp.as_deref()?.split(';');
        parameters
            .filter_map(|parameter| parameter.trim().split_once('='))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
    }
}

impl std::fmt::Debug for Crypto {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crypto({} {})", self.tag, self.profile.sdes())
    }
}
