//! The language of ladders: one line, one thing that somebody does; then the network comes to rest, and the next line follows.
//!
//! ```text
//! registered alice bob               join and register, unseen
//! talking alice bob                  join, register, and the first has called the second, unseen
//! show Route Via body reason ended asks news   what each line of the ladder shows beside method and Request-URI
//! alice INVITE bob + X-Test: yes     a new call to bob's address of record, with a header field; ` - Name` takes one away
//! bob 180                            answers the newest request that waits
//! bob 200 tag=x nosdp                with this To tag, without a body
//! alice ACK & bob BYE                both in one instant
//! alice INFO                         without a target: in the newest dialog; `#1` names the first
//! alice BYE strict                   as a strict router would send it on
//! alice merges INVITE                the same request as another transaction
//! pbx relays bob                     hands on what waits there, as a stateless proxy
//! alice resend INVITE                the same bytes again
//! alice cancels / ignores CANCEL     habits: 487 after CANCEL or not
//! advance 500ms
//! lose proxy pbx 2                   the next two packets from the proxy to pbx vanish
//! policy request INVITE hold; reply 403
//! store hold / now / 300ms           media likewise, and: media refuse 488, media replace TEXT
//! media dies                         nothing passes any more: the proxy is to end all calls
//! release                            lets go of all that is held
//! pbx challenges BYE                  habit: 407 before it is taken
//! member pbx silent / answers          what whoever looks after the members finds
//! close alice / reconnect alice / restart / begin / drain / gauges
//! reload alice                       its page is loaded again: a connection and a Contact of its own, no dialog; `afresh`: an instance, too
//! session alice 7                    what it names when it connects; it connects anew
//! pbx grants                         answers a REGISTER, as a registrar does
//! pbx relays registered bob          hands on what waits there to where bob has registered
//! ```

mod connections;
mod policies;

use std::time::Duration;

use expect_test::Expect;
use hookswitch_sip::proxy::{Gauges, ProxyConfig, config::MemberHealth, io::Hooks};

use crate::{
    agent::{Ack, Agent, Answer, Bye, Cancelled, Draft, Judges, Kind, to_uri},
    node::Node,
    policy::{MediaAct, When},
    world::World,
};

/// Runs `script` and compares the ladder.
#[allow(clippy::needless_pass_by_value)]
pub fn check(script: &str, expect: Expect) {
    check_with(|_| {}, script, expect);
}

/// As [`check`], with another configuration of the proxy.
#[allow(clippy::needless_pass_by_value)]
pub fn check_with(configure: impl FnOnce(&mut ProxyConfig), script: &str, expect: Expect) {
    let mut config = Node::default_config();
    configure(&mut config);
    let mut world = World::new(config, 1);
    CAST.iter()
        .filter(|cast| cast.2 == Kind::Udp)
        .for_each(|cast| {
            agent(&mut world, cast.0);
        });
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        for command in line.split(" & ") {
            run(&mut world, command);
        }
        world.settle();
    }
    let wrongs: String = world
        .agents
        .iter()
        .flat_map(|a| &a.wrongs)
        .map(|wrong| format!("WRONG {}\n", wrong.text))
        .collect();
    expect.assert_eq(&(world.ladder.text() + &wrongs));
}

/// Name, user, transport, address.
const CAST: [(&str, &str, Kind, &str); 13] = [
    ("alice", "alice", Kind::Browser, "192.0.2.1:40001"),
    ("bob", "bob", Kind::Browser, "192.0.2.2:40002"),
    ("bob2", "bob", Kind::Browser, "192.0.2.3:40003"),
    ("bob3", "bob", Kind::Browser, "192.0.2.4:40004"),
    ("carol", "carol", Kind::Browser, "192.0.2.5:40005"),
    ("dave", "dave", Kind::Browser, "192.0.2.6:40006"),
    ("alice2", "alice", Kind::Browser, "192.0.2.7:40007"),
    ("pbx", "100", Kind::Udp, "203.0.113.10:5060"),
    ("carrier", "200", Kind::Udp, "203.0.113.20:5060"),
    ("small", "300", Kind::Udp, "203.0.113.30:5060"),
    ("mallory", "mallory", Kind::Udp, "192.0.2.66:5060"),
    ("phone", "phone", Kind::Udp, "192.0.2.70:5060"),
    ("nat", "nat", Kind::Udp, "192.0.2.77:61000"),
];
const PROXY_UDP: &str = "198.51.100.1:5060";

fn run(world: &mut World, command: &str) {
    let words: Vec<&str> = command.split_whitespace().collect();
    match words.as_slice() {
        ["registered", names @ ..] => registered(world, names),
        ["talking", caller, callee] => talking(world, caller, callee),
        ["show", what @ ..] => what.iter().for_each(|what| show(world, what)),
        ["advance", time] => world.advance(duration(time)),
        ["lose", from, to, count] => world.doomed.push((
            from.to_string(),
            to.to_string(),
            count.parse().expect("a count"),
        )),
        ["policy", "off"] => {
            world.oracles.rules.clear();
            world.node.hooks = Hooks::default();
        }
        ["policy", ..] => policies::policy(world, command.trim_start_matches("policy ")),
        ["store", when] => world.oracles.store = when_of(when),
        ["media", "refuse", status] => {
            world.oracles.media_act = MediaAct::Refuse(status.parse().expect("a status"))
        }
        ["media", "replace", text @ ..] => {
            world.oracles.media_act = MediaAct::Replace(text.join(" "))
        }
        ["media", "dies"] => world.media_dies("nothing was heard from the browser"),
        ["media", when] => world.oracles.media = when_of(when),
        ["release"] => world.release(),
        ["restart"] => {
            world.ladder.note(world.now, "the proxy restarts");
            world.restart();
        }
        ["begin"] => world.begin(),
        ["member", name, health] => {
            let member = agent(world, name);
            let health = match *health {
                "silent" => MemberHealth::Silent,
                "answers" => MemberHealth::Answers,
                other => panic!("a member that is {other}?"),
            };
            world.member_is(world.agents[member].addr, health);
        }
        ["drain"] => world.drain(),
        ["gauges"] => {
            let Gauges {
                transactions,
                branches,
                calls,
                asks,
                ..
            } = world.node.gauges();
            let held = format!(
                "{transactions} transactions, {branches} branches, {calls} calls, {asks} asks"
            );
            world
                .ladder
                .note(world.now, &format!("the proxy holds {held}"));
        }
        ["close" | "reconnect" | "reload" | "session", name, how @ ..] => {
            let agent = agent(world, name);
            connections::run(world, agent, words[0], how);
        }
        [name, ..] => {
            let agent = agent(world, name);
            act(world, agent, command.trim_start_matches(name).trim());
        }
        [] => {}
    }
}

fn registered(world: &mut World, names: &[&str]) {
    unseen(world, |world| {
        for name in names {
            let agent = agent(world, name);
            if world.agents[agent].kind == Kind::Browser {
                world.agents[agent].register(world.now, &[]);
            }
        }
    });
}

fn talking(world: &mut World, caller: &str, callee: &str) {
    registered(world, &[caller, callee]);
    unseen(world, |world| {
        for command in [
            format!("{caller} INVITE {callee}"),
            format!("{callee} 200"),
            format!("{caller} ACK"),
        ] {
            run(world, &command);
            world.settle();
        }
    });
}

/// The ladder begins after it.
fn unseen(world: &mut World, act: impl FnOnce(&mut World)) {
    world.ladder.mute();
    act(world);
    world.settle();
    world.ladder.unmute(world.now);
    world.ended.clear();
}

/// A browser joins with its first mention; who speaks UDP is always there.
fn agent(world: &mut World, name: &str) -> usize {
    if let Some(known) = world.agents.iter().position(|a| a.name == name) {
        return known;
    }
    let (_, user, kind, addr) = CAST
        .iter()
        .find(|cast| cast.0 == name)
        .unwrap_or_else(|| panic!("who is {name}?"));
    let addr = addr.parse().expect("the cast's addresses are good");
    let mut agent = Agent::new(
        name,
        user,
        *kind,
        addr,
        PROXY_UDP.parse().expect("the proxy's too"),
    );
    if name == "nat" {
        agent.sent_by = "10.0.0.7:5060".to_owned();
    }
    world.join(agent)
}

fn show(world: &mut World, what: &str) {
    match what {
        "ended" => world.ladder.show_ended = true,
        "asks" => world.ladder.show_asks = true,
        "news" => world.ladder.show_news = true,
        header => world.ladder.shown.push(header.to_owned()),
    }
}

fn act(world: &mut World, index: usize, command: &str) {
    let now = world.now;
    let (command, extra) = split_extra(command);
    let mut words: Vec<&str> = command.split_whitespace().collect();
    let verb = words.remove(0);
    let mut take = |word: &str| {
        words
            .iter()
            .position(|w| *w == word)
            .map(|at| words.remove(at))
            .is_some()
    };
    let no_sdp = take("nosdp");
    let strict = take("strict");
    let tag = words
        .iter()
        .find_map(|w| w.strip_prefix("tag="))
        .map(str::to_owned);
    let body_text = words
        .iter()
        .find_map(|w| w.strip_prefix("body="))
        .map(str::to_owned);
    let nth = words
        .iter()
        .find_map(|w| w.strip_prefix('#'))
        .map(|n| n.parse::<usize>().expect("a number") - 1);
    words.retain(|w| !w.starts_with("tag=") && !w.starts_with('#') && !w.starts_with("body="));
    let agent = &mut world.agents[index];
    let body = |kind: &str, name: &str| match &body_text {
        Some(text) => text.clone(),
        None if no_sdp => String::new(),
        None => format!("{kind} of {name}"),
    };
    if let Ok(status) = verb.parse::<u16>() {
        let server = match nth {
            Some(nth) => nth,
            None => agent
                .unanswered(words.first().copied())
                .or(agent.servers.len().checked_sub(1))
                .unwrap_or(usize::MAX),
        };
        if server >= agent.servers.len() {
            let name = agent.name.clone();
            return world
                .ladder
                .note(now, &format!("{name} has nothing to answer with {status}"));
        }
        let invite =
            agent.servers[server].request.method() == "INVITE" && (status == 200 || status == 183);
        let body = if invite {
            body("answer", &agent.name)
        } else {
            String::new()
        };
        return agent.answer(
            now,
            server,
            &Answer {
                status,
                tag,
                extra,
                body,
            },
        );
    }
    match (verb, words.as_slice()) {
        ("ACK", []) => {
            let owed = agent
                .dialogs
                .iter()
                .rposition(|d| d.unacknowledged.is_some());
            let text = body_text.unwrap_or_default();
            match nth.or(owed) {
                Some(dialog) => agent.acknowledge(dialog, &text),
                None => world.ladder.note(now, "there is nothing to acknowledge"),
            }
        }
        ("CANCEL", []) => {
            let invite = agent
                .clients
                .iter()
                .rposition(|c| c.request.method() == "INVITE")
                .expect("an INVITE to cancel");
            agent.cancel(now, invite, &extra);
        }
        ("REGISTER", []) => drop(agent.register(now, &extra)),
        ("resend", [method]) => {
            let client = agent
                .clients
                .iter()
                .rposition(|c| c.request.method() == *method)
                .expect("such a request");
            agent.resend(client);
        }
        ("merges", [method]) => {
            let client = agent
                .clients
                .iter()
                .rposition(|c| c.request.method() == *method);
            agent.merge(now, client.expect("such a request"));
        }
        ("relays", ["registered", user]) => agent.relay_to_user(user),
        ("relays", [target]) => agent.relay(&to_uri(target)),
        ("challenges", ["BYE"]) => agent.habits.bye = Bye::Challenged,
        ("grants", []) => agent.grant(now, &extra),
        ("ignores", ["CANCEL"]) => agent.habits.cancelled = Cancelled::Ignores,
        ("acks", ["at", "once"]) => agent.habits.ack = Ack::AtOnce,
        ("raw", text) => {
            let text = text.join(" ").replace("\\r\\n", "\r\n");
            world.agents[index].judges = Judges::Nothing;
            world.send_raw(index, text.into());
        }
        (method, []) => {
            let Some(dialog) = nth.or(agent.latest_dialog()) else {
                return world
                    .ladder
                    .note(now, &format!("there is no dialog for {method}"));
            };
            let body = if method == "INVITE" {
                body("offer", &agent.name)
            } else {
                body_text.unwrap_or_default()
            };
            let draft = Draft {
                method: method.to_owned(),
                extra,
                body,
                ..Draft::default()
            };
            let client = agent.begin_in_dialog(now, dialog, &draft);
            if strict {
                agent.route_strictly(client);
            }
        }
        (method, [target]) => {
            let body = if method == "INVITE" {
                body("offer", &agent.name)
            } else {
                body_text.unwrap_or_default()
            };
            let uri = to_uri(target);
            agent.begin(
                now,
                &Draft {
                    method: method.to_owned(),
                    to: uri.clone(),
                    uri,
                    extra,
                    body,
                },
            );
        }
        _ => panic!("{verb} what?"),
    }
}

/// `INVITE bob + A: b - C` is `INVITE bob` with A set and C removed.
fn split_extra(command: &str) -> (&str, Vec<(String, String)>) {
    let mut parts = command.split(" + ");
    let first = parts.next().unwrap_or_default();
    let (head, removed) = match first.split_once(" - ") {
        Some((head, removed)) => (
            head,
            removed
                .split_whitespace()
                .map(|name| (name.to_owned(), String::new()))
                .collect(),
        ),
        None => (first, Vec::new()),
    };
    let added = parts.map(|part| {
        part.split_once(":")
            .unwrap_or_else(|| panic!("`Name: value`, not {part}"))
    });
    (
        head,
        removed
            .into_iter()
            .chain(added.map(|(name, value)| {
                (
                    name.to_owned(),
                    value.trim().replace("LARGE", &"x".repeat(1400)),
                )
            }))
            .collect(),
    )
}

fn duration(text: &str) -> Duration {
    let at = text.find(|c: char| !c.is_ascii_digit()).expect("a unit");
    let number = text[..at].parse().expect("a number");
    match &text[at..] {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "min" => Duration::from_secs(number * 60),
        unit => panic!("unit {unit}?"),
    }
}

fn when_of(text: &str) -> When {
    match text {
        "hold" => When::Held,
        "now" => When::Now,
        time => When::After(duration(time)),
    }
}
