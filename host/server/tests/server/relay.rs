//! Media through the embedded engine: session descriptions that lead to it, packets that go through it, ports that come back.

use std::{
    net::UdpSocket,
    ops::RangeInclusive,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use tokio::net;

use crate::{
    client::{Browser, Sip, as_caller, fresh, receive_on, request, send_to, uri, via_of},
    media::{body, with_body},
    scene::Scene,
};

const TO: &str = "sip:9001@elsewhere.example";
const PATIENCE: Duration = Duration::from_secs(10);
/// Behind a fixed header: version 2, PCMA, source 5.
const SOUND: [u8; 160] = [0xd5; 160];

/// So many ports in a row that nobody has.
fn free(count: u16) -> RangeInclusive<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let mut rows = (0..).map(|_| {
        let taken = NEXT.fetch_add(count.next_multiple_of(2), Ordering::Relaxed);
        let first = 30_000 + (std::process::id() as u16 % 16) * 128 + taken % 128;
        first..=first + count - 1
    });
    let is_free = |port| UdpSocket::bind(("127.0.0.1", port)).is_ok();
    rows.find(|row| row.clone().all(is_free)).unwrap()
}

/// With these ports for media, another PBX, and what the first one's `[[upstream]]` says more.
async fn scene(ports: &RangeInclusive<u16>, more: &str) -> (Scene, net::UdpSocket) {
    let udp = |address| net::UdpSocket::bind((address, 0));
    // Upstreams are told apart by their addresses.
    let (pbx, trunk) = (udp("127.0.0.1").await, udp("127.0.0.2").await);
    let (pbx, trunk) = (pbx.unwrap(), trunk.unwrap());
    let upstream = format!("members = [\"{}\"]\n{more}", pbx.local_addr().unwrap());
    let rest = format!(
        r#"
        [[upstream]]
        name = "trunk"
        members = ["{}"]
        [media]
        mode = "relay"
        workers = 1
        silence_s_max = 1
        [[media.interface]]
        name = "inside"
        addresses = ["127.0.0.1"]
        ports = "{}-{}"
        "#,
        trunk.local_addr().unwrap(),
        ports.start(),
        ports.end()
    );
    let scene = Scene::with_upstream(
        "workers = 2\ndomains = [\"localhost\"]",
        &upstream,
        &rest,
        pbx,
    )
    .await;
    (scene, trunk)
}

/// An end of RTP.
pub(crate) struct Rtp(UdpSocket);

impl Rtp {
    pub(crate) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub(crate) fn sdp(&self) -> String {
        let port = self.0.local_addr().unwrap().port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"
        )
    }

    pub(crate) fn sends(&self, to: u16) {
        let packet = [&[0x80, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5][..], &SOUND].concat();
        self.0.send_to(&packet, ("127.0.0.1", to)).unwrap();
    }

    pub(crate) fn hears(&self) {
        let mut buffer = [0; 2_048];
        let length = self.0.recv(&mut buffer).expect("media comes");
        assert_eq!(buffer[12..length], SOUND);
    }
}

/// The port of the first `m=` line.
pub(crate) fn port(message: &Sip) -> u16 {
    let media = body(message)
        .lines()
        .find_map(|line| line.strip_prefix("m=audio "));
    let port = media.unwrap_or_else(|| panic!("{}", message.0));
    port.split(' ').next().unwrap().parse().unwrap()
}

/// From the trunk to whoever gets what nobody else claims.
fn invite(trunk: &net::UdpSocket, rtp: &Rtp) -> Sip {
    let fields = format!(
        "From: <sip:100@trunk>;tag=t{}\r\nTo: <{TO}>\r\nCall-ID: t{}\r\nContact: <sip:100@{}>\r\n",
        fresh(),
        fresh(),
        trunk.local_addr().unwrap()
    );
    with_body(
        &request("INVITE", TO, &via_of(trunk), 1, &fields),
        &rtp.sdp(),
    )
}

fn contact(pbx: &net::UdpSocket) -> String {
    format!("Contact: <sip:pbx@{}>\r\n", pbx.local_addr().unwrap())
}

#[tokio::test]
async fn packets_go_through_us_and_the_ports_come_back() {
    let ports = free(16);
    let (scene, trunk) = scene(&ports, "").await;
    let (caller, callee, udp) = (Rtp::new(), Rtp::new(), scene.address("udp"));
    send_to(&trunk, udp, &invite(&trunk, &caller)).await;
    let offered = receive_on(&scene.pbx).await;
    let accept = offered.answer("200 OK", "p", &contact(&scene.pbx));
    send_to(&scene.pbx, udp, &with_body(&accept, &callee.sdp())).await;
    let accepted = receive_on(&trunk).await;
    assert_eq!(accepted.start(), "SIP/2.0 200 OK");
    let (for_callee, for_caller) = (port(&offered), port(&accepted));
    assert!(ports.contains(&for_callee) && ports.contains(&for_caller));
    assert_ne!(for_callee, for_caller);
    caller.sends(for_caller);
    callee.hears();
    callee.sends(for_callee);
    caller.hears();
    scene
        .until_total("hookswitch_media_relayed_total", "", 2)
        .await;

    let (pbx, fields) = (uri(accepted.get("Contact")), as_caller(&accepted));
    for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
        let request = request(method, pbx, &via_of(&trunk), cseq, &fields);
        send_to(&trunk, udp, &request).await;
        let received = receive_on(&scene.pbx).await;
        assert!(received.start().starts_with(method), "{}", received.0);
        if method == "BYE" {
            send_to(&scene.pbx, udp, &received.answer("200 OK", "", "")).await;
        }
    }
    assert_eq!(receive_on(&trunk).await.start(), "SIP/2.0 200 OK");
    for port in [for_callee, for_caller] {
        let is_free = || UdpSocket::bind(("127.0.0.1", port)).is_ok();
        for _ in 0..500 {
            if is_free() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(is_free(), "{port} is still bound");
    }
    scene.end().await;
}

/// What SIGTERM does: `main.rs` waits for the drain.
#[tokio::test]
async fn a_server_that_drains_carries_the_media_of_its_calls_until_they_end() {
    let (scene, trunk) = scene(&free(16), "").await;
    let (caller, callee, udp) = (Rtp::new(), Rtp::new(), scene.address("udp"));
    send_to(&trunk, udp, &invite(&trunk, &caller)).await;
    let offered = receive_on(&scene.pbx).await;
    let accept = offered.answer("200 OK", "p", &contact(&scene.pbx));
    send_to(&scene.pbx, udp, &with_body(&accept, &callee.sdp())).await;
    let accepted = receive_on(&trunk).await;
    let (pbx, fields) = (uri(accepted.get("Contact")), as_caller(&accepted));
    let say = |method, cseq| request(method, pbx, &via_of(&trunk), cseq, &fields);
    send_to(&trunk, udp, &say("ACK", 1)).await;
    assert!(receive_on(&scene.pbx).await.start().starts_with("ACK "));
    let hear_each_other = || {
        caller.sends(port(&accepted));
        callee.hears();
        callee.sends(port(&offered));
        caller.hears();
    };
    hear_each_other();

    let mut drained = Box::pin(scene.server.drained());
    let soon = Duration::from_millis(300);
    let ended = tokio::time::timeout(soon, drained.as_mut()).await;
    assert!(ended.is_err(), "a call is up");
    hear_each_other();
    send_to(&trunk, udp, &invite(&trunk, &caller)).await;
    let refused = receive_on(&trunk).await;
    assert!(refused.start().starts_with("SIP/2.0 503 "), "{}", refused.0);
    let ack = request("ACK", TO, refused.get("Via"), 1, &as_caller(&refused));
    send_to(&trunk, udp, &ack).await;
    hear_each_other();

    send_to(&trunk, udp, &say("BYE", 2)).await;
    let bye = receive_on(&scene.pbx).await;
    assert!(bye.start().starts_with("BYE "), "{}", bye.0);
    send_to(&scene.pbx, udp, &bye.answer("200 OK", "", "")).await;
    assert_eq!(receive_on(&trunk).await.start(), "SIP/2.0 200 OK");
    let ended = tokio::time::timeout(PATIENCE, drained).await;
    assert!(ended.is_ok(), "nothing is left to wait for");
    scene.end().await;
}

#[tokio::test]
async fn a_call_in_which_nobody_is_heard_is_ended_on_both_sides() {
    let (scene, trunk) = scene(&free(16), "").await;
    let (caller, callee, udp) = (Rtp::new(), Rtp::new(), scene.address("udp"));
    send_to(&trunk, udp, &invite(&trunk, &caller)).await;
    let offered = receive_on(&scene.pbx).await;
    let accept = offered.answer("200 OK", "p", &contact(&scene.pbx));
    send_to(&scene.pbx, udp, &with_body(&accept, &callee.sdp())).await;
    let accepted = receive_on(&trunk).await;
    let (pbx, fields) = (uri(accepted.get("Contact")), as_caller(&accepted));
    send_to(
        &trunk,
        udp,
        &request("ACK", pbx, &via_of(&trunk), 1, &fields),
    )
    .await;
    assert!(receive_on(&scene.pbx).await.start().starts_with("ACK "));
    for end in [&scene.pbx, &trunk] {
        let bye = receive_on(end).await;
        assert!(bye.start().starts_with("BYE "), "{}", bye.0);
        assert!(bye.get("Reason").contains("text="), "{}", bye.0);
        send_to(end, udp, &bye.answer("200 OK", "", "")).await;
    }
    scene.until_total("hookswitch_media_calls{", "", 0).await;
    scene.end().await;
}

#[tokio::test]
async fn a_call_without_ports_is_refused_and_leaves_none_behind() {
    // One for browsers, and a single pair.
    let (scene, trunk) = scene(&free(4), "").await;
    let (caller, udp) = (Rtp::new(), scene.address("udp"));
    for _ in 0..2 {
        send_to(&trunk, udp, &invite(&trunk, &caller)).await;
        let refused = receive_on(&trunk).await;
        assert!(refused.start().starts_with("SIP/2.0 500 "), "{}", refused.0);
    }
    // That pair is enough for a call of a browser.
    let mut alice = Browser::register(&scene, "alice").await;
    let fields = format!("{}Contact: {}\r\n", alice.from(TO), alice.contact());
    let invite = request("INVITE", TO, Browser::VIA, 1, &fields);
    alice.send(&with_body(&invite, WEBRTC)).await;
    let offered = receive_on(&scene.pbx).await;
    assert!(body(&offered).contains(" RTP/AVP 8\r\n"), "{}", offered.0);
    assert!(!body(&offered).contains("ice"), "{}", offered.0);
    scene.end().await;
}

#[tokio::test]
async fn without_configuration_browsers_are_left_alone_and_the_pbx_is_told_where_we_are() {
    let scene = Scene::start("", "").await;
    let mut alice = Browser::register(&scene, "alice").await;
    let mut bob = Browser::register(&scene, "bob").await;
    let fields = format!("{}Contact: {}\r\n", alice.from(&bob.aor()), alice.contact());
    let invite = request("INVITE", &bob.aor(), Browser::VIA, 1, &fields);
    alice.send(&with_body(&invite, WEBRTC)).await;
    assert_eq!(body(&bob.receive().await), WEBRTC);
    let fields = format!("{}Contact: {}\r\n", alice.from(TO), alice.contact());
    let invite = request("INVITE", TO, Browser::VIA, 1, &fields);
    alice.send(&with_body(&invite, WEBRTC)).await;
    let offered = tokio::select! {
        offered = receive_on(&scene.pbx) => offered,
        refused = alice.receive() => panic!("{}", refused.0),
    };
    for line in ["c=IN IP4 127.0.0.1\r\n", " RTP/AVP 8\r\n"] {
        assert!(body(&offered).contains(line), "{line} {}", offered.0);
    }
    scene.until_total("hookswitch_media_calls{", "", 1).await;
    scene.end().await;
}

#[tokio::test]
async fn a_browser_and_an_upstream_that_wants_sdes_are_told_what_they_understand() {
    let ports = free(8);
    let (scene, _trunk) = scene(&ports, "srtp = \"sdes\"").await;
    let mut alice = Browser::register(&scene, "alice").await;
    let fields = format!("{}Contact: {}\r\n", alice.from(TO), alice.contact());
    let invite = request("INVITE", TO, Browser::VIA, 1, &fields);
    alice.send(&with_body(&invite, WEBRTC)).await;
    let offered = receive_on(&scene.pbx).await;
    let sdp = body(&offered);
    let key = sdp.lines().find(|line| line.starts_with("a=crypto:1 "));
    assert!(sdp.contains(" RTP/SAVP 8\r\n"), "{sdp}");
    let (key, callee) = (key.unwrap(), Rtp::new());
    let answer = callee.sdp().replace("AVP", "SAVP") + key + "\r\n";
    let accept = offered.answer("200 OK", "p", &contact(&scene.pbx));
    send_to(
        &scene.pbx,
        scene.address("udp"),
        &with_body(&accept, &answer),
    )
    .await;
    let accepted = alice.receive().await;
    for line in [
        "a=ice-lite\r\n",
        "a=setup:passive\r\n",
        "a=rtcp-mux\r\n",
        "UDP/TLS/RTP/SAVPF 8\r\n",
    ] {
        assert!(body(&accepted).contains(line), "{line} {}", accepted.0);
    }
    let candidate = format!("127.0.0.1 {} typ host", ports.start());
    assert!(body(&accepted).contains(&candidate), "{}", accepted.0);
    scene.end().await;
}

const WEBRTC: &str = "v=0\r
o=- 1 1 IN IP4 127.0.0.1\r
s=-\r
t=0 0\r
m=audio 9 UDP/TLS/RTP/SAVPF 8\r
c=IN IP4 0.0.0.0\r
a=ice-ufrag:abcd\r
a=ice-pwd:0123456789012345678901\r
a=fingerprint:sha-256 \
00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F\r
a=setup:actpass\r
a=mid:0\r
a=rtcp-mux\r
a=sendrecv\r
";
