use expect_test::{Expect, expect};

use super::*;

const LIFETIME: Duration = Duration::from_secs(60);
const BODY: &[u8] = b"v=0\r\n";

/// A realm with one user, and a client that answers its challenges.
struct Scene {
    realm: Realm,
    nonces: Nonces,
}

/// What a client puts into its credentials.
#[derive(Clone)]
struct Client {
    user: &'static str,
    password: &'static str,
    algorithm: Algorithm,
    qop: &'static str,
    nc: u32,
    uri: &'static str,
    method: &'static str,
    address: &'static str,
    after: Duration,
}

const ALICE: Client = Client {
    user: "alice",
    password: "secret",
    algorithm: Algorithm::Sha256,
    qop: "auth",
    nc: 1,
    uri: "sip:example.com",
    method: "REGISTER",
    address: "192.0.2.7",
    after: Duration::ZERO,
};

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

impl Scene {
    fn new() -> Self {
        Self::of("example.com", &[Qop::Auth, Qop::AuthInt])
    }

    fn of(name: &str, qop: &[Qop]) -> Self {
        let text = "[[user]]\nname='alice'\npassword='secret'";
        let users = Users::parse(text, name, &Algorithm::ALL).unwrap();
        let config = RealmConfig {
            name: name.to_owned(),
            algorithms: Algorithm::ALL.to_vec(),
            qop: qop.to_vec(),
            nonce_lifetime: LIFETIME,
            uri_check: UriCheck::RequestUri,
        };
        Self {
            realm: Realm::new(config, users),
            nonces: Nonces::new([1; 32], start()),
        }
    }

    fn nonce(&self) -> String {
        let challenges =
            self.realm
                .challenge(&self.nonces, ALICE.address, Freshness::First, start());
        challenges[0].split('"').nth(3).unwrap().to_owned()
    }

    fn judge(&self, client: &Client, fields: &[String]) -> Outcome {
        self.realm.judge(
            &self.nonces,
            &Attempt {
                fields,
                method: client.method,
                request_uri: ALICE.uri,
                client: client.address,
                body: BODY,
                now: start() + client.after,
            },
        )
    }

    fn answer(&self, client: &Client, nonce: &str) -> Outcome {
        self.judge(client, &[client.field(nonce, &self.realm.config.name)])
    }
}

impl Client {
    fn field(&self, nonce: &str, realm: &str) -> String {
        let Self { user, qop, uri, .. } = self;
        let nc = format!("{:08x}", self.nc);
        let subject = Subject {
            method: ALICE.method,
            uri,
            nonce,
            nc: &nc,
            cnonce: "0a4f",
            qop,
            body: (*qop == "auth-int").then_some(BODY),
        };
        let ha1 = self.algorithm.ha1(user, realm, self.password);
        let response = self.algorithm.response(&ha1, &subject);
        let algorithm = self.algorithm.name();
        format!(
            r#"Digest username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}", response="{response}", algorithm={algorithm}, cnonce="0a4f", qop={qop}, nc={nc}"#
        )
    }
}

#[track_caller]
fn check(client: &Client, expected: Expect) {
    let scene = Scene::new();
    let nonce = scene.nonce();
    expected.assert_eq(&said(scene.answer(client, &nonce)));
}

fn said(outcome: Outcome) -> String {
    match outcome {
        Outcome::Verified(identity) => format!("verified {}", identity.name),
        other => format!("{other:?}"),
    }
}

#[test]
fn challenges_offer_the_strongest_first() {
    let scene = Scene::new();
    let challenges = scene
        .realm
        .challenge(&scene.nonces, ALICE.address, Freshness::Stale, start());
    let shown: Vec<_> = challenges
        .iter()
        .map(|challenge| challenge.replace(challenge.split('"').nth(3).unwrap(), "…"))
        .collect();
    assert_eq!(
        shown,
        [
            r#"Digest realm="example.com", nonce="…", algorithm=SHA-256, qop="auth,auth-int", stale=true"#,
            r#"Digest realm="example.com", nonce="…", algorithm=MD5, qop="auth,auth-int", stale=true"#,
        ]
    );
}

#[test]
fn right_credentials_name_their_user() {
    check(&ALICE, expect!["verified alice"]);
    for algorithm in Algorithm::ALL {
        for qop in ["auth", "auth-int"] {
            let client = Client {
                algorithm,
                qop,
                ..ALICE
            };
            check(&client, expect!["verified alice"]);
        }
    }
    let parameters = Client {
        uri: "sip:EXAMPLE.com;transport=ws",
        ..ALICE
    };
    check(&parameters, expect!["verified alice"]);
}

#[test]
fn wrong_credentials_say_why_to_the_log() {
    let wrong = |change: fn(&mut Client), expected: Expect| {
        let mut client = ALICE;
        change(&mut client);
        check(&client, expected);
    };
    wrong(
        |c| c.password = "guess",
        expect![[r#"Wrong("wrong password")"#]],
    );
    wrong(
        |c| c.user = "mallory",
        expect![[r#"Wrong("unknown user")"#]],
    );
    // The response of a REGISTER in an INVITE.
    wrong(
        |c| c.method = "INVITE",
        expect![[r#"Wrong("wrong password")"#]],
    );
    wrong(
        |c| c.uri = "sip:+900123@example.com",
        expect![[r#"Wrong("uri is not the Request-URI")"#]],
    );
    wrong(
        |c| c.qop = "auth-conf",
        expect![[r#"Wrong("qop auth-conf was not offered")"#]],
    );
    wrong(
        |c| c.nc = 0,
        expect![[r#"Malformed("credentials with an nc that is no count")"#]],
    );
}

#[test]
fn nonces_that_are_over_stolen_or_used_are_stale() {
    let stale = |change: fn(&mut Client), expected: Expect| {
        let mut client = ALICE;
        change(&mut client);
        check(&client, expected);
    };
    stale(
        |c| c.after = LIFETIME + Duration::from_secs(1),
        expect![[r#"Stale("the nonce is over")"#]],
    );
    stale(
        |c| c.address = "192.0.2.8",
        expect![[r#"Stale("the nonce was not made here for this realm and address")"#]],
    );
    let scene = Scene::new();
    let nonce = scene.nonce();
    assert_eq!(said(scene.answer(&ALICE, &nonce)), "verified alice");
    let again = scene.answer(&ALICE, &nonce);
    expect![[r#"Stale("the nonce was used with this count before")"#]].assert_eq(&said(again));
    let next = Client { nc: 2, ..ALICE };
    assert_eq!(said(scene.answer(&next, &nonce)), "verified alice");
}

#[test]
fn a_nonce_of_another_realm_or_of_nobody_is_stale() {
    let (here, elsewhere) = (Scene::new(), Scene::of("example.net", &[Qop::Auth]));
    let foreign = expect![[r#"Stale("the nonce was not made here for this realm and address")"#]];
    foreign.assert_eq(&said(here.answer(&ALICE, &elsewhere.nonce())));
    foreign.assert_eq(&said(here.answer(&ALICE, "made up")));
}

#[test]
fn credentials_of_other_realms_are_nobodys_business() {
    let scene = Scene::new();
    let nonce = scene.nonce();
    let other = ALICE.field("n", "pbx.example");
    assert_eq!(scene.judge(&ALICE, &[]), Outcome::Missing);
    assert_eq!(
        scene.judge(&ALICE, &["Bearer abc".to_owned(), other.clone()]),
        Outcome::Missing
    );
    let ours = ALICE.field(&nonce, "example.com");
    assert_eq!(said(scene.judge(&ALICE, &[other, ours])), "verified alice");
}

#[test]
fn hostile_credentials_are_malformed_and_say_so() {
    let scene = Scene::new();
    let whole = ALICE.field(&scene.nonce(), "example.com");
    let judge = |field: String| said(scene.judge(&ALICE, &[field]));
    // Cut anywhere, they are never believed.
    for end in 0..whole.len() {
        let outcome = judge(whole[..end].to_owned());
        assert!(!outcome.starts_with("verified"), "{end}: {outcome}");
    }
    expect![[r#"Malformed("credentials of more than 4096 bytes")"#]]
        .assert_eq(&judge(format!("{whole}{}", ", a=1".repeat(1_000))));
    expect![[r#"Malformed("credentials with more than 32 parameters")"#]]
        .assert_eq(&judge(format!("{whole}{}", ",a=1".repeat(100))));
    expect![[r#"Malformed("credentials without username")"#]]
        .assert_eq(&judge("Digest ,,,".to_owned()));
    expect![[r#"Wrong("MD5-sess was not offered")"#]]
        .assert_eq(&judge(whole.replace("SHA-256", "MD5-sess")));
    let crowd = vec![whole; FIELDS_MAX + 1];
    expect![[r#"Malformed("more than 16 credentials")"#]]
        .assert_eq(&said(scene.judge(&ALICE, &crowd)));
}

#[test]
fn new_users_replace_the_old_ones() {
    let scene = Scene::new();
    scene.realm.set_users(Users::default());
    let answer = scene.answer(&ALICE, &scene.nonce());
    assert_eq!(said(answer), r#"Wrong("unknown user")"#);
}
