//! Networks that follow from a seed: who is there, what they do to one another, and what the network and the policies do to them.
//!
//! Fifteen seconds of life, then everybody hangs up, then the clock runs until nothing is left to happen.
//! [`crate::invariants`] says what must hold afterwards.

mod policies;

use std::{collections::BTreeMap, time::Duration};

use hookswitch_sip::proxy::ProxyConfig;

use crate::{
    agent::{Ack, Agent, Answer, Cancelled, Draft, Kind, to_uri},
    invariants::{self, Excuses},
    node::Node,
    policy::MediaAct,
    rng::Rng,
    world::World,
};

/// Everything of interest happens before.
const LIFE: Duration = Duration::from_secs(15);
/// More steps than this are a storm.
const STEPS_MAX: u64 = 50_000;

/// Runs the network of `seed`; returns it at rest with what broke, if anything did.
#[must_use]
pub fn run(seed: u64, ladder: Picture) -> (World, Vec<String>) {
    let mut life = Life::new(seed, ladder);
    let storm = life.live();
    let mut broken = invariants::broken(&life.world, &life.excuses);
    broken.extend(storm);
    (life.world, broken)
}

/// The defaults, but for time-outs that are short enough to happen, and limits that are low enough to be reached.
fn configuration(rng: &mut Rng) -> ProxyConfig {
    let mut config = Node::default_config();
    config.timers.call_idle = Duration::from_secs(300);
    let short = |rng: &mut Rng, percent| {
        let time = Duration::from_millis(500) + rng.duration(Duration::from_secs(4));
        rng.percent(percent).then_some(time)
    };
    config.timers.first_response = short(rng, 15);
    config.timers.no_answer = short(rng, 25).or(config.timers.no_answer);
    if rng.percent(5) {
        config.limits.transactions_max = 2;
    }
    if rng.percent(10) {
        config.limits.queued_max = 1;
    }
    config
}

/// Whether a run is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// For one seed.
    Drawn,
    /// For many.
    Blank,
}

#[derive(Debug)]
enum Move {
    Register,
    Call,
    Message,
    InDialog,
    Cancel,
    Answer { server: usize, status: u16 },
    Leave,
    Return,
    Restart,
    Drain,
    MediaDies,
    HangUp,
}

#[derive(Debug)]
struct Life {
    world: World,
    rng: Rng,
    agenda: BTreeMap<(Duration, u64), (usize, Move)>,
    count: u64,
    /// How many server transactions of each agent have their answers on the agenda.
    seen: Vec<usize>,
    excuses: Excuses,
}

impl Life {
    fn new(seed: u64, ladder: Picture) -> Self {
        let mut rng = Rng::new(seed ^ 0xABCD);
        let config = configuration(&mut rng);
        let excuses = Excuses {
            restarts: Vec::new(),
            first_response: config.timers.first_response,
            no_answer: config.timers.no_answer,
            media_died: Vec::new(),
        };
        let mut world = World::new(config, seed);
        if ladder == Picture::Blank {
            world.ladder.mute();
        } else {
            world.ladder.show_ended = true;
            world.ladder.shown = vec!["CSeq".to_owned(), "Call-ID".to_owned()];
        }
        world.weather.latency = Duration::from_millis(1) + rng.duration(Duration::from_millis(20));
        world.weather.jitter = rng.duration(Duration::from_millis(40));
        world.weather.between_workers = rng.duration(Duration::from_millis(3));
        world.weather.loss_percent = rng.below(11);
        world.weather.twice_percent = rng.below(11);
        world.weather.refused_percent = rng.below(4);
        let slow = if rng.percent(10) { 4_000 } else { 60 };
        world.oracles.delay_max = rng.duration(Duration::from_millis(slow));
        let mut life = Self {
            world,
            rng,
            agenda: BTreeMap::new(),
            count: 0,
            seen: Vec::new(),
            excuses,
        };
        life.people();
        life.policies();
        life.plans();
        life
    }

    fn people(&mut self) {
        let proxy = "198.51.100.1:5060".parse().unwrap();
        for index in 0..3 + self.rng.below(3) {
            // Some share a user, so that calls fork.
            let user = format!("u{}", self.rng.below(3));
            let addr = format!("192.0.2.{}:40000", index + 1).parse().unwrap();
            self.join(Agent::new(
                &format!("web{index}"),
                &user,
                Kind::Browser,
                addr,
                proxy,
            ));
        }
        for (name, user, addr) in [
            ("pbx", "100", "203.0.113.10:5060"),
            ("carrier", "200", "203.0.113.20:5060"),
        ] {
            self.join(Agent::new(
                name,
                user,
                Kind::Udp,
                addr.parse().unwrap(),
                proxy,
            ));
        }
    }

    fn join(&mut self, mut agent: Agent) {
        agent.habits.ack = Ack::AtOnce;
        if self.rng.percent(30) {
            agent.habits.cancelled = Cancelled::Ignores;
        }
        let index = self.world.join(agent);
        self.seen.push(0);
        self.plan(Duration::ZERO, index, Move::Register);
    }

    fn plans(&mut self) {
        for agent in 0..self.world.agents.len() {
            for _ in 0..1 + self.rng.below(3) {
                let what = match self.rng.below(10) {
                    0..5 => Move::Call,
                    5..7 => Move::Message,
                    7 => Move::Register,
                    _ => Move::InDialog,
                };
                let at = Duration::from_secs(1) + self.rng.duration(LIFE - Duration::from_secs(5));
                self.plan(at, agent, what);
            }
            if self.rng.percent(30) {
                let at = Duration::from_secs(1) + self.rng.duration(LIFE);
                self.plan(at, agent, Move::Cancel);
            }
            if self.rng.percent(25) {
                let at = self.rng.duration(LIFE);
                self.plan(at, agent, Move::Leave);
            }
            for pause in [0, 40, 80, 120] {
                self.plan(LIFE + Duration::from_secs(pause), agent, Move::HangUp);
            }
        }
        if self.rng.percent(15) {
            let at = self.rng.duration(LIFE);
            self.plan(at, 0, Move::Restart);
        }
        if self.rng.percent(5) {
            let at = LIFE / 2 + self.rng.duration(LIFE / 2);
            self.plan(at, 0, Move::Drain);
        }
        if self.rng.percent(40) {
            self.world.oracles.media_act = MediaAct::Replace("through us".to_owned());
            let at = Duration::from_secs(2) + self.rng.duration(LIFE);
            self.plan(at, 0, Move::MediaDies);
        }
    }

    fn plan(&mut self, at: Duration, agent: usize, what: Move) {
        self.count += 1;
        self.agenda.insert((at, self.count), (agent, what));
    }

    fn soon(&mut self, within: Duration, agent: usize, what: Move) {
        let at = self.world.now + self.rng.duration(within);
        self.plan(at, agent, what);
    }

    /// Until nothing is left to happen; says so if that does not come.
    fn live(&mut self) -> Option<String> {
        for _ in 0..STEPS_MAX {
            let planned = self.agenda.keys().next().copied();
            match (self.world.next_event(), planned) {
                (None, None) => return None,
                (Some(at), None) => self.world.step(at),
                (Some(at), Some((planned, _))) if at <= planned => self.world.step(at),
                (_, Some(key)) => {
                    self.world.now = self.world.now.max(key.0);
                    if let Some((agent, what)) = self.agenda.remove(&key) {
                        self.act(agent, what);
                        self.world.flush();
                    }
                }
            }
            self.react();
        }
        Some(format!("a storm: more than {STEPS_MAX} steps"))
    }

    /// New requests get their answers onto the agenda.
    fn react(&mut self) {
        for agent in 0..self.world.agents.len() {
            while self.seen[agent] < self.world.agents[agent].servers.len() {
                let server = self.seen[agent];
                self.seen[agent] += 1;
                if self.world.agents[agent].servers[server].answered.is_none() {
                    self.plan_answers(agent, server);
                }
            }
        }
    }

    fn plan_answers(&mut self, agent: usize, server: usize) {
        let invite = self.world.agents[agent].servers[server].request.method() == "INVITE";
        if invite && self.rng.percent(80) {
            self.soon(
                Duration::from_millis(700),
                agent,
                Move::Answer {
                    server,
                    status: 180,
                },
            );
        }
        let status = match self.rng.below(20) {
            0..12 => 200,
            12..14 => 486,
            14 => 404,
            15 => 603,
            16 => 503,
            17 => 302,
            // Nobody is at the phone.
            _ if invite => return,
            _ => 200,
        };
        let within = Duration::from_millis(if invite { 6_000 } else { 1_500 });
        self.soon(within, agent, Move::Answer { server, status });
    }

    fn act(&mut self, index: usize, what: Move) {
        let now = self.world.now;
        match what {
            Move::Register => {
                if self.world.agents[index].kind == Kind::Browser
                    && self.world.serials[index].is_some()
                {
                    self.world.agents[index].register(now, &[]);
                }
            }
            Move::Call => self.begin(index, "INVITE"),
            Move::Message => self.begin(index, "MESSAGE"),
            Move::InDialog => self.in_dialog(index),
            Move::Cancel => self.cancel_one(index),
            Move::Answer { server, status } => {
                let agent = &mut self.world.agents[index];
                if agent.servers[server].answered.is_none() {
                    let body = if status == 200 {
                        "answer".to_owned()
                    } else {
                        String::new()
                    };
                    agent.answer(
                        now,
                        server,
                        &Answer {
                            status,
                            body,
                            ..Answer::default()
                        },
                    );
                }
            }
            Move::Leave => {
                if self.world.agents[index].kind == Kind::Browser {
                    self.world
                        .ladder
                        .note(now, &format!("{} is gone", self.world.agents[index].name));
                    self.world.disconnect(index);
                    self.soon(Duration::from_secs(3), index, Move::Return);
                }
            }
            Move::Return => {
                // It may be another page that comes back.
                if self.world.serials[index].is_none() && self.rng.percent(40) {
                    self.world.agents[index].reload();
                }
                self.world.connect(index);
                self.act(index, Move::Register);
            }
            Move::Restart => {
                self.world.ladder.note(now, "the proxy restarts");
                self.world.restart();
                self.excuses.restarts.push(now);
                for agent in 0..self.world.agents.len() {
                    self.soon(Duration::from_secs(2), agent, Move::Return);
                }
            }
            Move::Drain => self.world.drain(),
            Move::MediaDies => {
                self.world.ladder.note(now, "media dies");
                self.world.media_dies("chance");
                self.excuses.media_died.push(now);
            }
            Move::HangUp => self.hang_up(index),
        }
    }

    fn begin(&mut self, index: usize, method: &str) {
        let user = match self.rng.below(4) {
            0 => "100".to_owned(),
            user => format!("u{}", user - 1),
        };
        let agent = &mut self.world.agents[index];
        if agent.kind == Kind::Browser && self.world.serials[index].is_none() || agent.user == user
        {
            return;
        }
        let body = if self.rng.percent(70) {
            "a body".to_owned()
        } else {
            String::new()
        };
        let uri = to_uri(&user);
        agent.begin(
            self.world.now,
            &Draft {
                method: method.to_owned(),
                to: uri.clone(),
                uri,
                body,
                ..Draft::default()
            },
        );
    }

    fn in_dialog(&mut self, index: usize) {
        let method = *self.rng.pick(&["BYE", "INFO", "INVITE", "MESSAGE"]);
        let latest = |agent: &Agent| {
            (0..agent.dialogs.len())
                .rev()
                .find(|dialog| agent.may_speak(*dialog))
        };
        if self.world.agents[index].kind == Kind::Browser && self.world.serials[index].is_none() {
            return;
        }
        if let Some(dialog) = latest(&self.world.agents[index]) {
            let body = if method == "INVITE" {
                "offer".to_owned()
            } else {
                String::new()
            };
            let draft = Draft {
                method: method.to_owned(),
                body,
                ..Draft::default()
            };
            self.world.agents[index].begin_in_dialog(self.world.now, dialog, &draft);
        }
    }

    fn cancel_one(&mut self, index: usize) {
        let agent = &mut self.world.agents[index];
        let pending = agent.clients.iter().rposition(|c| {
            c.request.method() == "INVITE"
                && c.end.is_none()
                && c.provisional.is_some()
                && c.cancelled_at.is_none()
        });
        if let Some(pending) = pending {
            agent.cancel(self.world.now, pending, &[]);
        }
    }

    fn hang_up(&mut self, index: usize) {
        let now = self.world.now;
        if self.world.agents[index].kind == Kind::Browser && self.world.serials[index].is_none() {
            return;
        }
        let agent = &mut self.world.agents[index];
        for client in 0..agent.clients.len() {
            let c = &agent.clients[client];
            if c.request.method() == "INVITE" && c.end.is_none() && c.cancelled_at.is_none() {
                agent.cancel(now, client, &[]);
            }
        }
        for dialog in 0..agent.dialogs.len() {
            if agent.may_speak(dialog) {
                let draft = Draft {
                    method: "BYE".to_owned(),
                    ..Draft::default()
                };
                agent.begin_in_dialog(now, dialog, &draft);
            }
        }
    }
}
