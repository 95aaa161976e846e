//! What all calls of an engine share while one of them is at work: the clock, chance, ports and who has them.

use std::{net::IpAddr, time::Instant};

use crate::{
    chance::Chance,
    config::Config,
    sockets::{InterfaceId, OpenError, Pair, SocketId, Sockets},
    transport::{Demux, Port},
};

/// Names a leg: the call's place in the engine, and the leg's in the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LegKey {
    pub(crate) call: u32,
    pub(crate) leg: u16,
}

/// What a port of a SIP leg is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) leg: LegKey,
    pub(crate) section: u16,
    pub(crate) port: Port,
}

/// Whose each port is, by its number.
#[derive(Debug, Default)]
pub(crate) struct Places {
    by_socket: Vec<Option<Place>>,
}

impl Places {
    pub(crate) fn find(&self, socket: SocketId) -> Option<Place> {
        *self.by_socket.get(usize::try_from(socket.0).ok()?)?
    }

    /// How many are somebody's.
    pub(crate) fn count(&self) -> usize {
        self.by_socket.iter().flatten().count()
    }

    fn set(&mut self, socket: SocketId, place: Option<Place>) {
        let at = usize::try_from(socket.0).expect("a socket's number is an index");
        if self.by_socket.len() <= at {
            self.by_socket.resize(at + 1, None);
        }
        self.by_socket[at] = place;
    }
}

/// See the module.
pub(crate) struct Desk<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    /// Of all calls.
    pub(crate) transcoded_calls: usize,
    pub(crate) chance: &'a mut Chance,
    pub(crate) sockets: &'a mut dyn Sockets,
    pub(crate) places: &'a mut Places,
    pub(crate) demux: &'a mut Demux<LegKey>,
}

impl Desk<'_> {
    /// Ports for one section of a leg.
    pub(super) fn open(
        &mut self,
        leg: LegKey,
        section: u16,
        on: InterfaceId,
        remote: Option<IpAddr>,
    ) -> Result<Pair, OpenError> {
        let pair = self.sockets.open(on, remote)?;
        for (socket, port) in [(pair.rtp, Port::Rtp), (pair.rtcp, Port::Rtcp)] {
            self.places.set(socket, Some(Place { leg, section, port }));
        }
        Ok(pair)
    }

    pub(super) fn close(&mut self, pair: Pair) {
        self.places.set(pair.rtp, None);
        self.places.set(pair.rtcp, None);
        self.sockets.close(pair);
    }
}
