//! Attacks by who says that he is somebody else: with credentials, in From, To and Contact, and by what only upstreams may say.

use std::path::PathBuf;

use super::{MOMENT, NUMBER, TCP, from, nothing_but_this_reached_the_pbx, status};
use crate::{
    auth::{Answer, alice, ask, digest_scene, file, register, users},
    client::{Browser, Sip, fresh, receive_on, request, send_to, via_of},
    scene::Scene,
    stream::Line,
};

const REGISTRAR: &str = "sip:localhost";

/// Where browsers and strangers are asked who they are; with these lines in the realm, and this behind the rest.
async fn scene(realm: &str, more: &str) -> (Scene, PathBuf) {
    let users = users(&[("alice", "secret"), ("bob", "hidden")]);
    let users = file("users.toml", &users);
    (digest_scene(&users, realm, "", more).await, users)
}

async fn end((scene, users): (Scene, PathBuf)) {
    std::fs::remove_file(users).unwrap();
    scene.end().await;
}

fn bob<'a>(method: &'a str, uri: &'a str) -> Answer<'a> {
    Answer {
        user: "bob",
        password: "hidden",
        ..alice(method, uri)
    }
}

/// Does this answer ask again because of the nonce alone?
fn is_stale(answer: &Sip) -> bool {
    assert_eq!(status(answer), "401");
    answer.get("WWW-Authenticate").ends_with("stale=true")
}

/// A phone that registers as alice.
async fn register_by(line: &mut Line, credentials: &str) -> Sip {
    let via = line.via.clone();
    let fields = format!(
        "{}Contact: <sip:alice@phone.invalid>\r\n{credentials}",
        from("alice", "sip:alice@localhost")
    );
    line.send(&request("REGISTER", REGISTRAR, &via, 1, &fields))
        .await;
    line.receive().await
}

#[tokio::test]
async fn stolen_nonce() {
    let (scene, users) = scene("", TCP).await;
    let mut phone = Line::tcp([127, 0, 0, 2], scene.address("tcp")).await;
    let mut thief = Line::tcp([127, 0, 0, 3], scene.address("tcp")).await;
    let challenged = register_by(&mut phone, "").await;
    let credentials = alice("REGISTER", REGISTRAR).field(&challenged);
    assert!(is_stale(&register_by(&mut thief, &credentials).await));
    assert_eq!(status(&register_by(&mut phone, &credentials).await), "200");
    end((scene, users)).await;
}

#[tokio::test]
async fn replayed_credentials() {
    let (scene, users) = scene("", TCP).await;
    let mut phone = Line::tcp([127, 0, 0, 2], scene.address("tcp")).await;
    let challenged = register_by(&mut phone, "").await;
    let first = alice("REGISTER", REGISTRAR);
    let credentials = first.field(&challenged);
    assert_eq!(status(&register_by(&mut phone, &credentials).await), "200");
    assert!(is_stale(&register_by(&mut phone, &credentials).await));
    // For another method and another URI they are no credentials at all.
    let mut browser = Browser::connect(&scene, "alice").await;
    let challenged = register(&mut browser, "alice", "").await;
    let credentials = first
        .field(&challenged)
        .replace("Authorization", "Proxy-Authorization");
    let fields = format!("{}{credentials}", browser.from(NUMBER));
    assert_eq!(
        status(&ask(&mut browser, "MESSAGE", NUMBER, &fields).await),
        "407"
    );
    // The next count of the same nonce is good.
    let next = Answer { nc: 2, ..first };
    let answer = register(&mut browser, "alice", &next.field(&challenged)).await;
    assert_eq!(status(&answer), "200");
    end((scene, users)).await;
}

#[tokio::test]
async fn expired_nonce() {
    let (scene, users) = scene("nonce_s_max = 1", "").await;
    let mut browser = Browser::connect(&scene, "alice").await;
    let challenged = register(&mut browser, "alice", "").await;
    let credentials = alice("REGISTER", REGISTRAR).field(&challenged);
    tokio::time::sleep(100 * MOMENT + MOMENT).await;
    let answer = register(&mut browser, "alice", &credentials).await;
    assert!(is_stale(&answer));
    let credentials = alice("REGISTER", REGISTRAR).field(&answer);
    let answer = register(&mut browser, "alice", &credentials).await;
    assert_eq!(status(&answer), "200");
    end((scene, users)).await;
}

#[tokio::test]
async fn credentials_of_another_realm() {
    let (scene, users) = scene("", "").await;
    let mut browser = Browser::connect(&scene, "alice").await;
    let challenged = register(&mut browser, "alice", "").await;
    let elsewhere = Sip(challenged
        .0
        .replace("realm=\"localhost\"", "realm=\"pbx.example\""));
    let credentials = alice("REGISTER", REGISTRAR).field(&elsewhere);
    assert!(!is_stale(
        &register(&mut browser, "alice", &credentials).await
    ));
    let credentials = alice("REGISTER", REGISTRAR).field(&challenged);
    let answer = register(&mut browser, "alice", &credentials).await;
    assert_eq!(status(&answer), "200");
    end((scene, users)).await;
}

#[tokio::test]
async fn from_of_somebody_else() {
    let (scene, users) = scene("", "").await;
    let mut browser = Browser::connect(&scene, "alice").await;
    let message = |from: &str, credentials: &str| {
        let (tag, call) = (fresh(), fresh());
        format!(
            "From: {from};tag=f{tag}\r\nTo: <{NUMBER}>\r\nCall-ID: {call}@attack\r\n{credentials}"
        )
    };
    let first = message("<sip:alice@localhost>", "");
    let challenged = ask(&mut browser, "MESSAGE", NUMBER, &first).await;
    assert_eq!(status(&challenged), "407");
    let mut nc = 0;
    let mut credentials = || {
        nc += 1;
        let next = Answer {
            nc,
            ..alice("MESSAGE", NUMBER)
        };
        next.field(&challenged)
    };
    for from in [
        "<sip:bob@localhost>",
        "<sips:bob@localhost>",
        "<sip:%62ob@localhost>",
        "<sip:alice@bank.example>",
        "<sip:alice@bank.example;x=localhost>",
        "<sip:alice:x@bank.example>",
        "<tel:+1900>",
        "\"sip:alice@localhost\" <sip:bob@localhost>",
        "sip:bob@localhost",
    ] {
        let fields = message(from, &credentials());
        let answer = ask(&mut browser, "MESSAGE", NUMBER, &fields).await;
        assert_eq!(status(&answer), "403", "{from}");
    }
    // Two of them, whichever the PBX would take.
    for from in [
        "<sip:alice@localhost>, <sip:bob@localhost>",
        "<sip:alice@localhost> <sip:bob@localhost>",
    ] {
        let fields = message(from, &credentials());
        let answer = ask(&mut browser, "MESSAGE", NUMBER, &fields).await;
        assert_eq!(status(&answer), "400", "{from}");
    }
    let honest = message("\"Alice\" <sip:alice@localhost>", &credentials());
    browser
        .send(&request("MESSAGE", NUMBER, Browser::VIA, 1, &honest))
        .await;
    let received = receive_on(&scene.pbx).await;
    assert!(
        received
            .get("From")
            .starts_with("\"Alice\" <sip:alice@localhost>")
    );
    end((scene, users)).await;
}

#[tokio::test]
async fn contact_at_the_address_of_another() {
    let (scene, users) = scene("", "").await;
    let mut victim = Browser::connect(&scene, "bob").await;
    let challenged = register(&mut victim, "bob", "").await;
    let credentials = bob("REGISTER", REGISTRAR).field(&challenged);
    assert_eq!(
        status(&register(&mut victim, "bob", &credentials).await),
        "200"
    );

    let mut thief = Browser::connect(&scene, "alice").await;
    let challenged = register(&mut thief, "alice", "").await;
    let own = format!("Contact: {}\r\n", thief.contact());
    let theirs = format!("Contact: {};expires=0\r\n", victim.contact());
    for (nc, contact) in (1..).zip([&own, &theirs, "Contact: *\r\nExpires: 0\r\n", ""]) {
        let next = Answer {
            nc,
            ..alice("REGISTER", REGISTRAR)
        };
        let credentials = next.field(&challenged);
        // From is hers: what counts is whose address it is.
        let fields = format!(
            "{}{contact}{credentials}",
            from("alice", "sip:bob@localhost")
        );
        let answer = ask(&mut thief, "REGISTER", REGISTRAR, &fields).await;
        assert_eq!(status(&answer), "403", "{contact}");
        assert!(answer.all("Contact").is_empty());
    }
    let to = "sip:bob@localhost";
    let call = request("MESSAGE", to, &via_of(&scene.pbx), 1, &from("9001", to));
    send_to(&scene.pbx, scene.address("udp"), &call).await;
    let received = victim.receive().await;
    victim.send(&received.answer("200 OK", "b", "")).await;
    assert_eq!(status(&receive_on(&scene.pbx).await), "200");
    end((scene, users)).await;
}

/// RFC 3325 §5: an upstream is believed, nobody else is; with or without a policy that asks who it is.
#[tokio::test]
async fn identity_asserted_by_a_stranger() {
    let scene = Scene::start("domains = [\"localhost\"]", "").await;
    let mut browser = Browser::register(&scene, "alice").await;
    let asserted = "P-Asserted-Identity: <sip:boss@localhost>\r\np-asserted-identity: <tel:+1900>\r\n\
                    Remote-Party-ID: <sip:boss@localhost>;party=calling\r\n";
    let fields = format!("{asserted}Privacy: id\r\n{}", browser.from(NUMBER));
    browser
        .send(&request("MESSAGE", NUMBER, Browser::VIA, 1, &fields))
        .await;
    let received = receive_on(&scene.pbx).await;
    let believed = |message: &Sip| {
        let fields = ["P-Asserted-Identity", "Remote-Party-ID"];
        fields.map(|field| message.all(field).len())
    };
    assert_eq!(believed(&received), [0, 0], "{}", received.0);
    assert_eq!(received.all("Privacy"), ["id"]);
    let udp = scene.address("udp");
    send_to(&scene.pbx, udp, &received.answer("200 OK", "p", asserted)).await;
    assert_eq!(believed(&browser.receive().await), [2, 1]);

    let to = browser.aor();
    let fields = format!("{asserted}{}", from("9001", &to));
    let call = request("MESSAGE", &to, &via_of(&scene.pbx), 1, &fields);
    send_to(&scene.pbx, udp, &call).await;
    let received = browser.receive().await;
    assert_eq!(believed(&received), [2, 1]);
    browser
        .send(&received.answer("200 OK", "a", asserted))
        .await;
    assert_eq!(believed(&receive_on(&scene.pbx).await), [0, 0]);
    nothing_but_this_reached_the_pbx(&scene, &mut browser).await;
    scene.end().await;
}
