//! Carriers that ask who we are, and those that we register at.

use std::time::Duration;

use hookswitch_auth::Algorithm;
use serde_json::Value;

use crate::{
    client::{Browser, Sip, as_caller, fresh, receive_on, request, send_to, uri, via_of},
    scene::Scene,
    stream::{Line, Pbx},
};

const NUMBER: &str = "sip:+4930123@elsewhere.example";
const TCP: &str = "[[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:0\"\n";
const ACCOUNT: &str = "username = \"4912345\"\npassword = \"very-secret\"\n";

fn registration(upstream: &str) -> String {
    format!(
        "[[registration]]\nupstream = \"{upstream}\"\naor = \"sip:4912345@carrier.example\"\ncontact_user = \"alice\"\n"
    )
}

/// With the carrier at the scene's UDP socket.
async fn scene(account: &str, more: &str) -> Scene {
    let carrier = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!(
        "members = [\"{}\"]\n{account}",
        carrier.local_addr().unwrap()
    );
    let server = "workers = 1\ndomains = [\"localhost\"]";
    Scene::with_upstream(server, &upstream, more, carrier).await
}

/// H of RFC 7616, which the credentials' crate gives for three parts joined by colons.
fn hash(algorithm: Algorithm, text: &str) -> String {
    let mut parts = text.splitn(3, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (a, b, c) = (next(), next(), next());
    algorithm.ha1(a, b, c)
}

/// What a carrier reads of our credentials.
struct Given<'a>(&'a str);

impl<'a> Given<'a> {
    fn param(&self, name: &str) -> &'a str {
        let (_, rest) = self
            .0
            .split_once(&format!(" {name}="))
            .unwrap_or_else(|| panic!("no {name} in {}", self.0));
        rest.split(',').next().unwrap().trim_matches('"')
    }

    /// Are they those of who knows this password?
    fn is_right(&self, password: &str, method: &str) -> bool {
        let p = |name| self.param(name);
        let algorithm = match self.0.contains("algorithm=SHA-256") {
            true => Algorithm::Sha256,
            false => Algorithm::Md5,
        };
        let ha1 = hash(
            algorithm,
            &format!("{}:{}:{password}", p("username"), p("realm")),
        );
        let ha2 = hash(algorithm, &format!("{method}:{}", p("uri")));
        let middle = match self.0.contains("qop=") {
            true => format!("{}:{}:{}:{}", p("nonce"), p("nc"), p("cnonce"), p("qop")),
            false => p("nonce").to_owned(),
        };
        p("response") == hash(algorithm, &format!("{ha1}:{middle}:{ha2}"))
    }
}

async fn answer(scene: &Scene, request: &Sip, status: &str, more: &str) {
    let response = request.answer(status, "c", more);
    send_to(&scene.pbx, scene.address("udp"), &response).await;
}

async fn registrations(scene: &Scene) -> Value {
    let (_, body) = scene.admin("/api/registrations/upstream").await;
    serde_json::from_str::<Value>(&body).unwrap()["registrations"].take()
}

/// The state of the only one, once it is this.
async fn state_is(scene: &Scene, state: &str) -> Value {
    for _ in 0..400 {
        let trunk = registrations(scene).await[0].take();
        if trunk["state"] == state {
            return trunk;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not {state}: {}", registrations(scene).await);
}

#[tokio::test]
async fn a_call_goes_through_a_carrier_that_asks() {
    let scene = scene(ACCOUNT, "[capture]\nfile = \"sip.pcap\"").await;
    let mut alice = Browser::register(&scene, "alice").await;
    let fields = format!("{}Contact: {}\r\n", alice.from(NUMBER), alice.contact());
    alice
        .send(&request("INVITE", NUMBER, Browser::VIA, 1, &fields))
        .await;
    let first = receive_on(&scene.pbx).await;
    assert!(first.all("Proxy-Authorization").is_empty());
    let challenges = "Proxy-Authenticate: Digest realm=\"carrier.example\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n\
         Proxy-Authenticate: Digest realm=\"carrier.example\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth,auth-int\", opaque=\"o\"\r\n";
    answer(
        &scene,
        &first,
        "407 Proxy Authentication Required",
        challenges,
    )
    .await;
    assert!(receive_on(&scene.pbx).await.start().starts_with("ACK "));
    let second = receive_on(&scene.pbx).await;
    let given = Given(second.get("Proxy-Authorization"));
    assert_eq!(
        ["username", "realm", "nonce", "uri", "opaque", "nc"].map(|name| given.param(name)),
        ["4912345", "carrier.example", "n2", NUMBER, "o", "00000001"]
    );
    assert!(given.is_right("very-secret", "INVITE"), "{}", given.0);
    assert_ne!(first.get("Via"), second.get("Via"));
    assert_eq!(second.get("CSeq"), "2 INVITE");
    let contact = format!("Contact: <sip:c@{}>\r\n", scene.pbx.local_addr().unwrap());
    answer(&scene, &second, "200 OK", &contact).await;
    let accepted = alice.receive().await;
    assert_eq!(accepted.start(), "SIP/2.0 200 OK");
    assert_eq!(accepted.get("CSeq"), "1 INVITE");
    let (to, fields) = (
        uri(accepted.get("Contact")).to_owned(),
        as_caller(&accepted),
    );
    alice
        .send(&request("ACK", &to, Browser::VIA, 1, &fields))
        .await;
    let ack = receive_on(&scene.pbx).await;
    assert!(ack.start().starts_with("ACK "));
    assert_eq!(ack.get("CSeq"), "2 ACK");
    // What it asked once need not be asked again.
    alice
        .send(&request("BYE", &to, Browser::VIA, 2, &fields))
        .await;
    let bye = receive_on(&scene.pbx).await;
    assert_eq!(bye.get("CSeq"), "3 BYE");
    let given = Given(bye.get("Proxy-Authorization"));
    assert_eq!(given.param("nc"), "00000002");
    assert!(given.is_right("very-secret", "BYE"), "{}", given.0);
    let response = given.param("response").to_owned();
    answer(&scene, &bye, "200 OK", "").await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    let metric = "hookswitch_upstream_challenges_total";
    scene.until_total(metric, "answered", 1).await;

    let folder = scene.folder.clone();
    scene.server.stop().await;
    let capture = std::fs::read(folder.join("sip.pcap")).unwrap();
    let has = |text: &str| {
        capture
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(has("4912345") && !has(&response) && !has("very-secret"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_told_to_the_operator_and_not_to_the_browser() {
    let scene = scene(ACCOUNT, "").await;
    let mut alice = Browser::register(&scene, "alice").await;
    let fields = alice.from(NUMBER);
    alice
        .send(&request("MESSAGE", NUMBER, Browser::VIA, 1, &fields))
        .await;
    for nonce in ["a", "b"] {
        let asked = receive_on(&scene.pbx).await;
        let challenge = format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\"\r\n");
        answer(&scene, &asked, "401 Unauthorized", &challenge).await;
    }
    let failed = alice.receive().await;
    assert_eq!(
        failed.start(),
        "SIP/2.0 500 Upstream Refused Our Credentials"
    );
    assert!(failed.all("WWW-Authenticate").is_empty());
    let metric = "hookswitch_upstream_challenges_total";
    scene.until_total(metric, "refused", 1).await;
    let ended = "hookswitch_transactions_ended_total";
    scene.until_total(ended, "cause=\"credentials\"", 1).await;
    scene.end().await;
}

/// Answers a REGISTER without and then one with the right credentials.
async fn take_registration(line: &mut Line, expires: &str) -> Sip {
    let first = line.receive().await;
    assert_eq!(first.start(), "REGISTER sip:carrier.example SIP/2.0");
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    line.send(&first.answer("401 Unauthorized", "c", challenge))
        .await;
    let second = line.receive().await;
    let given = Given(second.get("Authorization"));
    assert!(given.is_right("very-secret", "REGISTER"), "{}", given.0);
    assert_eq!(second.get("Expires"), expires);
    second
}

#[tokio::test]
async fn a_trunk_is_registered_called_and_taken_back_over_tcp() {
    let carrier = Pbx::tcp().await;
    let upstream = format!(
        "transport = \"tcp\"\nmembers = [\"{}\"]\nusername = \"4912345\"\npassword_file = \"password\"\nrealm = \"r\"",
        carrier.address()
    );
    let password = std::env::temp_dir().join(format!(
        "hookswitch-password-{}-{}",
        std::process::id(),
        fresh()
    ));
    std::fs::write(&password, "very-secret\nwhat else stands there\n").unwrap();
    let upstream = upstream.replace("\"password\"", &format!("{:?}", password.to_str().unwrap()));
    let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = "workers = 2\ndomains = [\"localhost\"]";
    let more = format!("{TCP}{}", registration("pbx"));
    let scene = Scene::with_upstream(server, &upstream, &more, udp).await;
    let mut line = carrier.accept().await;
    let register = take_registration(&mut line, "3600").await;
    let contact = register.get("Contact").to_owned();
    let ours = format!("<sip:alice@{};transport=tcp>", scene.address("tcp"));
    assert_eq!(contact, ours);
    let granted = format!("Contact: {contact};expires=90\r\n");
    line.send(&register.answer("200 OK", "c", &granted)).await;
    let trunk = state_is(&scene, "registered").await;
    assert_eq!(trunk["aor"], "sip:4912345@carrier.example");
    assert_eq!(trunk["upstream"], "pbx");
    assert!(
        (85..=90).contains(&trunk["expires_s"].as_u64().unwrap()),
        "{trunk}"
    );
    scene
        .until_total("hookswitch_upstream_registered", "", 1)
        .await;

    // A call to the Contact is one of the upstream's.
    let mut alice = Browser::register(&scene, "alice").await;
    let from = format!(
        "From: <sip:0@carrier.example>;tag=c\r\nTo: <sip:4912345@carrier.example>\r\nCall-ID: {}\r\n",
        fresh()
    );
    let call = request("OPTIONS", uri(&contact), &line.via, 1, &from);
    line.send(&call).await;
    let called = alice.receive().await;
    alice.send(&called.answer("200 OK", "a", "")).await;
    assert_eq!(line.receive().await.start(), "SIP/2.0 200 OK");

    // The drain waits until the carrier knows.
    let leaving = async {
        let register = take_registration(&mut line, "0").await;
        assert_eq!(state_is(&scene, "registered").await["error"], Value::Null);
        line.send(&register.answer("200 OK", "c", "")).await;
    };
    tokio::join!(scene.server.drained(), leaving);
    assert_eq!(registrations(&scene).await[0]["state"], "removed");
    std::fs::remove_file(password).unwrap();
    scene.end().await;
}

#[tokio::test]
async fn a_trunk_that_is_refused_says_why() {
    let scene = scene("", &registration("pbx")).await;
    let register = receive_on(&scene.pbx).await;
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    answer(&scene, &register, "401 Unauthorized", challenge).await;
    let trunk = state_is(&scene, "failed").await;
    let retry_s = trunk["retry_s"].as_u64().unwrap();
    assert!((10..=30).contains(&retry_s), "{trunk}");
    let error = "it asks for credentials: give the upstream username and password";
    assert_eq!(trunk["error"], error);
    scene
        .until_total("hookswitch_upstream_registered", "", 0)
        .await;
    scene.end().await;
}

/// It still stands there: the drain waits until the carrier knows that it does no longer.
#[tokio::test]
async fn a_trunk_that_could_not_be_refreshed_is_taken_back() {
    let scene = scene(ACCOUNT, &registration("pbx")).await;
    let register = receive_on(&scene.pbx).await;
    let granted = format!("Contact: {};expires=4\r\n", register.get("Contact"));
    answer(&scene, &register, "200 OK", &granted).await;
    let refresh = receive_on(&scene.pbx).await;
    answer(&scene, &refresh, "500 Server Internal Error", "").await;
    state_is(&scene, "failed").await;
    let leaving = async {
        let removal = receive_on(&scene.pbx).await;
        assert_eq!(removal.get("Expires"), "0");
        let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
        answer(&scene, &removal, "401 Unauthorized", challenge).await;
        let removal = receive_on(&scene.pbx).await;
        assert_eq!(removal.get("Expires"), "0");
        answer(&scene, &removal, "200 OK", "").await;
    };
    tokio::join!(leaving, scene.server.drained());
    assert_eq!(registrations(&scene).await[0]["state"], "removed");
    scene.end().await;
}

/// As soon as its name is known.
#[tokio::test]
async fn a_trunk_is_registered_at_an_upstream_by_name() {
    let carrier = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = carrier.local_addr().unwrap().port();
    let upstream = format!("members = [\"localhost:{port}\"]");
    let scene = Scene::with_upstream("", &upstream, &registration("pbx"), carrier).await;
    let register = receive_on(&scene.pbx).await;
    answer(&scene, &register, "200 OK", "").await;
    state_is(&scene, "registered").await;
    // And is called there from the same address.
    let from = format!(
        "From: <sip:0@c>;tag=c\r\nTo: <sip:1@c>\r\nCall-ID: {}\r\n",
        fresh()
    );
    let to = uri(register.get("Contact")).to_owned();
    let call = request("MESSAGE", &to, &via_of(&scene.pbx), 1, &from);
    send_to(&scene.pbx, scene.address("udp"), &call).await;
    assert_eq!(
        receive_on(&scene.pbx).await.start(),
        "SIP/2.0 404 Not Found"
    );
    scene.end().await;
}
