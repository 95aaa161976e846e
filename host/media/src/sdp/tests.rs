use expect_test::{Expect, expect};

use super::*;

const CHROMIUM_AUDIO: &str = include_str!("samples/chromium-audio.sdp");
const CHROMIUM_VIDEO: &str = include_str!("samples/chromium-audio-video.sdp");
const BARESIP: &str = include_str!("samples/baresip.sdp");
const PJSUA2: &str = include_str!("samples/pjsua2.sdp");
const PJSUA2_SDES: &str = include_str!("samples/pjsua2-sdes.sdp");
const ASTERISK: &str = include_str!("samples/asterisk.sdp");
const YEALINK_HOLD: &str = include_str!("samples/yealink-hold.sdp");
const LINPHONE: &str = include_str!("samples/linphone.sdp");
const FAX: &str = include_str!("samples/fax.sdp");

fn read(sdp: &str) -> Session {
    Session::parse(sdp.as_bytes()).unwrap()
}

fn text(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap().replace('\r', "")
}

/// One line for each section.
fn check(sdp: &str, expected: Expect) {
    let session = read(sdp);
    let mut text = format!(
        "{} {} bundle {:?}\n",
        session.id, session.version, session.bundle
    );
    for section in &session.sections {
        text += &summary(section);
    }
    expected.assert_eq(&text);
}

fn summary(section: &Section) -> String {
    let codecs = section.codecs.iter().map(|codec| {
        let fmtp = codec
            .fmtp
            .as_deref()
            .map_or(String::new(), |fmtp| format!(" ({fmtp})"));
        let feedback = if codec.feedback.is_empty() {
            String::new()
        } else {
            format!(" {:?}", codec.feedback)
        };
        format!(
            "    {} {}/{}/{}{fmtp}{feedback}\n",
            codec.payload_type, codec.name, codec.clock_hz, codec.channels
        )
    });
    let codecs = codecs.collect::<String>();
    let (kind, protocol, port) = (
        section.kind.as_str(),
        section.protocol.as_str(),
        section.port,
    );
    let address = section
        .address
        .map_or("-".to_owned(), |address| address.to_string());
    let (rtcp, direction, ptime) = (section.rtcp, section.direction, section.ptime_ms);
    let web = section.web.as_ref().map_or(String::new(), |web| {
        let hash = web
            .fingerprints
            .iter()
            .map(|fingerprint| fingerprint.to_string()[..14].to_owned());
        format!(
            "    {:?} {:?} {:?} {}\n",
            web.ice,
            web.candidates
                .iter()
                .map(|each| each.address)
                .collect::<Vec<_>>(),
            hash.collect::<Vec<_>>(),
            web.setup
        )
    });
    let rest = format!(
        "    mid {:?} msid {:?} sources {} crypto {:?}\n",
        section.mid,
        section.msid.is_some(),
        section.sources.len(),
        section.crypto
    );
    format!(
        "{kind} {protocol} {address}:{port} {rtcp:?} {direction} ptime {ptime:?}\n{codecs}{web}{rest}"
    )
}

#[test]
fn chromium() {
    check(
        CHROMIUM_AUDIO,
        expect![[r#"
        4611731400430051336 2 bundle ["0"]
        audio UDP/TLS/RTP/SAVPF 192.0.2.17:51472 Muxed sendrecv ptime None
            111 opus/48000/2 (minptime=10;useinbandfec=1) ["transport-cc"]
            63 red/48000/2 (111/111)
            9 G722/8000/1
            0 PCMU/8000/1
            8 PCMA/8000/1
            13 CN/8000/1
            110 telephone-event/48000/1
            126 telephone-event/8000/1
            IceCredentials(EsAw) [192.0.2.17:51472] ["sha-256 D1:2C:"] actpass
            mid Some("0") msid true sources 1 crypto []
    "#]],
    );
}

#[test]
fn chromium_with_video() {
    check(
        CHROMIUM_VIDEO,
        expect![[r#"
        4611731400430051336 2 bundle ["0", "1"]
        audio UDP/TLS/RTP/SAVPF 192.0.2.17:51472 Muxed sendrecv ptime None
            111 opus/48000/2 (minptime=10;useinbandfec=1) ["transport-cc"]
            63 red/48000/2 (111/111)
            9 G722/8000/1
            0 PCMU/8000/1
            8 PCMA/8000/1
            13 CN/8000/1
            110 telephone-event/48000/1
            126 telephone-event/8000/1
            IceCredentials(EsAw) [192.0.2.17:51472] ["sha-256 D1:2C:"] actpass
            mid Some("0") msid true sources 1 crypto []
        video UDP/TLS/RTP/SAVPF -:9 Muxed sendrecv ptime None
            96 VP8/90000/1 ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]
            97 rtx/90000/1 (apt=96)
            103 H264/90000/1 (level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f) ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"]
            104 rtx/90000/1 (apt=103)
            107 H264/90000/1 (level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f) ["ccm fir", "nack", "nack pli"]
            108 rtx/90000/1 (apt=107)
            35 AV1/90000/1 (level-idx=5;profile=0;tier=0) ["nack pli"]
            36 rtx/90000/1 (apt=35)
            114 red/90000/1
            115 rtx/90000/1 (apt=114)
            116 ulpfec/90000/1
            IceCredentials(EsAw) [] ["sha-256 D1:2C:"] actpass
            mid Some("1") msid true sources 2 crypto []
    "#]],
    );
}

#[test]
fn baresip() {
    check(
        BARESIP,
        expect![[r#"
        1785293442 1785293442 bundle []
        audio RTP/AVP 192.0.2.30:24116 At { port: 24117, address: None } sendrecv ptime Some(20)
            96 opus/48000/2 (stereo=1;sprop-stereo=1)
            0 PCMU/8000/1
            8 PCMA/8000/1
            101 telephone-event/8000/1 (0-15)
            mid None msid false sources 1 crypto []
    "#]],
    );
}

#[test]
fn pjsua2() {
    check(
        PJSUA2,
        expect![[r#"
        3973178521 3973178521 bundle []
        audio RTP/AVP 192.0.2.31:4002 At { port: 4003, address: Some(192.0.2.31) } sendrecv ptime None
            98 speex/16000/1
            97 speex/8000/1
            3 GSM/8000/1
            0 PCMU/8000/1
            8 PCMA/8000/1
            9 G722/8000/1
            120 telephone-event/16000/1 (0-16)
            121 telephone-event/8000/1 (0-16)
            mid None msid false sources 1 crypto []
    "#]],
    );
}

#[test]
fn pjsua2_with_sdes_takes_the_suites_that_we_know() {
    check(
        PJSUA2_SDES,
        expect![[r#"
        3973178600 3973178600 bundle []
        audio RTP/SAVP 192.0.2.31:4006 At { port: 4007, address: Some(192.0.2.31) } sendrecv ptime None
            8 PCMA/8000/1
            0 PCMU/8000/1
            121 telephone-event/8000/1 (0-16)
            mid None msid false sources 0 crypto [Crypto(2 AES_CM_128_HMAC_SHA1_80)]
    "#]],
    );
}

#[test]
fn asterisk_with_video() {
    check(
        ASTERISK,
        expect![[r#"
        1326794221 1326794223 bundle []
        audio RTP/AVP 198.51.100.5:14226 Next sendrecv ptime Some(20)
            8 PCMA/8000/1
            0 PCMU/8000/1
            9 G722/8000/1
            101 telephone-event/8000/1 (0-16)
            mid None msid false sources 0 crypto []
        video RTP/AVP 198.51.100.5:16412 Next sendrecv ptime None
            99 H264/90000/1 (profile-level-id=42801F;packetization-mode=1)
            100 VP8/90000/1
            mid None msid false sources 0 crypto []
    "#]],
    );
}

#[test]
fn the_hold_of_old_hears_nothing() {
    check(
        YEALINK_HOLD,
        expect![[r#"
        20083 20085 bundle []
        audio RTP/AVP -:11790 Next sendonly ptime Some(20)
            9 G722/8000/1
            0 PCMU/8000/1
            8 PCMA/8000/1
            18 G729/8000/1 (annexb=no)
            101 telephone-event/8000/1 (0-15)
            mid None msid false sources 0 crypto []
    "#]],
    );
}

#[test]
fn linphone_with_feedback_over_ipv6() {
    check(
        LINPHONE,
        expect![[r#"
        2890 1903 bundle []
        audio RTP/AVPF 2001:db8::31:7078 Next sendrecv ptime None
            96 opus/48000/2 (useinbandfec=1) ["trr-int 1000", "ccm tmmbr"]
            8 PCMA/8000/1 ["trr-int 1000", "ccm tmmbr"]
            101 telephone-event/48000/1 ["trr-int 1000", "ccm tmmbr"]
            97 telephone-event/8000/1 ["trr-int 1000", "ccm tmmbr"]
            mid None msid false sources 0 crypto []
        video RTP/AVPF 2001:db8::31:9078 Next sendrecv ptime None
            96 VP8/90000/1 ["trr-int 1000", "ccm tmmbr", "nack pli", "ccm fir"]
            mid None msid false sources 0 crypto []
    "#]],
    );
}

#[test]
fn fax() {
    check(
        FAX,
        expect![[r#"
        1326794221 1326794224 bundle []
        image udptl 198.51.100.5:4186 Next sendrecv ptime None
            mid None msid false sources 0 crypto []
    "#]],
    );
}

/// A description of a browser written for a phone has nothing of WebRTC; written for a browser it reads back the same.
#[test]
fn what_webrtc_alone_has_does_not_leak() {
    for sdp in [CHROMIUM_AUDIO, CHROMIUM_VIDEO] {
        let mut session = read(sdp);
        let again = Session::parse(&web::write(&session)).unwrap();
        for (section, again) in session.sections.iter().zip(&again.sections) {
            assert_eq!(
                (&section.web, &section.mid, &section.codecs),
                (&again.web, &again.mid, &again.codecs)
            );
            assert_eq!(
                (&section.msid, &section.sources, section.direction),
                (&again.msid, &again.sources, again.direction)
            );
        }
        for section in &mut session.sections {
            (section.protocol, section.rtcp) = (Protocol::Avp, RtcpPort::Next);
        }
        let plain = String::from_utf8(plain::write(&session).to_vec()).unwrap();
        let web = "ice candidate fingerprint setup mid group msid ssrc extmap rtcp-mux rtcp-rsize rtcp-fb TLS";
        for attribute in web.split(' ') {
            assert!(!plain.contains(attribute), "{attribute} in\n{plain}");
        }
    }
}

#[test]
fn a_phone_is_told() {
    let mut session = read(ASTERISK);
    session.sections[1] = Section::refused(
        Kind::Video,
        Protocol::Avp,
        "99 100".into(),
        Some("1".into()),
    );
    let text = text(&plain::write(&session));
    expect![[r#"
        v=0
        o=- 1326794221 1326794223 IN IP4 198.51.100.5
        s=-
        c=IN IP4 198.51.100.5
        t=0 0
        m=audio 14226 RTP/AVP 8 0 9 101
        a=rtpmap:8 PCMA/8000
        a=rtpmap:0 PCMU/8000
        a=rtpmap:9 G722/8000
        a=rtpmap:101 telephone-event/8000
        a=fmtp:101 0-16
        a=ptime:20
        a=sendrecv
        m=video 0 RTP/AVP 99 100
    "#]]
    .assert_eq(&text);
}

#[test]
fn a_phone_with_sdes_is_told() {
    let text = text(&plain::write(&read(PJSUA2_SDES)));
    expect![[r#"
        v=0
        o=- 3973178600 3973178600 IN IP4 192.0.2.31
        s=-
        c=IN IP4 192.0.2.31
        t=0 0
        m=audio 4006 RTP/SAVP 8 0 121
        a=rtcp:4007 IN IP4 192.0.2.31
        a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:zvatGLuRVwwOKPXTlGPnv6p1b3cALbFpdSErX6Vu
        a=rtpmap:8 PCMA/8000
        a=rtpmap:0 PCMU/8000
        a=rtpmap:121 telephone-event/8000
        a=fmtp:121 0-16
        a=sendrecv
    "#]]
    .assert_eq(&text);
}

#[test]
fn a_browser_is_told() {
    let mut session = read(CHROMIUM_AUDIO);
    let section = &mut session.sections[0];
    section.codecs.truncate(1);
    let web = section.web.as_mut().unwrap();
    let candidate = |address: &str, transport| Candidate {
        address: address.parse().unwrap(),
        transport,
    };
    web.candidates = vec![
        candidate("203.0.113.1:40000", CandidateTransport::Udp),
        candidate("[2001:db8::1]:40000", CandidateTransport::Udp),
        candidate("203.0.113.1:40000", CandidateTransport::TcpPassive),
    ];
    section.address = Some("203.0.113.1".parse().unwrap());
    let written = web::write(&session);
    let read = Session::parse(&written).unwrap();
    let again = read.sections[0]
        .web
        .as_ref()
        .map(|web| web.candidates.clone());
    assert_eq!(
        again,
        session.sections[0]
            .web
            .as_ref()
            .map(|web| web.candidates.clone())
    );
    let text = text(&written);
    expect![[r#"
        v=0
        o=- 4611731400430051336 2 IN IP4 127.0.0.1
        s=-
        c=IN IP4 203.0.113.1
        t=0 0
        a=ice-lite
        a=group:BUNDLE 0
        m=audio 51472 UDP/TLS/RTP/SAVPF 111
        a=mid:0
        a=ice-ufrag:EsAw
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
        a=fingerprint:sha-256 D1:2C:BE:AD:C4:F6:64:5C:25:16:11:9C:AF:E7:0F:73:79:36:4E:9C:1E:15:54:39:0C:06:8B:ED:96:86:00:39
        a=setup:actpass
        a=candidate:1 1 udp 2130706175 203.0.113.1 40000 typ host
        a=candidate:2 1 udp 2130705919 2001:db8::1 40000 typ host
        a=candidate:3 1 tcp 2124414207 203.0.113.1 40000 typ host tcptype passive
        a=end-of-candidates
        a=rtcp-mux
        a=sendrecv
        a=rtpmap:111 opus/48000/2
        a=fmtp:111 minptime=10;useinbandfec=1
        a=rtcp-fb:111 transport-cc
        a=msid:7a1f0c2e-6f0b-4d4e-9f55-3d1b8a3c5a10 e2b6c2a4-0a3c-4b46-9e0e-b5e0f3a6f5f1
        a=ssrc:2731090344 cname:wPp4Yb2sKjJ8fTqA
    "#]].assert_eq(&text);
}

fn refused(sdp: &str, expected: Expect) {
    expected.assert_eq(&Session::parse(sdp.as_bytes()).unwrap_err().to_string());
}

#[test]
fn refuses_what_it_cannot_understand() {
    let head = "v=0\no=- 1 1 IN IP4 1.2.3.4\ns=-\nt=0 0\n";
    refused("", expect!["no session description: No version line"]);
    refused(
        "hello",
        expect![[
            r#"no session description: Invalid formatted line 1: "Line not in key=value format""#
        ]],
    );
    refused(
        &format!("{head}m=audio 99999 RTP/AVP 0\n"),
        expect!["no session description: Invalid field formatting in line 5 at Media port"],
    );
    refused(
        &format!("{head}{0}{0}", "m=audio 4000 RTP/AVP 0\na=mid:x\n"),
        expect!["the session description has a=mid:x, which is not its syntax"],
    );
    refused(
        &format!("{head}m=audio 4000 RTP/AVP 0 128\n"),
        expect![[r#"no session description: "128" is no payload type"#]],
    );
    refused(
        &format!("{head}m=audio 4000 RTP/AVP 96\na=rtpmap:96 opus\n"),
        expect!["the session description has a=rtpmap:96 opus, which is not its syntax"],
    );
    refused(
        &format!("{head}m=audio 4000 RTP/AVP 0\na=ice-ufrag:a\n"),
        expect!["the session description has a=ice-ufrag:a, which is not its syntax"],
    );
    refused(
        &format!("{head}m=audio 4000 RTP/AVP 0\na=mid:a b\n"),
        expect!["the session description has a=mid:a b, which is not its syntax"],
    );
    refused(
        &format!("{head}m=audio 4000 RTP/AVP 0\na=setup:holdconn\n"),
        expect!["the session description has a=setup:holdconn, which is not its syntax"],
    );
}

#[test]
fn refuses_what_is_too_much() {
    let head = "v=0\no=- 1 1 IN IP4 1.2.3.4\ns=-\nt=0 0\n";
    let section = "m=audio 4000 RTP/AVP 0\n";
    refused(
        &format!("{head}{}", section.repeat(SECTIONS_MAX + 1)),
        expect!["the session description has more than 16 sections"],
    );
    refused(
        &format!(
            "{head}{section}{}",
            "a=rtpmap:0 PCMU/8000\n".repeat(CODECS_MAX + 1)
        ),
        expect!["the session description has more than 64 codecs"],
    );
    refused(
        &format!(
            "{head}{section}{}",
            "a=ssrc:1 cname:a\n".repeat(LINES_MAX + 1)
        ),
        expect!["the session description has more than 64 lines of one kind"],
    );
    refused(
        &format!("{head}{section}{}", "a=x\n".repeat(SDP_BYTES_MAX / 4)),
        expect!["the session description has 65596 bytes, more than 65536"],
    );
}

#[test]
fn names_in_other_character_sets_and_loose_ends_do_not_matter() {
    let mut body = b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=B\xfcro\r\nc=IN IP4 1.2.3.4\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n\r\n\0".to_vec();
    assert_eq!(Session::parse(&body).unwrap().sections.len(), 1);
    body.insert(body.len() - 4, 0xff);
    assert!(Session::parse(&body).is_err());
}

#[test]
fn codecs_are_the_same_by_name_clock_channels_and_profile() {
    let video = &read(CHROMIUM_VIDEO).sections[1];
    let by = |payload_type: u8| {
        video
            .codecs
            .iter()
            .find(|codec| codec.payload_type == payload_type)
            .unwrap()
    };
    let phone = &read(ASTERISK).sections[1].codecs;
    assert!(phone[0].suits(by(103)) && !phone[0].is(by(103)) && !phone[0].suits(by(107)));
    assert!(phone[1].is(by(96)) && !phone[1].suits(by(103)));
    assert!(by(97).is_repair() && by(116).is_repair() && !by(96).is_repair());
}
