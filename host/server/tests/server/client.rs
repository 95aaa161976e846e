//! Clients that speak just enough SIP: messages are text, and what a user agent must copy is copied.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::Response},
};

use crate::scene::Scene;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
static CHANCE: AtomicU32 = AtomicU32::new(1);

/// A number that no other call gives.
pub(crate) fn fresh() -> u32 {
    CHANCE.fetch_add(1, Ordering::Relaxed)
}

/// A SIP message as text.
#[derive(Clone, Debug)]
pub(crate) struct Sip(pub(crate) String);

impl Sip {
    pub(crate) fn start(&self) -> &str {
        self.0.lines().next().unwrap()
    }

    /// Every value of a field, whole lines.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = |line: &&str| {
            line.split_once(':')
                .is_some_and(|(field, _)| field.eq_ignore_ascii_case(name))
        };
        let lines = self.0.lines().skip(1).take_while(|line| !line.is_empty());
        lines
            .filter(named)
            .map(|line| line.split_once(':').unwrap().1.trim())
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.all(name)
            .first()
            .copied()
            .unwrap_or_else(|| panic!("no {name} in {}", self.0))
    }

    /// The answer that a user agent gives (RFC 3261 §8.2.6).
    pub(crate) fn answer(&self, status: &str, tag: &str, more: &str) -> Self {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "Record-Route", "From", "Call-ID", "CSeq"] {
            for value in self.all(name) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let to = self.get("To");
        let tag = if to.contains(";tag=") {
            String::new()
        } else {
            format!(";tag={tag}")
        };
        Self(format!(
            "{text}To: {to}{tag}\r\n{more}Content-Length: 0\r\n\r\n"
        ))
    }
}

/// A request of a dialog, or a new one.
pub(crate) fn request(method: &str, uri: &str, via: &str, cseq: u32, fields: &str) -> Sip {
    let branch = fresh();
    Sip(format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/{via};branch=z9hG4bKc{branch};rport\r\nMax-Forwards: 70\r\n{fields}CSeq: {cseq} {method}\r\n\
         Content-Length: 0\r\n\r\n"
    ))
}

/// The fields of a dialog as the caller writes them: From, To, Call-ID and the route set of `answer` (RFC 3261 §12.1.2).
pub(crate) fn as_caller(answer: &Sip) -> String {
    let routes: String = answer
        .all("Record-Route")
        .iter()
        .rev()
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    format!(
        "{routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\n",
        answer.get("From"),
        answer.get("To"),
        answer.get("Call-ID")
    )
}

/// The same as the callee writes them, from its own answer (RFC 3261 §12.1.1).
pub(crate) fn as_callee(answer: &Sip) -> String {
    let routes: String = answer
        .all("Record-Route")
        .iter()
        .map(|route| format!("Route: {route}\r\n"))
        .collect();
    format!(
        "{routes}From: {}\r\nTo: {}\r\nCall-ID: {}\r\n",
        answer.get("To"),
        answer.get("From"),
        answer.get("Call-ID")
    )
}

/// The URI inside of `<>`.
pub(crate) fn uri(value: &str) -> &str {
    let (_, rest) = value.split_once('<').unwrap_or(("", value));
    rest.split_once('>').map_or(rest, |(uri, _)| uri)
}

/// A browser.
pub(crate) struct Browser {
    pub(crate) name: String,
    pub(crate) socket: WebSocketStream<TlsStream<TcpStream>>,
}

impl Browser {
    pub(crate) const VIA: &str = "WSS b.invalid";

    pub(crate) async fn connect(scene: &Scene, name: &str) -> Self {
        let connected = Self::knock(scene, name, "/", &[]).await;
        connected.unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// With this path and these fields; or else what was answered instead.
    pub(crate) async fn knock(
        scene: &Scene,
        name: &str,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<Self, Response<Option<Vec<u8>>>> {
        Self::knock_on(scene.tls().await, name, path, fields).await
    }

    /// The same over this stream.
    pub(crate) async fn knock_on(
        stream: TlsStream<TcpStream>,
        name: &str,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> Result<Self, Response<Option<Vec<u8>>>> {
        let url = format!("wss://localhost{path}");
        let mut request = url.into_client_request().unwrap();
        for (name, value) in [&[("Sec-WebSocket-Protocol", "sip")], fields].concat() {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match client_async(request, stream).await {
            Ok((socket, answer)) => {
                assert_eq!(answer.headers()["sec-websocket-protocol"], "sip");
                let name = name.to_owned();
                Ok(Self { name, socket })
            }
            Err(Error::Http(answer)) => Err(*answer),
            Err(other) => panic!("{other}"),
        }
    }

    /// Connected and registered.
    pub(crate) async fn register(scene: &Scene, name: &str) -> Self {
        let mut browser = Self::connect(scene, name).await;
        let fields = format!(
            "{}Contact: {}\r\nExpires: 60\r\n",
            browser.from(&browser.aor()),
            browser.contact()
        );
        browser
            .send(&request("REGISTER", "sip:localhost", Self::VIA, 1, &fields))
            .await;
        assert_eq!(browser.receive().await.start(), "SIP/2.0 200 OK");
        browser
    }

    pub(crate) fn aor(&self) -> String {
        format!("sip:{}@localhost", self.name)
    }

    pub(crate) fn contact(&self) -> String {
        format!("<sip:{}@{}.invalid;transport=ws>", self.name, self.name)
    }

    /// From, To and a new Call-ID.
    pub(crate) fn from(&self, to: &str) -> String {
        format!(
            "From: <{}>;tag=f{}\r\nTo: <{to}>\r\nCall-ID: {}@test\r\n",
            self.aor(),
            fresh(),
            fresh()
        )
    }

    pub(crate) async fn send(&mut self, message: &Sip) {
        self.socket
            .send(Message::text(message.0.clone()))
            .await
            .unwrap();
    }

    pub(crate) async fn next(&mut self) -> Option<Message> {
        let next = tokio::time::timeout(PATIENCE, self.socket.next()).await;
        next.expect("a frame in time").map(Result::unwrap)
    }

    /// Calls another one, who answers; the INVITE as he got it, his answer, and that as it came here.
    pub(crate) async fn calls(&mut self, bob: &mut Self) -> [Sip; 3] {
        let fields = format!("{}Contact: {}\r\n", self.from(&bob.aor()), self.contact());
        let invite = request("INVITE", &bob.aor(), Self::VIA, 1, &fields);
        self.send(&invite).await;
        let invite = bob.receive().await;
        let contact = format!("Contact: {}\r\n", bob.contact());
        let accept = invite.answer("200 OK", "b", &contact);
        bob.send(&accept).await;
        let accepted = self.receive().await;
        let (target, dialog) = (uri(accepted.get("Contact")), as_caller(&accepted));
        self.send(&request("ACK", target, Self::VIA, 1, &dialog))
            .await;
        assert!(bob.receive().await.start().starts_with("ACK "));
        [invite, accept, accepted]
    }

    /// The next message but 100 Trying.
    pub(crate) async fn receive(&mut self) -> Sip {
        loop {
            match self.next().await.expect("an open connection") {
                Message::Text(text) if text.starts_with("SIP/2.0 100") => {}
                Message::Text(text) => return Sip(text.to_string()),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Sends from the PBX's socket.
pub(crate) async fn send_to(pbx: &UdpSocket, to: SocketAddr, message: &Sip) {
    pbx.send_to(message.0.as_bytes(), to).await.unwrap();
}

/// What comes to the PBX's socket next, but 100 Trying.
pub(crate) async fn receive_on(pbx: &UdpSocket) -> Sip {
    let mut buffer = vec![0; 65_535];
    loop {
        let (length, _) = tokio::time::timeout(PATIENCE, pbx.recv_from(&mut buffer))
            .await
            .expect("a datagram in time")
            .unwrap();
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        if !text.starts_with("SIP/2.0 100") {
            return Sip(text);
        }
    }
}

/// The PBX's Via.
pub(crate) fn via_of(pbx: &UdpSocket) -> String {
    format!("UDP {}", pbx.local_addr().unwrap())
}
