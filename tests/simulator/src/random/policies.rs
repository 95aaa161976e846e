//! What the policies of a network do, and when.

use std::time::Duration;

use hookswitch_sip::{
    flow::UpstreamId,
    proxy::io::{Hook, Target, TargetKind},
};

use super::Life;
use crate::policy::{Act, Rule, When};

impl Life {
    pub(super) fn policies(&mut self) {
        let elsewhere = |name: u16| {
            let kind = TargetKind::Upstream(UpstreamId(name));
            Act::Target(Target {
                stage: 0,
                kind,
                uri: None,
                next_hop: None,
                headers: Vec::new(),
                media: None,
            })
        };
        let user = |user: u32, stage| {
            let kind = TargetKind::Registered(format!("sip:u{user}@example.com"));
            Act::Target(Target {
                stage,
                kind,
                uri: None,
                next_hop: None,
                headers: Vec::new(),
                media: None,
            })
        };
        let choices = [
            (Hook::Request, vec![Act::Reply(403)]),
            (Hook::Request, vec![Act::Discard]),
            (Hook::Request, vec![Act::Fault]),
            (Hook::Request, vec![elsewhere(1)]),
            (
                Hook::Request,
                vec![Act::Set("X-Seen".to_owned(), "yes".to_owned())],
            ),
            (Hook::Register, vec![Act::Reply(403)]),
            (Hook::Branch, vec![Act::Skip]),
            (Hook::Branch, vec![Act::Fault]),
            (Hook::Response, vec![Act::Skip]),
            (Hook::Response, vec![Act::Fault]),
            (Hook::Failure, vec![elsewhere(1)]),
            (Hook::Failure, vec![Act::Reply(480)]),
            (Hook::Request, vec![user(0, 0), user(1, 0), user(2, 1)]),
            (Hook::Request, vec![user(0, 0), user(1, 1), elsewhere(0)]),
            (
                Hook::Request,
                vec![Act::SetFrom("sip:anonymous@anonymous.invalid".to_owned())],
            ),
        ];
        for hook in [
            Hook::Register,
            Hook::Request,
            Hook::Branch,
            Hook::Response,
            Hook::Failure,
        ] {
            if self.rng.percent(50) {
                self.world.node.hooks = self.world.node.hooks.with(hook);
            }
        }
        for _ in 0..self.rng.below(6) {
            let (hook, acts) = self.rng.pick(&choices).clone();
            let slow = if self.rng.percent(20) { 6_000 } else { 800 };
            let when = When::After(self.rng.duration(Duration::from_millis(slow)));
            let times = 1 + u32::try_from(self.rng.below(3)).unwrap();
            self.world.oracles.rules.push(Rule {
                hook,
                method: None,
                when,
                acts,
                times,
            });
        }
    }
}
