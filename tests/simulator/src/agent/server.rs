//! The server's half of an agent: requests that arrive, and its answers (RFC 3261 §8.2, §9.2, §13.3, §17.2).

use std::{net::SocketAddr, time::Duration};

use super::{Agent, Bye, Cancelled, DialogState, GIVE_UP, Hop, Kind, T1, T2, client::apply_extra};
use crate::wire::Msg;

/// Complaint of an ACK that nobody waits for.
pub const STRAY_ACK: &str = "acknowledges nothing that was answered";

/// A server transaction.
#[derive(Debug)]
pub struct Server {
    /// As it arrived.
    pub request: Msg,
    /// What was answered finally.
    pub answered: Option<u16>,
    /// When.
    pub answered_at: Option<Duration>,
    /// An ACK came for that answer.
    pub acknowledged: bool,
    /// It was accepted, and a BYE ended the dialog before the ACK came.
    pub ended_early: bool,
    /// A CANCEL came for it.
    pub cancelled: bool,
    /// When it arrived.
    pub since: Duration,
    branch: String,
    hop: Hop,
    tag: String,
    /// To tags of its 2xx.
    accepted_tags: Vec<String>,
    /// What a retransmission of the request is answered with.
    last: Option<Msg>,
    /// Responses that are sent again until their ACK comes; one for each To tag.
    repeats: Vec<Repeat>,
}

#[derive(Debug)]
struct Repeat {
    response: Msg,
    tag: String,
    at: Duration,
    interval: Duration,
    until: Duration,
}

/// A response to be made: what a script says of it.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// 100 to 699.
    pub status: u16,
    /// The To tag, if not this agent's own for this transaction.
    pub tag: Option<String>,
    /// Fields that replace or join the usual ones.
    pub extra: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: String,
}

impl Server {
    /// The To tag of its answers, unless an answer named another.
    #[must_use]
    pub fn to_tag(&self) -> String {
        let given = self.request.tag("To");
        if given.is_empty() {
            self.tag.clone()
        } else {
            given
        }
    }

    /// What a stateless proxy takes from it; nobody here answers it any more.
    pub(super) fn handed_on(&mut self) -> (Msg, Hop) {
        self.answered = Some(0);
        (self.request.clone(), self.hop)
    }

    pub(super) fn timers(&self) -> [Option<Duration>; 2] {
        [self.repeats.iter().map(|r| r.at).min(), None]
    }

    pub(super) fn connection_lost(&mut self) {
        self.repeats.clear();
        self.answered.get_or_insert(0);
    }
}

impl Agent {
    pub(super) fn receive_request(&mut self, now: Duration, source: SocketAddr, request: Msg) {
        let branch = request.branch();
        let hop = if self.kind == Kind::Browser {
            Hop::Connection
        } else {
            Hop::Address(source)
        };
        if request.method() == "ACK" {
            return self.receive_ack(&request);
        }
        let method = request.method().to_owned();
        if let Some(known) = self
            .servers
            .iter()
            .find(|s| s.branch == branch && s.request.method() == method)
        {
            if let Some(last) = known.last.clone() {
                self.out.push((known.hop, last));
            }
            return;
        }
        let tag = self.fresh("tag-");
        self.servers.push(Server {
            request,
            answered: None,
            answered_at: None,
            acknowledged: false,
            ended_early: false,
            cancelled: false,
            accepted_tags: Vec::new(),
            since: now,
            branch,
            hop,
            tag,
            last: None,
            repeats: Vec::new(),
        });
        self.new_request(now, self.servers.len() - 1);
    }

    /// What a stack does before anybody is asked.
    fn new_request(&mut self, now: Duration, index: usize) {
        let request = self.servers[index].request.clone();
        let status = match request.method() {
            "CANCEL" => self.receive_cancel(now, &request.branch()),
            "BYE" if self.is_to_be_challenged(&request) => return self.challenge(now, index),
            _ if request.tag("To").is_empty() => return,
            method => match self.find_dialog(
                request.header("Call-ID"),
                &request.tag("To"),
                &request.tag("From"),
            ) {
                None => {
                    if !self.took_part(&request) {
                        self.wrong("belongs to no dialog here", &request);
                    }
                    Some(481)
                }
                Some(at) if request.cseq() < self.dialogs[at].remote_cseq => Some(500),
                Some(at) => {
                    self.dialogs[at].remote_cseq = request.cseq();
                    let over = self.dialogs[at].state == DialogState::Ended;
                    match method {
                        _ if over => Some(481),
                        "BYE" => {
                            self.dialogs[at].state = DialogState::Ended;
                            self.stop_repeating(&request.tag("To"));
                            Some(200)
                        }
                        _ => None,
                    }
                }
            },
        };
        if let Some(status) = status {
            self.answer(
                now,
                index,
                &Answer {
                    status,
                    ..Answer::default()
                },
            );
        }
    }

    fn is_to_be_challenged(&self, request: &Msg) -> bool {
        let credentials = request.header("Proxy-Authorization");
        self.habits.bye == Bye::Challenged && !credentials.starts_with("Digest bye ")
    }

    fn challenge(&mut self, now: Duration, index: usize) {
        let challenge = r#"Digest realm="pbx", nonce="bye""#.to_owned();
        self.answer(
            now,
            index,
            &Answer {
                status: 407,
                extra: vec![("Proxy-Authenticate".to_owned(), challenge)],
                ..Answer::default()
            },
        );
    }

    /// The other end may have a dialog of which this end never heard, if its 2xx was lost for good.
    fn took_part(&self, request: &Msg) -> bool {
        let (call_id, tag) = (request.header("Call-ID"), request.tag("To"));
        let asked = |c: &super::Client| {
            c.request.header("Call-ID") == call_id && c.request.tag("From") == tag
        };
        let was_asked = |s: &Server| s.request.header("Call-ID") == call_id && s.to_tag() == tag;
        self.clients.iter().any(asked) || self.servers.iter().any(was_asked)
    }

    fn receive_cancel(&mut self, now: Duration, branch: &str) -> Option<u16> {
        let invite = self
            .servers
            .iter()
            .position(|s| s.branch == branch && s.request.method() == "INVITE");
        let Some(invite) = invite else {
            return Some(481);
        };
        self.servers[invite].cancelled = true;
        if self.servers[invite].answered.is_none() && self.habits.cancelled == Cancelled::Ends {
            self.answer(
                now,
                invite,
                &Answer {
                    status: 487,
                    ..Answer::default()
                },
            );
        }
        Some(200)
    }

    /// For a failure by branch (RFC 3261 §17.2.1), for a 2xx by dialog and CSeq (§13.3.1.4).
    fn receive_ack(&mut self, ack: &Msg) {
        let (branch, tag, cseq) = (ack.branch(), ack.tag("To"), ack.cseq());
        let failed =
            |s: &Server| s.branch == branch && s.answered.is_some_and(|status| status >= 300);
        let of_call = |s: &Server| {
            s.request.method() == "INVITE"
                && s.request.cseq() == cseq
                && s.request.header("Call-ID") == ack.header("Call-ID")
        };
        let accepted = |s: &Server| {
            of_call(s) && s.request.tag("From") == ack.tag("From") && s.accepted_tags.contains(&tag)
        };
        match self
            .servers
            .iter_mut()
            .find(|s| s.request.method() == "INVITE" && (failed(s) || accepted(s)))
        {
            Some(server) => {
                server.acknowledged = true;
                server.repeats.retain(|r| r.tag != tag);
            }
            None => self.wrong(STRAY_ACK, ack),
        }
    }

    /// Sends a response; a final one to INVITE again and again until its ACK comes.
    pub fn answer(&mut self, now: Duration, server: usize, answer: &Answer) {
        let (request, hop) = (
            self.servers[server].request.clone(),
            self.servers[server].hop,
        );
        let tag = answer
            .tag
            .clone()
            .unwrap_or_else(|| self.servers[server].tag.clone());
        let tag = if request.tag("To").is_empty() {
            tag
        } else {
            request.tag("To")
        };
        let mut response = Msg::response(
            &request,
            answer.status,
            (answer.status > 100).then_some(tag.as_str()),
        );
        let invite = request.method() == "INVITE";
        if invite && (101..300).contains(&answer.status) {
            response.push("Contact", &format!("<{}>", self.contact()));
        }
        apply_extra(&mut response, &answer.extra);
        if !answer.body.is_empty() {
            response.push("Content-Type", "application/sdp");
            response.body.clone_from(&answer.body);
        }
        if invite && (101..300).contains(&answer.status) {
            self.dialog_from_request(&request, &response);
        }
        let repeated =
            invite && answer.status >= 200 && (answer.status < 300 || self.kind == Kind::Udp);
        let server = &mut self.servers[server];
        if answer.status >= 200 {
            server.answered.get_or_insert(answer.status);
            server.answered_at.get_or_insert(now);
            if invite && answer.status >= 300 {
                let call = (request.header("Call-ID").to_owned(), tag.clone());
                let mut of_call = self
                    .dialogs
                    .iter_mut()
                    .filter(|d| (&d.call_id, &d.local_tag) == (&call.0, &call.1));
                if let Some(dialog) = of_call.find(|d| d.state == DialogState::Early) {
                    dialog.state = DialogState::Ended;
                }
            }
        }
        if invite && (200..300).contains(&answer.status) {
            server.accepted_tags.push(tag.clone());
        }
        server.last = Some(response.clone());
        if repeated {
            let (at, until) = (now + T1, now + GIVE_UP);
            server.repeats.push(Repeat {
                response: response.clone(),
                tag,
                at,
                interval: T1,
                until,
            });
        }
        self.out.push((hop, response));
    }

    /// The newest request that waits for an answer; of this method, if one is named.
    #[must_use]
    pub fn unanswered(&self, method: Option<&str>) -> Option<usize> {
        let wanted =
            |s: &Server| s.answered.is_none() && method.is_none_or(|m| s.request.method() == m);
        self.servers.iter().rposition(wanted)
    }

    /// May this end of the dialog send requests? Whoever accepted has to wait for the ACK (RFC 3261 §15).
    #[must_use]
    pub fn may_speak(&self, dialog: usize) -> bool {
        let tag = &self.dialogs[dialog].local_tag;
        let waits =
            |s: &Server| s.accepted_tags.contains(tag) && !s.repeats.is_empty() && !s.acknowledged;
        self.dialogs[dialog].state == DialogState::Confirmed && !self.servers.iter().any(waits)
    }

    /// A BYE ends the waiting for an ACK (RFC 3261 §15.1.2).
    fn stop_repeating(&mut self, tag: &str) {
        for server in self
            .servers
            .iter_mut()
            .filter(|s| s.accepted_tags.iter().any(|t| t == tag))
        {
            server.repeats.retain(|r| r.tag != tag);
            server.ended_early |= !server.acknowledged;
        }
    }

    pub(super) fn run_server_timers(&mut self, now: Duration) {
        for server in &mut self.servers {
            server.repeats.retain(|r| r.until > now);
            for repeat in server.repeats.iter_mut().filter(|r| r.at <= now) {
                repeat.interval = (repeat.interval * 2).min(T2);
                repeat.at = now + repeat.interval;
                self.out.push((server.hop, repeat.response.clone()));
            }
        }
    }
}
