//! A leg towards a PBX or a phone: a pair of ports for each section, and keys where it wants SRTP with SDES.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use super::{
    desk::{Desk, LegKey},
    translate::shared_key,
};
use crate::{
    config::PlainProfile,
    packet::Packet,
    sdp::{Crypto, Protocol, RtcpPort, Section, Session},
    sockets::{OpenError, Pair, SocketId},
    srtp::{KeyPair, Keys, Profile},
    transport::{PlainRemote, PlainTransport, Port, Received, RemoteRtcp},
};

/// The suites that we offer first: what phones speak, the one with the longer tag first. Others are taken where they are offered, and stay.
const OFFERED: [Profile; 2] = [Profile::AesCm128HmacSha1_80, Profile::AesCm128HmacSha1_32];

pub(super) struct PlainLeg {
    key: LegKey,
    profile: PlainProfile,
    /// By section.
    lines: Vec<Option<Line>>,
}

/// One section that has ports.
struct Line {
    pair: Pair,
    transport: PlainTransport,
    /// Our keys, one for each suite, made when they are first needed and kept: a refresh must not look like a change.
    keys: Vec<Crypto>,
    rtcp: RtcpPort,
    /// Where the end wanted RTP last.
    remote: Option<SocketAddr>,
}

impl PlainLeg {
    pub(super) fn new(key: LegKey, profile: &PlainProfile) -> Self {
        Self {
            key,
            profile: profile.clone(),
            lines: Vec::new(),
        }
    }

    /// Ports for every section that is not refused.
    pub(super) fn open(
        &mut self,
        desk: &mut Desk<'_>,
        told: &Session,
        remote: Option<IpAddr>,
    ) -> Result<(), OpenError> {
        self.lines
            .resize_with(self.lines.len().max(told.sections.len()), || None);
        for (section, index) in told.sections.iter().zip(0..) {
            let Some(line) = self.lines.get_mut(usize::from(index)) else {
                continue;
            };
            if line.is_none() && !section.is_refused() {
                let pair = desk.open(self.key, index, self.profile.interface, remote)?;
                *line = Some(Line {
                    pair,
                    transport: PlainTransport::new(self.profile.latch, desk.now),
                    keys: Vec::new(),
                    rtcp: RtcpPort::Next,
                    remote: None,
                });
            }
        }
        Ok(())
    }

    /// Closes the ports of the sections that were refused.
    pub(super) fn tidy(&mut self, desk: &mut Desk<'_>, answer: &Session) {
        let refused = |index| answer.sections.get(index).is_none_or(Section::is_refused);
        let lines = self.lines.iter_mut().enumerate();
        for (_, line) in lines.filter(|(index, _)| refused(*index)) {
            if let Some(line) = line.take() {
                desk.close(line.pair);
            }
        }
    }

    pub(super) fn close(&mut self, desk: &mut Desk<'_>) {
        for line in self.lines.drain(..).flatten() {
            desk.close(line.pair);
        }
    }

    /// Adds to what the end is told where it is to send. `offer` is what this answers.
    pub(super) fn dress(
        &mut self,
        desk: &mut Desk<'_>,
        told: &mut Session,
        offer: Option<&Session>,
    ) {
        for (index, section) in told.sections.iter_mut().enumerate() {
            let line = self.lines.get_mut(index).and_then(Option::as_mut);
            if let (Some(line), false) = (line, section.is_refused()) {
                let asked = offer.and_then(|offer| offer.sections.get(index));
                line.dress(desk, section, asked);
            }
        }
    }

    /// Both have spoken.
    pub(super) fn agree(&mut self, said: &Session, told: &Session) {
        let sections = said.sections.iter().zip(&told.sections);
        for (line, (said, told)) in self.lines.iter_mut().zip(sections) {
            if let (Some(line), false) = (line, told.is_refused()) {
                line.agree(said, told);
            }
        }
    }

    pub(super) fn receive(
        &mut self,
        now: Instant,
        section: usize,
        port: Port,
        from: SocketAddr,
        packet: &mut Packet<'_>,
    ) -> Received {
        match self.line(section) {
            Some(line) => line.transport.receive(now, port, from, packet),
            None => Received::Nothing,
        }
    }

    pub(super) fn send_rtp(
        &mut self,
        section: usize,
        packet: &mut Packet<'_>,
    ) -> Option<(SocketId, SocketAddr)> {
        let line = self.line(section)?;
        Some((line.pair.rtp, line.transport.send_rtp(packet)?))
    }

    pub(super) fn send_rtcp(
        &mut self,
        section: usize,
        packet: &mut Packet<'_>,
    ) -> Option<(SocketId, SocketAddr)> {
        let line = self.line(section)?;
        let (port, to) = line.transport.send_rtcp(packet)?;
        let socket = match port {
            Port::Rtp => line.pair.rtp,
            Port::Rtcp => line.pair.rtcp,
        };
        Some((socket, to))
    }

    fn line(&mut self, section: usize) -> Option<&mut Line> {
        self.lines.get_mut(section)?.as_mut()
    }

    pub(super) fn transports(&self) -> impl Iterator<Item = &PlainTransport> {
        self.lines.iter().flatten().map(|line| &line.transport)
    }
}

impl Line {
    fn dress(&mut self, desk: &mut Desk<'_>, section: &mut Section, asked: Option<&Section>) {
        section.address = Some(self.pair.public.ip());
        section.port = self.pair.public.port();
        section.rtcp = match (asked, self.rtcp) {
            (Some(asked), _) => shared_port(asked.rtcp),
            (None, had) => had,
        };
        section.crypto = match (&section.protocol, asked) {
            (Protocol::Savp | Protocol::Savpf, Some(asked)) => {
                let chosen = asked.crypto.first();
                chosen
                    .map(|theirs| Crypto {
                        tag: theirs.tag,
                        ..self.our_key(desk, theirs.profile)
                    })
                    .into_iter()
                    .collect()
            }
            (Protocol::Savp | Protocol::Savpf, None) => {
                // What was chosen before stays, and comes first.
                let mut suites: Vec<Profile> = self.keys.iter().map(|key| key.profile).collect();
                let known = suites.clone();
                suites.extend(OFFERED.iter().filter(|suite| !known.contains(suite)));
                let keys = suites.into_iter().zip(1..);
                keys.map(|(profile, tag)| Crypto {
                    tag,
                    ..self.our_key(desk, profile)
                })
                .collect()
            }
            (
                Protocol::Avp
                | Protocol::Avpf
                | Protocol::DtlsSavp
                | Protocol::DtlsSavpf
                | Protocol::Other(_),
                _,
            ) => Vec::new(),
        };
    }

    fn our_key(&mut self, desk: &mut Desk<'_>, profile: Profile) -> Crypto {
        if let Some(known) = self.keys.iter().find(|known| known.profile == profile) {
            return known.clone();
        }
        let length = profile.key_bytes() + profile.salt_bytes();
        let drawn = [desk.chance.bytes(), desk.chance.bytes()].concat();
        let key = Crypto {
            tag: 1,
            profile,
            key_and_salt: drawn.into_iter().take(length).collect(),
        };
        self.keys.push(key.clone());
        key
    }

    fn agree(&mut self, said: &Section, told: &Section) {
        self.rtcp = match (said.rtcp, told.rtcp) {
            (RtcpPort::Muxed, RtcpPort::Muxed) => RtcpPort::Muxed,
            _ => RtcpPort::Next,
        };
        let signalled = said.address.filter(|_| said.port != 0);
        // The hold of RFC 2543 names no address: nothing is sent, and music may come from where it came before.
        self.remote = signalled.map_or(self.remote, |address| {
            Some(SocketAddr::new(address, said.port))
        });
        let rtp = self.remote;
        let rtcp = match (self.rtcp, said.rtcp, rtp) {
            (RtcpPort::Muxed, ..) | (_, _, None) => RemoteRtcp::Muxed,
            (_, RtcpPort::At { port, address }, Some(rtp)) => {
                RemoteRtcp::Own(SocketAddr::new(address.unwrap_or(rtp.ip()), port))
            }
            (_, RtcpPort::Next | RtcpPort::Muxed, Some(rtp)) => {
                RemoteRtcp::Own(SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1)))
            }
        };
        let srtp = shared_key(&told.crypto, &said.crypto).and_then(|(ours, theirs)| {
            Some(KeyPair {
                outbound: Keys::new(ours.profile, &ours.key_and_salt)?,
                inbound: Keys::new(theirs.profile, &theirs.key_and_salt)?,
            })
        });
        self.transport.set_remote(PlainRemote { rtp, rtcp, srtp });
    }
}

/// RTCP shares the port of RTP if that was offered.
fn shared_port(asked: RtcpPort) -> RtcpPort {
    match asked {
        RtcpPort::Muxed => RtcpPort::Muxed,
        RtcpPort::Next | RtcpPort::At { .. } => RtcpPort::Next,
    }
}
