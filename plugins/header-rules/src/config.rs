//! The configuration as it is written. Knows its shape alone; `compile` knows its meaning.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::list::List;

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
    pub(crate) on: List<On>,
    /// All of these must hold.
    #[serde(default)]
    pub(crate) when: When,
    #[serde(default)]
    pub(crate) remove: List<String>,
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
    pub(crate) method: List<String>,
    /// "web", or the name of an upstream.
    #[serde(default)]
    pub(crate) side: List<String>,
    #[serde(default)]
    pub(crate) in_dialog: Option<bool>,
    /// `200`, `"4xx"` or `"400-499"`; in rules on responses alone.
    #[serde(default)]
    pub(crate) status: List<Status>,
    #[serde(default)]
    pub(crate) request_uri_prefix: List<String>,
    #[serde(default)]
    pub(crate) from_domain: List<String>,
    #[serde(default)]
    pub(crate) to_domain: List<String>,
    /// Of several, all must hold.
    #[serde(default)]
    pub(crate) header: List<HeaderTest>,
}

/// One status code or a range of them, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) low: u16,
    pub(crate) high: u16,
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        let (low, high) = match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(class), _) => {
                let hundreds = class.parse::<u16>().ok()?.checked_mul(100)?;
                (hundreds, hundreds.checked_add(99)?)
            }
            (None, Some((low, high))) => (low.trim().parse().ok()?, high.trim().parse().ok()?),
            (None, None) => (text.parse().ok()?, text.parse().ok()?),
        };
        (100 <= low && low <= high && high <= 699).then_some(Self { low, high })
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor)
    }
}

struct StatusVisitor;

impl Visitor<'_> for StatusVisitor {
    type Value = Status;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status such as 486, \"4xx\" or \"400-499\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Status, E> {
        Status::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: de::Error>(self, code: u64) -> Result<Status, E> {
        Status::parse(&code.to_string())
            .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(code), &self))
    }
}

/// `{"name": "User-Agent", "contains": "SIP.js"}`; `exists` without a value test. Of several values one must fit.
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
