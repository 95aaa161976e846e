//! Upstreams by name (RFC 3263), through a server of names of the test's own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use hickory_resolver::proto::rr::RecordType;
use tokio::net::UdpSocket;

use crate::{
    client::{Browser, Sip, as_caller, fresh, receive_on, request, send_to, uri, via_of},
    dns::{Dns, address, alias, pointer, service},
    scene::Scene,
    stream::{Ca, Pbx},
};

const TO: &str = "sip:100@elsewhere.example";
const NAME: &str = "pbx.example";
const UDP_SERVICE: &str = "_sip._udp.pbx.example";
const MOMENT: Duration = Duration::from_millis(50);
const LOOPBACK: [u8; 4] = [127, 0, 0, 1];
const TCP: &str = "[[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:0\"\n";
const TLS: &str = "[[listener]]\nname = \"tls\"\ntransport = \"tls\"\naddress = \"127.0.0.1:0\"\n";

/// A PBX's socket, and its port.
async fn udp() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

async fn scene(dns: &Dns, upstream: &str, more: &str) -> (Scene, Browser) {
    let server = "workers = 1\ndomains = [\"localhost\"]";
    let more = format!("{more}\n{}", dns.section());
    let scene = Scene::with_upstream(server, upstream, &more, udp().await.0).await;
    let alice = Browser::register(&scene, "alice").await;
    (scene, alice)
}

fn message(browser: &Browser) -> Sip {
    request("MESSAGE", TO, Browser::VIA, 1, &browser.from(TO))
}

/// Answers whatever comes; says how many messages those were.
fn answering(pbx: UdpSocket, scene: &Scene) -> Arc<AtomicU32> {
    let server = scene.address("udp");
    let count = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let received = receive_on(&pbx).await;
            counting.fetch_add(1, Relaxed);
            send_to(&pbx, server, &received.answer("200 OK", "p", "")).await;
        }
    });
    count
}

async fn status(alice: &mut Browser) -> String {
    alice.send(&message(alice)).await;
    alice.receive().await.start().to_owned()
}

async fn sends(alice: &mut Browser, times: u32) {
    for _ in 0..times {
        assert_eq!(status(alice).await, "SIP/2.0 200 OK");
    }
}

/// Sends until somebody answers: nobody waits for names, and until they are known there is nobody to call.
async fn reaches(alice: &mut Browser) {
    while status(alice).await != "SIP/2.0 200 OK" {
        tokio::time::sleep(MOMENT).await;
    }
}

/// Sends until it comes there.
async fn reaches_now(alice: &mut Browser, there: &AtomicU32) {
    let before = there.load(Relaxed);
    while there.load(Relaxed) == before {
        sends(alice, 1).await;
        tokio::time::sleep(MOMENT).await;
    }
}

#[tokio::test]
async fn the_priority_of_srv_comes_before_its_weight() {
    let dns = Dns::start().await;
    let (often, a) = udp().await;
    let (seldom, b) = udp().await;
    let (never, c) = udp().await;
    let services = vec![
        service(20, 9, c, "c.pbx.example"),
        service(10, 1, b, "b.pbx.example"),
        service(10, 3, a, "a.pbx.example"),
    ];
    dns.set(UDP_SERVICE, 60, services);
    for target in ["a.pbx.example", "b.pbx.example", "c.pbx.example"] {
        dns.set(target, 60, vec![address(LOOPBACK)]);
    }
    let (scene, mut alice) = scene(&dns, "members = [\"pbx.example\"]", "").await;
    let counts = [often, seldom, never].map(|pbx| answering(pbx, &scene));
    reaches(&mut alice).await;
    sends(&mut alice, 60).await;
    let [often, seldom, never] = counts.map(|count| count.load(Relaxed));
    assert!(often > seldom && seldom > 0, "{often} and {seldom}");
    assert_eq!(never, 0);
    // Good for a minute: not asked again.
    assert_eq!(dns.asked(UDP_SERVICE, RecordType::SRV), 1);
    scene.end().await;
}

#[tokio::test]
async fn members_move_when_their_time_is_over_and_calls_stay_where_they_are() {
    let dns = Dns::start().await;
    let (old, old_port) = udp().await;
    let (new, new_port) = udp().await;
    dns.set(NAME, 1, vec![address(LOOPBACK)]);
    dns.set(UDP_SERVICE, 1, vec![service(0, 0, old_port, NAME)]);
    let (scene, mut alice) = scene(&dns, "members = [\"pbx.example\"]", "").await;
    let server = scene.address("udp");
    let fields = format!("{}Contact: {}\r\n", alice.from(TO), alice.contact());
    let invite = loop {
        let invite = request("INVITE", TO, Browser::VIA, 1, &fields);
        alice.send(&invite).await;
        tokio::select! {
            invite = receive_on(&old) => break invite,
            answer = alice.receive() => assert!(answer.start().starts_with("SIP/2.0 404")),
        }
        tokio::time::sleep(MOMENT).await;
    };
    let contact = format!("Contact: <sip:100@127.0.0.1:{old_port}>\r\n");
    send_to(&old, server, &invite.answer("200 OK", "p", &contact)).await;
    let answered = alice.receive().await;
    assert_eq!(answered.start(), "SIP/2.0 200 OK");
    let target = uri(answered.get("Contact")).to_owned();
    let dialog = as_caller(&answered);
    let ack = request("ACK", &target, Browser::VIA, 1, &dialog);
    alice.send(&ack).await;
    assert!(receive_on(&old).await.start().starts_with("ACK "));

    dns.set(UDP_SERVICE, 1, vec![service(0, 0, new_port, NAME)]);
    let moved = answering(new, &scene);
    while moved.load(Relaxed) == 0 {
        alice.send(&message(&alice)).await;
        tokio::select! {
            received = receive_on(&old) => {
                send_to(&old, server, &received.answer("200 OK", "p", "")).await;
                assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
            }
            answer = alice.receive() => assert_eq!(answer.start(), "SIP/2.0 200 OK"),
        }
        tokio::time::sleep(MOMENT).await;
    }
    let before = moved.load(Relaxed);
    let bye = request("BYE", &target, Browser::VIA, 2, &dialog);
    alice.send(&bye).await;
    let bye = receive_on(&old).await;
    assert!(bye.start().starts_with("BYE "), "{}", bye.start());
    send_to(&old, server, &bye.answer("200 OK", "", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    assert_eq!(moved.load(Relaxed), before);
    scene.end().await;
}

#[tokio::test]
async fn what_a_name_led_to_stays_good_while_there_is_no_such_name() {
    let dns = Dns::start().await;
    let (pbx, port) = udp().await;
    dns.set(NAME, 1, vec![address(LOOPBACK)]);
    dns.set(UDP_SERVICE, 1, vec![service(0, 0, port, NAME)]);
    let (scene, mut alice) = scene(&dns, "members = [\"pbx.example\"]", "").await;
    answering(pbx, &scene);
    reaches(&mut alice).await;
    dns.forget_everything();
    let asked = || dns.asked(NAME, RecordType::A);
    let before = asked();
    while asked() == before {
        tokio::time::sleep(MOMENT).await;
    }
    tokio::time::sleep(2 * MOMENT).await;
    sends(&mut alice, 3).await;
    scene.end().await;
}

#[tokio::test]
async fn a_target_that_nobody_answers_for_stays_and_is_soon_asked_for_again() {
    const FIRST: &str = "first.pbx.example";
    const SECOND: &str = "second.pbx.example";
    let dns = Dns::start().await;
    let (first, first_port) = udp().await;
    let (second, second_port) = udp().await;
    let services = vec![
        service(10, 0, first_port, FIRST),
        service(20, 0, second_port, SECOND),
    ];
    dns.set(UDP_SERVICE, 600, services);
    dns.set(FIRST, 1, vec![address(LOOPBACK)]);
    dns.set(SECOND, 600, vec![address(LOOPBACK)]);
    dns.fail(Some(FIRST));
    let (scene, mut alice) = scene(&dns, "members = [\"pbx.example\"]", "").await;
    let [first, second] = [first, second].map(|pbx| answering(pbx, &scene));
    reaches(&mut alice).await;
    assert_eq!((first.load(Relaxed), second.load(Relaxed)), (0, 1));

    dns.fail(None);
    let moved = reaches_now(&mut alice, &first);
    let moved = tokio::time::timeout(Duration::from_secs(30), moved).await;
    moved.expect("asked again, whatever the TTL of SRV");

    let asked = || dns.asked(FIRST, RecordType::A);
    dns.fail(Some(FIRST));
    let before = (asked(), second.load(Relaxed));
    while asked() == before.0 {
        tokio::time::sleep(MOMENT).await;
    }
    tokio::time::sleep(10 * MOMENT).await;
    sends(&mut alice, 3).await;
    assert_eq!(second.load(Relaxed), before.1);
    scene.end().await;
}

#[tokio::test]
async fn aliases_are_followed_to_services_and_to_addresses() {
    let dns = Dns::start().await;
    let (pbx, port) = udp().await;
    dns.set(UDP_SERVICE, 60, vec![alias("_sip._udp.provider.example")]);
    let there = vec![service(0, 0, port, "edge.provider.example")];
    dns.set("_sip._udp.provider.example", 60, there);
    dns.set(
        "edge.provider.example",
        60,
        vec![alias("host.provider.example")],
    );
    dns.set("host.provider.example", 60, vec![address(LOOPBACK)]);
    let (scene, mut alice) = scene(&dns, "members = [\"pbx.example\"]", "").await;
    answering(pbx, &scene);
    reaches(&mut alice).await;
    scene.end().await;
}

#[tokio::test]
async fn a_name_with_a_port_has_addresses_alone_and_long_answers_come_over_tcp() {
    let dns = Dns::start().await;
    let (pbx, port) = udp().await;
    dns.truncate();
    dns.set(NAME, 60, vec![address(LOOPBACK)]);
    dns.set(UDP_SERVICE, 60, vec![service(0, 0, port + 1, NAME)]);
    let upstream = format!("members = [\"pbx.example:{port}\"]");
    let (scene, mut alice) = scene(&dns, &upstream, "").await;
    answering(pbx, &scene);
    reaches(&mut alice).await;
    assert_eq!(dns.asked(UDP_SERVICE, RecordType::SRV), 0);
    scene.end().await;
}

#[tokio::test]
async fn dns_chooses_the_transport_of_an_upstream_that_leaves_it_to_it() {
    let dns = Dns::start().await;
    let (datagrams, port) = udp().await;
    let stream = Pbx::tcp().await;
    let pointers = |tcp, udp| {
        vec![
            pointer(udp, "SIP+D2U", UDP_SERVICE),
            pointer(tcp, "SIP+D2T", "_sip._tcp.pbx.example"),
            // There is no listener for it.
            pointer(1, "SIPS+D2T", "_sips._tcp.pbx.example"),
        ]
    };
    dns.set(NAME, 1, vec![address(LOOPBACK)]);
    dns.set(NAME, 1, pointers(10, 20));
    dns.set(UDP_SERVICE, 1, vec![service(0, 0, port, NAME)]);
    let tcp_port = stream.address().port();
    dns.set(
        "_sip._tcp.pbx.example",
        1,
        vec![service(0, 0, tcp_port, NAME)],
    );
    let upstream = "transport = \"auto\"\nmembers = [\"pbx.example\"]";
    let (scene, mut alice) = scene(&dns, upstream, TCP).await;
    let answering_stream = async {
        let mut line = stream.accept().await;
        let received = line.receive().await;
        assert!(received.get("Via").starts_with("SIP/2.0/TCP "));
        line.send(&received.answer("200 OK", "p", "")).await;
        line
    };
    let (_line, ()) = tokio::join!(answering_stream, reaches(&mut alice));

    dns.set(NAME, 1, pointers(20, 10));
    let count = answering(datagrams, &scene);
    while dns.asked(UDP_SERVICE, RecordType::SRV) == 0 {
        tokio::time::sleep(MOMENT).await;
    }
    tokio::time::sleep(2 * MOMENT).await;
    reaches_now(&mut alice, &count).await;
    scene.end().await;
}

#[tokio::test]
async fn without_naptr_the_services_say_which_transport_there_is() {
    let dns = Dns::start().await;
    let stream = Pbx::tcp().await;
    dns.set(NAME, 60, vec![address(LOOPBACK)]);
    let port = stream.address().port();
    dns.set("_sip._tcp.pbx.example", 60, vec![service(0, 0, port, NAME)]);
    let upstream = "transport = \"auto\"\nmembers = [\"pbx.example\"]";
    let (scene, mut alice) = scene(&dns, upstream, TCP).await;
    let answering_stream = async {
        let mut line = stream.accept().await;
        let received = line.receive().await;
        line.send(&received.answer("200 OK", "p", "")).await;
        line
    };
    tokio::join!(answering_stream, reaches(&mut alice));
    assert_eq!(dns.asked(NAME, RecordType::NAPTR), 1);
    scene.end().await;
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name_and_not_of_where_srv_leads() {
    let folder = std::env::temp_dir().join(format!("hookswitch-names-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ca = Ca::new();
    ca.write(&folder.join("ca.pem"));
    ca.issue(&folder, "us", &["us.example"]);
    let dns = Dns::start().await;
    dns.set("edge.other.example", 60, vec![address(LOOPBACK)]);
    let upstream = format!(
        "transport = \"tls\"\nmembers = [\"pbx.example\"]\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n",
        folder.join("ca.pem"),
        folder.join("us.pem"),
        folder.join("us.key")
    );
    for (name, is_it) in [(NAME, true), ("edge.other.example", false)] {
        ca.issue(&folder, "pbx", &[name]);
        let pbx = Pbx::tls(&folder.join("pbx"), &folder.join("ca.pem")).await;
        let port = pbx.address().port();
        let there = vec![service(0, 0, port, "edge.other.example")];
        dns.set("_sips._tcp.pbx.example", 60, there);
        let (scene, mut alice) = scene(&dns, &upstream, TLS).await;
        let (taken, ()) = tokio::join!(pbx.try_accept(), async {
            while status(&mut alice).await.starts_with("SIP/2.0 404") {
                tokio::time::sleep(MOMENT).await;
            }
        });
        assert_eq!(taken, is_it, "{name}");
        scene.end().await;
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_route_with_the_name_of_an_upstream_leads_there() {
    let dns = Dns::start().await;
    let (other, port) = udp().await;
    dns.set("trunk.example", 60, vec![address(LOOPBACK)]);
    dns.set(
        "_sip._udp.trunk.example",
        60,
        vec![service(0, 0, port, "trunk.example")],
    );
    let (pbx, _) = udp().await;
    let upstream = format!("members = [\"{}\"]", pbx.local_addr().unwrap());
    let more = "[[upstream]]\nname = \"trunk\"\nmembers = [\"trunk.example\"]\n";
    let (scene, _alice) = scene(&dns, &upstream, more).await;
    let server = scene.address("udp");
    let count = answering(other, &scene);
    let asks = async |route: &str| {
        let fields = format!(
            "Route: <sip:{route};lr>\r\nFrom: <sip:1@pbx>;tag=p\r\nTo: <{TO}>\r\nCall-ID: {}@pbx\r\n",
            fresh()
        );
        let asked = request("OPTIONS", TO, &via_of(&pbx), 1, &fields);
        send_to(&pbx, server, &asked).await;
        receive_on(&pbx).await.start().to_owned()
    };
    while asks("trunk.example").await != "SIP/2.0 200 OK" {
        tokio::time::sleep(MOMENT).await;
    }
    assert_eq!(count.load(Relaxed), 1);
    assert_eq!(
        asks(&format!("Trunk.Example:{port}")).await,
        "SIP/2.0 200 OK"
    );
    for nobody in [
        "nobody.example",
        "trunk.example:1",
        "trunk.example;transport=tcp",
    ] {
        let status = asks(nobody).await;
        assert!(status.starts_with("SIP/2.0 480"), "{nobody}: {status}");
    }
    scene.end().await;
}
