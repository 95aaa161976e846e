//! The best response of many: RFC 3261 §16.7 steps 6 and 7.

use expect_test::expect;
use hookswitch_simulator::check;

#[test]
fn all_busy() {
    check(
        r#"registered alice bob bob2
         alice INVITE bob
         bob 486
         bob2 486"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            40ms bob2 → proxy 486 INVITE
            50ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            50ms proxy → alice 486 INVITE
            60ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// §16.7 step 5: the others are cancelled, and the 6xx is what the caller gets.
#[test]
fn a_6xx_ends_all() {
    check(
        r#"registered alice bob bob2 bob3
         alice INVITE bob
         bob 180
         bob2 180
         bob2 603
         bob3 180"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            10ms proxy → bob3 INVITE sip:bob@bob3.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy → alice 180 INVITE
            40ms bob2 → proxy 180 INVITE
            50ms proxy → alice 180 INVITE
            60ms bob2 → proxy 603 INVITE
            70ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            70ms proxy → bob CANCEL sip:bob@bob.invalid;transport=ws
            80ms bob → proxy 487 INVITE
            80ms bob → proxy 200 CANCEL
            90ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            100ms bob3 → proxy 180 INVITE
            110ms proxy → bob3 CANCEL sip:bob@bob3.invalid;transport=ws
            110ms proxy → alice 180 INVITE
            120ms bob3 → proxy 487 INVITE
            120ms bob3 → proxy 200 CANCEL
            130ms proxy → bob3 ACK sip:bob@bob3.invalid;transport=ws
            130ms proxy → alice 603 INVITE
            140ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn a_6xx_before_another_answered_at_all() {
    check(
        r#"registered bob bob2
         pbx INVITE bob
         bob 600
         bob2 180"#,
        expect![[r#"
            0ms pbx → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 600 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            40ms bob2 → proxy 180 INVITE
            50ms proxy → bob2 CANCEL sip:bob@bob2.invalid;transport=ws
            50ms proxy → pbx 180 INVITE
            60ms bob2 → proxy 487 INVITE
            60ms bob2 → proxy 200 CANCEL
            70ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            70ms proxy → pbx 600 INVITE
            80ms pbx → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// 3xx before 4xx before 5xx.
#[test]
fn the_lowest_class_wins() {
    check(
        r#"registered alice bob bob2 bob3
         alice INVITE bob
         bob 503
         bob2 404
         bob3 302"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            10ms proxy → bob3 INVITE sip:bob@bob3.invalid;transport=ws
            20ms bob → proxy 503 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            40ms bob2 → proxy 404 INVITE
            50ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            60ms bob3 → proxy 302 INVITE
            70ms proxy → bob3 ACK sip:bob@bob3.invalid;transport=ws
            70ms proxy → alice 302 INVITE
            80ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// 401, 407, 415, 420 and 484 tell the caller how to do better.
#[test]
fn an_authentication_challenge_is_preferred() {
    check(
        r#"registered alice bob bob2
         show WWW-Authenticate Proxy-Authenticate
         alice INVITE bob
         bob 404
         bob2 401 + WWW-Authenticate: Digest realm="a", nonce="1""#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 404 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            40ms bob2 → proxy 401 INVITE [WWW-Authenticate: Digest realm="a", nonce="1"]
            50ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            50ms proxy → alice 401 INVITE [WWW-Authenticate: Digest realm="a", nonce="1"]
            60ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// §16.7 step 7.
#[test]
fn all_challenges_are_collected() {
    check(
        r#"registered alice bob bob2
         show WWW-Authenticate Proxy-Authenticate
         alice INVITE bob
         bob 401 + WWW-Authenticate: Digest realm="a", nonce="1"
         bob2 407 + Proxy-Authenticate: Digest realm="b", nonce="2""#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 401 INVITE [WWW-Authenticate: Digest realm="a", nonce="1"]
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            40ms bob2 → proxy 407 INVITE [Proxy-Authenticate: Digest realm="b", nonce="2"]
            50ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            50ms proxy → alice 401 INVITE [WWW-Authenticate: Digest realm="a", nonce="1"] [Proxy-Authenticate: Digest realm="b", nonce="2"]
            60ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// It says that their element is overloaded, not ours (§16.7 step 6).
#[test]
fn a_lone_503_becomes_500() {
    check(
        r#"registered alice
         alice INVITE sip:100@pbx.example.net
         pbx 503 + Retry-After: 60"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:100@pbx.example.net
            10ms proxy → pbx INVITE sip:100@pbx.example.net
            20ms pbx → proxy 503 INVITE
            30ms proxy → pbx ACK sip:100@pbx.example.net
            30ms proxy → alice 500 INVITE
            40ms alice → proxy ACK sip:100@pbx.example.net
        "#]],
    );
}

#[test]
fn a_503_beside_another_failure() {
    check(
        r#"registered alice bob bob2
         alice INVITE bob
         bob 503
         bob2 500"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            10ms proxy → bob2 INVITE sip:bob@bob2.invalid;transport=ws
            20ms bob → proxy 503 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            40ms bob2 → proxy 500 INVITE
            50ms proxy → bob2 ACK sip:bob@bob2.invalid;transport=ws
            50ms proxy → alice 500 INVITE
            60ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

#[test]
fn redirection_is_passed_on() {
    check(
        r#"registered alice bob
         show Contact
         alice INVITE bob
         bob 302 + Contact: <sip:bob@elsewhere.example>"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com [Contact: <sip:alice@alice.invalid;transport=ws>]
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws [Contact: <sip:alice@alice.invalid;transport=ws>]
            20ms bob → proxy 302 INVITE [Contact: <sip:bob@elsewhere.example>]
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy → alice 302 INVITE [Contact: <sip:bob@elsewhere.example>]
            40ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}
