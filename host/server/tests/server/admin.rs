//! The admin endpoint, and how a server goes down.

use std::time::{Duration, Instant};

use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    client::{Browser, as_caller, request, uri},
    scene::Scene,
};

#[tokio::test]
async fn the_admin_endpoint_tells_what_there_is() {
    let scene = Scene::start("", "").await;
    let alice = Browser::register(&scene, "alice").await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(scene.admin(path).await.0, "HTTP/1.1 200 OK", "{path}");
    }
    assert_eq!(scene.admin("/nothing").await.0, "HTTP/1.1 404 Not Found");
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let registrations = json(scene.admin("/api/registrations").await.1);
    assert_eq!(registrations["total"], 1);
    assert_eq!(registrations["registrations"][0]["aor"], "sip:alice");
    assert!(
        json(scene.admin("/api/policies").await.1)["policies"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    scene.until_total("hookswitch_connections", "", 1).await;
    scene
        .until_total(
            "hookswitch_transactions_ended_total",
            "method=\"REGISTER\",class=\"2xx\",cause=\"registrar\"",
            1,
        )
        .await;
    drop(alice);
    scene.end().await;
}

#[tokio::test]
async fn a_draining_server_lets_a_call_end_and_says_goodbye() {
    let scene = Scene::start("drain_s_max = 30", "").await;
    let mut alice = Browser::register(&scene, "alice").await;
    let mut bob = Browser::register(&scene, "bob").await;
    let [_, _, accepted] = alice.calls(&mut bob).await;
    let bobs = uri(accepted.get("Contact")).to_owned();

    let draining = scene.server.drained();
    let started = Instant::now();
    let call = async {
        while scene.admin("/readyz").await.0 != "HTTP/1.1 503 Service Unavailable" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        alice
            .send(&request(
                "OPTIONS",
                &bob.aor(),
                Browser::VIA,
                9,
                &alice.from(&bob.aor()),
            ))
            .await;
        assert!(alice.receive().await.start().starts_with("SIP/2.0 503 "));
        tokio::time::sleep(Duration::from_millis(300)).await;
        alice
            .send(&request(
                "BYE",
                &bobs,
                Browser::VIA,
                2,
                &as_caller(&accepted),
            ))
            .await;
        let bye = bob.receive().await;
        bob.send(&bye.answer("200 OK", "", "")).await;
        assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    };
    tokio::join!(draining, call);
    assert!((Duration::from_millis(300)..Duration::from_secs(20)).contains(&started.elapsed()));
    let goodbye = tokio::spawn(async move {
        match alice.next().await {
            Some(Message::Close(Some(frame))) => frame.code,
            other => panic!("{other:?}"),
        }
    });
    drop(bob);
    scene.end().await;
    assert_eq!(goodbye.await.unwrap(), CloseCode::Away);
}

#[tokio::test]
async fn a_draining_server_waits_for_no_call_of_lost_tabs() {
    let scene = Scene::start("workers = 2\ndrain_s_max = 30", "").await;
    let mut alice = Browser::register(&scene, "alice").await;
    let mut bob = Browser::register(&scene, "bob").await;
    alice.calls(&mut bob).await;
    scene.until_total("hookswitch_calls_open", "", 1).await;
    drop((alice, bob));
    let started = Instant::now();
    scene.server.drained().await;
    assert!(started.elapsed() < Duration::from_secs(20));
    scene.end().await;
}
