//! Registrations of ours at upstreams.

use std::time::Duration;

use expect_test::expect;
use hookswitch_simulator::{check_with, login::login};
use hookswitch_sip::{
    flow::UpstreamId,
    proxy::{ProxyConfig, trunk::TrunkConfig},
};

fn trunk(config: &mut ProxyConfig) {
    config.upstreams[0].login = Some(login());
    config.trunks = vec![TrunkConfig {
        upstream: UpstreamId(0),
        aor: "sip:4912345@pbx.example".to_owned(),
        user: "4912345".to_owned(),
        expires: Duration::from_secs(3_600),
    }];
}

fn two_members(config: &mut ProxyConfig) {
    trunk(config);
    let other = config.upstreams[1].members[0];
    config.upstreams[0].members.push(other);
}

#[test]
fn a_trunk_registers_and_refreshes() {
    check_with(
        trunk,
        r#"show From To Contact Expires CSeq Authorization User-Agent
         begin
         pbx 401 + WWW-Authenticate: Digest realm="pbx", nonce="a"
         pbx 200 + Contact: <sip:4912345@198.51.100.1:5060>;expires=1800
         advance 1200s
         pbx 401 + WWW-Authenticate: Digest realm="pbx", nonce="b", stale=true
         pbx 200 + Expires: 60
         advance 30s
         pbx 200"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → pbx REGISTER sip:pbx.example [From: <sip:4912345@pbx.example>;tag=t1] [To: <sip:4912345@pbx.example>] [Contact: <sip:4912345@198.51.100.1:5060>] [Expires: 3600] [CSeq: 1 REGISTER] [User-Agent: hookswitch]
            10ms pbx → proxy 401 REGISTER [From: <sip:4912345@pbx.example>;tag=t1] [To: <sip:4912345@pbx.example>;tag=tag-pbx1] [CSeq: 1 REGISTER]
            20ms proxy is challenged: answered
            20ms proxy → pbx REGISTER sip:pbx.example [From: <sip:4912345@pbx.example>;tag=t1] [To: <sip:4912345@pbx.example>] [Contact: <sip:4912345@198.51.100.1:5060>] [Expires: 3600] [CSeq: 2 REGISTER] [Authorization: Digest a 1 REGISTER sip:pbx.example] [User-Agent: hookswitch]
            30ms pbx → proxy 200 REGISTER [From: <sip:4912345@pbx.example>;tag=t1] [To: <sip:4912345@pbx.example>;tag=tag-pbx2] [Contact: <sip:4912345@198.51.100.1:5060>;expires=1800] [CSeq: 2 REGISTER]
            40ms trunk 0 stands for 1800s
            1200040ms proxy → pbx REGISTER sip:pbx.example [From: <sip:4912345@pbx.example>;tag=t1] [To: <sip:4912345@pbx.example>] [Contact: <sip:4912345@198.51.100.1:5060>] [Expires: 3600] [CSeq: 3 REGISTER] [Authorization: Digest a 2 REGISTER sip:pbx.example] [User-Agent: hookswitch]
            1200050ms pbx → proxy 401 REGISTER [From: <sip:4912345@pbx.example>;tag=t1] [To: <sip:4912345@pbx.example>;tag=tag-pbx3] [CSeq: 3 REGISTER]
            1200060ms proxy is challenged: answered
            1200060ms proxy → pbx REGISTER sip:pbx.example [From: <sip:4912345@pbx.example>;tag=t1] [To: <sip:4912345@pbx.example>] [Contact: <sip:4912345@198.51.100.1:5060>] [Expires: 3600] [CSeq: 4 REGISTER] [Authorization: Digest b 1 REGISTER sip:pbx.example] [User-Agent: hookswitch]
            1200070ms pbx → proxy 200 REGISTER [From: <sip:4912345@pbx.example>;tag=t1] [To: <sip:4912345@pbx.example>;tag=tag-pbx4] [Expires: 60] [CSeq: 4 REGISTER]
            1200080ms trunk 0 stands for 60s
            1230080ms proxy → pbx REGISTER sip:pbx.example [From: <sip:4912345@pbx.example>;tag=t1] [To: <sip:4912345@pbx.example>] [Contact: <sip:4912345@198.51.100.1:5060>] [Expires: 3600] [CSeq: 5 REGISTER] [Authorization: Digest b 2 REGISTER sip:pbx.example] [User-Agent: hookswitch]
            1230090ms pbx → proxy 200 REGISTER [From: <sip:4912345@pbx.example>;tag=t1] [To: <sip:4912345@pbx.example>;tag=tag-pbx5] [CSeq: 5 REGISTER]
            1230100ms trunk 0 stands for 3600s
        "#]],
    );
}

#[test]
fn a_registrar_may_want_longer_registrations() {
    check_with(
        |config| {
            trunk(config);
            config.trunks[0].expires = Duration::from_secs(60);
        },
        r#"show Expires
         begin
         pbx 423 + Min-Expires: 300
         pbx 200
         advance 150s
         pbx 423"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → pbx REGISTER sip:pbx.example [Expires: 60]
            10ms pbx → proxy 423 REGISTER
            20ms proxy → pbx REGISTER sip:pbx.example [Expires: 300]
            30ms pbx → proxy 200 REGISTER
            40ms trunk 0 stands for 300s
            150040ms proxy → pbx REGISTER sip:pbx.example [Expires: 300]
            150050ms pbx → proxy 423 REGISTER
            150060ms trunk 0 failed: it answers 423 Because; again in 29s
        "#]],
    );
}

#[test]
fn a_trunk_that_is_refused_waits_longer_each_time() {
    check_with(
        trunk,
        r#"show Authorization Retry-After
         begin
         pbx 401 + WWW-Authenticate: Digest realm="pbx", nonce="a"
         pbx 401 + WWW-Authenticate: Digest realm="pbx", nonce="b"
         advance 17100ms
         pbx 403
         advance 53s
         pbx 503 + Retry-After: 300
         advance 300s
         pbx 200"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → pbx REGISTER sip:pbx.example
            10ms pbx → proxy 401 REGISTER
            20ms proxy is challenged: answered
            20ms proxy → pbx REGISTER sip:pbx.example [Authorization: Digest a 1 REGISTER sip:pbx.example]
            30ms pbx → proxy 401 REGISTER
            40ms proxy is challenged: refused
            40ms trunk 0 failed: it refuses our credentials; again in 17s
            17081ms proxy → pbx REGISTER sip:pbx.example
            17140ms pbx → proxy 403 REGISTER
            17150ms trunk 0 failed: it answers 403 Because; again in 52s
            69706ms proxy → pbx REGISTER sip:pbx.example
            70150ms pbx → proxy 503 REGISTER [Retry-After: 300]
            70160ms trunk 0 failed: it answers 503 Service Unavailable; again in 300s
            370160ms proxy → pbx REGISTER sip:pbx.example
            370170ms pbx → proxy 200 REGISTER
            370180ms trunk 0 stands for 3600s
        "#]],
    );
}

/// A 200 without a binding (RFC 3261 §10.3) is no success.
#[test]
fn a_registrar_that_grants_no_time_is_asked_less_and_less() {
    check_with(
        trunk,
        r#"begin
         pbx 200 + Expires: 0
         advance 31s
         pbx 200 + Expires: 0
         advance 61s
         pbx 200 + Expires: 0
         advance 121s
         pbx 200"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → pbx REGISTER sip:pbx.example
            10ms pbx → proxy 200 REGISTER
            20ms trunk 0 failed: it grants no time; again in 26s
            26358ms proxy → pbx REGISTER sip:pbx.example
            26858ms proxy → pbx REGISTER sip:pbx.example
            27858ms proxy → pbx REGISTER sip:pbx.example
            29858ms proxy → pbx REGISTER sip:pbx.example
            31020ms pbx → proxy 200 REGISTER
            31030ms trunk 0 failed: it grants no time; again in 58s
            89522ms proxy → pbx REGISTER sip:pbx.example
            90022ms proxy → pbx REGISTER sip:pbx.example
            91022ms proxy → pbx REGISTER sip:pbx.example
            92030ms pbx → proxy 200 REGISTER
            92040ms trunk 0 failed: it grants no time; again in 110s
            202354ms proxy → pbx REGISTER sip:pbx.example
            202854ms proxy → pbx REGISTER sip:pbx.example
            203854ms proxy → pbx REGISTER sip:pbx.example
            205854ms proxy → pbx REGISTER sip:pbx.example
            209854ms proxy → pbx REGISTER sip:pbx.example
            213040ms pbx → proxy 200 REGISTER
            213050ms trunk 0 stands for 3600s
        "#]],
    );
}

#[test]
fn the_other_member_is_tried_if_one_is_silent() {
    check_with(
        two_members,
        r#"lose proxy carrier 11
         begin
         advance 33s
         pbx 200
         member pbx silent
         carrier 200
         member pbx silent"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → carrier REGISTER sip:pbx.example (lost)
            500ms proxy → carrier REGISTER sip:pbx.example (lost)
            1500ms proxy → carrier REGISTER sip:pbx.example (lost)
            3500ms proxy → carrier REGISTER sip:pbx.example (lost)
            7500ms proxy → carrier REGISTER sip:pbx.example (lost)
            11500ms proxy → carrier REGISTER sip:pbx.example (lost)
            15500ms proxy → carrier REGISTER sip:pbx.example (lost)
            19500ms proxy → carrier REGISTER sip:pbx.example (lost)
            23500ms proxy → carrier REGISTER sip:pbx.example (lost)
            27500ms proxy → carrier REGISTER sip:pbx.example (lost)
            31500ms proxy → carrier REGISTER sip:pbx.example (lost)
            32000ms proxy → pbx REGISTER sip:pbx.example
            32500ms proxy → pbx REGISTER sip:pbx.example
            33000ms pbx → proxy 200 REGISTER
            33010ms trunk 0 stands for 3600s
            33010ms proxy → carrier REGISTER sip:pbx.example
            33020ms carrier → proxy 200 REGISTER
            33030ms trunk 0 stands for 3600s
        "#]],
    );
}

/// What was lost there is made up for as soon as it is back.
#[test]
fn a_member_that_comes_back_is_registered_at_once() {
    check_with(
        trunk,
        r#"lose proxy pbx 11
         begin
         member pbx silent
         advance 33s
         member pbx answers
         pbx 403
         member pbx answers"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → pbx REGISTER sip:pbx.example (lost)
            500ms proxy → pbx REGISTER sip:pbx.example (lost)
            1500ms proxy → pbx REGISTER sip:pbx.example (lost)
            3500ms proxy → pbx REGISTER sip:pbx.example (lost)
            7500ms proxy → pbx REGISTER sip:pbx.example (lost)
            11500ms proxy → pbx REGISTER sip:pbx.example (lost)
            15500ms proxy → pbx REGISTER sip:pbx.example (lost)
            19500ms proxy → pbx REGISTER sip:pbx.example (lost)
            23500ms proxy → pbx REGISTER sip:pbx.example (lost)
            27500ms proxy → pbx REGISTER sip:pbx.example (lost)
            31500ms proxy → pbx REGISTER sip:pbx.example (lost)
            32000ms trunk 0 failed: no answer in time; again in 26s
            33000ms proxy → pbx REGISTER sip:pbx.example
            33010ms pbx → proxy 403 REGISTER
            33020ms trunk 0 failed: it answers 403 Because; again in 58s
        "#]],
    );
}

#[test]
fn a_trunk_waits_for_the_names_of_its_upstream() {
    check_with(
        |config| {
            trunk(config);
            config.upstreams[0].members.clear();
        },
        r#"begin
         advance 60s"#,
        expect![[r#"
            0ms trunk 0 begins
            15000ms trunk 0 failed: no address of the upstream is known; again in 37s
            52664ms trunk 0 failed: no address of the upstream is known; again in 60s
        "#]],
    );
}

#[test]
fn a_drain_takes_the_registration_back() {
    check_with(
        trunk,
        r#"show Contact Expires CSeq
         begin
         pbx 200
         drain
         pbx 401 + WWW-Authenticate: Digest realm="pbx", nonce="a"
         pbx 200
         advance 4000s"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → pbx REGISTER sip:pbx.example [Contact: <sip:4912345@198.51.100.1:5060>] [Expires: 3600] [CSeq: 1 REGISTER]
            10ms pbx → proxy 200 REGISTER [CSeq: 1 REGISTER]
            20ms trunk 0 stands for 3600s
            20ms proxy → pbx REGISTER sip:pbx.example [Contact: <sip:4912345@198.51.100.1:5060>] [Expires: 0] [CSeq: 2 REGISTER]
            30ms pbx → proxy 401 REGISTER [CSeq: 2 REGISTER]
            40ms proxy is challenged: answered
            40ms proxy → pbx REGISTER sip:pbx.example [Contact: <sip:4912345@198.51.100.1:5060>] [Expires: 0] [CSeq: 3 REGISTER]
            50ms pbx → proxy 200 REGISTER [CSeq: 3 REGISTER]
            60ms trunk 0 is taken back
        "#]],
    );
}

#[test]
fn a_drain_does_not_wait_for_a_registration_that_never_was() {
    check_with(
        trunk,
        r#"begin
         pbx 403
         drain
         advance 100s"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → pbx REGISTER sip:pbx.example
            10ms pbx → proxy 403 REGISTER
            20ms trunk 0 failed: it answers 403 Because; again in 26s
            20ms trunk 0 is taken back
        "#]],
    );
}

/// Nobody answers any more.
#[test]
fn a_drain_waits_a_moment_for_an_upstream_that_is_silent() {
    check_with(
        trunk,
        r#"show Expires
         begin
         pbx 200
         lose proxy pbx 10
         drain
         advance 100s"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → pbx REGISTER sip:pbx.example [Expires: 3600]
            10ms pbx → proxy 200 REGISTER
            20ms trunk 0 stands for 3600s
            20ms proxy → pbx REGISTER sip:pbx.example [Expires: 0] (lost)
            520ms proxy → pbx REGISTER sip:pbx.example [Expires: 0] (lost)
            1520ms proxy → pbx REGISTER sip:pbx.example [Expires: 0] (lost)
            3520ms proxy → pbx REGISTER sip:pbx.example [Expires: 0] (lost)
            5020ms trunk 0 is taken back
        "#]],
    );
}

/// Whether it arrived is not known before its answer.
#[test]
fn a_drain_takes_back_a_first_registration_that_is_on_its_way() {
    check_with(
        trunk,
        r#"show Expires
         lose proxy pbx 1
         begin
         drain
         pbx 200
         advance 100s"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → pbx REGISTER sip:pbx.example [Expires: 3600] (lost)
            0ms proxy → pbx REGISTER sip:pbx.example [Expires: 0]
            10ms pbx → proxy 200 REGISTER
            20ms trunk 0 is taken back
        "#]],
    );
}

/// The upstream calls us by our Contact: that is a call of its own side, for the policies to route.
#[test]
fn calls_come_to_our_contact() {
    check_with(
        trunk,
        r#"registered alice
         begin
         pbx 200
         policy request target registered sip:alice@example.com 0
         pbx INVITE sip:4912345@198.51.100.1:5060
         alice 200"#,
        expect![[r#"
            0ms trunk 0 begins
            0ms proxy → pbx REGISTER sip:pbx.example
            10ms pbx → proxy 200 REGISTER
            20ms trunk 0 stands for 3600s
            20ms pbx → proxy INVITE sip:4912345@198.51.100.1:5060
            30ms proxy asks on-request INVITE
            30ms proxy → alice INVITE sip:alice@alice.invalid;transport=ws
            40ms alice → proxy 200 INVITE
            50ms proxy → pbx 200 INVITE
        "#]],
    );
}
