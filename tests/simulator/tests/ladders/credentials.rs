//! An upstream asks who we are: the proxy answers, and the browser hears nothing of it.

use expect_test::expect;
use hookswitch_simulator::{check_with, login::login};
use hookswitch_sip::{flow::UpstreamId, proxy::ProxyConfig};

/// The PBX has credentials of ours.
fn known(config: &mut ProxyConfig) {
    config.upstreams[0].login = Some(login());
}

fn two_members(config: &mut ProxyConfig) {
    known(config);
    let other = config.upstreams[1].members[0];
    config.upstreams[0].members.push(other);
}

#[test]
fn a_call_is_made_through_an_upstream_that_asks() {
    check_with(
        known,
        r#"show Proxy-Authorization CSeq
         registered alice
         alice INVITE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         pbx 180
         pbx 200
         alice ACK
         alice INVITE
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="b", stale=true
         pbx 200
         alice ACK
         pbx challenges BYE
         alice BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com [CSeq: 1 INVITE]
            10ms proxy → pbx INVITE sip:100@example.com [CSeq: 1 INVITE]
            20ms pbx → proxy 407 INVITE [CSeq: 1 INVITE]
            30ms proxy → pbx ACK sip:100@example.com [CSeq: 1 ACK]
            30ms proxy is challenged: answered
            30ms proxy → pbx INVITE sip:100@example.com [Proxy-Authorization: Digest a 1 INVITE sip:100@example.com] [CSeq: 2 INVITE]
            40ms pbx → proxy 180 INVITE [CSeq: 2 INVITE]
            50ms proxy → alice 180 INVITE [CSeq: 1 INVITE]
            60ms pbx → proxy 200 INVITE [CSeq: 2 INVITE]
            70ms proxy → alice 200 INVITE [CSeq: 1 INVITE]
            80ms alice → proxy ACK sip:100@203.0.113.10:5060 [CSeq: 1 ACK]
            90ms proxy → pbx ACK sip:100@203.0.113.10:5060 [Proxy-Authorization: Digest a 1 INVITE sip:100@example.com] [CSeq: 2 ACK]
            100ms alice → proxy INVITE sip:100@203.0.113.10:5060 [CSeq: 2 INVITE]
            110ms proxy → pbx INVITE sip:100@203.0.113.10:5060 [Proxy-Authorization: Digest a 2 INVITE sip:100@203.0.113.10:5060] [CSeq: 3 INVITE]
            120ms pbx → proxy 407 INVITE [CSeq: 3 INVITE]
            130ms proxy → pbx ACK sip:100@203.0.113.10:5060 [CSeq: 3 ACK]
            130ms proxy is challenged: answered
            130ms proxy → pbx INVITE sip:100@203.0.113.10:5060 [Proxy-Authorization: Digest b 1 INVITE sip:100@203.0.113.10:5060] [CSeq: 4 INVITE]
            140ms pbx → proxy 200 INVITE [CSeq: 4 INVITE]
            150ms proxy → alice 200 INVITE [CSeq: 2 INVITE]
            160ms alice → proxy ACK sip:100@203.0.113.10:5060 [CSeq: 2 ACK]
            170ms proxy → pbx ACK sip:100@203.0.113.10:5060 [Proxy-Authorization: Digest b 1 INVITE sip:100@203.0.113.10:5060] [CSeq: 4 ACK]
            180ms alice → proxy BYE sip:100@203.0.113.10:5060 [CSeq: 3 BYE]
            190ms proxy → pbx BYE sip:100@203.0.113.10:5060 [Proxy-Authorization: Digest b 2 BYE sip:100@203.0.113.10:5060] [CSeq: 5 BYE]
            200ms pbx → proxy 407 BYE [CSeq: 5 BYE]
            210ms proxy is challenged: answered
            210ms proxy → pbx BYE sip:100@203.0.113.10:5060 [Proxy-Authorization: Digest bye 1 BYE sip:100@203.0.113.10:5060] [CSeq: 6 BYE]
            220ms pbx → proxy 200 BYE [CSeq: 6 BYE]
            230ms proxy → alice 200 BYE [CSeq: 3 BYE]
        "#]],
    );
}

#[test]
fn each_of_two_askers_gets_its_own_answer() {
    check_with(
        known,
        r#"show Proxy-Authorization Authorization
         registered alice
         alice MESSAGE 100 + Authorization: Digest of alice's
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="proxy"
         pbx 401 + WWW-Authenticate: Digest realm="pbx", nonce="server"
         pbx 200"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@example.com [Authorization: Digest of alice's]
            10ms proxy → pbx MESSAGE sip:100@example.com [Authorization: Digest of alice's]
            20ms pbx → proxy 407 MESSAGE
            30ms proxy is challenged: answered
            30ms proxy → pbx MESSAGE sip:100@example.com [Proxy-Authorization: Digest proxy 1 MESSAGE sip:100@example.com] [Authorization: Digest of alice's]
            40ms pbx → proxy 401 MESSAGE
            50ms proxy is challenged: answered
            50ms proxy → pbx MESSAGE sip:100@example.com [Proxy-Authorization: Digest proxy 2 MESSAGE sip:100@example.com] [Authorization: Digest server 1 MESSAGE sip:100@example.com, Digest of alice's]
            60ms pbx → proxy 200 MESSAGE
            70ms proxy → alice 200 MESSAGE
        "#]],
    );
}

/// RFC 3261 §22.3: each proxy on the way may ask, and takes out what is for its own realm.
#[test]
fn each_of_two_proxies_gets_its_own_answer() {
    check_with(
        known,
        r#"show Proxy-Authorization
         registered alice
         alice MESSAGE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="near"
         pbx 407 + Proxy-Authenticate: Digest realm="pbx-far", nonce="far"
         pbx 200
         alice MESSAGE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="new"
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="newer""#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@example.com
            10ms proxy → pbx MESSAGE sip:100@example.com
            20ms pbx → proxy 407 MESSAGE
            30ms proxy is challenged: answered
            30ms proxy → pbx MESSAGE sip:100@example.com [Proxy-Authorization: Digest near 1 MESSAGE sip:100@example.com]
            40ms pbx → proxy 407 MESSAGE
            50ms proxy is challenged: answered
            50ms proxy → pbx MESSAGE sip:100@example.com [Proxy-Authorization: Digest far 1 MESSAGE sip:100@example.com, Digest near 2 MESSAGE sip:100@example.com]
            60ms pbx → proxy 200 MESSAGE
            70ms proxy → alice 200 MESSAGE
            80ms alice → proxy MESSAGE sip:100@example.com
            90ms proxy → pbx MESSAGE sip:100@example.com [Proxy-Authorization: Digest far 2 MESSAGE sip:100@example.com, Digest near 3 MESSAGE sip:100@example.com]
            100ms pbx → proxy 407 MESSAGE
            110ms proxy is challenged: answered
            110ms proxy → pbx MESSAGE sip:100@example.com [Proxy-Authorization: Digest new 1 MESSAGE sip:100@example.com, Digest far 3 MESSAGE sip:100@example.com]
            120ms pbx → proxy 407 MESSAGE
            130ms proxy is challenged: refused
            130ms proxy → alice 500 MESSAGE
        "#]],
    );
}

#[test]
fn a_wrong_password_is_no_business_of_the_browsers() {
    check_with(
        known,
        r#"show reason Proxy-Authorization Proxy-Authenticate ended
         registered alice
         alice INVITE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="b"
         alice MESSAGE 100
         pbx 200"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy → pbx INVITE sip:100@example.com
            20ms pbx → proxy 407 INVITE (Proxy Authentication Required) [Proxy-Authenticate: Digest realm="pbx", nonce="a"]
            30ms proxy → pbx ACK sip:100@example.com
            30ms proxy is challenged: answered
            30ms proxy → pbx INVITE sip:100@example.com [Proxy-Authorization: Digest a 1 INVITE sip:100@example.com]
            40ms pbx → proxy 407 INVITE (Proxy Authentication Required) [Proxy-Authenticate: Digest realm="pbx", nonce="b"]
            50ms proxy → pbx ACK sip:100@example.com
            50ms proxy is challenged: refused
            50ms proxy → alice 500 INVITE (Upstream Refused Our Credentials)
            50ms ended INVITE 500 Credentials
            60ms alice → proxy ACK sip:100@example.com
            70ms alice → proxy MESSAGE sip:100@example.com
            80ms proxy → pbx MESSAGE sip:100@example.com
            90ms pbx → proxy 200 MESSAGE (OK)
            100ms proxy → alice 200 MESSAGE (OK)
            100ms ended MESSAGE 200 Forwarded
        "#]],
    );
}

#[test]
fn nonces_that_are_over_again_and_again_end_it() {
    check_with(
        known,
        r#"registered alice
         alice MESSAGE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a", stale=true
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="b", stale=true
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="c", stale=true
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="d", stale=true"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@example.com
            10ms proxy → pbx MESSAGE sip:100@example.com
            20ms pbx → proxy 407 MESSAGE
            30ms proxy is challenged: answered
            30ms proxy → pbx MESSAGE sip:100@example.com
            40ms pbx → proxy 407 MESSAGE
            50ms proxy is challenged: answered
            50ms proxy → pbx MESSAGE sip:100@example.com
            60ms pbx → proxy 407 MESSAGE
            70ms proxy is challenged: answered
            70ms proxy → pbx MESSAGE sip:100@example.com
            80ms pbx → proxy 407 MESSAGE
            90ms proxy is challenged: refused
            90ms proxy → alice 500 MESSAGE
        "#]],
    );
}

#[test]
fn what_nobody_can_answer_stays_here_and_another_realm_is_the_browsers() {
    check_with(
        known,
        r#"show Proxy-Authenticate
         registered alice
         alice MESSAGE 100
         pbx 407 + Proxy-Authenticate: Basic realm="pbx"
         alice MESSAGE 100
         pbx 407 + Proxy-Authenticate: Digest realm="alices", nonce="a""#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@example.com
            10ms proxy → pbx MESSAGE sip:100@example.com
            20ms pbx → proxy 407 MESSAGE [Proxy-Authenticate: Basic realm="pbx"]
            30ms proxy is challenged: unknown
            30ms proxy → alice 500 MESSAGE
            40ms alice → proxy MESSAGE sip:100@example.com
            50ms proxy → pbx MESSAGE sip:100@example.com
            60ms pbx → proxy 407 MESSAGE [Proxy-Authenticate: Digest realm="alices", nonce="a"]
            70ms proxy → alice 407 MESSAGE [Proxy-Authenticate: Digest realm="alices", nonce="a"]
        "#]],
    );
}

#[test]
fn policies_and_media_are_asked_once() {
    check_with(
        known,
        r#"registered alice
         policy branch pass
         policy response pass
         show asks
         alice INVITE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         pbx 486"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy asks the store for sip:100@example.com
            10ms proxy asks on-branch INVITE target 0 stage 0
            10ms proxy asks media ToCallee Offer [offer of alice]
            10ms proxy → pbx INVITE sip:100@example.com
            20ms pbx → proxy 407 INVITE
            30ms proxy → pbx ACK sip:100@example.com
            30ms proxy is challenged: answered
            30ms proxy → pbx INVITE sip:100@example.com
            40ms pbx → proxy 486 INVITE
            50ms proxy → pbx ACK sip:100@example.com
            50ms proxy asks on-response 486 INVITE
            50ms proxy → alice 486 INVITE
            60ms alice → proxy ACK sip:100@example.com
        "#]],
    );
}

/// RFC 3261 §9.1: a CANCEL waits for a provisional response; there is nothing to send again once it came.
#[test]
fn a_call_that_is_taken_back_is_not_made_again() {
    check_with(
        known,
        r#"registered alice
         alice INVITE 100
         alice CANCEL
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a""#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy → pbx INVITE sip:100@example.com
            20ms alice → proxy CANCEL sip:100@example.com
            30ms proxy → alice 200 CANCEL
            40ms pbx → proxy 407 INVITE
            50ms proxy → pbx ACK sip:100@example.com
            50ms proxy → alice 487 INVITE
            60ms alice → proxy ACK sip:100@example.com
        "#]],
    );
}

#[test]
fn a_cancel_after_the_answer_finds_the_new_branch() {
    check_with(
        known,
        r#"show Via
         registered alice
         alice INVITE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         alice CANCEL
         pbx 180"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6]
            10ms proxy → pbx INVITE sip:100@example.com [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b1;rport, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            20ms pbx → proxy 407 INVITE [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b1;rport, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            30ms proxy → pbx ACK sip:100@example.com [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b1;rport]
            30ms proxy is challenged: answered
            30ms proxy → pbx INVITE sip:100@example.com [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b2;rport, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            40ms alice → proxy CANCEL sip:100@example.com [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6]
            50ms proxy → alice 200 CANCEL [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            60ms pbx → proxy 180 INVITE [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b2;rport, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            70ms proxy → pbx CANCEL sip:100@example.com [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b2;rport]
            80ms pbx → proxy 487 INVITE [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b2;rport, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            80ms pbx → proxy 200 CANCEL [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b2;rport]
            90ms proxy → pbx ACK sip:100@example.com [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b2;rport]
            90ms proxy → alice 487 INVITE [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6;received=192.0.2.1]
            100ms alice → proxy ACK sip:100@example.com [Via: SIP/2.0/WSS alice.invalid;branch=z9hG4bK-alice6]
        "#]],
    );
}

#[test]
fn the_new_branch_times_out_like_any_other() {
    check_with(
        two_members,
        r#"registered alice
         alice INVITE 100
         lose proxy carrier 99
         carrier 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         advance 33s
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="b"
         pbx 486"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy → carrier INVITE sip:100@example.com
            20ms carrier → proxy 407 INVITE
            30ms proxy → carrier ACK sip:100@example.com (lost)
            30ms proxy is challenged: answered
            30ms proxy → carrier INVITE sip:100@example.com (lost)
            210ms proxy → alice 100 INVITE
            520ms carrier → proxy 407 INVITE
            530ms proxy → carrier ACK sip:100@example.com (lost)
            530ms proxy → carrier INVITE sip:100@example.com (lost)
            1520ms carrier → proxy 407 INVITE
            1530ms proxy → carrier ACK sip:100@example.com (lost)
            1530ms proxy → carrier INVITE sip:100@example.com (lost)
            3520ms carrier → proxy 407 INVITE
            3530ms proxy → carrier ACK sip:100@example.com (lost)
            3530ms proxy → carrier INVITE sip:100@example.com (lost)
            7520ms carrier → proxy 407 INVITE
            7530ms proxy → carrier ACK sip:100@example.com (lost)
            7530ms proxy → carrier INVITE sip:100@example.com (lost)
            11520ms carrier → proxy 407 INVITE
            11530ms proxy → carrier ACK sip:100@example.com (lost)
            15520ms carrier → proxy 407 INVITE
            15530ms proxy → carrier ACK sip:100@example.com (lost)
            15530ms proxy → carrier INVITE sip:100@example.com (lost)
            19520ms carrier → proxy 407 INVITE
            19530ms proxy → carrier ACK sip:100@example.com (lost)
            23520ms carrier → proxy 407 INVITE
            23530ms proxy → carrier ACK sip:100@example.com (lost)
            27520ms carrier → proxy 407 INVITE
            27530ms proxy → carrier ACK sip:100@example.com (lost)
            31520ms carrier → proxy 407 INVITE
            31530ms proxy → carrier ACK sip:100@example.com (lost)
            31530ms proxy → carrier INVITE sip:100@example.com (lost)
            32030ms proxy → pbx INVITE sip:100@example.com
            32530ms proxy → pbx INVITE sip:100@example.com
            33030ms pbx → proxy 407 INVITE
            33040ms proxy → pbx ACK sip:100@example.com
            33040ms proxy is challenged: answered
            33040ms proxy → pbx INVITE sip:100@example.com
            33050ms pbx → proxy 486 INVITE
            33060ms proxy → pbx ACK sip:100@example.com
            33060ms proxy → alice 486 INVITE
            33070ms alice → proxy ACK sip:100@example.com
        "#]],
    );
}

/// Members do not share their nonces: what one asked is no answer to another.
#[test]
fn every_member_has_its_own_nonce() {
    check_with(
        two_members,
        r#"show Proxy-Authorization
         registered alice
         alice MESSAGE 100
         carrier 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         carrier 503
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="b"
         pbx 200"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:100@example.com
            10ms proxy → carrier MESSAGE sip:100@example.com
            20ms carrier → proxy 407 MESSAGE
            30ms proxy is challenged: answered
            30ms proxy → carrier MESSAGE sip:100@example.com [Proxy-Authorization: Digest a 1 MESSAGE sip:100@example.com]
            40ms carrier → proxy 503 MESSAGE
            50ms proxy → pbx MESSAGE sip:100@example.com
            60ms pbx → proxy 407 MESSAGE
            70ms proxy is challenged: answered
            70ms proxy → pbx MESSAGE sip:100@example.com [Proxy-Authorization: Digest b 1 MESSAGE sip:100@example.com]
            80ms pbx → proxy 200 MESSAGE
            90ms proxy → alice 200 MESSAGE
        "#]],
    );
}

/// Its user has a password of its own there, and ours is none for its address.
#[test]
fn who_registers_speaks_for_itself() {
    check_with(
        |config| {
            known(config);
            config.registrar.upstream = Some(UpstreamId(0));
        },
        r#"show WWW-Authenticate Authorization
         alice REGISTER
         pbx 401 + WWW-Authenticate: Digest realm="pbx", nonce="a""#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms proxy → pbx REGISTER sip:example.com
            20ms pbx → proxy 401 REGISTER [WWW-Authenticate: Digest realm="pbx", nonce="a"]
            30ms proxy → alice 401 REGISTER [WWW-Authenticate: Digest realm="pbx", nonce="a"]
        "#]],
    );
}

/// A callee behind the same upstream that asks with the upstream's realm would otherwise choose the nonce that our password is hashed with.
#[test]
fn nobody_but_an_upstream_has_our_credentials_computed() {
    check_with(
        known,
        r#"show reason WWW-Authenticate Proxy-Authenticate ended
         registered alice
         policy request target registered sip:alice@example.com 0
         pbx INVITE sip:alice@example.com
         alice 401 + WWW-Authenticate: Digest realm="pbx", nonce="chosen"
         pbx MESSAGE sip:alice@example.com
         alice 407 + Proxy-Authenticate: Digest realm="pbx", nonce="chosen""#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:alice@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → alice INVITE sip:alice@alice.invalid;transport=ws
            20ms alice → proxy 401 INVITE (Unauthorized) [WWW-Authenticate: Digest realm="pbx", nonce="chosen"]
            30ms proxy → alice ACK sip:alice@alice.invalid;transport=ws
            30ms proxy → pbx 403 INVITE (Forbidden)
            30ms ended INVITE 403 Refused
            40ms pbx → proxy ACK sip:alice@example.com
            50ms pbx → proxy MESSAGE sip:alice@example.com
            60ms proxy asks on-request MESSAGE
            60ms proxy → alice MESSAGE sip:alice@alice.invalid;transport=ws
            70ms alice → proxy 407 MESSAGE (Proxy Authentication Required) [Proxy-Authenticate: Digest realm="pbx", nonce="chosen"]
            80ms proxy → pbx 403 MESSAGE (Forbidden)
            80ms ended MESSAGE 403 Refused
        "#]],
    );
}

/// Without credentials of ours nobody answers in the caller's place.
#[test]
fn an_upstream_without_a_login_may_be_asked_by_a_callee() {
    check_with(
        |_| {},
        r#"show WWW-Authenticate
         registered alice
         policy request target registered sip:alice@example.com 0
         pbx MESSAGE sip:alice@example.com
         alice 401 + WWW-Authenticate: Digest realm="alices", nonce="a""#,
        expect![[r#"
            0ms pbx → proxy MESSAGE sip:alice@example.com
            10ms proxy asks on-request MESSAGE
            10ms proxy → alice MESSAGE sip:alice@alice.invalid;transport=ws
            20ms alice → proxy 401 MESSAGE [WWW-Authenticate: Digest realm="alices", nonce="a"]
            30ms proxy → pbx 401 MESSAGE [WWW-Authenticate: Digest realm="alices", nonce="a"]
        "#]],
    );
}

/// An upstream that passes on our credentials tells them nobody outside; tokens and credentials of other schemes are none of ours.
#[test]
fn digests_of_an_upstream_do_not_reach_browsers() {
    check_with(
        known,
        r#"show Authorization Proxy-Authorization
         registered alice
         policy request target registered sip:alice@example.com 0
         pbx INVITE sip:alice@example.com + Authorization: Digest ours + Proxy-Authorization: digest ours
         alice 200
         pbx ACK
         pbx BYE + Authorization: Digest ours
         pbx MESSAGE sip:alice@example.com + Authorization: Other theirs
         alice 200"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:alice@example.com [Authorization: Digest ours] [Proxy-Authorization: digest ours]
            10ms proxy asks on-request INVITE
            10ms proxy → alice INVITE sip:alice@alice.invalid;transport=ws
            20ms alice → proxy 200 INVITE
            30ms proxy → pbx 200 INVITE
            40ms pbx → proxy ACK sip:alice@alice.invalid;transport=ws
            50ms proxy → alice ACK sip:alice@alice.invalid;transport=ws
            60ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws [Authorization: Digest ours]
            70ms proxy asks on-request BYE in dialog
            70ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            80ms alice → proxy 200 BYE
            90ms proxy → pbx 200 BYE
            100ms pbx → proxy MESSAGE sip:alice@example.com [Authorization: Other theirs]
            110ms proxy asks on-request MESSAGE
            110ms proxy → alice MESSAGE sip:alice@alice.invalid;transport=ws [Authorization: Other theirs]
            120ms alice → proxy 200 MESSAGE
            130ms proxy → pbx 200 MESSAGE
        "#]],
    );
}
