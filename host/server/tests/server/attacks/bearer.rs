//! Attacks with tokens, and on what a WebSocket was given for one: with the policy `jwt-auth`.

use super::{Call, from, nothing_but_this_reached_the_pbx, status};
use crate::{
    auth::{ask, file, register},
    client::{Browser, Sip, as_callee, receive_on, request, send_to, uri, via_of},
    issuer::{Signer, bearer, key_set},
    scene::Scene,
    tokens::{load, scene_of},
};

/// Alice's Contact with her instance, for `user`.
async fn register_alices(browser: &mut Browser, user: &str) -> String {
    let aor = format!("sip:{user}@localhost");
    let contact = "<sip:alice@alice.invalid;transport=ws>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"";
    let fields = format!("{}Contact: {contact}\r\nExpires: 60\r\n", from(user, &aor));
    status(&ask(browser, "REGISTER", "sip:localhost", &fields).await)
}

/// A request of the call's other end.
async fn from_pbx(scene: &Scene, call: &Call, target: &str, cseq: u32) {
    let accept = call.invite.answer("200 OK", "p", "");
    let fields = as_callee(&accept);
    let info = request("INFO", target, &via_of(&scene.pbx), cseq, &fields);
    send_to(&scene.pbx, scene.address("udp"), &info).await;
}

#[tokio::test]
async fn session_and_instance_of_another() {
    let signer = Signer::new("one");
    let keys = file("keys.json", &key_set(&signer));
    let scene = scene_of(&keys, ", upgrade = \"required\"").await;
    let mut alice = load(&scene, &signer, "alice").await;
    assert_eq!(register_alices(&mut alice, "alice").await, "200");
    let call = Call::establish(&scene, &mut alice).await;
    let target = uri(&alice.contact()).to_owned();
    drop(alice);

    // She is let in, by her own name.
    let mut mallory = load(&scene, &signer, "mallory").await;
    assert_eq!(register_alices(&mut mallory, "alice").await, "403");
    assert_eq!(register_alices(&mut mallory, "mallory").await, "200");
    from_pbx(&scene, &call, &target, 1).await;
    assert_eq!(status(&receive_on(&scene.pbx).await), "430");
    let bye = request("BYE", &call.target, Browser::VIA, 9, &call.dialog);
    mallory.send(&bye).await;
    let ended = receive_on(&scene.pbx).await;
    // Whoever has the dialog's tags and token ends it, as RFC 3261 has it; requests to alice are hers alone.
    assert!(ended.start().starts_with("BYE "), "{}", ended.0);
    send_to(
        &scene.pbx,
        scene.address("udp"),
        &ended.answer("200 OK", "", ""),
    )
    .await;
    assert_eq!(status(&mallory.receive().await), "200");
    nothing_but_this_reached_the_pbx(&scene, &mut mallory).await;

    let mut alice = load(&scene, &signer, "alice").await;
    from_pbx(&scene, &call, &target, 2).await;
    let info: Sip = alice.receive().await;
    assert!(info.start().starts_with("INFO "), "{}", info.0);
    std::fs::remove_file(keys).unwrap();
    scene.end().await;
}

#[tokio::test]
async fn token_of_another_in_a_websocket() {
    let signer = Signer::new("one");
    let keys = file("keys.json", &key_set(&signer));
    let scene = scene_of(&keys, ", upgrade = \"required\"").await;
    let mut alice = load(&scene, &signer, "alice").await;
    let bobs = bearer(&signer.token("bob", 60));
    for (name, credentials, expected) in [
        ("alice", &*bobs, "403"),
        // It says that this request is his, and nothing of the next one.
        ("bob", &*bobs, "200"),
        ("bob", "", "403"),
        ("alice", "", "200"),
    ] {
        let answer = register(&mut alice, name, credentials).await;
        assert_eq!(status(&answer), expected, "{name} {credentials}");
    }
    nothing_but_this_reached_the_pbx(&scene, &mut alice).await;
    std::fs::remove_file(keys).unwrap();
    scene.end().await;
}
