//! Attacks by who passes for an upstream, or wants what is for upstreams alone.

use tokio::net::UdpSocket;

use super::{LOCAL, NUMBER, TCP, from, nothing_but_this_reached_the_pbx, status};
use crate::{
    client::{Browser, receive_on, request, send_to, via_of},
    scene::Scene,
    stream::Pbx,
};

const TLS: &str = "[[listener]]\nname = \"tls\"\ntransport = \"tls\"\naddress = \"127.0.0.1:0\"\n";
const CHALLENGE: &str = "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"chosen\"\r\n";
const ASKS: &str = "407 Proxy Authentication Required";

/// A datagram from where a member is that is spoken to by connections: anybody can write that address.
#[tokio::test]
async fn address_of_a_member_in_a_datagram() {
    for (transport, listener) in [("tcp", TCP), ("tls", TLS)] {
        let member = Pbx::tcp().await.address();
        let spoofed = UdpSocket::bind(member).await.unwrap();
        let upstream = format!("transport = \"{transport}\"\nmembers = [\"{member}\"]");
        let scene = Scene::with_upstream(LOCAL, &upstream, listener, spoofed).await;
        let mut browser = Browser::register(&scene, "alice").await;
        let (via, to) = (via_of(&scene.pbx), browser.aor());
        let route = format!("Route: <sip:{member};lr>\r\n");
        for (to, route) in [(NUMBER, ""), (&*to, &*route)] {
            let fields = format!("{route}{}", from("9001", to));
            let call = request("INVITE", to, &via, 1, &fields);
            send_to(&scene.pbx, scene.address("udp"), &call).await;
            assert_eq!(status(&receive_on(&scene.pbx).await), "403", "{transport}");
        }
        let asserted = "P-Asserted-Identity: <sip:boss@localhost>\r\n";
        let fields = format!("{asserted}{}", from("9001", &to));
        let message = request("MESSAGE", &to, &via, 1, &fields);
        send_to(&scene.pbx, scene.address("udp"), &message).await;
        let received = browser.receive().await;
        assert!(received.all("P-Asserted-Identity").is_empty());
        browser.send(&received.answer("200 OK", "a", "")).await;
        assert_eq!(status(&receive_on(&scene.pbx).await), "200");
        scene.end().await;
    }
}

/// A callee chooses a nonce, and would read there what the carrier's password can be guessed from.
#[tokio::test]
async fn digest_harvested_by_a_callee() {
    let carrier = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let member = carrier.local_addr().unwrap();
    let login = "username = \"4912345\"\npassword = \"very-secret\"";
    let upstream = format!("members = [\"{member}\"]\n{login}");
    let scene = Scene::with_upstream(LOCAL, &upstream, "", carrier).await;
    let mut mallory = Browser::register(&scene, "mallory").await;
    let (udp, via, to) = (scene.address("udp"), via_of(&scene.pbx), mallory.aor());
    let call = request("MESSAGE", &to, &via, 1, &from("9001", &to));
    send_to(&scene.pbx, udp, &call).await;
    let called = mallory.receive().await;
    mallory.send(&called.answer(ASKS, "m", CHALLENGE)).await;
    let refused = receive_on(&scene.pbx).await;
    assert_eq!(status(&refused), "403");
    assert!(refused.all("Proxy-Authenticate").is_empty());

    // The carrier itself asks, and then passes on what it should have taken out.
    let mut alice = Browser::register(&scene, "alice").await;
    let message = request("MESSAGE", NUMBER, Browser::VIA, 1, &alice.from(NUMBER));
    alice.send(&message).await;
    let asked = receive_on(&scene.pbx).await;
    send_to(&scene.pbx, udp, &asked.answer(ASKS, "c", CHALLENGE)).await;
    let answered = receive_on(&scene.pbx).await;
    let credentials = answered.get("Proxy-Authorization");
    let fields = format!(
        "Proxy-Authorization: {credentials}\r\n{}",
        from("9001", &to)
    );
    let call = request("MESSAGE", &to, &via, 1, &fields);
    send_to(&scene.pbx, udp, &call).await;
    let called = mallory.receive().await;
    assert!(called.all("Proxy-Authorization").is_empty());
    mallory.send(&called.answer("200 OK", "m", "")).await;
    assert_eq!(status(&receive_on(&scene.pbx).await), "200");
    send_to(&scene.pbx, udp, &answered.answer("200 OK", "c", "")).await;
    assert_eq!(status(&alice.receive().await), "200");
    nothing_but_this_reached_the_pbx(&scene, &mut alice).await;
    scene.end().await;
}
