//! What is told to whom, and what is refused.

use expect_test::{Expect, expect};

use super::{calls::*, world::*};
use crate::{
    Answer,
    Direction::{ToCallee, ToCaller},
    Leg, Role,
    config::Config,
    engine::Input,
};

const FAX: &str = include_str!("../../sdp/samples/fax.sdp");
const ASTERISK: &str = include_str!("../../sdp/samples/asterisk.sdp");
const LINPHONE: &str = include_str!("../../sdp/samples/linphone.sdp");

fn refused(answer: Answer, expected: Expect) {
    match answer {
        Answer::Refuse { status, reason } => expected.assert_eq(&format!("{status} {reason}")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_both_are_told_of_a_call_from_a_browser() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM);
    let told = world.tell("0", ToCallee, Role::Offer, &offer);
    expect![[r#"
        v=0
        o=- 4971604938152870396 1 IN IP4 198.51.100.9
        s=-
        c=IN IP4 198.51.100.9
        t=0 0
        m=audio 40000 RTP/AVP 111 9 0 8 13 110 126
        a=rtpmap:111 opus/48000/2
        a=fmtp:111 minptime=10;useinbandfec=1
        a=rtpmap:9 G722/8000
        a=rtpmap:0 PCMU/8000
        a=rtpmap:8 PCMA/8000
        a=rtpmap:13 CN/8000
        a=rtpmap:110 telephone-event/48000
        a=rtpmap:126 telephone-event/8000
        a=sendrecv
    "#]]
    .assert_eq(&masked(&told));
    let told = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    expect![[r#"
        v=0
        o=- 4408892848731678615 1 IN IP4 127.0.0.1
        s=-
        c=IN IP4 203.0.113.1
        t=0 0
        a=ice-lite
        a=group:BUNDLE 0
        m=audio 3478 UDP/TLS/RTP/SAVPF 8 126
        a=mid:0
        a=ice-ufrag:nWpYP49/
        a=ice-pwd:ZXec3Ad7YLy7AXT6n/7he78T
        a=fingerprint:sha-256 
        a=setup:passive
        a=candidate:1 1 udp 2130706175 203.0.113.1 3478 typ host
        a=end-of-candidates
        a=rtcp-mux
        a=sendrecv
        a=rtpmap:8 PCMA/8000
        a=rtpmap:126 telephone-event/8000
        a=fmtp:126 0-15
        a=ptime:20
        a=msid:b6d50032a6952109 audio0
        a=ssrc:2728211184 cname:b6d50032a6952109
    "#]]
    .assert_eq(&masked(&told));
}

#[test]
fn what_both_are_told_of_a_call_from_a_phone_with_video() {
    let mut world = World::sip_calls();
    let told = world.tell("0", ToCallee, Role::Offer, ASTERISK);
    expect![[r#"
        v=0
        o=- 6029040946354347711 1 IN IP4 127.0.0.1
        s=-
        c=IN IP4 203.0.113.1
        t=0 0
        a=ice-lite
        a=group:BUNDLE 0 1
        m=audio 3478 UDP/TLS/RTP/SAVPF 8 0 9 111 110 101
        a=mid:0
        a=ice-ufrag:2VAymVhJ
        a=ice-pwd:U/fYmyhFt7ZPVq9FJV0Sph3H
        a=fingerprint:sha-256 
        a=setup:actpass
        a=candidate:1 1 udp 2130706175 203.0.113.1 3478 typ host
        a=end-of-candidates
        a=rtcp-mux
        a=sendrecv
        a=rtpmap:8 PCMA/8000
        a=rtpmap:0 PCMU/8000
        a=rtpmap:9 G722/8000
        a=rtpmap:111 opus/48000/2
        a=fmtp:111 maxplaybackrate=16000;sprop-maxcapturerate=16000;useinbandfec=1
        a=rtpmap:110 telephone-event/48000
        a=fmtp:110 0-16
        a=rtpmap:101 telephone-event/8000
        a=fmtp:101 0-16
        a=ptime:20
        a=msid:89fd60b37c5c03f8 audio0
        a=ssrc:1206573025 cname:89fd60b37c5c03f8
        m=video 3478 UDP/TLS/RTP/SAVPF 99 100
        a=mid:1
        a=ice-ufrag:2VAymVhJ
        a=ice-pwd:U/fYmyhFt7ZPVq9FJV0Sph3H
        a=fingerprint:sha-256 
        a=setup:actpass
        a=candidate:1 1 udp 2130706175 203.0.113.1 3478 typ host
        a=end-of-candidates
        a=rtcp-mux
        a=sendrecv
        a=rtpmap:99 H264/90000
        a=fmtp:99 profile-level-id=42801F;packetization-mode=1
        a=rtpmap:100 VP8/90000
        a=rtcp-fb:99 nack pli
        a=rtcp-fb:99 ccm fir
        a=rtcp-fb:100 nack pli
        a=rtcp-fb:100 ccm fir
        a=msid:89fd60b37c5c03f8 video1
        a=ssrc:2728211184 cname:89fd60b37c5c03f8
    "#]]
    .assert_eq(&masked(&told));
    let answer = answer_of_browser(&world, &told);
    let told = world.tell("0 b", ToCaller, Role::Answer, &answer);
    expect![[r#"
        v=0
        o=- 4408892848731678615 1 IN IP4 198.51.100.9
        s=-
        c=IN IP4 198.51.100.9
        t=0 0
        m=audio 40000 RTP/AVP 8 0 9 101
        a=rtpmap:8 PCMA/8000
        a=rtpmap:0 PCMU/8000
        a=rtpmap:9 G722/8000
        a=rtpmap:101 telephone-event/8000
        a=fmtp:101 0-16
        a=ptime:20
        a=sendrecv
        m=video 40002 RTP/AVP 99 100
        a=rtpmap:99 H264/90000
        a=fmtp:99 profile-level-id=42801F;packetization-mode=1
        a=rtpmap:100 VP8/90000
        a=sendrecv
    "#]]
    .assert_eq(&masked(&told));
}

#[test]
fn a_phone_without_video_gets_none_of_it() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM_VIDEO);
    let told = world.tell("0", ToCallee, Role::Offer, &offer);
    expect![[r#"
        v=0
        o=- 4971604938152870396 1 IN IP4 198.51.100.9
        s=-
        c=IN IP4 198.51.100.9
        t=0 0
        m=audio 40000 RTP/AVP 111 9 0 8 13 110 126
        a=rtpmap:111 opus/48000/2
        a=fmtp:111 minptime=10;useinbandfec=1
        a=rtpmap:9 G722/8000
        a=rtpmap:0 PCMU/8000
        a=rtpmap:8 PCMA/8000
        a=rtpmap:13 CN/8000
        a=rtpmap:110 telephone-event/48000
        a=rtpmap:126 telephone-event/8000
        a=sendrecv
        m=video 40002 RTP/AVP 96 103 107 35
        a=rtpmap:96 VP8/90000
        a=rtpmap:103 H264/90000
        a=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
        a=rtpmap:107 H264/90000
        a=fmtp:107 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f
        a=rtpmap:35 AV1/90000
        a=fmtp:35 level-idx=5;profile=0;tier=0
        a=sendrecv
    "#]]
    .assert_eq(&masked(&told));
    let answer = phone(PHONE, 1, &format!("{PCMA}m=video 0 RTP/AVP 96\n"));
    let told = world.tell("0 a", ToCaller, Role::Answer, &answer);
    assert!(
        told.contains("a=group:BUNDLE 0\n") && told.contains("m=video 0 UDP/TLS/RTP/SAVPF"),
        "{told}"
    );
    // Its ports are free again once it is clear who talks.
    assert_eq!(world.ports.open.len(), 2);
    world.handle(Input::Established {
        branch: world.branch("0", "a"),
    });
    assert_eq!(world.ports.open.len(), 1);
    // And it stays refused.
    let told = world.tell(
        "0 a",
        ToCaller,
        Role::Offer,
        &answer.replace(" 1 IN", " 2 IN"),
    );
    assert!(told.contains("m=video 0 UDP/TLS/RTP/SAVPF"), "{told}");
}

#[test]
fn video_is_relayed_where_both_take_it() {
    let mut world = World::new(Leg::Web, Leg::Sip(None), |config: &mut Config| {
        config.plain.protocol = crate::sdp::Protocol::Avpf;
    });
    let offer = world.by_browser(CHROMIUM_VIDEO);
    world.tell("0", ToCallee, Role::Offer, &offer);
    let answer = world.tell("0 a", ToCaller, Role::Answer, LINPHONE);
    assert!(
        answer.contains("a=group:BUNDLE 0 1\n") && answer.contains("a=rtcp-fb:96 nack pli"),
        "{answer}"
    );
    world.browser_reads(&answer);
    world.run_ms(2000);
    let (to, heard) = world.browser_sends(96, b"picture").unwrap();
    assert_eq!(
        (to.to_string().as_str(), heard.payload_type),
        ("[2001:db8::31]:9078", 96)
    );
    let (to, heard) = world.browser_sends(111, b"sound").unwrap();
    assert_eq!(
        (to.to_string().as_str(), heard.payload_type),
        ("[2001:db8::31]:7078", 96)
    );
}

#[test]
fn a_data_channel_is_refused_and_not_named() {
    let mut world = World::web_calls();
    let channel = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:1\na=sctp-port:5000\n";
    let offer = world.by_browser(&format!("{CHROMIUM}{channel}"));
    let told = world.tell("0", ToCallee, Role::Offer, &offer);
    assert!(told.contains("m=application 0 RTP/AVP 0\n"), "{told}");
    let answer = phone(PHONE, 1, &format!("{PCMA}m=application 0 RTP/AVP 0\n"));
    let told = world.tell("0 a", ToCaller, Role::Answer, &answer);
    assert!(
        told.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\n"),
        "{told}"
    );
}

#[test]
fn a_refresh_changes_nothing() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM);
    let to_phone = world.tell("0", ToCallee, Role::Offer, &offer);
    let to_browser = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    let again = offer.replace(" 2 IN", " 3 IN");
    assert_eq!(world.tell("0 a", ToCallee, Role::Offer, &again), to_phone);
    assert_eq!(
        world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA)),
        to_browser
    );
    // From the other side it is another description: an offer leaves the role in DTLS open.
    let refresh = world.tell("0 a", ToCaller, Role::Offer, &phone(PHONE, 1, PCMA));
    assert_eq!(
        world.tell("0 a", ToCaller, Role::Offer, &phone(PHONE, 1, PCMA)),
        refresh
    );
    let lines = |sdp: &str| {
        sdp.lines()
            .filter(|line| !line.starts_with("o=") && !line.starts_with("a=setup"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(&refresh), lines(&to_browser));
}

#[test]
fn another_port_and_another_codec() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    let moved = phone(
        "192.0.2.99:7000",
        2,
        "m=audio PORT RTP/AVP 0 96\na=rtpmap:96 telephone-event/8000\n",
    );
    let told = world.tell("0 a", ToCaller, Role::Offer, &moved);
    // The number that the browser has for DTMF stays.
    assert!(
        told.contains("m=audio 3478 UDP/TLS/RTP/SAVPF 0 126\n"),
        "{told}"
    );
    let answer = answer_of_browser(&world, &told);
    world.tell("0 a", ToCallee, Role::Answer, &answer);
    let (to, heard) = world.browser_sends(0, b"pcmu").unwrap();
    assert_eq!(
        (to.to_string().as_str(), heard.payload_type),
        ("192.0.2.99:7000", 0)
    );
    let (_, heard) = world.browser_sends(126, &[1, 10, 0, 160]).unwrap();
    assert_eq!(heard.payload_type, 96);
    assert_eq!(world.browser_sends(8, b"pcma"), None);
    assert!(
        world
            .phone_sends("192.0.2.99:7000", port, 0, b"pcmu")
            .is_some()
    );
    assert_eq!(world.phone_sends(PHONE, port, 0, b"pcmu"), None);
}

#[test]
fn fax_is_refused_towards_a_browser() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    refused(
        world.ask("0 a", ToCaller, Role::Offer, FAX),
        expect!["488 nothing in the offer can be relayed: image by udptl"],
    );
    let both = phone(PHONE, 2, &format!("{PCMA}m=image 4186 udptl t38\n"));
    let told = world.tell("0 a", ToCaller, Role::Offer, &both);
    assert!(told.contains("m=image 0 udptl t38\n"), "{told}");
    let answer = answer_of_browser(&world, &told);
    let told = world.tell("0 a", ToCallee, Role::Answer, &answer);
    assert!(told.contains("m=image 0 udptl t38\n"), "{told}");
    assert_hear(&mut world, port);
}

#[test]
fn opus_alone_and_g711_alone_where_nothing_is_transcoded() {
    let mut world = World::new(Leg::Web, Leg::Sip(None), |config: &mut Config| {
        config.limits.transcoded_calls_max = 0;
        config.plain.codecs = vec!["PCMU".into(), "pcma".into()];
    });
    let opus = world
        .by_browser(CHROMIUM)
        .replace("SAVPF 111 63 9 0 8 13 110 126", "SAVPF 111 110");
    refused(
        world.ask("0", ToCallee, Role::Offer, &opus),
        expect!["488 no codec in common: opus offered, PCMU, pcma taken"],
    );
    assert_eq!((world.engine.calls(), world.ports.open.len()), (0, 0));
    let mut world = World::new(Leg::Sip(None), Leg::Web, |config: &mut Config| {
        config.limits.transcoded_calls_max = 0;
    });
    world.tell("0", ToCallee, Role::Offer, &phone(PHONE, 1, PCMA));
    refused(
        world.ask("0 b", ToCaller, Role::Answer, &opus),
        expect!["488 no codec in common: PCMA offered, opus taken"],
    );
}

#[test]
fn what_is_no_browser_or_no_description_is_refused() {
    let mut world = World::web_calls();
    refused(
        world.ask("0", ToCallee, Role::Offer, &phone(PHONE, 1, PCMA)),
        expect!["488 a browser's description without ICE credentials or fingerprint"],
    );
    refused(
        world.ask("0", ToCallee, Role::Offer, "hello"),
        expect![[
            r#"488 no session description: Invalid formatted line 1: "Line not in key=value format""#
        ]],
    );
    refused(
        world.ask("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA)),
        expect!["500 an answer to no offer"],
    );
    let offer = world.by_browser(CHROMIUM);
    world.tell("0", ToCallee, Role::Offer, &offer);
    let two = phone(PHONE, 1, &format!("{PCMA}m=video 0 RTP/AVP 96\n"));
    refused(
        world.ask("0 a", ToCaller, Role::Answer, &two),
        expect!["488 1 sections offered, 2 answered"],
    );
    let broken = PCMA.replace("a=rtpmap:101 telephone-event", "a=rtpmap:101\u{b}");
    refused(
        world.ask("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, &broken)),
        expect!["488 the session description has a=rtpmap:101 /8000, which is not its syntax"],
    );
}

#[test]
fn limits_refuse_and_nothing_leaks() {
    let mut world = World::web_calls();
    world.ports.max = 1;
    let offer = world.by_browser(CHROMIUM_VIDEO);
    refused(
        world.ask("0", ToCallee, Role::Offer, &offer),
        expect!["500 no port is free for media on interface inside"],
    );
    assert_eq!((world.engine.calls(), world.ports.open.len()), (0, 0));
    let mut world = World::new(Leg::Web, Leg::Sip(None), |config: &mut Config| {
        (config.limits.calls_max, config.limits.branches_max) = (1, 2);
    });
    for branch in ["0", "1"] {
        world.tell(branch, ToCallee, Role::Offer, &offer);
    }
    refused(
        world.ask("2", ToCallee, Role::Offer, &offer),
        expect!["500 more than 2 branches of one call"],
    );
    let mut other = world.branch("0", "");
    other.call = "another".into();
    let ask = crate::Ask {
        branch: other,
        direction: ToCallee,
        role: Role::Offer,
        sdp: offer.clone().into(),
    };
    let answer = world.handle(Input::Ask { id: 3, ask }).unwrap();
    refused(answer, expect!["503 more than 1 calls of one media worker"]);
    assert_eq!(world.ports.open.len(), 4);
    world.handle(Input::BranchOver {
        branch: world.branch("1", ""),
    });
    assert_eq!(world.ports.open.len(), 2);
    world.handle(Input::End {
        call: "call".into(),
    });
    assert_eq!(
        (
            world.engine.calls(),
            world.ports.open.len(),
            world.engine.poll_timeout()
        ),
        (0, 0, None)
    );
    expect!["call is over after 0 s, 1 legs"].assert_eq(&world.said.join("\n"));
}

#[test]
fn a_call_that_nobody_hears_is_dead() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    for _ in 0..20 {
        world.run_ms(5000);
        world.phone_sends(PHONE, port, 8, b"phone").unwrap();
        world.browser_sends(8, b"browser").unwrap();
    }
    assert!(world.said.is_empty());
    for _ in 0..20 {
        world.run_ms(5000);
        if world.engine.calls() > 0 {
            world.browser_sends(8, b"browser");
        }
    }
    expect![[r#"
        call is dead: no RTP for 63 s
        call is over after 165 s, 2 legs"#]]
    .assert_eq(&world.said.join("\n"));
    assert!(world.ports.open.is_empty());
}

#[test]
fn silence_on_hold_is_no_death() {
    let mut world = World::web_calls();
    connected(&mut world);
    let hold = phone(PHONE, 2, &format!("{PCMA}a=inactive\n"));
    let told = world.tell("0 a", ToCaller, Role::Offer, &hold);
    let answer = answer_of_browser(&world, &told);
    world.tell("0 a", ToCallee, Role::Answer, &answer);
    world.run_ms(600_000);
    assert!(world.said.is_empty(), "{:?}", world.said);
}

#[test]
fn a_browser_that_is_another_is_not_heard() {
    let mut world = World::web_calls();
    let other = World::web_calls();
    let offer = world.by_browser(CHROMIUM).replace(
        &world.browser.config.fingerprint().to_string(),
        &other.browser.config.fingerprint().to_string(),
    );
    world.tell("0", ToCallee, Role::Offer, &offer);
    let answer = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    world.browser_reads(&answer);
    world.run_ms(2000);
    expect![[r#"
        call is dead: the certificate's fingerprint is none of those in the description
        call is over after 0 s, 2 legs"#]]
    .assert_eq(&world.said.join("\n"));
}

#[test]
fn a_call_that_nobody_answers_is_forgotten() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM);
    world.tell("0", ToCallee, Role::Offer, &offer);
    world.run_ms(590_000);
    assert_eq!(world.engine.calls(), 1);
    world.run_ms(20_000);
    assert_eq!((world.engine.calls(), world.ports.open.len()), (0, 0));
}
