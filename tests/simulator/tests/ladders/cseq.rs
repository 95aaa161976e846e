//! CSeq where the proxy answers an upstream that asks who it is: there the next number, and here the client's own.

use expect_test::expect;
use hookswitch_simulator::{check_with, login::login};
use hookswitch_sip::proxy::ProxyConfig;

/// The PBX has credentials of ours.
fn known(config: &mut ProxyConfig) {
    config.upstreams[0].login = Some(login());
}

/// RFC 3262 §7.2: PRACK names its INVITE as the PBX knows it.
#[test]
fn what_follows_is_ahead_and_the_other_side_counts_for_itself() {
    check_with(
        known,
        r#"show CSeq RAck
         registered alice
         alice INVITE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         pbx 183 + Require: 100rel + RSeq: 7
         alice PRACK + RAck: 7 1 INVITE
         pbx 200 PRACK
         pbx 200 INVITE
         alice ACK
         alice INVITE
         pbx 500
         alice BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com [CSeq: 1 INVITE]
            10ms proxy → pbx INVITE sip:100@example.com [CSeq: 1 INVITE]
            20ms pbx → proxy 407 INVITE [CSeq: 1 INVITE]
            30ms proxy → pbx ACK sip:100@example.com [CSeq: 1 ACK]
            30ms proxy is challenged: answered
            30ms proxy → pbx INVITE sip:100@example.com [CSeq: 2 INVITE]
            40ms pbx → proxy 183 INVITE [CSeq: 2 INVITE]
            50ms proxy → alice 183 INVITE [CSeq: 1 INVITE]
            60ms alice → proxy PRACK sip:100@203.0.113.10:5060 [CSeq: 2 PRACK] [RAck: 7 1 INVITE]
            70ms proxy → pbx PRACK sip:100@203.0.113.10:5060 [CSeq: 3 PRACK] [RAck: 7 2 INVITE]
            80ms pbx → proxy 200 PRACK [CSeq: 3 PRACK]
            90ms proxy → alice 200 PRACK [CSeq: 2 PRACK]
            100ms pbx → proxy 200 INVITE [CSeq: 2 INVITE]
            110ms proxy → alice 200 INVITE [CSeq: 1 INVITE]
            120ms alice → proxy ACK sip:100@203.0.113.10:5060 [CSeq: 1 ACK]
            130ms proxy → pbx ACK sip:100@203.0.113.10:5060 [CSeq: 2 ACK]
            140ms alice → proxy INVITE sip:100@203.0.113.10:5060 [CSeq: 3 INVITE]
            150ms proxy → pbx INVITE sip:100@203.0.113.10:5060 [CSeq: 4 INVITE]
            160ms pbx → proxy 500 INVITE [CSeq: 4 INVITE]
            170ms proxy → pbx ACK sip:100@203.0.113.10:5060 [CSeq: 4 ACK]
            170ms proxy → alice 500 INVITE [CSeq: 3 INVITE]
            180ms alice → proxy ACK sip:100@203.0.113.10:5060 [CSeq: 3 ACK]
            190ms alice → proxy BYE sip:100@203.0.113.10:5060 [CSeq: 4 BYE]
            200ms proxy → pbx BYE sip:100@203.0.113.10:5060 [CSeq: 5 BYE]
            210ms pbx → proxy 200 BYE [CSeq: 5 BYE]
            220ms proxy → alice 200 BYE [CSeq: 4 BYE]
        "#]],
    );
}

/// Each challenge adds to it; an ACK has what its INVITE had, whatever was asked in between.
#[test]
fn a_dialog_that_is_asked_again_and_again() {
    check_with(
        known,
        r#"show CSeq
         registered alice
         alice INVITE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="b", stale=true
         pbx 200
         alice INFO
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="c", stale=true
         pbx 200 INFO
         alice ACK
         alice INVITE
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="d", stale=true
         pbx 200
         alice ACK
         alice BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com [CSeq: 1 INVITE]
            10ms proxy → pbx INVITE sip:100@example.com [CSeq: 1 INVITE]
            20ms pbx → proxy 407 INVITE [CSeq: 1 INVITE]
            30ms proxy → pbx ACK sip:100@example.com [CSeq: 1 ACK]
            30ms proxy is challenged: answered
            30ms proxy → pbx INVITE sip:100@example.com [CSeq: 2 INVITE]
            40ms pbx → proxy 407 INVITE [CSeq: 2 INVITE]
            50ms proxy → pbx ACK sip:100@example.com [CSeq: 2 ACK]
            50ms proxy is challenged: answered
            50ms proxy → pbx INVITE sip:100@example.com [CSeq: 3 INVITE]
            60ms pbx → proxy 200 INVITE [CSeq: 3 INVITE]
            70ms proxy → alice 200 INVITE [CSeq: 1 INVITE]
            80ms alice → proxy INFO sip:100@203.0.113.10:5060 [CSeq: 2 INFO]
            90ms proxy → pbx INFO sip:100@203.0.113.10:5060 [CSeq: 4 INFO]
            100ms pbx → proxy 407 INFO [CSeq: 4 INFO]
            110ms proxy is challenged: answered
            110ms proxy → pbx INFO sip:100@203.0.113.10:5060 [CSeq: 5 INFO]
            120ms pbx → proxy 200 INFO [CSeq: 5 INFO]
            130ms proxy → alice 200 INFO [CSeq: 2 INFO]
            140ms alice → proxy ACK sip:100@203.0.113.10:5060 [CSeq: 1 ACK]
            150ms proxy → pbx ACK sip:100@203.0.113.10:5060 [CSeq: 3 ACK]
            160ms alice → proxy INVITE sip:100@203.0.113.10:5060 [CSeq: 3 INVITE]
            170ms proxy → pbx INVITE sip:100@203.0.113.10:5060 [CSeq: 6 INVITE]
            180ms pbx → proxy 407 INVITE [CSeq: 6 INVITE]
            190ms proxy → pbx ACK sip:100@203.0.113.10:5060 [CSeq: 6 ACK]
            190ms proxy is challenged: answered
            190ms proxy → pbx INVITE sip:100@203.0.113.10:5060 [CSeq: 7 INVITE]
            200ms pbx → proxy 200 INVITE [CSeq: 7 INVITE]
            210ms proxy → alice 200 INVITE [CSeq: 3 INVITE]
            220ms alice → proxy ACK sip:100@203.0.113.10:5060 [CSeq: 3 ACK]
            230ms proxy → pbx ACK sip:100@203.0.113.10:5060 [CSeq: 7 ACK]
            240ms alice → proxy BYE sip:100@203.0.113.10:5060 [CSeq: 4 BYE]
            250ms proxy → pbx BYE sip:100@203.0.113.10:5060 [CSeq: 8 BYE]
            260ms pbx → proxy 200 BYE [CSeq: 8 BYE]
            270ms proxy → alice 200 BYE [CSeq: 4 BYE]
        "#]],
    );
}

#[test]
fn a_call_that_was_asked_about_is_cancelled() {
    check_with(
        known,
        r#"show CSeq
         registered alice
         alice INVITE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         pbx 180
         alice CANCEL"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com [CSeq: 1 INVITE]
            10ms proxy → pbx INVITE sip:100@example.com [CSeq: 1 INVITE]
            20ms pbx → proxy 407 INVITE [CSeq: 1 INVITE]
            30ms proxy → pbx ACK sip:100@example.com [CSeq: 1 ACK]
            30ms proxy is challenged: answered
            30ms proxy → pbx INVITE sip:100@example.com [CSeq: 2 INVITE]
            40ms pbx → proxy 180 INVITE [CSeq: 2 INVITE]
            50ms proxy → alice 180 INVITE [CSeq: 1 INVITE]
            60ms alice → proxy CANCEL sip:100@example.com [CSeq: 1 CANCEL]
            70ms proxy → alice 200 CANCEL [CSeq: 1 CANCEL]
            70ms proxy → pbx CANCEL sip:100@example.com [CSeq: 2 CANCEL]
            80ms pbx → proxy 487 INVITE [CSeq: 2 INVITE]
            80ms pbx → proxy 200 CANCEL [CSeq: 2 CANCEL]
            90ms proxy → pbx ACK sip:100@example.com [CSeq: 2 ACK]
            90ms proxy → alice 487 INVITE [CSeq: 1 INVITE]
            100ms alice → proxy ACK sip:100@example.com [CSeq: 1 ACK]
        "#]],
    );
}

/// Nothing of it is known but what the token says.
#[test]
fn a_restart_forgets_no_number() {
    check_with(
        known,
        r#"show CSeq
         registered alice
         alice INVITE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         pbx 200
         alice ACK
         restart
         reconnect alice
         alice INVITE
         pbx 200
         alice ACK
         pbx BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com [CSeq: 1 INVITE]
            10ms proxy → pbx INVITE sip:100@example.com [CSeq: 1 INVITE]
            20ms pbx → proxy 407 INVITE [CSeq: 1 INVITE]
            30ms proxy → pbx ACK sip:100@example.com [CSeq: 1 ACK]
            30ms proxy is challenged: answered
            30ms proxy → pbx INVITE sip:100@example.com [CSeq: 2 INVITE]
            40ms pbx → proxy 200 INVITE [CSeq: 2 INVITE]
            50ms proxy → alice 200 INVITE [CSeq: 1 INVITE]
            60ms alice → proxy ACK sip:100@203.0.113.10:5060 [CSeq: 1 ACK]
            70ms proxy → pbx ACK sip:100@203.0.113.10:5060 [CSeq: 2 ACK]
            80ms the proxy restarts
            100ms alice is back and registered
            100ms alice → proxy INVITE sip:100@203.0.113.10:5060 [CSeq: 2 INVITE]
            110ms proxy → pbx INVITE sip:100@203.0.113.10:5060 [CSeq: 3 INVITE]
            120ms pbx → proxy 200 INVITE [CSeq: 3 INVITE]
            130ms proxy → alice 200 INVITE [CSeq: 2 INVITE]
            140ms alice → proxy ACK sip:100@203.0.113.10:5060 [CSeq: 2 ACK]
            150ms proxy → pbx ACK sip:100@203.0.113.10:5060 [CSeq: 3 ACK]
            160ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws [CSeq: 101 BYE]
            170ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [CSeq: 101 BYE]
            180ms alice → proxy 200 BYE [CSeq: 101 BYE]
            190ms proxy → pbx 200 BYE [CSeq: 101 BYE]
        "#]],
    );
}

/// RFC 3515 §2.4.6: the NOTIFY names the REFER that its sender knows.
#[test]
fn a_transfer_is_told_of_by_the_number_of_its_sender() {
    check_with(
        known,
        r#"show CSeq Event
         registered alice
         alice INVITE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         pbx 200
         alice ACK
         alice REFER + Refer-To: <sip:200@example.com>
         pbx 202
         pbx NOTIFY + Event: refer;id=3;x=y + Subscription-State: active
         alice 200
         pbx NOTIFY + Event: presence;id=3 + Subscription-State: active
         alice 200"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com [CSeq: 1 INVITE]
            10ms proxy → pbx INVITE sip:100@example.com [CSeq: 1 INVITE]
            20ms pbx → proxy 407 INVITE [CSeq: 1 INVITE]
            30ms proxy → pbx ACK sip:100@example.com [CSeq: 1 ACK]
            30ms proxy is challenged: answered
            30ms proxy → pbx INVITE sip:100@example.com [CSeq: 2 INVITE]
            40ms pbx → proxy 200 INVITE [CSeq: 2 INVITE]
            50ms proxy → alice 200 INVITE [CSeq: 1 INVITE]
            60ms alice → proxy ACK sip:100@203.0.113.10:5060 [CSeq: 1 ACK]
            70ms proxy → pbx ACK sip:100@203.0.113.10:5060 [CSeq: 2 ACK]
            80ms alice → proxy REFER sip:100@203.0.113.10:5060 [CSeq: 2 REFER]
            90ms proxy → pbx REFER sip:100@203.0.113.10:5060 [CSeq: 3 REFER]
            100ms pbx → proxy 202 REFER [CSeq: 3 REFER]
            110ms proxy → alice 202 REFER [CSeq: 2 REFER]
            120ms pbx → proxy NOTIFY sip:alice@alice.invalid;transport=ws [CSeq: 101 NOTIFY] [Event: refer;id=3;x=y]
            130ms proxy → alice NOTIFY sip:alice@alice.invalid;transport=ws [CSeq: 101 NOTIFY] [Event: refer;id=2;x=y]
            140ms alice → proxy 200 NOTIFY [CSeq: 101 NOTIFY]
            150ms proxy → pbx 200 NOTIFY [CSeq: 101 NOTIFY]
            160ms pbx → proxy NOTIFY sip:alice@alice.invalid;transport=ws [CSeq: 102 NOTIFY] [Event: presence;id=3]
            170ms proxy → alice NOTIFY sip:alice@alice.invalid;transport=ws [CSeq: 102 NOTIFY] [Event: presence;id=3]
            180ms alice → proxy 200 NOTIFY [CSeq: 102 NOTIFY]
            190ms proxy → pbx 200 NOTIFY [CSeq: 102 NOTIFY]
        "#]],
    );
}

/// It is the caller who is asked, on its way back to an upstream.
#[test]
fn the_callee_of_an_upstreams_call_is_ahead_too() {
    check_with(
        known,
        r#"show CSeq
         registered alice
         policy request target registered sip:alice@example.com 0
         pbx INVITE sip:alice@example.com
         alice 200
         pbx ACK
         policy off
         alice INFO
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         pbx 200
         pbx INFO
         alice 200
         alice BYE"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:alice@example.com [CSeq: 1 INVITE]
            10ms proxy asks on-request INVITE
            10ms proxy → alice INVITE sip:alice@alice.invalid;transport=ws [CSeq: 1 INVITE]
            20ms alice → proxy 200 INVITE [CSeq: 1 INVITE]
            30ms proxy → pbx 200 INVITE [CSeq: 1 INVITE]
            40ms pbx → proxy ACK sip:alice@alice.invalid;transport=ws [CSeq: 1 ACK]
            50ms proxy → alice ACK sip:alice@alice.invalid;transport=ws [CSeq: 1 ACK]
            60ms alice → proxy INFO sip:100@203.0.113.10:5060 [CSeq: 101 INFO]
            70ms proxy → pbx INFO sip:100@203.0.113.10:5060 [CSeq: 101 INFO]
            80ms pbx → proxy 407 INFO [CSeq: 101 INFO]
            90ms proxy is challenged: answered
            90ms proxy → pbx INFO sip:100@203.0.113.10:5060 [CSeq: 102 INFO]
            100ms pbx → proxy 200 INFO [CSeq: 102 INFO]
            110ms proxy → alice 200 INFO [CSeq: 101 INFO]
            120ms pbx → proxy INFO sip:alice@alice.invalid;transport=ws [CSeq: 2 INFO]
            130ms proxy → alice INFO sip:alice@alice.invalid;transport=ws [CSeq: 2 INFO]
            140ms alice → proxy 200 INFO [CSeq: 2 INFO]
            150ms proxy → pbx 200 INFO [CSeq: 2 INFO]
            160ms alice → proxy BYE sip:100@203.0.113.10:5060 [CSeq: 102 BYE]
            170ms proxy → pbx BYE sip:100@203.0.113.10:5060 [CSeq: 103 BYE]
            180ms pbx → proxy 200 BYE [CSeq: 103 BYE]
            190ms proxy → alice 200 BYE [CSeq: 102 BYE]
        "#]],
    );
}
