//! What the proxy tells of what it did: for the log, and as labels of metrics.

use std::{sync::Arc, time::Duration};

use crate::{
    flow::{Flow, FlowId, UpstreamId},
    message::{Message, Method},
};

/// What a server transaction came to.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Who began it.
    pub origin: Origin,
    /// As it came, but for our own Routes.
    pub request: Arc<Message>,
    /// What it came on; of a request of ours, what it would have come on.
    pub flow: Arc<Flow>,
    /// The dialog's token was verified.
    pub in_dialog: bool,
    /// The final status sent; 0 if none was.
    pub status: u16,
    /// Where that status comes from.
    pub cause: Cause,
    /// More of the cause, for people; may be empty.
    pub detail: String,
    /// The upstream that answered, if one did.
    pub upstream: Option<UpstreamId>,
    /// What the branch was sent on whose 2xx was forwarded, if on a flow.
    pub callee: Option<FlowId>,
    /// From its first byte to its final response.
    pub took: Duration,
}

impl Ended {
    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.request.method().map_or("", Method::as_str)
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.request.call_id().unwrap_or_default()
    }
}

/// Who began a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Whoever is at the other end of its flow.
    Client,
    /// The proxy itself: it ends a call.
    Proxy,
}

/// Where a transaction's end comes from: a closed set, for metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cause {
    /// A final response of a branch was forwarded.
    Forwarded,
    /// A policy answered.
    Policy,
    /// A policy failed.
    PolicyFault,
    /// A policy discarded the request.
    Discarded,
    /// We answered a probe: OPTIONS to the proxy itself.
    Answered,
    /// We answered: the request was wrong (400, 403, 404, 416, 420, 481, 482, 483, 501 …).
    Refused,
    /// The registrar answered.
    Registrar,
    /// CANCEL.
    Cancelled,
    /// No answer in time (408).
    Timeout,
    /// The next hop could not be reached, or a flow is gone.
    Unreachable,
    /// A limit of ours was reached (503).
    Overload,
    /// An upstream did not take our credentials (500).
    Credentials,
    /// The client's flow was gone before an answer could be sent.
    ClientGone,
}

/// Why something was dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropCause {
    /// A response that matches no client transaction, or is for nobody behind us.
    StrayResponse,
    /// An ACK that matches nothing and has no token.
    StrayAck,
    /// A response whose topmost Via is not ours.
    ForeignVia,
    /// A message that cannot be answered.
    Unanswerable,
    /// A queue or table was full.
    Overload,
}

/// An upstream asked who we are (401, 407).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Challenged {
    /// It was answered with our credentials.
    Answered,
    /// It asked again: they are wrong.
    Refused,
    /// It asked in no way that we know.
    Unknown,
}
