//! Who may register and call, and what becomes of those who may not: with the policies that come with hookswitch.

use std::path::{Path, PathBuf};

use hookswitch_auth::Algorithm;

use crate::{
    client::{Browser, Sip, as_caller, fresh, receive_on, request, send_to, uri, via_of},
    scene::Scene,
};

pub(crate) const PBX_NUMBER: &str = "sip:9001@elsewhere.example";

/// A policy that `cargo xtask build-plugins` made in this build's target folder.
pub(crate) fn component(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let found = test
        .ancestors()
        .map(|folder| folder.join(format!("plugins/{name}.wasm")))
        .find(|file| file.exists());
    found.unwrap_or_else(|| panic!("{name}: run `cargo xtask build-plugins` first"))
}

/// A file that the configuration names.
pub(crate) fn file(name: &str, text: &str) -> PathBuf {
    let name = format!("hookswitch-{}-{}-{name}", std::process::id(), fresh());
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, text).unwrap();
    file
}

pub(crate) fn users(passwords: &[(&str, &str)]) -> String {
    let user = |(name, password): &(&str, &str)| {
        format!("[[user]]\nname = {name:?}\npassword = {password:?}\n")
    };
    passwords.iter().map(user).collect()
}

/// With these lines in the realm, this behind what the policy is configured with, and this behind the rest.
pub(crate) async fn digest_scene(users: &Path, realm: &str, config: &str, more: &str) -> Scene {
    digest_scene_of("domains = [\"localhost\"]", users, realm, config, more).await
}

/// The same with these lines in `[server]`.
pub(crate) async fn digest_scene_of(
    server: &str,
    users: &Path,
    realm: &str,
    config: &str,
    more: &str,
) -> Scene {
    let more = format!(
        r#"
        [[auth.realm]]
        name = "localhost"
        users = {users:?}
        algorithms = ["SHA-256", "MD5"]
        {realm}
        [[policy]]
        name = "digest-auth"
        component = {:?}
        config = {{ realm = "localhost"{config} }}
        grants = {{ auth = ["localhost"] }}
        {more}
        "#,
        component("digest-auth")
    );
    Scene::start(server, &more).await
}

/// The answer of a user to the first challenge of a response.
pub(crate) struct Answer<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) nc: u32,
}

impl Answer<'_> {
    pub(crate) fn field(&self, challenged: &Sip) -> String {
        let (name, challenge) = match challenged.all("WWW-Authenticate").first() {
            Some(challenge) => ("Authorization", *challenge),
            None => ("Proxy-Authorization", challenged.get("Proxy-Authenticate")),
        };
        let param = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap()
        };
        let (realm, nonce) = (param("realm"), param("nonce"));
        let Self {
            user,
            password,
            method,
            uri,
            nc,
        } = self;
        let ha1 = sha256(&format!("{user}:{realm}:{password}"));
        let ha2 = sha256(&format!("{method}:{uri}"));
        let response = sha256(&format!("{ha1}:{nonce}:{nc:08x}:c:auth:{ha2}"));
        format!(
            "{name}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
             algorithm=SHA-256, cnonce=\"c\", qop=auth, nc={nc:08x}\r\n"
        )
    }
}

/// H of RFC 7616, which the credentials' crate gives for three parts joined by colons.
fn sha256(text: &str) -> String {
    let mut parts = text.splitn(3, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (a, b, c) = (next(), next(), next());
    Algorithm::Sha256.ha1(a, b, c)
}

pub(crate) fn alice<'a>(method: &'a str, uri: &'a str) -> Answer<'a> {
    Answer {
        user: "alice",
        password: "secret",
        method,
        uri,
        nc: 1,
    }
}

/// Sends a request and gives the answer to it.
pub(crate) async fn ask(browser: &mut Browser, method: &str, to: &str, fields: &str) -> Sip {
    browser
        .send(&request(method, to, Browser::VIA, 1, fields))
        .await;
    browser.receive().await
}

pub(crate) async fn register(browser: &mut Browser, name: &str, credentials: &str) -> Sip {
    let aor = format!("sip:{name}@localhost");
    let fields = format!(
        "{}Contact: {}\r\n{credentials}",
        browser.from(&aor),
        browser.contact()
    );
    ask(browser, "REGISTER", "sip:localhost", &fields).await
}

#[tokio::test]
async fn a_browser_registers_and_calls_with_digest() {
    let users = file("users.toml", &users(&[("alice", "secret")]));
    let scene = digest_scene(&users, "", ", assert-identity = true", "").await;
    let mut browser = Browser::connect(&scene, "alice").await;

    let challenged = register(&mut browser, "alice", "").await;
    assert_eq!(challenged.start(), "SIP/2.0 401 Unauthorized");
    let offered: Vec<_> = challenged
        .all("WWW-Authenticate")
        .iter()
        .map(|challenge| challenge.contains("algorithm=SHA-256"))
        .collect();
    assert_eq!(offered, [true, false]);
    let credentials = alice("REGISTER", "sip:localhost").field(&challenged);
    let registered = register(&mut browser, "alice", &credentials).await;
    assert_eq!(registered.start(), "SIP/2.0 200 OK");

    let forged = "P-Asserted-Identity: <sip:boss@localhost>\r\nP-Preferred-Identity: <sip:boss@localhost>\r\n";
    let call = |browser: &Browser, credentials: &str| {
        format!(
            "{}Contact: {}\r\n{forged}{credentials}",
            browser.from(PBX_NUMBER),
            browser.contact()
        )
    };
    let fields = call(&browser, "");
    let challenged = ask(&mut browser, "INVITE", PBX_NUMBER, &fields).await;
    assert_eq!(
        challenged.start(),
        "SIP/2.0 407 Proxy Authentication Required"
    );
    let credentials = alice("INVITE", PBX_NUMBER).field(&challenged);
    let others = "Proxy-Authorization: Digest username=\"a\", realm=\"pbx\", nonce=\"n\", uri=\"u\", response=\"r\", qop=auth, nc=1, cnonce=\"c\"\r\n";
    let fields = call(&browser, &format!("{others}{credentials}"));
    browser
        .send(&request("INVITE", PBX_NUMBER, Browser::VIA, 2, &fields))
        .await;
    let invite = receive_on(&scene.pbx).await;
    assert_eq!(invite.all("P-Asserted-Identity"), ["<sip:alice@localhost>"]);
    assert_eq!(invite.all("P-Preferred-Identity"), [""; 0]);
    let left = invite.all("Proxy-Authorization");
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].contains("realm=\"pbx\""));

    let contact = format!("Contact: <sip:pbx@{}>\r\n", scene.pbx.local_addr().unwrap());
    let (udp, accept) = (scene.address("udp"), invite.answer("200 OK", "p", &contact));
    send_to(&scene.pbx, udp, &accept).await;
    let accepted = browser.receive().await;
    let pbx = uri(accepted.get("Contact")).to_owned();
    let dialog = as_caller(&accepted);
    // Neither ACK nor BYE is asked for credentials.
    browser
        .send(&request("ACK", &pbx, Browser::VIA, 2, &dialog))
        .await;
    assert!(receive_on(&scene.pbx).await.start().starts_with("ACK "));
    browser
        .send(&request("BYE", &pbx, Browser::VIA, 3, &dialog))
        .await;
    let bye = receive_on(&scene.pbx).await;
    send_to(&scene.pbx, udp, &bye.answer("200 OK", "", "")).await;
    assert_eq!(browser.receive().await.start(), "SIP/2.0 200 OK");

    // The PBX is trusted: it is not asked.
    let fields = format!(
        "From: <sip:9001@pbx>;tag=p{}\r\nTo: <sip:alice@localhost>\r\nCall-ID: {}@pbx\r\n{contact}",
        fresh(),
        fresh()
    );
    let call = request(
        "INVITE",
        "sip:alice@localhost",
        &via_of(&scene.pbx),
        1,
        &fields,
    );
    send_to(&scene.pbx, udp, &call).await;
    assert!(
        browser
            .receive()
            .await
            .start()
            .starts_with("INVITE sip:alice@alice.invalid")
    );
    std::fs::remove_file(users).unwrap();
    scene.end().await;
}

#[tokio::test]
async fn nobody_uses_the_credentials_or_the_address_of_another() {
    let users = file(
        "users.toml",
        &users(&[("alice", "secret"), ("bob", "hidden")]),
    );
    let scene = digest_scene(&users, "", "", "").await;
    let mut browser = Browser::connect(&scene, "alice").await;
    let challenged = register(&mut browser, "alice", "").await;
    let right = alice("REGISTER", "sip:localhost");
    let credentials = right.field(&challenged);

    // Alice registers Bob's address.
    let answer = register(&mut browser, "bob", &credentials).await;
    assert_eq!(answer.start(), "SIP/2.0 403 This address is not yours");
    // The credentials were used then: they are good for nobody now.
    let answer = register(&mut browser, "alice", &credentials).await;
    assert_eq!(answer.start(), "SIP/2.0 401 Unauthorized");
    assert!(answer.get("WWW-Authenticate").ends_with("stale=true"));
    let wrong = Answer {
        password: "guess",
        nc: 2,
        ..right
    };
    let answer = register(&mut browser, "alice", &wrong.field(&challenged)).await;
    assert_eq!(answer.start(), "SIP/2.0 401 Unauthorized");
    assert!(!answer.get("WWW-Authenticate").contains("stale"));
    let many = format!("{}{}\r\n", credentials.trim_end(), ", a=1".repeat(1_000));
    let answer = register(&mut browser, "alice", &many).await;
    assert_eq!(
        answer.start(),
        "SIP/2.0 400 credentials of more than 4096 bytes"
    );
    let cut = format!("{}\r\n", &credentials[..credentials.len() / 2]);
    let answer = register(&mut browser, "alice", &cut).await;
    assert!(
        answer.start().starts_with("SIP/2.0 400 credentials with"),
        "{}",
        answer.start()
    );

    // Bob's From with Alice's credentials.
    let from_bob = |credentials: &str| {
        format!(
            "From: <sip:bob@localhost>;tag=f{}\r\nTo: <{PBX_NUMBER}>\r\nCall-ID: {}@test\r\n{credentials}",
            fresh(),
            fresh()
        )
    };
    let challenged = ask(&mut browser, "MESSAGE", PBX_NUMBER, &from_bob("")).await;
    let credentials = alice("MESSAGE", PBX_NUMBER).field(&challenged);
    let answer = ask(&mut browser, "MESSAGE", PBX_NUMBER, &from_bob(&credentials)).await;
    assert_eq!(answer.start(), "SIP/2.0 403 This address is not yours");
    scene.until_total("hookswitch_registrations", "", 0).await;
    std::fs::remove_file(users).unwrap();
    scene.end().await;
}

#[tokio::test]
async fn a_connection_is_asked_once_where_it_is_remembered_and_new_users_count_at_once() {
    let users_file = file("users.toml", &users(&[("alice", "secret")]));
    let scene = digest_scene(&users_file, "", ", remember = \"connection\"", "").await;
    let mut browser = Browser::connect(&scene, "alice").await;
    let challenged = register(&mut browser, "alice", "").await;
    let credentials = alice("REGISTER", "sip:localhost").field(&challenged);
    let registered = register(&mut browser, "alice", &credentials).await;
    assert_eq!(registered.start(), "SIP/2.0 200 OK");
    let again = register(&mut browser, "alice", "").await;
    assert_eq!(again.start(), "SIP/2.0 200 OK");
    // But not for the addresses of others.
    let other = register(&mut browser, "bob", "").await;
    assert_eq!(other.start(), "SIP/2.0 401 Unauthorized");

    std::fs::write(&users_file, users(&[("bob", "hidden")])).unwrap();
    let mut bob = Browser::connect(&scene, "bob").await;
    let mut tries = 0;
    loop {
        let challenged = register(&mut bob, "bob", "").await;
        let answer = Answer {
            user: "bob",
            password: "hidden",
            ..alice("REGISTER", "sip:localhost")
        };
        let answer = register(&mut bob, "bob", &answer.field(&challenged)).await;
        if answer.start() == "SIP/2.0 200 OK" {
            break;
        }
        tries += 1;
        assert!(tries < 200, "{}", answer.start());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    std::fs::remove_file(users_file).unwrap();
    scene.end().await;
}
