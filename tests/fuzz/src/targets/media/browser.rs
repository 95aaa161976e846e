//! A browser's end of a PeerConnection: checks that nominate, DTLS as client, SRTP. Datagrams in, datagrams out.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use hookswitch_media::{
    dtls::{Association, DtlsConfig, Role},
    ice::IceCredentials,
    sdp::Web,
    srtp::{Inbound, Outbound},
    stun::{Builder, Kind, Message, attribute},
    transport::Class,
};

use super::{opened, sealed};

/// That of the engine, and that of the browser.
pub(crate) static CERTIFICATES: LazyLock<[DtlsConfig; 2]> = LazyLock::new(|| {
    [0, 1].map(|_| certificate().unwrap_or_else(|error| unreachable!("a certificate: {error}")))
});

const CHECK_EVERY: Duration = Duration::from_millis(2_500);

fn certificate() -> Result<DtlsConfig, String> {
    let key = rcgen::KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = rcgen::CertificateParams::default().self_signed(&key);
    let certificate = certificate.map_err(|error| error.to_string())?;
    let config = DtlsConfig::new(certificate.der().to_vec(), key.serialize_der());
    config.map_err(|error| error.to_string())
}

pub(crate) struct Browser {
    pub(crate) ours: IceCredentials,
    theirs: Option<Web>,
    association: Option<Association>,
    srtp: Option<(Outbound, Inbound)>,
    next_check: Instant,
    /// What it has to send.
    pub(crate) outbox: Vec<Vec<u8>>,
}

impl Browser {
    /// That knows of nobody yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            ours: IceCredentials::from_entropy([0x5a; 32]),
            theirs: None,
            association: None,
            srtp: None,
            next_check: now,
            outbox: Vec::new(),
        }
    }

    /// What the server's description says.
    pub(crate) fn read(&mut self, now: Instant, theirs: &Web) {
        if self.theirs.as_ref() != Some(theirs) {
            self.next_check = now;
        }
        self.theirs = Some(theirs.clone());
    }

    /// The lines that make it WebRTC.
    pub(crate) fn lines(&self) -> String {
        let [_, own] = &*CERTIFICATES;
        let (ufrag, password) = (&self.ours.ufrag, &self.ours.password);
        let fingerprint = own.fingerprint();
        format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\na=fingerprint:{fingerprint}\r\na=rtcp-mux\r\n"
        )
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.srtp.is_some()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.theirs.as_ref()?;
        let dtls = self
            .association
            .as_ref()
            .and_then(Association::poll_timeout);
        [dtls, Some(self.next_check)].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_check {
            self.next_check = now + CHECK_EVERY;
            self.outbox.extend(self.check());
        }
        let outbox = &mut self.outbox;
        if let Some(association) = &mut self.association
            && association.poll_timeout().is_some_and(|at| at <= now)
            && let Err(_over) = association.handle_timeout(now, &mut |it| outbox.push(it.to_vec()))
        {
            self.association = None;
        }
    }

    /// That nominates.
    pub(crate) fn check(&self) -> Option<Vec<u8>> {
        let theirs = &self.theirs.as_ref()?.ice;
        Some(self.check_with(theirs))
    }

    pub(crate) fn check_with(&self, theirs: &IceCredentials) -> Vec<u8> {
        let username = format!("{}:{}", theirs.ufrag, self.ours.ufrag);
        Builder::new(Kind::Request, [9; 12])
            .attribute(attribute::USERNAME, username.as_bytes())
            .attribute(attribute::ICE_CONTROLLING, &[1; 8])
            .attribute(attribute::PRIORITY, &[110, 0, 1, 255])
            .attribute(attribute::USE_CANDIDATE, b"")
            .integrity(&theirs.password)
            .finish()
    }

    /// Gives what is media, in the clear.
    ///
    /// # Panics
    /// If it is media and cannot be opened.
    pub(crate) fn receive(&mut self, now: Instant, datagram: &[u8]) -> Option<Vec<u8>> {
        match Class::of(datagram) {
            Class::Stun => self.answered(now, datagram),
            Class::Dtls => self.handshake(now, datagram),
            Class::Rtp | Class::Rtcp => return Some(self.open(datagram)),
            Class::Other => panic!("sent to a browser: {}", datagram.escape_ascii()),
        }
        None
    }

    fn open(&mut self, datagram: &[u8]) -> Vec<u8> {
        let srtp = self.srtp.as_mut();
        let (_, inbound) = srtp.unwrap_or_else(|| panic!("media before there are keys"));
        let plain = opened(inbound, datagram);
        plain.unwrap_or_else(|refused| panic!("{refused}: {}", datagram.escape_ascii()))
    }

    fn answered(&mut self, now: Instant, datagram: &[u8]) {
        let message = Message::parse(datagram);
        let message = message.unwrap_or_else(|| panic!("no answer: {}", datagram.escape_ascii()));
        if message.kind != Kind::Success || self.association.is_some() || self.srtp.is_some() {
            return;
        }
        let [_, own] = &*CERTIFICATES;
        let mut client = Association::new(own, Role::Client, now);
        let outbox = &mut self.outbox;
        // What cannot be sent is sent again.
        let _ = client.handle_timeout(now, &mut |it| outbox.push(it.to_vec()));
        self.association = Some(client);
    }

    fn handshake(&mut self, now: Instant, datagram: &[u8]) {
        let (Some(association), Some(theirs)) = (&mut self.association, &self.theirs) else {
            return;
        };
        let outbox = &mut self.outbox;
        let handled = association.handle(now, datagram, &mut |it| outbox.push(it.to_vec()));
        match handled.and_then(|()| association.verify(&theirs.fingerprints)) {
            Ok(Some(keys)) => {
                self.srtp = Some((Outbound::new(&keys.outbound), Inbound::new(&keys.inbound)));
            }
            Ok(None) => {}
            Err(_) => self.association = None,
        }
    }

    /// Protected, as soon as there are keys.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let (outbound, _) = self.srtp.as_mut()?;
        sealed(outbound, plain).ok()
    }
}
