//! What a server does with the proxy's outputs: send, ask the policies, the store and media, and count.

use std::time::Instant;

use hookswitch_sip::proxy::{
    io::{Ask, DropCause, Ended, Input, Origin, Output, StoreOp},
    trunk::{TrunkId, TrunkState},
};

use super::{Event, World};
use crate::policy::{self, When};

impl World {
    pub(super) fn drain_outputs(&mut self, worker: usize) {
        while let Some(output) = self.node.workers[worker].poll_output() {
            match output {
                Output::Send { to, bytes } => self.deliver(worker, to, bytes),
                Output::Ask(ask) => self.ask(worker, *ask),
                Output::Store { id, op } => {
                    if self.ladder.show_asks {
                        self.ladder.note(
                            self.now,
                            &format!("proxy asks the store {}", store_name(&op)),
                        );
                    }
                    let life = self.node.life;
                    self.later(
                        self.oracles.store,
                        Event::Store {
                            worker,
                            life,
                            id,
                            op,
                        },
                    );
                }
                Output::Media {
                    id,
                    branch,
                    direction,
                    role,
                    sdp,
                    mode,
                } => self.ask_media(worker, id, &branch, (direction, role, mode), &sdp),
                Output::Key { id, .. } => self.press(worker, id),
                Output::MediaNews(news) => self.tell_media(&news),
                Output::Withdraw { .. } => {
                    if self.ladder.show_asks {
                        self.ladder.note(self.now, "proxy withdraws an ask");
                    }
                }
                Output::Ended(ended) => self.end(*ended),
                Output::Dropped { cause } => self.count_drop(cause),
                Output::Challenged { outcome, .. } => {
                    let text = format!("proxy is challenged: {outcome:?}").to_lowercase();
                    self.ladder.note(self.now, &text);
                }
                Output::FlowTimer { timer, .. } => {
                    let text = format!("proxy expects keep-alives within {timer:?}");
                    self.ladder.note(self.now, &text);
                }
                Output::Trunk { trunk, state } => self.note_trunk(trunk, &state),
            }
        }
    }

    fn note_trunk(&mut self, TrunkId(id): TrunkId, state: &TrunkState) {
        let in_ms = |at: Instant| at.saturating_duration_since(self.node.instant(self.now));
        let what = match state {
            TrunkState::Registering => "begins".to_owned(),
            TrunkState::Registered { until } => format!("stands for {:?}", in_ms(*until)),
            TrunkState::Failed {
                reason, retry_at, ..
            } => {
                format!("failed: {reason}; again in {}s", in_ms(*retry_at).as_secs())
            }
            TrunkState::Removed => "is taken back".to_owned(),
        };
        self.ladder.note(self.now, &format!("trunk {id} {what}"));
    }

    fn end(&mut self, ended: Ended) {
        if self.ladder.show_ended {
            let Ended { status, cause, .. } = &ended;
            let method = ended.method();
            let whose = match ended.origin {
                Origin::Client => "",
                Origin::Proxy => " of the proxy's own",
            };
            self.ladder.note(
                self.now,
                &format!("ended {method}{whose} {status} {cause:?}"),
            );
        }
        self.ended.push((self.node.life, ended));
    }

    pub(super) fn count_drop(&mut self, cause: DropCause) {
        let name = match cause {
            DropCause::StrayResponse => "stray response",
            DropCause::StrayAck => "stray ACK",
            DropCause::ForeignVia => "foreign Via",
            DropCause::Unanswerable => "unanswerable",
            DropCause::Overload => "overload",
        };
        *self.dropped.entry(name).or_default() += 1;
        self.ladder.note(self.now, &format!("proxy drops: {name}"));
    }

    fn ask(&mut self, worker: usize, ask: Ask) {
        let rule = self.oracles.rules.iter().position(|rule| {
            let method = ask
                .request
                .as_deref()
                .unwrap_or(&ask.message)
                .method()
                .map_or("", |m| m.as_str());
            let cseq = ask
                .message
                .cseq()
                .map(|cseq| cseq.method.as_str().to_owned());
            let of_method = |wanted: &str| wanted == method || cseq.as_deref() == Some(wanted);
            rule.hook == ask.hook && rule.times > 0 && rule.method.as_deref().is_none_or(of_method)
        });
        let (when, acts) = match rule {
            Some(at) => {
                let rule = &mut self.oracles.rules[at];
                rule.times -= 1;
                (rule.when, rule.acts.clone())
            }
            None => (When::Now, Vec::new()),
        };
        let (id, what) = (ask.id, describe(&ask));
        let verdict = policy::judge(ask, &acts);
        self.ladder.note(self.now, &what);
        let input = Box::new(Input::Verdict { id, verdict });
        self.later(
            when,
            Event::Worker {
                worker,
                life: self.node.life,
                input,
            },
        );
    }

    pub(super) fn later(&mut self, when: When, event: Event) {
        let random = self.rng.duration(self.oracles.delay_max);
        match when {
            When::Now => self.schedule(random, event),
            When::After(delay) => self.schedule(delay, event),
            When::Held => self.held.push(event),
        }
    }
}

fn store_name(op: &StoreOp) -> String {
    match op {
        StoreOp::Register { aor, .. } => format!("to register {aor}"),
        StoreOp::Lookup { aor } => format!("for {aor}"),
        StoreOp::Session { .. } => "for a session".to_owned(),
        StoreOp::Client { .. } => "for a client".to_owned(),
        StoreOp::FlowClosed { .. } => "to forget a flow".to_owned(),
    }
}

fn describe(ask: &Ask) -> String {
    let method = ask
        .message
        .cseq()
        .map_or("?", |cseq| cseq.method.as_str())
        .to_owned();
    let status = if ask.status == 0 {
        String::new()
    } else {
        format!(" {}", ask.status)
    };
    let dialog = if ask.in_dialog { " in dialog" } else { "" };
    let branch = ask
        .branch
        .as_ref()
        .map(|branch| format!(" target {} stage {}", branch.target, branch.stage));
    let hook = format!("{:?}", ask.hook).to_lowercase();
    format!(
        "proxy asks on-{hook}{status} {method}{dialog}{}",
        branch.unwrap_or_default()
    )
}
