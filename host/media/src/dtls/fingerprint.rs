//! What a description says of a certificate (RFC 8122 §5): a hash of it, for certificates prove nothing by themselves here.

use std::{fmt, str::FromStr};

use aws_lc_rs::digest;

/// Of a certificate, as in `a=fingerprint`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    hash: Hash,
    digest: Vec<u8>,
}

/// MD5 and SHA-1 are not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    const ALL: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];

    fn name(self) -> &'static str {
        match self {
            Hash::Sha256 => "sha-256",
            Hash::Sha384 => "sha-384",
            Hash::Sha512 => "sha-512",
        }
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        }
    }

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        digest::digest(self.algorithm(), bytes).as_ref().to_vec()
    }
}

impl Fingerprint {
    /// The SHA-256 of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Fingerprint {
        let hash = Hash::Sha256;
        Fingerprint {
            hash,
            digest: hash.of(certificate),
        }
    }

    /// Whether it is of this certificate, in DER.
    #[must_use]
    pub fn is_of(&self, certificate: &[u8]) -> bool {
        self.hash.of(certificate) == self.digest
    }
}

/// It is none, or of a hash that is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fingerprint by SHA-256, SHA-384 or SHA-512")]
pub struct NoFingerprint;

impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    /// `sha-256 AB:CD:…`, the value of the attribute.
    fn from_str(text: &str) -> Result<Fingerprint, NoFingerprint> {
        let (name, digits) = text.trim().split_once(' ').ok_or(NoFingerprint)?;
        let mut known = Hash::ALL.into_iter();
        let hash = known.find(|hash| hash.name().eq_ignore_ascii_case(name));
        let hash = hash.ok_or(NoFingerprint)?;
        let byte = |pair: &str| {
            let is_hex = pair.len() == 2 && pair.bytes().all(|c| c.is_ascii_hexdigit());
            is_hex.then(|| u8::from_str_radix(pair, 16).ok())?
        };
        let digest: Option<Vec<u8>> = digits.trim().split(':').map(byte).collect();
        let digest = digest.ok_or(NoFingerprint)?;
        if digest.len() != hash.algorithm().output_len() {
            return Err(NoFingerprint);
        }
        Ok(Fingerprint { hash, digest })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.name())?;
        for (i, byte) in self.digest.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { ' ' } else { ':' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_knows_its_certificate() {
        let fingerprint = Fingerprint::of(b"a certificate");
        let text = fingerprint.to_string();
        assert_eq!(text.len(), "sha-256 ".len() + 32 * 3 - 1);
        assert_eq!(text.parse(), Ok(fingerprint.clone()));
        assert_eq!(text.to_lowercase().parse(), Ok(fingerprint.clone()));
        assert!(fingerprint.is_of(b"a certificate") && !fingerprint.is_of(b"another"));
    }

    #[test]
    fn refuses_weak_hashes_and_odd_lengths() {
        let sha1 = format!("sha-1 {}", ["AB"; 20].join(":"));
        let short = format!("sha-256 {}", ["AB"; 31].join(":"));
        let sign = format!("sha-256 +B:{}", ["AB"; 31].join(":"));
        for text in ["", "sha-256", "sha-256 ", &sha1, &short, &sign] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NoFingerprint), "{text}");
        }
        let sha512 = format!("SHA-512 {}", ["ab"; 64].join(":"));
        assert!(sha512.parse::<Fingerprint>().is_ok());
    }
}
