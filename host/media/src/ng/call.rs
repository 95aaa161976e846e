//! One call as the client knows it: where it is, what is still to be done for it, and what its ends speak.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{Protocol, io::AskId, nodes::NodeId};
use crate::{Ask, Direction};

#[derive(Debug)]
pub(super) struct Call {
    /// Where it is, once it is anywhere.
    pub(super) node: Option<NodeId>,
    /// It waits for the reply to a command.
    pub(super) waits: bool,
    pub(super) queue: VecDeque<Work>,
    /// Branch and To tag of those who answered and have not hung up.
    pub(super) dialogs: BTreeSet<(Arc<str>, Option<Arc<str>>)>,
    /// What the caller and the callee said last, if they said it as SIP ends.
    caller: Option<Protocol>,
    callee: Option<Protocol>,
}

/// What is to be done for a call.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Ask(Box<Asked>),
    Delete,
    Query,
}

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) id: AskId,
    pub(super) ask: Ask,
    /// Nodes that did not take it.
    pub(super) tried: Vec<NodeId>,
}

impl Call {
    pub(super) fn new() -> Self {
        Self {
            node: None,
            waits: false,
            queue: VecDeque::new(),
            dialogs: BTreeSet::new(),
            caller: None,
            callee: None,
        }
    }

    /// Learns what the sender of a session description speaks; gives what its recipient does, which has `offered` if it said nothing yet.
    pub(super) fn protocol(&mut self, ask: &Ask, offered: Protocol) -> Protocol {
        let said = Protocol::of(&ask.sdp);
        let (sender, recipient) = match ask.direction {
            Direction::ToCallee => (&mut self.caller, self.callee),
            Direction::ToCaller => (&mut self.callee, self.caller),
        };
        *sender = said.or(*sender);
        recipient.unwrap_or(offered)
    }
}
