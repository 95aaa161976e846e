//! What a browser is told: ICE-lite with our candidates, DTLS, BUNDLE, RTCP muxed (RFC 9429).

use std::net::Ipv4Addr;

use bytes::Bytes;
use sdp_types::Media;

use super::{
    Candidate, CandidateTransport, Section, Session, Web,
    write::{Lines, body, media},
};

/// The body.
#[must_use]
pub fn write(session: &Session) -> Bytes {
    let mut lines = Lines::default();
    lines.flag("ice-lite");
    if !session.bundle.is_empty() {
        lines.line("group", format!("BUNDLE {}", session.bundle.join(" ")));
    }
    let sections = session
        .sections
        .iter()
        .map(|section| written(session, section));
    // RFC 9429 §5.2.1: `o=` gives no address away.
    body(
        session,
        Some(Ipv4Addr::LOCALHOST.into()),
        lines,
        sections.collect(),
    )
}

fn written(session: &Session, section: &Section) -> Media {
    let mut lines = Lines::default();
    if let Some(mid) = &section.mid {
        lines.line("mid", mid);
    }
    if section.is_refused() {
        return media(session, section, 0, lines);
    }
    if let Some(web) = &section.web {
        transport(&mut lines, web);
    }
    lines.flag("rtcp-mux");
    lines.flag(section.direction.as_str());
    lines.codecs(section);
    lines.feedback(section);
    if let Some(msid) = &section.msid {
        lines.line("msid", msid);
    }
    for source in &section.sources {
        lines.line("ssrc", format!("{} cname:{}", source.ssrc, source.cname));
    }
    media(session, section, section.port, lines)
}

fn transport(lines: &mut Lines, web: &Web) {
    lines.line("ice-ufrag", &web.ice.ufrag);
    lines.line("ice-pwd", &web.ice.password);
    for fingerprint in &web.fingerprints {
        lines.line("fingerprint", fingerprint);
    }
    lines.line("setup", web.setup);
    for (candidate, number) in web.candidates.iter().zip(1..) {
        lines.line("candidate", host(number, candidate));
    }
    lines.flag("end-of-candidates");
}

/// RFC 8445 §5.1.2.1: a host candidate of the first component, the first one preferred. The foundation tells the addresses apart.
fn host(number: u32, candidate: &Candidate) -> String {
    // RFC 6544 §4.2: 2^13 times the preference of the direction, which is 4 of a passive one.
    let (transport, most, tcptype) = match candidate.transport {
        CandidateTransport::Udp => ("udp", 65_535, ""),
        CandidateTransport::TcpPassive => ("tcp", (4 << 13) + 8191, " tcptype passive"),
    };
    let preference = most - number.min(most);
    let priority = (126 << 24) + (preference << 8) + 255;
    let (address, port) = (candidate.address.ip(), candidate.address.port());
    format!("{number} 1 {transport} {priority} {address} {port} typ host{tcptype}")
}
