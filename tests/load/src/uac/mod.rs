//! The asking side, browser and PBX alike: sends requests, knows what each is owed, and tells a right answer from a wrong one.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::{
    score::Score,
    sip::{View, parameter, uri},
    uas::{SDP, tag_for},
};

/// What a run sends, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// OPTIONS and its answer.
    Options,
    /// MESSAGE and its answer.
    Message,
    /// REGISTER of the sender's own contact.
    Register,
    /// INVITE, 180, 200, ACK, BYE, 200.
    Call,
}

/// What a run sends, and to whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which request.
    pub kind: Kind,
    /// Request-URIs, taken in turn.
    pub uris: Vec<String>,
    /// Header lines of the first request, each ended by CRLF.
    pub headers: String,
    /// Header lines of the BYE, each ended by CRLF.
    pub dialog_headers: String,
}

impl Plan {
    /// Without further header fields.
    #[must_use]
    pub fn new(kind: Kind, uris: Vec<String>) -> Self {
        Self {
            kind,
            uris,
            headers: String::new(),
            dialog_headers: String::new(),
        }
    }
}

/// How one sender appears in its requests.
#[derive(Clone, Debug)]
pub struct Party {
    /// `sip:load0@localhost`
    pub aor: String,
    /// In angle brackets.
    pub contact: String,
    /// Protocol and sent-by of its Via: `SIP/2.0/WSS load0.invalid`
    pub via: String,
}

/// What a final response leads to.
#[derive(Debug, Default)]
pub(crate) struct Reaction {
    /// Messages that its receiver sends now.
    pub(crate) send: Vec<String>,
    /// The request, or the whole call, is over.
    pub(crate) ended: bool,
}

/// Looks at a final response that belongs to its request; the error says what is wrong with it.
pub type Inspect = Box<dyn FnMut(View<'_>) -> Result<(), String>>;

/// The requests that wait for their answers.
pub(crate) struct Ledger {
    /// Tells the Call-IDs of one generator from those of another.
    run: String,
    next: u64,
    pending: HashMap<u64, Pending>,
    inspect: Option<Inspect>,
    pub(crate) score: Score,
    pub(crate) measuring: bool,
}

struct Pending {
    /// Index of the sender.
    sender: usize,
    kind: Kind,
    step: Step,
    uri: String,
    begun: Instant,
    dialog_headers: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    First,
    Bye,
}

impl Ledger {
    pub(crate) fn new(run: String) -> Self {
        Self {
            run,
            next: 0,
            pending: HashMap::new(),
            inspect: None,
            score: Score::default(),
            measuring: false,
        }
    }

    pub(crate) fn reset(&mut self, inspect: Option<Inspect>) {
        self.pending.clear();
        self.inspect = inspect;
        self.score = Score::default();
        self.measuring = false;
    }

    pub(crate) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// The next request of `plan`.
    pub(crate) fn begin(
        &mut self,
        plan: &Plan,
        sender: usize,
        party: &Party,
        now: Instant,
    ) -> String {
        let id = self.next;
        self.next += 1;
        self.score.begun += 1;
        let turn = usize::try_from(id).unwrap_or_default() % plan.uris.len().max(1);
        let target = plan.uris.get(turn).cloned().unwrap_or_default();
        let (method, to, body) = match plan.kind {
            Kind::Options => ("OPTIONS", target.as_str(), ""),
            Kind::Message => ("MESSAGE", target.as_str(), "hello"),
            Kind::Register => ("REGISTER", party.aor.as_str(), ""),
            Kind::Call => ("INVITE", target.as_str(), SDP),
        };
        let mut headers = format!("Contact: {}\r\n{}", party.contact, plan.headers);
        headers.push_str(match plan.kind {
            Kind::Register => "Expires: 600\r\n",
            Kind::Message => "Content-Type: text/plain\r\n",
            Kind::Call => "Content-Type: application/sdp\r\n",
            Kind::Options => "",
        });
        let to = format!("<{to}>");
        let text = self.request(
            party,
            &Draft {
                id,
                method,
                target: &target,
                cseq: 1,
                branch: method,
                to: &to,
                headers: &headers,
                body,
            },
        );
        let dialog_headers = plan.dialog_headers.clone();
        self.pending.insert(
            id,
            Pending {
                sender,
                kind: plan.kind,
                step: Step::First,
                uri: target,
                begun: now,
                dialog_headers,
            },
        );
        text
    }

    /// A response came to `sender`.
    pub(crate) fn response(
        &mut self,
        response: View<'_>,
        sender: usize,
        party: &Party,
        now: Instant,
    ) -> Reaction {
        let Some(id) = self.own_id(response) else {
            self.score.wrong(format!(
                "a response with a foreign Call-ID: {}",
                response.text()
            ));
            return Reaction::default();
        };
        let Some(pending) = self.pending.get(&id) else {
            self.score.stray += 1;
            return Reaction::default();
        };
        if pending.step == Step::Bye
            && response
                .header("CSeq")
                .is_some_and(|cseq| cseq.ends_with("INVITE"))
        {
            // A proxy of several processes may let the 200 overtake the 180.
            self.score.stray += 1;
            return Reaction::default();
        }
        if let Err(reason) = self.belongs(id, pending, sender, response) {
            self.score.wrong(format!("{reason}: {}", response.text()));
            return Reaction::default();
        }
        match response.status().unwrap_or_default() {
            100..200 => Reaction::default(),
            200..300 => self.success(id, response, party, now),
            status => self.failure(id, status, response, party),
        }
    }

    /// Gives up on what waits for longer than `patience`; returns how many.
    pub(crate) fn expire(&mut self, patience: Duration, now: Instant) -> usize {
        let before = self.pending.len();
        self.pending
            .retain(|_, pending| now.duration_since(pending.begun) < patience);
        let lost = before - self.pending.len();
        self.score.lost += lost as u64;
        lost
    }

    fn success(&mut self, id: u64, response: View<'_>, party: &Party, now: Instant) -> Reaction {
        let Some(pending) = self.pending.get_mut(&id) else {
            return Reaction::default();
        };
        if pending.step == Step::First {
            if self.measuring {
                let waited = now.duration_since(pending.begun).as_micros();
                self.score
                    .latencies
                    .push(u32::try_from(waited).unwrap_or(u32::MAX));
            }
            if let Some(Err(reason)) = self.inspect.as_mut().map(|inspect| inspect(response)) {
                self.score.wrong(reason);
            }
            if pending.kind == Kind::Call {
                pending.step = Step::Bye;
                return self.acknowledge_and_end(id, response, party);
            }
        }
        self.pending.remove(&id);
        self.score.answered += 1;
        self.score.measured += u64::from(self.measuring);
        Reaction {
            send: Vec::new(),
            ended: true,
        }
    }

    fn failure(&mut self, id: u64, status: u16, response: View<'_>, party: &Party) -> Reaction {
        let Some(pending) = self.pending.remove(&id) else {
            return Reaction::default();
        };
        *self.score.refused.entry(status).or_default() += 1;
        self.score.measured += u64::from(self.measuring);
        let mut send = Vec::new();
        if pending.kind == Kind::Call && pending.step == Step::First {
            // RFC 3261 §17.1.1.3: the ACK of a failure has the INVITE's branch and Request-URI.
            let to = response.header("To").unwrap_or_default();
            let target = &pending.uri;
            send.push(self.request(
                party,
                &Draft {
                    id,
                    method: "ACK",
                    target,
                    cseq: 1,
                    branch: "INVITE",
                    to,
                    headers: "",
                    body: "",
                },
            ));
        }
        Reaction { send, ended: true }
    }

    /// RFC 3261 §12.1.2: the route set is the Record-Route of the response in reverse, the remote target its Contact.
    fn acknowledge_and_end(&mut self, id: u64, response: View<'_>, party: &Party) -> Reaction {
        let to = response.header("To").unwrap_or_default();
        let target = uri(response.header("Contact").unwrap_or_default());
        let routes: Vec<&str> = response.headers("Record-Route").collect();
        let route: String = routes
            .iter()
            .rev()
            .map(|route| format!("Route: {route}\r\n"))
            .collect();
        let ack = Draft {
            id,
            method: "ACK",
            target,
            cseq: 1,
            branch: "ACK",
            to,
            headers: &route,
            body: "",
        };
        let extra = self
            .pending
            .get(&id)
            .map(|pending| pending.dialog_headers.as_str())
            .unwrap_or_default();
        let bye = Draft {
            method: "BYE",
            cseq: 2,
            branch: "BYE",
            headers: &format!("{route}{extra}"),
            ..ack
        };
        Reaction {
            send: vec![self.request(party, &ack), self.request(party, &bye)],
            ended: false,
        }
    }

    fn own_id(&self, response: View<'_>) -> Option<u64> {
        let (id, run) = response.header("Call-ID")?.split_once('@')?;
        (run == self.run).then(|| id.parse().ok())?
    }

    /// RFC 3261 §17.1.3 and §12.1.2: branch, CSeq, tags, and the one Via that this side put there.
    fn belongs(
        &self,
        id: u64,
        pending: &Pending,
        sender: usize,
        response: View<'_>,
    ) -> Result<(), &'static str> {
        let (number, method) = match (pending.step, pending.kind) {
            (Step::Bye, _) => (2, "BYE"),
            (Step::First, Kind::Options) => (1, "OPTIONS"),
            (Step::First, Kind::Message) => (1, "MESSAGE"),
            (Step::First, Kind::Register) => (1, "REGISTER"),
            (Step::First, Kind::Call) => (1, "INVITE"),
        };
        if pending.sender != sender {
            return Err("it came to another sender");
        }
        let cseq = response
            .header("CSeq")
            .and_then(|value| value.split_once(' '));
        if cseq.is_none_or(|(n, m)| n.parse() != Ok(number) || m.trim() != method) {
            return Err("another CSeq");
        }
        let mut vias = response.headers("Via");
        if vias.next().and_then(|via| parameter(via, "branch"))
            != Some(&branch(&self.run, id, method))
            || vias.next().is_some()
        {
            return Err("another Via");
        }
        if response
            .header("From")
            .and_then(|from| parameter(from, "tag"))
            != Some(&format!("f{id}"))
        {
            return Err("another From tag");
        }
        let to_tag = response.header("To").and_then(|to| parameter(to, "tag"));
        if pending.kind == Kind::Call
            && response.status() == Some(200)
            && to_tag != Some(&tag_for(&id.to_string()))
        {
            return Err("another To tag");
        }
        Ok(())
    }

    fn request(&self, party: &Party, draft: &Draft<'_>) -> String {
        let Draft {
            id,
            method,
            target,
            cseq,
            branch: step,
            to,
            headers,
            body,
        } = *draft;
        let (run, Party { aor, via, .. }) = (&self.run, party);
        let branch = branch(run, id, step);
        format!(
            "{method} {target} SIP/2.0\r\nVia: {via};branch={branch};rport\r\nMax-Forwards: 70\r\nFrom: <{aor}>;tag=f{id}\r\nTo: {to}\r\n\
             Call-ID: {id}@{run}\r\nCSeq: {cseq} {method}\r\nUser-Agent: hookswitch-load\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

/// One request to be written.
#[derive(Clone, Copy)]
struct Draft<'a> {
    id: u64,
    method: &'a str,
    target: &'a str,
    cseq: u32,
    /// The transaction that it belongs to.
    branch: &'a str,
    to: &'a str,
    headers: &'a str,
    body: &'a str,
}

fn branch(run: &str, id: u64, step: &str) -> String {
    format!("z9hG4bK{run}-{id}-{step}")
}

#[cfg(test)]
mod tests;
