//! Media over TCP, for browsers whose network lets no UDP through (RFC 6544): connections to the port that the session description names.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use hookswitch_media::{
    framing::{Deframer, frame},
    ice::IceCredentials,
    sdp::{CandidateTransport, Session},
    stun::{Builder, Kind, Message, attribute},
};

use crate::{
    client::{Browser, request},
    media::{body, with_body},
    scene::Scene,
};

const OFFER: &str = include_str!("../../../media/src/sdp/samples/chromium-audio.sdp");
const TO: &str = "sip:echo@localhost";

async fn scene() -> Scene {
    let more = r#"
        [test_destinations]
        enabled = true
        [media]
        ice = ["tcp"]
        [[media.interface]]
        name = "local"
        addresses = ["127.0.0.1"]
        "#;
    Scene::start("domains = [\"localhost\"]", more).await
}

/// Calls echo. Gives where it is to be reached.
async fn call(alice: &mut Browser) -> (std::net::SocketAddr, IceCredentials) {
    let fields = format!("{}Contact: {}\r\n", alice.from(TO), alice.contact());
    let invite = request("INVITE", TO, Browser::VIA, 1, &fields);
    let offer = OFFER.replace("\r\n", "\n").replace('\n', "\r\n");
    alice.send(&with_body(&invite, &offer)).await;
    let mut accepted = alice.receive().await;
    while accepted.start().starts_with("SIP/2.0 1") {
        accepted = alice.receive().await;
    }
    assert_eq!(accepted.start(), "SIP/2.0 200 OK");
    let session = Session::parse(body(&accepted).as_bytes()).unwrap();
    let web = session.sections[0].web.clone().unwrap();
    let [candidate] = &web.candidates[..] else {
        panic!("{:?}", web.candidates);
    };
    assert_eq!(candidate.transport, CandidateTransport::TcpPassive);
    (candidate.address, web.ice)
}

fn check(ice: &IceCredentials) -> Vec<u8> {
    let username = format!("{}:them", ice.ufrag);
    let check = Builder::new(Kind::Request, [9; 12])
        .attribute(attribute::USERNAME, username.as_bytes())
        .attribute(attribute::ICE_CONTROLLING, &[1; 8])
        .integrity(&ice.password)
        .finish();
    frame(&check).unwrap()
}

fn connect(to: std::net::SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// How long it stays open.
fn lasts(mut stream: TcpStream) -> Duration {
    let began = Instant::now();
    // It may be reset where it has said more than was read.
    let end = stream.read(&mut [0; 10]);
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    began.elapsed()
}

#[tokio::test]
async fn a_check_is_answered_on_its_connection() {
    let scene = scene().await;
    let mut alice = Browser::register(&scene, "alice").await;
    let (address, ice) = call(&mut alice).await;
    let mut stream = connect(address);
    let check = check(&ice);
    let (first, rest) = check.split_at(9);
    stream.write_all(first).unwrap();
    stream.flush().unwrap();
    stream.write_all(rest).unwrap();
    let (mut deframer, mut buffer) = (Deframer::default(), [0; 100]);
    let answer = loop {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "closed");
        deframer.push(&buffer[..length]);
        if let Some(answer) = deframer.frame().unwrap() {
            break answer;
        }
    };
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.kind, Kind::Success);
    assert!(answer.is_authentic(&ice.password));
    assert_eq!(scene.total("hookswitch_media_connections", "").await, 1);
    scene.end().await;
}

#[tokio::test]
async fn who_has_no_call_does_not_stay() {
    let scene = scene().await;
    let mut alice = Browser::register(&scene, "alice").await;
    let (address, mut ice) = call(&mut alice).await;
    let mut talker = connect(address);
    talker.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(lasts(talker) < Duration::from_secs(3));
    ice.ufrag = "somebody".to_owned();
    let (silent, mut stranger) = (connect(address), connect(address));
    stranger.write_all(&check(&ice)).unwrap();
    let lasted = [silent, stranger].map(lasts);
    assert!(lasted[0] > Duration::from_secs(3), "{lasted:?}");
    assert!(
        lasted.iter().all(|each| *each < Duration::from_secs(15)),
        "{lasted:?}"
    );
    // So many of one address at a time.
    let mut many: Vec<_> = (0..40).map(|_| connect(address)).collect();
    let last = many.pop().unwrap();
    assert!(lasts(last) < Duration::from_secs(3));
    scene.end().await;
}
