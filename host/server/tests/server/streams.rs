//! Listeners for SIP over TCP and TLS: phones, and a PBX that connects to us.

use std::time::Duration;

use crate::{
    client::{Browser, Sip, as_callee, fresh, request, uri},
    scene::Scene,
    stream::{Ca, Line, client},
};

const TCP: &str = "[[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:0\"\n";
/// The upstream's own.
const PBX: [u8; 4] = [127, 0, 0, 1];
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

fn from(user: &str, to: &str) -> String {
    let (tag, call) = (fresh(), fresh());
    format!("From: <sip:{user}@localhost>;tag=s{tag}\r\nTo: <{to}>\r\nCall-ID: {call}@stream\r\n")
}

async fn register(line: &mut Line, user: &str) -> String {
    let contact = format!("Contact: <sip:{user}@{user}.invalid;transport=tcp>\r\n");
    let fields = format!(
        "{}{contact}Expires: 60\r\n",
        from(user, &format!("sip:{user}@localhost"))
    );
    let via = line.via.clone();
    line.send(&request("REGISTER", "sip:localhost", &via, 1, &fields))
        .await;
    assert_eq!(line.receive().await.start(), "SIP/2.0 200 OK");
    contact
}

#[tokio::test]
async fn a_phone_registers_over_tcp_and_calls_and_is_called() {
    let scene = Scene::start("workers = 2", TCP).await;
    let mut alice = Browser::register(&scene, "alice").await;
    let mut phone = Line::tcp(ELSEWHERE, scene.address("tcp")).await;
    let contact = register(&mut phone, "phone").await;

    let fields = format!(
        "{}Contact: {}\r\n",
        alice.from("sip:phone@localhost"),
        alice.contact()
    );
    alice
        .send(&request(
            "INVITE",
            "sip:phone@localhost",
            Browser::VIA,
            1,
            &fields,
        ))
        .await;
    let invite = phone.receive().await;
    assert!(invite.start().starts_with("INVITE sip:phone@phone.invalid"));
    assert!(
        invite.get("Via").starts_with("SIP/2.0/TCP "),
        "{}",
        invite.get("Via")
    );
    let accept = invite.answer("200 OK", "p", &contact);
    phone.send(&accept).await;
    let accepted = alice.receive().await;
    assert_eq!(accepted.start(), "SIP/2.0 200 OK");
    let bye = request(
        "BYE",
        uri(invite.get("Contact")),
        &phone.via,
        1,
        &as_callee(&accept),
    );
    // In pieces, with an empty line before: a stream is cut by Content-Length alone.
    let (one, two) = bye.0.split_at(40);
    phone.write(format!("\r\n{one}").as_bytes()).await;
    phone.write(two.as_bytes()).await;
    let bye = alice.receive().await;
    alice.send(&bye.answer("200 OK", "", "")).await;
    assert_eq!(phone.receive().await.start(), "SIP/2.0 200 OK");

    let calling = from("phone", &alice.aor());
    let message = request("MESSAGE", &alice.aor(), &phone.via, 1, &calling);
    phone.send(&message).await;
    let received = alice.receive().await;
    alice.send(&received.answer("200 OK", "a", "")).await;
    assert_eq!(phone.receive().await.start(), "SIP/2.0 200 OK");
    scene.end().await;
}

#[tokio::test]
async fn keepalives_are_answered_and_a_stream_that_cannot_be_cut_is_closed() {
    let scene = Scene::start("", TCP).await;
    let mut phone = Line::tcp(ELSEWHERE, scene.address("tcp")).await;
    phone.write(b"\r\n\r\n").await;
    assert_eq!(phone.read().await, b"\r\n");
    let fields = from("phone", "sip:bob@localhost");
    let unframed = format!(
        "OPTIONS sip:bob@localhost SIP/2.0\r\nVia: SIP/2.0/{};branch=z9hG4bKx\r\n{fields}CSeq: 1 OPTIONS\r\n\r\n",
        phone.via
    );
    phone.write(unframed.as_bytes()).await;
    let answer = phone.receive().await;
    assert!(
        answer.start().starts_with("SIP/2.0 400 ") && answer.start().contains("Content-Length"),
        "{}",
        answer.start()
    );
    assert!(phone.next().await.is_none());
    drop(phone);
    let closed = "hookswitch_connections_unreadable_closed_total";
    scene.until_total(closed, "", 1).await;

    let mut other = Line::tcp(ELSEWHERE, scene.address("tcp")).await;
    other.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(
        other.next().await.is_none(),
        "what is no SIP gets no answer"
    );
    scene.end().await;
}

#[tokio::test]
async fn who_connects_over_tls_shows_a_certificate_where_one_is_wanted() {
    let folder = std::env::temp_dir().join(format!("hookswitch-certs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (ours, other) = (Ca::new(), Ca::new());
    ours.write(&folder.join("ca.pem"));
    ours.issue(&folder, "phone", &["phone.example"]);
    other.issue(&folder, "stranger", &["phone.example"]);
    let listener = |name: &str, more: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\ntransport = \"tls\"\naddress = \"127.0.0.1:0\"\n{more}\n"
        )
    };
    let ca = format!("client_ca = {:?}", folder.join("ca.pem"));
    let more = [
        listener("open", ""),
        listener("may", &format!("{ca}\nclient_certificate = \"optional\"")),
        listener("must", &ca),
    ];
    let scene = Scene::start("", &more.concat()).await;
    let trusted = scene.folder.join("state/cert.pem");
    for (listener, own, is_taken) in [
        ("open", None, true),
        ("may", None, true),
        ("may", Some("phone"), true),
        ("may", Some("stranger"), false),
        ("must", None, false),
        ("must", Some("phone"), true),
        ("must", Some("stranger"), false),
    ] {
        let own = own.map(|own| folder.join(own));
        let config = client(&trusted, own.as_deref());
        let line = Line::tls(ELSEWHERE, scene.address(listener), config).await;
        assert_eq!(line.is_ok(), is_taken, "{listener} {own:?}");
        if let Ok(mut line) = line {
            register(&mut line, "phone").await;
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
    scene.end().await;
}

#[tokio::test]
async fn a_pbx_that_connects_is_its_upstream_and_anybody_else_is_not() {
    let scene = Scene::start("workers = 2\ndomains = [\"localhost\"]", TCP).await;
    for (address, status) in [
        (PBX, "SIP/2.0 404 Not Found"),
        (ELSEWHERE, "SIP/2.0 403 Forbidden"),
    ] {
        let mut line = Line::tcp(address, scene.address("tcp")).await;
        let to = "sip:100@elsewhere.example";
        let options = request("OPTIONS", to, &line.via, 1, &from("pbx", to));
        line.send(&options).await;
        assert_eq!(line.receive().await.start(), status);
    }
    scene.end().await;
}

#[tokio::test]
async fn a_carrier_that_connects_is_known_by_its_certificate() {
    let folder = std::env::temp_dir().join(format!("hookswitch-carrier-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ca = Ca::new();
    ca.write(&folder.join("ca.pem"));
    ca.issue(&folder, "carrier", &["edge.example", "sip.carrier.example"]);
    ca.issue(&folder, "phone", &["phone.example"]);
    let tls = format!(
        "[[listener]]\nname = \"tls\"\ntransport = \"tls\"\naddress = \"127.0.0.1:0\"\nclient_ca = {:?}\n\
         client_certificate = \"optional\"\n",
        folder.join("ca.pem")
    );
    // Nobody listens there: it is reached on its own connection.
    let upstream = format!(
        "transport = \"tls\"\nmembers = [\"127.0.0.1:9\"]\nca = {:?}\ncertificates = [\"sip.carrier.example\"]",
        folder.join("ca.pem")
    );
    let pbx = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = "workers = 1\ndomains = [\"localhost\"]";
    let scene = Scene::with_upstream(server, &upstream, &tls, pbx).await;
    let trusted = scene.folder.join("state/cert.pem");
    let to = "sip:100@elsewhere.example";
    let mut lines = Vec::new();
    for (address, own, status) in [
        (ELSEWHERE, Some("carrier"), "SIP/2.0 404 Not Found"),
        (ELSEWHERE, Some("phone"), "SIP/2.0 403 Forbidden"),
        (ELSEWHERE, None, "SIP/2.0 403 Forbidden"),
        // Its member's address says nothing where a certificate would say more.
        (PBX, None, "SIP/2.0 403 Forbidden"),
    ] {
        let config = client(&trusted, own.map(|own| folder.join(own)).as_deref());
        let line = Line::tls(address, scene.address("tls"), config).await;
        let mut line = line.unwrap();
        let options = request("OPTIONS", to, &line.via, 1, &from("100", to));
        line.send(&options).await;
        assert_eq!(line.receive().await.start(), status, "{own:?}");
        lines.push(line);
    }
    let mut alice = Browser::register(&scene, "alice").await;
    let message = request("MESSAGE", to, Browser::VIA, 1, &alice.from(to));
    alice.send(&message).await;
    let received = lines[0].receive().await;
    assert!(received.start().starts_with("MESSAGE sip:100@"));
    lines[0].send(&received.answer("200 OK", "c", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    std::fs::remove_dir_all(folder).unwrap();
    scene.end().await;
}

/// A phone of this name that is registered over TCP; `more` are parameters of its Contact.
async fn registered(scene: &Scene, name: &str, more: &str) -> (Line, Sip) {
    let mut phone = Line::tcp(ELSEWHERE, scene.address("tcp")).await;
    let fields = format!(
        "{}Supported: outbound\r\nContact: <sip:{name}@p.invalid>{more}\r\nExpires: 60\r\n",
        from(name, &format!("sip:{name}@localhost"))
    );
    let register = request("REGISTER", "sip:localhost", &phone.via, 1, &fields);
    phone.send(&register).await;
    let answer = phone.receive().await;
    (phone, answer)
}

/// RFC 5626 §5.4: who keeps to the timer that it was told stays, and so does who was told of none.
#[tokio::test]
async fn a_flow_that_is_not_kept_alive_is_closed() {
    let scene = Scene::start("", &format!("{TCP}flow_timer_s = 4\n")).await;
    let flow = ";reg-id=1;+sip.instance=\"<urn:uuid:1>\"";
    let (mut phone, answer) = registered(&scene, "phone", flow).await;
    assert_eq!(answer.get("Require"), "outbound");
    assert_eq!(answer.get("Flow-Timer"), "4");
    let (mut silent, _) = registered(&scene, "silent", flow).await;
    let (mut plain, answer) = registered(&scene, "plain", "").await;
    assert!(!answer.0.contains("Flow-Timer"), "{}", answer.0);
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        phone.write(b"\r\n\r\n").await;
        assert_eq!(phone.read().await, b"\r\n");
    }
    assert_eq!(silent.read().await, b"");
    plain.write(b"\r\n\r\n").await;
    assert_eq!(plain.read().await, b"\r\n");
    let closed = "hookswitch_connections_idle_closed_total";
    scene.until_total(closed, "", 1).await;
    scene.end().await;
}
