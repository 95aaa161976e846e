//! Reads a description: the lines by `sdp-types`, their meaning here. Lenient where phones are, strict in what a call depends on.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sdp_types::{Attribute, CandidateAddress, Connection, Media};

use super::{
    CODECS_MAX, Candidate, CandidateTransport, Codec, Crypto, Direction, Kind, LINES_MAX, Protocol,
    RtcpPort, SDP_BYTES_MAX, SECTIONS_MAX, SdpError, Section, Session, Source, Web,
};
use crate::{ice::IceCredentials, srtp::Profile};

/// An identification tag, a name of a stream, a cname: longer ones are refused.
const TOKEN_BYTES_MAX: usize = 256;

/// Payload types that need no rtpmap (RFC 3551 §6): those that are still spoken.
const STATIC: [(u8, &str, u32); 10] = [
    (0, "PCMU", 8000),
    (3, "GSM", 8000),
    (4, "G723", 8000),
    (8, "PCMA", 8000),
    (9, "G722", 8000),
    (13, "CN", 8000),
    (18, "G729", 8000),
    (31, "H261", 90_000),
    (32, "MPV", 90_000),
    (34, "H263", 90_000),
];

impl Session {
    /// Reads a body of `application/sdp`. What calls do not depend on is passed over, whatever it says.
    ///
    /// # Errors
    /// [`SdpError`] says what is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        if body.len() > SDP_BYTES_MAX {
            return Err(SdpError::TooLong(body.len()));
        }
        // Names of sessions come in all character sets; some bodies end in NUL.
        let text = String::from_utf8_lossy(body);
        let text = text.trim_end_matches(['\0', ' ', '\r', '\n']);
        let parsed = sdp_types::Session::parse(text.as_bytes())
            .map_err(|error| SdpError::Syntax(error.to_string()))?;
        if parsed.medias.len() > SECTIONS_MAX {
            return Err(too_many("sections", SECTIONS_MAX));
        }
        let defaults = Attributes::read(&parsed.attributes, Attributes::default())?;
        let sections = parsed
            .medias
            .iter()
            .map(|media| section(media, parsed.connection.as_ref(), &defaults));
        let sections: Vec<Section> = sections.collect::<Result<_, _>>()?;
        unique(&sections)?;
        Ok(Self {
            id: parsed.origin.sess_id.clone(),
            version: parsed.origin.sess_version,
            sections,
            bundle: bundle(&parsed.attributes)?,
        })
    }
}

/// RFC 5888 §4: no two sections have the same identification tag.
fn unique(sections: &[Section]) -> Result<(), SdpError> {
    let mut tags = HashSet::new();
    let mut all = sections.iter().filter_map(|section| section.mid.as_deref());
    let twice = all.find(|tag| !tags.insert(*tag));
    twice.map_or(Ok(()), |tag| Err(wrong("mid", tag)))
}

/// What the attributes of a section say; those of the session are where each section begins.
#[derive(Clone, Default)]
struct Attributes {
    direction: Direction,
    maps: Vec<(u8, Codec)>,
    fmtp: Vec<(u8, String)>,
    feedback: Vec<(Option<u8>, String)>,
    rtcp: Option<(u16, Option<IpAddr>)>,
    mux: bool,
    ptime_ms: Option<u16>,
    crypto: Vec<Crypto>,
    ufrag: Option<String>,
    password: Option<String>,
    candidates: Vec<Candidate>,
    fingerprints: Vec<crate::dtls::Fingerprint>,
    setup: Option<crate::dtls::Setup>,
    mid: Option<String>,
    bundle_only: bool,
    msid: Option<String>,
    sources: Vec<Source>,
}

impl Attributes {
    fn read(attributes: &[Attribute], defaults: Self) -> Result<Self, SdpError> {
        let mut read = defaults;
        let inherited = read.fingerprints.len();
        for attribute in attributes {
            let value = attribute.value.as_deref().unwrap_or_default().trim();
            read.take(&attribute.attribute, value)?;
        }
        // A section's own fingerprints replace the session's (RFC 8122 §5).
        if read.fingerprints.len() > inherited {
            read.fingerprints.drain(..inherited);
        }
        Ok(read)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), SdpError> {
        match name {
            "sendrecv" | "sendonly" | "recvonly" | "inactive" => {
                self.direction = name.parse().unwrap_or_default();
            }
            "rtpmap" => {
                let map = rtpmap(value).ok_or_else(|| wrong("rtpmap", value))?;
                push(&mut self.maps, map, "codecs", CODECS_MAX)?;
            }
            "fmtp" => {
                if let Some((payload_type, rest)) = of_payload_type(value) {
                    let line = (payload_type, rest.to_owned());
                    push(&mut self.fmtp, line, "format parameters", CODECS_MAX)?;
                }
            }
            "rtcp-fb" => {
                if let Some(line) = feedback(value) {
                    push(&mut self.feedback, line, "feedback lines", CODECS_MAX * 8)?;
                }
            }
            "rtcp" => self.rtcp = Some(rtcp(value).ok_or_else(|| wrong("rtcp", value))?),
            "rtcp-mux" | "rtcp-mux-only" => self.mux = true,
            // Some write fractions, some 0; both are hints.
            "ptime" => self.ptime_ms = value.parse().ok().filter(|ms| *ms > 0),
            "crypto" => self.crypto.extend(crypto(value)),
            "ice-ufrag" => self.ufrag = Some(ice("ice-ufrag", value, 4)?),
            "ice-pwd" => self.password = Some(ice("ice-pwd", value, 22)?),
            "candidate" => self.candidates.extend(candidate(value)),
            "fingerprint" => self.fingerprints.extend(value.parse().ok()),
            "setup" => {
                let setup = FromStr::from_str(value).map_err(|_| wrong("setup", value))?;
                self.setup = Some(setup);
            }
            "mid" => self.mid = Some(token("mid", value)?),
            "bundle-only" => self.bundle_only = true,
            "msid" => self.msid = Some(value.to_owned()),
            "ssrc" => self.sources.extend(source(value)),
            _ => {}
        }
        let lines = [
            self.crypto.len(),
            self.candidates.len(),
            self.fingerprints.len(),
        ];
        if lines.into_iter().chain([self.sources.len()]).max() > Some(LINES_MAX) {
            return Err(too_many("lines of one kind", LINES_MAX));
        }
        Ok(())
    }

    fn web(&self) -> Option<Web> {
        let (Some(ufrag), Some(password)) = (&self.ufrag, &self.password) else {
            return None;
        };
        (!self.fingerprints.is_empty()).then(|| Web {
            ice: IceCredentials {
                ufrag: ufrag.clone(),
                password: password.clone(),
            },
            candidates: self.candidates.clone(),
            fingerprints: self.fingerprints.clone(),
            setup: self.setup.unwrap_or(crate::dtls::Setup::ActPass),
        })
    }
}

fn section(
    media: &Media,
    connection: Option<&Connection>,
    defaults: &Attributes,
) -> Result<Section, SdpError> {
    let attributes = Attributes::read(&media.attributes, defaults.clone())?;
    let address = address(media.connections.first().or(connection));
    let web = attributes.web();
    let mut direction = attributes.direction;
    // RFC 3264 §8.4: the hold of RFC 2543, which wants to hear nothing. With ICE it only says that no candidate is preferred yet.
    if web.is_none() && address.is_some_and(|address| address.is_unspecified()) {
        direction = direction.intersect_with_remote(Direction::RecvOnly);
    }
    let protocol = protocol(&media.proto);
    let codecs = match protocol {
        Protocol::Other(_) => Vec::new(),
        _ => codecs(&media.fmt, &attributes)?,
    };
    Ok(Section {
        kind: match media.media.as_str() {
            "audio" => Kind::Audio,
            "video" => Kind::Video,
            other => Kind::Other(other.to_owned()),
        },
        port: media.port,
        protocol,
        formats: media.fmt.clone(),
        address: address.filter(|address| !address.is_unspecified()),
        rtcp: match (attributes.mux, attributes.rtcp) {
            (true, _) => RtcpPort::Muxed,
            (false, Some((port, address))) => RtcpPort::At { port, address },
            (false, None) => RtcpPort::Next,
        },
        direction,
        codecs,
        ptime_ms: attributes.ptime_ms,
        web,
        crypto: attributes.crypto,
        mid: attributes.mid,
        bundle_only: attributes.bundle_only,
        msid: attributes.msid,
        sources: attributes.sources,
    })
}

fn protocol(proto: &str) -> Protocol {
    let known = [
        ("RTP/AVP", Protocol::Avp),
        ("RTP/AVPF", Protocol::Avpf),
        ("RTP/SAVP", Protocol::Savp),
        ("RTP/SAVPF", Protocol::Savpf),
        ("UDP/TLS/RTP/SAVP", Protocol::DtlsSavp),
        ("UDP/TLS/RTP/SAVPF", Protocol::DtlsSavpf),
    ];
    let mut known = known.into_iter();
    known
        .find(|(name, _)| proto.eq_ignore_ascii_case(name))
        .map_or_else(|| Protocol::Other(proto.to_owned()), |(_, known)| known)
}

/// The payload types of `m=` in their order, each with what the attributes say of it.
fn codecs(formats: &str, attributes: &Attributes) -> Result<Vec<Codec>, SdpError> {
    let mut codecs: Vec<Codec> = Vec::new();
    for payload_type in formats.split_ascii_whitespace() {
        let Some(payload_type) = payload_type.parse().ok().filter(|number| *number < 128) else {
            return Err(SdpError::Syntax(format!(
                "{payload_type:?} is no payload type"
            )));
        };
        let known = codecs
            .iter()
            .any(|codec| codec.payload_type == payload_type);
        if let (Some(codec), false) = (codec(payload_type, attributes), known) {
            push(&mut codecs, codec, "codecs", CODECS_MAX)?;
        }
    }
    Ok(codecs)
}

fn codec(payload_type: u8, attributes: &Attributes) -> Option<Codec> {
    let mut codec = of(&attributes.maps, payload_type)
        .cloned()
        .or_else(|| static_codec(payload_type))?;
    codec.fmtp = of(&attributes.fmtp, payload_type).cloned();
    let feedback = attributes
        .feedback
        .iter()
        .filter(|(of, _)| of.is_none_or(|of| of == payload_type));
    codec.feedback = feedback
        .map(|(_, value)| value.clone())
        .take(LINES_MAX)
        .collect();
    Some(codec)
}

fn static_codec(payload_type: u8) -> Option<Codec> {
    let (_, name, clock_hz) = STATIC.iter().find(|(number, ..)| *number == payload_type)?;
    Some(bare(payload_type, name, *clock_hz, 1))
}

fn bare(payload_type: u8, name: &str, clock_hz: u32, channels: u8) -> Codec {
    Codec {
        payload_type,
        name: name.to_owned(),
        clock_hz,
        channels,
        fmtp: None,
        feedback: Vec::new(),
    }
}

/// `111 opus/48000/2`.
fn rtpmap(value: &str) -> Option<(u8, Codec)> {
    let (payload_type, encoding) = of_payload_type(value)?;
    let mut parts = encoding.split('/');
    let (name, clock_hz) = (parts.next()?, parts.next()?.trim().parse().ok()?);
    // Of video the third part is something else, and nobody writes it.
    let channels = parts
        .next()
        .map_or(Some(1), |channels| channels.trim().parse().ok())?;
    let named = !name.is_empty() && !name.contains(char::is_whitespace);
    (named && clock_hz > 0).then(|| (payload_type, bare(payload_type, name, clock_hz, channels)))
}

fn of_payload_type(value: &str) -> Option<(u8, &str)> {
    let (payload_type, rest) = value.split_once(' ')?;
    let payload_type = payload_type.parse().ok().filter(|number| *number < 128)?;
    Some((payload_type, rest.trim()))
}

fn of<T>(list: &[(u8, T)], payload_type: u8) -> Option<&T> {
    let mut list = list.iter();
    list.find(|(number, _)| *number == payload_type)
        .map(|(_, value)| value)
}

/// `* nack` is for all codecs of the section.
fn feedback(value: &str) -> Option<(Option<u8>, String)> {
    match value.strip_prefix("* ") {
        Some(rest) => Some((None, rest.trim().to_owned())),
        None => of_payload_type(value).map(|(of, rest)| (Some(of), rest.to_owned())),
    }
}

/// `53020 IN IP4 126.16.64.4`, of which all but the port may be missing.
fn rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let mut parts = value.split_ascii_whitespace();
    let port = parts.next()?.parse().ok()?;
    let address = parts.nth(2).and_then(|address| address.parse().ok());
    Some((
        port,
        address.filter(|address: &IpAddr| !address.is_unspecified()),
    ))
}

/// `1 AES_CM_128_HMAC_SHA1_80 inline:BASE64|2^20`. A line with an unknown suite, a key identifier or parameters of its own is passed
/// over as RFC 4568 §7.1.2 has it; WSH is only a hint.
fn crypto(value: &str) -> Option<Crypto> {
    let mut parts = value.split_ascii_whitespace();
    let tag = parts.next()?.parse().ok()?;
    let profile = Profile::from_sdes(parts.next()?)?;
    let inline = parts.next()?.strip_prefix("inline:")?;
    if parts.any(|parameter| !parameter.starts_with("WSH=")) || inline.contains([':', ';']) {
        return None;
    }
    let key = inline.split('|').next()?;
    let key_and_salt = BASE64_STANDARD.decode(key).ok()?;
    let length = profile.key_bytes() + profile.salt_bytes();
    (key_and_salt.len() == length).then_some(Crypto {
        tag,
        profile,
        key_and_salt,
    })
}

/// Only those that could be used: UDP, RTP, and an address rather than a name of mDNS.
fn candidate(value: &str) -> Option<Candidate> {
    let candidate: sdp_types::Candidate = value.parse().ok()?;
    let passive = || {
        value
            .split(' ')
            .skip_while(|word| *word != "tcptype")
            .nth(1)
            == Some("passive")
    };
    let transport = match candidate.transport.to_ascii_lowercase().as_str() {
        "udp" => CandidateTransport::Udp,
        "tcp" if passive() => CandidateTransport::TcpPassive,
        _ => return None,
    };
    match candidate.address {
        CandidateAddress::IpAddr(address) if candidate.component_id == 1 => Some(Candidate {
            address: SocketAddr::new(address, candidate.port),
            transport,
        }),
        CandidateAddress::IpAddr(_) | CandidateAddress::FQDN(_) => None,
    }
}

/// `1234 cname:abc`; other attributes of a source say nothing that is needed.
fn source(value: &str) -> Option<Source> {
    let (ssrc, attribute) = value.split_once(' ')?;
    let cname = attribute.strip_prefix("cname:")?;
    Some(Source {
        ssrc: ssrc.parse().ok()?,
        cname: cname.to_owned(),
    })
}

fn bundle(attributes: &[Attribute]) -> Result<Vec<String>, SdpError> {
    let groups = attributes
        .iter()
        .filter(|attribute| attribute.attribute == "group");
    let mut bundles = groups.filter_map(|group| group.value.as_deref()?.strip_prefix("BUNDLE"));
    let tags = bundles.next().unwrap_or_default().split_ascii_whitespace();
    tags.map(|tag| token("group", tag))
        .take(SECTIONS_MAX)
        .collect()
}

fn address(connection: Option<&Connection>) -> Option<IpAddr> {
    connection?.try_address().ok().map(|address| address.ip)
}

/// RFC 8839 §5.4: at least so many of ALPHA, DIGIT, `+` and `/`, at most 256.
fn ice(name: &'static str, value: &str, least: usize) -> Result<String, SdpError> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    let fits = (least..=256).contains(&value.len()) && value.bytes().all(allowed);
    fits.then(|| value.to_owned())
        .ok_or_else(|| wrong(name, value))
}

fn token(name: &'static str, value: &str) -> Result<String, SdpError> {
    let fits = (1..=TOKEN_BYTES_MAX).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| value.to_owned())
        .ok_or_else(|| wrong(name, value))
}

fn push<T>(list: &mut Vec<T>, item: T, what: &'static str, max: usize) -> Result<(), SdpError> {
    if list.len() >= max {
        return Err(too_many(what, max));
    }
    list.push(item);
    Ok(())
}

fn too_many(what: &'static str, max: usize) -> SdpError {
    SdpError::TooMany { what, max }
}

/// Cut short: it may be anything, and it is told to whoever sent it.
fn wrong(name: &'static str, value: &str) -> SdpError {
    let value = value.chars().take(60).collect();
    SdpError::Attribute { name, value }
}
