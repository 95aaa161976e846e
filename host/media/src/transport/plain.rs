//! One m-line of one SIP end: RTP/AVP or AVPF, in the clear or under keys of SDES (RFC 4568), with RTCP on a port of its own or muxed.
//!
//! Sends to where packets come from (symmetric RTP, RFC 4961), believes one source at a time and never changes it for a packet that does
//! not prove who sent it: whoever sprays our ports takes over no call and hears none.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Class, Received};
use crate::{
    packet::Packet,
    rtp,
    srtp::{Inbound, KeyPair, Outbound, Refused},
};

/// So long after the first packet, one from exactly the signalled address is still the better source.
const LEARNING: Duration = Duration::from_secs(3);

/// Whose packets are believed first, before a source is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latch {
    /// Those from the signalled address, whatever their port: for ends whose descriptions are true.
    Signalled,
    /// Those of whoever sends first: for ends behind a NAT.
    Symmetric,
}

/// Ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// For RTP, and for RTCP where it is muxed.
    Rtp,
    /// For RTCP alone.
    Rtcp,
}

/// Where RTCP goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteRtcp {
    /// To the port of RTP (RFC 5761).
    Muxed,
    /// To this address: `a=rtcp`, or the next port.
    Own(SocketAddr),
}

/// What the SIP end's description says of one m-line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainRemote {
    /// `None`: nowhere, for now (port 0, or 0.0.0.0).
    pub rtp: Option<SocketAddr>,
    /// Of no use without `rtp`.
    pub rtcp: RemoteRtcp,
    /// For RTP/SAVP and SAVPF.
    pub srtp: Option<KeyPair>,
}

/// See above.
pub struct PlainTransport {
    latch: Latch,
    remote: Option<PlainRemote>,
    rtp: Source,
    rtcp: Source,
    srtp: Option<Srtp>,
    created: Instant,
    media: Option<Instant>,
    refused: Refusals,
}

/// Of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// From a source that is not believed.
    pub strangers: u64,
    /// Not authentic, replayed, malformed.
    pub packets: u64,
}

struct Srtp {
    outbound: Outbound,
    inbound: Inbound,
    /// From before new keys were signalled, until the first packet under those.
    before: Option<Inbound>,
}

/// Where packets of one kind come from and go to.
#[derive(Clone, Copy, Default)]
struct Source {
    signalled: Option<SocketAddr>,
    latched: Option<(SocketAddr, Instant)>,
}

impl Source {
    fn to(&self) -> Option<SocketAddr> {
        self.latched.map(|(from, _)| from).or(self.signalled)
    }

    fn signal(&mut self, to: Option<SocketAddr>) {
        if self.signalled != to {
            (self.signalled, self.latched) = (to, None);
        }
    }

    /// Whether a packet from there may be believed at `now`, if it is none of a stranger.
    fn believes(&self, now: Instant, from: SocketAddr, latch: Latch) -> bool {
        match (self.latched, self.signalled) {
            (Some((latched, _)), _) if latched == from => true,
            (Some((_, since)), Some(signalled)) => {
                from == signalled && now.duration_since(since) < LEARNING
            }
            (Some(_), None) | (None, None) => false,
            (None, Some(signalled)) => match latch {
                Latch::Signalled => signalled.ip() == from.ip(),
                Latch::Symmetric => true,
            },
        }
    }

    fn latch(&mut self, now: Instant, from: SocketAddr) {
        if self.latched.is_none_or(|(latched, _)| latched != from) {
            self.latched = Some((from, now));
        }
    }
}

impl PlainTransport {
    /// Nothing goes in or out before the other end's description is set.
    #[must_use]
    pub fn new(latch: Latch, now: Instant) -> PlainTransport {
        PlainTransport {
            latch,
            remote: None,
            rtp: Source::default(),
            rtcp: Source::default(),
            srtp: None,
            created: now,
            media: None,
            refused: Refusals::default(),
        }
    }

    /// The other end's description, each time that one comes. A new address ends what was learned of the old one; the same keys go on
    /// with their counters, new ones begin anew (RFC 4568 §7.1.4).
    pub fn set_remote(&mut self, remote: PlainRemote) {
        self.rtp.signal(remote.rtp);
        self.rtcp.signal(match remote.rtcp {
            RemoteRtcp::Muxed => None,
            RemoteRtcp::Own(to) => remote.rtp.map(|_| to),
        });
        let known = self.remote.as_ref().and_then(|known| known.srtp.as_ref());
        if known != remote.srtp.as_ref() {
            let known = known.cloned();
            self.rekey(known.as_ref(), remote.srtp.as_ref());
        }
        self.remote = Some(remote);
    }

    fn rekey(&mut self, known: Option<&KeyPair>, new: Option<&KeyPair>) {
        let Some(new) = new else {
            self.srtp = None;
            return;
        };
        let fresh = || (Outbound::new(&new.outbound), Inbound::new(&new.inbound));
        self.srtp = Some(match (self.srtp.take(), known) {
            (Some(mut srtp), Some(known)) => {
                let (outbound, inbound) = fresh();
                if known.outbound != new.outbound {
                    srtp.outbound = outbound;
                }
                if known.inbound != new.inbound {
                    srtp.before = Some(std::mem::replace(&mut srtp.inbound, inbound));
                }
                srtp
            }
            (_, _) => {
                let (outbound, inbound) = fresh();
                Srtp {
                    outbound,
                    inbound,
                    before: None,
                }
            }
        });
    }

    /// A datagram from one of our two ports.
    pub fn receive(
        &mut self,
        now: Instant,
        port: Port,
        from: SocketAddr,
        packet: &mut Packet,
    ) -> Received {
        let received = match (Class::of(packet.bytes()), port) {
            (Class::Rtp, Port::Rtp) if rtp::payload_start(packet.bytes()).is_some() => {
                Received::Rtp
            }
            (Class::Rtcp, Port::Rtcp) => Received::Rtcp,
            (Class::Rtcp, Port::Rtp) if self.is_muxed() => Received::Rtcp,
            (Class::Rtp | Class::Rtcp | Class::Stun | Class::Dtls | Class::Other, _) => {
                self.refused.packets += 1;
                return Received::Nothing;
            }
        };
        if !self.believes(now, port, from) {
            self.refused.strangers += 1;
            return Received::Nothing;
        }
        if self.open(received, packet).is_err() {
            self.refused.packets += 1;
            return Received::Nothing;
        }
        match port {
            Port::Rtp => self.rtp.latch(now, from),
            Port::Rtcp => self.rtcp.latch(now, from),
        }
        if received == Received::Rtp {
            self.media = Some(now);
        }
        received
    }

    fn is_muxed(&self) -> bool {
        let remote = self.remote.as_ref();
        remote.is_some_and(|remote| remote.rtcp == RemoteRtcp::Muxed)
    }

    /// Under keys every source is looked at, for a packet proves itself; RTCP in the clear comes from where RTP comes from.
    fn believes(&self, now: Instant, port: Port, from: SocketAddr) -> bool {
        if self.srtp.is_some() {
            return true;
        }
        match port {
            Port::Rtp => self.rtp.believes(now, from, self.latch),
            Port::Rtcp => {
                let rtp = self.rtp.latched.map(|(latched, _)| latched.ip());
                let same_host = rtp.is_none_or(|rtp| rtp == from.ip());
                same_host && self.rtcp.believes(now, from, self.latch)
            }
        }
    }

    fn open(&mut self, received: Received, packet: &mut Packet) -> Result<(), Refused> {
        let Some(srtp) = &mut self.srtp else {
            return Ok(());
        };
        let open = |inbound: &mut Inbound, packet: &mut Packet| match received {
            Received::Rtp => inbound.unprotect_rtp(packet),
            Received::Rtcp => inbound.unprotect_rtcp(packet),
            Received::Nothing | Received::Check => Ok(()),
        };
        let Some(before) = &mut srtp.before else {
            return open(&mut srtp.inbound, packet);
        };
        let sealed = packet.bytes().to_vec();
        if open(&mut srtp.inbound, packet).is_ok() {
            srtp.before = None;
            return Ok(());
        }
        packet.replace(&sealed).ok_or(Refused::NoRoom)?;
        open(before, packet)
    }

    /// Protects an RTP packet in place, where there are keys. Gives where to send it from our port for RTP; `None` where it must not be
    /// sent.
    pub fn send_rtp(&mut self, packet: &mut Packet) -> Option<SocketAddr> {
        let to = self.rtp.to()?;
        if let Some(srtp) = &mut self.srtp {
            srtp.outbound.protect_rtp(packet).ok()?;
        }
        Some(to)
    }

    /// As [`PlainTransport::send_rtp`], for a compound RTCP packet; gives the port of ours, too.
    pub fn send_rtcp(&mut self, packet: &mut Packet) -> Option<(Port, SocketAddr)> {
        let to = if self.is_muxed() {
            (Port::Rtp, self.rtp.to()?)
        } else {
            (Port::Rtcp, self.rtcp.to()?)
        };
        if let Some(srtp) = &mut self.srtp {
            srtp.outbound.protect_rtcp(packet).ok()?;
        }
        Some(to)
    }

    /// How many packets were refused.
    #[must_use]
    pub fn refused(&self) -> Refusals {
        self.refused
    }

    /// Why no media comes from the SIP end, in plain words; `None` where some came in the last 5 s.
    #[must_use]
    pub fn diagnosis(&self, now: Instant) -> Option<String> {
        const LATELY: Duration = Duration::from_secs(5);
        let ago = |at: Instant| now.duration_since(at).as_secs();
        match (&self.remote, self.media) {
            (_, Some(media)) if now.duration_since(media) <= LATELY => None,
            (_, Some(media)) => Some(format!("no RTP for {} s", ago(media))),
            (None, None) => Some("no description came from the SIP end".to_owned()),
            (Some(_), None) if self.refused.packets > 0 => Some(match self.srtp {
                Some(_) => "no SRTP packet is authentic".to_owned(),
                None => "what comes is no RTP".to_owned(),
            }),
            (Some(_), None) if self.refused.strangers > 0 => {
                Some("RTP comes from another address than the description's".to_owned())
            }
            (Some(_), None) => Some(format!("no RTP for {} s", ago(self.created))),
        }
    }
}

#[cfg(test)]
mod tests;
