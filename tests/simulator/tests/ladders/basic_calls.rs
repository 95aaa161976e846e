//! Calls and messages between every two sides, with nothing going wrong.

use expect_test::expect;
use hookswitch_simulator::check;

#[test]
fn browser_to_browser() {
    check(
        r#"registered alice bob
         alice INVITE bob
         bob 180
         bob 200
         alice ACK
         bob BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob → proxy 200 INVITE
            50ms proxy → alice 200 INVITE
            60ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            80ms bob → proxy BYE sip:alice@alice.invalid;transport=ws
            90ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            100ms alice → proxy 200 BYE
            110ms proxy → bob 200 BYE
        "#]],
    );
}

/// No registrar knows the domain: the default upstream takes it.
#[test]
fn browser_to_pbx() {
    check(
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 180
         pbx 200
         alice ACK
         alice BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms pbx → proxy 200 INVITE
            50ms proxy → alice 200 INVITE
            60ms alice → proxy ACK sip:100@203.0.113.10:5060
            70ms proxy → pbx ACK sip:100@203.0.113.10:5060
            80ms alice → proxy BYE sip:100@203.0.113.10:5060
            90ms proxy → pbx BYE sip:100@203.0.113.10:5060
            100ms pbx → proxy 200 BYE
            110ms proxy → alice 200 BYE
        "#]],
    );
}

#[test]
fn pbx_to_browser() {
    check(
        r#"registered bob
         pbx INVITE bob
         bob 180
         bob 200
         pbx ACK
         pbx BYE"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → pbx 180 INVITE
            40ms bob → proxy 200 INVITE
            50ms proxy → pbx 200 INVITE
            60ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            80ms pbx → proxy BYE sip:bob@bob.invalid;transport=ws
            90ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            100ms bob → proxy 200 BYE
            110ms proxy → pbx 200 BYE
        "#]],
    );
}

#[test]
fn pbx_to_browser_and_the_browser_hangs_up() {
    check(
        r#"registered bob
         pbx INVITE bob
         bob 200
         pbx ACK
         bob BYE"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → pbx 200 INVITE
            40ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            60ms bob → proxy BYE sip:100@203.0.113.10:5060
            70ms proxy → pbx BYE sip:100@203.0.113.10:5060
            80ms pbx → proxy 200 BYE
            90ms proxy → bob 200 BYE
        "#]],
    );
}

#[test]
fn one_pbx_to_another() {
    check(
        r#"policy request target upstream carrier 0
         pbx INVITE sip:200@carrier.example.net
         carrier 180
         carrier 200
         pbx ACK
         carrier BYE"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:200@carrier.example.net
            10ms proxy asks on-request INVITE
            10ms proxy → carrier INVITE sip:200@carrier.example.net
            20ms carrier → proxy 180 INVITE
            30ms proxy → pbx 180 INVITE
            40ms carrier → proxy 200 INVITE
            50ms proxy → pbx 200 INVITE
            60ms pbx → proxy ACK sip:200@203.0.113.20:5060
            70ms proxy → carrier ACK sip:200@203.0.113.20:5060
            80ms carrier → proxy BYE sip:100@203.0.113.10:5060
            90ms proxy asks on-request BYE in dialog
            90ms proxy → pbx BYE sip:100@203.0.113.10:5060
            100ms pbx → proxy 200 BYE
            110ms proxy → carrier 200 BYE
        "#]],
    );
}

/// Two Record-Routes, since transport and side change: each side knows us by the address on its side (RFC 5658).
#[test]
fn what_a_browser_and_a_pbx_see_of_the_way() {
    check(
        r#"show Via Record-Route Route Contact Max-Forwards
         registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 200
         alice ACK
         pbx BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6] [Contact: <sip:alice@alice.invalid;transport=ws>] [Max-Forwards: 70]
            10ms proxy → pbx INVITE sip:100@pbx.example.net [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b1;rport, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1] [Record-Route: <sip:T1@198.51.100.1:5060;lr>, <sip:T1@198.51.100.1:443;transport=ws;lr>] [Contact: <sip:alice@alice.invalid;transport=ws>] [Max-Forwards: 69]
            20ms pbx → proxy 200 INVITE [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b1;rport, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1] [Record-Route: <sip:T1@198.51.100.1:5060;lr>, <sip:T1@198.51.100.1:443;transport=ws;lr>] [Contact: <sip:100@203.0.113.10:5060>]
            30ms proxy → alice 200 INVITE [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1] [Record-Route: <sip:T1@198.51.100.1:5060;lr>, <sip:T1@198.51.100.1:443;transport=ws;lr>] [Contact: <sip:100@203.0.113.10:5060>]
            40ms alice → proxy ACK sip:100@203.0.113.10:5060 [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice7] [Route: <sip:T1@198.51.100.1:443;transport=ws;lr>, <sip:T1@198.51.100.1:5060;lr>] [Max-Forwards: 70]
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060 [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b2;rport, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice7] [Max-Forwards: 69]
            60ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws [Via: SIP/2.0/UDP 203.0.113.10:5060;rport;branch=z9hG4bK-pbx2] [Route: <sip:T1@198.51.100.1:5060;lr>, <sip:T1@198.51.100.1:443;transport=ws;lr>] [Max-Forwards: 70]
            70ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b3, SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK-pbx2;received=203.0.113.10;rport=5060] [Max-Forwards: 69]
            80ms alice → proxy 200 BYE [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b3, SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK-pbx2;received=203.0.113.10;rport=5060]
            90ms proxy → pbx 200 BYE [Via: SIP/2.0/UDP 203.0.113.10:5060;branch=z9hG4bK-pbx2;received=203.0.113.10;rport=5060]
        "#]],
    );
}

/// Both sides know us by the same address.
#[test]
fn between_browsers_one_record_route_is_enough() {
    check(
        r#"show Record-Route Route
         registered alice bob
         alice INVITE bob
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws [Record-Route: <sip:T1@198.51.100.1:443;transport=ws;lr>]
            20ms bob → proxy 200 INVITE [Record-Route: <sip:T1@198.51.100.1:443;transport=ws;lr>]
            30ms proxy → alice 200 INVITE [Record-Route: <sip:T1@198.51.100.1:443;transport=ws;lr>]
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws [Route: <sip:T1@198.51.100.1:443;transport=ws;lr>]
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn the_offer_is_renewed_in_mid_call() {
    check(
        r#"registered alice bob
         alice INVITE bob
         bob 200
         alice ACK
         show body
         bob INVITE
         alice 200
         bob ACK
         alice INVITE
         bob 488
         alice BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            60ms bob → proxy INVITE sip:alice@alice.invalid;transport=ws [body offer of bob]
            70ms proxy → alice INVITE sip:alice@alice.invalid;transport=ws [body offer of bob]
            80ms alice → proxy 200 INVITE [body answer of alice]
            90ms proxy → bob 200 INVITE [body answer of alice]
            100ms bob → proxy ACK sip:alice@alice.invalid;transport=ws
            110ms proxy → alice ACK sip:alice@alice.invalid;transport=ws
            120ms alice → proxy INVITE sip:bob@bob.invalid;transport=ws [body offer of alice]
            130ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws [body offer of alice]
            140ms bob → proxy 488 INVITE
            150ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            150ms proxy → alice 488 INVITE
            160ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            170ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            180ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            190ms bob → proxy 200 BYE
            200ms proxy → alice 200 BYE
        "#]],
    );
}

/// Whatever the method, the token finds the way.
#[test]
fn requests_of_a_dialog_of_every_kind() {
    check(
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 183
         alice PRACK
         pbx 200
         alice UPDATE
         pbx 200
         pbx 200 INVITE
         alice ACK
         pbx INFO
         alice 200
         alice REFER
         pbx 202
         pbx NOTIFY
         alice 200
         pbx BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 183 INVITE
            30ms proxy → alice 183 INVITE
            40ms alice → proxy PRACK sip:100@203.0.113.10:5060
            50ms proxy → pbx PRACK sip:100@203.0.113.10:5060
            60ms pbx → proxy 200 PRACK
            70ms proxy → alice 200 PRACK
            80ms alice → proxy UPDATE sip:100@203.0.113.10:5060
            90ms proxy → pbx UPDATE sip:100@203.0.113.10:5060
            100ms pbx → proxy 200 UPDATE
            110ms proxy → alice 200 UPDATE
            120ms pbx → proxy 200 INVITE
            130ms proxy → alice 200 INVITE
            140ms alice → proxy ACK sip:100@203.0.113.10:5060
            150ms proxy → pbx ACK sip:100@203.0.113.10:5060
            160ms pbx → proxy INFO sip:alice@alice.invalid;transport=ws
            170ms proxy → alice INFO sip:alice@alice.invalid;transport=ws
            180ms alice → proxy 200 INFO
            190ms proxy → pbx 200 INFO
            200ms alice → proxy REFER sip:100@203.0.113.10:5060
            210ms proxy → pbx REFER sip:100@203.0.113.10:5060
            220ms pbx → proxy 202 REFER
            230ms proxy → alice 202 REFER
            240ms pbx → proxy NOTIFY sip:alice@alice.invalid;transport=ws
            250ms proxy → alice NOTIFY sip:alice@alice.invalid;transport=ws
            260ms alice → proxy 200 NOTIFY
            270ms proxy → pbx 200 NOTIFY
            280ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws
            290ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            300ms alice → proxy 200 BYE
            310ms proxy → pbx 200 BYE
        "#]],
    );
}

#[test]
fn messages_both_ways() {
    check(
        r#"registered alice bob
         alice MESSAGE bob body=hello
         bob 200
         pbx MESSAGE alice body=hello
         alice 200
         alice MESSAGE sip:100@pbx.example.net body=hello
         pbx 202"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 MESSAGE
            30ms proxy → alice 200 MESSAGE
            40ms pbx → proxy MESSAGE sip:alice@example.com
            50ms proxy → alice MESSAGE sip:alice@alice.invalid;transport=ws
            60ms alice → proxy 200 MESSAGE
            70ms proxy → pbx 200 MESSAGE
            80ms alice → proxy MESSAGE sip:100@pbx.example.net
            90ms proxy → pbx MESSAGE sip:100@pbx.example.net
            100ms pbx → proxy 202 MESSAGE
            110ms proxy → alice 202 MESSAGE
        "#]],
    );
}

#[test]
fn an_unknown_method_passes() {
    check(
        r#"registered alice bob
         alice FROBNICATE bob
         bob 200"#,
        expect![[r#"
            0ms alice → proxy FROBNICATE sip:bob@example.com
            10ms proxy → bob FROBNICATE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 FROBNICATE
            30ms proxy → alice 200 FROBNICATE
        "#]],
    );
}

#[test]
fn sdp_passes_media_in_both_directions() {
    check(
        r#"show asks body
         registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 183
         pbx 200
         alice ACK
         pbx INVITE
         alice 200
         pbx ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net [body offer of alice]
            10ms proxy asks media ToCallee Offer [offer of alice]
            10ms proxy → pbx INVITE sip:100@pbx.example.net [body offer of alice]
            20ms pbx → proxy 183 INVITE [body answer of pbx]
            30ms proxy asks media ToCaller Answer [answer of pbx]
            30ms proxy → alice 183 INVITE [body answer of pbx]
            40ms pbx → proxy 200 INVITE [body answer of pbx]
            50ms proxy asks media ToCaller Answer [answer of pbx]
            50ms proxy → alice 200 INVITE [body answer of pbx]
            60ms alice → proxy ACK sip:100@203.0.113.10:5060
            70ms proxy → pbx ACK sip:100@203.0.113.10:5060
            80ms pbx → proxy INVITE sip:alice@alice.invalid;transport=ws [body offer of pbx]
            90ms proxy asks the store for a session
            90ms proxy asks media ToCaller Offer [offer of pbx]
            90ms proxy → alice INVITE sip:alice@alice.invalid;transport=ws [body offer of pbx]
            100ms alice → proxy 200 INVITE [body answer of alice]
            110ms proxy asks media ToCallee Answer [answer of alice]
            110ms proxy → pbx 200 INVITE [body answer of alice]
            120ms pbx → proxy ACK sip:alice@alice.invalid;transport=ws
            130ms proxy asks the store for a session
            130ms proxy → alice ACK sip:alice@alice.invalid;transport=ws
        "#]],
    );
}

/// RFC 3261 §13.2.1: an INVITE without an offer gets one in the 2xx, and the ACK answers it.
#[test]
fn a_late_offer_is_answered_in_the_ack() {
    check(
        r#"show asks body
         registered bob
         pbx INVITE bob nosdp
         bob 200 body=offer
         pbx ACK body=answer"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy asks the store for sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE [body offer]
            30ms proxy asks media ToCaller Offer [offer]
            30ms proxy → pbx 200 INVITE [body offer]
            40ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws [body answer]
            50ms proxy asks the store for a session
            50ms proxy asks media ToCallee Answer [answer]
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws [body answer]
        "#]],
    );
}

/// RFC 3262 §5: the answer to an offer in a reliable provisional response rides in its PRACK; a PRACK after that offers anew.
#[test]
fn a_prack_answers_what_a_reliable_183_offered() {
    check(
        r#"registered alice
         show body asks
         alice INVITE sip:100@pbx.example.net nosdp
         pbx 183 body=offer + RSeq: 1 + Require: 100rel
         alice PRACK body=answer
         pbx 200 PRACK
         pbx 183 nosdp + RSeq: 2 + Require: 100rel
         alice PRACK body=offer"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 183 INVITE [body offer]
            30ms proxy asks media ToCaller Offer [offer]
            30ms proxy → alice 183 INVITE [body offer]
            40ms alice → proxy PRACK sip:100@203.0.113.10:5060 [body answer]
            50ms proxy asks media ToCallee Answer [answer]
            50ms proxy → pbx PRACK sip:100@203.0.113.10:5060 [body answer]
            60ms pbx → proxy 200 PRACK
            70ms proxy → alice 200 PRACK
            80ms pbx → proxy 183 INVITE
            90ms proxy → alice 183 INVITE
            100ms alice → proxy PRACK sip:100@203.0.113.10:5060 [body offer]
            110ms proxy asks media ToCallee Offer [offer]
            110ms proxy → pbx PRACK sip:100@203.0.113.10:5060 [body offer]
        "#]],
    );
}

#[test]
fn media_replaces_a_body() {
    check(
        r#"show body
         media replace relayed
         registered alice bob
         alice INVITE bob
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com [body offer of alice]
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws [body relayed]
            20ms bob → proxy 200 INVITE [body answer of bob]
            30ms proxy → alice 200 INVITE [body relayed]
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

/// RFC 3261 §11: asked for no user, the proxy answers by itself.
#[test]
fn an_options_for_the_proxy_itself() {
    check(
        r#"registered alice
         alice OPTIONS sip:example.com
         pbx OPTIONS sip:198.51.100.1:5060"#,
        expect![[r#"
            0ms alice → proxy OPTIONS sip:example.com
            10ms proxy → alice 200 OPTIONS
            20ms pbx → proxy OPTIONS sip:198.51.100.1:5060
            30ms proxy → pbx 200 OPTIONS
        "#]],
    );
}
