//! What a policy's answer means for its chain, and which answers the contract does not allow. Pure.

use crate::{
    bindings::types::{Admission, BranchDecision, Decision, HeaderField, Reply, ResponseDecision},
    context::{Names, Outcome},
    fault::Fault,
    instance::Answer,
};

/// Header fields of one reply.
const REPLY_HEADERS_MAX: usize = 64;
/// Bytes of a reason phrase.
const REASON_BYTES_MAX: usize = 256;
/// The status of a refused upgrade whose own one is no refusal.
const FORBIDDEN: u16 = 403;

/// How the chain goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// With the next policy.
    Next,
    /// With the operator's last ones.
    Forward,
    /// With the next policy, and the response has this status.
    Status(u16),
    /// Not at all.
    End(Outcome),
}

/// What replies are checked against.
pub(crate) struct Rules<'a> {
    pub(crate) names: &'a dyn Names,
    pub(crate) body_bytes_max: usize,
    /// Of the response, in `on-response`.
    pub(crate) status: u16,
}

impl Rules<'_> {
    /// # Errors
    /// [`Fault::Decision`].
    pub(crate) fn step(&self, answer: Answer) -> Result<Step, Fault> {
        match answer {
            Answer::Admission(Admission::Next) => Ok(Step::Next),
            Answer::Admission(Admission::Accept) => Ok(Step::Forward),
            Answer::Admission(Admission::Refuse(reply)) => self.refuse(reply),
            Answer::Decision(Decision::Next) => Ok(Step::Next),
            Answer::Decision(Decision::Forward) => Ok(Step::Forward),
            Answer::Decision(Decision::Reply(reply)) => self.reply(reply),
            Answer::Decision(Decision::Discard) | Answer::Branch(BranchDecision::Skip) => {
                Ok(Step::End(Outcome::Discard))
            }
            Answer::Branch(BranchDecision::Send) | Answer::Response(ResponseDecision::Pass) => {
                Ok(Step::Next)
            }
            Answer::Response(ResponseDecision::DiscardProvisional) if self.status < 200 => {
                Ok(Step::End(Outcome::Discard))
            }
            Answer::Response(ResponseDecision::DiscardProvisional) => Ok(Step::Next),
            Answer::Response(ResponseDecision::SetStatus(status)) => self.set_status(status),
        }
    }

    /// An HTTP response: SIP's protected fields mean nothing there.
    fn refuse(&self, reply: Reply) -> Result<Step, Fault> {
        let status = if (400..600).contains(&reply.status) {
            reply.status
        } else {
            FORBIDDEN
        };
        self.end(Reply { status, ..reply })
    }

    fn reply(&self, reply: Reply) -> Result<Step, Fault> {
        if !(200..700).contains(&reply.status) {
            return Err(Fault::Decision(format!(
                "reply with status {}; it must be 200 to 699",
                reply.status
            )));
        }
        for HeaderField { name, value } in &reply.headers {
            let checked = self.names.check_reply_header(name, value);
            checked
                .map_err(|error| Fault::Decision(format!("reply with header {name}: {error}")))?;
        }
        self.end(reply)
    }

    fn end(&self, reply: Reply) -> Result<Step, Fault> {
        let reason_bytes = reply.reason.as_deref().map_or(0, str::len);
        let body_bytes = reply.body.as_ref().map_or(0, |body| body.bytes.len());
        if reply.headers.len() > REPLY_HEADERS_MAX
            || reason_bytes > REASON_BYTES_MAX
            || body_bytes > self.body_bytes_max
        {
            return Err(Fault::Decision(format!(
                "reply over a limit: {} headers, reason of {reason_bytes} bytes, body of {body_bytes} bytes",
                reply.headers.len()
            )));
        }
        if texts(&reply).any(|text| text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0))) {
            return Err(Fault::Decision(
                "reply with CR, LF or NUL in a header".into(),
            ));
        }
        Ok(Step::End(Outcome::Reply {
            status: reply.status,
            reason: reply.reason,
            headers: reply
                .headers
                .into_iter()
                .map(|field| (field.name, field.value))
                .collect(),
            body: reply.body.map(Into::into),
        }))
    }

    /// Within its class, or from failure to failure: a caller must not be told of a call that is not, nor the reverse.
    fn set_status(&self, status: u16) -> Result<Step, Fault> {
        let is_failure = |status| (300..700).contains(&status);
        let same_class = self.status >= 200 && self.status / 100 == status / 100;
        if status == self.status {
            Ok(Step::Next)
        } else if same_class || is_failure(self.status) && is_failure(status) {
            Ok(Step::Status(status))
        } else {
            Err(Fault::Decision(format!(
                "set-status from {} to {status}",
                self.status
            )))
        }
    }
}

/// All that will stand in header fields.
fn texts(reply: &Reply) -> impl Iterator<Item = &String> {
    let fields = reply
        .headers
        .iter()
        .flat_map(|field| [&field.name, &field.value]);
    fields
        .chain(&reply.reason)
        .chain(reply.body.as_ref().map(|body| &body.media_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::EditError;

    struct AnyName;

    impl Names for AnyName {
        fn is_local(&self, _: &str) -> bool {
            true
        }
        fn has_upstream(&self, _: &str) -> bool {
            true
        }
        fn check_uri(&self, _: &str) -> Result<(), String> {
            Ok(())
        }
        fn check_header(&self, name: &str, _: &str) -> Result<(), EditError> {
            if name == "Via" {
                Err(EditError::Protected)
            } else {
                Ok(())
            }
        }
    }

    fn step(status: u16, answer: Answer) -> Result<Step, Fault> {
        Rules {
            names: &AnyName,
            body_bytes_max: 10,
            status,
        }
        .step(answer)
    }

    fn reply(status: u16, name: &str, value: &str) -> Reply {
        Reply {
            status,
            reason: None,
            headers: vec![HeaderField {
                name: name.into(),
                value: value.into(),
            }],
            body: None,
        }
    }

    #[test]
    fn a_status_changes_within_its_class_or_between_failures() {
        let set = |from, to| step(from, Answer::Response(ResponseDecision::SetStatus(to)));
        for (from, to) in [(200, 202), (404, 480), (404, 603), (503, 302)] {
            assert_eq!(set(from, to), Ok(Step::Status(to)));
        }
        for (from, to) in [
            (200, 404),
            (404, 200),
            (180, 183),
            (180, 200),
            (404, 700),
            (404, 99),
        ] {
            assert!(
                matches!(set(from, to), Err(Fault::Decision(_))),
                "{from} to {to}"
            );
        }
        assert_eq!(set(404, 404), Ok(Step::Next));
    }

    #[test]
    fn only_a_provisional_response_is_discarded() {
        let discard = |status| {
            step(
                status,
                Answer::Response(ResponseDecision::DiscardProvisional),
            )
        };
        assert_eq!(discard(183), Ok(Step::End(Outcome::Discard)));
        assert_eq!(discard(200), Ok(Step::Next));
    }

    #[test]
    fn a_reply_is_final_and_leaves_the_proxys_fields_alone() {
        let decide = |reply| step(0, Answer::Decision(Decision::Reply(reply)));
        assert!(matches!(
            decide(reply(403, "X-Why", "so")),
            Ok(Step::End(Outcome::Reply { status: 403, .. }))
        ));
        for bad in [
            reply(183, "X", "y"),
            reply(700, "X", "y"),
            reply(403, "Via", "y"),
            reply(403, "X", "a\r\nb: c"),
        ] {
            assert!(matches!(decide(bad), Err(Fault::Decision(_))));
        }
        let mut long = reply(403, "X", "y");
        long.body = Some(crate::bindings::types::Content {
            media_type: "text/plain".into(),
            bytes: vec![0; 11],
        });
        assert!(matches!(decide(long), Err(Fault::Decision(_))));
    }

    #[test]
    fn a_refused_upgrade_is_refused() {
        let refuse = |status| {
            step(
                0,
                Answer::Admission(Admission::Refuse(reply(status, "X", "y"))),
            )
        };
        for (asked, answered) in [(401, 401), (503, 503), (200, 403), (101, 403), (600, 403)] {
            assert!(
                matches!(refuse(asked), Ok(Step::End(Outcome::Reply { status, .. })) if status == answered)
            );
        }
    }
}
