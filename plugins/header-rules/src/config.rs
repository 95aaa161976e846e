//! The configuration as it is written. Knows its shape alone; `compile` knows its meaning.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// `{"rules": […]}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Applied in this order.
    pub(crate) rules: Vec<RuleConfig>,
}

/// One rule: on which messages it stands, and what it does to their header fields: `remove`, then `set`, then `add`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleConfig {
    /// For error messages.
    #[serde(default)]
    pub(crate) name: Option<String>,
    pub(crate) on: OneOrMany<On>,
    /// All of these must hold.
    #[serde(default)]
    pub(crate) when: When,
    #[serde(default)]
    pub(crate) remove: OneOrMany<String>,
    /// Field name to value; replaces every field of that name.
    #[serde(default)]
    pub(crate) set: BTreeMap<String, String>,
    /// Field name to value; a further field behind those of that name.
    #[serde(default)]
    pub(crate) add: BTreeMap<String, String>,
}

/// The message that a rule stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum On {
    /// Each REGISTER.
    Register,
    /// Every other request, before it is routed.
    Request,
    /// Each branch of a request, just before it is sent.
    Branch,
    /// Each response.
    Response,
}

/// Conditions; of a list one element must match.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct When {
    #[serde(default)]
    pub(crate) method: OneOrMany<String>,
    /// "web", or the name of an upstream.
    #[serde(default)]
    pub(crate) side: OneOrMany<String>,
    #[serde(default)]
    pub(crate) in_dialog: Option<bool>,
    /// `200`, `"4xx"` or `"400-499"`; in rules on responses alone.
    #[serde(default)]
    pub(crate) status: OneOrMany<Status>,
    #[serde(default)]
    pub(crate) request_uri_prefix: OneOrMany<String>,
    #[serde(default)]
    pub(crate) from_domain: OneOrMany<String>,
    #[serde(default)]
    pub(crate) to_domain: OneOrMany<String>,
    /// Of several, all must hold.
    #[serde(default)]
    pub(crate) header: OneOrMany<HeaderTest>,
}

/// One status code or a range of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Status {
    Code(u16),
    Range(String),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => code.fmt(f),
            Self::Range(range) => range.fmt(f),
        }
    }
}

/// `{"name": "User-Agent", "contains": "SIP.js"}`; `exists` without a value test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeaderTest {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) exists: Option<bool>,
    #[serde(default)]
    pub(crate) equals: Option<String>,
    #[serde(default)]
    pub(crate) prefix: Option<String>,
    #[serde(default)]
    pub(crate) suffix: Option<String>,
    #[serde(default)]
    pub(crate) contains: Option<String>,
}

/// `"x"` or `["x", "y"]`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}
