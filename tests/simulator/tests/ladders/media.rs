//! What media hears: of answers, of offers and branches that came to nothing, of the end.

use expect_test::expect;
use hookswitch_simulator::check;

#[test]
fn a_call_is_answered_and_ended() {
    check(
        r#"registered alice
         show news
         alice INVITE sip:100@pbx.example.net
         pbx 200
         alice ACK
         pbx BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 200 INVITE
            30ms media hears: a dialog of branch 0 is answered
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws
            70ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            80ms alice → proxy 200 BYE
            90ms proxy → pbx 200 BYE
            90ms media hears: a dialog of branch 0 is over
        "#]],
    );
}

/// RFC 3261 §14.1: what was agreed before stands.
#[test]
fn an_offer_in_a_dialog_may_be_rejected() {
    check(
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 200
         alice ACK
         show news
         alice INVITE
         pbx 488
         alice INVITE
         pbx 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms alice → proxy INVITE sip:100@203.0.113.10:5060
            70ms proxy → pbx INVITE sip:100@203.0.113.10:5060
            80ms pbx → proxy 488 INVITE
            90ms proxy → pbx ACK sip:100@203.0.113.10:5060
            90ms media hears: an offer in a dialog of branch 0 is rejected
            90ms proxy → alice 488 INVITE
            100ms alice → proxy ACK sip:100@203.0.113.10:5060
            110ms alice → proxy INVITE sip:100@203.0.113.10:5060
            120ms proxy → pbx INVITE sip:100@203.0.113.10:5060
            130ms pbx → proxy 200 INVITE
            140ms proxy → alice 200 INVITE
            150ms alice → proxy ACK sip:100@203.0.113.10:5060
            160ms proxy → pbx ACK sip:100@203.0.113.10:5060
        "#]],
    );
}

#[test]
fn a_call_may_fail() {
    check(
        r#"registered alice
         show news
         alice INVITE sip:100@pbx.example.net
         pbx 486"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 486 INVITE
            30ms proxy → pbx ACK sip:100@pbx.example.net
            30ms media hears: branch 0 is lost
            30ms proxy → alice 486 INVITE
            30ms media hears: nobody answered
            40ms alice → proxy ACK sip:100@pbx.example.net
        "#]],
    );
}

/// RFC 3261 §16.7 item 10: the branch that was cancelled is lost when its 487 is there, since a 2xx might have come before.
#[test]
fn the_branches_that_did_not_win_are_lost() {
    check(
        r#"registered alice bob bob2
         show news
         alice INVITE bob
         bob 180 & bob2 180
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            20ms bob2 → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob → proxy 200 INVITE
            50ms media hears: a dialog of branch 0 is answered
            50ms proxy → alice 200 INVITE
            50ms proxy → bob2 CANCEL sip:bob@bob2.invalid;transport=ws
            60ms bob2 → proxy 487 INVITE
            60ms bob2 → proxy 200 CANCEL
            70ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            70ms media hears: branch 1 is lost
            80ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            90ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

#[test]
fn one_stage_after_the_other() {
    check(
        r#"registered alice bob
         policy request INVITE target registered sip:bob@example.com 0; target upstream pbx 1
         show news
         alice INVITE sip:100@pbx.example.net
         bob 183
         bob 486
         pbx 200
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy asks on-request INVITE
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 183 INVITE
            30ms proxy → alice 183 INVITE
            40ms bob → proxy 486 INVITE
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            50ms media hears: branch 0 is lost
            50ms proxy → pbx INVITE sip:100@pbx.example.net
            60ms pbx → proxy 200 INVITE
            70ms media hears: a dialog of branch 1 is answered
            70ms proxy → alice 200 INVITE
            80ms alice → proxy ACK sip:100@203.0.113.10:5060
            90ms proxy → pbx ACK sip:100@203.0.113.10:5060
        "#]],
    );
}

#[test]
fn a_call_may_be_taken_back() {
    check(
        r#"registered alice bob
         show news
         alice INVITE bob
         bob 180
         alice CANCEL"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice → proxy CANCEL sip:bob@example.com
            50ms proxy → alice 200 CANCEL
            50ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            60ms bob → proxy 487 INVITE
            60ms bob → proxy 200 CANCEL
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            70ms media hears: branch 0 is lost
            70ms proxy → alice 487 INVITE
            70ms media hears: nobody answered
            80ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn nobody_may_answer() {
    check(
        r#"registered alice
         show news
         lose proxy pbx 99
         alice INVITE sip:100@pbx.example.net
         advance 40s"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            210ms proxy → alice 100 INVITE
            510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            1510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            3510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            7510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            15510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            31510ms proxy → pbx INVITE sip:100@pbx.example.net (lost)
            32010ms media hears: branch 0 is lost
            32010ms proxy → alice 408 INVITE
            32010ms media hears: nobody answered
            32020ms alice → proxy ACK sip:100@pbx.example.net
        "#]],
    );
}

/// A page that is gone hears no 487, and media hears all the same.
#[test]
fn the_caller_may_vanish() {
    check(
        r#"registered alice bob
         show news
         alice INVITE bob
         bob 180
         close alice"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms alice is gone
            40ms media hears: nobody answered
            40ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            50ms bob → proxy 487 INVITE
            50ms bob → proxy 200 CANCEL
            60ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

/// It stands in the token, so that it is known where the call's record is not.
#[test]
fn what_a_policy_chose_stays_for_the_dialog() {
    check(
        r#"registered alice
         policy request INVITE once; target upstream pbx 0; media direct
         show asks
         alice INVITE sip:100@pbx.example.net
         pbx 200
         alice ACK
         pbx INVITE
         alice 200
         pbx ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy asks on-request INVITE
            10ms proxy asks media ToCallee Offer [offer of alice], by Direct
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 200 INVITE
            30ms proxy asks media ToCaller Answer [answer of pbx], by Direct
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms pbx → proxy INVITE sip:alice@alice.invalid;transport=ws
            70ms proxy asks on-request INVITE in dialog
            70ms proxy asks the store for a session
            70ms proxy asks media ToCaller Offer [offer of pbx], by Direct
            70ms proxy → alice INVITE sip:alice@alice.invalid;transport=ws
            80ms alice → proxy 200 INVITE
            90ms proxy asks media ToCallee Answer [answer of alice], by Direct
            90ms proxy → pbx 200 INVITE
            100ms pbx → proxy ACK sip:alice@alice.invalid;transport=ws
            110ms proxy asks the store for a session
            110ms proxy → alice ACK sip:alice@alice.invalid;transport=ws
        "#]],
    );
}
