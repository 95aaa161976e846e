//! INVITE client transaction: RFC 3261 §17.1.1 with RFC 6026 §7.2.

use super::{Action, Reliability, Timer};

/// RFC 6026 figure 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Sent, nothing came back.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// A failure came and was acknowledged.
    Completed,
    /// A 2xx came; more may follow.
    Accepted,
    /// Over.
    Terminated,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// 1xx
    Provisional,
    /// 2xx
    Success,
    /// 300 to 699
    Failure,
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
            State::Calling,
            &[
                Action::Send,
                Action::Start(Timer::B),
                Action::Start(Timer::A),
            ],
        ),
        Reliability::Reliable => (State::Calling, &[Action::Send, Action::Start(Timer::B)]),
    }
}

/// One row of the table.
#[must_use]
pub fn step(state: State, event: Event, reliability: Reliability) -> (State, &'static [Action]) {
    match (state, event) {
        (State::Calling, Event::Fired(Timer::A)) => {
            (State::Calling, &[Action::Resend, Action::Start(Timer::A)])
        }
        (State::Calling, Event::Fired(Timer::B)) => (State::Terminated, &[Action::Timeout]),
        (State::Calling | State::Proceeding, Event::Provisional) => {
            (State::Proceeding, &[Action::Pass])
        }
        (State::Calling | State::Proceeding, Event::Success) => {
            (State::Accepted, &[Action::Pass, Action::Start(Timer::M)])
        }
        (State::Calling | State::Proceeding, Event::Failure) => match reliability {
            Reliability::Unreliable => (
                State::Completed,
                &[Action::Ack, Action::Pass, Action::Start(Timer::D)],
            ),
            Reliability::Reliable => (State::Terminated, &[Action::Ack, Action::Pass]),
        },
        // In Proceeding too (RFC 3261 §16.9 asks for it): a connection that is gone brings no final response.
        (State::Calling | State::Proceeding, Event::TransportError) => {
            (State::Terminated, &[Action::Unreachable])
        }
        (State::Completed, Event::Failure) => (State::Completed, &[Action::Ack]),
        (State::Completed, Event::Fired(Timer::D)) => (State::Terminated, &[]),
        (State::Accepted, Event::Success) => (State::Accepted, &[Action::Pass]),
        (State::Accepted, Event::Fired(Timer::M)) => (State::Terminated, &[]),
        (
            State::Calling
            | State::Proceeding
            | State::Completed
            | State::Accepted
            | State::Terminated,
            Event::Provisional
            | Event::Success
            | Event::Failure
            | Event::Fired(_)
            | Event::TransportError,
        ) => (state, &[]),
    }
}
