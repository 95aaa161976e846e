//! Flows (RFC 5626): several of one instance, those that fail, and what the registrar says of them.

use std::time::Duration;

use expect_test::expect;
use hookswitch_simulator::{check, script::check_with};

const FLOW_2: &str =
    r#"<sip:bob@bob.invalid;transport=ws>;reg-id=2;+sip.instance="<urn:uuid:bob>""#;

/// `bob` and `bob2` are two connections of one browser.
fn two_flows(script: &str) -> String {
    format!("registered alice bob\nbob2 REGISTER + Contact: {FLOW_2}\n{script}")
}

#[test]
fn an_instance_is_called_by_one_of_its_flows() {
    check(
        &two_flows(
            "alice MESSAGE bob
             bob 200",
        ),
        expect![[r#"
            0ms bob2 → proxy REGISTER sip:example.com
            10ms proxy → bob2 200 REGISTER
            20ms alice → proxy MESSAGE sip:bob@example.com
            30ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            40ms bob → proxy 200 MESSAGE
            50ms proxy → alice 200 MESSAGE
        "#]],
    );
}

/// §7: the next flow of the same instance, when nothing can be sent by the first.
#[test]
fn the_other_flow_is_tried_when_one_is_gone() {
    check(
        &two_flows(
            "store hold
             alice INVITE bob
             release & close bob
             bob2 200
             alice ACK",
        ),
        expect![[r#"
            0ms bob2 → proxy REGISTER sip:example.com
            10ms proxy → bob2 200 REGISTER
            20ms alice → proxy INVITE sip:bob@example.com
            30ms bob is gone
            30ms proxy → nobody INVITE sip:bob@bob.invalid;transport=ws
            30ms proxy → bob2 INVITE sip:bob@bob.invalid;transport=ws
            40ms bob2 → proxy 200 INVITE
            50ms proxy → alice 200 INVITE
            60ms alice → proxy ACK sip:bob@bob2.invalid;transport=ws
        "#]],
    );
}

/// Of an edge proxy before the client.
#[test]
fn the_other_flow_is_tried_after_a_430() {
    check(
        &two_flows(
            "alice INVITE bob
             bob 430
             bob2 200
             alice ACK",
        ),
        expect![[r#"
            0ms bob2 → proxy REGISTER sip:example.com
            10ms proxy → bob2 200 REGISTER
            20ms alice → proxy INVITE sip:bob@example.com
            30ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            40ms bob → proxy 430 INVITE
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob2 INVITE sip:bob@bob.invalid;transport=ws
            60ms bob2 → proxy 200 INVITE
            70ms proxy → alice 200 INVITE
            80ms alice → proxy ACK sip:bob@bob2.invalid;transport=ws
            90ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
        "#]],
    );
}

#[test]
fn the_other_flow_is_tried_when_one_is_silent() {
    check(
        &two_flows(
            "alice INVITE bob
             advance 33s
             bob2 200
             alice ACK",
        ),
        expect![[r#"
            0ms bob2 → proxy REGISTER sip:example.com
            10ms proxy → bob2 200 REGISTER
            20ms alice → proxy INVITE sip:bob@example.com
            30ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            230ms proxy → alice 100 INVITE
            32030ms proxy → bob2 INVITE sip:bob@bob.invalid;transport=ws
            33040ms bob2 → proxy 200 INVITE
            33050ms proxy → alice 200 INVITE
            33060ms alice → proxy ACK sip:bob@bob2.invalid;transport=ws
            33070ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
        "#]],
    );
}

#[test]
fn a_flow_that_rang_was_not_lost() {
    check(
        &two_flows(
            "alice INVITE bob
             bob 486",
        ),
        expect![[r#"
            0ms bob2 → proxy REGISTER sip:example.com
            10ms proxy → bob2 200 REGISTER
            20ms alice → proxy INVITE sip:bob@example.com
            30ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            40ms bob → proxy 486 INVITE
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → alice 486 INVITE
            60ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn a_policy_calls_an_instance_by_one_of_its_flows() {
    check(
        &two_flows(
            "policy request target registered sip:bob@example.com 0
             alice INVITE bob
             bob 430
             bob2 486",
        ),
        expect![[r#"
            0ms bob2 → proxy REGISTER sip:example.com
            10ms proxy → bob2 200 REGISTER
            20ms alice → proxy INVITE sip:bob@example.com
            30ms proxy asks on-request INVITE
            30ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            40ms bob → proxy 430 INVITE
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            50ms proxy → bob2 INVITE sip:bob@bob.invalid;transport=ws
            60ms bob2 → proxy 486 INVITE
            70ms proxy → bob2 ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → alice 486 INVITE
            80ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// In a dialog, too, the other flow leads to the same browser.
#[test]
fn a_dialog_goes_on_by_the_other_flow() {
    check(
        r#"talking alice bob
         bob2 REGISTER + Contact: <sip:bob@bob.invalid;transport=ws>;reg-id=2;+sip.instance="<urn:uuid:bob>"
         close bob
         alice BYE
         bob2 481"#,
        expect![[r#"
            0ms bob2 → proxy REGISTER sip:example.com
            10ms proxy → bob2 200 REGISTER
            20ms bob is gone
            20ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            30ms proxy → bob2 BYE sip:bob@bob.invalid;transport=ws
            40ms bob2 → proxy 481 BYE
            50ms proxy → alice 481 BYE
            60ms bob2 → proxy 481 BYE
            70ms proxy drops: stray response
        "#]],
    );
}

#[test]
fn a_reg_id_replaces_its_own_flow() {
    check(
        &two_flows(
            r#"show Contact
             bob2 REGISTER - Contact Expires
             close bob
             reload bob
             bob REGISTER"#,
        ),
        expect![[r#"
            0ms bob2 → proxy REGISTER sip:example.com
            10ms proxy → bob2 200 REGISTER
            20ms bob2 → proxy REGISTER sip:example.com
            30ms proxy → bob2 200 REGISTER [Contact: <sip:bob@bob.invalid;transport=ws>;expires=599;+sip.instance="<urn:uuid:bob>";reg-id=1, <sip:bob@bob.invalid;transport=ws>;expires=599;+sip.instance="<urn:uuid:bob>";reg-id=2]
            40ms bob is gone
            40ms bob is loaded again
            40ms bob → proxy REGISTER sip:example.com [Contact: <sip:bob@bob-2.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:bob>"]
            50ms proxy → bob 200 REGISTER [Contact: <sip:bob@bob-2.invalid;transport=ws>;expires=600;+sip.instance="<urn:uuid:bob>";reg-id=1, <sip:bob@bob.invalid;transport=ws>;expires=599;+sip.instance="<urn:uuid:bob>";reg-id=2]
        "#]],
    );
}

/// §6: 400, or one flow could not be told from the other.
#[test]
fn several_contacts_and_a_reg_id() {
    check(
        r#"alice REGISTER + Contact: <sip:a@a.invalid>;reg-id=1;+sip.instance="<urn:uuid:a>", <sip:b@a.invalid>"#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms proxy → alice 400 REGISTER
        "#]],
    );
}

/// §5.4: what the client is to keep to stands in the answer, if outbound was applied.
#[test]
fn the_flow_timer_is_told() {
    check_with(
        |config| config.listeners[0].flow_timer = Some(Duration::from_secs(120)),
        "show Require Flow-Timer
         alice REGISTER
         alice REGISTER + Supported: path
         alice REGISTER + Contact: <sip:alice@alice.invalid>",
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms proxy expects keep-alives within 120s
            10ms proxy → alice 200 REGISTER [Require: outbound] [Flow-Timer: 120]
            20ms alice → proxy REGISTER sip:example.com
            30ms proxy → alice 200 REGISTER
            40ms alice → proxy REGISTER sip:example.com
            50ms proxy → alice 200 REGISTER
        "#]],
    );
}

/// §6: 439; and without the option tag the reg-id is not there.
#[test]
fn a_first_hop_that_knows_no_outbound() {
    check(
        r#"show Require Contact reason
         alice REGISTER + Via: SIP/2.0/WSS edge.invalid;branch=z9hG4bK-e1, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-1
         alice REGISTER + Via: SIP/2.0/WSS edge.invalid;branch=z9hG4bK-e2, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-2 + Path: <sip:edge.invalid;lr>
         alice REGISTER + Via: SIP/2.0/WSS edge.invalid;branch=z9hG4bK-e3, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-3 + Path: <sip:edge.invalid;lr;ob>
         alice REGISTER - Supported + Via: SIP/2.0/WSS edge.invalid;branch=z9hG4bK-e4, SIP/2.0/WSS alice.invalid;branch=z9hG4bK-4 + Contact: <sip:other@alice.invalid>;reg-id=1;+sip.instance="<urn:uuid:other>""#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com [Contact: <sip:alice@alice.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:alice>"]
            10ms proxy → alice 439 REGISTER (First Hop Lacks Outbound Support)
            20ms alice → proxy REGISTER sip:example.com [Contact: <sip:alice@alice.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:alice>"]
            30ms proxy → alice 439 REGISTER (First Hop Lacks Outbound Support)
            40ms alice → proxy REGISTER sip:example.com [Contact: <sip:alice@alice.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:alice>"]
            50ms proxy → alice 200 REGISTER [Require: outbound] [Contact: <sip:alice@alice.invalid;transport=ws>;expires=600;+sip.instance="<urn:uuid:alice>";reg-id=1] (OK)
            60ms alice → proxy REGISTER sip:example.com [Contact: <sip:other@alice.invalid>;reg-id=1;+sip.instance="<urn:uuid:other>"]
            70ms proxy → alice 200 REGISTER [Contact: <sip:alice@alice.invalid;transport=ws>;expires=599;+sip.instance="<urn:uuid:alice>";reg-id=1, <sip:other@alice.invalid>;expires=600;+sip.instance="<urn:uuid:other>"] (OK)
            WRONG alice: has not exactly one Via: SIP/2.0 439 First Hop Lacks Outbound Support (register-alice1, 1 REGISTER)
            WRONG alice: has not exactly one Via: SIP/2.0 439 First Hop Lacks Outbound Support (register-alice1, 2 REGISTER)
            WRONG alice: has not exactly one Via: SIP/2.0 200 OK (register-alice1, 3 REGISTER)
            WRONG alice: has not exactly one Via: SIP/2.0 200 OK (register-alice1, 4 REGISTER)
        "#]],
    );
}
