//! Tokens: what is in a dialog, what only says so, and the order of what is in it.

use expect_test::expect;
use hookswitch_simulator::check;

/// 481, before any hook.
#[test]
fn a_to_tag_without_a_token() {
    check(
        r#"registered alice bob
         policy request pass
         alice BYE bob + To: <sip:bob@example.com>;tag=made-up
         mallory BYE bob + To: <sip:bob@example.com>;tag=made-up"#,
        expect![[r#"
            0ms alice → proxy BYE sip:bob@example.com
            10ms proxy → alice 481 BYE
            20ms mallory → proxy BYE sip:bob@example.com
            30ms proxy → mallory 481 BYE
        "#]],
    );
}

#[test]
fn a_forged_token() {
    check(
        r#"registered alice bob
         policy request pass
         alice INVITE bob
         bob 200
         alice ACK
         mallory BYE sip:bob@bob.invalid + To: <sip:bob@example.com>;tag=x + Route: <sip:AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@198.51.100.1:5060;lr>"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            60ms mallory → proxy BYE sip:bob@bob.invalid
            70ms proxy → mallory 403 BYE
        "#]],
    );
}

#[test]
fn a_token_replayed_with_another_call_id() {
    check(
        r#"talking alice bob
         policy request pass
         alice BYE + Call-ID: another"#,
        expect![[r#"
            0ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            10ms proxy → alice 403 BYE
        "#]],
    );
}

#[test]
fn a_token_replayed_without_a_to_tag() {
    check(
        r#"talking alice bob
         policy request pass
         alice MESSAGE + To: <sip:bob@example.com>"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@bob.invalid;transport=ws
            10ms proxy → alice 403 MESSAGE
        "#]],
    );
}

#[test]
fn targets_are_refused_in_a_dialog() {
    check(
        r#"registered alice bob carol
         alice INVITE bob
         bob 200
         alice ACK
         policy request target registered sip:carol@example.com 0
         alice INFO
         bob 200"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            60ms alice → proxy INFO sip:bob@bob.invalid;transport=ws
            70ms proxy asks on-request INFO in dialog
            70ms proxy → bob INFO sip:bob@bob.invalid;transport=ws
            80ms bob → proxy 200 INFO
            90ms proxy → alice 200 INFO
        "#]],
    );
}

#[test]
fn a_policy_rejects_in_a_dialog() {
    check(
        r#"talking alice bob
         policy request INFO reply 403
         alice INFO"#,
        expect![[r#"
            0ms alice → proxy INFO sip:bob@bob.invalid;transport=ws
            10ms proxy asks on-request INFO in dialog
            10ms proxy → alice 403 INFO
        "#]],
    );
}

#[test]
fn a_fault_in_a_dialog() {
    check(
        r#"talking alice bob
         policy request INFO fault
         alice INFO
         bob BYE"#,
        expect![[r#"
            0ms alice → proxy INFO sip:bob@bob.invalid;transport=ws
            10ms proxy asks on-request INFO in dialog
            10ms proxy → alice 500 INFO
            20ms bob → proxy BYE sip:alice@alice.invalid;transport=ws
            30ms proxy asks on-request BYE in dialog
            30ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            40ms alice → proxy 200 BYE
            50ms proxy → bob 200 BYE
        "#]],
    );
}

/// The MESSAGE waits behind the INFO whose hook waits.
#[test]
fn requests_of_a_dialog_stay_in_order() {
    check(
        r#"talking alice bob
         policy request INFO hold
         alice INFO & alice MESSAGE
         release
         bob 200 INFO
         bob 200 MESSAGE"#,
        expect![[r#"
            0ms alice → proxy INFO sip:bob@bob.invalid;transport=ws
            0ms alice → proxy MESSAGE sip:bob@bob.invalid;transport=ws
            10ms proxy asks on-request INFO in dialog
            10ms proxy → bob INFO sip:bob@bob.invalid;transport=ws
            10ms proxy asks on-request MESSAGE in dialog
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INFO
            30ms proxy → alice 200 INFO
            40ms bob → proxy 200 MESSAGE
            50ms proxy → alice 200 MESSAGE
        "#]],
    );
}

#[test]
fn another_dialog_does_not_wait() {
    check(
        r#"talking alice bob
         policy request INFO hold
         alice INFO
         pbx MESSAGE bob
         bob 200
         release"#,
        expect![[r#"
            0ms alice → proxy INFO sip:bob@bob.invalid;transport=ws
            10ms proxy asks on-request INFO in dialog
            10ms pbx → proxy MESSAGE sip:bob@example.com
            20ms proxy asks on-request MESSAGE
            20ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            30ms bob → proxy 200 MESSAGE
            40ms proxy → pbx 200 MESSAGE
            50ms proxy → bob INFO sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn a_cancel_does_not_wait_in_that_order() {
    check(
        r#"talking alice bob
         policy request INFO hold
         alice INFO
         alice INVITE & alice CANCEL
         release"#,
        expect![[r#"
            0ms alice → proxy INFO sip:bob@bob.invalid;transport=ws
            10ms proxy asks on-request INFO in dialog
            10ms alice → proxy INVITE sip:bob@bob.invalid;transport=ws
            10ms alice → proxy CANCEL sip:bob@bob.invalid;transport=ws
            20ms proxy → alice 200 CANCEL
            20ms proxy → alice 487 INVITE
            30ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            40ms proxy → bob INFO sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

/// A PBX sends the INVITE back to us with another Request-URI: a spiral, not a loop (§16.3).
#[test]
fn the_same_call_passes_twice() {
    check(
        r#"show Max-Forwards
         registered alice bob
         alice INVITE sip:bob@pbx.example.net
         pbx relays bob
         bob 200
         alice ACK
         bob BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@pbx.example.net [Max-Forwards: 70]
            10ms proxy → pbx INVITE sip:bob@pbx.example.net [Max-Forwards: 69]
            20ms pbx → proxy INVITE sip:bob@example.com [Max-Forwards: 68]
            30ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws [Max-Forwards: 67]
            40ms bob → proxy 200 INVITE
            50ms proxy → pbx 200 INVITE
            60ms pbx → proxy 200 INVITE
            70ms proxy → alice 200 INVITE
            80ms alice → proxy ACK sip:bob@bob.invalid;transport=ws [Max-Forwards: 70]
            90ms proxy → pbx ACK sip:bob@bob.invalid;transport=ws [Max-Forwards: 69]
            100ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws [Max-Forwards: 68]
            110ms proxy → bob ACK sip:bob@bob.invalid;transport=ws [Max-Forwards: 67]
            120ms bob → proxy BYE sip:alice@alice.invalid;transport=ws [Max-Forwards: 70]
            130ms proxy → pbx BYE sip:alice@alice.invalid;transport=ws [Max-Forwards: 69]
            140ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws [Max-Forwards: 68]
            150ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [Max-Forwards: 67]
            160ms alice → proxy 200 BYE
            170ms proxy → pbx 200 BYE
            180ms pbx → proxy 200 BYE
            190ms proxy → bob 200 BYE
        "#]],
    );
}
