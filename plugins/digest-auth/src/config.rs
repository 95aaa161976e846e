//! The configuration as it is written, and what it means for names, sides and credentials. Calls nothing of the host.

use hookswitch_sdk::identity::{Addresses, Ask, untrusted};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    pub(crate) realm: String,
    /// How requests other than REGISTER are asked.
    #[serde(default)]
    pub(crate) requests: Ask,
    /// Who is asked.
    #[serde(default = "untrusted")]
    pub(crate) sides: Vec<String>,
    #[serde(default)]
    pub(crate) remember: Remember,
    #[serde(default)]
    pub(crate) addresses: Addresses,
    /// P-Asserted-Identity for upstreams (RFC 3325).
    #[serde(default)]
    pub(crate) assert_identity: bool,
}

/// How long somebody is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Remember {
    /// Every request is asked.
    #[default]
    Request,
    /// A WebSocket that has once told who it is can use that identity's addresses unasked.
    Connection,
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.realm.is_empty() {
            return Err("realm is empty: name an [[auth.realm]] of the host".to_owned());
        }
        if self.sides.is_empty() {
            return Err("sides is empty: nobody would be asked".to_owned());
        }
        Ok(())
    }

    pub(crate) fn trusts(&self, side: &str) -> bool {
        !self.sides.iter().any(|asked| asked == side)
    }
}

/// Are these digest credentials for this realm? What cannot be read is taken for ours, for it must not go on.
pub(crate) fn is_for(credentials: &str, realm: &str) -> bool {
    let (scheme, params) = credentials
        .trim()
        .split_once([' ', '\t'])
        .unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("Digest") {
        return false;
    }
    let realms = params.split(',').filter_map(|param| {
        let (name, value) = param.split_once('=')?;
        name.trim().eq_ignore_ascii_case("realm").then_some(value)
    });
    let mut realms = realms.map(|value| value.trim().trim_matches('"'));
    realms.next().is_none_or(|first| first == realm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<Config, String> {
        let config: Config = serde_json::from_str(json).map_err(|error| error.to_string())?;
        config.check().map(|()| config)
    }

    #[test]
    fn browsers_and_strangers_are_asked_and_upstreams_are_not() {
        let config = config(r#"{ "realm": "example.com" }"#).expect("a whole configuration");
        let asked = ["web", "stranger", "pbx"].map(|side| !config.trusts(side));
        assert_eq!(asked, [true, true, false]);
        assert_eq!(
            (config.requests, config.remember),
            (Ask::Proxy, Remember::Request)
        );
    }

    #[test]
    fn what_asks_nobody_is_refused() {
        for json in [
            r#"{}"#,
            r#"{ "realm": "" }"#,
            r#"{ "realm": "r", "sides": [] }"#,
            r#"{ "realm": "r", "request": "proxy" }"#,
        ] {
            assert!(config(json).is_err(), "{json}");
        }
    }

    #[test]
    fn credentials_for_our_realm_are_ours() {
        for (credentials, ours) in [
            (
                r#"Digest username="a", realm="example.com", nonce="n""#,
                true,
            ),
            (r#"digest REALM = "example.com""#, true),
            (r#"Digest username="a""#, true),
            (r#"Digest realm="pbx.example", username="a""#, false),
            ("Bearer abc", false),
            ("Digest", false),
        ] {
            assert_eq!(is_for(credentials, "example.com"), ours, "{credentials}");
        }
    }
}
