//! Max-Forwards, loops, Route of every kind, received and rport.

use expect_test::expect;
use hookswitch_simulator::{check, check_with};
use hookswitch_sip::flow::UpstreamId;

#[test]
fn max_forwards_0() {
    check(
        r#"registered alice bob
         alice INVITE bob + Max-Forwards: 0"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → alice 483 INVITE
            20ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// §11: it may be answered as if it were for the proxy.
#[test]
fn max_forwards_0_of_an_options_is_answered_for_us() {
    check(
        r#"registered alice bob
         alice OPTIONS bob + Max-Forwards: 0"#,
        expect![[r#"
            0ms alice → proxy OPTIONS sip:bob@example.com
            10ms proxy → alice 200 OPTIONS
        "#]],
    );
}

#[test]
fn max_forwards_is_added_or_lowered() {
    check(
        r#"show Max-Forwards
         registered alice bob
         alice MESSAGE bob - Max-Forwards
         bob 200
         alice MESSAGE bob + Max-Forwards: 5
         bob 200"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws [Max-Forwards: 70]
            20ms bob → proxy 200 MESSAGE
            30ms proxy → alice 200 MESSAGE
            40ms alice → proxy MESSAGE sip:bob@example.com [Max-Forwards: 5]
            50ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws [Max-Forwards: 4]
            60ms bob → proxy 200 MESSAGE
            70ms proxy → alice 200 MESSAGE
        "#]],
    );
}

/// §16.3 step 4: with the same Request-URI it is a spiral the first time, since it comes from another side, and a loop the second.
#[test]
fn a_loop() {
    check(
        r#"registered alice
         policy request target upstream carrier 0
         alice MESSAGE sip:x@elsewhere.example
         carrier relays sip:x@elsewhere.example
         carrier relays sip:x@elsewhere.example"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:x@elsewhere.example
            10ms proxy asks on-request MESSAGE
            10ms proxy → carrier MESSAGE sip:x@elsewhere.example
            20ms carrier → proxy MESSAGE sip:x@elsewhere.example
            30ms proxy asks on-request MESSAGE
            30ms proxy → carrier MESSAGE sip:x@elsewhere.example
            40ms carrier → proxy MESSAGE sip:x@elsewhere.example
            50ms proxy → carrier 482 MESSAGE
            60ms carrier → proxy 482 MESSAGE
            70ms proxy → carrier 482 MESSAGE
            80ms carrier → proxy 482 MESSAGE
            90ms proxy → alice 482 MESSAGE
        "#]],
    );
}

#[test]
fn a_proxy_require_that_nobody_knows() {
    check(
        r#"show Unsupported
         registered alice bob
         alice INVITE bob + Proxy-Require: magic"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → alice 420 INVITE [Unsupported: magic]
            20ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn an_unknown_scheme() {
    check(
        r#"registered alice
         alice INVITE http://example.com/"#,
        expect![[r#"
            0ms alice → proxy INVITE http://example.com/
            10ms proxy → alice 416 INVITE
            20ms alice → proxy ACK http://example.com/
        "#]],
    );
}

#[test]
fn a_preloaded_route_to_us_is_popped() {
    check(
        r#"show Route
         registered alice bob
         alice INVITE bob + Route: <sip:198.51.100.1:443;transport=ws;lr>
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com [Route: <sip:198.51.100.1:443;transport=ws;lr>]
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:bob@bob.invalid;transport=ws [Route: <sip:T1@198.51.100.1:443;transport=ws;lr>]
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

/// We are nobody's open relay.
#[test]
fn a_preloaded_route_of_a_stranger_is_not_followed() {
    check(
        r#"registered alice bob
         alice INVITE sip:bob@example.com + Route: <sip:203.0.113.99;lr>
         mallory INVITE sip:bob@example.com + Route: <sip:203.0.113.99;lr>"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → alice 403 INVITE
            20ms alice → proxy ACK sip:bob@example.com
            30ms mallory → proxy INVITE sip:bob@example.com
            40ms proxy → mallory 403 INVITE
            50ms mallory → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// 403: forged, before any hook.
#[test]
fn a_token_in_a_preloaded_route_without_a_dialog() {
    check(
        r#"registered alice bob
         alice MESSAGE bob + Route: <sip:AQEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA@198.51.100.1:443;transport=ws;lr>"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → alice 403 MESSAGE
        "#]],
    );
}

/// RFC 3581: the response goes back to where the request came from.
#[test]
fn received_and_rport() {
    check(
        r#"show Via
         registered bob
         nat MESSAGE bob
         bob 200"#,
        expect![[r#"
            0ms nat → proxy MESSAGE sip:bob@example.com [Via: SIP/2.0/UDP 10.0.0.7:5060;rport;branch=z9hG4bK-nat3]
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b1, SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK-nat3;received=192.0.2.77;rport=61000]
            20ms bob → proxy 200 MESSAGE [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b1, SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK-nat3;received=192.0.2.77;rport=61000]
            30ms proxy → nat 200 MESSAGE [Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK-nat3;received=192.0.2.77;rport=61000]
        "#]],
    );
}

#[test]
fn a_sent_by_without_rport() {
    check(
        r#"show Via
         registered bob
         nat MESSAGE bob + Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK-nat9
         bob 200"#,
        expect![[r#"
            0ms nat → proxy MESSAGE sip:bob@example.com [Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK-nat9]
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b1, SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK-nat9;received=192.0.2.77]
            20ms bob → proxy 200 MESSAGE [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b1, SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK-nat9;received=192.0.2.77]
            30ms proxy → 192.0.2.77:5060 200 MESSAGE [Via: SIP/2.0/UDP 10.0.0.7:5060;branch=z9hG4bK-nat9;received=192.0.2.77]
        "#]],
    );
}

/// §16.4.
#[test]
fn a_strict_router_puts_us_into_the_request_uri() {
    check(
        r#"registered bob
         pbx INVITE bob
         bob 200
         pbx ACK
         show Route
         pbx BYE strict"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → pbx 200 INVITE
            40ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            60ms pbx → proxy BYE sip:T1@198.51.100.1:5060;lr [Route: <sip:T1@198.51.100.1:443;transport=ws;lr>, <sip:bob@bob.invalid;transport=ws>]
            70ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            80ms bob → proxy 200 BYE
            90ms proxy → pbx 200 BYE
        "#]],
    );
}

/// §16.6 step 6: the next Route without lr becomes the Request-URI.
#[test]
fn a_strict_router_behind_us() {
    check(
        r#"show Route
         registered alice
         pbx INVITE alice + Record-Route: <sip:203.0.113.20:5060>
         alice 200
         alice BYE"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:alice@example.com
            10ms proxy → alice INVITE sip:alice@alice.invalid;transport=ws
            20ms alice → proxy 200 INVITE
            30ms proxy → pbx 200 INVITE
            40ms alice → proxy BYE sip:100@203.0.113.10:5060 [Route: <sip:T1@198.51.100.1:443;transport=ws;lr>, <sip:T1@198.51.100.1:5060;lr>, <sip:203.0.113.20:5060>]
            50ms proxy → pbx BYE sip:203.0.113.20:5060 [Route: <sip:100@203.0.113.10:5060>]
            60ms pbx → proxy 200 BYE
            70ms proxy → alice 200 BYE
        "#]],
    );
}

#[test]
fn a_loose_router_behind_us() {
    check(
        r#"show Route
         registered alice
         pbx INVITE alice + Record-Route: <sip:203.0.113.10:5060;lr>
         alice 200
         alice BYE"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:alice@example.com
            10ms proxy → alice INVITE sip:alice@alice.invalid;transport=ws
            20ms alice → proxy 200 INVITE
            30ms proxy → pbx 200 INVITE
            40ms alice → proxy BYE sip:100@203.0.113.10:5060 [Route: <sip:T1@198.51.100.1:443;transport=ws;lr>, <sip:T1@198.51.100.1:5060;lr>, <sip:203.0.113.10:5060;lr>]
            50ms proxy → pbx BYE sip:100@203.0.113.10:5060 [Route: <sip:203.0.113.10:5060;lr>]
            60ms pbx → proxy 200 BYE
            70ms proxy → alice 200 BYE
        "#]],
    );
}

#[test]
fn a_tel_uri_goes_upstream() {
    check(
        r#"registered alice
         alice INVITE tel:+4930123456
         pbx 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE tel:+4930123456
            10ms proxy → pbx INVITE tel:+4930123456
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
        "#]],
    );
}

#[test]
fn a_urn_goes_upstream() {
    check(
        r#"registered alice
         alice INVITE urn:service:sos
         pbx 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE urn:service:sos
            10ms proxy → pbx INVITE urn:service:sos
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
        "#]],
    );
}

#[test]
fn what_is_not_understood_passes_untouched() {
    check(
        r#"show X-Odd Date
         registered alice bob
         alice MESSAGE bob + X-Odd: "a,b" ; c + Date: whenever
         bob 200 + X-Odd: yes"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@example.com [X-Odd: "a,b" ; c] [Date: whenever]
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws [X-Odd: "a,b" ; c] [Date: whenever]
            20ms bob → proxy 200 MESSAGE [X-Odd: yes]
            30ms proxy → alice 200 MESSAGE [X-Odd: yes]
        "#]],
    );
}

#[test]
fn a_user_may_be_at_an_upstream_until_somebody_registers() {
    check_with(
        |config| config.users = vec![("bob".to_owned(), UpstreamId(1))],
        r#"registered alice
         alice MESSAGE bob
         carrier 200
         alice MESSAGE sip:bob@elsewhere.example
         pbx 200
         mallory MESSAGE bob
         bob REGISTER
         alice MESSAGE bob
         bob 200"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → carrier MESSAGE sip:bob@example.com
            20ms carrier → proxy 200 MESSAGE
            30ms proxy → alice 200 MESSAGE
            40ms alice → proxy MESSAGE sip:bob@elsewhere.example
            50ms proxy → pbx MESSAGE sip:bob@elsewhere.example
            60ms pbx → proxy 200 MESSAGE
            70ms proxy → alice 200 MESSAGE
            80ms mallory → proxy MESSAGE sip:bob@example.com
            90ms proxy → mallory 403 MESSAGE
            100ms bob → proxy REGISTER sip:example.com
            110ms proxy → bob 200 REGISTER
            120ms alice → proxy MESSAGE sip:bob@example.com
            130ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            140ms bob → proxy 200 MESSAGE
            150ms proxy → alice 200 MESSAGE
        "#]],
    );
}
