//! REGISTERs of ours (RFC 3261 §10.2): sent, sent anew with credentials or for longer, refreshed, tried again, taken back.
//!
//! A round begins at the upstream's best member and goes on with the others while they do not answer. A round that fails is followed
//! by another one after a while, or as soon as there is news of the members.

use std::{net::SocketAddr, time::Duration};

use super::{
    Proxy, Timeout,
    config::MemberHealth,
    credentials::{Challenges, Reading, Said},
    ids::BranchId,
    io::{Challenged, Output},
    place::Place,
    trunk::{Aim, Transaction, Trunk, TrunkState, back_off, refresh_after},
    via::ViaBranch,
};
use crate::{
    flow::{Destination, UpstreamId},
    message::{HeaderName, Message},
    transaction::{Action, Reliability, Timer, client},
};

/// What an upstream may ask for with 423.
const EXPIRES_MAX: Duration = Duration::from_secs(7 * 86_400);

impl Proxy {
    pub(super) fn register_trunks(&mut self) {
        for at in 0..self.trunks.len() {
            if let Some(trunk) = self.trunks.get_mut(at) {
                trunk.begin(&mut self.chance);
            }
            self.tell_of_trunk(at, TrunkState::Registering);
            self.begin_round(at);
        }
    }

    /// Nobody waits for what is on its way.
    pub(super) fn unregister_trunks(&mut self) {
        for at in 0..self.trunks.len() {
            let Some(trunk) = self.trunks.get_mut(at) else {
                return;
            };
            trunk.aim = Aim::Removed;
            trunk.due += 1;
            trunk.transaction = None;
            match trunk.binding {
                Some(_) => self.begin_round(at),
                None => self.tell_of_trunk(at, TrunkState::Removed),
            }
        }
    }

    fn begin_round(&mut self, at: usize) {
        let Some(trunk) = self.trunks.get_mut(at) else {
            return;
        };
        trunk.due += 1;
        let (upstream, turn) = (trunk.config.upstream, trunk.turn);
        match self.place_at_upstream(upstream, turn) {
            Some(place) => self.send_register(at, place, Said::default()),
            None => self.wait_for_members(at),
        }
    }

    /// At the start the names of an upstream have not been looked up: as soon as they are, the members change.
    fn wait_for_members(&mut self, at: usize) {
        match self.trunks.get_mut(at) {
            Some(trunk) if trunk.failures == 0 && trunk.aim == Aim::Registered => {
                trunk.failures = 1;
                self.next_round_after(at, back_off(0, 0));
            }
            Some(_) => {
                let reason = "no address of the upstream is known".to_owned();
                self.round_failed(at, reason, None);
            }
            None => {}
        }
    }

    fn send_register(&mut self, at: usize, mut place: Place, mut said: Said) {
        let number = self.chance.draw();
        let via = ViaBranch {
            worker: self.config.worker,
            number,
            loop_hash: 0,
        };
        let login = self.login(place.upstream());
        let via = self.names.via(place.listener, place.transport, &via);
        let Some(trunk) = self.trunks.get_mut(at) else {
            return;
        };
        let contact = self.names.contact(place.listener, &trunk.config.user);
        let (Some(via), Some(contact)) = (via, contact) else {
            return;
        };
        let sealed = trunk
            .request(&contact, &self.config.server_name)
            .and_then(|mut request| {
                if let Some(login) = &login {
                    let cnonce = self.chance.draw();
                    said.sign(&mut request, login, &mut trunk.challenges, cnonce)?;
                }
                request.prepend(HeaderName::Via, via)?;
                Ok(request)
            });
        let request = match sealed {
            Ok(request) => request,
            Err(error) => return self.round_failed(at, error.to_string(), None),
        };
        place.to = self.lane(&place, &request);
        let (state, actions) = client::start(Reliability::from(place.transport));
        if let Some(trunk) = self.trunks.get_mut(at) {
            trunk.transaction = Some(Transaction {
                branch: BranchId(number),
                place,
                request,
                state,
                retransmissions: 0,
                said,
            });
        }
        self.act_trunk(at, actions, None);
    }

    /// Is it the answer to a REGISTER of ours?
    pub(super) fn is_of_trunk(&mut self, id: BranchId, response: &Message) -> bool {
        let Some(at) = self.trunk_of(id) else {
            return false;
        };
        let status = response.status().unwrap_or_default();
        let event = if status < 200 {
            client::Event::Provisional
        } else {
            client::Event::Final
        };
        self.step_trunk(at, event, Some(response));
        true
    }

    fn trunk_of(&self, id: BranchId) -> Option<usize> {
        let is_its = |trunk: &Trunk| {
            let transaction = trunk.transaction.as_ref();
            transaction.is_some_and(|transaction| transaction.branch == id)
        };
        self.trunks.iter().position(is_its)
    }

    fn step_trunk(&mut self, at: usize, event: client::Event, response: Option<&Message>) {
        let trunk = self.trunks.get_mut(at);
        let Some(transaction) = trunk.and_then(|trunk| trunk.transaction.as_mut()) else {
            return;
        };
        let reliability = Reliability::from(transaction.place.transport);
        let (state, actions) = client::step(transaction.state, event, reliability);
        transaction.state = state;
        self.act_trunk(at, actions, response);
    }

    fn act_trunk(&mut self, at: usize, actions: &[Action], response: Option<&Message>) {
        for action in actions {
            let trunk = self.trunks.get_mut(at);
            let Some(transaction) = trunk.and_then(|trunk| trunk.transaction.as_mut()) else {
                return;
            };
            let (branch, to) = (transaction.branch, transaction.place.to);
            let timing = self.config.timing;
            match action {
                Action::Send | Action::Resend => {
                    let bytes = transaction.request.to_bytes();
                    self.send(to, bytes);
                }
                Action::Start(Timer::K) => {
                    // Only retransmissions follow, of which the branches' own absorber takes care.
                    self.absorbing.insert(branch);
                    self.start(timing.t4, Timeout::Client(branch, Timer::K));
                }
                Action::Start(timer) => {
                    let after = timing.duration(*timer, transaction.retransmissions);
                    if *timer == Timer::E {
                        transaction.retransmissions += 1;
                    }
                    self.start(after, Timeout::Trunk(at, branch, *timer));
                }
                Action::StartT2(timer) => {
                    self.start(timing.t2, Timeout::Trunk(at, branch, *timer));
                }
                Action::Pass => {
                    if let Some(response) = response {
                        self.on_trunk_response(at, response);
                    }
                }
                Action::Timeout => {
                    if let Some(peer) = to.peer() {
                        self.pass_over(peer);
                    }
                    self.next_member_or_fail(at, "no answer in time".to_owned(), None);
                }
                Action::Unreachable => {
                    self.next_member_or_fail(at, "it cannot be reached".to_owned(), None);
                }
                Action::Ack => debug_assert!(false, "not an action of this table"),
            }
        }
    }

    fn on_trunk_response(&mut self, at: usize, response: &Message) {
        let status = response.status().unwrap_or_default();
        let Some(trunk) = self.trunks.get_mut(at).filter(|_| status >= 200) else {
            return;
        };
        let Some(transaction) = trunk.transaction.take() else {
            return;
        };
        if let Some(peer) = transaction.place.peer() {
            self.is_back(peer);
        }
        match status {
            200..300 => self.round_succeeded(at, &transaction, response),
            401 | 407 => self.answer_registrar(at, transaction, response),
            423 => self.register_for_longer(at, transaction, response),
            // It is that member that failed (RFC 3263 §4.3).
            503 => {
                let retry_after = response.number(HeaderName::RetryAfter);
                if let Some(trunk) = self.trunks.get_mut(at) {
                    trunk.transaction = Some(transaction);
                }
                let after = retry_after.map(Duration::from_secs);
                self.next_member_or_fail(at, answer(response), after);
            }
            _ => self.round_failed(at, answer(response), None),
        }
    }

    fn round_succeeded(&mut self, at: usize, transaction: &Transaction, response: &Message) {
        let now = self.now();
        let Some(trunk) = self.trunks.get_mut(at) else {
            return;
        };
        trunk.failures = 0;
        let granted = trunk
            .granted(&transaction.request, response)
            .min(EXPIRES_MAX);
        match trunk.aim {
            Aim::Removed => {
                trunk.binding = None;
                self.tell_of_trunk(at, TrunkState::Removed);
            }
            Aim::Registered if granted.is_zero() => {
                self.round_failed(at, "it grants no time".to_owned(), None);
            }
            Aim::Registered => {
                trunk.binding = Some(transaction.place.to);
                let until = now + granted;
                self.tell_of_trunk(at, TrunkState::Registered { until });
                self.next_round_after(at, refresh_after(granted));
            }
        }
    }

    fn answer_registrar(&mut self, at: usize, transaction: Transaction, response: &Message) {
        let Transaction { place, said, .. } = transaction;
        let Some(upstream) = place.upstream() else {
            return;
        };
        let Some(login) = self.login(Some(upstream)) else {
            let reason = "it asks for credentials: give the upstream username and password";
            return self.round_failed(at, reason.to_owned(), None);
        };
        match said.read(&login, response) {
            Reading::Answer(answers) => {
                if let Some(trunk) = self.trunks.get_mut(at) {
                    trunk.challenges.learn(&answers);
                }
                self.challenged(upstream, Challenged::Answered);
                self.send_register(at, place, said.after(&answers));
            }
            Reading::Refused => {
                if let Some(trunk) = self.trunks.get_mut(at) {
                    trunk.challenges = Challenges::default();
                }
                self.challenged(upstream, Challenged::Refused);
                self.round_failed(at, "it refuses our credentials".to_owned(), None);
            }
            Reading::Foreign | Reading::Unknown => {
                self.challenged(upstream, Challenged::Unknown);
                let reason = "it asks for credentials of another realm or kind";
                self.round_failed(at, reason.to_owned(), None);
            }
        }
    }

    /// RFC 3261 §10.2.8.
    fn register_for_longer(&mut self, at: usize, transaction: Transaction, response: &Message) {
        let least = response.number(HeaderName::MinExpires);
        let least = least.map_or(Duration::ZERO, Duration::from_secs);
        let Some(trunk) = self.trunks.get_mut(at) else {
            return;
        };
        let is_more = trunk.expires < least && least <= EXPIRES_MAX;
        if !is_more || trunk.aim == Aim::Removed {
            return self.round_failed(at, answer(response), None);
        }
        trunk.expires = least;
        // Its credentials were right: a nonce that is asked for anew is another question.
        self.send_register(at, transaction.place, Said::default());
    }

    fn next_member_or_fail(&mut self, at: usize, reason: String, after: Option<Duration>) {
        let trunk = self.trunks.get_mut(at);
        let place = trunk
            .and_then(|trunk| trunk.transaction.take())
            .and_then(|transaction| transaction.place.next_member());
        match place {
            Some(place) => self.send_register(at, place, Said::default()),
            None => self.round_failed(at, reason, after),
        }
    }

    fn round_failed(&mut self, at: usize, reason: String, retry_after: Option<Duration>) {
        let (now, chance) = (self.now(), self.chance.draw());
        let Some(trunk) = self.trunks.get_mut(at) else {
            return;
        };
        trunk.transaction = None;
        if trunk.aim == Aim::Removed {
            // It ends there by itself.
            trunk.binding = None;
            return self.tell_of_trunk(at, TrunkState::Removed);
        }
        let wait = back_off(trunk.failures, chance).max(retry_after.unwrap_or_default());
        let wait = wait.min(EXPIRES_MAX);
        trunk.failures = trunk.failures.saturating_add(1);
        let retry_at = now + wait;
        self.tell_of_trunk(at, TrunkState::Failed { reason, retry_at });
        self.next_round_after(at, wait);
    }

    fn next_round_after(&mut self, at: usize, wait: Duration) {
        if let Some(trunk) = self.trunks.get_mut(at) {
            trunk.due += 1;
            let due = trunk.due;
            self.start_odd(wait, Timeout::TrunkDue(at, due));
        }
    }

    pub(super) fn on_trunk_due(&mut self, at: usize, due: u32) {
        if self.trunks.get(at).is_some_and(|trunk| trunk.due == due) {
            self.begin_round(at);
        }
    }

    pub(super) fn on_trunk_timer(&mut self, at: usize, branch: BranchId, timer: Timer) {
        if self.trunk_of(branch) == Some(at) {
            self.step_trunk(at, client::Event::Fired(timer), None);
        }
    }

    /// What went there is lost; who is registered by a connection is no longer, since an upstream may call us by it (RFC 5626 §4.4).
    pub(super) fn trunks_unreachable(&mut self, to: Destination) {
        for at in 0..self.trunks.len() {
            let Some(trunk) = self.trunks.get(at) else {
                return;
            };
            match &trunk.transaction {
                Some(transaction) if transaction.place.to == to => {
                    self.step_trunk(at, client::Event::TransportError, None);
                }
                None if trunk.binding == Some(to) && trunk.failures == 0 => {
                    self.begin_round_again(at);
                }
                Some(_) | None => {}
            }
        }
    }

    pub(super) fn trunk_undelivered(&mut self, id: BranchId) {
        if let Some(at) = self.trunk_of(id) {
            self.step_trunk(at, client::Event::TransportError, None);
        }
    }

    /// News of a member: where we were registered, or could not register.
    pub(super) fn trunk_member_health(&mut self, member: SocketAddr, health: MemberHealth) {
        for at in 0..self.trunks.len() {
            let Some(trunk) = self.trunks.get(at) else {
                return;
            };
            let concerns = match health {
                MemberHealth::Silent => {
                    let bound = trunk.binding.and_then(Destination::peer);
                    trunk.failures == 0 && bound == Some(member)
                }
                MemberHealth::Answers => {
                    trunk.failures > 0 && self.has_member(trunk.config.upstream, member)
                }
            };
            if concerns && trunk.transaction.is_none() {
                self.begin_round_again(at);
            }
        }
    }

    pub(super) fn trunk_members_changed(&mut self, upstream: UpstreamId) {
        for at in 0..self.trunks.len() {
            let Some(trunk) = self.trunks.get(at) else {
                return;
            };
            let bound = trunk.binding.and_then(Destination::peer);
            let is_gone = bound.is_some_and(|member| !self.has_member(upstream, member));
            if trunk.config.upstream == upstream
                && trunk.transaction.is_none()
                && (trunk.failures > 0 || is_gone)
            {
                self.begin_round_again(at);
            }
        }
    }

    /// Earlier than it was due.
    fn begin_round_again(&mut self, at: usize) {
        let begun = |trunk: &Trunk| trunk.aim == Aim::Registered && trunk.due > 0;
        if self.trunks.get(at).is_some_and(begun) {
            self.begin_round(at);
        }
    }

    fn has_member(&self, id: UpstreamId, address: SocketAddr) -> bool {
        let upstream = self.config.upstreams.get(usize::from(id.0));
        let mut members = upstream.into_iter().flat_map(|upstream| &upstream.members);
        members.any(|member| member.address == address)
    }

    fn tell_of_trunk(&mut self, at: usize, state: TrunkState) {
        if let Some(trunk) = self.trunks.get(at) {
            let trunk = trunk.id;
            self.outputs.push_back(Output::Trunk { trunk, state });
        }
    }
}

/// For people, on one line.
fn answer(response: &Message) -> String {
    let status = response.status().unwrap_or_default();
    let phrase = String::from_utf8_lossy(response.reason().unwrap_or_default());
    let phrase = phrase.replace(char::is_control, "?");
    format!("it answers {status} {phrase}")
}
