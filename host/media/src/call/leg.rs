//! One end's packets: its transport, whichever kind it is, and the streams that go to it, one for each section.
//!
//! The streams outlive whoever feeds them, so that an end hears one source although another branch answers or a re-offer changes ports.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use super::{
    desk::{Desk, LegKey},
    plain::PlainLeg,
    transcode::{self, Spoken},
    translate::find,
    web::WebLeg,
};
use crate::{
    Role,
    codec::PAYLOAD_BYTES_MAX,
    packet::{PACKET_TAIL_BYTES, Packet},
    relay::{EventPayload, Forward, Key, Payload, Stream, StreamIds, StreamStats},
    rtcp,
    sdp::{Section, Session},
    sockets::{OpenError, SocketId},
    transport::{Peer, Port, Received},
};

/// A packet of ours that was transcoded, with room for what SRTP adds.
const MORE_BYTES_MAX: usize = 12 + PAYLOAD_BYTES_MAX + PACKET_TAIL_BYTES;

/// An event, with room for what SRTP adds.
const EVENT_BYTES_MAX: usize = 16 + PACKET_TAIL_BYTES;

pub(super) struct Leg {
    pub(super) way: Way,
    streams: Vec<Option<Stream>>,
    /// When the last packet of media or RTCP came that is to be believed.
    pub(super) heard: Option<Instant>,
}

pub(super) enum Way {
    Web(Box<WebLeg>),
    Plain(PlainLeg),
}

impl Leg {
    pub(super) fn new(desk: &mut Desk<'_>, key: LegKey, end: crate::Leg) -> Self {
        let config = desk.config;
        let way = match config.profile(end) {
            Some(profile) => Way::Plain(PlainLeg::new(key, profile)),
            None => Way::Web(Box::new(WebLeg::new(desk, key))),
        };
        Self {
            way,
            streams: Vec::new(),
            heard: None,
        }
    }

    /// What it needs for the sections of what it will be told. `remote` is where it is, if that is known.
    pub(super) fn open(
        &mut self,
        desk: &mut Desk<'_>,
        told: &Session,
        remote: Option<IpAddr>,
    ) -> Result<(), OpenError> {
        self.streams
            .resize_with(self.streams.len().max(told.sections.len()), || None);
        for (stream, section) in self.streams.iter_mut().zip(&told.sections) {
            if stream.is_none() && !section.is_refused() {
                *stream = Some(Stream::new(stream_ids(desk)));
            }
        }
        match &mut self.way {
            Way::Web(_) => Ok(()),
            Way::Plain(leg) => leg.open(desk, told, remote),
        }
    }

    pub(super) fn close(&mut self, desk: &mut Desk<'_>) {
        match &mut self.way {
            Way::Web(leg) => leg.close(desk),
            Way::Plain(leg) => leg.close(desk),
        }
    }

    /// Gives back what the sections need no more that were refused.
    pub(super) fn tidy(&mut self, desk: &mut Desk<'_>, answer: &Session) {
        match &mut self.way {
            Way::Web(_) => {}
            Way::Plain(leg) => leg.tidy(desk, answer),
        }
    }

    /// What the end said, before it is answered.
    pub(super) fn hear(&mut self, desk: &mut Desk<'_>, said: &Session, role: Role) {
        match &mut self.way {
            Way::Web(leg) => leg.hear(desk, said, role),
            Way::Plain(_) => {}
        }
    }

    /// Adds to an offer of ours how we are reached; to an answer of ours if `offer` is what it answers.
    pub(super) fn dress(
        &mut self,
        desk: &mut Desk<'_>,
        told: &mut Session,
        offer: Option<&Session>,
    ) {
        let streams = &self.streams;
        match &mut self.way {
            Way::Web(leg) => {
                let role = if offer.is_some() {
                    Role::Answer
                } else {
                    Role::Offer
                };
                leg.dress(desk, told, role, |index| {
                    Some(streams.get(index)?.as_ref()?.ssrc())
                });
            }
            Way::Plain(leg) => leg.dress(desk, told, offer),
        }
    }

    /// Both have spoken: media goes where the end wants it now.
    pub(super) fn agree(&mut self, said: &Session, told: &Session) {
        match &mut self.way {
            Way::Web(leg) => leg.agree(said, told),
            Way::Plain(leg) => leg.agree(said, told),
        }
    }

    /// From now on this leg gets what the other one sends, as both ends have agreed. `from` and `to` are what either said and was told.
    /// Gives whether anything of it is transcoded, or was if it was not on hold.
    pub(super) fn feed(&mut self, from: (&Session, &Session), to: (&Session, &Session)) -> bool {
        let mut transcodes = false;
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let agreed = spoken(from, index).zip(spoken(to, index));
            let plan = agreed.and_then(|(from, to)| transcode::plan(from, to));
            transcodes |= plan.is_some();
            let agreed = agreed.filter(|(from, to)| flows(*from, *to));
            match (stream, agreed, plan) {
                (None, ..) => {}
                (Some(stream), Some(_), Some(plan)) => stream.set_transcoding(plan),
                (Some(stream), Some((from, to)), None) => stream.set_payloads(&payloads(from, to)),
                (Some(stream), None, _) => stream.set_payloads(&[]),
            }
        }
        transcodes
    }

    pub(super) fn receive(
        &mut self,
        now: Instant,
        section: usize,
        port: Port,
        from: Peer,
        packet: &mut Packet<'_>,
    ) -> Received {
        let received = match &mut self.way {
            Way::Web(leg) => leg.receive(now, from, packet),
            Way::Plain(leg) => leg.receive(now, section, port, from.address, packet),
        };
        match received {
            Received::Nothing | Received::Check => {}
            Received::Rtp | Received::Rtcp => self.heard = Some(now),
        }
        received
    }

    /// How that does which goes to this end, by section.
    pub(super) fn stats(&self) -> impl Iterator<Item = Option<StreamStats>> {
        let streams = self.streams.iter();
        streams.map(|stream| stream.as_ref().map(Stream::stats))
    }

    /// Whether a codec has failed on what is to go to this end.
    pub(super) fn is_broken(&self) -> bool {
        self.streams.iter().flatten().any(Stream::is_broken)
    }

    #[cfg(test)]
    pub(super) fn break_codecs(&mut self) {
        let streams = self.streams.iter_mut().flatten();
        streams.for_each(Stream::break_codecs);
    }

    /// The section of a packet of RTP that came by the port of this one.
    pub(super) fn section_of(&self, section: usize, packet: &Packet<'_>) -> Option<usize> {
        match &self.way {
            Way::Web(leg) => leg.section_of(packet),
            Way::Plain(_) => Some(section),
        }
    }

    /// Passes a packet on to this end.
    pub(super) fn send_rtp(
        &mut self,
        now: Instant,
        section: usize,
        packet: &mut Packet<'_>,
    ) -> Option<(SocketId, SocketAddr)> {
        let stream = self.streams.get_mut(section)?.as_mut()?;
        match stream.forward(now, packet) {
            Forward::Drop => None,
            Forward::Send => self.seal_rtp(section, packet),
        }
    }

    /// What else there is to pass on because of that packet.
    pub(super) fn send_more(
        &mut self,
        now: Instant,
        section: usize,
        send: &mut dyn FnMut(SocketId, SocketAddr, &[u8]),
    ) {
        let mut buffer = [0; MORE_BYTES_MAX];
        let is_more = |stream: &mut Stream, packet: &mut Packet| {
            stream.is_transcoding() && stream.more(now, packet) == Forward::Send
        };
        loop {
            let mut packet = Packet::new(&mut buffer, 0);
            let stream = self.streams.get_mut(section).and_then(Option::as_mut);
            if !stream.is_some_and(|stream| is_more(stream, &mut packet)) {
                return;
            }
            if let Some((socket, to)) = self.seal_rtp(section, &mut packet) {
                send(socket, to, packet.bytes());
            }
        }
    }

    /// A key for this end. Gives whether it will be told.
    pub(super) fn press(
        &mut self,
        now: Instant,
        section: usize,
        key: Key,
        events: EventPayload,
    ) -> bool {
        let stream = self.streams.get_mut(section).and_then(Option::as_mut);
        stream.is_some_and(|stream| stream.press(now, key, events))
    }

    /// When something is to be said of a key.
    pub(super) fn event_due(&self) -> Option<Instant> {
        let streams = self.streams.iter().flatten();
        streams.filter_map(Stream::event_due).min()
    }

    /// Says it.
    pub(super) fn send_events(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(SocketId, SocketAddr, &[u8]),
    ) {
        for section in 0..self.streams.len() {
            let mut buffer = [0; EVENT_BYTES_MAX];
            let mut packet = Packet::new(&mut buffer, 0);
            let stream = self.streams.get_mut(section).and_then(Option::as_mut);
            if stream.is_some_and(|stream| stream.event(now, &mut packet) == Forward::Send)
                && let Some((socket, to)) = self.seal_rtp(section, &mut packet)
            {
                send(socket, to, packet.bytes());
            }
        }
    }

    fn seal_rtp(
        &mut self,
        section: usize,
        packet: &mut Packet<'_>,
    ) -> Option<(SocketId, SocketAddr)> {
        match &mut self.way {
            Way::Web(leg) => leg.send_rtp(packet),
            Way::Plain(leg) => leg.send_rtp(section, packet),
        }
    }

    /// Passes RTCP of `source` on to this end.
    pub(super) fn send_rtcp(
        &mut self,
        now: Instant,
        section: usize,
        source: &mut Leg,
        packet: &mut Packet<'_>,
    ) -> Option<(SocketId, SocketAddr)> {
        let section = match source.way {
            Way::Web(_) => self.rtcp_section(source, packet)?,
            Way::Plain(_) => section,
        };
        let there = self.streams.get_mut(section)?.as_mut()?;
        let back = source.streams.get_mut(section)?.as_mut()?;
        match rtcp::translate(now, packet, &mut [there], &mut [back]) {
            Forward::Drop => None,
            Forward::Send => match &mut self.way {
                Way::Web(leg) => leg.send_rtcp(packet),
                Way::Plain(leg) => leg.send_rtcp(section, packet),
            },
        }
    }

    /// Which section RTCP is about that came over the one transport of a browser: whose source sends it, or whose source of ours it
    /// reports on. With a single section there is no question.
    fn rtcp_section(&self, source: &Leg, packet: &Packet<'_>) -> Option<usize> {
        let mut open = (0..self.streams.len()).filter(|index| self.streams[*index].is_some());
        let (first, second) = (open.next()?, open.next());
        if second.is_none() {
            return Some(first);
        }
        let word = |at: usize| {
            let bytes = packet.bytes().get(at..at + 4)?;
            Some(u32::from_be_bytes(bytes.try_into().ok()?))
        };
        // The sender; then what a receiver report (RFC 3550 §6.4.2), feedback (RFC 4585 §6.1) or a sender report is about.
        let mut named = [4, 8, 28].into_iter().filter_map(word);
        named.find_map(|ssrc| {
            let sends =
                |stream: &Option<Stream>| stream.as_ref().and_then(Stream::source) == Some(ssrc);
            let hears = |stream: &Option<Stream>| stream.as_ref().map(Stream::ssrc) == Some(ssrc);
            let by_sender = self.streams.iter().position(sends);
            by_sender.or_else(|| source.streams.iter().position(hears))
        })
    }
}

fn spoken<'s>((said, told): (&'s Session, &'s Session), index: usize) -> Option<Spoken<'s>> {
    Some((said.sections.get(index)?, told.sections.get(index)?))
}

/// Whether one end sends to another: not while either does not want it (RFC 3264 §6.1, §8.4).
fn flows((said, told): Spoken<'_>, (wants, knows): Spoken<'_>) -> bool {
    let mut all = [said, told, wants, knows].into_iter();
    !all.any(Section::is_refused) && said.direction.has_send() && wants.direction.has_recv()
}

/// Which payload types pass from one end to another, and what they become.
fn payloads((said, told): Spoken<'_>, (wants, knows): Spoken<'_>) -> Vec<Payload> {
    let mut payloads: Vec<Payload> = Vec::new();
    // It sends by the numbers that it was told; some go by their own.
    for codec in told.codecs.iter().chain(&said.codecs) {
        let from = codec.payload_type;
        // What an end has offered it takes no longer once it was answered without it.
        let wanted =
            find(&wants.codecs, codec).filter(|wanted| find(&knows.codecs, wanted).is_some());
        if let Some(wanted) = wanted.filter(|_| payloads.iter().all(|payload| payload.from != from))
        {
            let (to, clock_hz) = (wanted.payload_type, codec.clock_hz);
            payloads.push(Payload { from, to, clock_hz });
        }
    }
    payloads
}

fn stream_ids(desk: &mut Desk<'_>) -> StreamIds {
    let drawn = desk.chance.number();
    let sequence = desk.chance.number();
    let [high, low] =
        [drawn >> 32, drawn & 0xffff_ffff].map(|half| u32::try_from(half).unwrap_or(0));
    StreamIds {
        ssrc: high,
        timestamp: low,
        // RFC 3711 §3.3.1: in the lower half.
        sequence: u16::try_from(sequence & 0x7fff).unwrap_or(0),
    }
}
