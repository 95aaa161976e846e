//! Timers of the transactions and of the proxy.

use expect_test::expect;
use hookswitch_simulator::{check, check_with};

/// Timer A doubles, Timer B ends it: 408.
#[test]
fn invite_over_udp_is_retransmitted_and_times_out() {
    check(
        r#"registered alice
         lose proxy pbx 99
         alice INVITE sip:100@pbx.example.net
         advance 33s
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            210ms proxy → alice 100 INVITE
            510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            1510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            3510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            7510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            15510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            31510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            32010ms proxy → alice 408 INVITE
            32020ms alice → proxy ACK sip:100@pbx.example.net
            33010ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

/// Timer E doubles up to 4 s, Timer F ends it, and so does the client's: no 408 comes late (RFC 4320 §4.2).
#[test]
fn message_over_udp_is_retransmitted_and_times_out() {
    check(
        r#"registered alice
         lose proxy pbx 99
         alice MESSAGE sip:100@pbx.example.net
         advance 33s
         gauges"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@pbx.example.net
            10ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            510ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            1510ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            3510ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            7510ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            11510ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            15510ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            19510ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            23510ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            27510ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            31510ms proxy → pbx MESSAGE sip:100@pbx.example.net (lost)
            33010ms the proxy holds 1 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

/// Timer E at T2.
#[test]
fn message_over_udp_after_a_provisional() {
    check(
        r#"registered alice
         alice MESSAGE sip:100@pbx.example.net
         pbx 100
         advance 13s
         pbx 200
         advance 10s
         gauges"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@pbx.example.net
            10ms proxy → pbx MESSAGE sip:100@pbx.example.net
            20ms pbx → proxy 100 MESSAGE
            510ms proxy → pbx MESSAGE sip:100@pbx.example.net
            520ms pbx → proxy 100 MESSAGE
            4510ms proxy → pbx MESSAGE sip:100@pbx.example.net
            4520ms pbx → proxy 100 MESSAGE
            8510ms proxy → pbx MESSAGE sip:100@pbx.example.net
            8520ms pbx → proxy 100 MESSAGE
            12510ms proxy → pbx MESSAGE sip:100@pbx.example.net
            12520ms pbx → proxy 100 MESSAGE
            13030ms pbx → proxy 200 MESSAGE
            13040ms proxy → alice 200 MESSAGE
            23050ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

/// A slow policy: the caller must not retransmit (§17.2.1).
#[test]
fn trying_after_200_ms() {
    check(
        r#"registered alice bob
         policy request hold
         alice INVITE bob
         advance 200ms
         release
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            210ms proxy → alice 100 INVITE
            220ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            230ms bob → proxy 200 INVITE
            240ms proxy → alice 200 INVITE
            250ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            260ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn trying_is_not_sent_when_a_response_came_first() {
    check(
        r#"registered alice bob
         alice INVITE bob
         bob 180
         advance 1s"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
        "#]],
    );
}

#[test]
fn trying_to_a_pbx_stops_its_retransmissions() {
    check(
        r#"registered bob
         pbx INVITE bob
         advance 5s
         bob 200
         pbx ACK"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            210ms proxy → pbx 100 INVITE
            5020ms bob → proxy 200 INVITE
            5030ms proxy → pbx 200 INVITE
            5040ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            5050ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

/// §17.2.2 and RFC 4320: a retransmission finds no response yet; nothing is sent.
#[test]
fn no_trying_for_a_message() {
    check(
        r#"registered bob
         pbx MESSAGE bob
         advance 600ms
         bob 200
         advance 6s
         gauges"#,
        expect![[r#"
            0ms pbx → proxy MESSAGE sip:bob@example.com
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            500ms pbx → proxy MESSAGE sip:bob@example.com
            620ms bob → proxy 200 MESSAGE
            630ms proxy → pbx 200 MESSAGE
            6640ms the proxy holds 1 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

/// A provisional response starts it again (§16.7 step 2).
#[test]
fn timer_c() {
    check_with(
        |config| config.timers.no_answer = None,
        r#"registered alice bob
         alice INVITE bob
         bob 180
         advance 179s
         bob 180
         advance 100s
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            179040ms bob → proxy 180 INVITE
            179050ms proxy → alice 180 INVITE
            279060ms the proxy holds 1 transactions, 1 branches, 0 calls, 0 asks
        "#]],
    );
}

/// CANCEL to the branch, 408 to the caller (§16.8).
#[test]
fn timer_c_ends_a_branch() {
    check_with(
        |config| config.timers.no_answer = None,
        r#"registered alice bob
         alice INVITE bob
         bob 180
         advance 186s
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            185030ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            185040ms bob → proxy 487 INVITE
            185040ms bob → proxy 200 CANCEL
            185050ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            185050ms proxy → alice 408 INVITE
            185060ms alice → proxy ACK sip:bob@example.com
            186040ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn no_answer() {
    check_with(
        |config| config.timers.no_answer = Some(std::time::Duration::from_secs(10)),
        r#"registered alice bob
         alice INVITE bob
         bob 180
         advance 10s"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            10010ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            10020ms bob → proxy 487 INVITE
            10020ms bob → proxy 200 CANCEL
            10030ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            10030ms proxy → alice 408 INVITE
            10040ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// The stage's time runs while a hook thinks about its branches, too.
#[test]
fn no_answer_of_a_slow_hook() {
    check_with(
        |config| config.timers.no_answer = Some(std::time::Duration::from_secs(2)),
        r#"registered alice bob bob2
         policy branch hold
         alice INVITE bob
         advance 3s
         gauges
         release
         advance 33s
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-branch INVITE target 0 stage 0
            10ms proxy asks on-branch INVITE target 0 stage 0
            210ms proxy → alice 100 INVITE
            2010ms proxy → alice 408 INVITE
            2020ms alice → proxy ACK sip:bob@example.com
            3010ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
            36010ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

/// Long before Timer B; if it rings after all, it is cancelled.
#[test]
fn first_response() {
    check_with(
        |config| config.timers.first_response = Some(std::time::Duration::from_secs(2)),
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         advance 3s
         pbx 180
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            210ms proxy → alice 100 INVITE
            510ms proxy → pbx INVITE sip:100@pbx.example.net
            1510ms proxy → pbx INVITE sip:100@pbx.example.net
            2010ms proxy → alice 408 INVITE
            2020ms alice → proxy ACK sip:100@pbx.example.net
            3020ms pbx → proxy 180 INVITE
            3030ms proxy → pbx CANCEL sip:100@pbx.example.net
            3040ms pbx → proxy 487 INVITE
            3040ms pbx → proxy 200 CANCEL
            3050ms proxy → pbx ACK sip:100@pbx.example.net
            3060ms the proxy holds 1 transactions, 1 branches, 0 calls, 0 asks
        "#]],
    );
}

/// Given up before it said anything, it answers all the same; over a connection the ACK of the 408 has ended the transaction by then.
#[test]
fn a_2xx_after_a_failure_that_was_acknowledged() {
    check_with(
        |config| config.timers.first_response = Some(std::time::Duration::from_secs(2)),
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         advance 3s
         pbx 200
         advance 1s
         advance 40s
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            210ms proxy → alice 100 INVITE
            510ms proxy → pbx INVITE sip:100@pbx.example.net
            1510ms proxy → pbx INVITE sip:100@pbx.example.net
            2010ms proxy → alice 408 INVITE
            2020ms alice → proxy ACK sip:100@pbx.example.net
            3020ms pbx → proxy 200 INVITE
            3030ms proxy → alice 200 INVITE
            3520ms pbx → proxy 200 INVITE
            3530ms proxy → alice 200 INVITE
            4520ms pbx → proxy 200 INVITE
            4530ms proxy → alice 200 INVITE
            6520ms pbx → proxy 200 INVITE
            6530ms proxy → alice 200 INVITE
            10520ms pbx → proxy 200 INVITE
            10530ms proxy → alice 200 INVITE
            14520ms pbx → proxy 200 INVITE
            14530ms proxy → alice 200 INVITE
            18520ms pbx → proxy 200 INVITE
            18530ms proxy → alice 200 INVITE
            22520ms pbx → proxy 200 INVITE
            22530ms proxy → alice 200 INVITE
            26520ms pbx → proxy 200 INVITE
            26530ms proxy → alice 200 INVITE
            30520ms pbx → proxy 200 INVITE
            30530ms proxy → alice 200 INVITE
            34520ms pbx → proxy 200 INVITE
            34530ms proxy → alice 200 INVITE
            44040ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

/// RFC 4320 §4.2: no 408 but for INVITE.
#[test]
fn first_response_to_a_message() {
    check_with(
        |config| config.timers.first_response = Some(std::time::Duration::from_secs(2)),
        r#"registered alice bob
         alice MESSAGE bob
         advance 3s
         bob 200"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            2010ms proxy → alice 504 MESSAGE
            3020ms bob → proxy 200 MESSAGE
            3030ms proxy drops: stray response
        "#]],
    );
}

#[test]
fn first_response_came_in_time() {
    check_with(
        |config| config.timers.first_response = Some(std::time::Duration::from_secs(2)),
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 100
         advance 3s
         pbx 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 100 INVITE
            210ms proxy → alice 100 INVITE
            3030ms pbx → proxy 200 INVITE
            3040ms proxy → alice 200 INVITE
            3050ms alice → proxy ACK sip:100@203.0.113.10:5060
            3060ms proxy → pbx ACK sip:100@203.0.113.10:5060
        "#]],
    );
}

#[test]
fn a_browser_that_never_answers_a_message() {
    check(
        r#"show ended
         registered alice bob
         alice MESSAGE bob
         advance 33s
         gauges"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            32010ms ended MESSAGE 0 Timeout
            33020ms the proxy holds 1 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

/// After Timers J and L only the call's record is left, and with the BYE not even that.
#[test]
fn everything_ends_some_day() {
    check(
        r#"talking alice bob
         bob BYE
         advance 40s
         gauges"#,
        expect![[r#"
            0ms bob → proxy BYE sip:alice@alice.invalid;transport=ws
            10ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            20ms alice → proxy 200 BYE
            30ms proxy → bob 200 BYE
            40040ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}
