//! The client's inputs and outputs, as plain values.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    message::Totals,
    nodes::{Health, NodeId},
};
use crate::{Answer, Ask, News};

/// Pairs an ask with its answer; whoever asks never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// What happens to the client.
#[derive(Clone, Debug)]
pub enum Input {
    /// A session description is to be rewritten.
    Ask {
        /// Of this ask.
        id: AskId,
        /// What is asked.
        ask: Ask,
    },
    /// Nobody waits for what becomes of it any more; answered at once, as every ask is answered once.
    Withdraw {
        /// Of the ask.
        id: AskId,
    },
    /// What became of branches.
    News(News),
    /// A node sent this.
    Received {
        /// Which.
        node: NodeId,
        /// One message.
        bytes: Bytes,
    },
    /// The connection to a node stands.
    Connected {
        /// Which.
        node: NodeId,
    },
    /// It does not any more: what it was asked will not be answered.
    Disconnected {
        /// Which.
        node: NodeId,
    },
}

/// What the client wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// One message leaves.
    Send {
        /// For whom.
        node: NodeId,
        /// As it is to be sent.
        bytes: Bytes,
    },
    /// To an ask.
    Answer {
        /// Which.
        id: AskId,
        /// What becomes of its session description.
        answer: Answer,
    },
    /// A node is there again, or is not.
    Health {
        /// Which.
        node: NodeId,
        /// From now on.
        health: Health,
    },
    /// The media of a call that was answered has died: its dialogs are to be ended.
    Dead {
        /// Its name.
        call: Arc<str>,
        /// In plain words.
        reason: String,
    },
    /// A call is over at its node.
    Over {
        /// Its name.
        call: Arc<str>,
        /// What went through it, if the node says.
        totals: Option<Totals>,
    },
}
