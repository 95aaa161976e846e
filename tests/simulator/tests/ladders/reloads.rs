//! Dialogs whose browser comes back by another connection: loaded again, registered again, or by the name of its session.

use expect_test::expect;
use hookswitch_simulator::check;

/// Another Contact, the same instance; what the page does not know it says (481), and the call is over.
#[test]
fn a_page_is_loaded_again_and_the_other_side_hangs_up() {
    check(
        "registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 200
         alice ACK
         reload alice
         alice REGISTER
         pbx BYE",
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms alice is loaded again
            60ms alice → proxy REGISTER sip:example.com
            70ms proxy → alice 200 REGISTER
            80ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws
            90ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            100ms alice → proxy 481 BYE
            110ms proxy → pbx 481 BYE
        "#]],
    );
}

/// As SIP.js and JsSIP do it where nobody has told them who they are.
#[test]
fn a_page_is_loaded_again_and_has_no_instance_of_before() {
    check(
        "talking alice bob
         reload bob afresh
         bob REGISTER
         reload bob afresh
         bob REGISTER
         alice BYE",
        expect![[r#"
            0ms bob is loaded again
            0ms bob → proxy REGISTER sip:example.com
            10ms proxy → bob 200 REGISTER
            20ms bob is loaded again
            20ms bob → proxy REGISTER sip:example.com
            30ms proxy → bob 200 REGISTER
            40ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            50ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            60ms bob → proxy 481 BYE
            70ms proxy → alice 481 BYE
        "#]],
    );
}

/// Which of the two it is nobody can tell: the dialog waits for its own.
#[test]
fn another_device_of_the_same_user_is_not_taken_for_the_one_that_is_away() {
    check(
        "registered alice bob bob2
         alice INVITE bob
         bob 200
         bob2 487
         alice ACK
         close bob
         reload bob2 afresh
         bob2 REGISTER
         alice INFO
         reconnect bob
         alice BYE",
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms bob2 → proxy 487 INVITE
            50ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            60ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            80ms bob is gone
            80ms bob2 is loaded again
            80ms bob2 → proxy REGISTER sip:example.com
            90ms proxy → bob2 200 REGISTER
            100ms alice → proxy INFO sip:bob@bob.invalid;transport=ws
            110ms proxy → nobody INFO sip:bob@bob.invalid;transport=ws
            110ms proxy → alice 430 INFO
            140ms bob is back and registered
            140ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            150ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            160ms bob → proxy 200 BYE
            170ms proxy → alice 200 BYE
        "#]],
    );
}

/// And if it was, for want of anybody else, that ends when the other one is back.
#[test]
fn who_stood_in_for_a_browser_makes_way_for_it() {
    check(
        "talking alice bob
         close bob
         bob2 REGISTER
         reconnect bob
         alice BYE",
        expect![[r#"
            0ms bob is gone
            0ms bob2 → proxy REGISTER sip:example.com
            10ms proxy → bob2 200 REGISTER
            40ms bob is back and registered
            40ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            50ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            60ms bob → proxy 200 BYE
            70ms proxy → alice 200 BYE
        "#]],
    );
}

#[test]
fn somebody_elses_instance_leads_to_no_dialog_of_his() {
    check(
        r#"talking alice bob
         close bob
         carol REGISTER + Contact: <sip:bob@bob.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:bob>"
         alice INFO
         reconnect bob
         alice BYE"#,
        expect![[r#"
            0ms bob is gone
            0ms carol → proxy REGISTER sip:example.com
            10ms proxy → carol 200 REGISTER
            20ms alice → proxy INFO sip:bob@bob.invalid;transport=ws
            30ms proxy → nobody INFO sip:bob@bob.invalid;transport=ws
            30ms proxy → alice 430 INFO
            60ms bob is back and registered
            60ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            70ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            80ms bob → proxy 200 BYE
            90ms proxy → alice 200 BYE
        "#]],
    );
}

/// Without REGISTER: by the session that an authenticated browser names when it connects.
#[test]
fn a_session_is_found_by_its_name() {
    check(
        "session alice 7
         alice INVITE sip:100@pbx.example.net
         pbx 200
         alice ACK
         close alice
         pbx INFO
         session alice 7
         pbx INFO
         alice 200
         session alice 8
         pbx BYE",
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms alice is gone
            60ms pbx → proxy INFO sip:alice@alice.invalid;transport=ws
            70ms proxy → nobody INFO sip:alice@alice.invalid;transport=ws
            70ms proxy → pbx 430 INFO
            80ms pbx → proxy INFO sip:alice@alice.invalid;transport=ws
            90ms proxy → alice INFO sip:alice@alice.invalid;transport=ws
            100ms alice → proxy 200 INFO
            110ms proxy → pbx 200 INFO
            120ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws
            130ms proxy → nobody BYE sip:alice@alice.invalid;transport=ws
            130ms proxy → pbx 430 BYE
        "#]],
    );
}

#[test]
fn a_session_outlives_the_proxy() {
    check(
        "session alice 7
         alice INVITE sip:100@pbx.example.net
         pbx 200
         alice ACK
         restart
         pbx BYE
         session alice 7
         alice BYE",
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms the proxy restarts
            60ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws
            70ms proxy → nobody BYE sip:alice@alice.invalid;transport=ws
            70ms proxy → pbx 430 BYE
            80ms alice → proxy BYE sip:100@203.0.113.10:5060
            90ms proxy → pbx BYE sip:100@203.0.113.10:5060
            100ms pbx → proxy 481 BYE
            110ms proxy → alice 481 BYE
        "#]],
    );
}

/// Whatever From says: what the registration was of is what counts.
#[test]
fn a_caller_who_hides_is_found_again() {
    check(
        "registered alice
         alice INVITE sip:100@pbx.example.net + From: <sip:anonymous@anonymous.invalid>;tag=tag-a
         pbx 200
         alice ACK
         close alice
         reconnect alice
         pbx BYE",
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 200 INVITE
            30ms proxy → alice 200 INVITE
            40ms alice → proxy ACK sip:100@203.0.113.10:5060
            50ms proxy → pbx ACK sip:100@203.0.113.10:5060
            60ms alice is gone
            80ms alice is back and registered
            80ms pbx → proxy BYE sip:alice@alice.invalid;transport=ws
            90ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            100ms alice → proxy 200 BYE
            110ms proxy → pbx 200 BYE
        "#]],
    );
}
