//! What holds in every network, whatever was lost, late, twice or torn: checked once it is at rest.

use std::{collections::BTreeMap, time::Duration};

use hookswitch_sip::proxy::{Gauges, io::Cause};

use crate::{
    agent::{Agent, Client, ClientEnd, Kind, Server},
    random::FOR,
    world::World,
};

/// Messages that the proxy may send for each request that an agent began: retransmissions of both legs and forks included.
const SENT_PER_REQUEST_MAX: u64 = 150;

/// Every broken invariant of a network at rest, in words. `restarts` are the moments when the proxy lost its memory.
#[must_use]
pub fn broken(world: &World, restarts: &[Duration]) -> Vec<String> {
    let network = Network { world, restarts };
    let mut broken: Vec<String> = world
        .agents
        .iter()
        .flat_map(|agent| agent.wrongs.clone())
        .collect();
    broken.extend(network.every_request_ends());
    broken.extend(network.every_server_transaction_is_told_once());
    broken.extend(network.no_2xx_is_lost());
    broken.extend(network.every_2xx_is_acknowledged());
    broken.extend(network.requests_reach_whom_they_are_for());
    broken.extend(network.memory_is_back_to_base());
    broken.extend(network.no_storm());
    broken
}

struct Network<'a> {
    world: &'a World,
    restarts: &'a [Duration],
}

impl Network<'_> {
    fn requests(&self) -> impl Iterator<Item = (&Agent, &Client)> {
        self.world
            .agents
            .iter()
            .flat_map(|agent| agent.clients.iter().map(move |client| (agent, client)))
    }

    fn restarted_since(&self, when: Duration) -> bool {
        self.restarts.iter().any(|at| *at >= when)
    }

    /// One final response, or a cause that has a name.
    fn every_request_ends(&self) -> Vec<String> {
        let ends = |(agent, client): (&Agent, &Client)| {
            let finals: Vec<u16> = client.finals.iter().map(|(status, _)| *status).collect();
            match client.end {
                None => Some("never ended".to_owned()),
                Some(ClientEnd::Final(200..300)) if client.request.method() == "INVITE" => None,
                Some(ClientEnd::Final(_)) if finals.len() == 1 => None,
                Some(ClientEnd::Final(_)) => Some(format!("has the final responses {finals:?}")),
                Some(ClientEnd::ConnectionLost) => None,
                Some(ClientEnd::Timeout) if self.may_time_out(agent, client) => None,
                Some(ClientEnd::Timeout) => Some("timed out without a cause".to_owned()),
            }
            .map(|what| told(agent, client, &what))
        };
        self.requests().filter_map(ends).collect()
    }

    /// The packets of a datagram agent may be lost, and what the proxy knew is lost with it; else the proxy itself names the cause.
    fn may_time_out(&self, agent: &Agent, client: &Client) -> bool {
        let named = self.world.ended.iter().any(|(_, ended)| {
            let of_this = ended.call_id == client.request.header("Call-ID")
                && ended.method == client.request.method();
            of_this && matches!(ended.cause, Cause::Timeout | Cause::Discarded)
        });
        named
            || self.restarted_since(client.since)
            || (agent.kind == Kind::Udp && client.request.method() == "CANCEL")
    }

    /// In each life of the proxy, as many ends as requests that arrived; in a life that was cut short, at most.
    fn every_server_transaction_is_told_once(&self) -> Vec<String> {
        let mut counts: BTreeMap<(u32, &str, &str), (usize, usize)> = BTreeMap::new();
        for (life, call_id, method, _) in &self.world.arrived {
            if method != "CANCEL" {
                counts.entry((*life, call_id, method)).or_default().0 += 1;
            }
        }
        for (life, ended) in &self.world.ended {
            if ended.method != "CANCEL" {
                counts
                    .entry((*life, &ended.call_id, &ended.method))
                    .or_default()
                    .1 += 1;
            }
        }
        let wrong =
            |((life, call_id, method), (arrived, told)): (&(u32, &str, &str), &(usize, usize))| {
                let fits = if *life == self.world.node.life {
                    arrived == told
                } else {
                    told <= arrived
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
            if !heard && !self.way_was_gone(agent, caller, server.since) {
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
                && !self.way_was_gone(agent, caller, server.since)
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

    fn way_was_gone(&self, callee: &Agent, caller: &Agent, since: Duration) -> bool {
        let lost = |agent: &Agent| {
            agent
                .lost_at
                .iter()
                .any(|at| *at >= since.saturating_sub(Duration::from_secs(1)))
        };
        lost(callee)
            || lost(caller)
            || self.restarted_since(since.saturating_sub(Duration::from_secs(1)))
    }

    fn requests_reach_whom_they_are_for(&self) -> Vec<String> {
        let browsers = self
            .world
            .agents
            .iter()
            .filter(|agent| agent.kind == Kind::Browser);
        let wrong = |agent: &Agent| -> Vec<String> {
            let mut asked = agent
                .servers
                .iter()
                .map(|server| server.request.get(FOR).unwrap_or(&agent.user));
            let stray = asked
                .find(|user| **user != agent.user)
                .map(|user| format!("{} got a request for {user}", agent.name));
            stray.into_iter().collect()
        };
        browsers.flat_map(wrong).collect()
    }

    fn memory_is_back_to_base(&self) -> Option<String> {
        let gauges = self.world.node.gauges();
        (gauges != Gauges::default()).then(|| format!("left behind: {gauges:?}"))
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
