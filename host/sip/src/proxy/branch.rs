//! A branch: one target of a request, its client transaction, and its CANCEL.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    credentials::Said,
    ids::{CallKey, TxId},
    io::{AskId, Direction},
    media::Told,
    relayed::Alias,
    server_tx::Candidate,
    via::ViaBranch,
};
use crate::{
    message::Message,
    transaction::{Action, Reliability, Timer, client, invite_client},
};

/// One target of a request.
#[derive(Debug)]
pub(super) struct Branch {
    pub(super) tx: TxId,
    pub(super) via: ViaBranch,
    /// Counts the branches of one passage; flow tokens carry it.
    pub(super) index: u8,
    pub(super) candidate: Candidate,
    pub(super) machine: ClientMachine,
    /// The request: before it is sent what is to be, then as it was sent.
    pub(super) request: Arc<Message>,
    /// `request` on the wire; empty before it is sent.
    pub(super) bytes: Bytes,
    pub(super) phase: BranchPhase,
    pub(super) heard: Heard,
    /// From and To are not as the client wrote them: its responses get them back.
    pub(super) rewritten: Rewritten,
    /// Contacts of ours in a REGISTER: its answer gets the client's own back.
    pub(super) aliases: Vec<Alias>,
    /// Over TCP since it was too large for UDP; falls back to it.
    pub(super) fallback: Fallback,
    /// What it says of who we are.
    pub(super) said: Said,
    /// How far its CSeq is ahead of the client's own: its responses get that back.
    pub(super) ahead: u32,
    /// The ask that it waits for, before it is sent or with a response in hand.
    pub(super) ask: Option<AskId>,
    /// The response that is being asked about, with `phase` Sent.
    pub(super) in_hand: Option<Message>,
    /// Responses behind that one.
    pub(super) queue: VecDeque<Message>,
    /// Held while a response of a dialog is being asked about.
    pub(super) gate: Option<(CallKey, Direction)>,
    pub(super) cancel: Cancel,
    /// The 2xx that were forwarded, by To tag; empty bytes while one is on its way.
    pub(super) answers: Vec<(String, Bytes)>,
    /// The ACK of its failure response.
    pub(super) ack: Bytes,
    /// How often Timer A or E was started.
    pub(super) retransmissions: u32,
    /// What media knows of it.
    pub(super) told: Told,
    /// When Timer C is due.
    pub(super) rings_until: Instant,
}

/// How far a branch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BranchPhase {
    /// Asked about, not yet sent.
    Preparing,
    /// Its outcome is awaited.
    Sent,
    /// It has failed, succeeded or been given up: the stage no longer waits for it.
    Decided,
}

/// Has the next hop said anything yet? If not, another member of its upstream may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    Something,
}

/// Are From and To another than the client's?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rewritten {
    /// As the client wrote them.
    No,
    /// By a policy, or for the other end of a dialog.
    Yes,
}

/// What to do if the next hop cannot be reached over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    None,
    Udp,
}

/// The CANCEL of a branch (RFC 3261 §9.1).
#[derive(Debug)]
pub(super) enum Cancel {
    /// None.
    No,
    /// To be sent with these Reasons as soon as a provisional response is there.
    Wanted(Vec<Vec<u8>>),
    /// Sent; its own client transaction.
    Sent {
        state: client::State,
        bytes: Bytes,
        retransmissions: u32,
    },
}

/// Its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientMachine {
    /// Not yet sent.
    Idle,
    Invite(invite_client::State),
    Other(client::State),
    /// Over.
    Terminated,
}

/// What happens to a client transaction, in terms of either table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientEvent {
    Response(u16),
    Fired(Timer),
    TransportError,
}

impl Branch {
    pub(super) fn is_invite(&self) -> bool {
        self.request.method() == Some(crate::message::Method::Invite)
    }

    /// Puts a response behind those that wait. Says whether one was dropped for it: a provisional one before a final one, which may
    /// never come again.
    pub(super) fn enqueue(&mut self, response: Message, queued_max: usize) -> bool {
        let is_provisional = |response: &Message| response.status().is_some_and(|s| s < 200);
        if self.queue.len() < queued_max {
            self.queue.push_back(response);
            return false;
        }
        if !is_provisional(&response) {
            let spare = self.queue.iter().rposition(is_provisional);
            if spare.and_then(|at| self.queue.remove(at)).is_some() {
                self.queue.push_back(response);
            }
        }
        true
    }

    /// Begins its machine.
    pub(super) fn start(&mut self) -> &'static [Action] {
        let reliability = Reliability::from(self.candidate.place.transport);
        if self.is_invite() {
            let (state, actions) = invite_client::start(reliability);
            self.machine = ClientMachine::Invite(state);
            actions
        } else {
            let (state, actions) = client::start(reliability);
            self.machine = ClientMachine::Other(state);
            actions
        }
    }

    /// Runs its table.
    pub(super) fn step(&mut self, event: ClientEvent) -> &'static [Action] {
        let reliability = Reliability::from(self.candidate.place.transport);
        let (machine, actions) = match self.machine {
            ClientMachine::Idle | ClientMachine::Terminated => return &[],
            ClientMachine::Invite(state) => {
                let event = match event {
                    ClientEvent::Response(..200) => invite_client::Event::Provisional,
                    ClientEvent::Response(200..300) => invite_client::Event::Success,
                    ClientEvent::Response(_) => invite_client::Event::Failure,
                    ClientEvent::Fired(timer) => invite_client::Event::Fired(timer),
                    ClientEvent::TransportError => invite_client::Event::TransportError,
                };
                let (state, actions) = invite_client::step(state, event, reliability);
                let over = state == invite_client::State::Terminated;
                (
                    if over {
                        ClientMachine::Terminated
                    } else {
                        ClientMachine::Invite(state)
                    },
                    actions,
                )
            }
            ClientMachine::Other(state) => {
                let event = match event {
                    ClientEvent::Response(..200) => client::Event::Provisional,
                    ClientEvent::Response(_) => client::Event::Final,
                    ClientEvent::Fired(timer) => client::Event::Fired(timer),
                    ClientEvent::TransportError => client::Event::TransportError,
                };
                let (state, actions) = client::step(state, event, reliability);
                let over = state == client::State::Terminated;
                (
                    if over {
                        ClientMachine::Terminated
                    } else {
                        ClientMachine::Other(state)
                    },
                    actions,
                )
            }
        };
        self.machine = machine;
        actions
    }

    /// A response came, so that a CANCEL may follow and the first-response time-out is met.
    pub(super) fn is_proceeding(&self) -> bool {
        match self.machine {
            ClientMachine::Invite(state) => state == invite_client::State::Proceeding,
            ClientMachine::Other(state) => state == client::State::Proceeding,
            ClientMachine::Idle | ClientMachine::Terminated => false,
        }
    }

    /// No response of any kind came yet.
    pub(super) fn is_calling(&self) -> bool {
        match self.machine {
            ClientMachine::Invite(state) => state == invite_client::State::Calling,
            ClientMachine::Other(state) => state == client::State::Trying,
            ClientMachine::Idle | ClientMachine::Terminated => false,
        }
    }

    /// Nothing is on its way but what its machine waits for: neither a response, nor an ask, nor the end of its CANCEL.
    pub(super) fn is_idle(&self) -> bool {
        let cancelled = match &self.cancel {
            Cancel::No | Cancel::Wanted(_) => true,
            Cancel::Sent { state, .. } => {
                matches!(state, client::State::Completed | client::State::Terminated)
            }
        };
        self.ask.is_none() && self.queue.is_empty() && cancelled
    }
}
