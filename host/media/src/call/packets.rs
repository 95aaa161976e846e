//! The way of a packet through a call: from one leg into the leg that is joined with it. Never allocates for media.

use std::{net::SocketAddr, time::Instant};

use super::{Call, leg::Way};
use crate::{
    call::desk::Place,
    packet::Packet,
    sockets::SocketId,
    transport::{Peer, Received, Transmit},
};

/// What became of a packet.
#[derive(Debug)]
pub(crate) enum Passage {
    /// It leaves from here to there, as it is now.
    To(SocketId, SocketAddr),
    /// It was for the leg itself, which may have something to say now.
    Inward,
    /// As [`Passage::Inward`], and it came from where the browser of the leg is.
    Check,
    /// Nobody wants it.
    Nowhere,
}

impl Call {
    /// A packet that came to `at`. `more` is given what leaves for it besides.
    pub(crate) fn packet(
        &mut self,
        now: Instant,
        at: Place,
        from: Peer,
        packet: &mut Packet<'_>,
        more: &mut dyn FnMut(SocketId, SocketAddr, &[u8]),
    ) -> Passage {
        let Some((end, heard)) = self.meeting(at.leg.leg) else {
            return Passage::Nowhere;
        };
        let section = usize::from(at.section);
        let received = end.leg.receive(now, section, at.port, from, packet);
        let passed = match (received, heard) {
            (Received::Nothing, _) => return Passage::Inward,
            (Received::Check, _) => return Passage::Check,
            (_, None) => None,
            (Received::Rtp, Some(heard)) => {
                let section = end.leg.section_of(section, packet);
                section.and_then(|section| {
                    let passed = heard.leg.send_rtp(now, section, packet);
                    heard.leg.send_more(now, section, more);
                    passed
                })
            }
            (Received::Rtcp, Some(heard)) => {
                heard.leg.send_rtcp(now, section, &mut end.leg, packet)
            }
        };
        passed.map_or(Passage::Nowhere, |(socket, to)| Passage::To(socket, to))
    }

    /// What a leg has to send that is no media, and what became of it.
    pub(crate) fn drain(&mut self, now: Instant, leg: u16, send: &mut dyn FnMut(Transmit)) {
        let mut events = Vec::new();
        let Some((end, _)) = self.meeting(leg) else {
            return;
        };
        match &mut end.leg.way {
            Way::Plain(_) => {}
            Way::Web(web) => {
                while let Some(transmit) = web.transport.poll_transmit() {
                    send(transmit);
                }
                events.extend(std::iter::from_fn(|| web.transport.poll_event()));
            }
        }
        for event in events {
            self.life.heard_of(now, leg, event);
        }
    }
}
