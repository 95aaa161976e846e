//! Dialogs outlive connections and the proxy itself: RFC 5626, and tokens.

use expect_test::expect;
use hookswitch_simulator::check;

#[test]
fn the_callee_reconnects() {
    check(
        r#"talking alice bob
         close bob
         reconnect bob
         alice BYE"#,
        expect![[r#"
            0ms bob is gone
            20ms bob is back and registered
            20ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            30ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            40ms bob → proxy 200 BYE
            50ms proxy → alice 200 BYE
        "#]],
    );
}

#[test]
fn the_caller_reconnects() {
    check(
        r#"talking alice bob
         close alice
         reconnect alice
         bob BYE"#,
        expect![[r#"
            0ms alice is gone
            20ms alice is back and registered
            20ms bob → proxy BYE sip:alice@alice.invalid;transport=ws
            30ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            40ms alice → proxy 200 BYE
            50ms proxy → bob 200 BYE
        "#]],
    );
}

#[test]
fn the_callee_is_away() {
    check(
        r#"talking alice bob
         close bob
         alice BYE"#,
        expect![[r#"
            0ms bob is gone
            0ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            10ms proxy → nobody BYE sip:bob@bob.invalid;transport=ws
            10ms proxy → alice 430 BYE
        "#]],
    );
}

/// Its connection is in the token.
#[test]
fn a_browser_that_never_registered_is_called_back() {
    check(
        r#"registered bob
         alice INVITE bob
         bob 200
         alice ACK
         bob BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            60ms bob → proxy BYE sip:alice@alice.invalid;transport=ws
            70ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            80ms alice → proxy 200 BYE
            90ms proxy → bob 200 BYE
        "#]],
    );
}

#[test]
fn the_proxy_restarts_and_the_caller_hangs_up() {
    check(
        r#"talking alice bob
         restart
         reconnect alice
         reconnect bob
         alice BYE"#,
        expect![[r#"
            0ms the proxy restarts
            20ms alice is back and registered
            40ms bob is back and registered
            40ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            50ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            60ms bob → proxy 200 BYE
            70ms proxy → alice 200 BYE
        "#]],
    );
}

#[test]
fn the_proxy_restarts_and_the_callee_hangs_up() {
    check(
        r#"talking alice bob
         restart
         reconnect alice
         reconnect bob
         bob BYE"#,
        expect![[r#"
            0ms the proxy restarts
            20ms alice is back and registered
            40ms bob is back and registered
            40ms bob → proxy BYE sip:alice@alice.invalid;transport=ws
            50ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            60ms alice → proxy 200 BYE
            70ms proxy → bob 200 BYE
        "#]],
    );
}

#[test]
fn the_proxy_restarts_under_a_call_with_a_pbx() {
    check(
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 200
         alice ACK
         restart
         reconnect alice
         pbx INFO
         alice 200
         alice BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms the proxy restarts
            80ms alice is back and registered
            80ms pbx → proxy INFO sip:alice@alice.invalid;transport=ws
            90ms proxy → alice INFO sip:alice@alice.invalid;transport=ws
            100ms alice → proxy 200 INFO
            110ms proxy → pbx 200 INFO
            120ms alice → proxy BYE sip:100@203.0.113.10:5060
            130ms proxy → pbx BYE sip:100@203.0.113.10:5060
            140ms pbx → proxy 200 BYE
            150ms proxy → alice 200 BYE
        "#]],
    );
}

/// The retransmission is a new INVITE for the new life; nobody is registered.
#[test]
fn the_proxy_restarts_while_it_rings() {
    check(
        r#"registered bob
         pbx INVITE bob
         bob 180
         restart
         pbx resend INVITE
         advance 1s"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → pbx 180 INVITE
            40ms the proxy restarts
            40ms pbx → proxy INVITE sip:bob@example.com
            50ms proxy → pbx 404 INVITE
            60ms pbx → proxy ACK sip:bob@example.com
        "#]],
    );
}
