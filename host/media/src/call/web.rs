//! A leg towards a browser: one PeerConnection for all sections, the same for the life of the call.

use std::{net::SocketAddr, time::Instant};

use super::{
    desk::{Desk, LegKey},
    translate::Unfit,
};
use crate::{
    Role,
    dtls::Setup,
    ice::IceCredentials,
    packet::Packet,
    rtp,
    sdp::{RtcpPort, Section, Session, Source, Web},
    sockets::SocketId,
    transport::{Peer, Received, Remote, WebTransport},
};

pub(super) struct WebLeg {
    key: LegKey,
    socket: SocketId,
    pub(super) transport: WebTransport,
    /// Of the stream that the browser gets, in `msid` and `cname`.
    name: String,
    /// Which section each payload type belongs to: with one transport for all sections that is what tells them apart.
    by_payload: [Option<u8>; 128],
}

impl WebLeg {
    pub(super) fn new(desk: &mut Desk<'_>, key: LegKey) -> Self {
        let ours = IceCredentials::from_entropy(desk.chance.bytes());
        desk.demux.insert(&ours.ufrag, key);
        Self {
            key,
            socket: desk.config.web_socket,
            transport: WebTransport::new(&desk.config.web, ours, desk.now),
            name: format!("{:016x}", desk.chance.number()),
            by_payload: [None; 128],
        }
    }

    pub(super) fn close(&mut self, desk: &mut Desk<'_>) {
        desk.demux.remove(self.key);
    }

    /// What the browser says of itself. New credentials in an offer of its own are a restart of ICE (RFC 8445 §9), and get new ones of
    /// ours.
    pub(super) fn hear(&mut self, desk: &mut Desk<'_>, said: &Session, role: Role) {
        let Ok(Some(web)) = transport(said) else {
            return;
        };
        if role == Role::Offer && self.transport.is_restart(&web.ice) {
            let ours = IceCredentials::from_entropy(desk.chance.bytes());
            desk.demux.insert(&ours.ufrag, self.key);
            self.transport.restart(ours);
            let transport = &self.transport;
            desk.demux
                .retain(self.key, |ufrag| transport.answers_to(ufrag));
        }
        let remote = Remote {
            ice: web.ice.clone(),
            fingerprints: web.fingerprints.clone(),
            setup: web.setup,
        };
        self.transport.set_remote(desk.now, remote);
    }

    /// Adds to what the browser is told where we are and who: always the same.
    pub(super) fn dress(
        &self,
        desk: &Desk<'_>,
        told: &mut Session,
        role: Role,
        ssrc: impl Fn(usize) -> Option<u32>,
    ) {
        let setup = match role {
            // RFC 8842 §5.2: also in the offers that come later.
            Role::Offer => Setup::ActPass,
            Role::Answer => self.transport.setup().unwrap_or(Setup::Passive),
        };
        let web = Web {
            ice: self.transport.ice().clone(),
            candidates: desk.config.web_candidates.clone(),
            fingerprints: vec![desk.config.web.fingerprint().clone()],
            setup,
        };
        let first = desk
            .config
            .web_candidates
            .first()
            .map(|first| first.address);
        let sections = told.sections.iter_mut().enumerate();
        for (index, section) in sections.filter(|(_, section)| !section.is_refused()) {
            section.address = first.map(|first| first.ip());
            section.port = first.map_or(section.port, |first| first.port());
            section.rtcp = RtcpPort::Muxed;
            section.web = Some(web.clone());
            section.msid = Some(format!("{} {}{index}", self.name, section.kind.as_str()));
            section.sources = ssrc(index)
                .map(|ssrc| Source {
                    ssrc,
                    cname: self.name.clone(),
                })
                .into_iter()
                .collect();
        }
    }

    /// Both have spoken.
    pub(super) fn agree(&mut self, said: &Session, told: &Session) {
        self.by_payload = [None; 128];
        // What we told counts; browsers that use their own numbers do so without harm where those are free.
        for session in [said, told] {
            for (section, index) in session.sections.iter().zip(0..) {
                for codec in section.codecs.iter().filter(|_| !section.is_refused()) {
                    if let Some(of) = self.by_payload.get_mut(usize::from(codec.payload_type)) {
                        *of = Some(index);
                    }
                }
            }
        }
    }

    pub(super) fn receive(
        &mut self,
        now: Instant,
        from: Peer,
        packet: &mut Packet<'_>,
    ) -> Received {
        self.transport.receive(now, from, packet)
    }

    /// Which section a packet of RTP belongs to.
    pub(super) fn section_of(&self, packet: &Packet<'_>) -> Option<usize> {
        let header = rtp::Header::parse(packet.bytes())?;
        let section = *self.by_payload.get(usize::from(header.payload_type))?;
        section.map(usize::from)
    }

    pub(super) fn send_rtp(&mut self, packet: &mut Packet<'_>) -> Option<(SocketId, SocketAddr)> {
        Some(self.transport.send_rtp(packet)?.way(self.socket))
    }

    pub(super) fn send_rtcp(&mut self, packet: &mut Packet<'_>) -> Option<(SocketId, SocketAddr)> {
        Some(self.transport.send_rtcp(packet)?.way(self.socket))
    }
}

/// What a browser says of itself: the first section that is not refused says it for all (RFC 8843 §7.1). `None` if all are refused.
pub(super) fn transport(said: &Session) -> Result<Option<&Web>, Unfit> {
    let mut active = said
        .sections
        .iter()
        .filter(|section| !section.is_refused())
        .peekable();
    if active.peek().is_none() {
        return Ok(None);
    }
    let mut all = active
        .chain(&said.sections)
        .filter_map(|section: &Section| section.web.as_ref());
    all.next().map(Some).ok_or(Unfit::NotWeb)
}
