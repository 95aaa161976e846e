//! Media without signalling: what becomes of a session description on its way, and of the packets that it brings about.
//!
//! Knows nothing of SIP: a branch of a call is a name, a session description is bytes. `direct` is the mode in which media goes from
//! end to end and not through us.

mod auto;
mod call;
mod chance;
pub mod codec;
pub mod config;
pub mod dtls;
pub mod engine;
pub mod framing;
#[cfg(test)]
mod hostile;
pub mod ice;
pub mod ng;
pub mod packet;
pub mod ports;
pub mod relay;
pub mod rtcp;
pub mod rtp;
pub mod run;
pub mod sdp;
pub mod sockets;
pub mod srtp;
pub mod stun;
#[cfg(test)]
mod testing;
pub mod transport;

use std::sync::Arc;

use bytes::Bytes;

pub use auto::{Auto, by_target};

/// A session description is about to be forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whose it is.
    pub branch: Branch,
    /// Which way it travels.
    pub direction: Direction,
    /// Whether it offers or answers.
    pub role: Role,
    /// The body, `application/sdp`, as it would leave.
    pub sdp: Bytes,
}

/// Names one branch of a call: equal names, equal branch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Branch {
    /// Of the call.
    pub call: Arc<str>,
    /// Of the branch within it.
    pub branch: Arc<str>,
    /// Of the answerer, once one is known: a branch may fork further down.
    pub to_tag: Option<Arc<str>>,
    /// Where the one is who called.
    pub caller: Leg,
    /// Where the one is who was called.
    pub callee: Leg,
}

/// What one end speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// WebRTC.
    Web,
    /// RTP or SRTP, by this upstream of the configuration if it is one.
    Sip(Option<u16>),
}

/// Which way a session description travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the one who called to the one who was called.
    ToCallee,
    /// The other way.
    ToCaller,
}

/// RFC 3264.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Asks.
    Offer,
    /// Answers.
    Answer,
}

/// A key was pressed in signalling (INFO), by an end of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Press {
    /// Whose it is.
    pub branch: Branch,
    /// Which way it travels.
    pub direction: Direction,
    /// The body, `application/dtmf-relay` or `application/dtmf`.
    pub body: Bytes,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It leaves as it came.
    Unchanged,
    /// It leaves with this body.
    Replace(Bytes),
    /// It does not leave: what it says is in the media now.
    Taken,
    /// It does not leave.
    Refuse {
        /// 488, 500, …
        status: u16,
        /// Says why.
        reason: String,
    },
}

/// What became of branches that were asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Whoever has this To tag answered the call: of its branch and of others nobody will be heard any more, but for those who answered,
    /// too.
    Answered(Branch),
    /// The last offer within the dialog came to nothing: what was agreed before it stands.
    Rejected(Branch),
    /// This branch, whatever the To tag, was not answered and never will be; others of its call may be.
    Lost(Branch),
    /// This dialog is over.
    Ended(Branch),
    /// Nobody answered: all branches of this call are over.
    Failed {
        /// As [`Branch`] has it.
        call: Arc<str>,
    },
}

impl News {
    /// The call that it is of.
    #[must_use]
    pub fn call(&self) -> &Arc<str> {
        match self {
            Self::Answered(branch)
            | Self::Rejected(branch)
            | Self::Lost(branch)
            | Self::Ended(branch) => &branch.call,
            Self::Failed { call } => call,
        }
    }
}

impl Ask {
    /// What the end speaks that wrote the description.
    #[must_use]
    pub fn sender(&self) -> Leg {
        match self.direction {
            Direction::ToCallee => self.branch.caller,
            Direction::ToCaller => self.branch.callee,
        }
    }

    /// What the end speaks that gets the description.
    #[must_use]
    pub fn recipient(&self) -> Leg {
        match self.direction {
            Direction::ToCallee => self.branch.callee,
            Direction::ToCaller => self.branch.caller,
        }
    }
}

/// The mode `direct`: media goes from end to end, so both ends must speak the same and reach each other.
#[must_use]
pub fn direct(ask: &Ask) -> Answer {
    let _ = ask;
    Answer::Unchanged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_leaves_every_description_as_it_came() {
        for (caller, callee) in [
            (Leg::Web, Leg::Web),
            (Leg::Web, Leg::Sip(Some(0))),
            (Leg::Sip(None), Leg::Web),
        ] {
            let branch = Branch {
                call: "c".into(),
                branch: "b".into(),
                to_tag: None,
                caller,
                callee,
            };
            let sdp = Bytes::from_static(b"v=0\r\n");
            let ask = Ask {
                branch,
                direction: Direction::ToCallee,
                role: Role::Offer,
                sdp,
            };
            assert_eq!(direct(&ask), Answer::Unchanged);
        }
    }
}
