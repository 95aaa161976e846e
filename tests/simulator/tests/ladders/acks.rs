//! ACK for failures and for 2xx: RFC 3261 §13.2.2.4, §16.11, §17.1.1.3.

use expect_test::expect;
use hookswitch_simulator::check;

#[test]
fn for_a_failure_stays_on_its_hop() {
    check(
        r#"show Via
         registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 486"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6]
            10ms proxy → pbx INVITE sip:100@pbx.example.net [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b1;rport, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            20ms pbx → proxy 486 INVITE [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b1;rport, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            30ms proxy → pbx ACK sip:100@pbx.example.net [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b1;rport]
            30ms proxy → alice 486 INVITE [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            40ms alice → proxy ACK sip:100@pbx.example.net [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6]
        "#]],
    );
}

#[test]
fn for_a_failure_lost_over_udp() {
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

/// Timer G.
#[test]
fn a_failure_lost_on_the_way_to_a_pbx_is_sent_again() {
    check(
        r#"registered bob
         pbx INVITE bob
         lose proxy pbx 2
         bob 486
         advance 2s"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy → pbx 486 INVITE (lost)
            500ms pbx → proxy INVITE sip:bob@example.com
            510ms proxy → pbx 486 INVITE (lost)
            530ms proxy → pbx 486 INVITE
            540ms pbx → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// Timer H.
#[test]
fn nobody_acknowledges_a_failure() {
    check(
        r#"registered bob
         pbx INVITE bob
         lose pbx proxy 99
         bob 486
         advance 40s
         gauges"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy → pbx 486 INVITE
            40ms pbx → proxy ACK sip:bob@example.com (lost)
            530ms proxy → pbx 486 INVITE
            540ms pbx → proxy ACK sip:bob@example.com (lost)
            1530ms proxy → pbx 486 INVITE
            1540ms pbx → proxy ACK sip:bob@example.com (lost)
            3530ms proxy → pbx 486 INVITE
            3540ms pbx → proxy ACK sip:bob@example.com (lost)
            7530ms proxy → pbx 486 INVITE
            7540ms pbx → proxy ACK sip:bob@example.com (lost)
            11530ms proxy → pbx 486 INVITE
            11540ms pbx → proxy ACK sip:bob@example.com (lost)
            15530ms proxy → pbx 486 INVITE
            15540ms pbx → proxy ACK sip:bob@example.com (lost)
            19530ms proxy → pbx 486 INVITE
            19540ms pbx → proxy ACK sip:bob@example.com (lost)
            23530ms proxy → pbx 486 INVITE
            23540ms pbx → proxy ACK sip:bob@example.com (lost)
            27530ms proxy → pbx 486 INVITE
            27540ms pbx → proxy ACK sip:bob@example.com (lost)
            31530ms proxy → pbx 486 INVITE
            31540ms pbx → proxy ACK sip:bob@example.com (lost)
            40040ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn for_a_2xx_goes_by_the_token() {
    check(
        r#"show Route Via
         registered alice bob
         alice INVITE bob
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6]
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b1, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            20ms bob → proxy 200 INVITE [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b1, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            30ms proxy → alice 200 INVITE [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws [Route: <sip:T1@198.51.100.1:443;transport=ws;lr>] [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice7]
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b2, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice7]
        "#]],
    );
}

/// Dropped, never answered.
#[test]
fn for_nothing() {
    check(
        r#"show ended
         mallory ACK sip:bob@example.com"#,
        expect![[r#"
            0ms mallory → proxy ACK sip:bob@example.com
            10ms proxy drops: stray ACK
        "#]],
    );
}

#[test]
fn with_a_to_tag_and_no_token() {
    check(
        r#"registered bob
         mallory ACK sip:bob@example.com + To: <sip:bob@example.com>;tag=x"#,
        expect![[r#"
            0ms mallory → proxy ACK sip:bob@example.com
            10ms proxy drops: stray ACK
        "#]],
    );
}

#[test]
fn never_waits_for_a_policy() {
    check(
        r#"registered alice bob
         alice INVITE bob
         bob 200
         policy request hold
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

#[test]
fn waits_for_media_if_it_answers() {
    check(
        r#"registered bob
         pbx INVITE bob nosdp
         bob 200 body=offer
         media hold
         show body asks
         pbx ACK body=answer
         advance 100ms
         release"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → pbx 200 INVITE
            40ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws [body answer]
            50ms proxy asks the store for a session
            50ms proxy asks media ToCallee Answer [answer]
            150ms proxy → bob ACK sip:bob@bob.invalid;transport=ws [body answer]
        "#]],
    );
}

#[test]
fn overtakes_nothing_a_bye_comes_after_it() {
    check(
        r#"registered bob
         pbx INVITE bob nosdp
         bob 200 body=offer
         media hold
         pbx ACK body=answer & pbx BYE
         advance 100ms
         release"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → pbx 200 INVITE
            40ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            40ms pbx → proxy BYE sip:bob@bob.invalid;transport=ws
            150ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            150ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            160ms bob → proxy 200 BYE
            170ms proxy → pbx 200 BYE
        "#]],
    );
}
