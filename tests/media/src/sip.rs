//! Calls through the proxy itself, between two of its upstreams over UDP: as much SIP as that takes.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hookswitch_load::sip::{View, uri};
use hookswitch_media::codec::Encoding;

use crate::call::{Call, End, at, description, section};

/// A proxy under load may need a while.
const ANSWER_MAX: Duration = Duration::from_secs(10);
const MESSAGE_BYTES_MAX: usize = 65_536;
/// Whom nobody else claims: the proxy's default upstream gets it.
const TO: &str = "sip:9001@elsewhere.example";

/// Both upstreams.
pub struct Sip {
    proxy: SocketAddr,
    trunk: Upstream,
    pbx: Upstream,
}

struct Upstream {
    socket: UdpSocket,
    at: SocketAddr,
}

impl Sip {
    /// `trunk` calls, `pbx` is called.
    ///
    /// # Errors
    /// The addresses are taken.
    pub fn new(proxy: SocketAddr, trunk: SocketAddr, pbx: SocketAddr) -> Result<Self> {
        Ok(Self {
            proxy,
            trunk: Upstream::bind(trunk)?,
            pbx: Upstream::bind(pbx)?,
        })
    }

    /// Sets up a call of plain RTP.
    ///
    /// # Errors
    /// The proxy or its relay does not do its part.
    pub fn set_up(&mut self, number: usize) -> Result<Call> {
        let ((caller, caller_at), (callee, callee_at)) = (End::open()?, End::open()?);
        let encoding = Encoding::Pcma;
        let trunk = self.trunk.at;
        let identity = format!(
            "From: <sip:100@trunk>;tag=t{number}\r\nCall-ID: load-{}-{number}\r\n",
            std::process::id()
        );
        let head = |method: &str, to: &str| {
            format!(
                "{method} {to} SIP/2.0\r\nVia: SIP/2.0/UDP {trunk};branch=z9hG4bK{method}{number}\r\nMax-Forwards: 70\r\n\
                 CSeq: 1 {method}\r\n{identity}"
            )
        };
        let contact = format!("To: <{TO}>\r\nContact: <sip:100@{trunk}>\r\n");
        let offer = description(caller_at, "RTP/AVP", encoding, "");
        self.say(
            &self.trunk,
            &with_body(&(head("INVITE", TO) + &contact), &offer),
        )?;
        let invite = self.pbx.hear(|view| view.method() == Some("INVITE"))?;
        let answer = description(callee_at, "RTP/AVP", encoding, "");
        self.say(
            &self.pbx,
            &with_body(&accept(&invite, self.pbx.at), &answer),
        )?;
        let call_id = format!("load-{}-{number}", std::process::id());
        let accepted = self.trunk.hear(|view| {
            view.header("Call-ID") == Some(&call_id) && view.status().is_some_and(|s| s >= 200)
        })?;
        let view = View::new(&accepted);
        if view.status() != Some(200) {
            bail!("{accepted}");
        }
        let target = uri(view.header("Contact").context("no Contact")?);
        let mut routes: Vec<&str> = view.headers("Record-Route").collect();
        routes.reverse();
        let routes: String = routes.iter().map(|at| format!("Route: {at}\r\n")).collect();
        let to = view.header("To").unwrap_or_default();
        let ack = format!("{}To: {to}\r\n{routes}", head("ACK", target));
        self.say(&self.trunk, &with_body(&ack, ""))?;
        let end = |socket, relay| End {
            socket,
            relay,
            srtp: None,
            check: None,
            encoding,
        };
        let (to_callee, to_caller) = (
            at(&section(body(&invite))?)?,
            at(&section(body(&accepted))?)?,
        );
        Ok(Call {
            name: call_id,
            ends: [end(caller, to_caller), end(callee, to_callee)],
        })
    }

    fn say(&self, who: &Upstream, message: &str) -> Result<()> {
        who.socket.send_to(message.as_bytes(), self.proxy)?;
        Ok(())
    }
}

impl Upstream {
    fn bind(at: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(at).with_context(|| format!("bind {at}"))?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Self { socket, at })
    }

    /// The next message that is one of these.
    fn hear(&self, is_it: impl Fn(&View<'_>) -> bool) -> Result<String> {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        loop {
            let (length, _) = self.socket.recv_from(&mut buffer).context("no answer")?;
            let text = String::from_utf8(buffer.get(..length).unwrap_or_default().to_vec())?;
            if is_it(&View::new(&text)) {
                return Ok(text);
            }
        }
    }
}

/// The head of a 200.
fn accept(invite: &str, at: SocketAddr) -> String {
    let view = View::new(invite);
    let mut head = "SIP/2.0 200 OK\r\n".to_owned();
    for name in ["Via", "Record-Route", "From", "Call-ID", "CSeq"] {
        head.extend(
            view.headers(name)
                .map(|value| format!("{name}: {value}\r\n")),
        );
    }
    let to = view.header("To").unwrap_or_default();
    head + &format!("To: {to};tag=p\r\nContact: <sip:pbx@{at}>\r\n")
}

fn with_body(head: &str, sdp: &str) -> String {
    let kind = if sdp.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!("{head}{kind}Content-Length: {}\r\n\r\n{sdp}", sdp.len())
}

fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}
