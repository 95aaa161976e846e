//! Non-INVITE server transaction: RFC 3261 §17.2.2.

use super::{Action, Reliability, Timer};

/// RFC 3261 figure 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was answered yet.
    Trying,
    /// A provisional response was sent.
    Proceeding,
    /// The final response was sent.
    Completed,
    /// Over.
    Terminated,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The request came again.
    Request,
    /// A 1xx is handed down.
    Provisional,
    /// 200 to 699 is handed down.
    Final,
    /// A timer of this table fired; others do nothing.
    Fired(Timer),
}

/// The state that a new transaction begins with.
#[must_use]
pub fn start() -> State {
    State::Trying
}

/// One row of the table.
#[must_use]
pub fn step(state: State, event: Event, reliability: Reliability) -> (State, &'static [Action]) {
    match (state, event) {
        (State::Trying | State::Proceeding, Event::Provisional) => {
            (State::Proceeding, &[Action::Send])
        }
        (State::Trying | State::Proceeding, Event::Final) => match reliability {
            Reliability::Unreliable => (State::Completed, &[Action::Send, Action::Start(Timer::J)]),
            Reliability::Reliable => (State::Terminated, &[Action::Send]),
        },
        (State::Proceeding | State::Completed, Event::Request) => (state, &[Action::Resend]),
        (State::Completed, Event::Fired(Timer::J)) => (State::Terminated, &[]),
        (
            State::Trying | State::Proceeding | State::Completed | State::Terminated,
            Event::Request | Event::Provisional | Event::Final | Event::Fired(_),
        ) => (state, &[]),
    }
}
