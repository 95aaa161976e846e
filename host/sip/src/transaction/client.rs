//! Non-INVITE client transaction: RFC 3261 §17.1.2.

use super::{Action, Reliability, Timer};

/// RFC 3261 figure 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Sent, nothing came back.
    Trying,
    /// A provisional response came.
    Proceeding,
    /// A final response came.
    Completed,
    /// Over.
    Terminated,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// 1xx
    Provisional,
    /// 200 to 699
    Final,
    /// A timer of this table fired; others do nothing.
    Fired(Timer),
    /// The next hop cannot be reached.
    TransportError,
}

/// The state and actions that a new transaction begins with.
#[must_use]
pub fn start(reliability: Reliability) -> (State, &'static [Action]) {
    match reliability {
        Reliability::Unreliable => (
            State::Trying,
            &[
                Action::Send,
                Action::Start(Timer::F),
                Action::Start(Timer::E),
            ],
        ),
        Reliability::Reliable => (State::Trying, &[Action::Send, Action::Start(Timer::F)]),
    }
}

/// One row of the table.
#[must_use]
pub fn step(state: State, event: Event, reliability: Reliability) -> (State, &'static [Action]) {
    match (state, event) {
        (State::Trying, Event::Fired(Timer::E)) => {
            (state, &[Action::Resend, Action::Start(Timer::E)])
        }
        (State::Proceeding, Event::Fired(Timer::E)) => {
            (state, &[Action::Resend, Action::StartT2(Timer::E)])
        }
        (State::Trying | State::Proceeding, Event::Fired(Timer::F)) => {
            (State::Terminated, &[Action::Timeout])
        }
        (State::Trying | State::Proceeding, Event::Provisional) => {
            (State::Proceeding, &[Action::Pass])
        }
        (State::Trying | State::Proceeding, Event::Final) => match reliability {
            Reliability::Unreliable => (State::Completed, &[Action::Start(Timer::K), Action::Pass]),
            Reliability::Reliable => (State::Terminated, &[Action::Pass]),
        },
        (State::Trying | State::Proceeding, Event::TransportError) => {
            (State::Terminated, &[Action::Unreachable])
        }
        (State::Completed, Event::Fired(Timer::K)) => (State::Terminated, &[]),
        (
            State::Trying | State::Proceeding | State::Completed | State::Terminated,
            Event::Provisional | Event::Final | Event::Fired(_) | Event::TransportError,
        ) => (state, &[]),
    }
}
