//! What a hook is given and what it answers: the border between policies and whoever runs them. No SIP is parsed here: the current
//! message is a trait object.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use thiserror::Error;

/// The hooks of `wit/hookswitch.wit`, each an interface of its own that a policy may export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HookName {
    /// `connect-hook`
    Connect,
    /// `register-hook`
    Register,
    /// `request-hook`
    Request,
    /// `branch-hook`
    Branch,
    /// `response-hook`
    Response,
    /// `failure-hook`
    Failure,
}

impl HookName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Register,
        Self::Request,
        Self::Branch,
        Self::Response,
        Self::Failure,
    ];

    /// Its interface in the contract.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Connect => "connect-hook",
            Self::Register => "register-hook",
            Self::Request => "request-hook",
            Self::Branch => "branch-hook",
            Self::Response => "response-hook",
            Self::Failure => "failure-hook",
        }
    }
}

/// Why an edit was refused; `edit-error` of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    /// The field is the proxy's.
    #[error("the field belongs to the proxy")]
    Protected,
    /// The operator did not grant it.
    #[error("not granted")]
    NotGranted,
    /// There is nothing to edit in this hook.
    #[error("nothing to edit here")]
    NoMessage,
    /// A value that cannot stand there.
    #[error("invalid: {0}")]
    Invalid(String),
    /// Over a limit.
    #[error("too large")]
    TooLarge,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Media type and bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// `Content-Type`.
    pub media_type: String,
    /// The body.
    pub bytes: Vec<u8>,
}

/// The current message as policies see it. Edits act on it at once; the chain keeps a `fork` from before a policy's first edit and
/// takes it back when that policy fails.
pub trait Message: Send {
    /// A copy that later edits do not touch; cheap.
    fn fork(&self) -> Box<dyn Message>;
    /// The implementor, to get the message back after the hook.
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send>;
    /// Method and Request-URI; `None` of a response.
    fn request_line(&self) -> Option<(String, String)>;
    /// First value of a field; compact forms and case do not matter.
    fn header(&self, name: &str) -> Option<String>;
    /// Every value; comma lists are split where the grammar is a list.
    fn header_values(&self, name: &str) -> Vec<String>;
    /// Values as on the wire.
    fn header_bytes(&self, name: &str) -> Vec<Vec<u8>>;
    /// Every field, name and value.
    fn headers(&self) -> Vec<(String, String)>;
    /// In a response: a field of the request that it answers.
    fn request_header(&self, name: &str) -> Option<String>;
    /// The body, if there is one.
    fn body(&self) -> Option<Content>;
    /// One field with these values in place of all of that name.
    ///
    /// # Errors
    /// As for every edit: [`EditError`].
    fn set_header(&mut self, name: &str, values: &[String]) -> Result<(), EditError>;
    /// Before the first of that name.
    ///
    /// # Errors
    /// [`EditError`].
    fn prepend_header(&mut self, name: &str, value: &str) -> Result<(), EditError>;
    /// After the last of that name.
    ///
    /// # Errors
    /// [`EditError`].
    fn append_header(&mut self, name: &str, value: &str) -> Result<(), EditError>;
    /// All of that name.
    ///
    /// # Errors
    /// [`EditError`].
    fn remove_header(&mut self, name: &str) -> Result<(), EditError>;
    /// Requests only.
    ///
    /// # Errors
    /// [`EditError`].
    fn set_request_uri(&mut self, uri: &str) -> Result<(), EditError>;
    /// Display name and URI of From; parameters stay.
    ///
    /// # Errors
    /// [`EditError`].
    fn set_from(&mut self, display_name: Option<&str>, uri: &str) -> Result<(), EditError>;
    /// Display name and URI of To; parameters stay.
    ///
    /// # Errors
    /// [`EditError`].
    fn set_to(&mut self, display_name: Option<&str>, uri: &str) -> Result<(), EditError>;
    /// Another body, or none.
    ///
    /// # Errors
    /// [`EditError`].
    fn set_body(&mut self, body: Option<Content>) -> Result<(), EditError>;
}

/// Who sent the current message: `source` of the contract. Shared by all messages of a connection; edits reach it through
/// [`Source::apply`] once the hook returned.
pub trait Source: Send + Sync {
    /// "udp", "tcp", "tls", "ws", "wss"
    fn transport(&self) -> &str;
    /// Address and port.
    fn peer(&self) -> String;
    /// The address alone: what its messages break is held against it.
    fn address(&self) -> IpAddr;
    /// Name of the listener.
    fn listener(&self) -> &str;
    /// Given by a policy on this connection, and not over.
    fn identity(&self) -> Option<String>;
    /// Of the WebSocket upgrade.
    fn upgrade(&self, name: &str) -> Option<String>;
    /// Of this connection.
    fn attribute(&self, key: &str) -> Option<String>;
    /// How many it has.
    fn attributes(&self) -> usize;
    /// Applied when a hook returned.
    fn apply(&self, identity: Option<Identity>, attributes: Vec<AttributeEdit>);
    /// These are tokens that counted: nobody reads them in the upgrade any more.
    fn hide(&self, tokens: &[String]);
}

/// A name that a policy gives to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whatever the policy calls it.
    pub name: String,
    /// It has none from then on; `None`: while it is connected.
    pub until: Option<SystemTime>,
}

/// A change of one attribute; `None` deletes.
pub type AttributeEdit = (String, Option<String>);

/// Attributes as a hook finds them.
pub type Attributes = Arc<std::collections::BTreeMap<String, String>>;

/// `summary` of the contract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// As on the wire.
    pub method: String,
    /// As on the wire.
    pub request_uri: String,
    /// URI of From alone.
    pub from_uri: String,
    /// URI of To alone.
    pub to_uri: String,
    /// Call-ID.
    pub call_id: String,
    /// The dialog's token was verified.
    pub in_dialog: bool,
    /// "web" or the name of an upstream.
    pub side: String,
    /// The tenant's name.
    pub tenant: String,
}

/// Where a policy sends a request; names are checked against `Names` when they are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Targets of one stage ring together.
    pub stage: u32,
    /// How its next hop is found.
    pub kind: TargetKind,
    /// The Request-URI that it gets.
    pub uri: Option<String>,
    /// Sent there, whatever the Request-URI says.
    pub next_hop: Option<String>,
    /// Set on this branch alone.
    pub headers: Vec<(String, String)>,
    /// What becomes of its media; by the configuration if `None`.
    pub media: Option<String>,
}

/// How a target's next hop is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// `add-uri`
    Uri(String),
    /// `add-upstream`
    Upstream(String),
    /// `add-registered`
    Registered(String),
}

/// Checks what policies name, and limits what they set.
pub trait Names: Send + Sync {
    /// Is there an upstream of this name?
    fn has_upstream(&self, name: &str) -> bool;
    /// A SIP URI of a domain whose users register here?
    fn is_local(&self, uri: &str) -> bool;
    /// A URI that can be a Request-URI.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check_uri(&self, uri: &str) -> Result<(), String>;
    /// A header that a policy may set on a target.
    ///
    /// # Errors
    /// [`EditError`].
    fn check_header(&self, name: &str, value: &str) -> Result<(), EditError>;
    /// A mode of media that the configuration provides for.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check_media(&self, mode: &str) -> Result<(), String> {
        Err(format!("there is no mode {mode:?}"))
    }
    /// A header that a policy may answer with: as on a target, and the like of Contact in a redirection if the implementor allows it.
    ///
    /// # Errors
    /// [`EditError`].
    fn check_reply_header(&self, name: &str, value: &str) -> Result<(), EditError> {
        self.check_header(name, value)
    }
}

/// Time-outs of one stage in milliseconds; 0 leaves the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageTimeouts {
    /// Which stage.
    pub stage: u32,
    /// Until the first response.
    pub first_response_ms: u32,
    /// Until the final response.
    pub no_answer_ms: u32,
}

/// Which hook, with what only it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A WebSocket upgrade; there is no message.
    Connect(Upgrade),
    /// A REGISTER.
    Register,
    /// Any other request.
    Request,
    /// A branch, just before it is sent.
    Branch(Branch),
    /// A response with this status.
    Response(u16),
    /// Every stage failed, best with this status.
    Failure(u16),
}

impl Hook {
    /// Which one it is.
    pub fn name(&self) -> HookName {
        match self {
            Self::Connect(_) => HookName::Connect,
            Self::Register => HookName::Register,
            Self::Request => HookName::Request,
            Self::Branch(_) => HookName::Branch,
            Self::Response(_) => HookName::Response,
            Self::Failure(_) => HookName::Failure,
        }
    }
}

/// `upgrade` of the contract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Upgrade {
    pub host: String,
    pub path: String,
    pub query: Option<String>,
    pub origin: Option<String>,
    pub sni: Option<String>,
    pub peer: String,
    pub headers: Vec<(String, String)>,
}

/// `branch` of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Branch {
    pub target: u32,
    pub uri: String,
    pub upstream: Option<String>,
    pub member: Option<String>,
    pub stage: u32,
}

/// All that one run of a hook's chain works on.
pub struct Run {
    /// Which hook.
    pub hook: Hook,
    /// Handed to each policy by value (the tenant is filled in per policy's place).
    pub summary: Summary,
    /// The current message; `None` in `Connect`.
    pub message: Option<Box<dyn Message>>,
    /// Who sent it.
    pub source: Arc<dyn Source>,
    /// Checks names.
    pub names: Arc<dyn Names>,
    /// Of the transaction.
    pub transaction: Attributes,
    /// Of the call.
    pub call: Attributes,
}

/// What came of it: the message back, with the edits of each policy that returned without a fault, and what to apply.
pub struct Finished {
    /// The chain's decision.
    pub outcome: Outcome,
    /// As it is now.
    pub message: Option<Box<dyn Message>>,
    /// In the order of their indices.
    pub targets: Vec<Target>,
    /// Per stage.
    pub timeouts: Vec<StageTimeouts>,
    /// To apply.
    pub transaction: Vec<AttributeEdit>,
    /// To apply.
    pub call: Vec<AttributeEdit>,
}

impl Finished {
    /// What is left when the host itself broke: no message.
    pub(crate) fn broken() -> Self {
        Self {
            outcome: Outcome::Fault {
                policy: "(host)".into(),
                reason: "a fault of the host's own; the log has it".into(),
            },
            message: None,
            targets: Vec::new(),
            timeouts: Vec::new(),
            transaction: Vec::new(),
            call: Vec::new(),
        }
    }
}

/// The chain's decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `next` to the end, `forward`, `pass`, `send`, `accept`.
    Continue,
    /// `reply` or `refuse`.
    Reply {
        /// 200 to 699 (for an upgrade: an HTTP status).
        status: u16,
        /// The RFC's phrase if `None`.
        reason: Option<String>,
        /// Checked.
        headers: Vec<(String, String)>,
        /// A body.
        body: Option<Content>,
    },
    /// `discard`, `skip` or `discard-provisional`.
    Discard,
    /// `set-status`, checked against its class.
    Status(u16),
    /// A policy failed and its failure mode is `closed`.
    Fault {
        /// Its name.
        policy: String,
        /// What happened.
        reason: String,
    },
}
