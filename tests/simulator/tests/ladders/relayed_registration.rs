//! Where the PBX is the registrar: what it learns of flows, and calls that pass twice on their way from client to client.

use std::time::Duration;

use expect_test::expect;
use hookswitch_simulator::script::check_with;
use hookswitch_sip::{
    flow::UpstreamId,
    proxy::{ProxyConfig, config::Announce},
};

fn pbx_is_registrar(config: &mut ProxyConfig) {
    config.registrar.upstream = Some(UpstreamId(0));
}

/// Its Path says that its flows can be told apart (§5.1); it answers 430 for one that is gone, and the PBX is to try another.
#[test]
fn the_pbx_is_the_registrar_and_learns_of_flows() {
    check_with(
        |config| {
            pbx_is_registrar(config);
            config.listeners[0].flow_timer = Some(Duration::from_secs(120));
        },
        "show Path Require Flow-Timer
         bob REGISTER
         pbx grants + Require: outbound
         alice MESSAGE bob
         pbx relays registered bob
         bob 200
         close bob
         alice MESSAGE bob
         pbx relays registered bob",
        expect![[r#"
            0ms bob → proxy REGISTER sip:example.com
            10ms proxy → pbx REGISTER sip:example.com [Path: <sip:c.Af9ShbARqlJmlR0M5VYApnmQVdJwXw@198.51.100.1:5060;lr;ob>]
            20ms pbx → proxy 200 REGISTER [Require: outbound]
            30ms proxy expects keep-alives within 120s
            30ms proxy → bob 200 REGISTER [Require: outbound] [Flow-Timer: 120]
            40ms alice → proxy MESSAGE sip:bob@example.com
            50ms proxy → pbx MESSAGE sip:bob@example.com
            60ms pbx → proxy MESSAGE sip:bob@bob.invalid;transport=ws
            70ms proxy → bob MESSAGE sip:bob@bob.invalid;transport=ws
            80ms bob → proxy 200 MESSAGE
            90ms proxy → pbx 200 MESSAGE
            100ms pbx → proxy 200 MESSAGE
            110ms proxy → alice 200 MESSAGE
            120ms bob is gone
            120ms alice → proxy MESSAGE sip:bob@example.com
            130ms proxy → pbx MESSAGE sip:bob@example.com
            140ms pbx → proxy MESSAGE sip:bob@bob.invalid;transport=ws
            150ms proxy → pbx 430 MESSAGE
            160ms pbx → proxy 430 MESSAGE
            170ms proxy → alice 430 MESSAGE
        "#]],
    );
}

/// Twice through us with one Call-ID, by the Path of the callee.
#[test]
fn a_call_passes_twice_by_way_of_the_registrar() {
    check_with(
        pbx_is_registrar,
        "alice REGISTER
         pbx grants
         bob REGISTER
         pbx grants
         alice INVITE bob
         pbx relays registered bob
         bob 180
         bob 200
         alice ACK
         reload bob
         bob REGISTER
         pbx grants
         alice BYE",
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms proxy → pbx REGISTER sip:example.com
            20ms pbx → proxy 200 REGISTER
            30ms proxy → alice 200 REGISTER
            40ms bob → proxy REGISTER sip:example.com
            50ms proxy → pbx REGISTER sip:example.com
            60ms pbx → proxy 200 REGISTER
            70ms proxy → bob 200 REGISTER
            80ms alice → proxy INVITE sip:bob@example.com
            90ms proxy → pbx INVITE sip:bob@example.com
            100ms pbx → proxy INVITE sip:bob@bob.invalid;transport=ws
            110ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            120ms bob → proxy 180 INVITE
            130ms proxy → pbx 180 INVITE
            140ms pbx → proxy 180 INVITE
            150ms proxy → alice 180 INVITE
            160ms bob → proxy 200 INVITE
            170ms proxy → pbx 200 INVITE
            180ms pbx → proxy 200 INVITE
            190ms proxy → alice 200 INVITE
            200ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            210ms proxy → pbx ACK sip:bob@bob.invalid;transport=ws
            220ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            230ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            240ms bob is loaded again
            240ms bob → proxy REGISTER sip:example.com
            250ms proxy → pbx REGISTER sip:example.com
            260ms pbx → proxy 200 REGISTER
            270ms proxy → bob 200 REGISTER
            280ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            290ms proxy → pbx BYE sip:bob@bob.invalid;transport=ws
            300ms pbx → proxy BYE sip:bob@bob.invalid;transport=ws
            310ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            320ms bob → proxy 481 BYE
            330ms proxy → pbx 481 BYE
            340ms pbx → proxy 481 BYE
            350ms proxy → alice 481 BYE
        "#]],
    );
}

/// The same by the Contact that we gave it in the place of the callee's.
#[test]
fn a_call_passes_twice_by_way_of_a_registrar_that_knows_no_path() {
    check_with(
        |config| {
            pbx_is_registrar(config);
            config.upstreams[0].announce = Announce::Contact;
        },
        "alice REGISTER
         pbx grants
         bob REGISTER
         pbx grants
         alice INVITE bob
         pbx relays registered bob
         bob 200
         alice ACK
         bob INFO
         alice 200
         alice BYE",
        expect![[r#"
            0ms alice → proxy REGISTER sip:example.com
            10ms proxy → pbx REGISTER sip:example.com
            20ms pbx → proxy 200 REGISTER
            30ms proxy → alice 200 REGISTER
            40ms bob → proxy REGISTER sip:example.com
            50ms proxy → pbx REGISTER sip:example.com
            60ms pbx → proxy 200 REGISTER
            70ms proxy → bob 200 REGISTER
            80ms alice → proxy INVITE sip:bob@example.com
            90ms proxy → pbx INVITE sip:bob@example.com
            100ms pbx → proxy INVITE sip:T1@198.51.100.1:5060
            110ms proxy → bob INVITE sip:bob@bob.invalid;transport=ws
            120ms bob → proxy 200 INVITE
            130ms proxy → pbx 200 INVITE
            140ms pbx → proxy 200 INVITE
            150ms proxy → alice 200 INVITE
            160ms alice → proxy ACK sip:bob@bob.invalid;transport=ws
            170ms proxy → pbx ACK sip:bob@bob.invalid;transport=ws
            180ms pbx → proxy ACK sip:bob@bob.invalid;transport=ws
            190ms proxy → bob ACK sip:bob@bob.invalid;transport=ws
            200ms bob → proxy INFO sip:alice@alice.invalid;transport=ws
            210ms proxy → pbx INFO sip:alice@alice.invalid;transport=ws
            220ms pbx → proxy INFO sip:alice@alice.invalid;transport=ws
            230ms proxy → alice INFO sip:alice@alice.invalid;transport=ws
            240ms alice → proxy 200 INFO
            250ms proxy → pbx 200 INFO
            260ms pbx → proxy 200 INFO
            270ms proxy → bob 200 INFO
            280ms alice → proxy BYE sip:bob@bob.invalid;transport=ws
            290ms proxy → pbx BYE sip:bob@bob.invalid;transport=ws
            300ms pbx → proxy BYE sip:bob@bob.invalid;transport=ws
            310ms proxy → bob BYE sip:bob@bob.invalid;transport=ws
            320ms bob → proxy 200 BYE
            330ms proxy → pbx 200 BYE
            340ms pbx → proxy 200 BYE
            350ms proxy → alice 200 BYE
        "#]],
    );
}
