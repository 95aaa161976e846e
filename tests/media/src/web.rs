//! The transport of a browser, as far as a relay needs one: a check of ICE that nominates, DTLS as client, keys.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hookswitch_media::{
    codec::Encoding,
    dtls::{Association, DtlsConfig, Role},
    ice::IceCredentials,
    sdp::Web,
    srtp::KeyPair,
    stun::{Builder, Kind, Message, attribute},
    transport::Class,
};
use mio::net::UdpSocket;

use crate::call::description;

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// A check without an answer is sent again.
const CHECK_AGAIN: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_micros(50);
const DATAGRAM_BYTES_MAX: usize = 2048;

/// What all calls of the browser share.
pub struct Browser {
    config: DtlsConfig,
    ice: IceCredentials,
}

impl Browser {
    /// With a certificate of its own.
    ///
    /// # Errors
    /// There is no key to be had.
    pub fn new() -> Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::default().self_signed(&key)?;
        Ok(Self {
            config: DtlsConfig::new(certificate.der().to_vec(), key.serialize_der())?,
            ice: IceCredentials::from_entropy([0x5a; 32]),
        })
    }

    pub(crate) fn description(&self, at: SocketAddr, encoding: Encoding) -> String {
        let attributes = format!(
            "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{}\r\na=setup:actpass\r\na=rtcp-mux\r\na=mid:0\r\n\
             a=candidate:1 1 udp 2122260223 {} {} typ host\r\na=end-of-candidates\r\n",
            self.ice.ufrag,
            self.ice.password,
            self.config.fingerprint(),
            at.ip(),
            at.port()
        );
        description(at, "UDP/TLS/RTP/SAVPF", encoding, &attributes)
    }

    fn check(&self, theirs: &IceCredentials, number: u8) -> Vec<u8> {
        let username = format!("{}:{}", theirs.ufrag, self.ice.ufrag);
        Builder::new(Kind::Request, [number; 12])
            .attribute(attribute::USERNAME, username.as_bytes())
            .attribute(attribute::ICE_CONTROLLING, &[1; 8])
            .attribute(attribute::PRIORITY, &[110, 0, 1, 255])
            .attribute(attribute::USE_CANDIDATE, b"")
            .integrity(&theirs.password)
            .finish()
    }
}

/// From the answer to the keys.
pub(crate) struct Handshake<'c> {
    browser: &'c Browser,
    socket: &'c UdpSocket,
    relay: SocketAddr,
    theirs: &'c Web,
    association: Association,
    /// The relay has answered a check.
    is_connected: bool,
}

impl<'c> Handshake<'c> {
    pub(crate) fn new(
        browser: &'c Browser,
        socket: &'c UdpSocket,
        relay: SocketAddr,
        theirs: &'c Web,
    ) -> Self {
        Self {
            browser,
            socket,
            relay,
            theirs,
            association: Association::new(&browser.config, Role::Client, Instant::now()),
            is_connected: false,
        }
    }

    /// Gives the keys, and the check that keeps the relay's consent (RFC 7675 §5.1).
    pub(crate) fn run(mut self) -> Result<(KeyPair, Vec<u8>)> {
        let (began, mut checked) = (Instant::now(), 0);
        let mut buffer = [0; DATAGRAM_BYTES_MAX];
        loop {
            let now = Instant::now();
            let waited = now.duration_since(began);
            ensure!(
                waited < HANDSHAKE_MAX,
                "no keys, ICE connected: {}",
                self.is_connected
            );
            if !self.is_connected && waited >= CHECK_AGAIN * u32::from(checked) {
                checked += 1;
                self.send(&self.browser.check(&self.theirs.ice, checked));
            }
            match self.socket.recv_from(&mut buffer) {
                Ok((length, _)) => self.receive(now, buffer.get(..length).unwrap_or_default())?,
                Err(_) => std::thread::sleep(POLL),
            }
            if self.is_connected {
                self.tick(now)?;
            }
            if let Some(keys) = self.association.verify(&self.theirs.fingerprints)? {
                return Ok((keys, self.browser.check(&self.theirs.ice, 0)));
            }
        }
    }

    fn receive(&mut self, now: Instant, datagram: &[u8]) -> Result<()> {
        match Class::of(datagram) {
            Class::Stun => self.check_or_answer(datagram),
            Class::Dtls => {
                let (socket, relay) = (self.socket, self.relay);
                let send = &mut |bytes: &[u8]| drop(socket.send_to(bytes, relay));
                self.association
                    .handle(now, datagram, send)
                    .context("DTLS")?;
            }
            Class::Rtp | Class::Rtcp | Class::Other => {}
        }
        Ok(())
    }

    /// A relay that is no ICE-lite one checks, too.
    fn check_or_answer(&mut self, datagram: &[u8]) {
        let Some(message) = Message::parse(datagram) else {
            return;
        };
        match message.kind {
            Kind::Success => self.is_connected = true,
            Kind::Request => {
                let answer = Builder::new(Kind::Success, message.transaction)
                    .xor_mapped_address(self.relay)
                    .integrity(&self.browser.ice.password);
                self.send(&answer.finish());
            }
            Kind::Indication | Kind::Error => {}
        }
    }

    /// As client it begins so.
    fn tick(&mut self, now: Instant) -> Result<()> {
        if self.association.poll_timeout().is_none_or(|at| at <= now) {
            let (socket, relay) = (self.socket, self.relay);
            let send = &mut |bytes: &[u8]| drop(socket.send_to(bytes, relay));
            self.association.handle_timeout(now, send).context("DTLS")?;
        }
        Ok(())
    }

    /// What does not go is sent again.
    fn send(&self, bytes: &[u8]) {
        drop(self.socket.send_to(bytes, self.relay));
    }
}
