//! A server transaction with its response context (RFC 3261 §16.1): one request, from its first byte to its last response.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::Bytes;

use super::{
    best::Best,
    dialog::InDialog,
    ids::{BranchId, CallKey, TxKey},
    io::{AskId, Attributes, Direction, MediaMode, Policies, StageTimeouts, Target},
    place::Place,
};
use crate::{
    flow::{Destination, Flow, FlowId},
    message::Message,
    token::ClientKey,
    transaction::{Action, Reliability, Timer, invite_server, server},
};

/// One request and everything that becomes of it.
#[derive(Debug)]
pub(super) struct ServerTx {
    pub(super) key: TxKey,
    pub(super) machine: ServerMachine,
    /// What the request came on.
    pub(super) flow: Arc<Flow>,
    /// Where its responses go (RFC 3261 §18.2.2, RFC 3581 §4).
    pub(super) reply_to: Destination,
    pub(super) client: Client,
    /// As it came, with `received` and `rport`, and without our own Routes.
    pub(super) request: Arc<Message>,
    /// As the policies left it: what branches are made from.
    pub(super) outgoing: Option<Arc<Message>>,
    pub(super) policies: Policies,
    pub(super) began: Instant,
    /// The dialog that its token was verified for.
    pub(super) dialog: Option<InDialog>,
    /// The client that a PBX means, by the token that it got with its REGISTER.
    pub(super) addressee: Option<ClientKey>,
    /// Of the call that it belongs to or makes.
    pub(super) passage: u32,
    pub(super) call: CallKey,
    /// For responses of our own, and every time the same (RFC 3261 §8.2.7).
    pub(super) to_tag: u64,
    /// Of what its routing depended on.
    pub(super) loop_hash: u32,
    pub(super) attributes: Attributes,
    pub(super) phase: Phase,
    /// The one ask that the whole transaction waits for.
    pub(super) ask: Option<AskId>,
    /// Holds up later requests of the same dialog and direction.
    pub(super) gate: Option<(CallKey, Direction)>,
    pub(super) plan: Plan,
    /// All that are still there, decided or not.
    pub(super) branches: Vec<BranchId>,
    /// What the branch of its 2xx was sent on.
    pub(super) callee: Option<FlowId>,
    pub(super) best: Best,
    /// The call that it makes, as media knows it, once media was asked.
    pub(super) media_call: Option<Arc<str>>,
    /// The last response that was sent, for retransmissions.
    pub(super) sent: Option<Bytes>,
    /// How often Timer G has run.
    pub(super) retransmissions: u32,
}

/// Can the client be answered?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    There,
    /// The connection that its request came on is gone.
    Gone,
    /// There is none: nobody waits for an answer, or sends the request again.
    Ourselves,
}

/// How far a transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Behind another request of its dialog.
    Queued,
    /// Before its first branch, between stages, or with branches that work.
    Working,
    /// Every stage failed, but a branch that was cancelled has not ended: its 2xx may be on its way.
    Settling,
    /// The client took it back: what branches say no longer matters, but for a 2xx.
    Cancelled,
    /// A final response was handed down, or there never will be one.
    Over,
}

/// What is still to be tried.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) stages: VecDeque<Stage>,
    pub(super) timeouts: Vec<StageTimeouts>,
    /// Targets of the stage that is being prepared, not yet resolved.
    pub(super) resolving: VecDeque<(u32, Target)>,
    /// Candidates of the stage that is being prepared.
    pub(super) candidates: Vec<Candidate>,
    /// Counts stages as they are launched, so that a timer knows its own.
    pub(super) launched: u32,
    pub(super) branches_made: usize,
    pub(super) failure_rounds: u32,
}

/// Targets that are tried together.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) number: u32,
    pub(super) targets: VecDeque<(u32, Target)>,
    pub(super) candidates: Vec<Candidate>,
}

/// A target with its next hop: a branch to be.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) target: u32,
    pub(super) stage: u32,
    pub(super) place: Place,
    /// By which the same client is reached if that flow fails.
    pub(super) other_flows: Vec<Candidate>,
    /// The Request-URI; as it is if `None`.
    pub(super) uri: Option<String>,
    /// Routes to put on top (a registered Path).
    pub(super) path: Vec<String>,
    pub(super) headers: Vec<(String, String)>,
    /// What becomes of its media, if a policy says.
    pub(super) media: Option<MediaMode>,
}

/// Its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerMachine {
    Invite(invite_server::State),
    Other(server::State),
}

/// What happens to a server transaction, in terms of either table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerEvent {
    Request,
    Ack,
    /// A response of this status is handed down.
    Response(u16),
    Fired(Timer),
}

impl ServerTx {
    pub(super) fn is_invite(&self) -> bool {
        match self.machine {
            ServerMachine::Invite(_) => true,
            ServerMachine::Other(_) => false,
        }
    }

    pub(super) fn is_terminated(&self) -> bool {
        match self.machine {
            ServerMachine::Invite(state) => state == invite_server::State::Terminated,
            ServerMachine::Other(state) => state == server::State::Terminated,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Runs its table.
    pub(super) fn step(&mut self, event: ServerEvent) -> &'static [Action] {
        let reliability = match self.client {
            Client::There | Client::Gone => Reliability::from(self.flow.transport),
            Client::Ourselves => Reliability::Reliable,
        };
        match self.machine {
            ServerMachine::Invite(state) => {
                let event = match event {
                    ServerEvent::Request => invite_server::Event::Request,
                    ServerEvent::Ack => invite_server::Event::Ack,
                    ServerEvent::Response(..200) => invite_server::Event::Provisional,
                    ServerEvent::Response(200..300) => invite_server::Event::Success,
                    ServerEvent::Response(_) => invite_server::Event::Failure,
                    ServerEvent::Fired(timer) => invite_server::Event::Fired(timer),
                };
                let (state, actions) = invite_server::step(state, event, reliability);
                self.machine = ServerMachine::Invite(state);
                actions
            }
            ServerMachine::Other(state) => {
                let event = match event {
                    ServerEvent::Request => server::Event::Request,
                    ServerEvent::Ack => return &[],
                    ServerEvent::Response(..200) => server::Event::Provisional,
                    ServerEvent::Response(_) => server::Event::Final,
                    ServerEvent::Fired(timer) => server::Event::Fired(timer),
                };
                let (state, actions) = server::step(state, event, reliability);
                self.machine = ServerMachine::Other(state);
                actions
            }
        }
    }
}
