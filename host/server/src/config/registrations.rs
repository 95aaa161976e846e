//! Who we are at upstreams: the credentials of an `[[upstream]]`, and `[[registration]]`.

use std::{collections::HashSet, fmt, path::PathBuf, time::Duration};

use hookswitch_sip::{
    flow::Transport,
    uri::{Scheme, SipUri},
};
use serde::{Deserialize, Deserializer, de};

use super::{Faults, Upstream, check::File, check::upstream_named, numbers::in_range, raw};

/// Who we are at an upstream, if it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Of the account there.
    pub username: String,
    /// Its password.
    pub password: Password,
    /// If set, no other realm is answered.
    pub realm: Option<String>,
}

/// Where a password stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// In the configuration.
    Written(Secret),
    /// In the first line of this file.
    File(PathBuf),
}

/// What is shown to nobody, not even in a fault.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Serde's own error would show what stands there.
        let text = String::deserialize(deserializer);
        text.map(Self)
            .map_err(|_| de::Error::custom("a password is not in quotes"))
    }
}

/// An address of record of ours at an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Index of the upstream.
    pub upstream: usize,
    /// A `sip:` or `sips:` URI with a user.
    pub aor: String,
    /// Calls for it come to `sip:CONTACT_USER@` the upstream's listener.
    pub contact_user: String,
    /// Asked for.
    pub expires: Duration,
}

/// Keys of an `[[upstream]]`.
pub(super) fn login(
    key: &str,
    raw: &mut raw::Upstream,
    file: &File,
    faults: &mut Faults,
) -> Option<Login> {
    let (username, realm) = (raw.username.take(), raw.realm.take());
    let password = match (raw.password.take(), raw.password_file.take()) {
        (Some(secret), None) => Some(Password::Written(secret)),
        (None, Some(path)) => Some(Password::File(file.path(&path))),
        (None, None) => None,
        (Some(_), Some(_)) => {
            faults.push(
                format!("{key}.password"),
                "stands here and in a file",
                "remove password or password_file",
            );
            return None;
        }
    };
    for (name, text) in [("username", &username), ("realm", &realm)] {
        if text.as_deref().is_some_and(|text| !is_text(text)) {
            faults.push(
                format!("{key}.{name}"),
                "empty, or with control characters",
                "write it as the carrier gave it to you",
            );
        }
    }
    match (username, password, realm) {
        (Some(username), Some(password), realm) => Some(Login {
            username,
            password,
            realm,
        }),
        (None, None, None) => None,
        (_, _, _) => {
            faults.push(
                format!("{key}.username"),
                "username and password go together",
                "write username, and password or password_file",
            );
            None
        }
    }
}

fn is_text(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

pub(super) fn check(
    file: &mut File,
    upstreams: &[Upstream],
    faults: &mut Faults,
) -> Vec<Registration> {
    let raw: Vec<(String, raw::Registration)> = file.list("registration", faults);
    let mut known = HashSet::new();
    let mut registrations = Vec::new();
    for (key, raw) in raw {
        if !known.insert((raw.upstream.clone(), raw.aor.clone())) {
            faults.push(
                format!("{key}.aor"),
                format!("`{}` is registered there already", raw.aor),
                "keep one",
            );
        }
        registrations.extend(registration(&key, raw, upstreams, faults));
    }
    registrations
}

fn registration(
    key: &str,
    raw: raw::Registration,
    upstreams: &[Upstream],
    faults: &mut Faults,
) -> Option<Registration> {
    let upstream = upstream_named(&format!("{key}.upstream"), upstreams, &raw.upstream, faults);
    let expires_s = raw.expires_s.unwrap_or(3_600);
    let expires_s = in_range(&format!("{key}.expires_s"), expires_s, 10, 86_400, faults);
    let uri = SipUri::from_text(&raw.aor);
    let Some((scheme, user)) = uri.and_then(|uri| Some((uri.scheme, uri.user?.to_owned()))) else {
        faults.push(
            format!("{key}.aor"),
            format!("`{}` is no SIP address with a user", raw.aor),
            "write it as the carrier gave it to you, such as sip:100@carrier.example",
        );
        return None;
    };
    let contact_user = raw.contact_user.unwrap_or(user);
    let contact = format!("sip:{contact_user}@host.invalid");
    if SipUri::from_text(&contact).and_then(|uri| uri.user) != Some(contact_user.as_str()) {
        faults.push(
            format!("{key}.contact_user"),
            format!("`{contact_user}` cannot stand before the @ of an address"),
            "write letters and digits",
        );
    }
    let is_secure = |at: usize| {
        let mut ways = upstreams[at].ways.iter();
        ways.any(|way| way.transport == Transport::Tls)
    };
    if scheme == Scheme::Sips && upstream.is_some_and(|at| !is_secure(at)) {
        faults.push(
            format!("{key}.aor"),
            "sips: goes by TLS alone",
            "make it sip:, or the upstream's transport tls",
        );
    }
    Some(Registration {
        upstream: upstream?,
        aor: raw.aor,
        contact_user,
        expires: Duration::from_secs(expires_s?),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use crate::config::{Config, tests::check};

    #[test]
    fn who_we_are_at_upstreams_is_checked_and_passwords_are_shown_to_nobody() {
        check(
            r#"
            [[upstream]]
            name = "a"
            members = ["192.0.2.1:5060"]
            username = "u"
            [[upstream]]
            name = "b"
            members = ["192.0.2.2:5060"]
            username = ""
            password = "hush"
            password_file = "p"
            [[upstream]]
            name = "c"
            members = ["192.0.2.3:5060"]
            realm = "r"
            [[upstream]]
            name = "d"
            members = ["192.0.2.4:5060"]
            username = "u"
            password = 4711
            [[registration]]
            upstream = "none"
            aor = "carrier.example"
            expires_s = 5
            [[registration]]
            upstream = "c"
            aor = "sips:100@carrier.example"
            contact_user = "a b"
            [[registration]]
            upstream = "c"
            aor = "sips:100@carrier.example"
            "#,
            expect![[r#"
                11 faults in the configuration
                  upstream[3]: a password is not in quotes; mend or remove that key
                  upstream[0].username: username and password go together; write username, and password or password_file
                  upstream[1].password: stands here and in a file; remove password or password_file
                  upstream[2].username: username and password go together; write username, and password or password_file
                  registration[0].upstream: no upstream `none`; add an [[upstream]] of that name
                  registration[0].expires_s: 5 is out of range; write a number from 10 to 86400
                  registration[0].aor: `carrier.example` is no SIP address with a user; write it as the carrier gave it to you, such as sip:100@carrier.example
                  registration[1].contact_user: `a b` cannot stand before the @ of an address; write letters and digits
                  registration[1].aor: sips: goes by TLS alone; make it sip:, or the upstream's transport tls
                  registration[2].aor: `sips:100@carrier.example` is registered there already; keep one
                  registration[2].aor: sips: goes by TLS alone; make it sip:, or the upstream's transport tls"#]],
        );
        check(
            "[[upstream]]\nname = \"a\"\npassword = \"hush\n",
            expect![[r#"
                1 fault in the configuration
                  not TOML: TOML parse error at line 3, column 17
                    |
                    |                 ^
                  invalid basic string, expected `"`; mend the syntax there"#]],
        );
        check(
            "[[upstream]]\npassword = \"\"\"\nhush\\q\"\"\"\n",
            expect![[r#"
                1 fault in the configuration
                  not TOML: TOML parse error at line 3, column 6
                    |
                    |      ^
                  missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\`, `"`, `x`, `u`, `U`; mend the syntax there"#]],
        );
        let text = r#"
            [[upstream]]
            name = "a"
            members = ["192.0.2.1:5060"]
            username = "u"
            password = "hush"
            [[registration]]
            upstream = "a"
            aor = "sip:100@carrier.example;x=y"
            "#;
        let config = Config::parse(text, Path::new(".")).unwrap();
        assert_eq!(config.registrations[0].contact_user, "100");
        assert!(!format!("{config:?}").contains("hush"));
    }
}
