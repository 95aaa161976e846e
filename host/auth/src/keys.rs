//! The keys of an issuer: a JSON Web Key Set (RFC 7517), of which what cannot verify a token is left out.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::{Value, error::Category};
use thiserror::Error;

/// Keys of one set; issuers have two or three.
const KEYS_MAX: usize = 64;
/// RFC 7518 §3.2: a shorter one can be guessed.
const SECRET_BYTES_MIN: usize = 32;

/// How tokens are signed (RFC 7518 §3.1, RFC 8037). There is no `none` among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// HMAC with SHA-256: whoever checks such a token could have made it.
    Hs256,
}

/// The keys that count.
#[derive(Debug)]
pub struct Keys(Vec<Key>);

/// One of them, with the one algorithm that it is for (RFC 8725 §3.1).
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<String>,
    algorithm: TokenAlgorithm,
    pub(crate) key: DecodingKey,
}

/// Why a set is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeysError {
    /// Not what RFC 7517 §5 describes.
    #[error("not a JSON Web Key Set: {0}")]
    Syntax(String),
    /// Too many.
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
    /// Keys for other purposes or algorithms alone.
    #[error("no key that can verify a token of the issuer's algorithms")]
    None,
}

/// Each is looked at by itself: one that nobody understands is left out (RFC 7517 §5).
#[derive(Deserialize)]
struct RawSet {
    keys: Vec<Value>,
}

impl TokenAlgorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Rs256,
        Self::Ps256,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
        Self::Hs256,
    ];

    /// As tokens and configurations have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    /// The one of a name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        let named = |algorithm: &Self| algorithm.name() == name;
        Self::ALL.into_iter().find(named)
    }

    pub(crate) fn of(algorithm: Algorithm) -> Option<Self> {
        Self::find(&format!("{algorithm:?}"))
    }

    /// Is the secret that signs the one that verifies?
    #[must_use]
    pub fn is_shared(self) -> bool {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 | Self::Es384 | Self::EdDsa => false,
            Self::Hs256 => true,
        }
    }
}

impl Keys {
    /// Reads a set, and keeps of it what `algorithms` can use.
    ///
    /// # Errors
    /// It is no set, or none of it can be used.
    pub fn parse(json: &[u8], algorithms: &[TokenAlgorithm]) -> Result<Self, KeysError> {
        let set: RawSet =
            serde_json::from_slice(json).map_err(|error| KeysError::Syntax(told(&error)))?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        let read = set.keys.into_iter().filter_map(Key::read);
        let keys: Vec<_> = read
            .filter(|key| algorithms.contains(&key.algorithm))
            .collect();
        match keys.is_empty() {
            true => Err(KeysError::None),
            false => Ok(Self(keys)),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// All that are for this algorithm if a token names none; else the one of this name, and after it those that have no name of their
    /// own (RFC 7517 §4.5 leaves it out at will).
    pub(crate) fn signing(
        &self,
        id: Option<&str>,
        algorithm: TokenAlgorithm,
    ) -> impl Iterator<Item = &Key> {
        let fitting = move || self.0.iter().filter(move |key| key.algorithm == algorithm);
        let named = fitting().filter(move |key| id.is_none() || key.id.as_deref() == id);
        let nameless = fitting().filter(move |key| id.is_some() && key.id.is_none());
        named.chain(nameless)
    }

    /// Is one of this name here?
    pub(crate) fn has(&self, id: &str) -> bool {
        self.0.iter().any(|key| key.id.as_deref() == Some(id))
    }
}

impl Key {
    /// `None`: it does not verify signatures, or not such as we know.
    fn read(jwk: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(jwk).ok()?;
        if !verifies(&jwk) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let algorithm = algorithm_of(&jwk)?;
        if algorithm.is_shared() && key.try_get_as_bytes().ok()?.len() < SECRET_BYTES_MIN {
            return None;
        }
        Some(Self {
            id: jwk.common.key_id,
            algorithm,
            key,
        })
    }
}

/// In words of ours: those of the library may have a secret in them.
fn told(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => "no object with a list `keys`",
        Category::Io | Category::Syntax | Category::Eof => "no JSON",
    };
    format!("{what} at line {}, column {}", error.line(), error.column())
}

/// RFC 7517 §4.2 and §4.3.
fn verifies(jwk: &Jwk) -> bool {
    let signs = match &jwk.common.public_key_use {
        None | Some(PublicKeyUse::Signature) => true,
        Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)) => false,
    };
    let operations = jwk.common.key_operations.as_ref();
    signs && operations.is_none_or(|listed| listed.contains(&KeyOperations::Verify))
}

/// What it says that it is for, if that goes with its type; what is usual for its type if it says nothing.
fn algorithm_of(jwk: &Jwk) -> Option<TokenAlgorithm> {
    use TokenAlgorithm::{EdDsa, Es256, Es384, Hs256, Ps256, Rs256};
    let fitting: &[TokenAlgorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[Rs256, Ps256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Es256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Es384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDsa],
        AlgorithmParameters::OctetKey(_) => &[Hs256],
        // Of the library, which may learn of more.
        _ => &[],
    };
    match jwk.common.key_algorithm {
        None => fitting.first().copied(),
        Some(named) => TokenAlgorithm::find(&named.to_string()).filter(|it| fitting.contains(it)),
    }
}
