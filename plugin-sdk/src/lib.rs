//! What a policy in Rust is written with: the trait [`Policy`], the attribute [`policy`](macro@policy), and the functions that read
//! and edit the current message.
//!
//! ```
#![doc = include_str!("../../plugins/hello/src/lib.rs")]
//! ```
//!
//! The component that `cargo xtask build-plugins` makes of this exports the hooks that the implementation overrides and no other,
//! so a hook that a policy does not name costs nothing. Natively the same code compiles to a library whose logic can be tested; the
//! functions of the contract are there in the component alone.

mod bindings;
mod edit;
#[doc(hidden)]
pub mod glue;
pub mod identity;
pub mod log;
pub mod uri;

use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use hookswitch_sdk_macros::policy;

pub use bindings::hookswitch::policy::types::{
    Admission, Branch, BranchDecision, Content, Decision, EditError, Fault, HeaderField, Reply,
    ResponseDecision, Summary, Upgrade,
};
pub use bindings::hookswitch::policy::{auth, call, hooks, message, source, target, transaction};

/// Everything that a policy usually needs: `use hookswitch_sdk::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Admission, Branch, BranchDecision, Content, Decision, EditError, Fault, HeaderField,
        NoConfig, Policy, Reply, ResponseDecision, Summary, Upgrade, auth, call, hooks, log,
        message, source, target, transaction, uri,
    };
}

/// A policy: one value of it serves many messages, one at a time, so hooks may keep caches in it, but nothing that must last.
///
/// [`macro@policy`] on the implementation fills in `type Config = NoConfig` and a `new` that calls [`Default::default`] where they
/// are left out.
pub trait Policy: Sized + 'static {
    /// The shape of the policy's configuration; what does not fit it is refused at load with serde's reason.
    type Config: DeserializeOwned;

    /// Once for each instance, before its first hook. The error text is shown to the operator and should name the remedy.
    fn new(config: Self::Config) -> Result<Self, String>;

    /// Once for each WebSocket upgrade.
    fn on_connect(&mut self, upgrade: Upgrade) -> Result<Admission, Fault> {
        let _ = upgrade;
        Ok(Admission::Next)
    }

    /// Each REGISTER.
    fn on_register(&mut self, request: Summary) -> Result<Decision, Fault> {
        let _ = request;
        Ok(Decision::Next)
    }

    /// Every other request but ACK and CANCEL, in a dialog or not.
    fn on_request(&mut self, request: Summary) -> Result<Decision, Fault> {
        let _ = request;
        Ok(Decision::Next)
    }

    /// Once for each branch, just before it is sent: edits are that branch's alone.
    fn on_branch(&mut self, request: Summary, branch: Branch) -> Result<BranchDecision, Fault> {
        let _ = (request, branch);
        Ok(BranchDecision::Send)
    }

    /// Each response that is to be forwarded, before it is; `request` describes what it answers.
    fn on_response(&mut self, request: Summary, status: u16) -> Result<ResponseDecision, Fault> {
        let _ = (request, status);
        Ok(ResponseDecision::Pass)
    }

    /// Every stage failed, with this best status: set new targets and forward, or let it through.
    fn on_failure(&mut self, request: Summary, status: u16) -> Result<Decision, Fault> {
        let _ = (request, status);
        Ok(Decision::Next)
    }
}

/// The configuration of a policy that takes none.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}
