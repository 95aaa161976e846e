//! DTLS-SRTP (RFC 5763, RFC 5764) over dimpl: one association with one browser, from the first ClientHello to the keys of its media.
//!
//! Gives no key before the other end's certificate is one that its description named, and carries no data but those keys.

mod fingerprint;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use dimpl::{Dtls, DtlsCertificate, Output, SrtpProfile};

use crate::srtp::{KeyPair, Keys, Profile};
pub use fingerprint::{Fingerprint, NoFingerprint};

/// The first retransmission; each further one waits twice as long.
const RETRANSMIT_AFTER: Duration = Duration::from_millis(400);
const RETRANSMISSIONS_MAX: usize = 6;
const HANDSHAKE: Duration = Duration::from_secs(30);
/// A handshake record, or the other end's certificate.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;

/// `a=setup` (RFC 8842 §5.2), of the end that says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Will be the client.
    Active,
    /// Will be the server.
    Passive,
    /// Leaves it to the other end.
    ActPass,
}

impl Setup {
    fn name(self) -> &'static str {
        match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::ActPass => "actpass",
        }
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// It is none of `active`, `passive` and `actpass`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no value of a=setup that we know")]
pub struct NoSetup;

impl FromStr for Setup {
    type Err = NoSetup;

    fn from_str(text: &str) -> Result<Setup, NoSetup> {
        let mut all = [Setup::Active, Setup::Passive, Setup::ActPass].into_iter();
        all.find(|setup| setup.name().eq_ignore_ascii_case(text.trim()))
            .ok_or(NoSetup)
    }
}

/// Ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Speaks first.
    Client,
    /// Waits.
    Server,
}

/// What all associations of a server share.
#[derive(Clone)]
pub struct DtlsConfig {
    certificate: DtlsCertificate,
    fingerprint: Fingerprint,
    config: Arc<dimpl::Config>,
}

/// A private key is not for logs.
impl fmt::Debug for DtlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DtlsConfig({})", self.fingerprint)
    }
}

impl DtlsConfig {
    /// A certificate for an ECDSA key of P-256, both in DER, the key in PKCS #8.
    pub fn new(certificate: Vec<u8>, private_key: Vec<u8>) -> Result<DtlsConfig, DtlsError> {
        let config = dimpl::Config::builder()
            // ICE proved the address of the other end: a cookie would prove it again, a round trip later.
            .use_server_cookie(false)
            .flight_start_rto(RETRANSMIT_AFTER)
            .flight_retries(RETRANSMISSIONS_MAX)
            .handshake_timeout(HANDSHAKE)
            .build()?;
        Ok(DtlsConfig {
            fingerprint: Fingerprint::of(&certificate),
            certificate: DtlsCertificate {
                certificate,
                private_key,
            },
            config: Arc::new(config),
        })
    }

    /// Of our certificate, for our descriptions.
    #[must_use]
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

/// Why there will be no media.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DtlsError {
    /// The handshake failed.
    #[error("DTLS failed: {0}")]
    Handshake(String),
    /// It ended without keys for media.
    #[error("no SRTP protection profile in common")]
    NoProfile,
    /// The other end is not the one that the description spoke of.
    #[error("the certificate's fingerprint is none of those in the description")]
    WrongFingerprint,
    /// It said that it goes (`close_notify`).
    #[error("the other end closed the DTLS association")]
    Closed,
}

impl From<dimpl::Error> for DtlsError {
    fn from(error: dimpl::Error) -> DtlsError {
        DtlsError::Handshake(error.to_string())
    }
}

/// How far an association is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nothing came from the other end.
    Silent,
    /// The handshake is under way.
    Handshake,
    /// It is done; the other end's description, with its fingerprint, has not come yet.
    Unverified,
    /// The keys were given.
    Verified,
}

/// One association.
pub struct Association {
    dtls: Box<Dtls>,
    role: Role,
    stage: Stage,
    /// The other end's, in DER, until it is verified.
    certificate: Option<Vec<u8>>,
    keys: Option<KeyPair>,
    wake: Option<Instant>,
    /// Of the ClientHello that it began with, as server.
    client_random: Option<[u8; 32]>,
}

impl Association {
    /// As client it has something to send at once: [`Association::handle_timeout`].
    #[must_use]
    pub fn new(config: &DtlsConfig, role: Role, now: Instant) -> Association {
        let mut dtls = Dtls::new_auto(Arc::clone(&config.config), config.certificate.clone(), now);
        dtls.set_active(role == Role::Client);
        Association {
            dtls: Box::new(dtls),
            role,
            stage: Stage::Silent,
            certificate: None,
            keys: None,
            wake: None,
            client_random: None,
        }
    }

    /// Ours.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// A datagram that is DTLS by its first byte. `send` gets what is to be sent. An error is the end of the association.
    pub fn handle(
        &mut self,
        now: Instant,
        datagram: &[u8],
        send: &mut dyn FnMut(&[u8]),
    ) -> Result<(), DtlsError> {
        if self.stage == Stage::Silent {
            self.stage = Stage::Handshake;
        }
        if self.client_random.is_none() {
            self.client_random = client_random(datagram);
        }
        self.dtls.handle_timeout(now)?;
        self.dtls.handle_packet(datagram)?;
        self.drain(send)
    }

    /// Whether a datagram is the ClientHello of another handshake while this one is not done: that of the true client, maybe, where
    /// somebody else guessed its address and was faster.
    #[must_use]
    pub fn is_other_hello(&self, datagram: &[u8]) -> bool {
        self.stage == Stage::Handshake
            && self.role == Role::Server
            && client_random(datagram).is_some_and(|other| Some(other) != self.client_random)
    }

    /// At [`Association::poll_timeout`], or later; and once when it is new.
    pub fn handle_timeout(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(&[u8]),
    ) -> Result<(), DtlsError> {
        self.dtls.handle_timeout(now)?;
        self.drain(send)
    }

    /// When something must be sent again.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.wake
    }

    /// The keys, once, when the handshake is done and the other end's certificate is one of these; `None` while it is not done.
    pub fn verify(&mut self, named: &[Fingerprint]) -> Result<Option<KeyPair>, DtlsError> {
        let (Stage::Unverified, Some(certificate)) = (self.stage, &self.certificate) else {
            return Ok(None);
        };
        if !named.iter().any(|named| named.is_of(certificate)) {
            return Err(DtlsError::WrongFingerprint);
        }
        self.stage = Stage::Verified;
        self.certificate = None;
        Ok(self.keys.take())
    }

    fn drain(&mut self, send: &mut dyn FnMut(&[u8])) -> Result<(), DtlsError> {
        let mut buffer = vec![0; 2048];
        let mut connected = false;
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(packet) => send(packet),
                Output::BufferTooSmall { needed } if needed <= OUTPUT_BYTES_MAX => {
                    buffer.resize(needed, 0);
                }
                Output::BufferTooSmall { .. } => {
                    return Err(DtlsError::Handshake("too long a certificate".into()));
                }
                Output::Timeout(at) => {
                    self.wake = Some(at);
                    break;
                }
                Output::PeerCert(certificate) => self.certificate = Some(certificate.to_vec()),
                Output::KeyingMaterial(exported, profile) => {
                    self.keys = srtp_keys(self.role, &exported, profile);
                }
                Output::Connected => connected = true,
                Output::CloseNotify => return Err(DtlsError::Closed),
                // Data channels are not ours.
                Output::ApplicationData(_) => {}
                // `Output` may grow.
                _ => {}
            }
        }
        if connected {
            self.stage = Stage::Unverified;
            self.keys.as_ref().ok_or(DtlsError::NoProfile)?;
        }
        Ok(())
    }
}

fn srtp_keys(role: Role, exported: &[u8], profile: SrtpProfile) -> Option<KeyPair> {
    let profile = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Profile::AesCm128HmacSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
        // `SrtpProfile` may grow.
        _ => return None,
    };
    let [client, server] = Keys::from_dtls(profile, exported)?;
    let (outbound, inbound) = match role {
        Role::Client => (client, server),
        Role::Server => (server, client),
    };
    Some(KeyPair { outbound, inbound })
}

/// Of a ClientHello in the clear, or the first fragment of one (RFC 6347 §4.2.2, RFC 9147 §5.3).
fn client_random(datagram: &[u8]) -> Option<[u8; 32]> {
    const RECORD: usize = 13;
    const HANDSHAKE: usize = 12;
    let (record, rest) = datagram.split_first_chunk::<RECORD>()?;
    let (handshake, hello) = rest.split_first_chunk::<HANDSHAKE>()?;
    let [22, _, _, 0, 0, ..] = *record else {
        return None;
    };
    let [1, _, _, _, _, _, 0, 0, 0, ..] = *handshake else {
        return None;
    };
    hello.get(2..)?.first_chunk().copied()
}
