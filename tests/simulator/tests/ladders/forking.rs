//! Forking in parallel and in series, and the best response: RFC 3261 §16.7.

use expect_test::expect;
use hookswitch_simulator::check;

#[test]
fn the_losers_are_cancelled_with_a_reason() {
    check(
        r#"registered alice bob bob2 bob3
         show Reason
         alice INVITE bob
         bob 180
         bob2 180
         bob3 180
         bob2 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            10ms proxy → bob3 INVITE sip:bob@bob3.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob2 → proxy 180 INVITE
            50ms proxy → alice 180 INVITE
            60ms bob3 → proxy 180 INVITE
            70ms proxy → alice 180 INVITE
            80ms bob2 → proxy 200 INVITE
            90ms proxy → alice 200 INVITE
            90ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws [Reason: SIP;cause=200;text="Call completed elsewhere"]
            90ms proxy → bob3 CANCEL sip:bob@bob3.invalid;transport=ws [Reason: SIP;cause=200;text="Call completed elsewhere"]
            100ms bob → proxy 487 INVITE
            100ms bob → proxy 200 CANCEL
            100ms bob3 → proxy 487 INVITE
            100ms bob3 → proxy 200 CANCEL
            110ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            110ms proxy → bob3 ACK sip:bob@bob3.invalid;transport=ws
            120ms alice → proxy ACK sip:bob@bob2.invalid;transport=ws
            130ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
        "#]],
    );
}

#[test]
fn in_series_by_a_policy() {
    check(
        r#"registered alice bob carol
         policy request target registered sip:bob@example.com 0; target registered sip:carol@example.com 1; target upstream pbx 2
         alice INVITE sip:anyone@example.com
         bob 486
         carol 180
         carol 480
         pbx 200
         alice ACK
         alice BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:anyone@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy → carol INVITE sip:carol@carol.invalid;transport=ws
            40ms carol → proxy 180 INVITE
            50ms proxy → alice 180 INVITE
            60ms carol → proxy 480 INVITE
            70ms proxy → carol ACK sip:carol@carol.invalid;transport=ws
            70ms proxy → pbx INVITE sip:anyone@example.com
            80ms pbx → proxy 200 INVITE
            90ms proxy → alice 200 INVITE
            100ms alice → proxy ACK sip:100@203.0.113.10:5060
            110ms proxy → pbx ACK sip:100@203.0.113.10:5060
            120ms alice → proxy BYE sip:100@203.0.113.10:5060
            130ms proxy asks on-request BYE in dialog
            130ms proxy → pbx BYE sip:100@203.0.113.10:5060
            140ms pbx → proxy 200 BYE
            150ms proxy → alice 200 BYE
        "#]],
    );
}

/// §16.7 step 5 and §16.8: no new branches after a 6xx.
#[test]
fn a_6xx_ends_a_series() {
    check(
        r#"registered alice bob carol
         policy request target registered sip:bob@example.com 0; target registered sip:carol@example.com 1
         alice INVITE sip:anyone@example.com
         bob 603"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:anyone@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 603 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy → alice 603 INVITE
            40ms alice → proxy ACK sip:anyone@example.com
        "#]],
    );
}

#[test]
fn a_2xx_ends_a_series() {
    check(
        r#"registered alice bob carol
         policy request target registered sip:bob@example.com 0; target registered sip:carol@example.com 1
         alice INVITE sip:anyone@example.com
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:anyone@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn no_answer_goes_to_the_next_stage() {
    check(
        r#"registered alice bob carol
         policy request target registered sip:bob@example.com 0; target registered sip:carol@example.com 1; timeouts 0 - 5s
         alice INVITE sip:anyone@example.com
         bob 180
         advance 5s
         carol 200
         alice ACK
         carol BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:anyone@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            5010ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            5010ms proxy → carol INVITE sip:carol@carol.invalid;transport=ws
            5020ms bob → proxy 487 INVITE
            5020ms bob → proxy 200 CANCEL
            5030ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            5040ms carol → proxy 200 INVITE
            5050ms proxy → alice 200 INVITE
            5060ms alice → proxy ACK sip:carol@carol.invalid;transport=ws
            5070ms proxy → carol ACK sip:carol@carol.invalid;transport=ws
            5080ms carol → proxy BYE sip:alice@alice.invalid;transport=ws
            5090ms proxy asks on-request BYE in dialog
            5090ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            5100ms alice → proxy 200 BYE
            5110ms proxy → carol 200 BYE
        "#]],
    );
}

/// A 2xx after our CANCEL is forwarded all the same; the next stage is cancelled.
#[test]
fn the_first_stage_answers_too_late() {
    check(
        r#"registered alice bob carol
         bob ignores CANCEL
         policy request target registered sip:bob@example.com 0; target registered sip:carol@example.com 1; timeouts 0 - 5s
         alice INVITE sip:anyone@example.com
         bob 180
         advance 5s
         bob 200
         alice ACK
         carol 180"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:anyone@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            5010ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            5010ms proxy → carol INVITE sip:carol@carol.invalid;transport=ws
            5020ms bob → proxy 200 CANCEL
            5040ms bob → proxy 200 INVITE
            5050ms proxy → alice 200 INVITE
            5060ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            5070ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            5080ms carol → proxy 180 INVITE
            5090ms proxy → carol CANCEL sip:carol@carol.invalid;transport=ws
            5100ms carol → proxy 487 INVITE
            5100ms carol → proxy 200 CANCEL
            5110ms proxy → carol ACK sip:carol@carol.invalid;transport=ws
        "#]],
    );
}

#[test]
fn no_response_at_all_goes_to_the_next_stage() {
    check(
        r#"registered alice carol
         policy request target upstream pbx 0; target registered sip:carol@example.com 1; timeouts 0 1s -
         lose proxy pbx 9
         alice INVITE sip:anyone@example.com
         advance 1s
         carol 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:anyone@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → pbx INVITE sip:anyone@example.com (lost)
            210ms proxy → alice 100 INVITE
            510ms proxy → pbx INVITE sip:anyone@example.com (lost)
            1010ms proxy → carol INVITE sip:carol@carol.invalid;transport=ws
            1020ms carol → proxy 200 INVITE
            1030ms proxy → alice 200 INVITE
            1040ms alice → proxy ACK sip:carol@carol.invalid;transport=ws
            1050ms proxy → carol ACK sip:carol@carol.invalid;transport=ws
        "#]],
    );
}

/// All but 100 (§16.7 step 5).
#[test]
fn provisionals_of_all_forks_pass() {
    check(
        r#"registered alice bob bob2
         alice INVITE bob
         bob 100
         bob 180
         bob2 183
         bob2 180
         bob 180
         bob2 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 100 INVITE
            30ms bob → proxy 180 INVITE
            40ms proxy → alice 180 INVITE
            50ms bob2 → proxy 183 INVITE
            60ms proxy → alice 183 INVITE
            70ms bob2 → proxy 180 INVITE
            80ms proxy → alice 180 INVITE
            90ms bob → proxy 180 INVITE
            100ms proxy → alice 180 INVITE
            110ms bob2 → proxy 200 INVITE
            120ms proxy → alice 200 INVITE
            120ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            130ms bob → proxy 487 INVITE
            130ms bob → proxy 200 CANCEL
            140ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            150ms alice → proxy ACK sip:bob@bob2.invalid;transport=ws
            160ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
        "#]],
    );
}

#[test]
fn the_failure_hook_finds_another_way() {
    check(
        r#"registered alice bob
         policy failure INVITE once; target upstream pbx 0
         alice INVITE bob
         bob 486
         pbx 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy asks on-failure 486 INVITE
            30ms proxy → pbx INVITE sip:bob@example.com
            40ms pbx → proxy 200 INVITE
            50ms proxy → alice 200 INVITE
            60ms alice → proxy ACK sip:100@203.0.113.10:5060
            70ms proxy → pbx ACK sip:100@203.0.113.10:5060
        "#]],
    );
}

#[test]
fn the_failure_hook_answers() {
    check(
        r#"registered alice bob
         policy failure reply 480
         alice INVITE bob
         bob 486"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy asks on-failure 486 INVITE
            30ms proxy → alice 480 INVITE
            40ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn the_failure_hook_lets_it_through() {
    check(
        r#"registered alice bob
         policy failure pass
         alice INVITE bob
         bob 486"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy asks on-failure 486 INVITE
            30ms proxy → alice 486 INVITE
            40ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// A non-INVITE has one final response: the first 2xx; the other is absorbed.
#[test]
fn a_message_forks_too() {
    check(
        r#"registered alice bob bob2
         alice MESSAGE bob body=hi
         bob 200
         bob2 200"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 MESSAGE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 200 MESSAGE
            30ms proxy → alice 200 MESSAGE
            40ms bob2 → proxy 200 MESSAGE
        "#]],
    );
}

/// The retransmitted 486 is acknowledged again and goes no further.
#[test]
fn a_failed_branch_answers_again_after_the_best_was_sent() {
    check(
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         lose proxy pbx 1
         pbx 486
         advance 600ms"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 486 INVITE
            30ms proxy → pbx ACK sip:100@pbx.example.net (lost)
            30ms proxy → alice 486 INVITE
            40ms alice → proxy ACK sip:100@pbx.example.net
            520ms pbx → proxy 486 INVITE
            530ms proxy → pbx ACK sip:100@pbx.example.net
        "#]],
    );
}
