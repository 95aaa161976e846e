//! What stands in for the policies and the media engine: rules that a script or a seed sets.

use std::time::Duration;

use bytes::Bytes;
use hookswitch_sip::{
    edit,
    limits::Limits,
    proxy::io::{
        Ask, AttributeEdit, Continue, Hook, MediaMode, MediaVerdict, StageTimeouts, Target, Verdict,
    },
};

/// When an answer comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// In the same instant.
    #[default]
    Now,
    /// Later.
    After(Duration),
    /// When somebody lets go of it.
    Held,
}

/// What a hook does with its message.
#[derive(Clone, Debug)]
pub enum Act {
    /// Nothing.
    Pass,
    /// Answers.
    Reply(u16),
    /// No answer.
    Discard,
    /// Drops the branch, or the provisional response.
    Skip,
    /// Fails.
    Fault,
    /// Sets a header field.
    Set(String, String),
    /// Hides who calls.
    SetFrom(String),
    /// Changes whom is called, in To.
    SetTo(String),
    /// Sets the Request-URI.
    SetUri(String),
    /// Sends it elsewhere.
    Target(Target),
    /// Chooses what becomes of the media of the last target.
    TargetMedia(MediaMode),
    /// Sets time-outs of a stage.
    Timeouts(StageTimeouts),
    /// Another final status.
    Status(u16),
    /// Sets an attribute of the call.
    CallAttribute(String, String),
    /// Puts an attribute of the call into a header field of that name.
    ShowCallAttribute(String),
}

/// What one hook does.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which hook.
    pub hook: Hook,
    /// For this method alone; for all if `None`.
    pub method: Option<String>,
    /// When the verdict comes.
    pub when: When,
    /// In this order; an answer ends it.
    pub acts: Vec<Act>,
    /// How often it may still apply.
    pub times: u32,
}

/// Runs `acts` over the message of an ask.
#[must_use]
pub fn judge(ask: Ask, acts: &[Act]) -> Verdict {
    let (mut message, limits) = (ask.message, Limits::default());
    let mut goes_on = Goes::default();
    for act in acts {
        match act {
            Act::Pass => {}
            Act::Reply(status) => {
                return Verdict::Reply {
                    status: *status,
                    reason: None,
                    headers: Vec::new(),
                    body: None,
                };
            }
            Act::Discard => return Verdict::Discard,
            Act::Skip => return Verdict::Skip,
            Act::Fault => {
                return Verdict::Fault {
                    reason: "told to fail".to_owned(),
                };
            }
            Act::Set(name, value) => {
                edit::set_header(&mut message, &limits, name, value)
                    .expect("a script sets what can be set");
            }
            Act::SetFrom(uri) => {
                edit::set_from(&mut message, &limits, None, uri).expect("a script sets URIs")
            }
            Act::SetTo(uri) => {
                edit::set_to(&mut message, &limits, None, uri).expect("a script sets URIs")
            }
            Act::SetUri(uri) => {
                edit::set_request_uri(&mut message, &limits, uri).expect("a script sets URIs")
            }
            Act::Target(target) => goes_on.targets.push(target.clone()),
            Act::TargetMedia(mode) => {
                let target = goes_on.targets.last_mut();
                target.expect("a script names the target first").media = Some(*mode);
            }
            Act::Timeouts(timeouts) => goes_on.timeouts.push(*timeouts),
            Act::Status(status) => goes_on.status = Some(*status),
            Act::CallAttribute(key, value) => goes_on.call.push((key.clone(), Some(value.clone()))),
            Act::ShowCallAttribute(key) => {
                let value = ask.call.0.get(key).map_or("none", String::as_str);
                edit::set_header(&mut message, &limits, key, value)
                    .expect("a script names header fields");
            }
        }
    }
    let Goes {
        targets,
        timeouts,
        status,
        call,
    } = goes_on;
    Verdict::Continue(Box::new(Continue {
        message,
        targets,
        timeouts,
        status,
        transaction: Vec::new(),
        call,
    }))
}

#[derive(Default)]
struct Goes {
    targets: Vec<Target>,
    timeouts: Vec<StageTimeouts>,
    status: Option<u16>,
    call: Vec<AttributeEdit>,
}

/// What media does with each session description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MediaAct {
    /// Nothing.
    #[default]
    Unchanged,
    /// Another body.
    Replace(String),
    /// Refused.
    Refuse(u16),
}

impl MediaAct {
    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> MediaVerdict {
        match self {
            Self::Unchanged => MediaVerdict::Unchanged,
            Self::Replace(body) => MediaVerdict::Replace(Bytes::from(body.clone())),
            Self::Refuse(status) => MediaVerdict::Refuse {
                status: *status,
                reason: "told to refuse".to_owned(),
            },
        }
    }
}
