//! The HTTP and WebSocket side: who may come in, pages, keepalives, what cannot be read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::SinkExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::rustls::version;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::{Browser, Sip, fresh, send_to, via_of},
    scene::{Scene, get},
};

const UPGRADE: &str =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn only_sip_from_allowed_pages_comes_in() {
    let scene = Scene::start("", "").await;
    let sip = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n";
    for (fields, status) in [
        (format!("{UPGRADE}{sip}"), "101 Switching Protocols"),
        (
            format!("{UPGRADE}{sip}Origin: https://phone.example\r\n"),
            "101 Switching Protocols",
        ),
        (
            format!("{UPGRADE}{sip}Origin: https://evil.example\r\n"),
            "403 Forbidden",
        ),
        (
            format!("{UPGRADE}Sec-WebSocket-Version: 13\r\n"),
            "400 Bad Request",
        ),
        (
            format!("{UPGRADE}Sec-WebSocket-Version: 8\r\n"),
            "426 Upgrade Required",
        ),
    ] {
        let (line, _) = get(scene.tls().await, "/", &fields).await;
        assert_eq!(line, format!("HTTP/1.1 {status}"), "{fields}");
    }
    scene
        .until_total("hookswitch_upgrades_refused_total", "", 3)
        .await;
    scene.end().await;
}

#[tokio::test]
async fn pages_come_from_their_folder_alone() {
    let scene = Scene::start("", "").await;
    let (line, body) = get(scene.tls().await, "/", "").await;
    assert_eq!(
        (line.as_str(), body.as_str()),
        ("HTTP/1.1 200 OK", "<h1>softphone</h1>")
    );
    for path in ["/../secret", "/%2e%2e/secret", "/none.html"] {
        let (line, body) = get(scene.tls().await, path, "").await;
        assert_eq!(line, "HTTP/1.1 404 Not Found", "{path}");
        assert!(!body.contains("secret"));
    }
    scene.end().await;
}

#[tokio::test]
async fn keepalives_are_answered_and_the_unreadable_is_told_why() {
    let scene = Scene::start("", "").await;
    let mut alice = Browser::connect(&scene, "alice").await;
    alice.socket.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(alice.next().await.unwrap(), Message::text("\r\n"));
    alice
        .socket
        .send(Message::Ping(Bytes::from_static(b"x")))
        .await
        .unwrap();
    assert_eq!(
        alice.next().await.unwrap(),
        Message::Pong(Bytes::from_static(b"x"))
    );
    let fields = alice.from("sip:bob@localhost");
    let broken = format!(
        "OPTIONS sip:bob@localhost SIP/2.0\r\nVia: SIP/2.0/WSS b.invalid;branch=z9hG4bKx\r\n{fields}CSeq: 1 INVITE\r\n\r\n"
    );
    alice.send(&Sip(broken)).await;
    let answer = alice.receive().await;
    assert!(
        answer.start().starts_with("SIP/2.0 400 ") && answer.start().contains("CSeq"),
        "{}",
        answer.start()
    );
    scene
        .until_total("hookswitch_messages_malformed_total", "", 1)
        .await;
    scene.end().await;
}

#[tokio::test]
async fn a_silent_connection_is_pinged_and_then_closed() {
    let scene = Scene::start("", "[limits]\nidle_s_max = 1").await;
    let mut alice = Browser::connect(&scene, "alice").await;
    let first = alice.next().await;
    assert_eq!(first, Some(Message::Ping(Bytes::new())));
    // A client that does not read does not answer either.
    tokio::time::sleep(Duration::from_millis(1_700)).await;
    scene
        .until_total("hookswitch_connections_idle_closed_total", "", 1)
        .await;
    scene.end().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_costs_its_own_connection_alone() {
    let scene = Scene::start(
        "workers = 1",
        "[limits]\nconnection_queue_bytes_max = 65536",
    )
    .await;
    let slow = Browser::register(&scene, "slow").await;
    let mut quick = Browser::register(&scene, "quick").await;
    let body = "x".repeat(40_000);
    for _ in 0..2_000 {
        let fields = format!(
            "From: <sip:pbx@pbx>;tag=p\r\nTo: <{}>\r\nCall-ID: flood{}\r\n",
            slow.aor(),
            fresh()
        );
        let message = format!(
            "MESSAGE {} SIP/2.0\r\nVia: SIP/2.0/{};branch=z9hG4bKf{};rport\r\nMax-Forwards: 70\r\n{fields}CSeq: 1 MESSAGE\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            slow.aor(),
            via_of(&scene.pbx),
            fresh(),
            body.len()
        );
        send_to(&scene.pbx, scene.address("udp"), &Sip(message)).await;
        if scene
            .total("hookswitch_connections_slow_closed_total", "")
            .await
            == 1
        {
            break;
        }
    }
    scene
        .until_total("hookswitch_connections_slow_closed_total", "", 1)
        .await;
    quick.socket.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(quick.next().await.unwrap(), Message::text("\r\n"));
    drop(slow);
    scene.end().await;
}

#[tokio::test]
async fn tls_1_2_and_ipv6_are_spoken() {
    let six = "[[listener]]\nname = \"six\"\ntransport = \"ws\"\naddress = \"[::1]:0\"\n";
    let scene = Scene::start("", six).await;
    for version in [&version::TLS12, &version::TLS13] {
        let stream = scene.tls_of(&[version]).await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        assert_eq!(get(stream, "/", "").await.0, "HTTP/1.1 200 OK");
    }
    let stream = TcpStream::connect(scene.address("six")).await.unwrap();
    let sip = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n";
    let (line, _) = get(stream, "/", &format!("{UPGRADE}{sip}")).await;
    assert_eq!(line, "HTTP/1.1 101 Switching Protocols");
    scene.end().await;
}

#[tokio::test]
async fn a_slow_upgrade_is_a_handshake_in_flight_until_it_is_cut_off() {
    let limits = "[limits]\nhandshakes_in_flight_max = 1\nhandshake_ms_max = 1000";
    let scene = Scene::start("workers = 1", limits).await;
    let started = Instant::now();
    let mut slow = scene.tls().await;
    slow.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
    // Waits in the kernel for as long as the other is at it.
    let (line, _) = get(scene.tls().await, "/", "").await;
    assert_eq!(line, "HTTP/1.1 200 OK");
    assert!(started.elapsed() >= Duration::from_millis(900));
    let mut rest = Vec::new();
    // However it was cut off.
    let _ = slow.read_to_end(&mut rest).await;
    scene
        .until_total("hookswitch_handshakes_slow_total", "", 1)
        .await;
    scene.end().await;
}

#[tokio::test]
async fn one_address_does_not_take_all_connections() {
    let scene = Scene::start("", "[limits]\nconnections_per_address_max = 2").await;
    let first = Browser::connect(&scene, "alice").await;
    let _second = Browser::connect(&scene, "bob").await;
    let refused = async || {
        let mut third = TcpStream::connect(scene.address("wss")).await.unwrap();
        third.read(&mut [0]).await.is_ok_and(|length| length > 0)
    };
    assert!(!refused().await);
    scene
        .until_total("hookswitch_connections_refused_total", "", 1)
        .await;
    drop(first);
    scene.until_total("hookswitch_connections{", "", 1).await;
    Browser::connect(&scene, "carol").await;
    scene.end().await;
}
