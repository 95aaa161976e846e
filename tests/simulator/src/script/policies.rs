//! `policy …` lines: what a script says of a hook becomes a rule.

use hookswitch_sip::{
    flow::UpstreamId,
    proxy::io::{Hook, MediaMode, StageTimeouts, Target, TargetKind},
};

use super::duration;
use crate::{
    node::UPSTREAMS,
    policy::{Act, Rule, When},
    world::World,
};

/// `request INVITE hold once; reply 403`
pub(super) fn policy(world: &mut World, text: &str) {
    let mut words = text.split_whitespace().peekable();
    let hook = match words.next() {
        Some("register") => Hook::Register,
        Some("request") => Hook::Request,
        Some("branch") => Hook::Branch,
        Some("response") => Hook::Response,
        Some("failure") => Hook::Failure,
        other => panic!("hook {other:?}?"),
    };
    let is_method = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase());
    let method = words.next_if(is_method).map(str::to_owned);
    let mut rule = Rule {
        hook,
        method,
        when: When::Now,
        acts: Vec::new(),
        times: u32::MAX,
    };
    for act in words
        .collect::<Vec<_>>()
        .join(" ")
        .split(';')
        .map(str::trim)
    {
        match act.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["once"] => rule.times = 1,
            ["hold"] => rule.when = When::Held,
            ["after", time] => rule.when = When::After(duration(time)),
            words => rule.acts.push(act_of(words)),
        }
    }
    world.node.hooks = world.node.hooks.with(hook);
    world.oracles.rules.insert(0, rule);
}

fn act_of(words: &[&str]) -> Act {
    let stage = |text: &str| text.parse().expect("a stage");
    let target = |kind, stage| Target {
        stage,
        kind,
        uri: None,
        next_hop: None,
        headers: Vec::new(),
        media: None,
    };
    match words {
        ["pass"] => Act::Pass,
        ["reply", status] => Act::Reply(status.parse().expect("a status")),
        ["discard"] => Act::Discard,
        ["skip"] => Act::Skip,
        ["fault"] => Act::Fault,
        ["from", uri] => Act::SetFrom((*uri).to_owned()),
        ["to", uri] => Act::SetTo((*uri).to_owned()),
        ["uri", uri] => Act::SetUri((*uri).to_owned()),
        ["status", status] => Act::Status(status.parse().expect("a status")),
        // The media of the target before it.
        ["media", mode] => Act::TargetMedia(match *mode {
            "direct" => MediaMode::Direct,
            "relay" => MediaMode::Relay,
            other => panic!("no mode {other}"),
        }),
        ["target", "upstream", name, s] => {
            let index = UPSTREAMS
                .iter()
                .position(|upstream| upstream.0 == *name)
                .expect("an upstream");
            Act::Target(target(
                TargetKind::Upstream(UpstreamId(u16::try_from(index).expect("few"))),
                stage(s),
            ))
        }
        ["target", "uri", uri, s] => {
            Act::Target(target(TargetKind::Uri((*uri).to_owned()), stage(s)))
        }
        ["target", "registered", uri, s] => {
            Act::Target(target(TargetKind::Registered((*uri).to_owned()), stage(s)))
        }
        ["timeouts", s, first, no_answer] => {
            let time = |text: &str| (text != "-").then(|| duration(text));
            let (first_response, no_answer) = (time(first), time(no_answer));
            Act::Timeouts(StageTimeouts {
                stage: stage(s),
                first_response,
                no_answer,
            })
        }
        ["call", key, value] => Act::CallAttribute((*key).to_owned(), (*value).to_owned()),
        ["show-call", key] => Act::ShowCallAttribute((*key).to_owned()),
        ["set", name, value @ ..] => {
            Act::Set(name.trim_end_matches(':').to_owned(), value.join(" "))
        }
        other => panic!("a policy cannot {other:?}"),
    }
}
