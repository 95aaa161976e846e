//! The best response of those that failed (RFC 3261 §16.7 items 6 and 7).

use std::sync::Arc;

use super::io::Cause;
use crate::{
    flow::UpstreamId,
    message::{HeaderName, Message},
};

/// How a branch failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) status: u16,
    /// As it is to be forwarded; `None` if we have to write it.
    pub(super) response: Option<Message>,
    /// The request as that branch was sent, for the response hook.
    pub(super) request: Option<Arc<Message>>,
    pub(super) upstream: Option<UpstreamId>,
    pub(super) cause: Cause,
    pub(super) detail: String,
}

impl Failure {
    /// One that no peer sent.
    pub(super) fn own(status: u16, cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            status,
            response: None,
            request: None,
            upstream: None,
            cause,
            detail: detail.into(),
        }
    }
}

/// The best so far.
#[derive(Debug, Default)]
pub(super) struct Best {
    failure: Option<Failure>,
    /// Of every 401 and 407, whichever wins.
    challenges: Vec<(HeaderName, Vec<u8>)>,
}

impl Best {
    /// One more branch failed.
    pub(super) fn offer(&mut self, failure: Failure) {
        if let (401 | 407, Some(response)) = (failure.status, &failure.response) {
            for name in [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate] {
                self.challenges
                    .extend(response.values(name).map(|value| (name, value.to_vec())));
            }
        }
        // Of two equals the first one came first.
        if self
            .failure
            .as_ref()
            .is_none_or(|best| rank(failure.status) < rank(best.status))
        {
            self.failure = Some(failure);
        }
    }

    /// A 6xx ends the search.
    pub(super) fn is_global(&self) -> bool {
        self.failure
            .as_ref()
            .is_some_and(|failure| failure.status >= 600)
    }

    /// Its status, as it would be forwarded.
    pub(super) fn status(&self) -> Option<u16> {
        self.failure
            .as_ref()
            .map(|failure| forwarded(failure.status))
    }

    /// The one to forward, with the challenges of all; nothing is left.
    pub(super) fn take(&mut self) -> Option<Failure> {
        let challenges = std::mem::take(&mut self.challenges);
        let mut failure = self.failure.take()?;
        if let (401 | 407, Some(response)) = (failure.status, &mut failure.response) {
            for name in [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate] {
                let values: Vec<_> = challenges
                    .iter()
                    .filter(|(of, _)| *of == name)
                    .map(|(_, value)| value)
                    .collect();
                // A value that came on the wire unfolded goes back as it was; one that cannot be written was folded.
                let values: Vec<_> = values
                    .into_iter()
                    .map(|value| crate::message::unfold(value))
                    .collect();
                if response.set_values(name, &values).is_err() {
                    failure.detail = "challenges too large".to_owned();
                }
            }
        }
        if failure.status != forwarded(failure.status) {
            failure.status = forwarded(failure.status);
            // The body and fields of a 503 speak of whoever sent it, not of us: write our own.
            failure.response = None;
        }
        Some(failure)
    }
}

/// A 503 would tell the caller to stop using us, not that upstream.
fn forwarded(status: u16) -> u16 {
    if status == 503 { 500 } else { status }
}

/// Lower is better. 6xx wins; then the lowest class; in 4xx first what the caller can do something about, last what says least.
fn rank(status: u16) -> (u16, u16) {
    let class = status / 100;
    match status {
        600.. => (0, 0),
        401 | 407 => (class, 0),
        415 | 420 | 484 => (class, 1),
        408 | 430 | 480 | 487 => (class, 3),
        503 => (class, 4),
        _ => (class, 2),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::limits::Limits;

    fn response(status: u16, fields: &str) -> Message {
        let text = format!(
            "SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n{fields}Call-ID: c\r\nCSeq: 1 INVITE\r\n\
             From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text), &Limits::default()).unwrap()
    }

    fn failure(status: u16, fields: &str) -> Failure {
        Failure {
            response: Some(response(status, fields)),
            ..Failure::own(status, Cause::Forwarded, "")
        }
    }

    fn best_of(statuses: &[u16]) -> u16 {
        let mut best = Best::default();
        statuses
            .iter()
            .for_each(|&status| best.offer(failure(status, "")));
        best.take().unwrap().status
    }

    #[test]
    fn the_best_of_several() {
        for (statuses, expected) in [
            (&[404, 486][..], 404),
            (&[486, 404], 486),
            (&[500, 486], 486),
            (&[486, 302], 302),
            (&[302, 603, 486], 603),
            (&[486, 407], 407),
            (&[404, 484], 484),
            (&[408, 486], 486),
            (&[480, 404], 404),
            (&[503, 500], 500),
            (&[503, 502], 502),
            (&[503], 500),
            (&[503, 503], 500),
        ] {
            assert_eq!(best_of(statuses), expected, "{statuses:?}");
        }
    }

    #[test]
    fn a_503_is_not_passed_on_with_its_fields() {
        let mut best = Best::default();
        best.offer(failure(503, "Retry-After: 600\r\n"));
        assert_eq!(best.status(), Some(500));
        assert!(best.take().unwrap().response.is_none());
    }

    #[test]
    fn challenges_of_all_branches_reach_the_client() {
        let mut best = Best::default();
        best.offer(failure(
            407,
            "Proxy-Authenticate: Digest realm=\"a\", nonce=\"1\"\r\n",
        ));
        best.offer(failure(486, ""));
        best.offer(failure(
            401,
            "WWW-Authenticate: Digest realm=\"b\"\r\nWWW-Authenticate: Basic\r\n",
        ));
        let winner = best.take().unwrap();
        assert_eq!(winner.status, 407);
        let winner = winner.response.unwrap();
        let all = |name| {
            winner
                .values(name)
                .map(|v| String::from_utf8_lossy(v).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            all(HeaderName::ProxyAuthenticate),
            ["Digest realm=\"a\", nonce=\"1\""]
        );
        assert_eq!(
            all(HeaderName::WwwAuthenticate),
            ["Digest realm=\"b\"", "Basic"]
        );
        assert!(best.take().is_none());
    }
}
