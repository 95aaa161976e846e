//! Registrations of ours (RFC 3261 §10.2): made, made anew with credentials or for longer, refreshed, tried again, taken back.
//!
//! A round begins at the upstream's best member and goes on with the others while they do not answer. A round that fails is followed
//! by another one after a while, or as soon as there is news of the members (`trunk_news`).

use std::time::Duration;

use super::{
    Proxy, Timeout,
    credentials::{Challenges, Reading, Said},
    io::{Challenged, Output},
    trunk::{Aim, Bound, REMOVE_MAX, Transaction, TrunkState, back_off, refresh_after},
};
use crate::message::{HeaderName, Message};

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

    /// Nobody waits for what is on its way; but it may have arrived, so that a first registration is taken back, too. So is one that
    /// could not be refreshed. We wait for an answer no longer than [`REMOVE_MAX`].
    pub(super) fn unregister_trunks(&mut self) {
        let now = self.now();
        for at in 0..self.trunks.len() {
            let Some(trunk) = self.trunks.get_mut(at) else {
                return;
            };
            trunk.aim = Aim::Removed;
            trunk.due += 1;
            let asked = trunk.transaction.take().is_some();
            if asked || trunk.bound_until().is_some_and(|until| until > now) {
                self.begin_round(at);
                self.next_round_after(at, REMOVE_MAX);
            } else {
                self.tell_of_trunk(at, TrunkState::Removed);
            }
        }
    }

    pub(super) fn begin_round(&mut self, at: usize) {
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

    pub(super) fn on_trunk_response(&mut self, at: usize, response: &Message) {
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
                let until = now + granted;
                trunk.failures = 0;
                trunk.binding = Some(Bound {
                    to: transaction.place.to,
                    until,
                });
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

    pub(super) fn next_member_or_fail(
        &mut self,
        at: usize,
        reason: String,
        after: Option<Duration>,
    ) {
        let trunk = self.trunks.get_mut(at);
        let place = trunk
            .and_then(|trunk| trunk.transaction.take())
            .and_then(|transaction| transaction.place.next_member());
        match place {
            Some(place) => self.send_register(at, place, Said::default()),
            None => self.round_failed(at, reason, after),
        }
    }

    pub(super) fn round_failed(
        &mut self,
        at: usize,
        reason: String,
        retry_after: Option<Duration>,
    ) {
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
        let failed = TrunkState::Failed {
            reason,
            retry_at: now + wait,
            until: trunk.bound_until().filter(|until| *until > now),
        };
        self.tell_of_trunk(at, failed);
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
        let Some(trunk) = self.trunks.get(at).filter(|trunk| trunk.due == due) else {
            return;
        };
        match (trunk.aim, &trunk.transaction) {
            (Aim::Registered, _) => self.begin_round(at),
            (Aim::Removed, Some(_)) => self.round_failed(at, String::new(), None),
            (Aim::Removed, None) => {}
        }
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
