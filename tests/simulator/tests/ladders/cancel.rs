//! CANCEL and what it races with: RFC 3261 §9, §16.10.

use expect_test::expect;
use hookswitch_simulator::check;

#[test]
fn while_ringing() {
    check(
        r#"registered alice bob
         alice INVITE bob
         bob 180
         alice CANCEL"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice → proxy CANCEL sip:bob@example.com
            50ms proxy → alice 200 CANCEL
            50ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            60ms bob → proxy 487 INVITE
            60ms bob → proxy 200 CANCEL
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → alice 487 INVITE
            80ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn the_reason_is_passed_on() {
    check(
        r#"registered alice
         show Reason
         alice INVITE sip:100@pbx.example.net
         pbx 180
         alice CANCEL + Reason: SIP;cause=600;text="enough""#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice → proxy CANCEL sip:100@pbx.example.net [Reason: SIP;cause=600;text="enough"]
            50ms proxy → alice 200 CANCEL
            50ms proxy → pbx CANCEL sip:100@pbx.example.net [Reason: SIP;cause=600;text="enough"]
            60ms pbx → proxy 487 INVITE
            60ms pbx → proxy 200 CANCEL
            70ms proxy → pbx ACK sip:100@pbx.example.net
            70ms proxy → alice 487 INVITE
            80ms alice → proxy ACK sip:100@pbx.example.net
        "#]],
    );
}

/// No CANCEL leaves before a provisional response (§9.1); then it does, and ends the call.
#[test]
fn before_any_response_came_back() {
    check(
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         alice CANCEL
         advance 300ms
         pbx 180"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms alice → proxy CANCEL sip:100@pbx.example.net
            30ms proxy → alice 200 CANCEL
            210ms proxy → alice 100 INVITE
            340ms pbx → proxy 180 INVITE
            350ms proxy → pbx CANCEL sip:100@pbx.example.net
            360ms pbx → proxy 487 INVITE
            360ms pbx → proxy 200 CANCEL
            370ms proxy → pbx ACK sip:100@pbx.example.net
            370ms proxy → alice 487 INVITE
            380ms alice → proxy ACK sip:100@pbx.example.net
        "#]],
    );
}

/// The 2xx won: it is forwarded, and the CANCEL had no effect (§9.1).
#[test]
fn with_the_invite_still_unanswered_and_a_200_crossing() {
    check(
        r#"registered alice bob
         bob ignores CANCEL
         alice INVITE bob
         bob 180
         alice CANCEL & bob 200
         alice ACK
         alice BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice → proxy CANCEL sip:bob@example.com
            40ms bob → proxy 200 INVITE
            50ms proxy → alice 200 CANCEL
            50ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            50ms proxy → alice 200 INVITE
            60ms bob → proxy 200 CANCEL
            70ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            80ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            90ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            100ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            110ms bob → proxy 200 BYE
            120ms proxy → alice 200 BYE
        "#]],
    );
}

#[test]
fn a_200_after_the_cancel_was_passed_on() {
    check(
        r#"registered alice bob
         bob ignores CANCEL
         alice INVITE bob
         bob 180
         alice CANCEL
         advance 100ms
         bob 200
         alice ACK
         alice BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice → proxy CANCEL sip:bob@example.com
            50ms proxy → alice 200 CANCEL
            50ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            60ms bob → proxy 200 CANCEL
            170ms bob → proxy 200 INVITE
            180ms proxy → alice 200 INVITE
            190ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            200ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            210ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            220ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            230ms bob → proxy 200 BYE
            240ms proxy → alice 200 BYE
        "#]],
    );
}

/// 481: there is no transaction to cancel.
#[test]
fn of_nothing() {
    check(
        r#"registered alice bob
         alice INVITE bob
         bob 486
         advance 40s
         alice CANCEL"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy → alice 486 INVITE
            40ms alice → proxy ACK sip:bob@example.com
            40050ms alice → proxy CANCEL sip:bob@example.com
            40060ms proxy → alice 481 CANCEL
        "#]],
    );
}

#[test]
fn all_forks() {
    check(
        r#"registered alice bob bob2
         alice INVITE bob
         bob 180
         bob2 180
         alice CANCEL"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob2 → proxy 180 INVITE
            50ms proxy → alice 180 INVITE
            60ms alice → proxy CANCEL sip:bob@example.com
            70ms proxy → alice 200 CANCEL
            70ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            70ms proxy → bob2 CANCEL sip:bob@bob2.invalid;transport=ws
            80ms bob → proxy 487 INVITE
            80ms bob → proxy 200 CANCEL
            80ms bob2 → proxy 487 INVITE
            80ms bob2 → proxy 200 CANCEL
            90ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            90ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            90ms proxy → alice 487 INVITE
            100ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn twice() {
    check(
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 180
         alice CANCEL & alice resend CANCEL
         advance 3s"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice → proxy CANCEL sip:100@pbx.example.net
            40ms alice → proxy CANCEL sip:100@pbx.example.net
            50ms proxy → alice 200 CANCEL
            50ms proxy → pbx CANCEL sip:100@pbx.example.net
            50ms proxy → alice 200 CANCEL
            60ms pbx → proxy 487 INVITE
            60ms pbx → proxy 200 CANCEL
            70ms proxy → pbx ACK sip:100@pbx.example.net
            70ms proxy → alice 487 INVITE
            80ms alice → proxy ACK sip:100@pbx.example.net
        "#]],
    );
}

/// A CANCEL in a dialog takes the way of its INVITE.
#[test]
fn of_a_renewed_offer() {
    check(
        r#"talking alice bob
         alice INVITE
         bob 180
         alice CANCEL
         bob BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice → proxy CANCEL sip:bob@bob.invalid;transport=ws
            50ms proxy → alice 200 CANCEL
            50ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            60ms bob → proxy 487 INVITE
            60ms bob → proxy 200 CANCEL
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → alice 487 INVITE
            80ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            90ms bob → proxy BYE sip:alice@alice.invalid;transport=ws
            100ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            110ms alice → proxy 200 BYE
            120ms proxy → bob 200 BYE
        "#]],
    );
}

#[test]
fn over_udp_with_the_cancel_lost() {
    check(
        r#"registered bob
         pbx INVITE bob
         bob 180
         lose pbx proxy 1
         pbx CANCEL
         advance 600ms"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → pbx 180 INVITE
            40ms pbx → proxy CANCEL sip:bob@example.com (lost)
            540ms pbx → proxy CANCEL sip:bob@example.com
            550ms proxy → pbx 200 CANCEL
            550ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            560ms bob → proxy 487 INVITE
            560ms bob → proxy 200 CANCEL
            570ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            570ms proxy → pbx 487 INVITE
            580ms pbx → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// Nobody is left to answer: the branch is cancelled.
#[test]
fn the_caller_goes_away_while_it_rings() {
    check(
        r#"registered alice bob
         show ended
         alice INVITE bob
         bob 180
         close alice
         advance 40s
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice is gone
            40ms ended INVITE 0 ClientGone
            40ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            50ms bob → proxy 487 INVITE
            50ms bob → proxy 200 CANCEL
            60ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            40070ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

/// 64*T1 after its CANCEL a branch counts as ended with 487 (§9.1).
#[test]
fn a_stubborn_callee_never_ends() {
    check(
        r#"registered alice
         pbx ignores CANCEL
         alice INVITE sip:100@pbx.example.net
         pbx 180
         alice CANCEL
         advance 33s
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice → proxy CANCEL sip:100@pbx.example.net
            50ms proxy → alice 200 CANCEL
            50ms proxy → pbx CANCEL sip:100@pbx.example.net
            60ms pbx → proxy 200 CANCEL
            32050ms proxy → alice 487 INVITE
            32060ms alice → proxy ACK sip:100@pbx.example.net
            33070ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}
