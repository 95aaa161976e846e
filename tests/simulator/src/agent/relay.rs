//! An agent as a stateless proxy (RFC 3261 §16.11): a PBX that hands a call on, back to where it came from if need be.

use std::time::Duration;

use super::{Agent, Answer, Hop};
use crate::wire::{self, Msg};

/// A request that was handed on: its branch, and where responses to it go.
#[derive(Clone, Debug)]
pub(super) struct Relayed {
    branch: String,
    call_id: String,
    back: Hop,
}

/// A registration that this agent granted: whose, where, and by way of whom.
#[derive(Clone, Debug)]
pub(super) struct Granted {
    user: String,
    contact: String,
    path: Vec<String>,
}

impl Agent {
    /// Answers the newest REGISTER that waits, as a registrar that knows of Path (RFC 3327): one contact for each instance.
    pub fn grant(&mut self, now: Duration, extra: &[(String, String)]) {
        let Some(server) = self.unanswered(Some("REGISTER")) else {
            return;
        };
        let request = &self.servers[server].request;
        let granted = Granted {
            user: wire::user_of(wire::uri_of(request.header("To"))).to_owned(),
            contact: wire::uri_of(request.header("Contact")).to_owned(),
            path: request.all("Path"),
        };
        let contact = format!("{};expires=600", request.header("Contact"));
        self.granted.retain(|each| each.user != granted.user);
        self.granted.push(granted);
        let mut extra = extra.to_vec();
        extra.push(("Contact".to_owned(), contact));
        let answer = Answer {
            status: 200,
            extra,
            ..Answer::default()
        };
        self.answer(now, server, &answer);
    }

    /// Hands on the newest request that waits to where this user has registered.
    pub fn relay_to_user(&mut self, user: &str) {
        let granted = self.granted.iter().find(|each| each.user == user).cloned();
        let (Some(granted), Some(server)) = (granted, self.unanswered(None)) else {
            return;
        };
        let (mut onward, back) = self.servers[server].handed_on();
        onward.start = format!("{} {} SIP/2.0", onward.method(), granted.contact);
        for path in granted.path.into_iter().rev() {
            onward.headers.insert(0, ("Route".to_owned(), path));
        }
        self.hand_on(onward, back);
    }

    /// Hands on the newest request that waits, to `uri`; it is answered by whoever answers there.
    pub fn relay(&mut self, uri: &str) {
        let Some(server) = self.unanswered(None) else {
            return;
        };
        let (request, back) = self.servers[server].handed_on();
        let mut onward = request;
        onward.start = format!("{} {uri} SIP/2.0", onward.method());
        self.hand_on(onward, back);
    }

    /// A later request of a call that was handed on goes where its Route says.
    pub(super) fn relay_onward(&mut self, request: &Msg) -> bool {
        let of_call = |r: &Relayed| r.call_id == request.header("Call-ID");
        let Some(back) = self.relayed.iter().find(|r| of_call(r)).map(|r| r.back) else {
            return false;
        };
        let onward = !request.tag("To").is_empty() && !request.all("Route").is_empty();
        if onward {
            self.hand_on(request.clone(), back);
        }
        onward
    }

    fn hand_on(&mut self, mut onward: Msg, back: Hop) {
        let (branch, call_id) = (self.fresh("z9hG4bK-"), onward.header("Call-ID").to_owned());
        onward
            .headers
            .insert(0, ("Via".to_owned(), self.via(&branch)));
        let hops: u32 = onward.header("Max-Forwards").parse().unwrap_or(70);
        onward.set("Max-Forwards", &hops.saturating_sub(1).to_string());
        self.relayed.push(Relayed {
            branch,
            call_id,
            back,
        });
        self.out.push((Hop::Address(self.outbound), onward));
    }

    /// The way back, if this answers a request that was handed on.
    pub(super) fn relay_response(&mut self, response: &Msg) -> bool {
        let branch = response.branch();
        let Some(relayed) = self.relayed.iter().find(|relayed| relayed.branch == branch) else {
            return false;
        };
        if response.status() == Some(100) {
            return true;
        }
        let mut back = response.clone();
        let vias: Vec<String> = back.all("Via").split_off(1);
        back.remove("Via");
        vias.iter()
            .rev()
            .for_each(|via| back.headers.insert(0, ("Via".to_owned(), via.clone())));
        self.out.push((relayed.back, back));
        true
    }
}
