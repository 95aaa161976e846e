//! What policies, the location service and media answer: rightly, wrongly, late or never.

use std::time::Duration;

use bytes::Bytes;
use hookswitch_sip::{
    flow::UpstreamId,
    proxy::io::{
        Ask, Continue, Hook, Input, MediaMode, MediaVerdict, StageTimeouts, StoreOp, StoreReply,
        Target, TargetKind, Verdict,
    },
    registrar,
};

use super::{Scene, peers, say};
use crate::Choices;

impl Scene<'_> {
    /// A hook says something.
    pub(super) fn decide(&mut self) {
        if self.asks.is_empty() {
            return;
        }
        let ask = self.asks.remove(self.choices.below(self.asks.len()));
        let verdict = match self.choices.below(8) {
            0 => Verdict::Fault {
                reason: "broken".to_owned(),
            },
            1 => Verdict::Skip,
            2 => Verdict::Discard,
            3 => Verdict::Reply {
                status: [200, 302, 401, 486, 503, 603, 699][self.choices.below(7)],
                reason: self.choices.once_in(2).then(|| "Because".to_owned()),
                headers: vec![("X-Reply".to_owned(), "1".to_owned())],
                body: self
                    .choices
                    .once_in(2)
                    .then(|| ("text/plain".to_owned(), Bytes::from_static(b"no"))),
            },
            _ => Verdict::Continue(Box::new(self.go_on(&ask))),
        };
        self.input(Input::Verdict {
            id: ask.id,
            verdict,
        });
    }

    fn go_on(&mut self, ask: &Ask) -> Continue {
        let mut message = ask.message.clone();
        say::edit(&mut self.choices, &mut message);
        let targets = self.choices.below(4);
        let attribute = |choices: &mut Choices<'_>| match choices.below(3) {
            0 => Vec::new(),
            1 => vec![("key".to_owned(), Some("value".to_owned()))],
            _ => vec![("key".to_owned(), None)],
        };
        Continue {
            message,
            targets: (0..targets).map(|_| target(&mut self.choices)).collect(),
            timeouts: match self.choices.below(3) {
                0 => vec![StageTimeouts {
                    stage: self.choices.below(3) as u32,
                    first_response: Some(Duration::from_millis(700)),
                    no_answer: self.choices.once_in(2).then_some(Duration::from_secs(3)),
                }],
                _ => Vec::new(),
            },
            status: match ask.hook {
                // Already checked against its class.
                Hook::Response if ask.status >= 300 => self.choices.once_in(3).then_some(480),
                Hook::Register | Hook::Request | Hook::Branch | Hook::Response | Hook::Failure => {
                    None
                }
            },
            transaction: attribute(&mut self.choices),
            call: attribute(&mut self.choices),
        }
    }

    /// The location service answers one of its asks: rightly, wrongly, or that it cannot.
    pub(super) fn store(&mut self) {
        if self.stores.is_empty() {
            return;
        }
        let (id, op) = self.stores.remove(self.choices.below(self.stores.len()));
        let reply = match self.choices.below(8) {
            0 => Some(StoreReply::Failed),
            1 => Some(StoreReply::Refused {
                status: 403,
                reason: "no".to_owned(),
            }),
            2 => Some(StoreReply::Session(None)),
            3 => Some(StoreReply::Bindings(Vec::new())),
            _ => self.look_up(op),
        };
        if let Some(reply) = reply {
            self.input(Input::Stored { id, reply });
        }
    }

    fn look_up(&mut self, op: StoreOp) -> Option<StoreReply> {
        let now = self.now;
        let all = || self.bindings.values().flatten();
        Some(match op {
            StoreOp::Register { aor, update } => {
                let bindings = self.bindings.entry(aor).or_default();
                match registrar::apply(bindings, &update, now) {
                    Ok(()) => StoreReply::Bindings(bindings.clone()),
                    Err(error) => StoreReply::Refused {
                        status: error.status(),
                        reason: error.to_string(),
                    },
                }
            }
            StoreOp::Lookup { aor } => {
                StoreReply::Bindings(self.bindings.get(&aor).cloned().unwrap_or_default())
            }
            StoreOp::Session { key, flow } => StoreReply::Session(registrar::flow_of_session(
                &all().cloned().collect::<Vec<_>>(),
                key,
                flow,
                now,
            )),
            StoreOp::Client { key } => {
                let found =
                    all().filter(|binding| binding.client == key && binding.expires_at > now);
                StoreReply::Bindings(found.cloned().collect())
            }
            StoreOp::FlowClosed { .. } => return None,
        })
    }

    pub(super) fn media(&mut self) {
        if self.media.is_empty() {
            return;
        }
        let id = self.media.remove(self.choices.below(self.media.len()));
        let verdict = match self.choices.below(6) {
            0 => MediaVerdict::Unchanged,
            1 | 2 => MediaVerdict::Replace(Bytes::from_static(b"v=0\r\no=relay\r\n")),
            3 => MediaVerdict::Replace(Bytes::new()),
            4 => MediaVerdict::Refuse {
                status: 500,
                reason: String::new(),
            },
            _ => MediaVerdict::Refuse {
                status: 488,
                reason: "no codec".to_owned(),
            },
        };
        self.input(Input::MediaDone { id, verdict });
    }
}

fn target(choices: &mut Choices<'_>) -> Target {
    let kind = match choices.below(6) {
        0 => TargetKind::Uri("sip:bob@test".to_owned()),
        1 => TargetKind::Uri(format!("sip:9@{}", peers::CHOSEN)),
        2 => TargetKind::Uri("not a URI".to_owned()),
        3 => TargetKind::Upstream(UpstreamId(choices.below(4) as u16)),
        4 => TargetKind::Registered("sip:bob@test".to_owned()),
        _ => TargetKind::Registered("sip:alice@test".to_owned()),
    };
    Target {
        stage: choices.below(3) as u32,
        kind,
        uri: match choices.below(4) {
            0 => Some("sip:other@test".to_owned()),
            1 => Some("not a URI".to_owned()),
            _ => None,
        },
        next_hop: match choices.below(4) {
            0 => Some(format!("sip:{}", peers::CHOSEN)),
            1 => Some(format!("sip:{};transport=tcp", peers::CHOSEN)),
            _ => None,
        },
        headers: match choices.below(3) {
            0 => vec![("X-Target".to_owned(), "1".to_owned())],
            1 => vec![("not a name".to_owned(), "1".to_owned())],
            _ => Vec::new(),
        },
        media: match choices.below(3) {
            0 => Some(MediaMode::Direct),
            _ => None,
        },
    }
}
