//! The configuration as it is written, and the name that it makes of claims. Calls nothing of the host.

use hookswitch_sdk::identity::{Addresses, Ask, untrusted};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// The only one, with its name.
    issuer: Option<String>,
    name: Option<String>,
    /// Or several, each with its own.
    #[serde(default)]
    pub(crate) issuers: Vec<Issuer>,
    #[serde(default)]
    pub(crate) upgrade: Upgraded,
    /// The parameter of the WebSocket's URL that is a token.
    #[serde(default = "access_token")]
    pub(crate) query: String,
    /// The cookie that is a token.
    #[serde(default)]
    pub(crate) cookie: Option<String>,
    /// The header field of requests that is a token, for clients that can write no credentials.
    #[serde(default)]
    pub(crate) header: Option<String>,
    /// How requests other than REGISTER are asked.
    #[serde(default)]
    pub(crate) requests: Ask,
    /// Who is asked.
    #[serde(default = "untrusted")]
    pub(crate) sides: Vec<String>,
    #[serde(default)]
    pub(crate) addresses: Addresses,
    /// P-Asserted-Identity for upstreams (RFC 3325).
    #[serde(default)]
    pub(crate) assert_identity: bool,
}

/// Whose tokens count.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issuer {
    /// What the host calls it.
    pub(crate) issuer: String,
    /// `{claim}` stands for a claim.
    #[serde(default = "subject")]
    pub(crate) name: String,
}

/// What a token at the WebSocket upgrade means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Upgraded {
    /// Without one there is no WebSocket.
    Required,
    /// Without one, requests are asked.
    #[default]
    Optional,
    /// Tokens come in SIP alone.
    Ignored,
}

fn subject() -> String {
    "{sub}".to_owned()
}

fn access_token() -> String {
    "access_token".to_owned()
}

impl Config {
    /// As it is meant: an only issuer is the first of several.
    pub(crate) fn checked(mut self) -> Result<Self, String> {
        match (self.issuer.take(), self.name.take()) {
            (Some(issuer), name) if self.issuers.is_empty() => self.issuers.push(Issuer {
                issuer,
                name: name.unwrap_or_else(subject),
            }),
            (None, None) if !self.issuers.is_empty() => {}
            _ => return Err("write either issuer, with name, or issuers".to_owned()),
        }
        if self.sides.is_empty() {
            return Err("sides is empty: nobody would be asked".to_owned());
        }
        self.issuers.iter().try_for_each(Issuer::check)?;
        Ok(self)
    }

    pub(crate) fn trusts(&self, side: &str) -> bool {
        !self.sides.iter().any(|asked| asked == side)
    }
}

impl Issuer {
    fn check(&self) -> Result<(), String> {
        if self.issuer.is_empty() {
            return Err("issuer is empty: name an [[auth.issuer]] of the host".to_owned());
        }
        let braces = ['{', '}'].map(|brace| self.name.matches(brace).count());
        if braces[0] == 0 || braces[0] != braces[1] {
            return Err("name has no claim in braces: everybody would be the same".to_owned());
        }
        Ok(())
    }
}

/// The name with each `{claim}` replaced; `None` if one is missing, is no text, or could pass for another name's parts.
pub(crate) fn fill_in(name: &str, claims: &Value) -> Option<String> {
    let mut filled = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('{') {
        let (claim, after) = after.split_once('}')?;
        let value = claims.get(claim)?.as_str()?;
        // A claim that is the whole name may be an address; a part of one must stay a part.
        let is_whole = before.is_empty() && after.is_empty() && filled.is_empty();
        let is_part = !value.contains(['@', ':', ';', '?', '<', '>', ' ', '%']);
        if value.is_empty() || value.chars().any(char::is_control) || !(is_whole || is_part) {
            return None;
        }
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_make_names() {
        let claims = json!({ "sub": "alice", "tenant": "acme", "email": "a@b.example", "age": 7,
                             "evil": "bob@example.com;x=", "none": "", "line": "a\nb" });
        for (name, filled) in [
            ("{sub}", Some("alice")),
            (
                "sip:{sub}@{tenant}.example.com",
                Some("sip:alice@acme.example.com"),
            ),
            ("{email}", Some("a@b.example")),
            ("sip:{email}", None),
            ("sip:{evil}@example.com", None),
            ("{age}", None),
            ("{none}", None),
            ("{line}", None),
            ("{nobody}", None),
            ("{sub", None),
        ] {
            assert_eq!(fill_in(name, &claims).as_deref(), filled, "{name}");
        }
    }

    #[test]
    fn what_knows_nobody_apart_is_refused() {
        let config = |json: Value| {
            let config: Config = serde_json::from_value(json).map_err(|error| error.to_string())?;
            let issuers = config.checked()?.issuers.into_iter();
            Ok(issuers.map(|each| each.name).collect::<Vec<_>>())
        };
        let name = |name: &str| Ok::<_, String>(vec![name.to_owned()]);
        assert_eq!(config(json!({ "issuer": "idp" })), name("{sub}"));
        let several = json!({ "issuers": [{ "issuer": "idp", "name": "{email}" }] });
        assert_eq!(config(several), name("{email}"));
        assert!(config(json!({})).is_err());
        assert!(config(json!({ "issuer": "idp", "name": "alice" })).is_err());
        assert!(config(json!({ "issuer": "idp", "name": "{sub" })).is_err());
        assert!(config(json!({ "issuer": "" })).is_err());
        assert!(config(json!({ "issuer": "idp", "sides": [] })).is_err());
        let one = json!([{ "issuer": "idp" }]);
        assert!(config(json!({ "issuer": "idp", "issuers": one })).is_err());
        assert!(config(json!({ "name": "{sub}", "issuers": one })).is_err());
        assert!(config(json!({ "issuers": [{ "issuer": "idp", "name": "x" }] })).is_err());
    }
}
