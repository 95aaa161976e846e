//! Media: session descriptions on their way through an rtpengine, which is a socket of the test.

use std::sync::{Arc, Mutex};

use tokio::{net::UdpSocket, task::JoinHandle};

use crate::{
    client::{Browser, Sip, as_caller, receive_on, request, send_to, uri},
    scene::Scene,
};

const WEBRTC: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n";
const PLAIN: &str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// Answers pings, and every session description with one that says what was asked.
struct Rtpengine {
    commands: Arc<Mutex<Vec<String>>>,
    address: String,
    task: JoinHandle<()>,
}

impl Rtpengine {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = format!("udp:{}", socket.local_addr().unwrap());
        let commands = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&commands);
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; 65_535];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let text = String::from_utf8_lossy(&buffer[..length]);
                let (cookie, command) = text.split_once(' ').unwrap();
                let name = command.strip_prefix("d7:command").unwrap();
                let (length, rest) = name.split_once(':').unwrap();
                let name = &rest[..length.parse().unwrap()];
                let reply = match name {
                    "ping" => "d6:result4:ponge".to_owned(),
                    "delete" => "d6:result2:oke".to_owned(),
                    name => {
                        let sdp = format!("v=0\r\ns={name}\r\n");
                        format!("d6:result2:ok3:sdp{}:{sdp}e", sdp.len())
                    }
                };
                if name != "ping" {
                    seen.lock().unwrap().push(name.to_owned());
                }
                let reply = format!("{cookie} {reply}");
                socket.send_to(reply.as_bytes(), from).await.unwrap();
            }
        });
        Self {
            commands,
            address,
            task,
        }
    }

    fn configured(&self) -> String {
        format!("[media]\nrtpengine = [\"{}\"]", self.address)
    }

    async fn was_asked(&self, expected: &[&str]) {
        // The last command may still be on its way.
        for _ in 0..500 {
            if *self.commands.lock().unwrap() == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.commands.lock().unwrap());
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn with_body(message: &Sip, sdp: &str) -> Sip {
    let body = format!(
        "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    Sip(message.0.replace("Content-Length: 0\r\n\r\n", &body))
}

pub(crate) fn body(message: &Sip) -> &str {
    message.0.split_once("\r\n\r\n").unwrap().1
}

fn invite(alice: &Browser) -> Sip {
    let to = "sip:9001@elsewhere.example";
    let fields = format!("{}Contact: {}\r\n", alice.from(to), alice.contact());
    with_body(&request("INVITE", to, Browser::VIA, 1, &fields), WEBRTC)
}

#[tokio::test]
async fn a_call_to_plain_rtp_goes_through_rtpengine() {
    let rtpengine = Rtpengine::start().await;
    let scene = Scene::start("", &rtpengine.configured()).await;
    let mut alice = Browser::register(&scene, "alice").await;
    let udp = scene.address("udp");
    let contact = format!("Contact: <sip:pbx@{}>\r\n", scene.pbx.local_addr().unwrap());
    alice.send(&invite(&alice)).await;
    let invite = receive_on(&scene.pbx).await;
    assert_eq!(body(&invite), "v=0\r\ns=offer\r\n");
    let accept = with_body(&invite.answer("200 OK", "p", &contact), PLAIN);
    send_to(&scene.pbx, udp, &accept).await;
    let accepted = alice.receive().await;
    assert_eq!(body(&accepted), "v=0\r\ns=answer\r\n");
    rtpengine.was_asked(&["offer", "answer"]).await;
    let (pbx, caller) = (
        uri(accepted.get("Contact")).to_owned(),
        as_caller(&accepted),
    );
    for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
        let request = request(method, &pbx, Browser::VIA, cseq, &caller);
        alice.send(&request).await;
    }
    assert!(receive_on(&scene.pbx).await.start().starts_with("ACK "));
    let bye = receive_on(&scene.pbx).await;
    send_to(&scene.pbx, udp, &bye.answer("200 OK", "", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    rtpengine.was_asked(&["offer", "answer", "delete"]).await;
    scene.until_total("hookswitch_rtpengine_up", "", 1).await;
    scene.end().await;
}

#[tokio::test]
async fn a_call_between_browsers_is_theirs() {
    let rtpengine = Rtpengine::start().await;
    let scene = Scene::start("", &rtpengine.configured()).await;
    let mut alice = Browser::register(&scene, "alice").await;
    let mut bob = Browser::register(&scene, "bob").await;
    let fields = format!("{}Contact: {}\r\n", alice.from(&bob.aor()), alice.contact());
    let invite = request("INVITE", &bob.aor(), Browser::VIA, 1, &fields);
    alice.send(&with_body(&invite, WEBRTC)).await;
    let invite = bob.receive().await;
    assert_eq!(body(&invite), WEBRTC);
    bob.send(&with_body(&invite.answer("200 OK", "b", ""), WEBRTC))
        .await;
    assert_eq!(body(&alice.receive().await), WEBRTC);
    rtpengine.was_asked(&[]).await;
    scene.end().await;
}

#[tokio::test]
async fn without_an_rtpengine_that_answers_a_call_fails() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let media = format!(
        "[media]\nrtpengine = [\"udp:{}\"]",
        silent.local_addr().unwrap()
    );
    let scene = Scene::start("", &media).await;
    let mut alice = Browser::register(&scene, "alice").await;
    alice.send(&invite(&alice)).await;
    let refused = alice.receive().await;
    assert!(refused.start().starts_with("SIP/2.0 500 "), "{}", refused.0);
    scene.until_total("hookswitch_rtpengine_up", "", 0).await;
    scene.end().await;
}
