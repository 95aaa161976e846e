//! The proxy's inputs and outputs: everything that crosses its border, as plain values.
//!
//! One input, then drain every output, then the next input. Whatever takes time has one shape: an output with an [`AskId`], answered
//! by one input with the same id (policy: [`Output::Ask`], location: [`Output::Store`], media: [`Output::Media`]). An answer to an ask
//! that is over (cancelled, timed out) is ignored.

use std::{any::Any, collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    config::{Member, MemberHealth, Way},
    trunk::{TrunkId, TrunkState},
};
pub use super::{
    ended::{Cause, Challenged, DropCause, Ended, Origin},
    media::{Leg, MediaBranch, MediaMode, MediaNews, MediaVerdict, SdpRole},
};
use crate::{
    flow::{Destination, Flow, FlowId, SessionKey, UpstreamId},
    message::Message,
    registrar::{Aor, Binding, RegisterUpdate},
    token::ClientKey,
};

/// Pairs an ask with its answer; never used twice by one proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// What happens to the proxy.
#[derive(Debug)]
pub enum Input {
    /// A message arrived whole.
    Received {
        /// What it came on.
        flow: Arc<Flow>,
        /// The message; parsed and within the limits.
        message: Message,
        /// The policies that a new transaction begins with and stays with.
        policies: Policies,
    },
    /// A flow that this proxy sent on, or that its transactions came on, is gone.
    FlowClosed {
        /// Its name.
        flow: FlowId,
    },
    /// Nothing can be delivered there; transactions that wait for an answer from there fail at once (RFC 3261 §16.9).
    SendFailed {
        /// Where bytes should have gone.
        to: Destination,
    },
    /// One message could not be delivered, which says nothing of the others to the same place: a request fails at once if this was the
    /// first time that it was sent; anything else is lost like any datagram.
    Undelivered {
        /// Where it should have gone.
        to: Destination,
        /// As [`Output::Send`] had it.
        bytes: Bytes,
    },
    /// Answers [`Output::Ask`].
    Verdict {
        /// Of the ask.
        id: AskId,
        /// What the policies decided.
        verdict: Verdict,
    },
    /// Answers [`Output::Store`].
    Stored {
        /// Of the ask.
        id: AskId,
        /// What the store says.
        reply: StoreReply,
    },
    /// Answers [`Output::Media`] and [`Output::Key`].
    MediaDone {
        /// Of the ask.
        id: AskId,
        /// What becomes of the session description.
        verdict: MediaVerdict,
    },
    /// A call whose media passes through us has none any more: each end gets a BYE. No other call can be ended so.
    EndCall {
        /// As [`MediaBranch`] has it.
        call: Arc<str>,
        /// Says why, for the Reason of the BYEs.
        reason: String,
    },
    /// A member of an upstream was looked after.
    Member {
        /// Its address.
        member: SocketAddr,
        /// What was found.
        health: MemberHealth,
    },
    /// The names of an upstream lead elsewhere now.
    Members {
        /// Whose.
        upstream: UpstreamId,
        /// How it is spoken to there.
        way: Way,
        /// All that it has now.
        members: Vec<Member>,
    },
    /// Whatever it needs is up: registers our trunks.
    Begin,
    /// Our trunks are no longer registered, and no new transactions from now on (503 with Retry-After, which tells clients to go elsewhere); those that run, and requests in
    /// dialogs, go on.
    Drain,
}

/// What the proxy wants done, in this order.
#[derive(Debug)]
pub enum Output {
    /// Bytes leave.
    Send {
        /// Where to.
        to: Destination,
        /// One whole message.
        bytes: Bytes,
    },
    /// A hook of the policies is due.
    Ask(Box<Ask>),
    /// The location service is asked.
    Store {
        /// Of this ask.
        id: AskId,
        /// What is asked.
        op: StoreOp,
    },
    /// A session description is about to be forwarded.
    Media {
        /// Of this ask.
        id: AskId,
        /// Names the branch: Call-ID, From tag, passage and branch, opaque to media.
        branch: MediaBranch,
        /// Which way the description travels.
        direction: Direction,
        /// Whether it offers or answers (RFC 3264).
        role: SdpRole,
        /// The body as it would leave, `application/sdp`.
        sdp: Bytes,
        /// What a policy chose for the target, now or when the dialog began.
        mode: Option<MediaMode>,
    },
    /// A key was pressed in a call whose media passes through us: an INFO is about to be forwarded that says so. As with
    /// [`Output::Media`], [`Input::MediaDone`] answers it.
    Key {
        /// Of this ask.
        id: AskId,
        /// As [`Output::Media`] has it.
        branch: MediaBranch,
        /// Which way it travels.
        direction: Direction,
        /// The body, `application/dtmf-relay` or `application/dtmf`.
        body: Bytes,
    },
    /// What became of branches that media was asked about. Nothing is to be answered.
    MediaNews(MediaNews),
    /// An ask is over before its answer: work on it can stop, its answer is ignored.
    Withdraw {
        /// Of the ask.
        id: AskId,
    },
    /// A server transaction came to its end: one line of the log, one count of the metrics.
    Ended(Box<Ended>),
    /// Something was dropped without an answer, to be counted.
    Dropped {
        /// Why, as a metric label.
        cause: DropCause,
    },
    /// An upstream asked who we are, to be counted; what did not go well is for the operator to mend.
    Challenged {
        /// Which.
        upstream: UpstreamId,
        /// What came of it.
        outcome: Challenged,
    },
    /// The client at the other end of `flow` registered on it, and was told to send keep-alives at least this often (RFC 5626 §5.4): a flow
    /// that is silent for longer may be closed.
    FlowTimer {
        /// Its name.
        flow: FlowId,
        /// As told.
        timer: Duration,
    },
    /// A registration of ours has another state.
    Trunk {
        /// Which.
        trunk: TrunkId,
        /// From now on.
        state: TrunkState,
    },
}

/// Chosen by whoever feeds the proxy when a transaction begins; opaque to it but for the hooks that are worth asking for.
#[derive(Clone)]
pub struct Policies {
    /// Hooks that some policy exports: others are not asked.
    pub hooks: Hooks,
    /// The generation, for whoever runs it.
    pub generation: Arc<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policies")
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}

/// The hooks of the contract that concern a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// REGISTER.
    Register,
    /// Any other request but ACK and CANCEL.
    Request,
    /// A branch, just before it is sent.
    Branch,
    /// A response, before it is forwarded.
    Response,
    /// Every stage failed.
    Failure,
}

/// A set of [`Hook`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks(u8);

impl Hooks {
    /// With `hook` in it.
    #[must_use]
    pub fn with(self, hook: Hook) -> Self {
        Self(self.0 | 1 << hook as u8)
    }
    /// Is `hook` in it?
    #[must_use]
    pub fn has(self, hook: Hook) -> bool {
        self.0 & 1 << hook as u8 != 0
    }
}

/// One hook is to be run over one message.
#[derive(Debug)]
pub struct Ask {
    /// Pairs it with its verdict.
    pub id: AskId,
    /// Which hook.
    pub hook: Hook,
    /// The policies that the transaction began with.
    pub policies: Policies,
    /// What the request came on.
    pub flow: Arc<Flow>,
    /// The current message, to be edited and returned in the verdict. In [`Hook::Response`] the response.
    pub message: Message,
    /// In [`Hook::Response`]: the request as this branch was sent.
    pub request: Option<Arc<Message>>,
    /// In [`Hook::Response`] and [`Hook::Failure`].
    pub status: u16,
    /// In [`Hook::Branch`].
    pub branch: Option<BranchInfo>,
    /// The dialog's token was verified.
    pub in_dialog: bool,
    /// The transaction's attributes so far.
    pub transaction: Attributes,
    /// The call's attributes so far.
    pub call: Attributes,
}

/// Key and value pairs that policies keep with a transaction or a call. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub Arc<BTreeMap<String, String>>);

/// A change of one attribute; `None` deletes.
pub type AttributeEdit = (String, Option<String>);

/// Describes a branch to `on-branch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchInfo {
    /// Index of the target.
    pub target: u32,
    /// Its Request-URI.
    pub uri: String,
    /// The upstream that it goes to, if to one.
    pub upstream: Option<UpstreamId>,
    /// The member's address.
    pub member: Option<SocketAddr>,
    /// Its stage.
    pub stage: u32,
}

/// The answer to an [`Ask`].
#[derive(Debug)]
pub enum Verdict {
    /// Go on with the message as it is now.
    Continue(Box<Continue>),
    /// A final response; [`Hook::Register`], [`Hook::Request`] and [`Hook::Failure`].
    Reply {
        /// 300 to 699, or 200 to 299.
        status: u16,
        /// The RFC's phrase if `None`.
        reason: Option<String>,
        /// Name and value, already checked.
        headers: Vec<(String, String)>,
        /// Media type and bytes.
        body: Option<(String, Bytes)>,
    },
    /// No answer at all; [`Hook::Register`] and [`Hook::Request`]. The transaction absorbs retransmissions.
    Discard,
    /// [`Hook::Branch`]: this branch is not sent. [`Hook::Response`]: this provisional response is dropped.
    Skip,
    /// A policy failed and its failure mode is `closed`: 500 for a request, and for a branch as if 500 had come back; a response
    /// passes without edits.
    Fault {
        /// For the log: policy and reason.
        reason: String,
    },
}

/// The message goes on.
#[derive(Debug)]
pub struct Continue {
    /// With the edits of the policies that returned without a fault.
    pub message: Message,
    /// Set by policies; empty is default routing. Only from [`Hook::Register`], [`Hook::Request`] and [`Hook::Failure`].
    pub targets: Vec<Target>,
    /// Per stage, where a policy set them.
    pub timeouts: Vec<StageTimeouts>,
    /// [`Hook::Response`]: another status, already checked against its class.
    pub status: Option<u16>,
    /// To apply to the transaction's attributes.
    pub transaction: Vec<AttributeEdit>,
    /// To apply to the call's attributes.
    pub call: Vec<AttributeEdit>,
}

/// Where a policy sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Targets of one stage ring together; the next stage is tried when the last one failed.
    pub stage: u32,
    /// How its next hop is found.
    pub kind: TargetKind,
    /// The Request-URI that it gets; as it came if `None`.
    pub uri: Option<String>,
    /// Sent there, whatever the Request-URI says: a `sip:` URI with an address.
    pub next_hop: Option<String>,
    /// Header fields set on this branch alone; already checked.
    pub headers: Vec<(String, String)>,
    /// What becomes of its media; by the configuration if `None`.
    pub media: Option<MediaMode>,
}

/// How a target's next hop is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// By `uri`: location service for a local domain, else its host and port.
    Uri(String),
    /// A member of this upstream.
    Upstream(UpstreamId),
    /// Every contact of this address of record.
    Registered(String),
}

/// Time-outs of one stage; `None` leaves the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageTimeouts {
    /// Which stage.
    pub stage: u32,
    /// Until the first response of any kind.
    pub first_response: Option<Duration>,
    /// Until the final response.
    pub no_answer: Option<Duration>,
}

/// What is asked of the location service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Add, refresh, remove or list bindings (RFC 3261 §10.3); `registrar::apply` is the rule.
    Register {
        /// Whose.
        aor: Aor,
        /// What changes.
        update: RegisterUpdate,
    },
    /// The contacts of an address of record.
    Lookup {
        /// Whose.
        aor: Aor,
    },
    /// The flow on which a session is reached now.
    Session {
        /// Named by a flow token.
        key: SessionKey,
        /// On which it was reached when its dialog began: preferred while it is up.
        flow: FlowId,
    },
    /// A binding, whether or not its flow is up.
    Client {
        /// Named by a client token.
        key: ClientKey,
    },
    /// A flow is gone: bindings on it are unreachable until they are refreshed.
    FlowClosed {
        /// Its name.
        flow: FlowId,
    },
}

/// What the location service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreReply {
    /// All current bindings, after the update; of a client, the one or none.
    Bindings(Vec<Binding>),
    /// The flow of a session, if one is up.
    Session(Option<Arc<Flow>>),
    /// [`StoreOp::Register`] was refused by the rules: answered with this.
    Refused {
        /// 400, 403, 423, 500.
        status: u16,
        /// Says what is wrong.
        reason: String,
    },
    /// The store failed: 500.
    Failed,
}

/// Which way a session description travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the caller of the dialog to its callee.
    ToCallee,
    /// The other way.
    ToCaller,
}
