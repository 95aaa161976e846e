use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        Ed25519KeyPair,
    },
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use expect_test::{Expect, expect};
use jsonwebtoken::{Algorithm, EncodingKey, encode, jwk::Jwk};
use serde_json::json;

use super::*;
use crate::keys::KeysError;

const NOW_S: u64 = 1_800_000_000;

/// Keys of the issuer, by kid.
struct Signer {
    id: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
}

static SIGNERS: LazyLock<Vec<Signer>> = LazyLock::new(|| {
    let random = SystemRandom::new();
    let rsa = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let rsa: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
    // A PrivateKeyInfo of this size has so many bytes around the RSAPrivateKey (RFC 5208 §5), which the library wants.
    let rsa = EncodingKey::from_rsa_der(&rsa.as_ref()[26..]);
    let ec = |curve| {
        let pair = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        EncodingKey::from_ec_der(pair.as_ref())
    };
    let ed = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
    let signers = [
        ("rsa", Algorithm::RS256, rsa.clone()),
        ("pss", Algorithm::PS256, rsa),
        ("ec", Algorithm::ES256, ec(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        (
            "ec384",
            Algorithm::ES384,
            ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
        ),
        (
            "ed",
            Algorithm::EdDSA,
            EncodingKey::from_ed_der(ed.as_ref()),
        ),
    ];
    let signer = |(id, algorithm, private)| Signer {
        id,
        algorithm,
        private,
    };
    signers.map(signer).into()
});

/// The one of P-256.
fn signer() -> &'static Signer {
    &SIGNERS[2]
}

const PUBLIC: [TokenAlgorithm; 5] = [
    TokenAlgorithm::Rs256,
    TokenAlgorithm::Ps256,
    TokenAlgorithm::Es256,
    TokenAlgorithm::Es384,
    TokenAlgorithm::EdDsa,
];

impl Signer {
    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = kid.map(str::to_owned);
        encode(&header, claims, &self.private).unwrap()
    }
}

fn set(jwks: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({ "keys": jwks })).unwrap()
}

fn issuer(algorithms: &[TokenAlgorithm]) -> Issuer {
    Issuer::new(IssuerConfig {
        name: "idp".to_owned(),
        issuer: "https://idp.example/".to_owned(),
        audience: vec!["sip".to_owned()],
        algorithms: algorithms.to_vec(),
        leeway: Duration::from_secs(30),
        authz_server: "https://idp.example/".to_owned(),
    })
}

fn with_keys() -> Issuer {
    let issuer = issuer(&PUBLIC);
    let jwks: Vec<_> = SIGNERS.iter().map(Signer::jwk).collect();
    issuer.set_keys(Keys::parse(&set(&jwks), &PUBLIC).unwrap());
    assert!(issuer.takes_wish_for_keys());
    issuer
}

fn claims() -> Value {
    json!({ "iss": "https://idp.example/", "aud": "sip", "sub": "alice", "exp": NOW_S + 60 })
}

fn judge(issuer: &Issuer, token: &str) -> Outcome {
    issuer.judge(token, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_S))
}

const BY_NOBODY: &str = r#"Wrong("signed with none of the issuer's keys")"#;

fn said(outcome: Outcome) -> String {
    match outcome {
        Outcome::Verified(identity) => format!("verified {}", identity.name),
        other => format!("{other:?}"),
    }
}

#[test]
fn tokens_of_every_algorithm_name_their_subject() {
    let issuer = with_keys();
    for signer in SIGNERS.iter() {
        for kid in [Some(signer.id), None] {
            let outcome = judge(&issuer, &signer.sign(kid, &claims()));
            assert_eq!(said(outcome), "verified alice", "{}", signer.id);
        }
    }
    let Outcome::Verified(identity) = judge(&issuer, &signer().sign(None, &claims())) else {
        panic!("verified above");
    };
    assert_eq!(identity.expires_unix_s, Some(NOW_S + 90));
    let told: Value = serde_json::from_str(&identity.claims.unwrap()).unwrap();
    assert_eq!(told, claims());
    assert!(!issuer.takes_wish_for_keys());
}

#[track_caller]
fn check(change: &[(&str, Value)], expected: Expect) {
    let mut claims = claims();
    for (name, value) in change {
        let object = claims.as_object_mut().unwrap();
        match value {
            Value::Null => drop(object.remove(*name)),
            value => drop(object.insert((*name).to_owned(), value.clone())),
        }
    }
    let token = signer().sign(Some("ec"), &claims);
    expected.assert_eq(&said(judge(&with_keys(), &token)));
}

#[test]
fn claims_are_checked() {
    check(&[("exp", json!(NOW_S - 29))], expect!["verified alice"]);
    check(
        &[("exp", json!(NOW_S - 30))],
        expect![[r#"Wrong("the token is over")"#]],
    );
    for no_time in [json!("tomorrow"), json!(-1), Value::Null] {
        check(&[("exp", no_time)], expect![[r#"Wrong("exp is no time")"#]]);
    }
    check(&[("exp", json!(1.8e9 + 0.5))], expect!["verified alice"]);
    check(&[("nbf", json!(NOW_S + 30))], expect!["verified alice"]);
    check(
        &[("nbf", json!(NOW_S + 31))],
        expect![[r#"Wrong("the token is not good yet")"#]],
    );
    check(
        &[("iss", json!("https://evil.example/"))],
        expect![[r#"Wrong("another issuer's token")"#]],
    );
    check(
        &[("iss", Value::Null)],
        expect![[r#"Wrong("a token without iss or aud")"#]],
    );
    check(
        &[("aud", json!("mail"))],
        expect![[r#"Wrong("a token for others")"#]],
    );
    check(
        &[("aud", json!(["mail", "sip"]))],
        expect!["verified alice"],
    );
    check(
        &[("aud", Value::Null)],
        expect![[r#"Wrong("a token without iss or aud")"#]],
    );
    check(&[("sub", Value::Null)], expect!["verified "]);
}

/// A token of parts that no library would put together.
fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[test]
fn forged_tokens_are_refused() {
    let issuer = with_keys();
    let judge = |token: &str| said(judge(&issuer, token));
    let unknown = r#"Malformed("not a token with a signature that we know")"#;
    for algorithm in ["none", "None", "HS1", "evil\nline"] {
        let header = json!({ "alg": algorithm });
        assert_eq!(judge(&forged(&header, &claims(), b"")), unknown);
    }
    // What must be understood and is not (RFC 7515 §4.1.11).
    let mut header = Header::new(Algorithm::ES256);
    header.crit = Some(vec!["exp".to_owned()]);
    let critical = encode(&header, &claims(), &signer().private).unwrap();
    assert_eq!(judge(&critical), r#"Wrong("crit is not understood")"#);
    // The name of one key with the algorithm of another.
    let renamed = signer().sign(Some("rsa"), &claims());
    assert_eq!(judge(&renamed), BY_NOBODY);
    let whole = signer().sign(Some("ec"), &claims());
    let (body, signature) = whole.rsplit_once('.').unwrap();
    let mut other = claims();
    other["sub"] = json!("bob");
    let other = signer().sign(Some("ec"), &other);
    let (other_body, _) = other.rsplit_once('.').unwrap();
    assert_eq!(judge(&format!("{other_body}.{signature}")), BY_NOBODY);
    assert_eq!(judge(&format!("{body}.{signature}")), "verified alice");
    for at in 0..whole.len() {
        assert!(!judge(&whole[..at]).starts_with("verified"), "{at}");
        let (before, after) = (&whole[..at], &whole[at + 1..]);
        for other in ["A", "_", ".", "é"]
            .into_iter()
            .filter(|other| *other != &whole[at..=at])
        {
            let changed = format!("{before}{other}{after}");
            assert!(!judge(&changed).starts_with("verified"), "{changed}");
        }
    }
    assert_eq!(
        judge(&whole.repeat(100)),
        r#"Malformed("a token of more than 8192 bytes")"#
    );
}

#[test]
fn an_unknown_key_is_asked_for() {
    let issuer = with_keys();
    assert!(!issuer.takes_wish_for_keys());
    let token = signer().sign(Some("next"), &claims());
    assert_eq!(said(judge(&issuer, &token)), BY_NOBODY);
    assert!(issuer.takes_wish_for_keys());
    let mut jwk = signer().jwk();
    jwk["kid"] = json!("next");
    issuer.set_keys(Keys::parse(&set(&[jwk]), &PUBLIC).unwrap());
    assert_eq!(said(judge(&issuer, &token)), "verified alice");
}

#[test]
fn a_bad_signature_of_a_known_key_asks_for_nothing() {
    let issuer = with_keys();
    let check = |kid: Option<&str>| {
        let mut token = signer().sign(kid, &claims());
        let (body, _) = token.rsplit_once('.').unwrap();
        token = format!("{body}.{}", BASE64_URL_SAFE_NO_PAD.encode([1; 64]));
        assert_eq!(said(judge(&issuer, &token)), BY_NOBODY);
        issuer.takes_wish_for_keys()
    };
    assert!(!check(Some("ec")));
    assert!(check(Some("next")));
    assert!(check(None));
}

#[test]
fn a_key_without_a_name_verifies_tokens_of_every_name() {
    let nameless = |signer: &Signer| {
        let mut jwk = signer.jwk();
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let other = Signer {
        private: EncodingKey::from_ec_der(
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .unwrap()
                .as_ref(),
        ),
        ..*signer()
    };
    let issuer = issuer(&PUBLIC);
    // The nameless ones first in the set, and as many as are tried: the named one is still tried before them.
    let mut jwks = vec![nameless(&other); KEYS_TRIED_MAX];
    jwks.push(signer().jwk());
    issuer.set_keys(Keys::parse(&set(&jwks), &PUBLIC).unwrap());
    for signer in [&other, signer()] {
        let token = signer.sign(Some("ec"), &claims());
        assert_eq!(said(judge(&issuer, &token)), "verified alice");
    }
    let token = other.sign(Some("unheard"), &claims());
    assert_eq!(said(judge(&issuer, &token)), "verified alice");
}

#[test]
fn without_keys_nobody_can_tell() {
    let token = signer().sign(None, &claims());
    assert_eq!(
        said(judge(&issuer(&PUBLIC), &token)),
        r#"Unavailable("no keys yet")"#
    );
}

#[test]
fn a_shared_secret_counts_where_it_is_allowed_alone() {
    let secret = Signer {
        id: "secret",
        algorithm: Algorithm::HS256,
        private: EncodingKey::from_secret(b"0123456789abcdef0123456789abcdef"),
    };
    let token = secret.sign(Some("secret"), &claims());
    let keys = set(&[secret.jwk(), SIGNERS[0].jwk()]);
    let shared = [TokenAlgorithm::Hs256];
    let allowing = issuer(&shared);
    allowing.set_keys(Keys::parse(&keys, &shared).unwrap());
    assert_eq!(said(judge(&allowing, &token)), "verified alice");
    // A public key is no secret, even where both are allowed (RFC 8725 §2.1).
    let both = [TokenAlgorithm::Rs256, TokenAlgorithm::Hs256];
    let confused = issuer(&both);
    let public = set(&[SIGNERS[0].jwk()]);
    confused.set_keys(Keys::parse(&public, &both).unwrap());
    let modulus = SIGNERS[0].jwk()["n"].as_str().unwrap().to_owned();
    let by_public = Signer {
        id: "rsa",
        private: EncodingKey::from_secret(modulus.as_bytes()),
        ..secret
    };
    assert_eq!(
        said(judge(&confused, &by_public.sign(Some("rsa"), &claims()))),
        BY_NOBODY
    );
    let refusing = issuer(&PUBLIC);
    refusing.set_keys(Keys::parse(&keys, &PUBLIC).unwrap());
    assert_eq!(
        said(judge(&refusing, &token)),
        r#"Wrong("HS256 is not allowed")"#
    );
}

#[test]
fn sets_without_a_key_for_us_are_refused() {
    let parse = |json: &[u8]| Keys::parse(json, &PUBLIC).map(|keys| keys.count());
    for (json, expected) in [
        (
            "<html>",
            "not a JSON Web Key Set: no JSON at line 1, column 1",
        ),
        (
            r#"{"keys": "hush"}"#,
            "not a JSON Web Key Set: no object with a list `keys` at line 1, column 15",
        ),
    ] {
        let error = parse(json.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(parse(&set(&[])), Err(KeysError::None));
    let change = |name: &str, value: Value| {
        let mut jwk = signer().jwk();
        jwk[name] = value;
        parse(&set(&[jwk]))
    };
    assert_eq!(change("use", json!("enc")), Err(KeysError::None));
    assert_eq!(change("use", json!("sig")), Ok(1));
    assert_eq!(change("key_ops", json!(["sign"])), Err(KeysError::None));
    assert_eq!(change("key_ops", json!(["verify"])), Ok(1));
    assert_eq!(change("alg", json!("ES384")), Err(KeysError::None));
    assert_eq!(change("alg", Value::Null), Ok(1));
    assert_eq!(change("crv", json!("P-384")), Err(KeysError::None));
    let many = vec![signer().jwk(); 65];
    assert_eq!(parse(&set(&many)), Err(KeysError::TooMany));
}

#[test]
fn keys_that_nobody_understands_leave_the_others_alone() {
    let odd = [
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
        json!({ "kty": "RSA", "n": "not base64!", "e": "AQAB" }),
        json!({ "kty": "RSA", "kid": 7 }),
        json!({ "kty": "oct", "k": "c2hvcnQ" }),
        json!("a key"),
        signer().jwk(),
    ];
    let all = TokenAlgorithm::ALL;
    assert_eq!(Keys::parse(&set(&odd), &all).unwrap().count(), 1);
}

#[test]
fn a_challenge_says_where_tokens_are() {
    let issuer = issuer(&PUBLIC);
    assert_eq!(
        issuer.challenge(None),
        r#"Bearer realm="idp", authz_server="https://idp.example/""#
    );
    assert_eq!(
        issuer.challenge(Some("invalid_token")),
        r#"Bearer realm="idp", authz_server="https://idp.example/", error="invalid_token""#
    );
}
