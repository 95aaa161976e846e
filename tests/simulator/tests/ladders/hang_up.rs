//! A call whose media passes through the proxy and died: each end gets the BYE that the other would have sent.

use expect_test::expect;
use hookswitch_simulator::{check, check_with, login::login};

#[test]
fn each_end_gets_a_bye() {
    check(
        r#"registered alice
         media replace through us
         alice INVITE 100
         pbx 200
         alice ACK
         show From To CSeq Reason Via Route Max-Forwards ended news
         media dies
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy → pbx INVITE sip:100@example.com
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms proxy → pbx BYE sip:100@203.0.113.10:5060 [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@example.com>;tag=tag-pbx1] [CSeq: 2 BYE] [Reason: Q.850;cause=41;text="media died: nothing was heard from the browser"] [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b1;rport] [Max-Forwards: 69]
            60ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [From: <sip:100@example.com>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4] [CSeq: 1 BYE] [Reason: Q.850;cause=41;text="media died: nothing was heard from the browser"] [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b2] [Max-Forwards: 69]
            70ms pbx → proxy 200 BYE [From: <sip:alice@example.com>;tag=tag-alice4] [To: <sip:100@example.com>;tag=tag-pbx1] [CSeq: 2 BYE] [Via: SIP/2.0/UDP 198.51.100.1:5060;branch=b1;rport]
            70ms alice → proxy 200 BYE [From: <sip:100@example.com>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4] [CSeq: 1 BYE] [Via: SIP/2.0/WSS 198.51.100.1:443;branch=b2]
            80ms ended BYE of the proxy's own 200 Forwarded
            80ms media hears: a dialog of branch 0 is over
            80ms ended BYE of the proxy's own 200 Forwarded
            80ms media hears: a dialog of branch 0 is over
            80ms the proxy holds 1 transactions, 2 branches, 0 calls, 0 asks
        "#]],
    );
}

/// RFC 3261 §15.1.1: 481 ends a dialog, too.
#[test]
fn whoever_hangs_up_later_is_told_that_there_is_no_call() {
    check(
        r#"registered alice
         media replace through us
         alice INVITE 100
         pbx 200
         alice ACK
         show CSeq
         media dies
         alice BYE
         pbx BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy → pbx INVITE sip:100@example.com
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms proxy → pbx BYE sip:100@203.0.113.10:5060 [CSeq: 2 BYE]
            60ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [CSeq: 1 BYE]
            70ms pbx → proxy 200 BYE [CSeq: 2 BYE]
            70ms alice → proxy 200 BYE [CSeq: 1 BYE]
            80ms alice → proxy BYE sip:100@203.0.113.10:5060 [CSeq: 2 BYE]
            90ms proxy → pbx BYE sip:100@203.0.113.10:5060 [CSeq: 2 BYE]
            100ms pbx → proxy 481 BYE [CSeq: 2 BYE]
            110ms proxy → alice 481 BYE [CSeq: 2 BYE]
            120ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws [CSeq: 101 BYE]
            130ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [CSeq: 101 BYE]
            140ms alice → proxy 481 BYE [CSeq: 101 BYE]
            150ms proxy → pbx 481 BYE [CSeq: 101 BYE]
        "#]],
    );
}

#[test]
fn whoever_hangs_up_at_the_same_time_is_answered_by_the_other() {
    check(
        r#"registered alice
         media replace through us
         alice INVITE 100
         pbx 200
         alice ACK
         show CSeq
         media dies & alice BYE & pbx BYE
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy → pbx INVITE sip:100@example.com
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws [CSeq: 101 BYE]
            60ms alice → proxy BYE sip:100@203.0.113.10:5060 [CSeq: 2 BYE]
            60ms proxy → pbx BYE sip:100@203.0.113.10:5060 [CSeq: 2 BYE]
            60ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [CSeq: 1 BYE]
            70ms pbx → proxy 481 BYE [CSeq: 2 BYE]
            70ms alice → proxy 481 BYE [CSeq: 1 BYE]
            70ms proxy → pbx BYE sip:100@203.0.113.10:5060 [CSeq: 2 BYE]
            70ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [CSeq: 101 BYE]
            80ms pbx → proxy 481 BYE [CSeq: 2 BYE]
            80ms alice → proxy 481 BYE [CSeq: 101 BYE]
            90ms proxy → alice 481 BYE [CSeq: 2 BYE]
            90ms proxy → pbx 481 BYE [CSeq: 101 BYE]
            100ms the proxy holds 2 transactions, 3 branches, 0 calls, 0 asks
        "#]],
    );
}

/// RFC 3261 §12.2.1.1: a number that each end has not seen yet, and the Contact that it saw last.
#[test]
fn what_came_in_between_counts() {
    check(
        r#"registered alice
         media replace through us
         alice INVITE 100
         pbx 183 + RSeq: 1 + Require: 100rel
         alice PRACK + RAck: 1 1 INVITE
         pbx 200 PRACK
         pbx 200 INVITE
         alice ACK
         pbx INVITE + Contact: <sip:elsewhere@203.0.113.10>
         alice 200 + Contact: <sip:alice@new.invalid>
         pbx ACK
         alice INFO
         pbx 200
         show CSeq
         media dies"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy → pbx INVITE sip:100@example.com
            20ms pbx → proxy 183 INVITE
            30ms proxy → alice 183 INVITE
            40ms alice → proxy PRACK sip:100@203.0.113.10:5060
            50ms proxy → pbx PRACK sip:100@203.0.113.10:5060
            60ms pbx → proxy 200 PRACK
            70ms proxy → alice 200 PRACK
            80ms pbx → proxy 200 INVITE
            90ms proxy → alice 200 INVITE
            100ms alice → proxy ACK sip:100@203.0.113.10:5060
            110ms proxy → pbx ACK sip:100@203.0.113.10:5060
            120ms pbx → proxy INVITE sip:alice@alice.invalid;transport=ws
            130ms proxy → alice INVITE sip:alice@alice.invalid;transport=ws
            140ms alice → proxy 200 INVITE
            150ms proxy → pbx 200 INVITE
            160ms pbx → proxy ACK sip:alice@new.invalid
            170ms proxy → alice ACK sip:alice@new.invalid
            180ms alice → proxy INFO sip:100@203.0.113.10:5060
            190ms proxy → pbx INFO sip:100@203.0.113.10:5060
            200ms pbx → proxy 200 INFO
            210ms proxy → alice 200 INFO
            220ms proxy → pbx BYE sip:elsewhere@203.0.113.10 [CSeq: 4 BYE]
            220ms proxy → alice BYE sip:alice@new.invalid [CSeq: 102 BYE]
            230ms pbx → proxy 200 BYE [CSeq: 4 BYE]
            230ms alice → proxy 200 BYE [CSeq: 102 BYE]
        "#]],
    );
}

#[test]
fn proxies_beyond_us_are_on_the_way() {
    check(
        r#"registered bob
         media replace through us
         pbx INVITE bob + Record-Route: <sip:near.example;lr>, <sip:far.example;lr>
         bob 200
         show Route
         media dies"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → pbx 200 INVITE
            40ms proxy → pbx BYE sip:100@203.0.113.10:5060 [Route: <sip:near.example;lr>, <sip:far.example;lr>]
            40ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            50ms pbx → proxy 200 BYE
            50ms bob → proxy 200 BYE
        "#]],
    );
}

#[test]
fn an_end_knows_the_other_by_the_name_that_a_policy_gave() {
    check(
        r#"registered alice
         policy request INVITE once; from sip:anonymous@anonymous.invalid
         media replace through us
         alice INVITE 100
         pbx 200
         alice ACK
         show From To
         media dies"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy asks on-request INVITE
            10ms proxy → pbx INVITE sip:100@example.com
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms proxy → pbx BYE sip:100@203.0.113.10:5060 [From: <sip:anonymous@anonymous.invalid>;tag=tag-alice4] [To: <sip:100@example.com>;tag=tag-pbx1]
            60ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [From: <sip:100@example.com>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4]
            70ms pbx → proxy 200 BYE [From: <sip:anonymous@anonymous.invalid>;tag=tag-alice4] [To: <sip:100@example.com>;tag=tag-pbx1]
            70ms alice → proxy 200 BYE [From: <sip:100@example.com>;tag=tag-pbx1] [To: <sip:alice@example.com>;tag=tag-alice4]
        "#]],
    );
}

#[test]
fn an_upstream_that_asks_who_we_are_is_told() {
    check_with(
        |config| config.upstreams[0].login = Some(login()),
        r#"registered alice
         media replace through us
         alice INVITE 100
         pbx 407 + Proxy-Authenticate: Digest realm="pbx", nonce="a"
         pbx 200
         alice ACK
         show CSeq Proxy-Authorization
         pbx challenges BYE
         media dies
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy → pbx INVITE sip:100@example.com
            20ms pbx → proxy 407 INVITE
            30ms proxy → pbx ACK sip:100@example.com
            30ms proxy is challenged: answered
            30ms proxy → pbx INVITE sip:100@example.com
            40ms pbx → proxy 200 INVITE
            50ms proxy → alice 200 INVITE
            60ms alice → proxy ACK sip:100@203.0.113.10:5060
            70ms proxy → pbx ACK sip:100@203.0.113.10:5060
            80ms proxy → pbx BYE sip:100@203.0.113.10:5060 [CSeq: 3 BYE] [Proxy-Authorization: Digest a 2 BYE sip:100@203.0.113.10:5060]
            80ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [CSeq: 1 BYE]
            90ms pbx → proxy 407 BYE [CSeq: 3 BYE]
            90ms alice → proxy 200 BYE [CSeq: 1 BYE]
            100ms proxy is challenged: answered
            100ms proxy → pbx BYE sip:100@203.0.113.10:5060 [CSeq: 4 BYE] [Proxy-Authorization: Digest bye 1 BYE sip:100@203.0.113.10:5060]
            110ms pbx → proxy 200 BYE [CSeq: 4 BYE]
            120ms the proxy holds 1 transactions, 4 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn a_page_that_is_gone_gets_none() {
    check(
        r#"registered alice
         media replace through us
         alice INVITE 100
         pbx 200
         alice ACK
         close alice
         show ended
         lose proxy pbx 1
         media dies
         advance 1s
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy → pbx INVITE sip:100@example.com
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms alice is gone
            60ms proxy → pbx BYE sip:100@203.0.113.10:5060 (lost)
            60ms proxy → nobody BYE sip:alice@alice.invalid;transport=ws
            60ms ended BYE of the proxy's own 430 Unreachable
            560ms proxy → pbx BYE sip:100@203.0.113.10:5060
            570ms pbx → proxy 200 BYE
            580ms ended BYE of the proxy's own 200 Forwarded
            1060ms the proxy holds 1 transactions, 2 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn a_late_offer_passes_through_us_as_well() {
    check(
        r#"registered bob
         media replace through us
         pbx INVITE bob nosdp
         bob 200
         pbx ACK body=answer
         media dies"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → pbx 200 INVITE
            40ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            60ms proxy → pbx BYE sip:100@203.0.113.10:5060
            60ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            70ms pbx → proxy 200 BYE
            70ms bob → proxy 200 BYE
        "#]],
    );
}

#[test]
fn every_dialog_of_a_call_ends() {
    check(
        r#"registered alice
         media replace through us
         alice INVITE 100
         pbx 200 tag=one
         pbx 200 tag=two
         alice ACK #1
         alice ACK #2
         alice BYE #1
         show To
         media dies"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@example.com
            10ms proxy → pbx INVITE sip:100@example.com
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
            140ms proxy → pbx BYE sip:100@203.0.113.10:5060 [To: <sip:100@example.com>;tag=two]
            140ms proxy → alice BYE sip:alice@alice.invalid;transport=ws [To: <sip:alice@example.com>;tag=tag-alice4]
            150ms pbx → proxy 200 BYE [To: <sip:100@example.com>;tag=two]
            150ms alice → proxy 200 BYE [To: <sip:alice@example.com>;tag=tag-alice4]
        "#]],
    );
}

#[test]
fn a_call_that_nobody_has_answered_fails() {
    check(
        r#"registered alice bob
         media replace through us
         alice INVITE bob
         bob 180
         show reason
         media dies
         gauges"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            50ms bob → proxy 487 INVITE (Request Terminated)
            50ms bob → proxy 200 CANCEL (OK)
            60ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            60ms proxy → alice 408 INVITE (Request Timeout)
            70ms alice → proxy ACK sip:bob@example.com
            80ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn a_call_whose_media_passes_elsewhere_goes_on() {
    check(
        r#"talking alice bob
         media dies
         gauges
         alice BYE"#,
        expect![[r#"
            0ms the proxy holds 1 transactions, 1 branches, 0 calls, 0 asks
            0ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 200 BYE
            30ms proxy → alice 200 BYE
        "#]],
    );
}
