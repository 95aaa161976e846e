//! All calls of one worker: descriptions and packets in, descriptions and packets out. No sockets, no clock, no chance of its own: a test
//! runs it on a virtual clock, and a seed replays it.
//!
//! What arrives by the port of the browsers is found by the ufrag of a check and then by address, all else by its port. A packet of media
//! goes through [`Engine::packet`], which allocates nothing unless the call is transcoded.

mod gauges;
mod io;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    Answer, Ask, Role,
    call::{
        Call, CallError, Passage,
        desk::{Desk, LegKey, Place, Places},
    },
    chance::Chance,
    config::Config,
    packet::{PACKET_TAIL_BYTES, Packet},
    sockets::{SocketId, Sockets},
    transport::{Demux, Peer, Port},
};

/// No timer runs finer.
const TICK: Duration = Duration::from_millis(1);

pub use crate::call::{LegReport, Stage, StreamReport};
pub use gauges::Gauges;
pub use io::{CallReport, Input, Output};

/// See the module.
pub struct Engine {
    config: Config,
    chance: Chance,
    calls: Vec<Option<Slot>>,
    /// Places in `calls` that are free.
    free: Vec<u32>,
    names: HashMap<Arc<str>, u32>,
    transcoded_calls: usize,
    places: Places,
    demux: Demux<LegKey>,
    due: BTreeSet<(Instant, u32)>,
    outputs: VecDeque<Output>,
}

struct Slot {
    name: Arc<str>,
    call: Call,
    /// Its place in `Engine::due`.
    due: Instant,
}

impl Engine {
    /// Without calls. `seed` makes all that is random: no two engines may have the same.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Self {
            config,
            chance: Chance::new(seed),
            calls: Vec::new(),
            free: Vec::new(),
            names: HashMap::new(),
            transcoded_calls: 0,
            places: Places::default(),
            demux: Demux::default(),
            due: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    /// How many calls there are.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.names.len()
    }

    /// How many of them are transcoded.
    #[must_use]
    pub fn transcoded_calls(&self) -> usize {
        self.transcoded_calls
    }

    /// Whether it has this call, by [`Branch::call`](crate::Branch::call).
    #[must_use]
    pub fn knows(&self, call: &str) -> bool {
        self.names.contains_key(call)
    }

    /// One input; then [`Engine::poll_output`] until there is nothing more.
    pub fn handle(&mut self, now: Instant, input: Input, sockets: &mut dyn Sockets) {
        match input {
            Input::Ask { id, ask } => {
                let answer = self.ask(now, &ask, sockets);
                self.outputs.push_back(Output::Answer { id, answer });
            }
            Input::Press { id, press } => {
                let name = &press.branch.call;
                let taken = self.with(now, sockets, name, |call, _| call.press(now, &press));
                let answer = match taken {
                    Some(true) => Answer::Taken,
                    Some(false) | None => Answer::Unchanged,
                };
                self.outputs.push_back(Output::Answer { id, answer });
            }
            Input::Established { branch } => {
                self.with(now, sockets, &branch.call, |call, desk| {
                    call.established(desk, &branch)
                });
            }
            Input::BranchOver { branch } => {
                self.with(now, sockets, &branch.call, |call, desk| {
                    call.branch_over(desk, &branch)
                });
            }
            Input::DialogOver { branch } => {
                let slot = self.names.get(&branch.call).copied();
                let slot = slot.and_then(|key| self.slot(key));
                if slot.is_some_and(|slot| slot.call.lives_by(&branch)) {
                    self.finish(now, sockets, &branch.call, None);
                }
            }
            Input::End { call } => self.finish(now, sockets, &call, None),
            Input::Packet {
                connection,
                from,
                mut bytes,
            } => {
                let len = bytes.len();
                bytes.resize(len + PACKET_TAIL_BYTES, 0);
                let mut packet = Packet::new(&mut bytes, len);
                if let Some((socket, to)) = self.packet(now, connection, from, &mut packet) {
                    self.transmit(socket, to, packet.bytes());
                }
            }
            Input::Look {
                id,
                named,
                calls_max,
            } => {
                let slots = self.calls.iter().flatten();
                let named = slots.filter(|slot| slot.name.starts_with(&named));
                let calls = named.take(calls_max);
                let calls = calls
                    .map(|slot| slot.call.report(now, &slot.name))
                    .collect();
                self.outputs.push_back(Output::Seen { id, calls });
            }
        }
    }

    /// A datagram that came to `socket`. What `packet` is now leaves from the socket and to the address that are returned.
    pub fn packet(
        &mut self,
        now: Instant,
        socket: SocketId,
        from: SocketAddr,
        packet: &mut Packet<'_>,
    ) -> Option<(SocketId, SocketAddr)> {
        let from = Peer::at(socket, from);
        let at = if socket == self.config.web_socket || socket.is_connection() {
            let leg = self.demux.find(from, packet.bytes())?;
            Place {
                leg,
                section: 0,
                port: Port::Rtp,
            }
        } else {
            self.places.find(socket)?
        };
        let slot = self
            .calls
            .get_mut(usize::try_from(at.leg.call).ok()?)?
            .as_mut()?;
        let outputs = &mut self.outputs;
        let more = &mut |socket, to, bytes: &[u8]| {
            let bytes = bytes.to_vec();
            outputs.push_back(Output::Transmit { socket, to, bytes });
        };
        match slot.call.packet(now, at, from, packet, more) {
            Passage::To(socket, to) if socket.is_connection() => {
                self.transmit(socket, to, packet.bytes());
                None
            }
            Passage::To(socket, to) => Some((socket, to)),
            Passage::Nowhere => None,
            inward @ (Passage::Inward | Passage::Check) => {
                if let Passage::Check = inward {
                    self.demux.learn(now, from, at.leg);
                }
                self.drain(now, at.leg.call, at.leg.leg);
                self.settle(now, at.leg.call);
                None
            }
        }
    }

    fn transmit(&mut self, socket: SocketId, to: SocketAddr, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.outputs
            .push_back(Output::Transmit { socket, to, bytes });
    }

    /// What it wants done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Engine::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, sockets: &mut dyn Sockets) {
        while let Some((_, key)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            let limits = self.config.limits;
            let Some(slot) = self.slot(key) else {
                self.due.pop_first();
                continue;
            };
            let (legs, name) = (slot.call.handle_timeout(now), Arc::clone(&slot.name));
            let mut events = Vec::new();
            slot.call.events(now, &mut |socket, to, bytes| {
                let bytes = bytes.to_vec();
                events.push(Output::Transmit { socket, to, bytes });
            });
            let dead = slot.call.dead(now, &limits);
            self.outputs.extend(events);
            for leg in legs {
                self.drain(now, key, leg);
            }
            match dead {
                Some(reason) => self.finish(now, sockets, &name, Some(reason)),
                None => self.settle(now, key),
            }
        }
    }

    fn ask(&mut self, now: Instant, ask: &Ask, sockets: &mut dyn Sockets) -> Answer {
        let name = &ask.branch.call;
        let is_new = !self.knows(name);
        if is_new && let Err(error) = self.begin(now, ask, sockets) {
            return refusal(&error);
        }
        let told = self.with(now, sockets, name, |call, desk| {
            let told = call.ask(desk, ask);
            (told, call.is_over())
        });
        match told {
            Some((Ok(told), _)) => Answer::Replace(told),
            Some((Err(error), is_over)) => {
                if is_new && is_over {
                    self.forget(now, sockets, name);
                }
                refusal(&error)
            }
            None => refusal(&CallError::NoOffer),
        }
    }

    fn begin(
        &mut self,
        now: Instant,
        ask: &Ask,
        sockets: &mut dyn Sockets,
    ) -> Result<(), CallError> {
        let max = self.config.limits.calls_max;
        if self.names.len() >= max {
            return Err(CallError::Full { max });
        }
        if ask.role == Role::Answer {
            return Err(CallError::NoOffer);
        }
        let next = u32::try_from(self.calls.len()).expect("calls are limited");
        let key = self.free.pop().unwrap_or(next);
        if key == next {
            self.calls.push(None);
        }
        let name = Arc::clone(&ask.branch.call);
        self.names.insert(Arc::clone(&name), key);
        let (calls, mut desk) = self.desk(now, sockets);
        let call = Call::new(&mut desk, key, &ask.branch);
        if let Some(slot) = calls.get_mut(usize::try_from(key).unwrap_or(usize::MAX)) {
            *slot = Some(Slot {
                name,
                call,
                due: now,
            });
        }
        self.settle(now, key);
        Ok(())
    }

    /// At work on one call. Its timers may be others afterwards.
    fn with<T>(
        &mut self,
        now: Instant,
        sockets: &mut dyn Sockets,
        name: &str,
        work: impl FnOnce(&mut Call, &mut Desk<'_>) -> T,
    ) -> Option<T> {
        let key = *self.names.get(name)?;
        let (calls, mut desk) = self.desk(now, sockets);
        let slot = calls.get_mut(usize::try_from(key).ok()?)?.as_mut()?;
        let before = slot.call.transcodes();
        let done = work(&mut slot.call, &mut desk);
        let legs = slot.call.legs();
        match (before, slot.call.transcodes()) {
            (false, true) => self.transcoded_calls += 1,
            (true, false) => self.transcoded_calls -= 1,
            (false, false) | (true, true) => {}
        }
        for leg in 0..=legs {
            self.drain(now, key, leg);
        }
        self.settle(now, key);
        Some(done)
    }

    /// The calls, and all else that one of them may need.
    fn desk<'a>(
        &'a mut self,
        now: Instant,
        sockets: &'a mut dyn Sockets,
    ) -> (&'a mut Vec<Option<Slot>>, Desk<'a>) {
        let desk = Desk {
            now,
            config: &self.config,
            transcoded_calls: self.transcoded_calls,
            chance: &mut self.chance,
            sockets,
            places: &mut self.places,
            demux: &mut self.demux,
        };
        (&mut self.calls, desk)
    }

    fn slot(&mut self, key: u32) -> Option<&mut Slot> {
        self.calls.get_mut(usize::try_from(key).ok()?)?.as_mut()
    }

    /// What a leg has to send.
    fn drain(&mut self, now: Instant, key: u32, leg: u16) {
        let socket = self.config.web_socket;
        let Some(slot) = self.calls.get_mut(key as usize).and_then(Option::as_mut) else {
            return;
        };
        let outputs = &mut self.outputs;
        slot.call.drain(now, leg, &mut |transmit| {
            let (socket, to) = transmit.to.way(socket);
            let bytes = transmit.bytes;
            outputs.push_back(Output::Transmit { socket, to, bytes });
        });
    }

    /// Puts a call where its next timer is.
    fn settle(&mut self, now: Instant, key: u32) {
        let Some(slot) = self.slot(key) else {
            return;
        };
        // Later than now, or one call could keep the others waiting.
        let due = slot.call.poll_timeout().max(now + TICK);
        let before = std::mem::replace(&mut slot.due, due);
        self.due.remove(&(before, key));
        self.due.insert((due, key));
    }

    /// It has said what it remembers, and is forgotten.
    fn finish(
        &mut self,
        now: Instant,
        sockets: &mut dyn Sockets,
        name: &Arc<str>,
        died: Option<String>,
    ) {
        let report = self.with(now, sockets, name, |call, _| CallReport {
            died: died.clone(),
            ..call.report(now, name)
        });
        if let (Some(_), Some(reason)) = (&report, died) {
            self.outputs.push_back(Output::Dead {
                call: Arc::clone(name),
                reason,
            });
        }
        self.outputs
            .extend(report.map(|report| Output::Over(Box::new(report))));
        self.forget(now, sockets, name);
    }

    fn forget(&mut self, now: Instant, sockets: &mut dyn Sockets, name: &str) {
        self.with(now, sockets, name, |call, desk| call.close(desk));
        let Some(key) = self.names.remove(name) else {
            return;
        };
        if let Some(slot) = self.calls.get_mut(key as usize).and_then(Option::take) {
            self.due.remove(&(slot.due, key));
            self.free.push(key);
        }
    }
}

fn refusal(error: &CallError) -> Answer {
    Answer::Refuse {
        status: error.status(),
        // It may repeat what somebody said, and goes into a line of SIP.
        reason: error.to_string().replace(char::is_control, " "),
    }
}

#[cfg(test)]
mod tests;
