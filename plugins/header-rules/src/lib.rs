//! Sets, adds and removes header fields by rules from its configuration. Decides nothing: every message goes on.
//!
//! ```json
//! { "rules": [
//!     { "on": ["request", "branch", "response"], "set": { "X-Policy-Version": "7" } },
//!     { "name": "trunk prefix", "on": "branch", "when": { "side": "web", "method": "INVITE", "in-dialog": false },
//!       "set": { "P-Asserted-Identity": "<sip:{from-user}@trunk.example>" }, "remove": ["User-Agent"] },
//!     { "on": "response", "when": { "status": "4xx", "header": { "name": "Warning", "exists": false } },
//!       "add": { "Warning": "399 proxy \"{status} for {method}\"" } } ] }
//! ```
//!
//! Compact and long forms of a name count as two names when a rule reads what an earlier one edited.

mod compile;
mod config;
mod list;
mod rules;
mod template;
#[cfg(test)]
mod tests;

use hookswitch_sdk::prelude::*;

use compile::Compiled;
use rules::Message;

struct HeaderRules(Compiled);

#[hookswitch_sdk::policy]
impl Policy for HeaderRules {
    type Config = config::Config;

    fn new(config: Self::Config) -> Result<Self, String> {
        let compiled = compile::compile(&config)?;
        let rules = [
            (hooks::Hook::Register, &compiled.register),
            (hooks::Hook::Request, &compiled.request),
            (hooks::Hook::Branch, &compiled.branch),
            (hooks::Hook::Response, &compiled.response),
        ];
        let unused = rules.iter().filter(|(_, set)| set.rules.is_empty());
        unused.for_each(|(hook, _)| hooks::skip(*hook));
        Ok(Self(compiled))
    }

    fn on_register(&mut self, request: Summary) -> Result<Decision, Fault> {
        self.0.register.apply(&mut Current, &request, 0)?;
        Ok(Decision::Next)
    }

    fn on_request(&mut self, request: Summary) -> Result<Decision, Fault> {
        self.0.request.apply(&mut Current, &request, 0)?;
        Ok(Decision::Next)
    }

    fn on_branch(&mut self, request: Summary, _: Branch) -> Result<BranchDecision, Fault> {
        self.0.branch.apply(&mut Current, &request, 0)?;
        Ok(BranchDecision::Send)
    }

    fn on_response(&mut self, request: Summary, status: u16) -> Result<ResponseDecision, Fault> {
        self.0.response.apply(&mut Current, &request, status)?;
        Ok(ResponseDecision::Pass)
    }
}

/// The host's current message.
struct Current;

impl Message for Current {
    fn header(&self, name: &str) -> Option<String> {
        message::header(name)
    }

    fn values(&self, name: &str) -> Vec<String> {
        message::header_values(name)
    }

    fn remove(&mut self, name: &str) -> Result<(), EditError> {
        message::remove_header(name)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        message::set_header(name, value)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        message::append_header(name, value)
    }
}
