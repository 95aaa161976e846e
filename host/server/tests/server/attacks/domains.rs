//! Attacks where `server.domains` is not set, so that every domain counts as ours: all of them are one.

use super::{NUMBER, Stranger, from, nothing_but_this_reached_the_pbx, status};
use crate::{
    auth::{Answer, alice, ask, digest_scene_of, file, register, users},
    client::{Browser, receive_on, request, send_to, via_of},
    scene::Scene,
};

const OPEN: &str = "workers = 1";

#[tokio::test]
async fn open_relay_without_domains() {
    let scene = Scene::start(OPEN, "").await;
    let mut browser = Browser::register(&scene, "alice").await;
    let (stranger, victim) = (Stranger::new().await, Stranger::new().await);
    let victim = format!("sip:1@{}", victim.0.local_addr().unwrap());
    let pbx = format!("sip:100@{}", scene.pbx.local_addr().unwrap());
    for method in ["INVITE", "MESSAGE", "OPTIONS", "SUBSCRIBE"] {
        for to in [NUMBER, &victim, &pbx, "tel:+1900"] {
            let answer = stranger.ask(&scene, method, to, &from("x", to)).await;
            assert_eq!(answer, "403", "{method} {to}");
        }
        let route = format!("Route: <{victim};lr>\r\n{}", from("x", NUMBER));
        assert_eq!(stranger.ask(&scene, method, NUMBER, &route).await, "403");
    }
    // Not even those who may call are sent to an address that they choose: the PBX decides.
    let message = request("MESSAGE", &victim, Browser::VIA, 1, &browser.from(&victim));
    browser.send(&message).await;
    let received = receive_on(&scene.pbx).await;
    assert_eq!(received.start(), format!("MESSAGE {victim} SIP/2.0"));
    let udp = scene.address("udp");
    send_to(&scene.pbx, udp, &received.answer("404 Not Found", "p", "")).await;
    assert_eq!(status(&browser.receive().await), "404");
    nothing_but_this_reached_the_pbx(&scene, &mut browser).await;
    // A user is found by any domain, also by who is nobody's.
    let to = "sip:alice@whatever.example";
    let message = request("MESSAGE", to, &via_of(&stranger.0), 1, &from("x", to));
    send_to(&stranger.0, udp, &message).await;
    let received = browser.receive().await;
    browser.send(&received.answer("200 OK", "a", "")).await;
    assert_eq!(status(&receive_on(&stranger.0).await), "200");
    scene.end().await;
}

/// Another domain makes no other user of him, and nobody a user of that name.
#[tokio::test]
async fn name_of_another_at_a_domain_of_ones_choice() {
    let users = file(
        "users.toml",
        &users(&[("alice", "secret"), ("bob", "hidden")]),
    );
    let scene = digest_scene_of(OPEN, &users, "", "", "").await;
    let mut browser = Browser::connect(&scene, "alice").await;
    let challenged = register(&mut browser, "alice", "").await;
    for (nc, (address, expected)) in (1..).zip([
        ("sip:bob@localhost", "403"),
        ("sip:bob@whatever.example", "403"),
        ("sip:%62ob@whatever.example", "403"),
        ("sip:alice@whatever.example", "200"),
        ("sip:alice@localhost", "200"),
    ]) {
        let credentials = Answer {
            nc,
            ..alice("REGISTER", "sip:localhost")
        };
        let fields = format!(
            "{}Contact: {}\r\n{}",
            from("alice", address),
            browser.contact(),
            credentials.field(&challenged)
        );
        let answer = ask(&mut browser, "REGISTER", "sip:localhost", &fields).await;
        assert_eq!(status(&answer), expected, "{address}");
    }
    // One binding: both addresses are the same user's.
    let (_, registered) = scene.admin("/api/registrations").await;
    let registered: serde_json::Value = serde_json::from_str(&registered).unwrap();
    assert_eq!(registered["total"], 1, "{registered}");
    std::fs::remove_file(users).unwrap();
    scene.end().await;
}
