//! What a PBX or a phone is told: RTP or SRTP with SDES, and no attribute that WebRTC alone has.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use sdp_types::Media;

use super::{
    Protocol, RtcpPort, Section, Session,
    write::{Lines, body, media},
};

/// The body.
#[must_use]
pub fn write(session: &Session) -> Bytes {
    let sections = session
        .sections
        .iter()
        .map(|section| written(session, section));
    body(session, None, Lines::default(), sections.collect())
}

fn written(session: &Session, section: &Section) -> Media {
    let mut lines = Lines::default();
    if section.is_refused() {
        return media(session, section, 0, lines);
    }
    match section.rtcp {
        RtcpPort::Next => {}
        RtcpPort::At {
            port,
            address: None,
        } => lines.line("rtcp", port),
        RtcpPort::At {
            port,
            address: Some(address),
        } => {
            let family = if address.is_ipv4() { "IP4" } else { "IP6" };
            lines.line("rtcp", format!("{port} IN {family} {address}"));
        }
        RtcpPort::Muxed => lines.flag("rtcp-mux"),
    }
    for crypto in &section.crypto {
        let (tag, suite) = (crypto.tag, crypto.profile.sdes());
        let key = BASE64_STANDARD.encode(&crypto.key_and_salt);
        lines.line("crypto", format!("{tag} {suite} inline:{key}"));
    }
    lines.codecs(section);
    match section.protocol {
        Protocol::Avpf | Protocol::Savpf => lines.feedback(section),
        Protocol::Avp
        | Protocol::Savp
        | Protocol::DtlsSavp
        | Protocol::DtlsSavpf
        | Protocol::Other(_) => {}
    }
    lines.flag(section.direction.as_str());
    media(session, section, section.port, lines)
}
