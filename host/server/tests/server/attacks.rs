//! Attacks on trust, one test each, named like the attack: what is refused, with which status, that nothing of it reached the PBX, and
//! that what everybody may do still passes. The rules themselves are tested at their own places: `sip::token`, `sip::proxy`, `auth`.

mod bearer;
mod domains;
mod identity;
mod upstream;

use std::time::Duration;

use tokio::net::UdpSocket;

use crate::{
    auth::ask,
    client::{Browser, Sip, as_caller, fresh, receive_on, request, send_to, uri, via_of},
    scene::Scene,
    stream::Line,
};

const NUMBER: &str = "sip:9001@elsewhere.example";
const LOCAL: &str = "workers = 1\ndomains = [\"localhost\"]";
const TCP: &str = "[[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:0\"\n";

const MOMENT: Duration = Duration::from_millis(20);

/// Who belongs to nobody: from an address that is not the PBX's.
struct Stranger(UdpSocket);

impl Stranger {
    async fn new() -> Self {
        Self(UdpSocket::bind("127.0.0.2:0").await.unwrap())
    }

    async fn ask(&self, scene: &Scene, method: &str, uri: &str, fields: &str) -> String {
        let request = request(method, uri, &via_of(&self.0), 1, fields);
        send_to(&self.0, scene.address("udp"), &request).await;
        status(&receive_on(&self.0).await)
    }
}

/// The status code.
fn status(answer: &Sip) -> String {
    answer.start().split(' ').nth(1).unwrap().to_owned()
}

fn from(user: &str, to: &str) -> String {
    let (tag, call) = (fresh(), fresh());
    format!("From: <sip:{user}@localhost>;tag=x{tag}\r\nTo: <{to}>\r\nCall-ID: {call}@attack\r\n")
}

/// The next that comes to the PBX is this honest request: nothing of what was sent before it got there.
async fn nothing_but_this_reached_the_pbx(scene: &Scene, browser: &mut Browser) {
    let mark = format!("{}Subject: honest\r\n", browser.from(NUMBER));
    let message = request("MESSAGE", NUMBER, Browser::VIA, 1, &mark);
    browser.send(&message).await;
    let received = receive_on(&scene.pbx).await;
    assert_eq!(received.all("Subject"), ["honest"], "{}", received.0);
    let answer = received.answer("200 OK", "p", "");
    send_to(&scene.pbx, scene.address("udp"), &answer).await;
    assert_eq!(status(&browser.receive().await), "200");
}

/// A call from a browser to the PBX that stands.
struct Call {
    /// The PBX's Contact.
    target: String,
    /// From, To, Call-ID and Routes, as the browser writes them.
    dialog: String,
    /// As the PBX got it.
    invite: Sip,
}

impl Call {
    async fn establish(scene: &Scene, browser: &mut Browser) -> Self {
        let fields = format!("{}Contact: {}\r\n", browser.from(NUMBER), browser.contact());
        let invite = request("INVITE", NUMBER, Browser::VIA, 1, &fields);
        browser.send(&invite).await;
        let invite = receive_on(&scene.pbx).await;
        let contact = format!(
            "Contact: <sip:9001@{}>\r\n",
            scene.pbx.local_addr().unwrap()
        );
        let accept = invite.answer("200 OK", "p", &contact);
        send_to(&scene.pbx, scene.address("udp"), &accept).await;
        let accepted = browser.receive().await;
        let call = Self {
            target: uri(accepted.get("Contact")).to_owned(),
            dialog: as_caller(&accepted),
            invite,
        };
        let ack = request("ACK", &call.target, Browser::VIA, 1, &call.dialog);
        browser.send(&ack).await;
        assert!(receive_on(&scene.pbx).await.start().starts_with("ACK "));
        call
    }

    /// Our Record-Route, as it stands in a Route.
    fn token(&self) -> &str {
        let routes = self.dialog.lines().next().unwrap();
        routes
            .split(['<', '@'])
            .nth(1)
            .unwrap()
            .trim_start_matches("sip:")
    }

    /// It ends as it should, and nothing comes to the PBX before that.
    async fn ends(&self, scene: &Scene, browser: &mut Browser) {
        let bye = request("BYE", &self.target, Browser::VIA, 9, &self.dialog);
        browser.send(&bye).await;
        let bye = receive_on(&scene.pbx).await;
        assert!(bye.start().starts_with("BYE "), "{}", bye.0);
        let answer = bye.answer("200 OK", "", "");
        send_to(&scene.pbx, scene.address("udp"), &answer).await;
        assert_eq!(status(&browser.receive().await), "200");
    }
}

#[tokio::test]
async fn open_relay() {
    let scene = Scene::start(LOCAL, TCP).await;
    let mut browser = Browser::register(&scene, "alice").await;
    let (stranger, victim) = (Stranger::new().await, Stranger::new().await);
    let victim = format!("sip:1@{}", victim.0.local_addr().unwrap());
    let pbx = format!("sip:100@{}", scene.pbx.local_addr().unwrap());
    for method in ["INVITE", "MESSAGE", "REGISTER", "OPTIONS", "SUBSCRIBE"] {
        for to in [NUMBER, &victim, &pbx, "tel:+1900", "sip:nobody@localhost"] {
            // Whoever may register does so here, and nowhere else.
            if (method, to) == ("REGISTER", "sip:nobody@localhost") {
                continue;
            }
            let answer = stranger.ask(&scene, method, to, &from("x", to)).await;
            assert_eq!(answer, "403", "{method} {to}");
        }
    }
    let mut phone = Line::tcp([127, 0, 0, 2], scene.address("tcp")).await;
    let via = phone.via.clone();
    phone
        .send(&request("INVITE", NUMBER, &via, 1, &from("x", NUMBER)))
        .await;
    assert_eq!(status(&phone.receive().await), "403");
    nothing_but_this_reached_the_pbx(&scene, &mut browser).await;
    // Registered users can be called by everybody.
    let to = "sip:alice@localhost";
    let request = request("MESSAGE", to, &via_of(&stranger.0), 1, &from("x", to));
    send_to(&stranger.0, scene.address("udp"), &request).await;
    let received = browser.receive().await;
    browser.send(&received.answer("200 OK", "a", "")).await;
    assert_eq!(status(&receive_on(&stranger.0).await), "200");
    scene.end().await;
}

#[tokio::test]
async fn preloaded_route() {
    let scene = Scene::start(LOCAL, "").await;
    let mut browser = Browser::register(&scene, "alice").await;
    let stranger = Stranger::new().await;
    let (pbx, us) = (scene.pbx.local_addr().unwrap(), scene.address("udp"));
    for route in [
        format!("<sip:{pbx};lr>"),
        format!("<sip:{us};lr>, <sip:{pbx};lr>"),
        "<sip:192.0.2.77;lr>".to_owned(),
        "<sip:relay.example>".to_owned(),
    ] {
        let route = format!("Route: {route}\r\n");
        let fields = format!("{route}{}", browser.from(NUMBER));
        let answer = ask(&mut browser, "INVITE", NUMBER, &fields).await;
        assert_eq!(status(&answer), "403", "{route}");
        let to = "sip:alice@localhost";
        let fields = format!("{route}{}", from("x", to));
        assert_eq!(stranger.ask(&scene, "INVITE", to, &fields).await, "403");
    }
    nothing_but_this_reached_the_pbx(&scene, &mut browser).await;
    // We are an outbound proxy for whoever names us and nobody else.
    let route = format!("Route: <sip:{us};lr>\r\n");
    let fields = format!("{route}{}", browser.from(NUMBER));
    browser
        .send(&request("MESSAGE", NUMBER, Browser::VIA, 1, &fields))
        .await;
    assert!(receive_on(&scene.pbx).await.all("Route").is_empty());
    scene.end().await;
}

#[tokio::test]
async fn forged_token() {
    let scene = Scene::start(LOCAL, "").await;
    let mut browser = Browser::register(&scene, "alice").await;
    let call = Call::establish(&scene, &mut browser).await;
    let token = call.token();
    let mut bytes = token.as_bytes().to_vec();
    let at = bytes.len() / 2;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(bytes).unwrap();
    let (head, _) = token.split_at(token.len() - 4);
    for forged in [&altered, head, "AAAA", "alice"] {
        let dialog = call.dialog.replace(token, forged);
        for method in ["BYE", "INVITE", "REFER"] {
            let answer = ask(&mut browser, method, &call.target, &dialog).await;
            assert_eq!(status(&answer), "403", "{method} {forged}");
        }
        // Nobody answers an ACK, and nobody forwards this one.
        browser
            .send(&request("ACK", &call.target, Browser::VIA, 1, &dialog))
            .await;
    }
    call.ends(&scene, &mut browser).await;
    scene.end().await;
}

#[tokio::test]
async fn replayed_token() {
    let scene = Scene::start(LOCAL, "").await;
    let mut browser = Browser::register(&scene, "alice").await;
    let call = Call::establish(&scene, &mut browser).await;
    let call_id = call.invite.get("Call-ID");
    let (from, _) = call.invite.get("From").split_at(browser.aor().len() + 2);
    let from_tag = call.invite.get("From").strip_prefix(from).unwrap();
    let without_tag: String = call.dialog.replace(";tag=p", "");
    for (replayed, why) in [
        (call.dialog.replace(call_id, "another"), "in another call"),
        (call.dialog.replace(from_tag, ";tag=another"), "by another"),
        (without_tag, "for a new call"),
    ] {
        for method in ["INVITE", "BYE", "MESSAGE"] {
            let answer = ask(&mut browser, method, NUMBER, &replayed).await;
            assert_eq!(status(&answer), "403", "{method} {why}");
        }
    }
    // Whoever has a call may not register past who asks for passwords: no REGISTER is of a dialog.
    let contact = format!("{}Contact: {}\r\n", call.dialog, browser.contact());
    let answer = ask(&mut browser, "REGISTER", &call.target, &contact).await;
    assert_eq!(status(&answer), "403");
    call.ends(&scene, &mut browser).await;
    scene.end().await;
}

#[tokio::test]
async fn expired_token() {
    let scene = Scene::start(LOCAL, "").await;
    let mut browser = Browser::register(&scene, "alice").await;
    let call = Call::establish(&scene, &mut browser).await;
    // As if it had been rotated away.
    let keys = scene.folder.join("state/token-keys.json");
    let text = std::fs::read_to_string(&keys).unwrap();
    assert!(text.contains("\"id\":0"), "{text}");
    std::fs::write(&keys, text.replace("\"id\":0", "\"id\":7")).unwrap();
    let before = [scene.address("wss"), scene.address("udp")];
    let scene = scene.restart().await;
    let after = [scene.address("wss"), scene.address("udp")];
    let mut dialog = call.dialog.clone();
    for (before, after) in before.into_iter().zip(after) {
        dialog = dialog.replace(&before.to_string(), &after.to_string());
    }
    let mut browser = Browser::register(&scene, "alice").await;
    let answer = ask(&mut browser, "BYE", &call.target, &dialog).await;
    assert_eq!(status(&answer), "403");
    let call = Call::establish(&scene, &mut browser).await;
    call.ends(&scene, &mut browser).await;
    scene.end().await;
}

#[tokio::test]
async fn to_tag_without_a_dialog() {
    let scene = Scene::start(LOCAL, "").await;
    let mut browser = Browser::register(&scene, "alice").await;
    let stranger = Stranger::new().await;
    for method in ["INVITE", "BYE", "MESSAGE", "REFER", "UPDATE", "OPTIONS"] {
        let tagged = |fields: String| fields.replace("example>\r\n", "example>;tag=t\r\n");
        let fields = tagged(browser.from(NUMBER));
        assert!(fields.contains(";tag=t"));
        let answer = ask(&mut browser, method, NUMBER, &fields).await;
        assert_eq!(status(&answer), "481", "{method}");
        let fields = tagged(from("x", NUMBER));
        let answer = stranger.ask(&scene, method, NUMBER, &fields).await;
        assert_eq!(answer, "481", "{method}");
    }
    nothing_but_this_reached_the_pbx(&scene, &mut browser).await;
    scene.end().await;
}

#[tokio::test]
async fn path_forged_by_a_client() {
    let scene = Scene::start(LOCAL, "[registrar]\nupstream = \"pbx\"").await;
    let (us, pbx) = (scene.address("udp"), &scene.pbx);
    let stranger = Stranger::new().await;
    let evil = stranger.0.local_addr().unwrap();
    let mut browser = Browser::connect(&scene, "alice").await;
    let aor = browser.aor();
    let fields = format!(
        "{}Path: <sip:{evil};lr>\r\nContact: {}\r\nExpires: 60\r\n",
        browser.from(&aor),
        browser.contact()
    );
    browser
        .send(&request(
            "REGISTER",
            "sip:localhost",
            Browser::VIA,
            1,
            &fields,
        ))
        .await;
    let register = receive_on(pbx).await;
    // Ours is what the PBX sends to first.
    let [ours, theirs] = register.all("Path")[..] else {
        panic!("{}", register.0)
    };
    assert!(ours.contains(&us.to_string()) && theirs.contains(&evil.to_string()));
    let granted = format!("Contact: {};expires=60\r\n", browser.contact());
    send_to(pbx, us, &register.answer("200 OK", "p", &granted)).await;
    assert_eq!(status(&browser.receive().await), "200");

    let target = uri(&browser.contact()).to_owned();
    let ask_for = |route: &str| {
        let fields = format!("Route: {route}\r\n{}", from("9001", &aor));
        request("MESSAGE", &target, &via_of(pbx), 1, &fields)
    };
    // Both, as the PBX knows them: the client gets it, and nobody else.
    send_to(pbx, us, &ask_for(&format!("{ours}, {theirs}"))).await;
    let received = browser.receive().await;
    browser.send(&received.answer("200 OK", "a", "")).await;
    assert_eq!(status(&receive_on(pbx).await), "200");
    let mut buffer = [0; 16];
    assert!(stranger.0.try_recv(&mut buffer).is_err());

    // The client's way is the PBX's alone: whoever else learnt it (the client sees it in the answer) calls past the routing.
    let fields = format!("Route: {ours}\r\n{}", from("x", &aor));
    assert_eq!(
        stranger.ask(&scene, "MESSAGE", &target, &fields).await,
        "403"
    );
    let mut other = Browser::connect(&scene, "eve").await;
    assert_eq!(
        status(&ask(&mut other, "MESSAGE", &target, &fields).await),
        "403"
    );
    // One that we did not write is nobody's, from the PBX too.
    let token = uri(ours).split(['@', ':']).nth(1).unwrap();
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    send_to(pbx, us, &ask_for(&ours.replace(token, &forged))).await;
    assert_eq!(status(&receive_on(pbx).await), "403");
    // And one whose client is gone says so (RFC 5626 §5.3.1).
    browser.socket.close(None).await.unwrap();
    while !scene
        .admin("/api/registrations")
        .await
        .1
        .contains("\"peer\": null")
    {
        tokio::time::sleep(MOMENT).await;
    }
    send_to(pbx, us, &ask_for(ours)).await;
    assert_eq!(status(&receive_on(pbx).await), "430");
    scene.end().await;
}

#[tokio::test]
async fn end_of_a_call_by_another() {
    let scene = Scene::start(LOCAL, "").await;
    let mut browser = Browser::register(&scene, "alice").await;
    let mut other = Browser::connect(&scene, "eve").await;
    let stranger = Stranger::new().await;
    let fields = format!("{}Contact: {}\r\n", browser.from(NUMBER), browser.contact());
    let invite = request("INVITE", NUMBER, Browser::VIA, 1, &fields);
    browser.send(&invite).await;
    let received = receive_on(&scene.pbx).await;
    let udp = scene.address("udp");
    send_to(&scene.pbx, udp, &received.answer("180 Ringing", "p", "")).await;
    assert_eq!(status(&browser.receive().await), "180");
    // Whoever rang with it knows all that is in an INVITE; but not the connection that it came on.
    let cancel = Sip(invite
        .0
        .replace("INVITE sip:", "CANCEL sip:")
        .replace("1 INVITE", "1 CANCEL"));
    other.send(&cancel).await;
    assert_eq!(status(&other.receive().await), "481");
    send_to(&stranger.0, udp, &cancel).await;
    assert_eq!(status(&receive_on(&stranger.0).await), "481");
    // Nor the number in our Via, which names the branch.
    let via = received.get("Via");
    let (branch, end) = (via.find("z9hG4bKhs").unwrap() + 11, 16);
    let forged = via.replace(&via[branch..branch + end], "0123456789abcdef");
    let answer = received
        .answer("486 Busy Here", "x", "")
        .0
        .replace(via, &forged);
    send_to(&stranger.0, udp, &Sip(answer)).await;

    browser.send(&cancel).await;
    let mut answers = [status(&browser.receive().await), String::new()];
    let cancel = receive_on(&scene.pbx).await;
    assert!(cancel.start().starts_with("CANCEL "), "{}", cancel.0);
    send_to(&scene.pbx, udp, &cancel.answer("200 OK", "p", "")).await;
    let terminated = received.answer("487 Request Terminated", "p", "");
    send_to(&scene.pbx, udp, &terminated).await;
    answers[1] = status(&browser.receive().await);
    assert_eq!(answers, ["200", "487"]);
    scene.end().await;
}

#[tokio::test]
async fn request_without_end() {
    let scene = Scene::start(LOCAL, "").await;
    let mut browser = Browser::register(&scene, "alice").await;
    let spent = |fields: String| {
        let asked = request("MESSAGE", NUMBER, Browser::VIA, 1, &fields).0;
        Sip(asked.replace("Max-Forwards: 70", "Max-Forwards: 0"))
    };
    browser.send(&spent(browser.from(NUMBER))).await;
    assert_eq!(status(&browser.receive().await), "483");
    nothing_but_this_reached_the_pbx(&scene, &mut browser).await;

    // A PBX that sends back what it gets: it has it twice at most.
    let to = browser.aor();
    let looping = request("MESSAGE", NUMBER, Browser::VIA, 1, &browser.from(&to));
    browser.send(&looping).await;
    let udp = scene.address("udp");
    let mut received = receive_on(&scene.pbx).await;
    let mut times = 1;
    let refused = loop {
        let via = format!(
            "Via: SIP/2.0/{};branch=z9hG4bKr{}\r\nVia",
            via_of(&scene.pbx),
            fresh()
        );
        let back = received.0.replacen("Via", &via, 1);
        send_to(&scene.pbx, udp, &Sip(back)).await;
        received = receive_on(&scene.pbx).await;
        if received.start().starts_with("SIP/2.0 ") {
            break status(&received);
        }
        times += 1;
    };
    assert!(
        times <= 2 && ["482", "404"].contains(&refused.as_str()),
        "{times}: {refused}"
    );
    scene.end().await;
}

#[tokio::test]
async fn request_inside_a_request() {
    let scene = Scene::start(LOCAL, TCP).await;
    let mut browser = Browser::register(&scene, "alice").await;
    let mut phone = Line::tcp([127, 0, 0, 2], scene.address("tcp")).await;
    let via = phone.via.clone();
    // One of us would take the body for a message of its own.
    let inner = request("MESSAGE", NUMBER, &via, 1, &from("x", NUMBER)).0;
    let outer = request(
        "MESSAGE",
        "sip:alice@localhost",
        &via,
        1,
        &from("x", "sip:alice@localhost"),
    );
    let both = format!("Content-Length: {}\r\nContent-Length: 0\r\n", inner.len());
    let smuggling = outer.0.replace("Content-Length: 0\r\n", &both) + &inner;
    phone.write(smuggling.as_bytes()).await;
    assert_eq!(status(&phone.receive().await), "400");
    assert!(phone.next().await.is_none(), "closed");
    let doubled = browser
        .from(NUMBER)
        .replace("From:", "f: <sip:boss@localhost>;tag=b\r\nFrom:");
    let answer = ask(&mut browser, "MESSAGE", NUMBER, &doubled).await;
    assert_eq!(status(&answer), "400");
    nothing_but_this_reached_the_pbx(&scene, &mut browser).await;
    scene.end().await;
}
