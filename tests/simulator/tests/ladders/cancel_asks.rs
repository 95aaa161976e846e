//! CANCEL while somebody is asked: policy, store, media.

use expect_test::expect;
use hookswitch_simulator::check;

/// 200 and 487 at once; the late verdict is ignored; nothing was sent.
#[test]
fn while_the_request_hook_waits() {
    check(
        r#"registered alice bob
         show ended
         policy request INVITE hold
         alice INVITE bob
         alice CANCEL
         release
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            10ms alice → proxy CANCEL sip:bob@example.com
            20ms proxy → alice 200 CANCEL
            20ms proxy → alice 487 INVITE
            20ms ended INVITE 487 Cancelled
            30ms alice → proxy ACK sip:bob@example.com
            40ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn while_the_store_is_asked() {
    check(
        r#"registered alice bob
         store hold
         alice INVITE bob
         alice CANCEL
         release"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms alice → proxy CANCEL sip:bob@example.com
            20ms proxy → alice 200 CANCEL
            20ms proxy → alice 487 INVITE
            30ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn while_the_branch_hook_waits() {
    check(
        r#"registered alice bob
         policy branch hold
         alice INVITE bob
         alice CANCEL
         release"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-branch INVITE target 0 stage 0
            10ms alice → proxy CANCEL sip:bob@example.com
            20ms proxy → alice 200 CANCEL
            20ms proxy → alice 487 INVITE
            30ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn while_media_is_asked_for_the_offer() {
    check(
        r#"registered alice bob
         media hold
         alice INVITE bob
         alice CANCEL
         release"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms alice → proxy CANCEL sip:bob@example.com
            20ms proxy → alice 200 CANCEL
            20ms proxy → alice 487 INVITE
            30ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// The 2xx is here already, so it is what the caller gets, 200 to the CANCEL notwithstanding.
/// Nothing but the hook is left to be waited for; then the caller must hear of the end.
#[test]
fn while_a_hook_thinks_about_who_is_gone() {
    check(
        r#"registered alice bob bob2
         policy response hold
         alice INVITE bob
         bob 180
         close bob
         alice CANCEL
         bob2 180
         release
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy asks on-response 180 INVITE
            30ms bob is gone
            30ms alice → proxy CANCEL sip:bob@example.com
            40ms proxy → alice 200 CANCEL
            50ms bob2 → proxy 180 INVITE
            60ms proxy → bob2 CANCEL sip:bob@bob2.invalid;transport=ws
            70ms bob2 → proxy 487 INVITE
            70ms bob2 → proxy 200 CANCEL
            80ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            90ms proxy → alice 487 INVITE
            100ms alice → proxy ACK sip:bob@example.com
            110ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn while_media_is_asked_for_the_answer() {
    check(
        r#"registered alice bob
         bob ignores CANCEL
         alice INVITE bob
         bob 180
         media hold
         bob 200
         alice CANCEL
         release
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob → proxy 200 INVITE
            50ms alice → proxy CANCEL sip:bob@example.com
            60ms proxy → alice 200 CANCEL
            70ms proxy → alice 200 INVITE
            80ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            90ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn while_the_response_hook_holds_a_200() {
    check(
        r#"registered alice bob
         policy response hold
         policy response once; pass
         alice INVITE bob
         bob 180
         bob 200
         alice CANCEL
         release
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy asks on-response 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob → proxy 200 INVITE
            50ms proxy asks on-response 200 INVITE
            50ms alice → proxy CANCEL sip:bob@example.com
            60ms proxy → alice 200 CANCEL
            70ms proxy → alice 200 INVITE
            80ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            90ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn while_the_failure_hook_waits() {
    check(
        r#"registered alice bob
         policy failure hold; target upstream pbx 0
         alice INVITE bob
         bob 486
         alice CANCEL
         release"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy asks on-failure 486 INVITE
            40ms alice → proxy CANCEL sip:bob@example.com
            50ms proxy → alice 200 CANCEL
            50ms proxy → alice 487 INVITE
            60ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}
