//! A REGISTER of ours on its way: a client transaction (RFC 3261 §17.1.2) that no server transaction waits for.

use super::{
    Proxy, Timeout,
    credentials::Said,
    ids::BranchId,
    place::Place,
    trunk::{Transaction, Trunk},
    via::ViaBranch,
};
use crate::{
    message::{HeaderName, Message},
    transaction::{Action, Reliability, Timer, client},
};

impl Proxy {
    /// The next REGISTER of a trunk, to there.
    pub(super) fn send_register(&mut self, at: usize, mut place: Place, mut said: Said) {
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
            return self.round_failed(at, "its listener is gone".to_owned(), None);
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

    pub(super) fn trunk_of(&self, id: BranchId) -> Option<usize> {
        let is_its = |trunk: &Trunk| {
            let transaction = trunk.transaction.as_ref();
            transaction.is_some_and(|transaction| transaction.branch == id)
        };
        self.trunks.iter().position(is_its)
    }

    pub(super) fn step_trunk(
        &mut self,
        at: usize,
        event: client::Event,
        response: Option<&Message>,
    ) {
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

    pub(super) fn on_trunk_timer(&mut self, at: usize, branch: BranchId, timer: Timer) {
        if self.trunk_of(branch) == Some(at) {
            self.step_trunk(at, client::Event::Fired(timer), None);
        }
    }
}
