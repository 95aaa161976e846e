//! Lets browsers in that have a token of one of the operator's issuers: at the WebSocket upgrade, or in SIP (RFC 8898). A WebSocket keeps the
//! identity until the token is over; calls that are up go on then. Never asks in a dialog, nor the peers that the operator trusts:
//! upstreams. The host holds the issuers' keys, and no token that counts goes further than here.
//!
//! ```json
//! { "issuer": "idp", "name": "{preferred_username}", "upgrade": "required", "query": "access_token", "cookie": "sip_token",
//!   "header": "X-Token", "requests": "proxy", "sides": ["web"],
//!   "addresses": { "alice": ["sip:sales@example.com"] }, "assert-identity": true }
//! ```
//!
//! `issuer` is an `[[auth.issuer]]` of the host, granted to this policy. `name` makes a name of the token's claims: a user at any local
//! domain, `user@host`, or a URI. Several issuers stand in `issuers`, each with a name of its own, or they could give out one and the same:
//! `{ "issuers": [{ "issuer": "idp", "name": "{sub}" }, { "issuer": "partner", "name": "sip:{sub}@partner.example" }] }`. Later policies find it in `source.identity`, and in the transaction's attribute `identity`.

mod config;
mod token;

use hookswitch_sdk::{
    auth::{Identity, Outcome, Role},
    identity,
    prelude::*,
};

use config::{Config, Upgraded};

/// RFC 6750 §3.1.
const INVALID_TOKEN: &str = "invalid_token";

struct JwtAuth(Config);

#[hookswitch_sdk::policy]
impl Policy for JwtAuth {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        let config = config.checked()?;
        if config.upgrade == Upgraded::Ignored || config.trusts("web") {
            hooks::skip(hooks::Hook::Connect);
        }
        if !config.assert_identity {
            hooks::skip(hooks::Hook::Branch);
        }
        Ok(Self(config))
    }

    fn on_connect(&mut self, upgrade: Upgrade) -> Result<Admission, Fault> {
        match token::of_upgrade(&upgrade, &self.0) {
            Some(token) => match self.judge(&token)? {
                Some(_) => Ok(Admission::Next),
                None => self.refuse(Some(INVALID_TOKEN)),
            },
            None if self.0.upgrade == Upgraded::Required => self.refuse(None),
            None => Ok(Admission::Next),
        }
    }

    fn on_register(&mut self, request: Summary) -> Result<Decision, Fault> {
        if self.0.trusts(&request.side) {
            return Ok(Decision::Next);
        }
        // Whoever registers an address must be allowed to use it; From may be an assistant's (RFC 3261 §10.2).
        self.ask(Role::End, &request.to_uri)
    }

    fn on_request(&mut self, request: Summary) -> Result<Decision, Fault> {
        if self.0.trusts(&request.side) {
            return Ok(Decision::Next);
        }
        if request.in_dialog {
            token::remove(&self.0)?;
            return Ok(Decision::Next);
        }
        self.ask(self.0.requests.into(), &request.from_uri)
    }

    fn on_branch(&mut self, _: Summary, branch: Branch) -> Result<BranchDecision, Fault> {
        if self.0.assert_identity {
            identity::assert_to(&branch)?;
        }
        Ok(BranchDecision::Send)
    }
}

impl JwtAuth {
    /// A token in the request counts before what is known of the WebSocket.
    fn ask(&self, role: Role, address: &str) -> Result<Decision, Fault> {
        let name = match token::of_request(&self.0) {
            Some(token) => match self.judge(&token)? {
                Some(name) => name,
                None => return self.challenge(role, Some(INVALID_TOKEN)),
            },
            None => match source::identity() {
                Some(name) => name,
                None => return self.challenge(role, None),
            },
        };
        if !self.0.addresses.allow(&name, address, target::is_local) {
            log::info!("{name} at {} may not use {address}", source::peer());
            return Ok(Decision::Reply(Reply {
                reason: Some("This address is not yours".to_owned()),
                ..Reply::status(403)
            }));
        }
        identity::tell(&name, address)?;
        token::remove(&self.0)?;
        Ok(Decision::Next)
    }

    /// The name of whoever the token was given to; `None` if it does not count.
    fn judge(&self, token: &str) -> Result<Option<String>, Fault> {
        let (mut refused, mut unavailable) = (Vec::new(), None);
        for issuer in &self.0.issuers {
            match auth::bearer(&issuer.issuer, token)? {
                Outcome::Verified(identity) => match name(&issuer.name, &identity) {
                    Some(name) => return self.identify(name, &identity).map(Some),
                    None => refused.push("it has not the claims of `name`".to_owned()),
                },
                Outcome::Unavailable(why) => unavailable = Some(why),
                Outcome::Wrong(why) | Outcome::Malformed(why) | Outcome::Stale(why) => {
                    refused.push(why);
                }
                Outcome::Missing => refused.push("it is empty".to_owned()),
            }
        }
        // Whoever's keys are not there might have given it.
        if let Some(why) = unavailable {
            return Err(Fault::new("unavailable", why));
        }
        let (peer, why) = (source::peer(), refused.join("; "));
        log::info!("a token of {peer} is refused: {why}");
        Ok(None)
    }

    fn identify(&self, name: String, identity: &Identity) -> Result<String, Fault> {
        // A WebSocket is one browser's; other connections may be shared, and a datagram's source is whoever writes that address.
        let is_browsers = matches!(&*source::transport(), "ws" | "wss");
        // Another's token is good for the request that it stands in, and the WebSocket remains whose it was.
        let is_anothers = source::identity().is_some_and(|known| known != name);
        if let (true, false, Some(until)) = (is_browsers, is_anothers, identity.expires_unix_s) {
            source::set_identity_until(&name, until)?;
        }
        Ok(name)
    }

    fn challenge(&self, role: Role, error: Option<&str>) -> Result<Decision, Fault> {
        Ok(Decision::Reply(self.challenges(role, error)?))
    }

    fn refuse(&self, error: Option<&str>) -> Result<Admission, Fault> {
        Ok(Admission::Refuse(self.challenges(Role::End, error)?))
    }

    /// One of each issuer: the client knows whose token it can get.
    fn challenges(&self, role: Role, error: Option<&str>) -> Result<Reply, Fault> {
        let mut all = Reply::status(401);
        for issuer in &self.0.issuers {
            let challenge = auth::bearer_challenge(&issuer.issuer, role, error)?;
            all.status = challenge.status;
            all.headers.extend(challenge.headers);
        }
        Ok(all)
    }
}

fn name(template: &str, identity: &Identity) -> Option<String> {
    let claims = serde_json::from_str(identity.claims.as_deref()?).ok()?;
    config::fill_in(template, &claims)
}
