//! The user agent of the test destinations (RFC 3261 §8.2, §12 to §15): accepts calls at once, changes their sessions as the caller
//! likes, and ends those that last too long or are never acknowledged. Calls nobody.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use bytes::Bytes;
use hookswitch_media::sdp::Session;
use hookswitch_sip::{
    limits,
    message::{HeaderName, Message, Method},
    transaction::Timing,
    uri::SipUri,
};
use tokio::{sync::watch, task::spawn_local};

use super::{
    Destination, Limits,
    answer::Plan,
    dialog::{Call, Due, Voice},
    reply::{Reply, has_session},
    sound::{Ports, play},
    transactions::{Key, Transactions},
};

/// All calls.
pub(super) struct Agent {
    address: SocketAddr,
    limits: Limits,
    timing: Timing,
    transactions: Transactions,
    /// By our tags.
    calls: BTreeMap<String, Call>,
    chance: RandomState,
    drawn: u64,
}

impl Agent {
    /// Reached at `address`.
    pub(super) fn new(address: SocketAddr, limits: Limits, timing: Timing) -> Self {
        Self {
            address,
            limits,
            timing,
            transactions: Transactions::new(timing),
            calls: BTreeMap::new(),
            chance: RandomState::new(),
            drawn: 0,
        }
    }

    /// A datagram came. What is no message is passed over.
    pub(super) fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let bytes = Bytes::copy_from_slice(datagram);
        let Ok(message) = Message::parse(bytes, &limits::Limits::default()) else {
            return;
        };
        if !message.is_request() {
            return self.transactions.answered(now, &message);
        }
        match message.method() {
            Some(Method::Ack) => self.acknowledge(now, &message),
            Some(Method::Cancel) => self.cancel(now, from, &message),
            Some(_) | None => self.request(now, from, &message),
        }
    }

    pub(super) fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.transactions.poll_transmit()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.values().map(Call::due_at);
        calls.chain(self.transactions.poll_timeout()).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.transactions.handle_timeout(now);
        let due = self.calls.iter();
        let due = due.filter_map(|(tag, call)| Some((tag.clone(), call.due(now)?)));
        for (tag, due) in due.collect::<Vec<_>>() {
            match due {
                Due::Again => self.accept_again(now, &tag),
                Due::End => self.hang_up(now, &tag),
            }
        }
    }

    fn acknowledge(&mut self, now: Instant, ack: &Message) {
        let key = Key::of(ack);
        if let Some(key) = key.filter(|key| self.transactions.knows(key)) {
            return self.transactions.acknowledge(now, &key);
        }
        let call = ack.to_tag().and_then(|tag| self.calls.get_mut(tag));
        if let Some(call) = call.filter(|call| call.is_of(ack)) {
            call.acknowledged(ack);
        }
    }

    /// Its INVITE was answered at once, so that there is nothing to be taken back (RFC 3261 §9.2).
    fn cancel(&mut self, now: Instant, from: SocketAddr, cancel: &Message) {
        let Some(key) = Key::of_cancel(cancel) else {
            return;
        };
        let is_known = Key::of(cancel).is_some_and(|invite| self.transactions.knows(&invite));
        if self.transactions.begin(now, &key, from) {
            let reply = Reply::new(if is_known { 200 } else { 481 });
            let tag = self.draw();
            self.respond(now, &key, cancel, &reply, &tag);
        }
    }

    fn request(&mut self, now: Instant, from: SocketAddr, request: &Message) {
        let Some(key) = Key::of(request) else {
            return;
        };
        if !self.transactions.begin(now, &key, from) {
            return;
        }
        let own = request.to_tag().map(str::to_owned);
        let tag = own.clone().unwrap_or_else(|| self.draw());
        let reply = match &own {
            Some(tag) => self.in_dialog(tag, request),
            None => self.out_of_dialog(now, from, &tag, request),
        };
        let Some(response) = self.respond(now, &key, request, &reply, &tag) else {
            return;
        };
        if request.method() == Some(Method::Invite)
            && reply.status == 200
            && let Some(call) = self.calls.get_mut(&tag)
        {
            call.accepted(now, &self.timing, request, &response);
        }
    }

    fn respond(
        &mut self,
        now: Instant,
        key: &Key,
        request: &Message,
        reply: &Reply,
        tag: &str,
    ) -> Option<Message> {
        // What cannot be written is not answered: the request is beyond what anybody would send.
        let response = reply.write(request, tag).ok()?;
        self.transactions.respond(now, key, &response);
        Some(response)
    }

    fn out_of_dialog(
        &mut self,
        now: Instant,
        from: SocketAddr,
        tag: &str,
        request: &Message,
    ) -> Reply {
        if let Some(refusal) = unsupported(request) {
            return refusal;
        }
        let uri = request.request_uri().and_then(SipUri::from_text);
        let destination = uri.and_then(|uri| Destination::named(uri.user?));
        match (request.method(), destination) {
            (Some(Method::Options), _) => Reply::new(200),
            (Some(Method::Invite), Some(destination)) => {
                self.invite(now, from, tag, request, destination)
            }
            (Some(Method::Invite), None) => Reply::new(404),
            (Some(Method::Bye | Method::Info | Method::Update), _) => Reply::new(481),
            (Some(_) | None, _) => Reply::new(405),
        }
    }

    fn invite(
        &mut self,
        now: Instant,
        from: SocketAddr,
        tag: &str,
        invite: &Message,
        destination: Destination,
    ) -> Reply {
        if self.calls.len() >= self.limits.calls_max {
            return Reply::new(486);
        }
        let Ok(ports) = Ports::open(speaker_of(invite)) else {
            return Reply::new(500);
        };
        let (plan, planned) = watch::channel(Plan::SILENCE);
        let voice = Voice::new(self.number() >> 1, ports.address, plan);
        let ends_at = now + self.limits.call_max;
        let begun = Call::begin(destination, invite, (from, tag), voice, ends_at);
        let Ok((call, body)) = begun else {
            return Reply::new(488);
        };
        let ssrc = self.number() as u32;
        spawn_local(play(destination, ports, ssrc, planned));
        self.calls.insert(tag.to_owned(), call);
        Reply::session(&self.contact(destination), body)
    }

    fn in_dialog(&mut self, tag: &str, request: &Message) -> Reply {
        let contact = |agent: &Self, destination| agent.contact(destination);
        let call = self.calls.get_mut(tag);
        let Some(call) = call.filter(|call| call.is_of(request)) else {
            return Reply::new(481);
        };
        if !call.takes(request) {
            return Reply::new(500);
        }
        if let Some(refusal) = unsupported(request) {
            return refusal;
        }
        let destination = call.destination;
        match request.method() {
            Some(Method::Invite) => match call.change(request) {
                Ok(body) => Reply::session(&contact(self, destination), body),
                Err(_) => Reply::new(488),
            },
            // RFC 3311 §5.2: an offer is answered, and none is as good as a sign of life.
            Some(Method::Update) if has_session(request) => match call.change(request) {
                Ok(body) => Reply::session(&contact(self, destination), body),
                Err(_) => Reply::new(488),
            },
            Some(Method::Update) => Reply::session(&contact(self, destination), Bytes::new()),
            Some(Method::Bye) => {
                self.calls.remove(tag);
                Reply::new(200)
            }
            Some(Method::Options | Method::Info) => Reply::new(200),
            Some(_) | None => Reply::new(405),
        }
    }

    fn accept_again(&mut self, now: Instant, tag: &str) {
        if let Some(call) = self.calls.get_mut(tag) {
            let (peer, again) = (call.peer, call.again(now, &self.timing));
            if let Some(bytes) = again {
                self.transactions.send(peer, bytes);
            }
        }
    }

    fn hang_up(&mut self, now: Instant, tag: &str) {
        let Some(call) = self.calls.remove(tag) else {
            return;
        };
        let branch = self.draw();
        // A caller whose Contact is no URI cannot be told.
        if let Ok(bye) = call.sender.bye(self.address, &branch) {
            self.transactions.request(now, &bye, call.peer);
        }
    }

    fn contact(&self, destination: Destination) -> String {
        let mut all = Destination::ALL.into_iter();
        let user = all
            .find(|(_, other)| *other == destination)
            .map_or("", |(user, _)| user);
        format!("sip:{user}@{}", self.address)
    }

    /// A tag or a branch that nobody can guess.
    fn draw(&mut self) -> String {
        format!("{:016x}", self.number())
    }

    fn number(&mut self) -> u64 {
        self.drawn += 1;
        self.chance.hash_one(self.drawn)
    }
}

/// RFC 3261 §8.2.2.3: no extension is known here.
fn unsupported(request: &Message) -> Option<Reply> {
    let required = request.values(HeaderName::Require);
    let required: Vec<_> = required.map(String::from_utf8_lossy).collect();
    (!required.is_empty())
        .then(|| Reply::new(420).with(HeaderName::Unsupported, required.join(", ")))
}

/// Whose media is at the other end, as far as its address family goes.
fn speaker_of(invite: &Message) -> IpAddr {
    let offer = Session::parse(invite.body()).ok();
    let sections = offer.iter().flat_map(|offer| &offer.sections);
    let mut addresses = sections.filter_map(|section| section.address);
    addresses.next().unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}
