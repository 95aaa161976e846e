//! STUN messages (RFC 8489) as far as ICE needs them: Binding requests are read, checked and answered.
//!
//! Never sends by itself, and never answers more bytes than it got from one who did not prove to know a password.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const HEADER_BYTES: usize = 20;
/// Of an attribute: its type and its length.
const ATTRIBUTE_BYTES: usize = 4;
const INTEGRITY_BYTES: usize = 20;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// Of attributes that somebody else may know and we do not, how many an answer lists.
const UNKNOWN_MAX: usize = 8;

/// Binding, the one method of ICE, by its class (§5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Wants an answer.
    Request,
    /// Keeps a binding alive, wants none.
    Indication,
    /// All is well.
    Success,
    /// It is not.
    Error,
}

impl Kind {
    const ALL: [(Kind, u16); 4] = [
        (Kind::Request, 0x0001),
        (Kind::Indication, 0x0011),
        (Kind::Success, 0x0101),
        (Kind::Error, 0x0111),
    ];

    fn bits(self) -> u16 {
        let mut all = Kind::ALL.into_iter();
        all.find(|(kind, _)| *kind == self)
            .map_or(0, |(_, bits)| bits)
    }
}

/// Tells an answer's request.
pub type TransactionId = [u8; 12];

/// Types of attributes (RFC 8489 §18.3, RFC 8445 §16.1). Those below 0x8000 must be understood.
pub mod attribute {
    #![allow(missing_docs)]
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLED: u16 = 0x8029;
    pub const ICE_CONTROLLING: u16 = 0x802a;
}
use attribute as a;

/// A well-formed message. What follows its integrity is not believed (§14.5).
#[derive(Debug)]
pub struct Message<'m> {
    /// What it is for.
    pub kind: Kind,
    /// Of its request.
    pub transaction: TransactionId,
    bytes: &'m [u8],
    username: Option<&'m str>,
    /// Where its integrity begins.
    integrity: Option<usize>,
    error: Option<u16>,
    use_candidate: bool,
    controlled: bool,
    unknown: Vec<u16>,
}

impl<'m> Message<'m> {
    /// `None` for what is no STUN, no Binding, cut, or carries a wrong FINGERPRINT.
    #[must_use]
    pub fn parse(bytes: &'m [u8]) -> Option<Message<'m>> {
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [t0, t1, l0, l1, c0, c1, c2, c3, transaction @ ..] = *header;
        let bits = u16::from_be_bytes([t0, t1]);
        let (kind, _) = Kind::ALL.into_iter().find(|(_, known)| *known == bits)?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if [c0, c1, c2, c3] != COOKIE || len % 4 != 0 || HEADER_BYTES + len != bytes.len() {
            return None;
        }
        let mut message = Message {
            kind,
            transaction,
            bytes,
            username: None,
            integrity: None,
            error: None,
            use_candidate: false,
            controlled: false,
            unknown: Vec::new(),
        };
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            at = message.read_attribute(at)?;
        }
        Some(message)
    }

    /// Gives where the next one begins.
    fn read_attribute(&mut self, at: usize) -> Option<usize> {
        let (head, rest) = self
            .bytes
            .get(at..)?
            .split_first_chunk::<ATTRIBUTE_BYTES>()?;
        let [t0, t1, l0, l1] = *head;
        let (kind, len) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([l0, l1]));
        let value = rest.get(..usize::from(len))?;
        match kind {
            a::FINGERPRINT if value != fingerprint(self.bytes.get(..at)?, at) => return None,
            a::FINGERPRINT => {}
            _ if self.integrity.is_some() => {}
            a::USERNAME => self.username = Some(std::str::from_utf8(value).ok()?),
            a::MESSAGE_INTEGRITY if value.len() == INTEGRITY_BYTES => self.integrity = Some(at),
            a::ERROR_CODE => {
                let [_, _, class, number, ..] = *value else {
                    return None;
                };
                self.error = Some(u16::from(class & 7) * 100 + u16::from(number));
            }
            a::USE_CANDIDATE => self.use_candidate = true,
            a::ICE_CONTROLLED => self.controlled = true,
            // They change nothing for the one that is always controlled, has no other mapping, and checks SHA-1.
            a::PRIORITY
            | a::ICE_CONTROLLING
            | a::XOR_MAPPED_ADDRESS
            | a::UNKNOWN_ATTRIBUTES
            | a::MESSAGE_INTEGRITY_SHA256 => {}
            kind if kind < 0x8000 && self.unknown.len() < UNKNOWN_MAX => self.unknown.push(kind),
            _ => {}
        }
        Some(at + ATTRIBUTE_BYTES + usize::from(len).next_multiple_of(4))
    }

    /// The ufrag of the one who was asked, and that of the one who asks (RFC 8445 §7.2.2).
    #[must_use]
    pub fn ufrags(&self) -> Option<(&'m str, &'m str)> {
        self.username?.split_once(':')
    }

    /// Whether a MESSAGE-INTEGRITY is there at all.
    #[must_use]
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether its MESSAGE-INTEGRITY was made with this password (§14.5).
    #[must_use]
    pub fn is_authentic(&self, password: &str) -> bool {
        let parts = self.integrity.and_then(|at| {
            let covered = self.bytes.get(..at)?;
            let tag = self.bytes.get(at + ATTRIBUTE_BYTES..)?;
            Some((covered, tag.get(..INTEGRITY_BYTES)?))
        });
        parts.is_some_and(|(covered, tag)| integrity(covered, password).verify_slice(tag).is_ok())
    }

    /// Whether it nominates its pair (RFC 8445 §7.3.1.5).
    #[must_use]
    pub fn nominates(&self) -> bool {
        self.use_candidate
    }

    /// Whether its sender takes itself for the controlled one.
    #[must_use]
    pub fn is_from_controlled(&self) -> bool {
        self.controlled
    }

    /// The number of an [`Kind::Error`].
    #[must_use]
    pub fn error(&self) -> Option<u16> {
        self.error
    }

    /// Attributes that must be understood, and are not.
    #[must_use]
    pub fn unknown(&self) -> &[u16] {
        &self.unknown
    }
}

/// The ufrag of the one who is asked by this datagram, without a check of anything else: whom to give it to.
#[must_use]
pub fn asked_ufrag(datagram: &[u8]) -> Option<&str> {
    let message = Message::parse(datagram)?;
    (message.kind == Kind::Request)
        .then(|| message.ufrags())
        .flatten()
        .map(|(asked, _)| asked)
}

/// A message being written.
#[derive(Debug)]
pub struct Builder(Vec<u8>);

impl Builder {
    /// An empty one.
    #[must_use]
    pub fn new(kind: Kind, transaction: TransactionId) -> Builder {
        let mut bytes = Vec::with_capacity(96);
        bytes.extend(kind.bits().to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(COOKIE);
        bytes.extend(transaction);
        Builder(bytes)
    }

    /// With this attribute. Values are short: an attribute's length has 16 bits.
    #[must_use]
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Builder {
        let value = value.get(..value.len().min(512)).unwrap_or_default();
        // At most 512, see above.
        #[allow(clippy::cast_possible_truncation)]
        let len = value.len() as u16;
        self.0.extend(kind.to_be_bytes());
        self.0.extend(len.to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// §14.2.
    #[must_use]
    pub fn xor_mapped_address(self, address: SocketAddr) -> Builder {
        let [c0, c1, ..] = COOKIE;
        let port = address.port() ^ u16::from_be_bytes([c0, c1]);
        let pad = [&COOKIE[..], self.0.get(8..HEADER_BYTES).unwrap_or_default()].concat();
        let (family, ip) = match address.ip().to_canonical() {
            IpAddr::V4(ip) => (1, ip.octets().to_vec()),
            IpAddr::V6(ip) => (2, ip.octets().to_vec()),
        };
        let mut value = vec![0, family];
        value.extend(port.to_be_bytes());
        value.extend(ip.iter().zip(pad).map(|(ip, pad)| ip ^ pad));
        self.attribute(a::XOR_MAPPED_ADDRESS, &value)
    }

    /// §14.8, without a phrase: nobody reads it.
    #[must_use]
    pub fn error(self, code: u16) -> Builder {
        let (class, number) = ((code / 100) as u8, (code % 100) as u8);
        self.attribute(a::ERROR_CODE, &[0, 0, class, number])
    }

    /// With the integrity of all that was written so far.
    #[must_use]
    pub fn integrity(self, password: &str) -> Builder {
        let tag = integrity(&self.0, password).finalize().into_bytes();
        self.attribute(a::MESSAGE_INTEGRITY, &tag)
    }

    /// With the FINGERPRINT that ICE wants (RFC 8445 §7.1.2).
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let sum = fingerprint(&self.0, self.0.len());
        self = self.attribute(a::FINGERPRINT, &sum);
        let len = self.0.len() - HEADER_BYTES;
        set_len(&mut self.0, len);
        self.0
    }
}

/// Where a message's length stands.
fn set_len(message: &mut [u8], len: usize) {
    let len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&len);
    }
}

/// Over what stands before it, with a length as if the message ended behind it.
fn integrity(covered: &[u8], password: &str) -> Hmac<Sha1> {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(password.as_bytes()).expect("HMAC takes keys of any length");
    let mut head = [0; HEADER_BYTES];
    let (header, rest) = covered.split_at(covered.len().min(HEADER_BYTES));
    head[..header.len()].copy_from_slice(header);
    set_len(&mut head, rest.len() + ATTRIBUTE_BYTES + INTEGRITY_BYTES);
    mac.update(&head);
    mac.update(rest);
    mac
}

/// §14.7: over what stands before it, with the length of a message that ends behind it.
fn fingerprint(covered: &[u8], at: usize) -> [u8; 4] {
    let mut head = [0; HEADER_BYTES];
    let (header, rest) = covered.split_at(covered.len().min(HEADER_BYTES));
    head[..header.len()].copy_from_slice(header);
    set_len(&mut head, at + ATTRIBUTE_BYTES + 4 - HEADER_BYTES);
    let sum = crc32(crc32(u32::MAX, &head), rest);
    (!sum ^ FINGERPRINT_XOR).to_be_bytes()
}

/// CRC-32 of ISO 3309, as in Ethernet, without the last inversion.
fn crc32(start: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let (mut entry, mut bit) = (i as u32, 0);
            while bit < 8 {
                entry = entry >> 1 ^ if entry & 1 == 1 { 0xedb8_8320 } else { 0 };
                bit += 1;
            }
            table[i] = entry;
            i += 1;
        }
        table
    };
    bytes.iter().fold(start, |sum, byte| {
        let [low, ..] = sum.to_le_bytes();
        sum >> 8 ^ TABLE[usize::from(low ^ byte)]
    })
}

#[cfg(test)]
mod tests;
