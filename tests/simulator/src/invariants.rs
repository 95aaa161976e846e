//! What holds in every network, whatever was lost, late, twice or torn: checked once it is at rest.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use hookswitch_sip::proxy::{
    Gauges,
    io::{Cause, Ended, Origin},
};

use crate::{
    agent::{Agent, Client, ClientEnd, Kind, STRAY_ACK, Server, Wrong},
    world::World,
};

/// Messages that the proxy may send for each request that an agent began: retransmissions of both legs and forks included.
const SENT_PER_REQUEST_MAX: u64 = 150;

/// What the proxy may do in this network and in no other.
#[derive(Clone, Debug, Default)]
pub struct Excuses {
    /// When it lost its memory.
    pub restarts: Vec<Duration>,
    /// It gives up on a branch that says nothing for so long after its INVITE, and without a CANCEL, since none may be sent (RFC 3261
    /// §9.1): a 2xx that comes from there after all may come after the failure.
    pub first_response: Option<Duration>,
    /// The same, from when the stage of that branch began.
    pub no_answer: Option<Duration>,
    /// When it was told to end all calls whose media passes through it, with or without an answer.
    pub media_died: Vec<Duration>,
}

/// Every broken invariant of a network at rest, in words.
#[must_use]
pub fn broken(world: &World, excuses: &Excuses) -> Vec<String> {
    let network = Network { world, excuses };
    let mut broken = network.nothing_strays();
    broken.extend(network.every_request_ends());
    broken.extend(network.every_server_transaction_is_told_once());
    broken.extend(network.no_2xx_is_lost());
    broken.extend(network.every_2xx_is_acknowledged());
    broken.extend(network.requests_reach_whom_they_are_for());
    broken.extend(network.memory_is_back_to_base());
    broken.extend(network.media_hears_of_every_end());
    broken.extend(network.no_storm());
    broken
}

/// A message takes so long at most from one worker of the proxy to another.
const BETWEEN_WORKERS_MAX: Duration = Duration::from_millis(3);
/// A 2xx is sent again for so long if no ACK comes (RFC 3261 §13.3.1.4).
const REPEATED_MAX: Duration = Duration::from_secs(32);

struct Network<'a> {
    world: &'a World,
    excuses: &'a Excuses,
}

impl Network<'_> {
    fn requests(&self) -> impl Iterator<Item = (&Agent, &Client)> {
        self.world
            .agents
            .iter()
            .flat_map(|agent| agent.clients.iter().map(move |client| (agent, client)))
    }

    fn restarted_in(&self, time: &RangeInclusive<Duration>) -> bool {
        self.excuses.restarts.iter().any(|at| time.contains(at))
    }

    /// No agent got what was not for it.
    fn nothing_strays(&self) -> Vec<String> {
        let wrongs = self.world.agents.iter().flat_map(|agent| &agent.wrongs);
        // Beyond the limit of transactions a request is refused without one: the ACK of that goes by its Route, since nobody waits for it.
        let excused =
            |wrong: &&Wrong| wrong.what == STRAY_ACK && self.was_refused(&wrong.call_id, "INVITE");
        wrongs
            .filter(|wrong| !excused(wrong))
            .map(|wrong| wrong.text.clone())
            .collect()
    }

    fn was_refused(&self, call_id: &str, method: &str) -> bool {
        let of_this = |ended: &Ended| ended.call_id() == call_id && ended.method() == method;
        self.world
            .ended
            .iter()
            .any(|(_, ended)| of_this(ended) && ended.cause == Cause::Overload)
    }

    /// One final response, or a cause that has a name.
    fn every_request_ends(&self) -> Vec<String> {
        let ends = |(agent, client): (&Agent, &Client)| {
            let finals: Vec<u16> = client.finals.iter().map(|(status, _)| *status).collect();
            let is_invite = client.request.method() == "INVITE";
            let only_2xx = finals.iter().all(|status| (200..300).contains(status));
            match client.end {
                None => Some("never ended".to_owned()),
                Some(ClientEnd::Final(_)) if finals.len() == 1 => None,
                Some(ClientEnd::Final(_))
                    if is_invite && (only_2xx || self.silence_answered_late(client)) =>
                {
                    None
                }
                Some(ClientEnd::Final(_)) => Some(format!("has the final responses {finals:?}")),
                Some(ClientEnd::ConnectionLost) => None,
                Some(ClientEnd::Timeout) if self.may_time_out(agent, client) => None,
                Some(ClientEnd::Timeout) => Some("timed out without a cause".to_owned()),
            }
            .map(|what| told(agent, client, &what))
        };
        self.requests().filter_map(ends).collect()
    }

    /// Had this callee said nothing that reached the proxy when that gave up on it?
    fn was_given_up(&self, client: &Client, server: &Server) -> bool {
        let Some(invite) = self.world.invites.get(&server.request.branch()) else {
            return false;
        };
        let late = |since: Duration, limit: Option<Duration>| {
            let in_time =
                |at: Duration| limit.is_none_or(|limit| at + BETWEEN_WORKERS_MAX < since + limit);
            limit.is_some() && !invite.heard_at.is_some_and(in_time)
        };
        let died = |at: &Duration| late(invite.sent_at, at.checked_sub(invite.sent_at));
        // No stage begins before the call.
        late(invite.sent_at, self.excuses.first_response)
            || late(client.since, self.excuses.no_answer)
            || self.excuses.media_died.iter().any(died)
    }

    /// Beside one failure the client heard 2xx of such callees, and nothing else.
    fn silence_answered_late(&self, client: &Client) -> bool {
        let from_silence = |tag: &String| {
            let mut accepted = self.accepted();
            accepted.any(|(_, server)| server.to_tag() == *tag && self.was_given_up(client, server))
        };
        let (accepted, failed): (Vec<_>, Vec<_>) =
            client.finals.iter().partition(|(status, _)| *status < 300);
        failed.len() == 1 && accepted.iter().all(|(_, tag)| from_silence(tag))
    }

    /// The proxy names the cause, or lost its memory meanwhile, or the client's datagrams were lost after a connection was.
    fn may_time_out(&self, agent: &Agent, client: &Client) -> bool {
        let named = self.world.ended.iter().any(|(_, ended)| {
            let of_this = ended.call_id() == client.request.header("Call-ID")
                && ended.method() == client.request.method();
            of_this && matches!(ended.cause, Cause::Timeout | Cause::Discarded)
        });
        let life = client.since..=client.timed_out_at.unwrap_or(client.since);
        let is_torn = |other: &Agent| other.lost_at.iter().any(|at| life.contains(at));
        let is_udp = agent.kind == Kind::Udp;
        named || self.restarted_in(&life) || (is_udp && self.world.agents.iter().any(is_torn))
    }

    /// In each life of the proxy, as many ends as requests that arrived; in a life that was cut short, at most.
    fn every_server_transaction_is_told_once(&self) -> Vec<String> {
        let mut counts: BTreeMap<(u32, &str, &str), (usize, usize)> = BTreeMap::new();
        for (life, call_id, method, _) in self
            .world
            .arrived
            .iter()
            .filter(|arrived| arrived.2 != "CANCEL")
        {
            counts.entry((*life, call_id, method)).or_default().0 += 1;
        }
        // What is beyond the limit of transactions is refused without one, and each retransmission of it again.
        let in_full = |ended: &Ended| {
            ended.method() != "CANCEL"
                && ended.cause != Cause::Overload
                && ended.origin == Origin::Client
        };
        for (life, ended) in self.world.ended.iter().filter(|(_, ended)| in_full(ended)) {
            counts
                .entry((*life, ended.call_id(), ended.method()))
                .or_default()
                .1 += 1;
        }
        let wrong =
            |((life, call_id, method), (arrived, told)): (&(u32, &str, &str), &(usize, usize))| {
                let cut_short = *life != self.world.node.life || self.was_refused(call_id, method);
                let fits = if cut_short {
                    told <= arrived
                } else {
                    arrived == told
                };
                (!fits).then(|| {
                    format!("{method} of {call_id}: {arrived} arrived in life {life}, {told} ended")
                })
            };
        counts.iter().filter_map(wrong).collect()
    }

    /// Each 2xx to an INVITE reaches whoever called, unless its way was gone.
    fn no_2xx_is_lost(&self) -> Vec<String> {
        let mut lost = Vec::new();
        for (agent, server) in self.accepted() {
            let tag = server.to_tag();
            let Some((caller, client)) = self.caller_of(server) else {
                lost.push(format!(
                    "{} accepted a call that nobody made: {}",
                    agent.name,
                    server.request.header("Call-ID")
                ));
                continue;
            };
            let heard = client.finals.iter().any(|(_, heard)| *heard == tag);
            if !heard && !self.way_was_gone((agent, server), (caller, client)) {
                lost.push(told(
                    caller,
                    client,
                    &format!("missed the 2xx of {} ({tag})", agent.name),
                ));
            }
        }
        lost
    }

    fn every_2xx_is_acknowledged(&self) -> Vec<String> {
        let mut lost = Vec::new();
        for (agent, server) in self
            .accepted()
            .filter(|(_, server)| !server.acknowledged && !server.ended_early)
        {
            if let Some((caller, client)) = self.caller_of(server)
                && matches!(client.end, Some(ClientEnd::Final(200..300)))
                && !self.way_was_gone((agent, server), (caller, client))
            {
                lost.push(told(
                    caller,
                    client,
                    &format!("sent an ACK that did not reach {}", agent.name),
                ));
            }
        }
        lost
    }

    fn accepted(&self) -> impl Iterator<Item = (&Agent, &Server)> {
        let all = self
            .world
            .agents
            .iter()
            .flat_map(|agent| agent.servers.iter().map(move |server| (agent, server)));
        all.filter(|(_, s)| {
            s.request.method() == "INVITE"
                && s.answered
                    .is_some_and(|status| (200..300).contains(&status))
        })
    }

    /// The client transaction that a server transaction answers: Call-ID, From tag and CSeq pass the proxy unchanged.
    fn caller_of(&self, server: &Server) -> Option<(&Agent, &Client)> {
        let asked = &server.request;
        self.requests().find(|(_, client)| {
            let request = &client.request;
            request.method() == "INVITE"
                && request.cseq() == asked.cseq()
                && request.header("Call-ID") == asked.header("Call-ID")
                && request.tag("From") == asked.tag("From")
        })
    }

    /// Between the call and the last time that its 2xx was sent.
    fn way_was_gone(&self, callee: (&Agent, &Server), caller: (&Agent, &Client)) -> bool {
        let answered = callee.1.answered_at.unwrap_or(callee.1.since);
        let life = caller.1.since..=answered + REPEATED_MAX;
        let is_torn = |agent: &Agent| agent.lost_at.iter().any(|at| life.contains(at));
        is_torn(callee.0) || is_torn(caller.0) || self.restarted_in(&life)
    }

    fn requests_reach_whom_they_are_for(&self) -> Vec<String> {
        let browsers = self
            .world
            .agents
            .iter()
            .filter(|agent| agent.kind == Kind::Browser);
        let wrong = |agent: &Agent| {
            let mut asked = agent.servers.iter().map(|server| server.request.uri());
            let is_own = |uri: &str| {
                let earlier = &agent.earlier_contacts;
                uri == agent.contact() || earlier.iter().any(|contact| contact == uri)
            };
            let stray = asked.find(|uri| !is_own(uri))?;
            Some(format!("{} got a request for {stray}", agent.name))
        };
        browsers.filter_map(wrong).collect()
    }

    fn memory_is_back_to_base(&self) -> Option<String> {
        let gauges = self.world.node.gauges();
        (gauges != Gauges::default()).then(|| format!("left behind: {gauges:?}"))
    }

    /// What media was asked about was answered, rejected or lost, and media knows which.
    fn media_hears_of_every_end(&self) -> Vec<String> {
        let unheard = self.world.media.unheard(self.world.node.life);
        unheard
            .map(|call| format!("media does not know what became of {call}"))
            .collect()
    }

    fn no_storm(&self) -> Option<String> {
        let (sent, begun) = (self.world.sent, self.requests().count() as u64);
        (sent > SENT_PER_REQUEST_MAX * begun)
            .then(|| format!("{sent} messages for {begun} requests"))
    }
}

fn told(agent: &Agent, client: &Client, what: &str) -> String {
    let request = &client.request;
    format!(
        "{}: {} of {} (CSeq {}) {what}",
        agent.name,
        request.method(),
        request.header("Call-ID"),
        request.cseq()
    )
}
