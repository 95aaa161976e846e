//! What an engine is told, and what it says.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{LegReport, Stage};
use crate::{Answer, Ask, Branch, Press, sockets::SocketId};

/// What an engine is told.
#[derive(Debug)]
pub enum Input {
    /// A description is about to be forwarded; [`Output::Answer`] is said of it.
    Ask {
        /// Of whoever asks.
        id: u64,
        /// The question.
        ask: Ask,
    },
    /// A key was pressed; [`Output::Answer`] is said of it.
    Press {
        /// Of whoever asks.
        id: u64,
        /// The question.
        press: Press,
    },
    /// A 2xx to the INVITE: this branch and To tag have won, the others give their ports back.
    Established {
        /// Of the 2xx.
        branch: Branch,
    },
    /// A branch failed.
    BranchOver {
        /// Which.
        branch: Branch,
    },
    /// A dialog is over: that of whoever has won takes the call with it.
    DialogOver {
        /// With its To tag.
        branch: Branch,
    },
    /// The call is over.
    End {
        /// [`Branch::call`].
        call: Arc<str>,
    },
    /// What came by a connection of a browser's (RFC 6544), a packet as others come in a datagram; what leaves for it is said by
    /// [`Output::Transmit`].
    Packet {
        /// See [`SocketId::connection`].
        connection: SocketId,
        /// Whoever has opened it.
        from: SocketAddr,
        /// The packet.
        bytes: Vec<u8>,
    },
    /// Somebody wants to see how calls do; [`Output::Seen`] is said of it.
    Look {
        /// Of whoever asks.
        id: u64,
        /// With what the name of a call begins, all of it or nothing.
        named: String,
        /// So many calls at most: packets wait meanwhile.
        calls_max: usize,
    },
}

/// What an engine wants done, in this order.
#[derive(Debug)]
pub enum Output {
    /// To [`Input::Ask`] and [`Input::Press`].
    Answer {
        /// Of the ask.
        id: u64,
        /// What becomes of the description.
        answer: Answer,
    },
    /// A datagram that is not one that came: STUN, DTLS, and what transcoding makes of a packet besides another. And every packet that
    /// leaves by a connection of a browser's.
    Transmit {
        /// From here.
        socket: SocketId,
        /// To there.
        to: SocketAddr,
        /// What it is.
        bytes: Vec<u8>,
    },
    /// A call has no media any more, or never had any: its dialogs are to be ended. The engine has forgotten it.
    Dead {
        /// [`Branch::call`].
        call: Arc<str>,
        /// In plain words.
        reason: String,
    },
    /// What there was to a call that is over.
    Over(Box<CallReport>),
    /// To [`Input::Look`].
    Seen {
        /// Of the look.
        id: u64,
        /// As they are now.
        calls: Vec<CallReport>,
    },
}

/// How a call does, or did until its end.
#[derive(Clone, Debug)]
pub struct CallReport {
    /// [`Branch::call`].
    pub call: Arc<str>,
    /// Why it died, if it did not just end.
    pub died: Option<String>,
    /// From its first offer.
    pub duration: Duration,
    /// How far it has come.
    pub stage: Stage,
    /// The end that called, then the one that answered.
    pub legs: Vec<LegReport>,
}
