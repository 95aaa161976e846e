//! Client tokens: the user part of the Path or Contact that a REGISTER carries to a PBX which is the registrar. The PBX sends it back
//! with each request for that client (RFC 3327 §5.2, RFC 5626 §5.3).
//!
//! One names a client and nothing else: where that is reached is the location service's to know, so a token outlives connections and
//! restarts. It is bound to no dialog: whoever it is accepted from may call the client past the routing policy.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac;
use sha2::{Digest, Sha256};

use super::{Keyring, MAC_BYTES, TokenError, mac_of};

/// Tells it from a dialog's token, whose alphabet has no dot.
const PREFIX: &str = "c.";
/// In the place of a worker, of which there are fewer.
const KIND: u8 = 0xff;
const FIELD_BYTES: usize = 10;

/// Names a binding: a hash of its address of record and of what tells its client from the others there.
///
/// The address of record is in it so that nobody takes over a client by registering its Contact or its instance as a user of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientKey(pub u64);

impl ClientKey {
    /// `parts` are what tells it from the others, in their order.
    #[must_use]
    pub fn new<'p>(aor: &str, parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut hash = Sha256::new();
        hash.update(aor.as_bytes());
        for part in parts {
            hash.update([0]);
            hash.update(part);
        }
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(hash.finalize());
        Self(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The text of a client token.
    #[must_use]
    pub fn seal(self, keys: &Keyring) -> String {
        let mut bytes = Vec::with_capacity(FIELD_BYTES + MAC_BYTES);
        bytes.extend([keys.current.id, KIND]);
        bytes.extend(self.0.to_be_bytes());
        let mac = mac_of(&keys.current, &bytes, b"", b"").finalize();
        bytes.extend_from_slice(&mac.into_bytes()[..MAC_BYTES]);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Opens a client token; `None` if `text` is something else, such as a dialog's token or a user's name.
    #[must_use]
    pub fn open(keys: &Keyring, text: &str) -> Option<Result<Self, TokenError>> {
        let text = text.strip_prefix(PREFIX)?;
        let mut buffer = [0u8; FIELD_BYTES + MAC_BYTES + 2];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut buffer).ok()?;
        let (fields, mac) = buffer.get(..length)?.split_at_checked(FIELD_BYTES)?;
        let [id, KIND, key @ ..] = fields else {
            return None;
        };
        let key = Self(u64::from_be_bytes(key.try_into().ok()?));
        if mac.len() != MAC_BYTES {
            return None;
        }
        let Some(secret) = keys.find(*id) else {
            return Some(Err(TokenError::KeyExpired));
        };
        let verified = mac_of(secret, fields, b"", b"").verify_truncated_left(mac);
        Some(verified.map(|()| key).map_err(|_| TokenError::Forged))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Key, *};

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        let keys = Keyring::new(Key::new(1, &[7; 32]));
        let text = ClientKey(99).seal(&keys);
        assert_eq!(ClientKey::open(&keys, &text), Some(Ok(ClientKey(99))));
        for (at, byte) in text.bytes().enumerate().skip(PREFIX.len()) {
            let mut forged = text.clone().into_bytes();
            forged[at] = if byte == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            let opened = ClientKey::open(&keys, &forged);
            assert!(!matches!(opened, Some(Ok(_))), "{at}: {opened:?}");
        }
        for other in [
            "alice",
            "c.",
            "c.alice",
            "",
            &text[2..],
            &format!("{text}A"),
        ] {
            assert_eq!(ClientKey::open(&keys, other), None, "{other}");
        }
        let rotated = Keyring::new(Key::new(2, &[7; 32]));
        assert_eq!(
            ClientKey::open(&rotated, &text),
            Some(Err(TokenError::KeyExpired))
        );
        let stolen = Keyring::new(Key::new(1, &[8; 32]));
        assert_eq!(
            ClientKey::open(&stolen, &text),
            Some(Err(TokenError::Forged))
        );
    }
}
