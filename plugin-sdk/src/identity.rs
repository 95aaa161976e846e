//! What policies that authenticate have in common: who is asked, who may use which address, and what later policies and upstreams are
//! told. What a stranger says of who somebody is, the host removes by itself.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{Branch, EditError, auth::Role, message, transaction, uri};

/// The transaction's attribute in which later policies find the name of who sends.
pub const NAME: &str = "identity";
/// The one with the address that this name uses in the request.
pub const ADDRESS: &str = "identity-address";

/// How somebody is asked about a request other than REGISTER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// 407, as a proxy does.
    #[default]
    Proxy,
    /// 401, for clients that know no other.
    End,
}

impl From<Ask> for Role {
    fn from(ask: Ask) -> Self {
        match ask {
            Ask::Proxy => Self::Proxy,
            Ask::End => Self::End,
        }
    }
}

/// The sides that are asked unless the operator says otherwise: everybody but upstreams.
pub fn untrusted() -> Vec<String> {
    ["web", "stranger"].map(String::from).to_vec()
}

/// Tells later policies who sends, and what address they use.
pub fn tell(name: &str, address: &str) -> Result<(), EditError> {
    transaction::set_attribute(NAME, Some(name))?;
    transaction::set_attribute(ADDRESS, Some(address))
}

/// Tells an upstream the address that was found to be the sender's, in P-Asserted-Identity (RFC 3325).
pub fn assert_to(branch: &Branch) -> Result<(), EditError> {
    match transaction::attribute(ADDRESS) {
        Some(address) if branch.upstream.is_some() => {
            message::set_header("P-Asserted-Identity", &format!("<{address}>"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Addresses that users may use besides their own, by the name of the user; those of `*` are everybody's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Addresses(BTreeMap<String, Vec<String>>);

impl Addresses {
    /// May somebody of this name use this URI in From, or register it? A name is a user part at any local domain, `user@host`, or a
    /// URI.
    pub fn allow(&self, name: &str, address: &str, is_local: impl FnOnce(&str) -> bool) -> bool {
        // A second one stands in no URI, and not everybody reads it alike.
        if name.is_empty() || address.matches('@').count() > 1 {
            return false;
        }
        let listed = [name, "*"].into_iter().filter_map(|key| self.0.get(key));
        listed
            .flatten()
            .any(|listed| uri::is_same_address(listed, address))
            || is_own(name, address, is_local)
    }
}

fn is_own(name: &str, address: &str, is_local: impl FnOnce(&str) -> bool) -> bool {
    if uri::user(name).is_some() {
        return uri::is_same_address(name, address);
    }
    if name.contains('@') {
        return uri::is_same_address(&format!("sip:{name}"), address);
    }
    uri::host(address).is_some() && uri::user(address) == Some(name) && is_local(address)
}

/// Keeps the values of a field for which this is true: the credentials that are meant for others.
pub fn keep_values(field: &str, is_for_others: impl Fn(&str) -> bool) -> Result<(), EditError> {
    let values = message::header_values(field);
    let kept: Vec<String> = values
        .iter()
        .filter(|value| is_for_others(value))
        .cloned()
        .collect();
    match kept.len() {
        count if count == values.len() => Ok(()),
        0 => message::remove_header(field),
        _ => message::set_header_values(field, &kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(name: &str, address: &str) -> bool {
        let addresses: Addresses = serde_json::from_str(
            r#"{ "alice": ["sip:sales@example.com", "tel:+4930123"],
                 "*": ["sip:anonymous@anonymous.invalid"] }"#,
        )
        .expect("a list of addresses");
        addresses.allow(name, address, |uri| {
            uri::host(uri).is_some_and(|host| host.eq_ignore_ascii_case("example.com"))
        })
    }

    #[test]
    fn a_name_is_good_for_its_own_address_and_those_that_are_listed() {
        for (name, address) in [
            ("alice", "sip:alice@example.com"),
            ("alice", "sips:alice@EXAMPLE.com:5061;transport=ws"),
            ("alice", "sip:sales@example.com"),
            ("alice", "tel:+4930123;phone-context=x"),
            ("alice@example.net", "sip:alice@example.net"),
            ("sip:alice@example.net", "sip:alice@example.net;x=y"),
            ("bob", "sip:anonymous@anonymous.invalid"),
        ] {
            assert!(allows(name, address), "{name} {address}");
        }
    }

    #[test]
    fn it_is_good_for_no_other() {
        for (name, address) in [
            ("alice", "sip:bob@example.com"),
            ("alice", "sip:Alice@example.com"),
            ("alice", "sip:alice@example.net"),
            ("alice", "sip:example.com"),
            ("alice", "sip:alice@bob@example.com"),
            ("alice", "tel:alice"),
            ("alice", "nonsense"),
            ("alice", ""),
            ("", "sip:@example.com"),
            ("bob", "sip:sales@example.com"),
            ("alice@example.net", "sip:alice@example.com"),
            ("sip:alice@example.net", "sip:alice@example.com"),
        ] {
            assert!(!allows(name, address), "{name} {address}");
        }
    }
}
