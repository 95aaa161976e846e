//! Datagrams and connections: oversize, unreachable next hops, malformed messages.

use expect_test::expect;
use hookswitch_simulator::{check, check_with};

#[test]
fn malformed_requests_are_answered() {
    check(
        r#"show reason
         registered alice
         alice raw INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-raw1\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: raw\r\nCSeq: 1 OPTIONS\r\n\r\n
         alice raw INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-raw2\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCSeq: 1 INVITE\r\n\r\n
         alice raw INVITE sip:bob@example.com SIP/7.0\r\nVia: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-raw3\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: raw\r\nCSeq: 1 INVITE\r\n\r\n
         alice raw nonsense"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → alice 400 OPTIONS (CSeq method does not match)
            20ms alice → proxy INVITE sip:bob@example.com
            30ms proxy drops: unanswerable
            30ms alice → proxy "INVITE sip:bob@example.com SIP/7.0\r\nVia: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-raw3\r\nFrom: <sip:alice@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: raw\r\nCSeq: 1 INVITE\r\n\r\n"
            40ms proxy → alice 505 INVITE (SIP version not supported)
            50ms alice → proxy "nonsense"
            60ms proxy drops: unanswerable
        "#]],
    );
}

#[test]
fn contradicting_content_lengths_are_refused() {
    check(
        r#"registered alice bob
         alice MESSAGE bob body=hi + Content-Length: 2 + Content-Length: 3"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → alice 400 MESSAGE
        "#]],
    );
}

/// 513 by configuration.
#[test]
fn oversize_is_refused_where_configured() {
    check_with(
        |config| config.upstreams[0].oversize = hookswitch_sip::proxy::config::Oversize::Refuse,
        r#"registered alice
         alice MESSAGE sip:100@pbx.example.net + X-Large: LARGE"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@pbx.example.net
            10ms proxy → alice 513 MESSAGE
        "#]],
    );
}

/// RFC 3261 §18.1.1; nobody listens on TCP.
#[test]
fn oversize_tries_tcp_then_udp() {
    check_with(
        |config| config.upstreams[0].oversize = hookswitch_sip::proxy::config::Oversize::TcpThenUdp,
        r#"registered alice
         alice MESSAGE sip:100@pbx.example.net + X-Large: LARGE
         pbx 200"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@pbx.example.net
            10ms proxy → nobody MESSAGE sip:100@pbx.example.net
            10ms proxy → pbx MESSAGE sip:100@pbx.example.net
            20ms pbx → proxy 200 MESSAGE
            30ms proxy → alice 200 MESSAGE
        "#]],
    );
}

/// RFC 3261 §26.2.2: the PBX is reached over UDP.
#[test]
fn sips_is_not_sent_in_the_clear() {
    check(
        r#"show ended
         registered alice
         alice INVITE sips:100@pbx.example.net"#,
        expect![[r#"
            0ms alice → proxy INVITE sips:100@pbx.example.net
            10ms proxy → alice 480 INVITE
            10ms ended INVITE 480 Unreachable
            20ms alice → proxy ACK sips:100@pbx.example.net
        "#]],
    );
}

/// RFC 3263 §4.3: tried after the other one for half a minute.
#[test]
fn a_member_that_does_not_answer_is_passed_over_for_a_while() {
    check_with(
        |config| {
            let other = config.upstreams[1].members[0];
            config.upstreams[0].members.push(other);
            config.timers.first_response = Some(std::time::Duration::from_secs(2));
        },
        r#"registered alice
         alice MESSAGE sip:100@pbx.example.net
         advance 3s
         pbx 200
         alice MESSAGE sip:101@pbx.example.net
         pbx 200
         alice MESSAGE sip:102@pbx.example.net
         pbx 200
         alice MESSAGE sip:103@pbx.example.net
         pbx 200"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@pbx.example.net
            10ms proxy → carrier MESSAGE sip:100@pbx.example.net
            510ms proxy → carrier MESSAGE sip:100@pbx.example.net
            1510ms proxy → carrier MESSAGE sip:100@pbx.example.net
            2010ms proxy → pbx MESSAGE sip:100@pbx.example.net
            2510ms proxy → pbx MESSAGE sip:100@pbx.example.net
            3020ms pbx → proxy 200 MESSAGE
            3030ms proxy → alice 200 MESSAGE
            3040ms alice → proxy MESSAGE sip:101@pbx.example.net
            3050ms proxy → pbx MESSAGE sip:101@pbx.example.net
            3060ms pbx → proxy 200 MESSAGE
            3070ms proxy → alice 200 MESSAGE
            3080ms alice → proxy MESSAGE sip:102@pbx.example.net
            3090ms proxy → pbx MESSAGE sip:102@pbx.example.net
            3100ms pbx → proxy 200 MESSAGE
            3110ms proxy → alice 200 MESSAGE
            3120ms alice → proxy MESSAGE sip:103@pbx.example.net
            3130ms proxy → pbx MESSAGE sip:103@pbx.example.net
            3140ms pbx → proxy 200 MESSAGE
            3150ms proxy → alice 200 MESSAGE
        "#]],
    );
}

#[test]
fn oversize_is_left_to_ip_by_default() {
    check(
        r#"registered alice
         alice MESSAGE sip:100@pbx.example.net + X-Large: LARGE
         pbx 200"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@pbx.example.net
            10ms proxy → pbx MESSAGE sip:100@pbx.example.net
            20ms pbx → proxy 200 MESSAGE
            30ms proxy → alice 200 MESSAGE
        "#]],
    );
}

/// The branch fails at once.
#[test]
fn the_callees_connection_breaks_while_it_rings() {
    check(
        r#"show ended
         registered alice bob
         alice INVITE bob
         bob 180
         close bob"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob is gone
            40ms proxy → alice 480 INVITE
            40ms ended INVITE 480 Unreachable
            50ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn one_forks_connection_breaks() {
    check(
        r#"registered alice bob bob2
         alice INVITE bob
         bob 180
         bob2 180
         close bob
         bob2 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob2 → proxy 180 INVITE
            50ms proxy → alice 180 INVITE
            60ms bob is gone
            60ms bob2 → proxy 200 INVITE
            70ms proxy → alice 200 INVITE
            80ms alice → proxy ACK sip:bob@bob2.invalid;transport=ws
            90ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
        "#]],
    );
}

#[test]
fn a_stray_response() {
    check(
        r#"registered alice
         pbx raw SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKnothing\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n
         pbx raw SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 203.0.113.200:5060;branch=z9hG4bKnothing\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"#,
        expect![[r#"
            0ms pbx → proxy 200 INVITE
            10ms proxy drops: foreign Via
            10ms pbx → proxy 200 INVITE
            20ms proxy drops: foreign Via
        "#]],
    );
}

/// The branch is ours, the transaction is over.
#[test]
fn a_response_long_after_the_last_one() {
    check(
        r#"registered alice
         alice MESSAGE sip:100@pbx.example.net
         pbx 200
         advance 40s
         pbx 200 #1"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@pbx.example.net
            10ms proxy → pbx MESSAGE sip:100@pbx.example.net
            20ms pbx → proxy 200 MESSAGE
            30ms proxy → alice 200 MESSAGE
            40040ms pbx → proxy 200 MESSAGE
            40050ms proxy drops: stray response
        "#]],
    );
}

/// The same branch: a retransmission, not a second call.
#[test]
fn an_invite_twice_in_one_instant() {
    check(
        r#"registered bob
         pbx INVITE bob & pbx resend INVITE
         bob 180
         bob 200
         pbx ACK"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → pbx 180 INVITE
            40ms bob → proxy 200 INVITE
            50ms proxy → pbx 200 INVITE
            60ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

/// §8.2.2.2 is for servers: a proxy forwards both.
#[test]
fn the_same_request_by_two_ways() {
    check(
        r#"registered bob
         pbx MESSAGE bob & pbx merges MESSAGE
         bob 200"#,
        expect![[r#"
            0ms pbx → proxy MESSAGE sip:bob@example.com
            0ms pbx → proxy MESSAGE sip:bob@example.com
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 MESSAGE
            30ms proxy → pbx 200 MESSAGE
        "#]],
    );
}
