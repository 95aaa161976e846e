//! Digest credentials: somebody who knows the password is known by them, and nobody else is, whatever is changed on the way or said
//! again; and whatever somebody asks of us, our answer is a value that can stand in a message and does not have the password in it.

use std::time::{Duration, SystemTime};

use hookswitch_auth::{
    Algorithm, Attempt, Auth, Freshness, NONCE_KEY_BYTES, Nonces, Outcome, Qop, Realm, RealmConfig,
    UriCheck, Users,
    client::{Login, Request},
};

use crate::Choices;

const REALM: &str = "example.com";
const CLIENT: &str = "192.0.2.1";
const METHODS: [&str; 3] = ["REGISTER", "INVITE", "FOO"];
const URIS: [&str; 4] = [
    "sip:example.com",
    "sip:bob@example.com;transport=ws",
    "tel:+1201",
    "sip:BOB@example.com?x=\u{e4}",
];
const BODIES: [&[u8]; 3] = [b"", b"v=0\r\n", b"\0"];
const CNONCES: [&str; 3] = ["0123", "", "a,b=\\\"c"];
const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// What stands for the nonce that was given out.
const NONCE: &str = "NONCE";
const PASSWORD: &str = "kept secret";

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(4) {
        0 => values(choices),
        1 => challenges(choices),
        _ => Dance::new(&mut choices).run(&mut choices),
    }
}

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
}

/// A realm with one user.
fn auth(name: &str, password: &str, config: RealmConfig) -> Auth {
    let [sha256, md5] = Algorithm::ALL.map(|algorithm| algorithm.ha1(name, REALM, password));
    let users = format!("[[user]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nmd5 = \"{md5}\"");
    let users = Users::parse(&users, REALM, &Algorithm::ALL);
    let users = users.unwrap_or_else(|error| unreachable!("one user: {error}"));
    Auth {
        realms: [(REALM.to_owned(), Realm::new(config, users))].into(),
        nonces: Nonces::new([5; NONCE_KEY_BYTES], start()),
        ..Auth::default()
    }
}

fn realm() -> RealmConfig {
    RealmConfig {
        name: REALM.to_owned(),
        algorithms: Algorithm::ALL.to_vec(),
        qop: vec![Qop::Auth, Qop::AuthInt],
        nonce_lifetime: NONCE_LIFETIME,
        uri_check: UriCheck::RequestUri,
    }
}

/// Any values of Authorization, made without the password.
fn values(choices: Choices<'_>) {
    let Ok(text) = std::str::from_utf8(choices.rest()) else {
        return;
    };
    let auth = auth("alice", PASSWORD, realm());
    let challenge = auth.digest_challenge(REALM, CLIENT, Freshness::First, start());
    let challenge = challenge.unwrap_or_default().concat();
    let text = text.replace(NONCE, param(&challenge, "nonce").unwrap_or_default());
    let fields: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let attempt = Attempt {
        fields: &fields,
        method: "REGISTER",
        request_uri: "sip:example.com",
        client: CLIENT,
        body: b"",
        now: start(),
    };
    let outcome = auth.digest(REALM, &attempt);
    assert!(
        !matches!(outcome, None | Some(Outcome::Verified(_))),
        "{outcome:?}"
    );
    assert_eq!(auth.digest("elsewhere", &attempt), None);
}

/// Any values of WWW-Authenticate.
fn challenges(mut choices: Choices<'_>) {
    let realm = [None, Some(REALM)][choices.below(2)];
    let request = Request {
        method: choices.pick(&METHODS),
        uri: choices.pick(&URIS),
        body: choices.pick(&BODIES),
        count: u32::from(choices.number()),
        cnonce: "0123",
    };
    let Ok(text) = std::str::from_utf8(choices.rest()) else {
        return;
    };
    let login = Login::new("alice", PASSWORD, realm);
    let Ok(challenge) = login.choose(text.split('\n')) else {
        return;
    };
    assert!(text.split('\n').any(|value| value == challenge.value()));
    let value = login.answer(&challenge, &request);
    assert!(!value.contains('\n'), "{value}");
    assert!(
        text.contains(PASSWORD) || !value.contains(PASSWORD),
        "{value}"
    );
    // Whose realm is ours is settled by the first one.
    let ours = realm.or(login.first_realm());
    let ours = ours.unwrap_or_else(|| panic!("answered without a realm"));
    assert!(value.contains(&format!("realm=\"{ours}\"")), "{value}");
    let other = format!("Digest realm=\"not {ours}\", nonce=\"n\"");
    assert!(login.choose([other.as_str()]).is_err());
}

/// A challenge, credentials for it, and what happens to them on their way.
struct Dance {
    auth: Auth,
    config: RealmConfig,
    name: &'static str,
    login: Login,
    knows: bool,
}

impl Dance {
    fn new(choices: &mut Choices<'_>) -> Self {
        let name = choices.pick(&["alice", "a b@c", "b\u{f6}b"]);
        let length = choices.below(12);
        let password = String::from_utf8_lossy(choices.take(length)).into_owned();
        let config = RealmConfig {
            algorithms: match choices.below(3) {
                0 => vec![Algorithm::Md5],
                1 => vec![Algorithm::Sha256],
                _ => Algorithm::ALL.to_vec(),
            },
            qop: match choices.below(3) {
                0 => vec![Qop::Auth],
                1 => vec![Qop::AuthInt],
                _ => vec![Qop::AuthInt, Qop::Auth],
            },
            uri_check: match choices.below(2) {
                0 => UriCheck::RequestUri,
                _ => UriCheck::Any,
            },
            ..realm()
        };
        let knows = !choices.once_in(4);
        let said = match knows {
            true => password.clone(),
            false => password.clone() + "?",
        };
        Self {
            auth: auth(name, &password, config.clone()),
            config,
            name,
            login: Login::new(name, &said, None),
            knows,
        }
    }

    fn run(&self, choices: &mut Choices<'_>) {
        let challenges = self
            .auth
            .digest_challenge(REALM, CLIENT, Freshness::First, start());
        let challenges = challenges.unwrap_or_default();
        let challenge = self.login.choose(challenges.iter().map(String::as_str));
        let challenge = challenge.unwrap_or_else(|error| panic!("{error}: {challenges:?}"));
        let request = Request {
            method: choices.pick(&METHODS),
            uri: choices.pick(&URIS),
            body: choices.pick(&BODIES),
            count: 1 + u32::from(choices.byte()),
            cnonce: choices.pick(&CNONCES),
        };
        let value = self.login.answer(&challenge, &request);
        let mut sent = value.clone().into_bytes();
        for _ in 0..choices.below(8).saturating_sub(5) {
            let (at, byte) = (usize::from(choices.number()) % sent.len(), choices.byte());
            sent[at] = byte;
        }
        let sent = String::from_utf8_lossy(&sent).into_owned();
        let is_same = sent == value;
        let same = |choices: &mut Choices<'_>| !choices.once_in(8);
        let (method, body) = (
            if same(choices) { request.method } else { "BYE" },
            if same(choices) {
                request.body
            } else {
                b"other"
            },
        );
        let uri = if same(choices) {
            request.uri
        } else {
            "sip:eve@example.com"
        };
        let client = if same(choices) { CLIENT } else { "192.0.2.9" };
        let after = Duration::from_secs([0, 1, 300, 301, 1_000_000][choices.below(5)]);
        let covers_body = param(&value, "qop") == Some("auth-int");
        let is_right = self.knows
            && method == request.method
            && (uri == request.uri || self.config.uri_check == UriCheck::Any)
            && (!covers_body || body == request.body);
        let is_fresh = client == CLIENT && after <= NONCE_LIFETIME;
        let fields = [sent];
        let attempt = Attempt {
            fields: &fields,
            method,
            request_uri: uri,
            client,
            body,
            now: start() + after,
        };
        let outcome = self.judge(&attempt);
        match &outcome {
            Outcome::Verified(identity) => {
                assert!(is_right && is_fresh, "verified: {fields:?}");
                assert_eq!(identity.name, self.name);
                untouched(&value, &fields[0]);
            }
            Outcome::Stale(_) => assert!(!is_same || (is_right && !is_fresh), "{outcome:?}"),
            Outcome::Wrong(_) => assert!(!is_same || !is_right, "{outcome:?}"),
            Outcome::Malformed(_) | Outcome::Missing => assert!(!is_same, "{outcome:?}: {value}"),
            Outcome::Unavailable(_) => panic!("{outcome:?}"),
        }
        if matches!(outcome, Outcome::Verified(_)) {
            let again = self.judge(&attempt);
            assert!(matches!(again, Outcome::Stale(_)), "said again: {again:?}");
        }
    }

    fn judge(&self, attempt: &Attempt<'_>) -> Outcome {
        let outcome = self.auth.digest(REALM, attempt);
        outcome.unwrap_or_else(|| unreachable!("the realm is there"))
    }
}

/// All that a digest covers.
fn untouched(value: &str, sent: &str) {
    for name in ["nonce", "uri", "cnonce", "username", "nc"] {
        let covered = param(value, name).unwrap_or_default();
        assert!(sent.contains(covered), "{name} of {value} became {sent}");
    }
    let (ours, theirs) = (param(value, "response"), sent.to_ascii_lowercase());
    assert!(theirs.contains(ours.unwrap_or_default()), "{sent}");
}

/// Of a value that we made.
fn param<'v>(value: &'v str, name: &str) -> Option<&'v str> {
    let begin = format!("{name}=");
    let at = value.match_indices(&begin).map(|(at, _)| at).find(|at| {
        // Not the end of a longer name.
        value[..*at].ends_with([' ', ','])
    })?;
    let rest = &value[at + begin.len()..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split(',').next(),
    }
}
