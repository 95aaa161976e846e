//! Upstreams over TCP and TLS: connections that are kept, used again and opened anew; members that are passed over.

use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};

use crate::{
    client::{Browser, Sip, fresh, receive_on, request, send_to},
    scene::Scene,
    stream::{Ca, Line, Pbx},
};

const TO: &str = "sip:100@elsewhere.example";
const TCP: &str = "[[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:0\"\n";
const TLS: &str = "[[listener]]\nname = \"tls\"\ntransport = \"tls\"\naddress = \"127.0.0.1:0\"\n";

async fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// With an upstream of these lines.
async fn scene(upstream: &str, more: &str) -> Scene {
    let server = "workers = 1\ndomains = [\"localhost\"]";
    Scene::with_upstream(server, upstream, more, udp().await).await
}

fn over(transport: &str, members: &[std::net::SocketAddr], more: &str) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|member| format!("\"{member}\""))
        .collect();
    format!(
        "transport = \"{transport}\"\nmembers = [{}]\n{more}\n",
        members.join(", ")
    )
}

/// Nobody listens there.
async fn nowhere() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

fn message(browser: &Browser, body: &str) -> Sip {
    let fields = browser.from(TO);
    let text = request("MESSAGE", TO, Browser::VIA, 1, &fields).0;
    let length = format!("Content-Type: text/plain\r\nContent-Length: {}", body.len());
    Sip(text.replace("Content-Length: 0", &length) + body)
}

/// Through the PBX at the other end of this line.
async fn send_through(alice: &mut Browser, line: &mut Line) {
    alice.send(&message(alice, "hello")).await;
    let received = line.receive().await;
    assert!(
        received.start().starts_with("MESSAGE "),
        "{}",
        received.start()
    );
    line.send(&received.answer("200 OK", "p", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
}

#[tokio::test]
async fn a_pbx_over_tcp_has_one_connection_that_is_kept_and_opened_anew() {
    let pbx = Pbx::tcp().await;
    let scene = scene(&over("tcp", &[pbx.address()], ""), TCP).await;
    let mut alice = Browser::register(&scene, "alice").await;
    alice.send(&message(&alice, "hello")).await;
    let mut line = pbx.accept().await;
    let received = line.receive().await;
    let via = format!("SIP/2.0/TCP {};branch=", scene.address("tcp"));
    assert!(
        received.get("Via").starts_with(&via),
        "{}",
        received.get("Via")
    );
    line.send(&received.answer("200 OK", "p", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    send_through(&mut alice, &mut line).await;
    // It is an upstream's flow in the other direction, too.
    let to_alice = format!(
        "From: <sip:100@pbx>;tag=p\r\nTo: <{}>\r\nCall-ID: p{}\r\n",
        alice.aor(),
        fresh()
    );
    let asked = request("OPTIONS", &alice.aor(), &line.via, 1, &to_alice);
    line.send(&asked).await;
    let received = alice.receive().await;
    alice.send(&received.answer("200 OK", "a", "")).await;
    assert_eq!(line.receive().await.start(), "SIP/2.0 200 OK");
    assert!(pbx.is_left_alone().await);
    scene
        .until_total("hookswitch_upstream_connections{", "", 1)
        .await;

    // It goes away while a request waits for it: that one fails at once, and the next finds a new connection.
    alice.send(&message(&alice, "hello")).await;
    line.receive().await;
    drop(line);
    assert!(alice.receive().await.start().starts_with("SIP/2.0 5"));
    alice.send(&message(&alice, "hello")).await;
    let mut line = pbx.accept().await;
    let received = line.receive().await;
    line.send(&received.answer("200 OK", "p", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    scene
        .until_total("hookswitch_upstream_connects_total", "", 2)
        .await;
    scene.end().await;
}

#[tokio::test]
async fn a_member_that_cannot_be_reached_is_followed_by_the_next_and_left_alone_for_a_while() {
    let pbx = Pbx::tcp().await;
    let members = [nowhere().await, pbx.address()];
    let scene = scene(&over("tcp", &members, ""), TCP).await;
    let mut alice = Browser::register(&scene, "alice").await;
    alice.send(&message(&alice, "hello")).await;
    let mut line = pbx.accept().await;
    let received = line.receive().await;
    line.send(&received.answer("200 OK", "p", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    for _ in 0..20 {
        send_through(&mut alice, &mut line).await;
    }
    let failed = scene
        .total("hookswitch_upstream_connects_failed_total", "")
        .await;
    assert!(failed <= 1, "{failed} attempts");
    scene.end().await;
}

#[tokio::test]
async fn a_pbx_over_tls_shows_and_sees_certificates_of_a_private_ca() {
    let folder = std::env::temp_dir().join(format!("hookswitch-upstream-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ca = Ca::new();
    ca.write(&folder.join("ca.pem"));
    ca.issue(&folder, "pbx", &["pbx.example"]);
    ca.issue(&folder, "us", &["us.example"]);
    let keys = |name: &str| {
        format!(
            "ca = {:?}\nserver_name = \"{name}\"\ncertificate = {:?}\nkey = {:?}",
            folder.join("ca.pem"),
            folder.join("us.pem"),
            folder.join("us.key")
        )
    };
    let pbx = Pbx::tls(&folder.join("pbx"), &folder.join("ca.pem")).await;
    let good = scene(&over("tls", &[pbx.address()], &keys("pbx.example")), TLS).await;
    let mut alice = Browser::register(&good, "alice").await;
    let secure = message(&alice, "hello")
        .0
        .replace("MESSAGE sip:", "MESSAGE sips:");
    alice.send(&Sip(secure)).await;
    let mut line = pbx.accept().await;
    let received = line.receive().await;
    assert!(received.start().starts_with("MESSAGE sips:100@"));
    assert!(received.get("Via").starts_with("SIP/2.0/TLS "));
    line.send(&received.answer("200 OK", "p", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    good.end().await;

    let other = scene(&over("tls", &[pbx.address()], &keys("other.example")), TLS).await;
    let mut alice = Browser::register(&other, "alice").await;
    alice.send(&message(&alice, "hello")).await;
    let accepting = async { tokio::time::timeout(Duration::from_secs(5), pbx.try_accept()).await };
    let (refused, answer) = tokio::join!(accepting, alice.receive());
    assert!(
        !refused.unwrap_or(false),
        "the certificate is of another name"
    );
    assert!(
        answer.start().starts_with("SIP/2.0 5"),
        "{}",
        answer.start()
    );
    std::fs::remove_dir_all(folder).unwrap();
    other.end().await;
}

#[tokio::test]
async fn a_pbx_that_cannot_be_connected_to_is_reached_on_its_own_connection() {
    let scene = scene(&over("tcp", &[nowhere().await], ""), TCP).await;
    let mut alice = Browser::register(&scene, "alice").await;
    let mut line = Line::tcp([127, 0, 0, 1], scene.address("tcp")).await;
    // Told apart from a connection that was not accepted yet.
    line.write(b"\r\n\r\n").await;
    assert_eq!(line.read().await, b"\r\n");
    send_through(&mut alice, &mut line).await;
    send_through(&mut alice, &mut line).await;
    alice.send(&message(&alice, "hello")).await;
    line.receive().await;
    drop(line);
    assert!(alice.receive().await.start().starts_with("SIP/2.0 5"));
    scene.end().await;
}

#[tokio::test]
async fn what_is_too_large_for_a_datagram_goes_by_tcp_if_that_can_be_had() {
    let pbx = Pbx::tcp().await;
    let datagrams = UdpSocket::bind(pbx.address()).await.unwrap();
    let upstream = over("udp", &[pbx.address()], "oversize = \"tcp-then-udp\"");
    let scene = scene(&upstream, "").await;
    let mut alice = Browser::register(&scene, "alice").await;
    let large = "x".repeat(2_000);
    alice.send(&message(&alice, &large)).await;
    let mut line = pbx.accept().await;
    let received = line.receive().await;
    assert!(received.get("Via").starts_with("SIP/2.0/TCP "));
    line.send(&received.answer("200 OK", "p", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    drop((line, pbx));
    // Until the server has seen that, the next one would be lost with the connection.
    scene
        .until_total("hookswitch_upstream_connections{", "", 0)
        .await;
    alice.send(&message(&alice, &large)).await;
    let received = receive_on(&datagrams).await;
    assert!(received.get("Via").starts_with("SIP/2.0/UDP "));
    let udp = scene.address("udp");
    send_to(&datagrams, udp, &received.answer("200 OK", "p", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    scene.end().await;
}

#[tokio::test]
async fn a_member_that_leaves_pings_unanswered_is_passed_over() {
    let (good, silent) = (udp().await, udp().await);
    let members = [good.local_addr().unwrap(), silent.local_addr().unwrap()];
    let keepalive = "keepalive = \"options\"\nkeepalive_s = 1";
    let scene = scene(&over("udp", &members, keepalive), "").await;
    let server = scene.address("udp");
    let answering = tokio::spawn(async move {
        let (mut pings, mut messages) = (0, 0);
        // Each test of sixteen would find the other one first with a chance of 1 in 65,536.
        while messages < 16 {
            let received = receive_on(&good).await;
            match received.start().starts_with("OPTIONS ") {
                true => pings += 1,
                false => messages += 1,
            }
            send_to(&good, server, &received.answer("200 OK", "p", "")).await;
        }
        pings
    });
    // The third ping finds two unanswered.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let mut alice = Browser::register(&scene, "alice").await;
    for _ in 0..16 {
        alice.send(&message(&alice, "hello")).await;
        assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    }
    assert!(answering.await.unwrap() >= 2);
    scene.end().await;
}

#[tokio::test]
async fn a_connection_to_an_upstream_that_is_kept_alive_is_open_before_it_is_needed() {
    let pbx = Pbx::tcp().await;
    let upstream = over("tcp", &[pbx.address()], "keepalive_s = 1\nidle_s_max = 1");
    let scene = scene(&upstream, TCP).await;
    let mut line = pbx.accept().await;
    for _ in 0..2 {
        assert_eq!(line.read().await, b"\r\n\r\n");
        line.write(b"\r\n").await;
    }
    drop(line);
    let mut line = pbx.accept().await;
    assert_eq!(line.read().await, b"\r\n\r\n");
    scene.end().await;
}

#[tokio::test]
async fn a_connection_that_is_not_used_is_closed() {
    let pbx = Pbx::tcp().await;
    let scene = scene(&over("tcp", &[pbx.address()], "idle_s_max = 1"), TCP).await;
    let mut alice = Browser::register(&scene, "alice").await;
    alice.send(&message(&alice, "hello")).await;
    let mut line = pbx.accept().await;
    let received = line.receive().await;
    line.send(&received.answer("200 OK", "p", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    assert!(line.next().await.is_none());
    scene.end().await;
}

#[tokio::test]
async fn a_member_by_name_is_resolved_while_the_server_runs() {
    let pbx = udp().await;
    let port = pbx.local_addr().unwrap().port();
    let scene = scene(&format!("members = [\"localhost:{port}\"]"), "").await;
    let mut alice = Browser::register(&scene, "alice").await;
    // Nobody waits for names: until they are known, there is nobody to call.
    let received = loop {
        alice.send(&message(&alice, "hello")).await;
        tokio::select! {
            received = receive_on(&pbx) => break received,
            answer = alice.receive() => assert!(answer.start().starts_with("SIP/2.0 404")),
        }
    };
    let server = scene.address("udp");
    send_to(&pbx, server, &received.answer("200 OK", "p", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    scene.end().await;
}
