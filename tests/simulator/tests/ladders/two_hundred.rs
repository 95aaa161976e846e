//! 2xx to INVITE: late, several, again: RFC 3261 §16.7 and RFC 6026.

use expect_test::expect;
use hookswitch_simulator::check;

#[test]
fn retransmitted_until_acknowledged() {
    check(
        r#"registered alice bob
         alice INVITE bob
         bob 200
         advance 1600ms
         alice ACK
         advance 5s"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            520ms bob → proxy 200 INVITE
            530ms proxy → alice 200 INVITE
            1520ms bob → proxy 200 INVITE
            1530ms proxy → alice 200 INVITE
            1640ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            1650ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn retransmitted_2xx_has_the_same_bytes_and_no_hooks() {
    check(
        r#"registered alice bob
         show X-Stamp body
         policy response INVITE set X-Stamp second
         policy response INVITE once; set X-Stamp first
         media replace relayed
         alice INVITE bob
         bob 200
         advance 600ms
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com [body offer of alice]
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws [body relayed]
            20ms bob → proxy 200 INVITE [body answer of bob]
            30ms proxy asks on-response 200 INVITE
            30ms proxy → alice 200 INVITE [X-Stamp: first] [body relayed]
            520ms bob → proxy 200 INVITE [body answer of bob]
            530ms proxy → alice 200 INVITE [X-Stamp: first] [body relayed]
            640ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            650ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

/// Both 2xx are forwarded (§16.7 step 5); the caller hangs up on one.
#[test]
fn two_forks_accept() {
    check(
        r#"registered alice bob bob2
         alice INVITE bob
         bob 180
         bob2 180
         bob 200 & bob2 200
         alice ACK #1
         alice ACK #2
         alice BYE #2"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob2 → proxy 180 INVITE
            50ms proxy → alice 180 INVITE
            60ms bob → proxy 200 INVITE
            60ms bob2 → proxy 200 INVITE
            70ms proxy → alice 200 INVITE
            70ms proxy → alice 200 INVITE
            80ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            90ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            100ms alice → proxy ACK sip:bob@bob2.invalid;transport=ws
            110ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            120ms alice → proxy BYE sip:bob@bob2.invalid;transport=ws
            130ms proxy → bob2 BYE sip:bob@bob2.invalid;transport=ws
            140ms bob2 → proxy 200 BYE
            150ms proxy → alice 200 BYE
        "#]],
    );
}

/// Two To tags on one branch are two dialogs.
#[test]
fn a_fork_downstream_answers_twice() {
    check(
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 200 tag=one
         pbx 200 tag=two #1
         alice ACK #1
         alice ACK #2
         alice BYE #1
         alice BYE #2"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms pbx → proxy 200 INVITE
            50ms proxy → alice 200 INVITE
            60ms alice → proxy ACK sip:100@203.0.113.10:5060
            70ms proxy → pbx ACK sip:100@203.0.113.10:5060
            80ms alice → proxy ACK sip:100@203.0.113.10:5060
            90ms proxy → pbx ACK sip:100@203.0.113.10:5060
            100ms alice → proxy BYE sip:100@203.0.113.10:5060
            110ms proxy → pbx BYE sip:100@203.0.113.10:5060
            120ms pbx → proxy 200 BYE
            130ms proxy → alice 200 BYE
            140ms alice → proxy BYE sip:100@203.0.113.10:5060
            150ms proxy → pbx BYE sip:100@203.0.113.10:5060
            160ms pbx → proxy 200 BYE
            170ms proxy → alice 200 BYE
        "#]],
    );
}

#[test]
fn after_timer_c() {
    check(
        r#"registered alice bob
         bob ignores CANCEL
         alice INVITE bob
         bob 180
         advance 190s
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            180010ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            180020ms bob → proxy 200 CANCEL
            190040ms bob → proxy 200 INVITE
            190050ms proxy → alice 200 INVITE
            190060ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            190070ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn lost_on_the_way_and_sent_again() {
    check(
        r#"registered bob
         pbx INVITE bob
         bob 180
         lose proxy pbx 2
         bob 200
         advance 2s
         pbx ACK
         advance 5s"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → pbx 180 INVITE
            40ms bob → proxy 200 INVITE
            50ms proxy → pbx 200 INVITE (lost)
            540ms bob → proxy 200 INVITE
            550ms proxy → pbx 200 INVITE (lost)
            1540ms bob → proxy 200 INVITE
            1550ms proxy → pbx 200 INVITE
            2050ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            2060ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

/// The callee's 2xx comes again and so does the caller's ACK.
#[test]
fn the_ack_is_lost_too() {
    check(
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 200
         lose proxy pbx 1
         alice ACK
         advance 600ms"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060 (lost)
            520ms pbx → proxy 200 INVITE
            530ms proxy → alice 200 INVITE
            540ms alice → proxy ACK sip:100@203.0.113.10:5060
            550ms proxy → pbx ACK sip:100@203.0.113.10:5060
        "#]],
    );
}

/// The retransmission waits behind, or is absorbed: the caller sees the edited 2xx.
#[test]
fn while_the_hook_waits_with_the_first() {
    check(
        r#"registered alice bob
         policy response INVITE hold
         alice INVITE bob
         bob 200
         advance 600ms
         release
         alice ACK
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy asks on-response 200 INVITE
            210ms proxy → alice 100 INVITE
            520ms bob → proxy 200 INVITE
            630ms proxy → alice 200 INVITE
            630ms proxy → alice 200 INVITE
            640ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            650ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            660ms the proxy holds 1 transactions, 1 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn after_the_caller_is_gone() {
    check(
        r#"registered alice bob
         bob ignores CANCEL
         alice INVITE bob
         bob 180
         close alice
         bob 200 INVITE
         advance 40s
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice is gone
            40ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            50ms bob → proxy 200 CANCEL
            60ms bob → proxy 200 INVITE
            560ms bob → proxy 200 INVITE
            1560ms bob → proxy 200 INVITE
            3560ms bob → proxy 200 INVITE
            7560ms bob → proxy 200 INVITE
            11560ms bob → proxy 200 INVITE
            15560ms bob → proxy 200 INVITE
            19560ms bob → proxy 200 INVITE
            23560ms bob → proxy 200 INVITE
            27560ms bob → proxy 200 INVITE
            31560ms bob → proxy 200 INVITE
            40070ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

/// RFC 6026: absorbed in Accepted.
#[test]
fn an_invite_retransmitted_after_its_2xx() {
    check(
        r#"registered bob
         pbx INVITE bob
         bob 200
         pbx resend INVITE
         pbx ACK"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → pbx 200 INVITE
            40ms pbx → proxy INVITE sip:bob@example.com
            50ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            60ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}
