//! Asks browsers and strangers who they are, by digest (RFC 3261 §22, RFC 8760), and lets nobody use the address of somebody else.
//! Never asks in a dialog, nor the peers that the operator trusts: upstreams. The host holds the passwords.
//!
//! ```json
//! { "realm": "example.com", "requests": "proxy", "sides": ["web", "stranger"], "remember": "connection",
//!   "addresses": { "alice": ["sip:sales@example.com"], "*": ["sip:anonymous@anonymous.invalid"] },
//!   "assert-identity": true }
//! ```
//!
//! `realm` is an `[[auth.realm]]` of the host, granted to this policy. Alice may use `sip:alice@` with any local domain, and the
//! addresses that are listed for her. Later policies find her name in the transaction's attribute `identity`.

mod config;

use hookswitch_sdk::{
    auth::{Identity, Outcome, Role},
    identity,
    prelude::*,
};

use config::{Config, Remember};

struct DigestAuth(Config);

#[hookswitch_sdk::policy]
impl Policy for DigestAuth {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        config.check()?;
        if !config.assert_identity {
            hooks::skip(hooks::Hook::Branch);
        }
        Ok(Self(config))
    }

    fn on_register(&mut self, request: Summary) -> Result<Decision, Fault> {
        if self.0.trusts(&request.side) {
            return Ok(Decision::Next);
        }
        // Whoever registers an address must be allowed to use it; From may be an assistant's (RFC 3261 §10.2).
        self.judge(Role::End, &request.to_uri)
    }

    fn on_request(&mut self, request: Summary) -> Result<Decision, Fault> {
        if self.0.trusts(&request.side) {
            return Ok(Decision::Next);
        }
        if request.in_dialog {
            self.clean(self.0.requests.into())?;
            return Ok(Decision::Next);
        }
        self.judge(self.0.requests.into(), &request.from_uri)
    }

    fn on_branch(&mut self, _: Summary, branch: Branch) -> Result<BranchDecision, Fault> {
        if self.0.assert_identity {
            identity::assert_to(&branch)?;
        }
        Ok(BranchDecision::Send)
    }
}

impl DigestAuth {
    fn judge(&self, role: Role, address: &str) -> Result<Decision, Fault> {
        if self.0.remember == Remember::Connection
            && let Some(name) = source::identity()
            && self.0.addresses.allow(&name, address, target::is_local)
        {
            return self.welcome(role, &name, address);
        }
        match auth::digest(&self.0.realm, role)? {
            Outcome::Verified(Identity { name, .. }) => self.verified(role, &name, address),
            Outcome::Missing => self.challenge(role, false),
            Outcome::Stale(why) => {
                log::debug!("asked again: {why}");
                self.challenge(role, true)
            }
            Outcome::Wrong(why) => {
                log::info!("{} is not let in: {why}", source::peer());
                self.challenge(role, false)
            }
            Outcome::Malformed(why) => Ok(refusal(400, why)),
            Outcome::Unavailable(why) => Err(Fault::new("unavailable", why)),
        }
    }

    fn verified(&self, role: Role, name: &str, address: &str) -> Result<Decision, Fault> {
        if !self.0.addresses.allow(name, address, target::is_local) {
            log::info!("{name} at {} may not use {address}", source::peer());
            return Ok(refusal(403, "This address is not yours".to_owned()));
        }
        // A datagram's source is whoever writes that address.
        if self.0.remember == Remember::Connection && source::transport() != "udp" {
            source::set_identity(name)?;
        }
        self.welcome(role, name, address)
    }

    fn welcome(&self, role: Role, name: &str, address: &str) -> Result<Decision, Fault> {
        identity::tell(name, address)?;
        self.clean(role)?;
        Ok(Decision::Next)
    }

    /// What must not go on: our own credentials.
    fn clean(&self, role: Role) -> Result<(), Fault> {
        let field = match role {
            Role::End => "Authorization",
            Role::Proxy => "Proxy-Authorization",
        };
        Ok(identity::keep_values(field, |value| {
            !config::is_for(value, &self.0.realm)
        })?)
    }

    fn challenge(&self, role: Role, stale: bool) -> Result<Decision, Fault> {
        Ok(Decision::Reply(auth::digest_challenge(
            &self.0.realm,
            role,
            stale,
        )?))
    }
}

fn refusal(status: u16, reason: String) -> Decision {
    Decision::Reply(Reply {
        status,
        reason: Some(reason),
        headers: Vec::new(),
        body: None,
    })
}
