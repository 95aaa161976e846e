//! INVITE server transaction: RFC 3261 §17.2.1 with RFC 6026 §7.1.

use super::{Action, Reliability, Timer};

/// RFC 6026 figure 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No final response yet.
    Proceeding,
    /// A failure was sent, its ACK is awaited.
    Completed,
    /// The ACK came; more of it may follow.
    Confirmed,
    /// A 2xx was sent; more may follow.
    Accepted,
    /// Over.
    Terminated,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The INVITE came again.
    Request,
    /// An ACK with the INVITE's branch.
    Ack,
    /// A 1xx is handed down.
    Provisional,
    /// A 2xx is handed down.
    Success,
    /// 300 to 699 is handed down.
    Failure,
    /// A timer of this table fired; others do nothing.
    Fired(Timer),
}

/// The state that a new transaction begins with.
#[must_use]
pub fn start() -> State {
    State::Proceeding
}

/// One row of the table.
#[must_use]
pub fn step(state: State, event: Event, reliability: Reliability) -> (State, &'static [Action]) {
    match (state, event) {
        (State::Proceeding, Event::Request) => (State::Proceeding, &[Action::Resend]),
        (State::Proceeding, Event::Provisional) => (State::Proceeding, &[Action::Send]),
        (State::Proceeding, Event::Success) => {
            (State::Accepted, &[Action::Send, Action::Start(Timer::L)])
        }
        (State::Proceeding, Event::Failure) => match reliability {
            Reliability::Unreliable => (
                State::Completed,
                &[
                    Action::Send,
                    Action::Start(Timer::H),
                    Action::Start(Timer::G),
                ],
            ),
            Reliability::Reliable => (State::Completed, &[Action::Send, Action::Start(Timer::H)]),
        },
        (State::Completed, Event::Request) => (State::Completed, &[Action::Resend]),
        (State::Completed, Event::Fired(Timer::G)) => {
            (State::Completed, &[Action::Resend, Action::Start(Timer::G)])
        }
        (State::Completed, Event::Fired(Timer::H)) => (State::Terminated, &[]),
        (State::Completed, Event::Ack) => match reliability {
            Reliability::Unreliable => (State::Confirmed, &[Action::Start(Timer::I)]),
            Reliability::Reliable => (State::Terminated, &[]),
        },
        (State::Confirmed, Event::Fired(Timer::I)) => (State::Terminated, &[]),
        // A 2xx that crossed our failure, acknowledged or not: whoever answered waits for an ACK, and only the caller can send it
        // (RFC 3261 §16.7 item 5 forwards every 2xx).
        (
            State::Completed | State::Confirmed | State::Accepted | State::Terminated,
            Event::Success,
        ) => (state, &[Action::Send]),
        (State::Accepted, Event::Fired(Timer::L)) => (State::Terminated, &[]),
        (
            State::Proceeding
            | State::Completed
            | State::Confirmed
            | State::Accepted
            | State::Terminated,
            Event::Request | Event::Ack | Event::Provisional | Event::Failure | Event::Fired(_),
        ) => (state, &[]),
    }
}
