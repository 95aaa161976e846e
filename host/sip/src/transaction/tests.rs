use std::fmt::{Debug, Write as _};

use expect_test::{Expect, expect};

use super::{Action, Reliability, Timer, Timing, client, invite_client, invite_server, server};

/// Walks every state with every event, over both kinds of transport, and prints the rows that do something.
fn walk<S: Copy + Debug + PartialEq, E: Copy + Debug>(
    states: &[S],
    events: &[E],
    step: fn(S, E, Reliability) -> (S, &'static [Action]),
    expected: &Expect,
) {
    let mut table = String::new();
    for &state in states {
        for &event in events {
            let (unreliable, its_actions) = step(state, event, Reliability::Unreliable);
            let (reliable, actions) = step(state, event, Reliability::Reliable);
            let silent = unreliable == state
                && reliable == state
                && actions.is_empty()
                && its_actions.is_empty();
            if silent {
                continue;
            }
            writeln!(
                table,
                "{state:?} {event:?} → {unreliable:?} {its_actions:?}"
            )
            .unwrap();
            if (reliable, actions) != (unreliable, its_actions) {
                writeln!(table, "    reliable → {reliable:?} {actions:?}").unwrap();
            }
        }
    }
    expected.assert_eq(&table);
}

const TIMERS: [Timer; 12] = [
    Timer::A,
    Timer::B,
    Timer::D,
    Timer::E,
    Timer::F,
    Timer::G,
    Timer::H,
    Timer::I,
    Timer::J,
    Timer::K,
    Timer::L,
    Timer::M,
];

#[test]
fn invite_client_rows() {
    use invite_client::{Event, State};
    let states = [
        State::Calling,
        State::Proceeding,
        State::Completed,
        State::Accepted,
        State::Terminated,
    ];
    let mut events = vec![
        Event::Provisional,
        Event::Success,
        Event::Failure,
        Event::TransportError,
    ];
    events.extend(TIMERS.map(Event::Fired));
    walk(
        &states,
        &events,
        invite_client::step,
        &expect![[r#"
        Calling Provisional → Proceeding [Pass]
        Calling Success → Accepted [Pass, Start(M)]
        Calling Failure → Completed [Ack, Pass, Start(D)]
            reliable → Terminated [Ack, Pass]
        Calling TransportError → Terminated [Unreachable]
        Calling Fired(A) → Calling [Resend, Start(A)]
        Calling Fired(B) → Terminated [Timeout]
        Proceeding Provisional → Proceeding [Pass]
        Proceeding Success → Accepted [Pass, Start(M)]
        Proceeding Failure → Completed [Ack, Pass, Start(D)]
            reliable → Terminated [Ack, Pass]
        Proceeding TransportError → Terminated [Unreachable]
        Completed Failure → Completed [Ack]
        Completed Fired(D) → Terminated []
        Accepted Success → Accepted [Pass]
        Accepted Fired(M) → Terminated []
    "#]],
    );
}

#[test]
fn client_rows() {
    use client::{Event, State};
    let states = [
        State::Trying,
        State::Proceeding,
        State::Completed,
        State::Terminated,
    ];
    let mut events = vec![Event::Provisional, Event::Final, Event::TransportError];
    events.extend(TIMERS.map(Event::Fired));
    walk(
        &states,
        &events,
        client::step,
        &expect![[r#"
            Trying Provisional → Proceeding [Pass]
            Trying Final → Completed [Start(K), Pass]
                reliable → Terminated [Pass]
            Trying TransportError → Terminated [Unreachable]
            Trying Fired(E) → Trying [Resend, Start(E)]
            Trying Fired(F) → Terminated [Timeout]
            Proceeding Provisional → Proceeding [Pass]
            Proceeding Final → Completed [Start(K), Pass]
                reliable → Terminated [Pass]
            Proceeding TransportError → Terminated [Unreachable]
            Proceeding Fired(E) → Proceeding [Resend, StartT2(E)]
            Proceeding Fired(F) → Terminated [Timeout]
            Completed Fired(K) → Terminated []
        "#]],
    );
}

#[test]
fn invite_server_rows() {
    use invite_server::{Event, State};
    let states = [
        State::Proceeding,
        State::Completed,
        State::Confirmed,
        State::Accepted,
        State::Terminated,
    ];
    let mut events = vec![
        Event::Request,
        Event::Ack,
        Event::Provisional,
        Event::Success,
        Event::Failure,
    ];
    events.extend(TIMERS.map(Event::Fired));
    walk(
        &states,
        &events,
        invite_server::step,
        &expect![[r#"
        Proceeding Request → Proceeding [Resend]
        Proceeding Provisional → Proceeding [Send]
        Proceeding Success → Accepted [Send, Start(L)]
        Proceeding Failure → Completed [Send, Start(H), Start(G)]
            reliable → Completed [Send, Start(H)]
        Completed Request → Completed [Resend]
        Completed Ack → Confirmed [Start(I)]
            reliable → Terminated []
        Completed Success → Completed [Send]
        Completed Fired(G) → Completed [Resend, Start(G)]
        Completed Fired(H) → Terminated []
        Confirmed Success → Confirmed [Send]
        Confirmed Fired(I) → Terminated []
        Accepted Success → Accepted [Send]
        Accepted Fired(L) → Terminated []
        Terminated Success → Terminated [Send]
    "#]],
    );
}

#[test]
fn server_rows() {
    use server::{Event, State};
    let states = [
        State::Trying,
        State::Proceeding,
        State::Completed,
        State::Terminated,
    ];
    let mut events = vec![Event::Request, Event::Provisional, Event::Final];
    events.extend(TIMERS.map(Event::Fired));
    walk(
        &states,
        &events,
        server::step,
        &expect![[r#"
        Trying Provisional → Proceeding [Send]
        Trying Final → Completed [Send, Start(J)]
            reliable → Terminated [Send]
        Proceeding Request → Proceeding [Resend]
        Proceeding Provisional → Proceeding [Send]
        Proceeding Final → Completed [Send, Start(J)]
            reliable → Terminated [Send]
        Completed Request → Completed [Resend]
        Completed Fired(J) → Terminated []
    "#]],
    );
}

#[test]
fn beginnings() {
    let mut table = String::new();
    for reliability in [Reliability::Unreliable, Reliability::Reliable] {
        writeln!(
            table,
            "INVITE {reliability:?} {:?}",
            invite_client::start(reliability)
        )
        .unwrap();
        writeln!(
            table,
            "other {reliability:?} {:?}",
            client::start(reliability)
        )
        .unwrap();
    }
    expect![[r#"
        INVITE Unreliable (Calling, [Send, Start(B), Start(A)])
        other Unreliable (Trying, [Send, Start(F), Start(E)])
        INVITE Reliable (Calling, [Send, Start(B)])
        other Reliable (Trying, [Send, Start(F)])
    "#]]
    .assert_eq(&table);
}

#[test]
fn retransmissions_back_off() {
    let timing = Timing::default();
    let ms = |timer| {
        (0..8)
            .map(|round| timing.duration(timer, round).as_millis())
            .collect::<Vec<_>>()
    };
    expect![[r#"
        [500, 1000, 2000, 4000, 8000, 16000, 32000, 64000]
        [500, 1000, 2000, 4000, 4000, 4000, 4000, 4000]
    "#]]
    .assert_eq(&format!("{:?}\n{:?}\n", ms(Timer::A), ms(Timer::E)));
    assert_eq!(timing.duration(Timer::B, 0).as_secs(), 32);
}
