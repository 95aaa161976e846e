//! Verdicts of policies and what they cost.

use expect_test::expect;
use hookswitch_simulator::check;

#[test]
fn reply() {
    check(
        r#"show ended
         registered alice bob
         policy request reply 403
         alice INVITE bob"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → alice 403 INVITE
            10ms ended INVITE 403 Policy
            20ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// No answer at all; retransmissions are absorbed.
#[test]
fn discard() {
    check(
        r#"show ended
         registered bob
         policy request discard
         pbx INVITE bob
         advance 40s
         gauges"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            10ms ended INVITE 0 Discarded
            500ms pbx → proxy INVITE sip:bob@example.com
            1500ms pbx → proxy INVITE sip:bob@example.com
            3500ms pbx → proxy INVITE sip:bob@example.com
            7500ms pbx → proxy INVITE sip:bob@example.com
            15500ms pbx → proxy INVITE sip:bob@example.com
            31500ms pbx → proxy INVITE sip:bob@example.com
            40010ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

/// 500, not 503.
#[test]
fn fault() {
    check(
        r#"show ended
         registered alice bob
         policy request fault
         alice INVITE bob"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → alice 500 INVITE
            10ms ended INVITE 500 PolicyFault
            20ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn skip_a_branch() {
    check(
        r#"registered alice bob bob2
         policy branch once; skip
         alice INVITE bob
         bob2 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-branch INVITE target 0 stage 0
            10ms proxy asks on-branch INVITE target 0 stage 0
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob2 → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:bob@bob2.invalid;transport=ws
            50ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
        "#]],
    );
}

#[test]
fn skip_every_branch() {
    check(
        r#"registered alice bob
         policy branch skip
         alice INVITE bob"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-branch INVITE target 0 stage 0
            10ms proxy → alice 480 INVITE
            20ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn a_fault_of_a_branch() {
    check(
        r#"registered alice bob bob2
         policy branch once; fault
         alice INVITE bob
         bob2 486"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-branch INVITE target 0 stage 0
            10ms proxy asks on-branch INVITE target 0 stage 0
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob2 → proxy 486 INVITE
            30ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            30ms proxy → alice 486 INVITE
            40ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn skip_a_provisional() {
    check(
        r#"registered alice bob
         policy response once; skip
         alice INVITE bob
         bob 180
         bob 183
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy asks on-response 180 INVITE
            30ms bob → proxy 183 INVITE
            40ms proxy asks on-response 183 INVITE
            40ms proxy → alice 183 INVITE
            50ms bob → proxy 200 INVITE
            60ms proxy asks on-response 200 INVITE
            60ms proxy → alice 200 INVITE
            70ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            80ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn a_response_fault_passes_without_edits() {
    check(
        r#"registered alice bob
         policy response fault
         alice INVITE bob
         bob 180
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy asks on-response 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob → proxy 200 INVITE
            50ms proxy asks on-response 200 INVITE
            50ms proxy → alice 200 INVITE
            60ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn edits_of_request_branch_and_response() {
    check(
        r#"show X-Request X-Branch X-Response
         registered alice bob bob2
         policy request set X-Request 1
         policy branch set X-Branch 2
         policy response set X-Response 3
         alice INVITE bob
         bob 180
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            10ms proxy asks on-branch INVITE target 0 stage 0
            10ms proxy asks on-branch INVITE target 0 stage 0
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws [X-Request: 1] [X-Branch: 2]
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws [X-Request: 1] [X-Branch: 2]
            20ms bob → proxy 180 INVITE
            30ms proxy asks on-response 180 INVITE
            30ms proxy → alice 180 INVITE [X-Response: 3]
            40ms bob → proxy 200 INVITE
            50ms proxy asks on-response 200 INVITE
            50ms proxy → alice 200 INVITE [X-Response: 3]
            60ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn another_status() {
    check(
        r#"registered alice bob
         policy response status 480
         alice INVITE bob
         bob 486"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy asks on-response 486 INVITE
            30ms proxy → alice 480 INVITE
            40ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn targets_decide() {
    check(
        r#"registered alice bob carol
         policy request target registered sip:carol@example.com 0
         alice INVITE bob
         carol 200
         alice ACK
         carol BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → carol INVITE sip:carol@carol.invalid;transport=ws
            20ms carol → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:carol@carol.invalid;transport=ws
            50ms proxy → carol ACK sip:carol@carol.invalid;transport=ws
            60ms carol → proxy BYE sip:alice@alice.invalid;transport=ws
            70ms proxy asks on-request BYE in dialog
            70ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            80ms alice → proxy 200 BYE
            90ms proxy → carol 200 BYE
        "#]],
    );
}

#[test]
fn a_request_uri_decides() {
    check(
        r#"registered alice bob carol
         policy request uri sip:carol@example.com
         alice INVITE bob
         carol 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → carol INVITE sip:carol@carol.invalid;transport=ws
            20ms carol → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:carol@carol.invalid;transport=ws
            50ms proxy → carol ACK sip:carol@carol.invalid;transport=ws
        "#]],
    );
}

/// Each side keeps the From and To that it knows.
#[test]
fn set_from_is_restored_for_both() {
    check(
        r#"show From To
         registered alice
         policy request INVITE from sip:anonymous@anonymous.invalid
         alice INVITE sip:100@pbx.example.net
         pbx 180
         pbx 200
         alice ACK
         policy off
         alice INFO
         pbx 200
         pbx INFO
         alice 200
         pbx BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>]
            10ms proxy asks on-request INVITE
            10ms proxy → pbx INVITE sip:100@pbx.example.net [From: <sip:anonymous@anonymous.invalid>;tag=tag-alice4] [To: <sip:100@pbx.example.net>]
            20ms pbx → proxy 180 INVITE [From: <sip:anonymous@anonymous.invalid>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            30ms proxy → alice 180 INVITE [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            40ms pbx → proxy 200 INVITE [From: <sip:anonymous@anonymous.invalid>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            50ms proxy → alice 200 INVITE [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            60ms alice → proxy ACK sip:100@203.0.113.10:5060 [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            70ms proxy → pbx ACK sip:100@203.0.113.10:5060 [From: <sip:anonymous@anonymous.invalid>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            80ms alice → proxy INFO sip:100@203.0.113.10:5060 [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            90ms proxy → pbx INFO sip:100@203.0.113.10:5060 [From: <sip:anonymous@anonymous.invalid>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            100ms pbx → proxy 200 INFO [From: <sip:anonymous@anonymous.invalid>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            110ms proxy → alice 200 INFO [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            120ms pbx → proxy INFO sip:alice@alice.invalid;transport=ws [From: <sip:100@pbx.example.net>;tag=tag-pbx1] [To: <sip:anonymous@anonymous.invalid>;tag=tag-alice4]
            130ms proxy → alice INFO sip:alice@alice.invalid;transport=ws [From: <sip:100@pbx.example.net>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4]
            140ms alice → proxy 200 INFO [From: <sip:100@pbx.example.net>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4]
            150ms proxy → pbx 200 INFO [From: <sip:100@pbx.example.net>;tag=tag-pbx1] [To: <sip:anonymous@anonymous.invalid>;tag=tag-alice4]
            160ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws [From: <sip:100@pbx.example.net>;tag=tag-pbx1] [To: <sip:anonymous@anonymous.invalid>;tag=tag-alice4]
            170ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [From: <sip:100@pbx.example.net>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4]
            180ms alice → proxy 200 BYE [From: <sip:100@pbx.example.net>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4]
            190ms proxy → pbx 200 BYE [From: <sip:100@pbx.example.net>;tag=tag-pbx1] [To: <sip:anonymous@anonymous.invalid>;tag=tag-alice4]
        "#]],
    );
}

#[test]
fn set_to_is_restored_for_both() {
    check(
        r#"show From To
         registered alice
         policy request INVITE to sip:somebody@example.com
         alice INVITE sip:100@pbx.example.net
         pbx 200
         alice ACK
         pbx INFO
         alice 200
         alice BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>]
            10ms proxy asks on-request INVITE
            10ms proxy → pbx INVITE sip:100@pbx.example.net [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:somebody@example.com>]
            20ms pbx → proxy 200 INVITE [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:somebody@example.com>;tag=tag-pbx1]
            30ms proxy → alice 200 INVITE [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            40ms alice → proxy ACK sip:100@203.0.113.10:5060 [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060 [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:somebody@example.com>;tag=tag-pbx1]
            60ms pbx → proxy INFO sip:alice@alice.invalid;transport=ws [From: <sip:somebody@example.com>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4]
            70ms proxy asks on-request INFO in dialog
            70ms proxy → alice INFO sip:alice@alice.invalid;transport=ws [From: <sip:100@pbx.example.net>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4]
            80ms alice → proxy 200 INFO [From: <sip:100@pbx.example.net>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4]
            90ms proxy → pbx 200 INFO [From: <sip:somebody@example.com>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4]
            100ms alice → proxy BYE sip:100@203.0.113.10:5060 [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
            110ms proxy asks on-request BYE in dialog
            110ms proxy → pbx BYE sip:100@203.0.113.10:5060 [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:somebody@example.com>;tag=tag-pbx1]
            120ms pbx → proxy 200 BYE [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:somebody@example.com>;tag=tag-pbx1]
            130ms proxy → alice 200 BYE [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@pbx.example.net>;tag=tag-pbx1]
        "#]],
    );
}

#[test]
fn responses_stay_in_order_while_one_waits() {
    check(
        r#"registered alice bob
         policy response pass
         policy response once; after 500ms
         alice INVITE bob
         bob 180 & bob 183 & bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            20ms bob → proxy 183 INVITE
            20ms bob → proxy 200 INVITE
            30ms proxy asks on-response 180 INVITE
            210ms proxy → alice 100 INVITE
            520ms bob → proxy 200 INVITE
            530ms proxy → alice 180 INVITE
            530ms proxy asks on-response 183 INVITE
            530ms proxy → alice 183 INVITE
            530ms proxy asks on-response 200 INVITE
            530ms proxy → alice 200 INVITE
            530ms proxy → alice 200 INVITE
            540ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            550ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn a_verdict_that_comes_after_the_caller_left() {
    check(
        r#"show ended
         registered alice bob
         policy request hold
         alice INVITE bob
         close alice
         release
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            10ms alice is gone
            10ms ended INVITE 0 ClientGone
            10ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn attributes_of_a_call_reach_its_later_requests() {
    check(
        r#"show tenant
         registered alice bob
         policy request INVITE call tenant blue
         policy request BYE show-call tenant
         alice INVITE bob
         bob 200
         alice ACK
         bob BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            60ms bob → proxy BYE sip:alice@alice.invalid;transport=ws
            70ms proxy asks on-request BYE in dialog
            70ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [tenant: blue]
            80ms alice → proxy 200 BYE
            90ms proxy → bob 200 BYE
        "#]],
    );
}

#[test]
fn media_refuses_the_offer() {
    check(
        r#"registered alice bob
         media refuse 488
         alice INVITE bob"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → alice 488 INVITE
            20ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// An answered call cannot fail any more: the 2xx passes without its body, and the caller's stack ends the call.
#[test]
fn media_refuses_the_answer() {
    check(
        r#"registered alice bob
         alice INVITE bob
         bob 180
         media refuse 488
         show body
         bob 200
         advance 2s
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob → proxy 200 INVITE [body answer of bob]
            50ms proxy → alice 200 INVITE
            540ms bob → proxy 200 INVITE [body answer of bob]
            550ms proxy → alice 200 INVITE
            1540ms bob → proxy 200 INVITE [body answer of bob]
            1550ms proxy → alice 200 INVITE
            2060ms the proxy holds 1 transactions, 1 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn hooks_that_nobody_exports_are_not_asked() {
    check(
        r#"registered alice bob
         policy failure pass
         alice INVITE bob
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}
