//! What policies learn of who sends, and what they do not.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::{Duration, SystemTime};

use common::{Fields, Folder, Host, engine_with, fields, guest::Guest};
use hookswitch_auth::{
    Algorithm, Auth, Issuer, IssuerConfig, Nonces, Qop, Realm, RealmConfig, TokenAlgorithm,
    UriCheck, Users,
};
use hookswitch_policy::{
    PolicySpec,
    context::{Hook, Identity, Outcome},
    spec::Grant,
};

const REALM: &str = "example.com";

/// One that has no keys yet.
fn issuer() -> Issuer {
    Issuer::new(IssuerConfig {
        name: REALM.to_owned(),
        issuer: "https://idp.example/".to_owned(),
        audience: vec!["sip".to_owned()],
        algorithms: vec![TokenAlgorithm::Es256],
        leeway: Duration::ZERO,
        authz_server: "https://idp.example/".to_owned(),
    })
}

/// A policy whose request hook does this, on a host with one realm and its user alice, and with one issuer.
fn host(body: &str, change: impl Fn(&mut PolicySpec)) -> Host {
    let users = "[[user]]\nname = 'alice'\npassword = 'secret'";
    let config = RealmConfig {
        name: REALM.to_owned(),
        algorithms: Algorithm::ALL.to_vec(),
        qop: vec![Qop::Auth],
        nonce_lifetime: Duration::from_secs(60),
        uri_check: UriCheck::RequestUri,
    };
    let realm = Realm::new(config, Users::parse(users, REALM, &Algorithm::ALL).unwrap());
    let auth = Auth {
        realms: [(REALM.to_owned(), realm)].into(),
        nonces: Nonces::new([1; 32], SystemTime::UNIX_EPOCH),
        issuers: [(REALM.to_owned(), issuer())].into(),
    };
    let folder = Folder::new();
    let component = folder.write("a.wasm", &Guest::new("a").request(body).build());
    let mut spec = PolicySpec::new("a", component);
    spec.grants.auth = vec![REALM.to_owned()];
    change(&mut spec);
    Host::on(engine_with(auth), folder, vec![spec]).unwrap()
}

/// The status that `$judge` answers to these credentials.
fn judged(host: &Host, credentials: &[&str]) -> u16 {
    let mut given = host.given(Hook::Request);
    let field = |value: &&str| ("Proxy-Authorization".to_owned(), (*value).to_owned());
    given.message = Some(Fields(credentials.iter().map(field).collect()).boxed());
    replied(host.run(given).outcome).0
}

fn replied(outcome: Outcome) -> (u16, Vec<(String, String)>) {
    match outcome {
        Outcome::Reply {
            status, headers, ..
        } => (status, headers),
        other => panic!("{other:?}"),
    }
}

/// What alice's client makes of a challenge, by RFC 7616's own formula.
fn answer(challenge: &str, password: &str) -> String {
    let nonce = challenge.split('"').nth(3).unwrap();
    let ha1 = sha256(&format!("alice:{REALM}:{password}"));
    let ha2 = sha256("INVITE:sip:bob@example.com");
    let response = sha256(&format!("{ha1}:{nonce}:00000001:c:auth:{ha2}"));
    format!(
        r#"Digest username="alice", realm="{REALM}", nonce="{nonce}", uri="sip:bob@example.com", response="{response}", algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c""#
    )
}

/// `ha1` hashes three parts joined by colons.
fn sha256(text: &str) -> String {
    let mut parts = text.splitn(3, ':');
    let mut next = || parts.next().unwrap();
    Algorithm::Sha256.ha1(next(), next(), next())
}

#[test]
fn a_challenge_is_answered_once() {
    let challenging = host("(call $challenge)", |_| {});
    let (status, headers) = replied(challenging.request().outcome);
    assert_eq!(status, 407);
    let kinds: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            (
                name.as_str(),
                value.contains("SHA-256"),
                value.ends_with("stale=true"),
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [
            ("Proxy-Authenticate", true, true),
            ("Proxy-Authenticate", false, true)
        ]
    );
    let judging = host("(call $judge)", |_| {});
    let right = answer(&headers[0].1, "secret");
    // verified, stale: used before, wrong, malformed, missing
    assert_eq!(judged(&judging, &[&right]), 400);
    assert_eq!(judged(&judging, &[&right]), 402);
    let wrong = answer(&headers[0].1, "guess");
    assert_eq!(judged(&judging, &[&wrong]), 403);
    assert_eq!(judged(&judging, &[&right[..right.len() - 1]]), 404);
    assert_eq!(
        judged(&judging, &[&right.replace(REALM, "example.net")]),
        401
    );
    assert_eq!(judged(&judging, &[]), 401);
}

#[test]
fn a_token_is_judged_and_asked_for() {
    let judging = host("(call $judge-token)", |_| {});
    // unavailable
    assert_eq!(replied(judging.request().outcome).0, 405);
    let challenging = host("(call $challenge-token)", |_| {});
    let challenge =
        r#"Bearer realm="example.com", authz_server="https://idp.example/", error="invalid_token""#;
    assert_eq!(
        replied(challenging.request().outcome),
        (
            407,
            vec![("Proxy-Authenticate".to_owned(), challenge.to_owned())]
        )
    );
    // What is no code of an error could end the quotes.
    let wrongly = host("(call $challenge-wrongly)", |_| {});
    assert_eq!(replied(wrongly.request().outcome).0, 413);
}

#[test]
fn what_the_operator_did_not_grant_is_refused_at_the_call() {
    for body in [
        "(call $judge)",
        "(call $challenge)",
        "(call $judge-token)",
        "(call $challenge-token)",
    ] {
        let nothing = host(body, |spec| spec.grants.auth.clear());
        assert_eq!(replied(nothing.request().outcome).0, 411);
        let another = host(body, |spec| {
            spec.grants.auth = vec!["example.net".to_owned()]
        });
        assert_eq!(replied(another.request().outcome).0, 411);
    }
}

#[test]
fn an_identity_can_have_an_end() {
    let body = "(call $identify-until) (call $next)";
    let naming = host(body, |_| {});
    naming.request();
    let identity = Identity {
        name: "a".to_owned(),
        until: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
    };
    assert_eq!(
        *naming.source.applied.lock().unwrap(),
        [(Some(identity), vec![])]
    );
    let denied = host(body, |spec| spec.grants.identify = Grant::Deny);
    denied.request();
    assert!(denied.source.applied.lock().unwrap().is_empty());
}

#[test]
fn local_domains_are_known() {
    let asking = host(
        "(if (call $bob-is-local) (then (call $stamp))) (call $next)",
        |_| {},
    );
    assert_eq!(fields(asking.request()), "X-Trail: a");
}
