//! Where a token stands: in credentials or in a field of the operator's choice, and in the request that opens a WebSocket. Browsers can
//! set no header field there, so it is in the URL or in a cookie.

use hookswitch_sdk::{identity, prelude::*};

use crate::config::Config;

/// Clients know one of them, whoever asks: the first that has a token counts.
const FIELDS: [&str; 2] = ["Proxy-Authorization", "Authorization"];

/// The token of `Bearer TOKEN` (RFC 6750 §2.1, RFC 8898 §2.2).
fn of_credentials(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once([' ', '\t'])?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

/// Of the current message's credentials, or else of the field that the operator named.
pub(crate) fn of_request(config: &Config) -> Option<String> {
    let in_field = |field: &str| {
        let values = message::header_values(field);
        let token = values.iter().find_map(|value| of_credentials(value));
        token.map(str::to_owned)
    };
    let credentials = FIELDS.into_iter().find_map(in_field);
    credentials.or_else(|| message::header(config.header.as_deref()?))
}

/// Removes every token from the current message: another proxy could be whoever it was given to.
pub(crate) fn remove(config: &Config) -> Result<(), EditError> {
    for field in FIELDS {
        identity::keep_values(field, |value| of_credentials(value).is_none())?;
    }
    match config.header.as_deref() {
        Some(field) if message::header(field).is_some() => message::remove_header(field),
        Some(_) | None => Ok(()),
    }
}

/// Of the Authorization header, the URL's query, or a cookie: whatever is there first.
pub(crate) fn of_upgrade(upgrade: &Upgrade, config: &Config) -> Option<String> {
    let headers = |name: &'static str| {
        let named = move |field: &&HeaderField| field.name.eq_ignore_ascii_case(name);
        upgrade.headers.iter().filter(named)
    };
    let header = headers("authorization").find_map(|field| of_credentials(&field.value));
    let query = || value_of(upgrade.query.as_deref()?, '&', &config.query);
    let cookie = || {
        let name = config.cookie.as_deref()?;
        headers("cookie").find_map(|field| value_of(&field.value, ';', name))
    };
    header.or_else(query).or_else(cookie).map(str::to_owned)
}

/// Of `a=1&b=2` or `a=1; b=2`. A token has none of the characters that would be escaped there (RFC 7515 §2).
fn value_of<'a>(pairs: &'a str, separator: char, name: &str) -> Option<&'a str> {
    let mut pairs = pairs
        .split(separator)
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(other, _)| *other == name)?;
    Some(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upgrade(query: Option<&str>, headers: &[(&str, &str)]) -> Upgrade {
        let field = |(name, value): &(&str, &str)| HeaderField {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        };
        Upgrade {
            host: "example.com".to_owned(),
            path: "/".to_owned(),
            query: query.map(str::to_owned),
            origin: None,
            sni: None,
            peer: "192.0.2.1:5".to_owned(),
            headers: headers.iter().map(field).collect(),
        }
    }

    #[test]
    fn a_token_is_found_where_browsers_can_put_it() {
        let config: Config =
            serde_json::from_str(r#"{ "issuer": "idp", "cookie": "sip" }"#).expect("whole");
        let find = |query, headers: &[_]| of_upgrade(&upgrade(query, headers), &config);
        assert_eq!(
            find(Some("a=1&access_token=t.o.k"), &[]).as_deref(),
            Some("t.o.k")
        );
        assert_eq!(
            find(None, &[("cookie", "a=1; sip=t.o.k")]).as_deref(),
            Some("t.o.k")
        );
        assert_eq!(
            find(Some("access_token=q"), &[("authorization", "bearer  h ")]).as_deref(),
            Some("h")
        );
        assert_eq!(find(Some("access_token="), &[("cookie", "xsip=t")]), None);
        assert_eq!(find(None, &[("authorization", "Basic x")]), None);
    }
}
