//! Who may come in, register and call with a token: with the policy `jwt-auth`.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hookswitch_auth::turn::credentials;
use serde_json::json;
use tokio::net::UdpSocket;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    auth::{PBX_NUMBER, ask, component, file, register},
    client::{
        Browser, Sip, as_callee, as_caller, fresh, receive_on, request, send_to, uri, via_of,
    },
    issuer::{Signer, bearer, claims, key_set},
    scene::{self, Scene},
};

const CHALLENGE: &str = r#"Bearer realm="idp", authz_server="https://idp.example/""#;
const INVALID: &str =
    r#"Bearer realm="idp", authz_server="https://idp.example/", error="invalid_token""#;

pub(crate) async fn scene_with(keys: &str, config: &str) -> Scene {
    scene_and(keys, &format!("issuer = \"idp\"{config}"), "\"idp\"", "").await
}

/// With all of the policy's configuration and grants, and `more` behind it.
async fn scene_and(keys: &str, config: &str, grants: &str, more: &str) -> Scene {
    let more = format!(
        r#"
        [[auth.issuer]]
        name = "idp"
        issuer = "https://idp.example/"
        audience = ["sip"]
        leeway_s = 0
        {keys}
        [[policy]]
        name = "jwt-auth"
        component = {:?}
        config = {{ {config} }}
        grants = {{ auth = [{grants}] }}
        {more}
        "#,
        component("jwt-auth")
    );
    Scene::start("domains = [\"localhost\"]", &more).await
}

pub(crate) async fn scene_of(keys: &Path, config: &str) -> Scene {
    scene_with(&format!("keys_file = {keys:?}"), config).await
}

/// Registers again and again until the answer has this status.
pub(crate) async fn until_registered(browser: &mut Browser, credentials: &str, status: &str) {
    for _ in 0..200 {
        let name = browser.name.clone();
        let answer = register(browser, &name, credentials).await;
        if answer.start() == format!("SIP/2.0 {status}") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {status}");
}

#[tokio::test]
async fn a_browser_registers_and_calls_with_a_token() {
    let signer = Signer::new("one");
    let keys = file("keys.json", &key_set(&signer));
    let scene = scene_of(&keys, ", assert-identity = true, header = \"X-Token\"").await;
    let mut browser = Browser::connect(&scene, "alice").await;

    let challenged = register(&mut browser, "alice", "").await;
    assert_eq!(challenged.start(), "SIP/2.0 401 Unauthorized");
    assert_eq!(challenged.all("WWW-Authenticate"), [CHALLENGE]);
    let fields = browser.from(PBX_NUMBER);
    let challenged = ask(&mut browser, "MESSAGE", PBX_NUMBER, &fields).await;
    assert_eq!(
        challenged.start(),
        "SIP/2.0 407 Proxy Authentication Required"
    );
    assert_eq!(challenged.all("Proxy-Authenticate"), [CHALLENGE]);

    let token = signer.token("alice", 60);
    let registered = register(&mut browser, "alice", &bearer(&token)).await;
    assert_eq!(registered.start(), "SIP/2.0 200 OK");
    // The WebSocket is Alice's now, and of nobody else.
    let again = register(&mut browser, "alice", "").await;
    assert_eq!(again.start(), "SIP/2.0 200 OK");
    let other = register(&mut browser, "bob", "").await;
    assert_eq!(other.start(), "SIP/2.0 403 This address is not yours");

    let forged = "P-Asserted-Identity: <sip:boss@localhost>\r\n";
    let fields = format!(
        "{}Contact: {}\r\n{forged}Proxy-{}X-Token: {token}\r\n",
        browser.from(PBX_NUMBER),
        browser.contact(),
        bearer(&token)
    );
    browser
        .send(&request("INVITE", PBX_NUMBER, Browser::VIA, 2, &fields))
        .await;
    let invite = receive_on(&scene.pbx).await;
    assert_eq!(invite.all("P-Asserted-Identity"), ["<sip:alice@localhost>"]);
    assert!(!invite.0.contains(&token), "{}", invite.0);

    let contact = format!("Contact: <sip:pbx@{}>\r\n", scene.pbx.local_addr().unwrap());
    let (udp, accept) = (scene.address("udp"), invite.answer("200 OK", "p", &contact));
    send_to(&scene.pbx, udp, &accept).await;
    let accepted = browser.receive().await;
    let pbx = uri(accepted.get("Contact")).to_owned();
    // Neither ACK nor BYE is asked for a token, and the one that is over goes no further than here.
    let over = signer.token("alice", -60);
    let dialog = format!("{}{}", as_caller(&accepted), bearer(&over));
    browser
        .send(&request("ACK", &pbx, Browser::VIA, 2, &dialog))
        .await;
    let ack = receive_on(&scene.pbx).await;
    assert!(ack.start().starts_with("ACK ") && !ack.0.contains(&over));
    browser
        .send(&request("BYE", &pbx, Browser::VIA, 3, &dialog))
        .await;
    let bye = receive_on(&scene.pbx).await;
    assert!(bye.start().starts_with("BYE ") && !bye.0.contains(&over));
    send_to(&scene.pbx, udp, &bye.answer("200 OK", "", "")).await;
    assert_eq!(browser.receive().await.start(), "SIP/2.0 200 OK");

    // The PBX is trusted: it is not asked.
    let fields = format!(
        "From: <sip:9001@pbx>;tag=p{}\r\nTo: <sip:alice@localhost>\r\nCall-ID: {}@pbx\r\n{contact}",
        fresh(),
        fresh()
    );
    let via = via_of(&scene.pbx);
    let call = request("INVITE", "sip:alice@localhost", &via, 1, &fields);
    send_to(&scene.pbx, udp, &call).await;
    let rings = browser.receive().await;
    assert!(rings.start().starts_with("INVITE sip:alice@alice.invalid"));
    std::fs::remove_file(keys).unwrap();
    scene.end().await;
}

#[tokio::test]
async fn tokens_that_are_over_forged_or_for_others_do_not_count() {
    let signer = Signer::new("one");
    let keys = file("keys.json", &key_set(&signer));
    let scene = scene_of(&keys, "").await;
    let mut browser = Browser::connect(&scene, "alice").await;
    let mut for_others = claims("alice", 60);
    for_others["aud"] = json!("mail");
    for token in [
        signer.token("alice", -1),
        signer.sign(&for_others),
        Signer::new("one").token("alice", 60),
        "eyJhbGciOiJub25lIn0.e30.".to_owned(),
        "nonsense".to_owned(),
    ] {
        let answer = register(&mut browser, "alice", &bearer(&token)).await;
        assert_eq!(answer.start(), "SIP/2.0 401 Unauthorized", "{token}");
        assert_eq!(answer.all("WWW-Authenticate"), [INVALID]);
    }
    let answer = register(&mut browser, "bob", &bearer(&signer.token("alice", 60))).await;
    assert_eq!(answer.start(), "SIP/2.0 403 This address is not yours");
    std::fs::remove_file(keys).unwrap();
    scene.end().await;
}

#[tokio::test]
async fn a_token_in_the_upgrade_lets_a_browser_in_until_it_is_over() {
    let signer = Signer::new("one");
    let keys = file("keys.json", &key_set(&signer));
    let config = ", upgrade = \"required\", cookie = \"sip\"";
    let scene = scene_of(&keys, config).await;
    let over = format!("/?access_token={}", signer.token("alice", -1));
    for (path, challenge) in [("/", CHALLENGE), (&over, INVALID)] {
        let refused = Browser::knock(&scene, "alice", path, &[]).await.err();
        let refused = refused.expect("nobody comes in without a token");
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()["www-authenticate"], challenge);
    }
    let token = signer.token("alice", 60);
    let (in_query, in_cookie) = (
        format!("/?access_token={token}"),
        format!("a=b; sip={token}"),
    );
    let credentials = format!("Bearer {token}");
    for (path, fields) in [
        (&*in_query, &[][..]),
        ("/", &[("Cookie", &*in_cookie)]),
        ("/", &[("Authorization", &*credentials)]),
    ] {
        let knock = Browser::knock(&scene, "alice", path, fields).await;
        let registered = register(&mut knock.unwrap(), "alice", "").await;
        assert_eq!(registered.start(), "SIP/2.0 200 OK");
    }
    let short = format!("/?access_token={}", signer.token("alice", 3));
    let mut browser = Browser::knock(&scene, "alice", &short, &[]).await.unwrap();
    let registered = register(&mut browser, "alice", "").await;
    assert_eq!(registered.start(), "SIP/2.0 200 OK");
    until_registered(&mut browser, "", "401 Unauthorized").await;
    let registered = register(&mut browser, "alice", &bearer(&token)).await;
    assert_eq!(registered.start(), "SIP/2.0 200 OK");
    std::fs::remove_file(keys).unwrap();
    scene.end().await;
}

/// A page that does not register: the token says whose the session is that it names.
pub(crate) async fn load(scene: &Scene, signer: &Signer, user: &str) -> Browser {
    let token = signer.token(user, 60);
    let path = format!("/?session=4f1c&access_token={token}");
    let mut browser = Browser::knock(scene, user, &path, &[]).await.unwrap();
    // The server has taken it in when it answers, and not yet when the upgrade is answered.
    browser.send(&Sip("\r\n\r\n".to_owned())).await;
    assert_eq!(browser.receive().await.0, "\r\n");
    browser
}

/// She calls the PBX: its answer.
async fn call_pbx(scene: &Scene, alice: &mut Browser) -> Sip {
    let contact = format!("Contact: {}\r\n", alice.contact());
    let fields = alice.from(PBX_NUMBER) + &contact;
    let invite = request("INVITE", PBX_NUMBER, Browser::VIA, 1, &fields);
    alice.send(&invite).await;
    let contact = format!("Contact: <sip:p@{}>\r\n", scene.pbx.local_addr().unwrap());
    let accept = receive_on(&scene.pbx).await;
    let accept = accept.answer("200 OK", "p", &contact);
    send_to(&scene.pbx, scene.address("udp"), &accept).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    accept
}

#[tokio::test]
async fn a_page_that_is_loaded_again_keeps_the_calls_of_its_session() {
    let signer = Signer::new("one");
    let keys = file("keys.json", &key_set(&signer));
    let scene = scene_of(&keys, ", upgrade = \"required\"").await;
    let mut alice = load(&scene, &signer, "alice").await;
    let accept = call_pbx(&scene, &mut alice).await;
    let target = uri(&alice.contact()).to_owned();
    drop(alice);
    let _mallory = load(&scene, &signer, "mallory").await;
    let (dialog, via) = (as_callee(&accept), via_of(&scene.pbx));
    let bye = |cseq| request("BYE", &target, &via, cseq, &dialog);
    send_to(&scene.pbx, scene.address("udp"), &bye(1)).await;
    let refused = receive_on(&scene.pbx).await;
    assert_eq!(refused.start(), "SIP/2.0 430 Flow Failed");
    let mut alice = load(&scene, &signer, "alice").await;
    send_to(&scene.pbx, scene.address("udp"), &bye(2)).await;
    let received = alice.receive().await;
    assert!(received.start().starts_with("BYE "), "{}", received.0);
    let unknown = received.answer("481 Call/Transaction Does Not Exist", "", "");
    alice.send(&unknown).await;
    assert_eq!(receive_on(&scene.pbx).await.start(), unknown.start());
    std::fs::remove_file(keys).unwrap();
    scene.end().await;
}

/// The old connection is half open: no end of it ever comes, and no answer to a ping. That of a tab that was duplicated is not.
#[tokio::test]
async fn of_two_connections_of_a_session_the_newest_counts_until_the_other_answers() {
    let signer = Signer::new("one");
    let keys = file("keys.json", &key_set(&signer));
    let scene = scene_of(&keys, ", upgrade = \"required\"").await;
    let mut old = load(&scene, &signer, "alice").await;
    let accept = call_pbx(&scene, &mut old).await;
    let target = uri(&old.contact()).to_owned();
    let (dialog, via) = (as_callee(&accept), via_of(&scene.pbx));
    let info = |cseq| request("INFO", &target, &via, cseq, &dialog);
    let mut new = load(&scene, &signer, "alice").await;
    send_to(&scene.pbx, scene.address("udp"), &info(1)).await;
    let received = new.receive().await;
    assert!(received.start().starts_with("INFO "), "{}", received.0);
    new.send(&received.answer("200 OK", "", "")).await;
    assert_eq!(receive_on(&scene.pbx).await.start(), "SIP/2.0 200 OK");

    assert!(matches!(old.next().await, Some(Message::Ping(_))));
    old.send(&Sip("\r\n\r\n".to_owned())).await;
    assert_eq!(old.receive().await.0, "\r\n");
    send_to(&scene.pbx, scene.address("udp"), &info(2)).await;
    let received = old.receive().await;
    assert!(received.start().starts_with("INFO "), "{}", received.0);
    old.send(&received.answer("200 OK", "", "")).await;
    assert_eq!(receive_on(&scene.pbx).await.start(), "SIP/2.0 200 OK");

    // Now it answers no more.
    let _newest = load(&scene, &signer, "alice").await;
    let closed = "hookswitch_connections_idle_closed_total";
    scene.until_total(closed, "", 2).await;
    std::fs::remove_file(keys).unwrap();
    scene.end().await;
}

#[tokio::test]
async fn a_datagram_is_asked_every_time() {
    let signer = Signer::new("one");
    let keys = file("keys.json", &key_set(&signer));
    let scene = scene_of(&keys, "").await;
    let mut alice = Browser::connect(&scene, "alice").await;
    let token = signer.token("alice", 60);
    let registered = register(&mut alice, "alice", &bearer(&token)).await;
    assert_eq!(registered.start(), "SIP/2.0 200 OK");

    // Not at the address of the PBX, which is trusted.
    let stranger = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    let message = |credentials: &str| {
        let fields = format!(
            "From: <sip:carol@localhost>;tag=s{}\r\nTo: <sip:alice@localhost>\r\nCall-ID: {}@stranger\r\n{credentials}",
            fresh(),
            fresh()
        );
        let via = via_of(&stranger);
        request("MESSAGE", "sip:alice@localhost", &via, 1, &fields)
    };
    let udp = scene.address("udp");
    let credentials = format!("Proxy-{}", bearer(&signer.token("carol", 60)));
    send_to(&stranger, udp, &message(&credentials)).await;
    let received = alice.receive().await;
    assert!(received.start().starts_with("MESSAGE "));
    alice.send(&received.answer("200 OK", "a", "")).await;
    assert_eq!(receive_on(&stranger).await.start(), "SIP/2.0 200 OK");
    send_to(&stranger, udp, &message("")).await;
    let asked = receive_on(&stranger).await;
    assert_eq!(asked.start(), "SIP/2.0 407 Proxy Authentication Required");
    std::fs::remove_file(keys).unwrap();
    scene.end().await;
}

/// A user of the same name at each is not the same: each issuer makes names of its own.
#[tokio::test]
async fn tokens_of_several_issuers_count() {
    let (own, partners, others) = (Signer::new("own"), Signer::new("p"), Signer::new("o"));
    let [own_keys, partners_keys] = [&own, &partners].map(key_set);
    let own_keys = file("keys.json", &own_keys);
    let partners_keys = file("keys.json", &partners_keys);
    let partner = format!(
        "[[auth.issuer]]\nname = \"partner\"\nissuer = \"https://partner.example/\"\naudience = [\"sip\"]\nkeys_file = {partners_keys:?}"
    );
    let issuers = r#"issuers = [{ issuer = "idp" }, { issuer = "partner", name = "p-{sub}" }]"#;
    let (keys, grants) = (format!("keys_file = {own_keys:?}"), r#""idp", "partner""#);
    let scene = scene_and(&keys, issuers, grants, &partner).await;
    let of_partner = |user: &str| {
        let mut claims = claims(user, 60);
        claims["iss"] = json!("https://partner.example/");
        claims
    };

    let mut browser = Browser::connect(&scene, "alice").await;
    let challenged = register(&mut browser, "alice", "").await;
    let partners_challenge = CHALLENGE.replace("idp", "partner");
    assert_eq!(
        challenged.all("WWW-Authenticate"),
        [CHALLENGE, &*partners_challenge]
    );
    let forbidden = "SIP/2.0 403 This address is not yours";
    for (token, user, status) in [
        (own.token("alice", 60), "alice", "SIP/2.0 200 OK"),
        (own.token("alice", 60), "p-alice", forbidden),
        (
            partners.sign(&of_partner("alice")),
            "p-alice",
            "SIP/2.0 200 OK",
        ),
        (partners.sign(&of_partner("alice")), "alice", forbidden),
        // Signed by one, in the name of the other.
        (
            partners.token("alice", 60),
            "alice",
            "SIP/2.0 401 Unauthorized",
        ),
        (
            others.token("alice", 60),
            "alice",
            "SIP/2.0 401 Unauthorized",
        ),
    ] {
        let answer = register(&mut browser, user, &bearer(&token)).await;
        assert_eq!(answer.start(), status, "{token} {user}");
    }
    std::fs::remove_file(own_keys).unwrap();
    std::fs::remove_file(partners_keys).unwrap();
    scene.end().await;
}

/// They could be whoever it was given to, anywhere that takes it.
#[tokio::test]
async fn a_token_that_counted_is_nothing_to_later_policies() {
    let signer = Signer::new("one");
    let keys = file("keys.json", &key_set(&signer));
    let telling = |hook: &str| {
        format!(
            "[[policy]]\nname = \"later\"\ncomponent = {:?}\nconfig = {{ acts = [{{ hook = \"{hook}\", do = \"tell-query\" }}] }}",
            component("misbehave")
        )
    };
    let token = signer.token("alice", 60);
    for (hook, told) in [
        ("connect", "connect access_token=&session=4f1c"),
        ("register", "access_token=&session=4f1c"),
    ] {
        let (keys, issuer) = (format!("keys_file = {keys:?}"), "issuer = \"idp\"");
        let scene = scene_and(&keys, issuer, "\"idp\"", &telling(hook)).await;
        let path = format!("/?access_token={token}&session=4f1c");
        match Browser::knock(&scene, "alice", &path, &[]).await {
            Ok(mut browser) => {
                let failed = register(&mut browser, "alice", "").await;
                assert_eq!(failed.start(), "SIP/2.0 500 Server Internal Error");
            }
            Err(failed) => assert_eq!(failed.status(), 500),
        }
        let (_, policies) = scene.admin("/api/policies").await;
        assert!(
            policies.contains(told) && !policies.contains(&token),
            "{policies}"
        );
        scene.end().await;
    }
    std::fs::remove_file(keys).unwrap();
}

#[tokio::test]
async fn who_is_known_is_given_turn_servers() {
    let signer = Signer::new("one");
    let keys = file("keys.json", &key_set(&signer));
    let keys = format!("keys_file = {keys:?}");
    let turn = r#"
        [turn]
        uris = ["turn:turn.example:3478?transport=udp"]
        secret = "north"
        ttl_s = 3600
        "#;
    let config = "issuer = \"idp\", upgrade = \"optional\"";
    let scene = scene_and(&keys, config, "\"idp\"", turn).await;
    let ask = async |headers: String| {
        let stream = scene.tls().await;
        scene::get(stream, "/turn", &headers).await
    };
    let (status, _) = ask(String::new()).await;
    assert_eq!(status, "HTTP/1.1 403 Forbidden");
    let (status, _) = ask(bearer("nonsense")).await;
    assert_eq!(status, "HTTP/1.1 401 Unauthorized");
    let token = bearer(&signer.token("alice", 60));
    let foreign = format!("{token}Origin: https://evil.example\r\n");
    assert_eq!(ask(foreign).await.0, "HTTP/1.1 403 Forbidden");
    let (status, answer) = ask(token).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["ttl_s"], 3600);
    let server = &answer["iceServers"][0];
    assert_eq!(
        server["urls"],
        json!(["turn:turn.example:3478?transport=udp"])
    );
    let username = server["username"].as_str().unwrap();
    let (until, user) = username.split_once(':').unwrap();
    assert_eq!(user, "alice");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(
        until.parse::<u64>().unwrap().abs_diff(now + 3600) < 60,
        "{until}"
    );
    let until = UNIX_EPOCH + Duration::from_secs(until.parse().unwrap());
    let expected = credentials("north", "alice", until);
    assert_eq!(server["credential"], expected.password);
    scene.end().await;
}
