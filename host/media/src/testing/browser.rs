//! A browser's end of a PeerConnection: a full ICE agent's checks, DTLS in either role, SRTP. Datagrams in, datagrams out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::packet;
use crate::{
    dtls::{Association, DtlsConfig, DtlsError, Fingerprint, Role, Setup},
    ice::IceCredentials,
    srtp::{Inbound, Outbound},
    stun::{Builder, Kind, Message, attribute},
    transport::{Class, Remote},
};

/// A certificate of its own.
pub(crate) fn dtls_config() -> Arc<DtlsConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default();
    let certificate = certificate.self_signed(&key).unwrap();
    let config = DtlsConfig::new(certificate.der().to_vec(), key.serialize_der());
    Arc::new(config.unwrap())
}

pub(crate) struct Browser {
    pub(crate) config: Arc<DtlsConfig>,
    pub(crate) ours: IceCredentials,
    /// The server's, by its description.
    pub(crate) theirs: IceCredentials,
    fingerprint: Fingerprint,
    pub(crate) setup: Setup,
    /// `None` until a check was answered.
    pub(crate) association: Option<Association>,
    srtp: Option<(Outbound, Inbound)>,
    /// Checks that were answered, and the last error.
    pub(crate) answered: u32,
    pub(crate) error: Option<u16>,
    next_check: Instant,
    pub(crate) outbox: Vec<Vec<u8>>,
}

impl Browser {
    pub(crate) fn new(
        now: Instant,
        setup: Setup,
        theirs: &IceCredentials,
        fingerprint: &Fingerprint,
    ) -> Browser {
        Browser {
            config: dtls_config(),
            ours: IceCredentials::from_entropy([0x5a; 32]),
            theirs: theirs.clone(),
            fingerprint: fingerprint.clone(),
            setup,
            association: None,
            srtp: None,
            answered: 0,
            error: None,
            next_check: now,
            outbox: Vec::new(),
        }
    }

    /// What its description says.
    pub(crate) fn description(&self) -> Remote {
        Remote {
            ice: self.ours.clone(),
            fingerprints: vec![self.config.fingerprint().clone()],
            setup: self.setup,
        }
    }

    /// With these as its own and those as the server's, checks begin anew.
    pub(crate) fn restart_ice(&mut self, now: Instant, theirs: &IceCredentials) {
        self.theirs = theirs.clone();
        (self.answered, self.next_check) = (0, now);
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.srtp.is_some()
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        let dtls = self
            .association
            .as_ref()
            .and_then(Association::poll_timeout);
        dtls.map_or(self.next_check, |at| at.min(self.next_check))
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if now >= self.next_check {
            let pause = if self.answered > 0 { 2500 } else { 50 };
            self.next_check = now + Duration::from_millis(pause);
            self.outbox.push(self.check());
        }
        if let Some(association) = &mut self.association
            && association.poll_timeout().is_some_and(|at| at <= now)
        {
            let outbox = &mut self.outbox;
            let send = &mut |bytes: &[u8]| outbox.push(bytes.to_vec());
            association.handle_timeout(now, send).unwrap();
        }
    }

    /// A check that nominates.
    pub(crate) fn check(&self) -> Vec<u8> {
        let username = format!("{}:{}", self.theirs.ufrag, self.ours.ufrag);
        Builder::new(Kind::Request, [9; 12])
            .attribute(attribute::USERNAME, username.as_bytes())
            .attribute(attribute::ICE_CONTROLLING, &[1; 8])
            .attribute(attribute::PRIORITY, &[110, 0, 1, 255])
            .attribute(attribute::USE_CANDIDATE, b"")
            .integrity(&self.theirs.password)
            .finish()
    }

    /// Gives what is media, in the clear.
    pub(crate) fn receive(&mut self, now: Instant, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 2048];
        let mut packet = packet(&mut buffer, datagram);
        match Class::of(datagram) {
            Class::Stun => self.answer(now, datagram),
            Class::Dtls => self.handshake(now, datagram).unwrap(),
            Class::Rtp => {
                self.srtp.as_mut()?.1.unprotect_rtp(&mut packet).ok()?;
                return Some(packet.bytes().to_vec());
            }
            Class::Rtcp => {
                self.srtp.as_mut()?.1.unprotect_rtcp(&mut packet).ok()?;
                return Some(packet.bytes().to_vec());
            }
            Class::Other => panic!("{datagram:?}"),
        }
        None
    }

    fn answer(&mut self, now: Instant, datagram: &[u8]) {
        let message = Message::parse(datagram).unwrap();
        if message.kind == Kind::Error {
            self.error = message.error();
            return;
        }
        assert_eq!(message.kind, Kind::Success);
        assert!(message.is_authentic(&self.theirs.password));
        self.answered += 1;
        if self.association.is_none() && self.setup != Setup::Passive {
            let mut client = Association::new(&self.config, Role::Client, now);
            let outbox = &mut self.outbox;
            let send = &mut |bytes: &[u8]| outbox.push(bytes.to_vec());
            client.handle_timeout(now, send).unwrap();
            self.association = Some(client);
        }
    }

    pub(crate) fn handshake(&mut self, now: Instant, datagram: &[u8]) -> Result<(), DtlsError> {
        let config = &self.config;
        let new = || Association::new(config, Role::Server, now);
        let association = self.association.get_or_insert_with(new);
        let outbox = &mut self.outbox;
        let send = &mut |bytes: &[u8]| outbox.push(bytes.to_vec());
        association.handle(now, datagram, send)?;
        if let Some(keys) = association.verify(std::slice::from_ref(&self.fingerprint))? {
            let outbound = Outbound::new(&keys.outbound);
            self.srtp = Some((outbound, Inbound::new(&keys.inbound)));
        }
        Ok(())
    }

    /// Protected.
    pub(crate) fn rtp(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; 2048];
        let mut packet = packet(&mut buffer, plain);
        let (outbound, _) = self.srtp.as_mut().unwrap();
        outbound.protect_rtp(&mut packet).unwrap();
        packet.bytes().to_vec()
    }
}
