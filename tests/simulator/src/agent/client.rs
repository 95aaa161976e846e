//! The client's half of an agent: requests that it begins, and what comes back (RFC 3261 §8.1, §13.2, §17.1).

use std::time::Duration;

use super::{Ack, Agent, DialogState, GIVE_UP, Hop, T1, T2};
use crate::wire::{self, Msg};

/// What a client transaction came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEnd {
    /// A final response.
    Final(u16),
    /// Timer B or F, or 64*T1 after a CANCEL.
    Timeout,
    /// Its connection broke.
    ConnectionLost,
}

/// A client transaction.
#[derive(Debug)]
pub struct Client {
    /// As it was sent.
    pub request: Msg,
    /// Of its Via.
    pub branch: String,
    /// How it ended; the first end counts.
    pub end: Option<ClientEnd>,
    /// When it began.
    pub since: Duration,
    /// When it had waited for too long.
    pub timed_out_at: Option<Duration>,
    /// Every final response that was passed up, with its To tag.
    pub finals: Vec<(u16, String)>,
    /// The last provisional status.
    pub provisional: Option<u16>,
    /// It was cancelled by us.
    pub cancelled_at: Option<Duration>,
    pub(super) retransmit_at: Option<Duration>,
    pub(super) give_up_at: Option<Duration>,
    interval: Duration,
    hop: Hop,
    ack: Option<Msg>,
}

/// A request to be made: what a script says of it.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Its method.
    pub method: String,
    /// Request-URI.
    pub uri: String,
    /// URI of To.
    pub to: String,
    /// Fields that replace or join the usual ones; an empty value removes.
    pub extra: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: String,
}

impl Client {
    pub(super) fn connection_lost(&mut self) {
        self.retransmit_at = None;
        self.give_up_at = None;
        self.end.get_or_insert(ClientEnd::ConnectionLost);
    }

    fn is_invite(&self) -> bool {
        self.request.method() == "INVITE"
    }
}

impl Agent {
    /// Sends a request outside of any dialog; returns its index in `clients`.
    pub fn begin(&mut self, now: Duration, draft: &Draft) -> usize {
        let (tag, call_id) = (self.fresh("tag-"), self.fresh("call-"));
        let mut request = Msg::request(&draft.method, &draft.uri);
        request.push("From", &format!("<{}>;tag={tag}", self.aor()));
        request.push("To", &format!("<{}>", draft.to));
        request.push("Call-ID", &call_id);
        request.push("CSeq", &format!("1 {}", draft.method));
        self.finish_request(&mut request, draft);
        self.send_request(now, request)
    }

    /// REGISTER of its one contact, as a browser does it (RFC 5626); the same Call-ID each time (RFC 3261 §10.2).
    pub fn register(&mut self, now: Duration, extra: &[(String, String)]) -> usize {
        if self.register_call.0.is_empty() {
            self.register_call.0 = self.fresh("register-");
        }
        self.register_call.1 += 1;
        let tag = self.fresh("tag-");
        let mut request = Msg::request("REGISTER", "sip:example.com");
        request.push("From", &format!("<{}>;tag={tag}", self.aor()));
        request.push("To", &format!("<{}>", self.aor()));
        request.push("Call-ID", &self.register_call.0);
        request.push("CSeq", &format!("{} REGISTER", self.register_call.1));
        let instance = format!(
            "<{}>;reg-id=1;+sip.instance=\"<urn:uuid:{}>\"",
            self.contact(),
            self.instance
        );
        request.push("Contact", &instance);
        request.push("Supported", "path, outbound");
        request.push("Expires", "600");
        let draft = Draft {
            extra: extra.to_vec(),
            ..Draft::default()
        };
        self.finish_request(&mut request, &draft);
        self.send_request(now, request)
    }

    /// Sends a request in a dialog (RFC 3261 §12.2.1).
    pub fn begin_in_dialog(&mut self, now: Duration, dialog: usize, draft: &Draft) -> usize {
        let dialog = &mut self.dialogs[dialog];
        dialog.local_cseq += 1;
        let mut request = dialog.request(&draft.method, dialog.local_cseq);
        if draft.method == "BYE" {
            dialog.state = DialogState::Ended;
        }
        self.finish_request(&mut request, draft);
        self.send_request(now, request)
    }

    /// The ACK for the 2xx that made or changed a dialog (RFC 3261 §13.2.2.4); sent again for each retransmission of that 2xx.
    pub fn acknowledge(&mut self, dialog: usize, body: &str) {
        let Some(cseq) = self.dialogs[dialog].unacknowledged.take() else {
            return;
        };
        let mut ack = self.dialogs[dialog].request("ACK", cseq);
        let draft = Draft {
            body: body.to_owned(),
            ..Draft::default()
        };
        self.finish_request(&mut ack, &draft);
        self.dialogs[dialog].ack = Some((cseq, ack.clone()));
        self.out.push((self.hop_for(&ack), ack));
    }

    /// CANCEL of an INVITE (RFC 3261 §9.1); the 487 or whatever crosses it ends the INVITE, or 64*T1.
    pub fn cancel(&mut self, now: Duration, client: usize, extra: &[(String, String)]) {
        let (request, branch) = (
            &self.clients[client].request,
            self.clients[client].branch.clone(),
        );
        let mut cancel = Msg::request("CANCEL", request.uri());
        for name in ["Via", "Max-Forwards", "Route", "From", "To", "Call-ID"] {
            request
                .all(name)
                .iter()
                .for_each(|value| cancel.push(name, value));
        }
        cancel.push("CSeq", &format!("{} CANCEL", request.cseq()));
        apply_extra(&mut cancel, extra);
        self.clients[client].cancelled_at = Some(now);
        // Whoever passes our CANCEL on may have to wait for a response first, and then waits 64*T1 too (§9.1).
        self.clients[client].give_up_at = Some(now + GIVE_UP * 2 + T2);
        self.transmit(now, cancel, branch);
    }

    /// Sends a request again, byte for byte, as a retransmission would be.
    pub fn resend(&mut self, client: usize) {
        let client = &self.clients[client];
        self.out.push((client.hop, client.request.clone()));
    }

    /// Sends a request once more as another transaction: what arrives twice when a proxy on the way forked.
    pub fn merge(&mut self, now: Duration, client: usize) {
        let branch = self.fresh("z9hG4bK-");
        let mut request = self.clients[client].request.clone();
        request.set("Via", &self.via(&branch));
        self.send_request(now, request);
    }

    /// Turns a request that waits to be sent into what a strict router makes of it (RFC 2543): the first Route stands in the
    /// Request-URI, and the old Request-URI is the last Route.
    pub fn route_strictly(&mut self, client: usize) {
        let request = &mut self.clients[client].request;
        let (target, mut routes) = (request.uri().to_owned(), request.all("Route"));
        if routes.is_empty() {
            return;
        }
        let first = routes.remove(0);
        request.start = format!("{} {} SIP/2.0", request.method(), wire::uri_of(&first));
        request.remove("Route");
        routes.iter().for_each(|route| request.push("Route", route));
        request.push("Route", &format!("<{target}>"));
        let sent = request.clone();
        if let Some(last) = self.out.last_mut() {
            last.1 = sent;
        }
    }

    fn finish_request(&mut self, request: &mut Msg, draft: &Draft) {
        let branch = self.fresh("z9hG4bK-");
        let method = request.method().to_owned();
        request
            .headers
            .insert(0, ("Via".to_owned(), self.via(&branch)));
        request
            .headers
            .insert(1, ("Max-Forwards".to_owned(), "70".to_owned()));
        let makes_dialog = matches!(
            method.as_str(),
            "INVITE" | "SUBSCRIBE" | "UPDATE" | "REFER" | "NOTIFY"
        );
        if makes_dialog {
            request.push("Contact", &format!("<{}>", self.contact()));
        }
        apply_extra(request, &draft.extra);
        if !draft.body.is_empty() {
            let media_type = if method == "MESSAGE" {
                "text/plain"
            } else {
                "application/sdp"
            };
            request.push("Content-Type", media_type);
            request.body.clone_from(&draft.body);
        }
    }

    fn send_request(&mut self, now: Duration, request: Msg) -> usize {
        let branch = request.branch();
        self.transmit(now, request, branch)
    }

    fn transmit(&mut self, now: Duration, request: Msg, branch: String) -> usize {
        let hop = self.hop_for(&request);
        self.out.push((hop, request.clone()));
        self.clients.push(Client {
            request,
            branch,
            end: None,
            since: now,
            timed_out_at: None,
            finals: Vec::new(),
            provisional: None,
            cancelled_at: None,
            retransmit_at: (!self.reliable()).then_some(now + T1),
            give_up_at: Some(now + GIVE_UP),
            interval: T1,
            hop,
            ack: None,
        });
        self.clients.len() - 1
    }

    pub(super) fn receive_response(&mut self, status: u16, response: Msg) {
        let (branch, method) = (response.branch(), response.method().to_owned());
        let found = self
            .clients
            .iter()
            .position(|c| c.branch == branch && c.request.method() == method);
        let Some(index) = found else {
            return self.wrong("answers nothing that was asked", &response);
        };
        let sent = &self.clients[index].request;
        if sent.header("Call-ID") != response.header("Call-ID")
            || sent.tag("From") != response.tag("From")
        {
            return self.wrong("answers another dialog", &response);
        }
        if response.all("Via").len() != 1 {
            return self.wrong("has not exactly one Via", &response);
        }
        match status {
            100..200 => self.provisional(index, status, &response),
            200..300 if method == "INVITE" => self.accepted(index, status, &response),
            _ => self.finally(index, status, &response),
        }
    }

    fn provisional(&mut self, index: usize, status: u16, response: &Msg) {
        let client = &mut self.clients[index];
        if client.end.is_some() {
            return;
        }
        client.provisional = Some(status);
        if client.is_invite() {
            client.retransmit_at = None;
            if client.cancelled_at.is_none() {
                client.give_up_at = None;
            }
            if status > 100 {
                self.dialog_from_response(index, response);
            }
        } else if client.retransmit_at.is_some() {
            client.interval = T2;
        }
    }

    /// A 2xx to INVITE: any number of them, from one or several forks (RFC 6026).
    fn accepted(&mut self, index: usize, status: u16, response: &Msg) {
        let client = &mut self.clients[index];
        client.retransmit_at = None;
        client.give_up_at = None;
        let tag = response.tag("To");
        let repeated = client.finals.iter().any(|(_, seen)| *seen == tag);
        if !repeated {
            client.finals.push((status, tag));
        }
        // RFC 6026 §8.3: a 2xx after a failure is not for the transaction user; whether it may be is judged by who knows all.
        if matches!(client.end, Some(ClientEnd::Final(300..))) {
            return;
        }
        client.end.get_or_insert(ClientEnd::Final(status));
        let Some(dialog) = self.dialog_from_response(index, response) else {
            return;
        };
        if let Some((cseq, ack)) = self.dialogs[dialog].ack.clone()
            && cseq == response.cseq()
        {
            self.out.push((self.hop_for(&ack), ack));
            return;
        }
        self.dialogs[dialog].unacknowledged = Some(response.cseq());
        if self.habits.ack == Ack::AtOnce {
            self.acknowledge(dialog, "");
        }
    }

    fn finally(&mut self, index: usize, status: u16, response: &Msg) {
        let client = &mut self.clients[index];
        client.retransmit_at = None;
        client.give_up_at = None;
        if client.is_invite() {
            let ack = client
                .ack
                .get_or_insert_with(|| failure_ack(&client.request, response))
                .clone();
            self.out.push((client.hop, ack));
        }
        let tag = response.tag("To");
        let repeated = client.finals.iter().any(|(seen, _)| *seen == status);
        if !repeated
            && client
                .end
                .is_none_or(|end| matches!(end, ClientEnd::Final(_)))
        {
            client.finals.push((status, tag));
        }
        client.end.get_or_insert(ClientEnd::Final(status));
        if client.is_invite() {
            self.end_early_dialogs(index);
        }
    }

    fn end_early_dialogs(&mut self, index: usize) {
        let request = &self.clients[index].request;
        let (call_id, tag) = (request.header("Call-ID").to_owned(), request.tag("From"));
        for dialog in &mut self.dialogs {
            if dialog.call_id == call_id
                && dialog.local_tag == tag
                && dialog.state == DialogState::Early
            {
                dialog.state = DialogState::Ended;
            }
        }
    }

    pub(super) fn run_client_timers(&mut self, now: Duration) {
        for client in &mut self.clients {
            if client.give_up_at.is_some_and(|at| at <= now) {
                client.give_up_at = None;
                client.retransmit_at = None;
                client.end.get_or_insert(ClientEnd::Timeout);
                client.timed_out_at = Some(now);
            }
            if now >= client.since + GIVE_UP {
                client.retransmit_at = None;
            }
            if client.retransmit_at.is_some_and(|at| at <= now) {
                client.interval = if client.is_invite() {
                    client.interval * 2
                } else {
                    (client.interval * 2).min(T2)
                };
                client.retransmit_at = Some(now + client.interval);
                self.out.push((client.hop, client.request.clone()));
            }
        }
    }
}

/// RFC 3261 §17.1.1.3.
fn failure_ack(request: &Msg, response: &Msg) -> Msg {
    let mut ack = Msg::request("ACK", request.uri());
    for name in ["Via", "Max-Forwards", "Route", "From", "Call-ID"] {
        request
            .all(name)
            .iter()
            .for_each(|value| ack.push(name, value));
    }
    ack.push("To", response.header("To"));
    ack.push("CSeq", &format!("{} ACK", request.cseq()));
    ack
}

pub(super) fn apply_extra(msg: &mut Msg, extra: &[(String, String)]) {
    let mut set: Vec<&str> = Vec::new();
    for (name, value) in extra {
        match (value.as_str(), set.contains(&name.as_str())) {
            ("", _) => msg.remove(name),
            (value, true) => msg.push(name, value),
            (value, false) => msg.set(name, value),
        }
        set.push(name);
    }
}

/// `sip:bob@example.com` for a bare name; a URI stays.
#[must_use]
pub fn to_uri(target: &str) -> String {
    if target.contains(':') {
        target.to_owned()
    } else {
        format!(
            "sip:{}@example.com",
            wire::user_of(&format!("sip:{target}@x"))
        )
    }
}
