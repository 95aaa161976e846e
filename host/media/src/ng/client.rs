//! The client: asks in, commands out, replies in, answers out. One input, drain every output, then the next input.
//!
//! Commands of one call go one after the other, or a node might hear of a call's end before its beginning. An offer that a node does not
//! take goes to another one; an answer cannot, since the ports that the offer named are where they are.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Config, DIALOGS_MAX, NODES_TRIED_MAX, PING_DOWN_EVERY, PING_EVERY, Protocol, QUERY_EVERY,
    QUEUED_MAX, REPLY_MAX, RETRANSMIT_AFTER,
    call::{Asked, Call, Work},
    flags,
    io::{AskId, Input, Output},
    message::{self, Command, Reply, Totals},
    nodes::{Health, NodeId, Nodes, Wire},
    session,
};
use crate::{Answer, Ask, Branch, Leg, News, Role};

/// Speaks to the nodes for all calls.
#[derive(Debug)]
pub struct Client {
    nodes: Nodes,
    /// What SIP ends are offered that said nothing yet: upstreams, and the others.
    upstreams: Vec<Protocol>,
    plain: Protocol,
    calls_max: usize,
    cookies: String,
    last_cookie: u64,
    calls: HashMap<Arc<str>, Call>,
    /// Asks that somebody waits for.
    waiting: HashSet<AskId>,
    /// Commands without a reply, by the number in their cookie.
    pending: BTreeMap<u64, Pending>,
    /// The number tells two of one instant apart.
    timers: BTreeMap<(Instant, u64), Timer>,
    last_timer: u64,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Pending {
    node: NodeId,
    bytes: Bytes,
    what: What,
    /// Until it is sent again.
    patience: Duration,
}

#[derive(Debug)]
enum What {
    Ping,
    Work { call: Arc<str>, work: Work },
}

#[derive(Debug)]
enum Timer {
    /// Those of commands that were answered meanwhile have nothing left to do, nor those of pings that were put forward.
    Resend(u64),
    GiveUp(u64),
    Ping(NodeId),
    Query(Arc<str>),
}

impl Client {
    /// Knows no call yet, and asks every node whether it is there.
    #[must_use]
    pub fn new(config: Config, now: Instant) -> Self {
        let mut client = Self {
            nodes: Nodes::new(config.nodes),
            upstreams: config.upstreams,
            plain: config.plain,
            calls_max: config.calls_max,
            cookies: format!("{:016x}", config.cookies),
            last_cookie: 0,
            calls: HashMap::new(),
            waiting: HashSet::new(),
            pending: BTreeMap::new(),
            timers: BTreeMap::new(),
            last_timer: 0,
            outputs: VecDeque::new(),
        };
        for node in client.nodes.ids() {
            client.plan_ping(node, now);
        }
        client
    }

    /// Takes one input; what comes of it waits in [`Client::poll_output`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Ask { id, ask } => self.ask(now, id, ask),
            Input::Withdraw { id } => {
                let reason = "withdrawn".to_owned();
                let status = 487;
                self.answer(id, Answer::Refuse { status, reason });
            }
            Input::News(news) => self.hear(now, news),
            Input::Received { node, bytes } => self.receive(now, node, &bytes),
            Input::Connected { node } => self.set_health(node, Health::Up),
            Input::Disconnected { node } => {
                let of_node = self.pending.iter().filter(|(_, each)| each.node == node);
                let lost: Vec<u64> = of_node.map(|(cookie, _)| *cookie).collect();
                self.set_health(node, Health::Down);
                lost.into_iter()
                    .for_each(|cookie| self.give_up(now, cookie));
            }
        }
    }

    /// The next thing to be done, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Client::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            match entry.remove() {
                Timer::Resend(cookie) => self.resend(now, cookie),
                Timer::GiveUp(cookie) => self.give_up(now, cookie),
                Timer::Ping(node) if self.nodes.take_ping(node, now) => {
                    self.send(now, node, What::Ping);
                }
                Timer::Ping(_) => {}
                Timer::Query(call) => self.query(now, call),
            }
        }
    }

    /// Calls that are known.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    fn ask(&mut self, now: Instant, id: AskId, ask: Ask) {
        self.waiting.insert(id);
        let name = Arc::clone(&ask.branch.call);
        if !self.calls.contains_key(&name) {
            if self.calls.len() >= self.calls_max {
                return self.refuse(id, "too many calls at rtpengine");
            }
            self.calls.insert(Arc::clone(&name), Call::new());
            self.start(now + QUERY_EVERY, Timer::Query(Arc::clone(&name)));
        }
        let Some(call) = self.calls.get_mut(&name) else {
            return;
        };
        if call.queue.len() >= QUEUED_MAX {
            return self.refuse(id, "too many session descriptions of one call");
        }
        let tried = Vec::new();
        call.queue
            .push_back(Work::Ask(Box::new(Asked { id, ask, tried })));
        self.go_on(now, &name);
    }

    fn hear(&mut self, now: Instant, news: News) {
        match news {
            News::Answered(Branch {
                call,
                branch,
                to_tag,
                ..
            }) => {
                if let Some(call) = self.calls.get_mut(&call)
                    && call.dialogs.len() < DIALOGS_MAX
                {
                    call.dialogs.insert((branch, to_tag));
                }
            }
            News::Ended(Branch {
                call,
                branch,
                to_tag,
                ..
            }) => {
                let Some(known) = self.calls.get_mut(&call) else {
                    return;
                };
                known.dialogs.remove(&(branch, to_tag));
                if known.dialogs.is_empty() {
                    self.delete(now, &call);
                }
            }
            News::Failed { call } => self.delete(now, &call),
            // The next offer says what is right again; and a node keeps what a branch had until its call is over.
            News::Rejected(_) | News::Lost(_) => {}
        }
    }

    fn delete(&mut self, now: Instant, name: &Arc<str>) {
        if let Some(call) = self.calls.get_mut(name) {
            call.queue.push_back(Work::Delete);
            self.go_on(now, name);
        }
    }

    fn query(&mut self, now: Instant, name: Arc<str>) {
        if let Some(call) = self.calls.get_mut(&name) {
            if call.queue.is_empty() {
                call.queue.push_back(Work::Query);
            }
            self.go_on(now, &name);
            self.start(now + QUERY_EVERY, Timer::Query(name));
        }
    }

    /// The next command of a call, if it waits for none.
    fn go_on(&mut self, now: Instant, name: &Arc<str>) {
        while let Some(call) = self.calls.get_mut(name).filter(|call| !call.waits) {
            let Some(work) = call.queue.pop_front() else {
                return;
            };
            let node = call.node;
            match (&work, node) {
                (Work::Ask(asked), _) if !self.waiting.contains(&asked.id) => {}
                (Work::Ask(asked), node) => match self.node_for(node, asked) {
                    Some(node) => self.command(now, name, node, work),
                    None => self.refuse(asked.id, "no rtpengine is there"),
                },
                (Work::Delete | Work::Query, Some(node)) => self.command(now, name, node, work),
                (Work::Delete, None) => self.over(name, None),
                (Work::Query, None) => {}
            }
        }
    }

    fn node_for(&self, node: Option<NodeId>, asked: &Asked) -> Option<NodeId> {
        let call = &asked.ask.branch.call;
        let stays = |node: &NodeId| match asked.ask.role {
            Role::Answer => true,
            Role::Offer => !self.nodes.is_down(*node) && !asked.tried.contains(node),
        };
        node.filter(stays)
            .or_else(|| self.nodes.choose(call, &asked.tried))
    }

    fn command(&mut self, now: Instant, name: &Arc<str>, node: NodeId, work: Work) {
        if let Some(call) = self.calls.get_mut(name) {
            call.node = Some(node);
            call.waits = true;
        }
        let call = Arc::clone(name);
        self.send(now, node, What::Work { call, work });
    }

    fn send(&mut self, now: Instant, node: NodeId, what: What) {
        self.last_cookie += 1;
        let number = self.last_cookie;
        let cookie = format!("{}_{number}", self.cookies);
        let bytes = match &what {
            What::Ping => Command::Ping.write(&cookie),
            What::Work { call, work } => match work {
                Work::Ask(asked) => {
                    session::write(&cookie, &asked.ask, self.protocol(call, &asked.ask))
                }
                Work::Delete => Command::Delete { call }.write(&cookie),
                Work::Query => Command::Query { call }.write(&cookie),
            },
        };
        let output = Output::Send {
            node,
            bytes: bytes.clone(),
        };
        self.outputs.push_back(output);
        if self.nodes.wire(node) == Some(Wire::Datagrams) {
            self.start(now + RETRANSMIT_AFTER, Timer::Resend(number));
        }
        self.start(now + REPLY_MAX, Timer::GiveUp(number));
        let pending = Pending {
            node,
            bytes,
            what,
            patience: RETRANSMIT_AFTER,
        };
        self.pending.insert(number, pending);
    }

    fn resend(&mut self, now: Instant, cookie: u64) {
        let Some(pending) = self.pending.get_mut(&cookie) else {
            return;
        };
        pending.patience *= 2;
        let (node, bytes) = (pending.node, pending.bytes.clone());
        let again = now + pending.patience;
        self.outputs.push_back(Output::Send { node, bytes });
        self.start(again, Timer::Resend(cookie));
    }

    /// Of who gets a session description, if that is a SIP end.
    fn protocol(&mut self, call: &Arc<str>, ask: &Ask) -> Protocol {
        let offered = match ask.recipient() {
            Leg::Sip(Some(upstream)) => self.upstreams.get(usize::from(upstream)).copied(),
            Leg::Sip(None) | Leg::Web => None,
        };
        let offered = offered.unwrap_or(self.plain);
        let call = self.calls.get_mut(call);
        call.map_or(offered, |call| call.protocol(ask, offered))
    }

    /// Nothing came back.
    fn give_up(&mut self, now: Instant, cookie: u64) {
        let Some(Pending { node, what, .. }) = self.pending.remove(&cookie) else {
            return;
        };
        self.set_health(node, Health::Down);
        match what {
            What::Ping => self.plan_ping(node, now + PING_DOWN_EVERY),
            What::Work { call, work } => {
                if !self.nodes.awaits_pong(node) {
                    self.plan_ping(node, now + PING_DOWN_EVERY);
                }
                match work {
                    Work::Ask(asked) => self.elsewhere(node, *asked, "rtpengine does not answer"),
                    // It will find out by itself that nobody speaks any more.
                    Work::Delete => self.over(&call, None),
                    Work::Query => {}
                }
                self.done(now, &call);
            }
        }
    }

    fn receive(&mut self, now: Instant, node: NodeId, bytes: &[u8]) {
        let Ok((cookie, reply)) = message::read(bytes) else {
            return;
        };
        let number = cookie.strip_prefix(&self.cookies);
        let number = number.and_then(|rest| rest.strip_prefix('_')?.parse().ok());
        let Some(number) = number else { return };
        // The reply to a command that was sent twice comes twice.
        let Some(Pending { node, what, .. }) = self
            .pending
            .get(&number)
            .is_some_and(|pending| pending.node == node)
            .then(|| self.pending.remove(&number))
            .flatten()
        else {
            return;
        };
        self.set_health(node, Health::Up);
        match what {
            What::Ping => self.plan_ping(node, now + PING_EVERY),
            What::Work { call, work } => {
                self.replied(node, &call, work, reply);
                self.done(now, &call);
            }
        }
    }

    fn replied(&mut self, node: NodeId, call: &Arc<str>, work: Work, reply: Reply) {
        match (work, reply) {
            (Work::Ask(asked), Reply::Done { sdp: Some(sdp), .. }) => {
                let sdp = flags::clean(sdp, asked.ask.sender(), asked.ask.recipient());
                self.answer(asked.id, Answer::Replace(sdp));
            }
            (Work::Ask(asked), Reply::Full) => {
                self.elsewhere(node, *asked, "rtpengine takes no more calls");
            }
            (Work::Ask(asked), Reply::Failed { reason }) => {
                let status = session::status_of(&reason);
                let reason = format!("rtpengine: {reason}");
                self.answer(asked.id, Answer::Refuse { status, reason });
            }
            (Work::Ask(asked), Reply::Done { sdp: None, .. } | Reply::Pong) => {
                self.refuse(asked.id, "rtpengine gave no session description");
            }
            (Work::Delete, Reply::Done { totals, .. }) => self.over(call, totals),
            (Work::Delete, Reply::Failed { .. } | Reply::Full | Reply::Pong) => {
                self.over(call, None);
            }
            // Its media has died, or the node was started anew.
            (Work::Query, Reply::Failed { reason }) => self.died(call, &reason),
            (Work::Query, Reply::Done { .. } | Reply::Full | Reply::Pong) => {}
        }
    }

    /// An offer goes to another node, if there is one.
    fn elsewhere(&mut self, node: NodeId, mut asked: Asked, why: &str) {
        asked.tried.push(node);
        let call = &asked.ask.branch.call;
        let may = asked.ask.role == Role::Offer
            && asked.tried.len() < NODES_TRIED_MAX
            && self.nodes.choose(call, &asked.tried).is_some();
        match self.calls.get_mut(call) {
            Some(call) if may => call.queue.push_front(Work::Ask(Box::new(asked))),
            Some(_) | None => self.refuse(asked.id, why),
        }
    }

    /// The call no longer waits for a reply.
    fn done(&mut self, now: Instant, name: &Arc<str>) {
        if let Some(call) = self.calls.get_mut(name) {
            call.waits = false;
            self.go_on(now, name);
        }
    }

    /// One that still rings may be offered anew.
    fn died(&mut self, name: &Arc<str>, reason: &str) {
        let known = self.calls.get(name);
        if known.is_some_and(|call| !call.dialogs.is_empty()) {
            self.outputs.push_back(Output::Dead {
                call: Arc::clone(name),
                reason: format!("rtpengine has ended it: {reason}"),
            });
        }
        self.over(name, None);
    }

    /// Forgets a call, unless something of it is still to be done: then it begins anew.
    fn over(&mut self, name: &Arc<str>, totals: Option<Totals>) {
        let Some(call) = self.calls.get_mut(name) else {
            return;
        };
        let call_name = Arc::clone(name);
        self.outputs.push_back(Output::Over {
            call: call_name,
            totals,
        });
        call.node = None;
        call.dialogs.clear();
        if call.queue.is_empty() {
            self.calls.remove(name);
        }
    }

    fn refuse(&mut self, id: AskId, reason: &str) {
        let reason = reason.to_owned();
        let status = 500;
        self.answer(id, Answer::Refuse { status, reason });
    }

    fn answer(&mut self, id: AskId, answer: Answer) {
        if self.waiting.remove(&id) {
            self.outputs.push_back(Output::Answer { id, answer });
        }
    }

    fn set_health(&mut self, node: NodeId, health: Health) {
        if self.nodes.set(node, health) {
            self.outputs.push_back(Output::Health { node, health });
        }
    }

    fn plan_ping(&mut self, node: NodeId, at: Instant) {
        self.nodes.plan_ping(node, at);
        self.start(at, Timer::Ping(node));
    }

    fn start(&mut self, at: Instant, timer: Timer) {
        self.last_timer += 1;
        self.timers.insert((at, self.last_timer), timer);
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
