//! A policy for tests of what policies may do wrong. Its configuration says what, in which hook, on which messages; all others pass.
//!
//! ```json
//! { "configure": "error", "acts": [
//!     { "hook": "request", "method": "INVITE", "to-user-prefix": "bad", "do": "loop" },
//!     { "hook": "response", "do": "fault" } ] }
//! ```

use hookswitch_sdk::prelude::*;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// What to do in `configure` itself.
    configure: Option<Deed>,
    #[serde(default)]
    acts: Vec<Act>,
}

/// The first act that fits a message is done.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Act {
    hook: Hook,
    method: Option<String>,
    /// Of the To URI; in `connect`, of the path.
    to_user_prefix: Option<String>,
    /// Fits these requests alone.
    in_dialog: Option<bool>,
    #[serde(rename = "do")]
    deed: Deed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Hook {
    Connect,
    Register,
    Request,
    Branch,
    Response,
    Failure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    /// Never returns, and calls nothing.
    Loop,
    /// Never returns, and calls the host again and again.
    LoopCalling,
    /// An `unreachable` instruction.
    Trap,
    /// A Rust panic.
    Panic,
    /// Memory without end.
    Allocate,
    /// Stack without end.
    Recurse,
    /// A field that is the proxy's.
    EditVia,
    /// Edits first, and then a fault: the edits must not be seen.
    EditThenFault,
    /// A fault that the policy reports itself; in `configure` an error.
    Fault,
    /// A log line of a mebibyte.
    LogMuch,
    /// A fault that tells everybody what stands in the query of the upgrade.
    TellQuery,
}

struct Misbehave(Vec<Act>);

#[hookswitch_sdk::policy]
impl Policy for Misbehave {
    type Config = Config;

    fn new(config: Config) -> Result<Self, String> {
        if let Some(deed) = config.configure {
            misbehave(deed).map_err(|fault| fault.detail)?;
        }
        Ok(Self(config.acts))
    }

    fn on_connect(&mut self, upgrade: Upgrade) -> Result<Admission, Fault> {
        let fits = |act: &&Act| {
            act.to_user_prefix
                .as_ref()
                .is_none_or(|prefix| upgrade.path.starts_with(prefix))
        };
        if let Some(act) = self
            .0
            .iter()
            .filter(|act| act.hook == Hook::Connect)
            .find(fits)
        {
            if act.deed == Deed::TellQuery {
                let query = upgrade.query.unwrap_or_default();
                return Err(Fault::new("told", format!("connect {query}")));
            }
            misbehave(act.deed)?;
        }
        Ok(Admission::Next)
    }

    fn on_register(&mut self, request: Summary) -> Result<Decision, Fault> {
        self.act(Hook::Register, &request)?;
        Ok(Decision::Next)
    }

    fn on_request(&mut self, request: Summary) -> Result<Decision, Fault> {
        self.act(Hook::Request, &request)?;
        Ok(Decision::Next)
    }

    fn on_branch(&mut self, request: Summary, _: Branch) -> Result<BranchDecision, Fault> {
        self.act(Hook::Branch, &request)?;
        Ok(BranchDecision::Send)
    }

    fn on_response(&mut self, request: Summary, _: u16) -> Result<ResponseDecision, Fault> {
        self.act(Hook::Response, &request)?;
        Ok(ResponseDecision::Pass)
    }

    fn on_failure(&mut self, request: Summary, _: u16) -> Result<Decision, Fault> {
        self.act(Hook::Failure, &request)?;
        Ok(Decision::Next)
    }
}

impl Misbehave {
    fn act(&self, hook: Hook, request: &Summary) -> Result<(), Fault> {
        match self.0.iter().find(|act| act.fits(hook, request)) {
            Some(act) => misbehave(act.deed),
            None => Ok(()),
        }
    }
}

impl Act {
    fn fits(&self, hook: Hook, request: &Summary) -> bool {
        let to_user = uri::user(&request.to_uri).unwrap_or_default();
        self.hook == hook
            && self
                .method
                .as_ref()
                .is_none_or(|method| *method == request.method)
            && self
                .to_user_prefix
                .as_ref()
                .is_none_or(|prefix| to_user.starts_with(prefix))
            && self
                .in_dialog
                .is_none_or(|wanted| wanted == request.in_dialog)
    }
}

fn misbehave(deed: Deed) -> Result<(), Fault> {
    match deed {
        Deed::Loop => loop {
            std::hint::black_box(());
        },
        Deed::LoopCalling => loop {
            std::hint::black_box(message::header("Via"));
        },
        Deed::Trap => std::process::abort(),
        #[allow(clippy::panic)]
        Deed::Panic => panic!("as its configuration says"),
        Deed::Allocate => loop {
            std::mem::forget(std::hint::black_box(vec![1_u8; 1 << 20]));
        },
        Deed::Recurse => {
            std::hint::black_box(recurse(1));
            Ok(())
        }
        Deed::EditVia => Ok(message::set_header(
            "Via",
            "SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKforged",
        )?),
        Deed::EditThenFault => {
            message::set_header("X-Misbehave", "edited")?;
            Err(Fault::new("misbehave", "as its configuration says"))
        }
        Deed::Fault => Err(Fault::new("misbehave", "as its configuration says")),
        Deed::TellQuery => {
            let query = source::upgrade("query").unwrap_or_default();
            Err(Fault::new("told", query))
        }
        Deed::LogMuch => {
            log::info!("{}", "x".repeat(1 << 20));
            Ok(())
        }
    }
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(depth) + std::hint::black_box(recurse(depth + 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_act_fits_its_messages_alone() {
        let act: Act = serde_json::from_str(r#"{"hook":"request","method":"INVITE","to-user-prefix":"bad","in-dialog":false,"do":"loop"}"#).unwrap();
        let request = |method: &str, to: &str, in_dialog| Summary {
            method: method.into(),
            request_uri: to.into(),
            from_uri: "sip:a@b".into(),
            to_uri: to.into(),
            call_id: "c".into(),
            in_dialog,
            side: "web".into(),
            tenant: "main".into(),
        };
        assert!(act.fits(Hook::Request, &request("INVITE", "sip:bad7@x", false)));
        assert!(!act.fits(Hook::Branch, &request("INVITE", "sip:bad7@x", false)));
        assert!(!act.fits(Hook::Request, &request("MESSAGE", "sip:bad7@x", false)));
        assert!(!act.fits(Hook::Request, &request("INVITE", "sip:good@x", false)));
        assert!(!act.fits(Hook::Request, &request("INVITE", "sip:bad7@x", true)));
    }
}
