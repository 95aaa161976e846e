//! Registrations that outlive the server.

use tokio::net::UdpSocket;

use crate::{
    client::{Browser, receive_on, request, send_to, uri},
    scene::Scene,
};

const ON_DISK: &str = "[registrar]\nstore = \"disk\"";

async fn listed(scene: &Scene) -> serde_json::Value {
    let (_, text) = scene.admin("/api/registrations").await;
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_restart_brings_registrations_back() {
    let scene = Scene::start("", ON_DISK).await;
    drop(Browser::register(&scene, "alice").await);
    let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = phone.local_addr().unwrap();
    let fields = format!(
        "From: <sip:desk@localhost>;tag=1\r\nTo: <sip:desk@localhost>\r\nCall-ID: desk\r\nContact: <sip:desk@{address}>\r\nExpires: 60\r\n"
    );
    let via = format!("UDP {address}");
    let register = request("REGISTER", "sip:localhost", &via, 1, &fields);
    send_to(&phone, scene.address("udp"), &register).await;
    assert_eq!(receive_on(&phone).await.start(), "SIP/2.0 200 OK");

    let scene = scene.restart().await;
    let registrations = listed(&scene).await;
    assert_eq!(registrations["total"], 2);
    let [alice, desk] = [0, 1].map(|at| registrations["registrations"][at].clone());
    assert_eq!(
        (&alice["aor"], &desk["aor"]),
        (&"sip:alice".into(), &"sip:desk".into())
    );
    assert!(alice["contacts"][0]["peer"].is_null(), "{alice}");

    // The phone is reached without having said a word to the new server; who needs a connection is not.
    let mut bob = Browser::register(&scene, "bob").await;
    for (callee, answer) in [
        ("desk", "SIP/2.0 200 OK"),
        ("alice", "SIP/2.0 480 Temporarily Unavailable"),
    ] {
        let uri = format!("sip:{callee}@localhost");
        let message = request("MESSAGE", &uri, Browser::VIA, 1, &bob.from(&uri));
        bob.send(&message).await;
        if callee == "desk" {
            let message = receive_on(&phone).await;
            send_to(
                &phone,
                scene.address("udp"),
                &message.answer("200 OK", "d", ""),
            )
            .await;
        }
        assert_eq!(bob.receive().await.start(), answer, "{callee}");
    }
    scene.end().await;
}

#[tokio::test]
async fn a_removed_registration_stays_removed() {
    let scene = Scene::start("", ON_DISK).await;
    drop(Browser::register(&scene, "alice").await);
    let path = "/api/registrations/sip:alice";
    assert_eq!(scene.delete(path).await, "HTTP/1.1 200 OK");
    assert_eq!(scene.delete(path).await, "HTTP/1.1 404 Not Found");
    let scene = scene.restart().await;
    assert_eq!(listed(&scene).await["total"], 0);
    scene.end().await;
}

#[tokio::test]
async fn a_pbx_that_is_the_registrar_reaches_a_browser_by_its_path() {
    let scene = Scene::start("", "[registrar]\nupstream = \"pbx\"").await;
    let mut alice = Browser::connect(&scene, "alice").await;
    let fields = format!(
        "{}Contact: {}\r\n",
        alice.from(&alice.aor()),
        alice.contact()
    );
    let register = request("REGISTER", "sip:localhost", Browser::VIA, 1, &fields);
    alice.send(&register).await;
    let register = receive_on(&scene.pbx).await;
    let path = register.get("Path").to_owned();
    let granted = format!("Contact: {};expires=60\r\n", alice.contact());
    let udp = scene.address("udp");
    send_to(&scene.pbx, udp, &register.answer("200 OK", "p", &granted)).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");

    let via = format!("UDP {}", scene.pbx.local_addr().unwrap());
    let fields = format!(
        "Route: {path}\r\nFrom: <sip:desk@localhost>;tag=1\r\nTo: <{}>\r\nCall-ID: m\r\n",
        alice.aor()
    );
    let message = request("MESSAGE", uri(&alice.contact()), &via, 1, &fields);
    send_to(&scene.pbx, udp, &message).await;
    let message = alice.receive().await;
    assert!(
        message
            .start()
            .starts_with("MESSAGE sip:alice@alice.invalid;transport=ws ")
    );
    alice.send(&message.answer("200 OK", "a", "")).await;
    assert_eq!(receive_on(&scene.pbx).await.start(), "SIP/2.0 200 OK");
    scene.end().await;
}
