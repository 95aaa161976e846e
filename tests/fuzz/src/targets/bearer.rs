//! Bearer tokens: the one that the issuer signed is good, for as long as it says; nothing else is, also where its header or claims are.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hookswitch_auth::{Auth, Issuer, IssuerConfig, Keys, Outcome, TokenAlgorithm};

use crate::Choices;

const NAME: &str = "idp";
/// Signed with the shared one of [`KEYS`].
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IjEifQ.\
    eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLyIsImF1ZCI6InNpcCIsInN1YiI6ImFsaWNlIiwiZXhwIjoxMDAwNjAwLCJuYmYiOjk5OTAwMH0.\
    5-3BFOXxtmaDIzAAniIcgxVpeof_vMzpHju1XYKtZ-8";
/// Those that are not shared are the public ones of RFC 7517 §A.1 and RFC 8037 §A.2.
const KEYS: &[u8] = br#"{"keys": [
    {"kty": "oct", "kid": "1", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"},
    {"kty": "EC", "kid": "2", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"},
    {"kty": "OKP", "kid": "3", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwaaPJHURo"}
]}"#;
const BEGINS_S: u64 = 999_000;
const ENDS_S: u64 = 1_000_600;
const LEEWAY_S: u64 = 30;
const TOKEN_BYTES_MAX: usize = 8_192;

static AUTH: LazyLock<Auth> = LazyLock::new(|| {
    let algorithms = vec![
        TokenAlgorithm::Hs256,
        TokenAlgorithm::Es256,
        TokenAlgorithm::EdDsa,
    ];
    let keys = Keys::parse(KEYS, &algorithms);
    let keys = keys.unwrap_or_else(|error| unreachable!("three keys: {error}"));
    let issuer = Issuer::new(IssuerConfig {
        name: NAME.to_owned(),
        issuer: "https://idp.example/".to_owned(),
        audience: vec!["sip".to_owned()],
        algorithms,
        leeway: Duration::from_secs(LEEWAY_S),
        authz_server: "https://idp.example/".to_owned(),
    });
    issuer.set_keys(keys);
    Auth {
        issuers: [(NAME.to_owned(), issuer)].into(),
        ..Auth::default()
    }
});

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let now_s = [
        1_000_000,
        ENDS_S + LEEWAY_S,
        BEGINS_S - LEEWAY_S,
        0,
        u32::MAX.into(),
    ][choices.below(5)];
    let is_in_time = (BEGINS_S - LEEWAY_S..ENDS_S + LEEWAY_S).contains(&now_s);
    let token = match choices.below(3) {
        0 => String::from_utf8_lossy(choices.rest()).replace("TOKEN", TOKEN),
        1 => bent(&mut choices),
        _ => encoded(choices.rest()),
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now_s);
    let outcome = AUTH.bearer(NAME, &token, now);
    let outcome = outcome.unwrap_or_else(|| unreachable!("the issuer is there"));
    match outcome {
        Outcome::Verified(identity) => {
            assert!(token == TOKEN && is_in_time, "verified: {token}");
            assert_eq!(identity.name, "alice");
            assert_eq!(identity.expires_unix_s, Some(ENDS_S + LEEWAY_S));
        }
        Outcome::Wrong(why) => assert!(token != TOKEN || !is_in_time, "{why}"),
        Outcome::Malformed(_) => assert!(token != TOKEN),
        other => panic!("{other:?}: {token}"),
    }
    if token.len() > TOKEN_BYTES_MAX {
        let outcome = AUTH.bearer(NAME, &token, now);
        assert!(
            matches!(outcome, Some(Outcome::Malformed(_))),
            "{outcome:?}"
        );
    }
}

/// The good one with some bytes of others.
fn bent(choices: &mut Choices<'_>) -> String {
    let mut token = TOKEN.as_bytes().to_vec();
    for _ in 0..choices.below(4) {
        let (at, byte) = (usize::from(choices.number()) % token.len(), choices.byte());
        token[at] = byte;
    }
    String::from_utf8_lossy(&token).into_owned()
}

/// Header, claims and signature on a line each, as they are before they are encoded.
fn encoded(plain: &[u8]) -> String {
    let parts: Vec<String> = plain
        .split(|byte| *byte == b'\n')
        .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part))
        .collect();
    parts.join(".")
}
