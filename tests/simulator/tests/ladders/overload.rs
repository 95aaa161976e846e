//! Draining and limits: 503 is for these alone.

use expect_test::expect;
use hookswitch_simulator::{check, check_with};

#[test]
fn draining_refuses_new_calls_and_finishes_old_ones() {
    check(
        r#"show Retry-After
         registered alice bob
         alice INVITE bob
         drain
         alice MESSAGE bob
         bob 200 INVITE
         alice ACK
         bob INFO
         alice 200
         bob BYE"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms alice → proxy MESSAGE sip:bob@example.com
            30ms proxy → alice 503 MESSAGE [Retry-After: 5]
            40ms bob → proxy 200 INVITE
            50ms proxy → alice 200 INVITE
            60ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            80ms bob → proxy INFO sip:alice@alice.invalid;transport=ws
            90ms proxy → alice INFO sip:alice@alice.invalid;transport=ws
            100ms alice → proxy 200 INFO
            110ms proxy → bob 200 INFO
            120ms bob → proxy BYE sip:alice@alice.invalid;transport=ws
            130ms proxy → alice BYE sip:alice@alice.invalid;transport=ws
            140ms alice → proxy 200 BYE
            150ms proxy → bob 200 BYE
        "#]],
    );
}

/// Calls must end while none may begin: the reserve is for requests whose token verifies.
#[test]
fn a_bye_has_room_when_nothing_else_has() {
    check_with(
        |config| {
            config.limits.transactions_max = 1;
            config.limits.in_dialog_reserve_max = 1;
        },
        r#"talking alice bob
         advance 40s
         store hold
         alice MESSAGE bob
         alice MESSAGE bob
         alice MESSAGE bob + To: <sip:bob@example.com>;tag=made-up
         alice BYE
         alice INFO #1
         release
         bob 200 MESSAGE"#,
        expect![[r#"
            40000ms alice → proxy MESSAGE sip:bob@example.com
            40010ms alice → proxy MESSAGE sip:bob@example.com
            40020ms proxy → alice 503 MESSAGE
            40030ms alice → proxy MESSAGE sip:bob@example.com
            40040ms proxy → alice 503 MESSAGE
            40050ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            40060ms alice → proxy INFO sip:bob@bob.invalid;transport=ws
            40070ms proxy → alice 503 INFO
            40080ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            40080ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            40090ms bob → proxy 200 BYE
            40100ms proxy → alice 200 BYE
            40110ms bob → proxy 200 MESSAGE
            40120ms proxy → alice 200 MESSAGE
        "#]],
    );
}

/// 503 with Retry-After beyond the limit.
#[test]
fn transactions_are_limited() {
    check_with(
        |config| config.limits.transactions_max = 2,
        r#"show Retry-After
         registered alice bob
         store hold
         alice MESSAGE bob & alice MESSAGE bob & alice MESSAGE bob
         release
         bob 200
         bob 200"#,
        expect![[r#"
            0ms alice → proxy MESSAGE sip:bob@example.com
            0ms alice → proxy MESSAGE sip:bob@example.com
            0ms alice → proxy MESSAGE sip:bob@example.com
            10ms proxy → alice 503 MESSAGE [Retry-After: 5]
            20ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            20ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            30ms bob → proxy 200 MESSAGE
            40ms proxy → alice 200 MESSAGE
            50ms bob → proxy 200 MESSAGE
            60ms proxy → alice 200 MESSAGE
        "#]],
    );
}

#[test]
fn branches_are_limited() {
    check_with(
        |config| config.limits.branches_max = 2,
        r#"registered alice bob bob2 bob3
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

/// Rounds are limited; then the best response passes.
#[test]
fn a_failure_hook_that_never_gives_up() {
    check_with(
        |config| config.limits.failure_rounds_max = 2,
        r#"registered alice bob
         policy failure target registered sip:bob@example.com 0
         alice INVITE bob
         bob 486
         bob 486
         bob 486"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 486 INVITE
            30ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            30ms proxy asks on-failure 486 INVITE
            30ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            40ms bob → proxy 486 INVITE
            50ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            50ms proxy asks on-failure 486 INVITE
            50ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            60ms bob → proxy 486 INVITE
            70ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            70ms proxy → alice 486 INVITE
            80ms alice → proxy ACK sip:bob@example.com
        "#]],
    );
}

/// Provisional responses beyond the limit are dropped; the 2xx never is.
#[test]
fn responses_that_wait_are_limited() {
    check_with(
        |config| config.limits.queued_max = 2,
        r#"registered alice bob
         policy response pass
         policy response once; hold
         alice INVITE bob
         bob 180
         bob 181
         bob 182
         bob 183
         bob 200
         release
         alice ACK"#,
        expect![[r#"
            0ms alice → proxy INVITE sip:bob@example.com
            10ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            20ms bob → proxy 180 INVITE
            30ms proxy asks on-response 180 INVITE
            30ms bob → proxy 181 INVITE
            40ms bob → proxy 182 INVITE
            50ms bob → proxy 183 INVITE
            60ms proxy drops: overload
            60ms bob → proxy 200 INVITE
            70ms proxy drops: overload
            70ms proxy → alice 180 INVITE
            70ms proxy asks on-response 181 INVITE
            70ms proxy → alice 181 INVITE
            70ms proxy asks on-response 200 INVITE
            70ms proxy → alice 200 INVITE
            80ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            90ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
        "#]],
    );
}
