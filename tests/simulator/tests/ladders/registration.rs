//! Registrar and location: RFC 3261 §10, RFC 5626, RFC 3327.

use expect_test::expect;
use hookswitch_simulator::check;

#[test]
fn register_refresh_and_leave() {
    check(
        r#"show Contact Expires
         alice REGISTER
         advance 10s
         alice REGISTER
         alice REGISTER + Expires: 0
         pbx INVITE alice
         pbx 404"#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com [Contact: <sip:alice@alice.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:alice>"] [Expires: 600]
            10ms proxy → alice 200 REGISTER [Contact: <sip:alice@alice.invalid;transport=ws>;expires=600;+sip.instance="<urn:uuid:alice>";reg-id=1]
            10020ms alice → proxy REGISTER sip:example.com [Contact: <sip:alice@alice.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:alice>"] [Expires: 600]
            10030ms proxy → alice 200 REGISTER [Contact: <sip:alice@alice.invalid;transport=ws>;expires=600;+sip.instance="<urn:uuid:alice>";reg-id=1]
            10040ms alice → proxy REGISTER sip:example.com [Contact: <sip:alice@alice.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:alice>"] [Expires: 0]
            10050ms proxy → alice 200 REGISTER
            10060ms pbx → proxy INVITE sip:alice@example.com [Contact: <sip:100@203.0.113.10:5060>]
            10070ms proxy → pbx 404 INVITE
            10080ms pbx → proxy ACK sip:alice@example.com
            10090ms pbx has nothing to answer with 404
        "#]],
    );
}

#[test]
fn bindings_expire() {
    check(
        r#"show Contact Expires
         alice REGISTER + Expires: 60
         advance 61s
         pbx MESSAGE alice"#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com [Contact: <sip:alice@alice.invalid;transport=ws>;reg-id=1;+sip.instance="<urn:uuid:alice>"] [Expires: 60]
            10ms proxy → alice 200 REGISTER [Contact: <sip:alice@alice.invalid;transport=ws>;expires=60;+sip.instance="<urn:uuid:alice>";reg-id=1]
            61020ms pbx → proxy MESSAGE sip:alice@example.com
            61030ms proxy → pbx 404 MESSAGE
        "#]],
    );
}

/// 423 with Min-Expires (§10.3 step 7).
#[test]
fn too_brief() {
    check(
        r#"show Min-Expires
         alice REGISTER + Expires: 5"#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms proxy → alice 423 REGISTER [Min-Expires: 60]
        "#]],
    );
}

#[test]
fn two_contacts_ring_together() {
    check(
        r#"registered bob bob2
         alice INVITE bob
         bob 180
         bob2 180
         bob2 200
         alice ACK
         bob2 BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob2 → proxy 180 INVITE
            50ms proxy → alice 180 INVITE
            60ms bob2 → proxy 200 INVITE
            70ms proxy → alice 200 INVITE
            70ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            80ms bob → proxy 487 INVITE
            80ms bob → proxy 200 CANCEL
            90ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            100ms alice → proxy ACK sip:bob@bob2.invalid;transport=ws
            110ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            120ms bob2 → proxy BYE sip:alice@alice.invalid;transport=ws
            130ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            140ms alice → proxy 200 BYE
            150ms proxy → bob2 200 BYE
        "#]],
    );
}

#[test]
fn a_query_tells_all_contacts() {
    check(
        r#"registered bob bob2
         show Contact
         bob REGISTER - Contact Expires"#,
        expect![[r#"
            0ms bob → proxy REGISTER sip:example.com
            10ms proxy → bob 200 REGISTER [Contact: <sip:bob@bob.invalid;transport=ws>;expires=599;+sip.instance="<urn:uuid:bob>";reg-id=1, <sip:bob@bob2.invalid;transport=ws>;expires=599;+sip.instance="<urn:uuid:bob2>";reg-id=1]
        "#]],
    );
}

#[test]
fn star_removes_all() {
    check(
        r#"registered bob bob2
         show Contact
         bob REGISTER + Contact: * + Expires: 0
         alice MESSAGE bob"#,
        expect![[r#"
            0ms bob → proxy REGISTER sip:example.com [Contact: *]
            10ms proxy → bob 200 REGISTER
            20ms alice → proxy MESSAGE sip:bob@example.com
            30ms proxy → pbx MESSAGE sip:bob@example.com
        "#]],
    );
}

/// §10.2.2: 400.
#[test]
fn star_without_expires_0_is_refused() {
    check(
        r#"registered bob
         bob REGISTER + Contact: *"#,
        expect![[r#"
            0ms bob → proxy REGISTER sip:example.com
            10ms proxy → bob 400 REGISTER
        "#]],
    );
}

#[test]
fn for_a_domain_that_is_not_ours() {
    check(
        r#"alice REGISTER + To: <sip:alice@elsewhere.example>"#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms proxy → alice 404 REGISTER
        "#]],
    );
}

#[test]
fn the_policy_refuses() {
    check(
        r#"policy register reply 403
         alice REGISTER
         pbx MESSAGE alice"#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms proxy asks on-register REGISTER
            10ms proxy → alice 403 REGISTER
            20ms pbx → proxy MESSAGE sip:alice@example.com
            30ms proxy → pbx 404 MESSAGE
        "#]],
    );
}

#[test]
fn the_policy_sees_each_register() {
    check(
        r#"policy register set X-Seen yes
         show ended
         alice REGISTER"#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms proxy asks on-register REGISTER
            10ms proxy → alice 200 REGISTER
            10ms ended REGISTER 200 Registrar
        "#]],
    );
}

#[test]
fn the_store_fails_to_answer_until_the_client_is_gone() {
    check(
        r#"show ended
         store hold
         alice REGISTER
         close alice
         release
         gauges"#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms alice is gone
            10ms ended REGISTER 0 ClientGone
            10ms the proxy holds 0 transactions, 0 branches, 0 calls, 0 asks
        "#]],
    );
}

#[test]
fn a_browser_comes_back_on_another_connection() {
    check(
        r#"registered alice bob
         close bob
         reconnect bob
         alice INVITE bob
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms bob is gone
            20ms bob is back and registered
            20ms alice → proxy INVITE sip:bob@example.com
            30ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            40ms bob → proxy 200 INVITE
            50ms proxy → alice 200 INVITE
            60ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

/// The binding stands but its flow is gone: 480, not the default upstream.
#[test]
fn an_unreachable_binding_is_not_called() {
    check(
        r#"registered alice bob
         close bob
         alice MESSAGE bob"#,
        expect![[r#"
            0ms bob is gone
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → alice 480 MESSAGE
        "#]],
    );
}

#[test]
fn an_unreachable_contact_beside_a_reachable_one() {
    check(
        r#"registered alice bob bob2
         close bob
         alice MESSAGE bob
         bob2 200"#,
        expect![[r#"
            0ms bob is gone
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → bob2 MESSAGE sip:bob@bob2.invalid;transport=ws
            20ms bob2 → proxy 200 MESSAGE
            30ms proxy → alice 200 MESSAGE
        "#]],
    );
}

/// §16.6: higher q first, lower ones when those have failed.
#[test]
fn a_preference_orders_the_contacts() {
    check(
        r#"registered alice
         bob REGISTER + Contact: <sip:bob@bob.invalid;transport=ws>;q=0.5
         bob2 REGISTER + Contact: <sip:bob@bob2.invalid;transport=ws>;q=1.0
         alice INVITE bob
         bob2 486
         bob 200
         alice ACK"#,
        expect![[r#"
            0ms bob → proxy REGISTER sip:example.com
            10ms proxy → bob 200 REGISTER
            20ms bob2 → proxy REGISTER sip:example.com
            30ms proxy → bob2 200 REGISTER
            40ms alice → proxy INVITE sip:bob@example.com
            50ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            60ms bob2 → proxy 486 INVITE
            70ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            70ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            80ms bob → proxy 200 INVITE
            90ms proxy → alice 200 INVITE
            100ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            110ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}

/// §10.3 step 7: an older CSeq of the same Call-ID is out of order.
#[test]
fn old_cseq() {
    check(
        r#"alice REGISTER
         alice REGISTER + CSeq: 1 REGISTER"#,
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms proxy → alice 200 REGISTER
            20ms alice → proxy REGISTER sip:example.com
            30ms proxy → alice 500 REGISTER
        "#]],
    );
}
