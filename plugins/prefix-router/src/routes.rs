//! Routes by configuration: which upstreams a number goes to, and as which number.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::number::{Called, normalise};
use crate::table::PrefixTable;

/// The side of who is neither a browser nor of an upstream.
const STRANGER: &str = "stranger";

/// The configuration as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// Calls from here alone are routed: "web", "stranger", or names of upstreams; without it all but those of strangers, for whom
    /// an upstream is never open unless it is said here. A PBX whose own calls to numbers should not come back to it is left out.
    #[serde(default)]
    sides: Vec<String>,
    #[serde(default)]
    routes: Vec<Route>,
    /// Upstreams for numbers that no prefix fits; without it those go by default routing.
    #[serde(default)]
    default: Vec<String>,
    /// Until the first response of each upstream; 0 leaves the proxy's own.
    #[serde(default)]
    first_response_ms: u32,
    /// Until the final response of each upstream; 0 leaves the proxy's own.
    #[serde(default)]
    no_answer_ms: u32,
}

/// What happens to numbers with one prefix.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Route {
    prefix: String,
    /// Groups of the proxy's configuration; the next is tried when one failed.
    upstreams: Vec<String>,
    /// So many first characters of the number are taken away, a `+` counted.
    #[serde(default)]
    strip: usize,
    /// Put before what is left.
    #[serde(default)]
    add: String,
    /// In place of the one for all routes.
    first_response_ms: Option<u32>,
    no_answer_ms: Option<u32>,
}

/// Routes as they run.
#[derive(Debug)]
pub(crate) struct Routes {
    table: PrefixTable,
    config: Config,
}

/// Where one request goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Way<'a> {
    /// One stage each.
    pub(crate) upstreams: &'a [String],
    /// The new Request-URI, if the number changes.
    pub(crate) request_uri: Option<String>,
    pub(crate) first_response_ms: u32,
    pub(crate) no_answer_ms: u32,
}

impl Routes {
    /// Checks every route against the upstreams that there are; the error names the first wrong one and the remedy.
    pub(crate) fn new(mut config: Config, upstreams: &[String]) -> Result<Self, String> {
        let known: BTreeSet<&str> = upstreams.iter().map(String::as_str).collect();
        check_upstreams(&config.default, &known).map_err(|error| format!("default: {error}"))?;
        for (index, route) in config.routes.iter_mut().enumerate() {
            let in_route = |error: &str| format!("route {} ({}): {error}", index + 1, route.prefix);
            let prefix = normalise(&route.prefix)
                .ok_or_else(|| in_route("the prefix is no number: write + and digits, * or #"))?;
            if route.upstreams.is_empty() {
                return Err(in_route(
                    "it has no upstreams: name at least one of the configuration's",
                ));
            }
            check_upstreams(&route.upstreams, &known).map_err(|error| in_route(&error))?;
            if route.strip > prefix.len() {
                return Err(in_route(
                    "`strip` takes more than the prefix: a shorter number would lose its end",
                ));
            }
            if !route.add.is_empty() && normalise(&route.add).as_ref() != Some(&route.add) {
                return Err(in_route(
                    "`add` is no number: write + and digits, * or #, without separators",
                ));
            }
            route.prefix = prefix;
        }
        let prefixes = config
            .routes
            .iter()
            .map(|route| route.prefix.clone())
            .collect();
        let table = PrefixTable::new(prefixes).map_err(|(first, second)| {
            format!(
                "routes {} and {} have the same prefix: put their upstreams into one",
                first + 1,
                second + 1
            )
        })?;
        Ok(Self { table, config })
    }

    /// The way of a request from this side; `None` leaves it to others: the side is not routed, the user is no number, or no prefix
    /// fits and there is no default.
    pub(crate) fn way(&self, side: &str, request_uri: &str) -> Option<Way<'_>> {
        let config = &self.config;
        if !config.routes_side(side) {
            return None;
        }
        let called = Called::of(request_uri)?;
        let Some(route) = self
            .table
            .longest(&called.number)
            .and_then(|index| config.routes.get(index))
        else {
            return (!config.default.is_empty()).then_some(Way {
                upstreams: &config.default,
                request_uri: None,
                first_response_ms: config.first_response_ms,
                no_answer_ms: config.no_answer_ms,
            });
        };
        Some(Way {
            upstreams: &route.upstreams,
            request_uri: route
                .renumbered(&called.number)
                .map(|number| called.replaced(request_uri, &number)),
            first_response_ms: route.first_response_ms.unwrap_or(config.first_response_ms),
            no_answer_ms: route.no_answer_ms.unwrap_or(config.no_answer_ms),
        })
    }
}

impl Config {
    fn routes_side(&self, side: &str) -> bool {
        match self.sides.as_slice() {
            [] => side != STRANGER,
            sides => sides.iter().any(|routed| routed == side),
        }
    }
}

impl Route {
    /// The number as this route's upstreams want it, if it is another one. Never none at all: a user part is not empty.
    fn renumbered(&self, number: &str) -> Option<String> {
        if self.strip == 0 && self.add.is_empty() {
            return None;
        }
        let renumbered = self.add.clone() + number.get(self.strip..).unwrap_or_default();
        (!renumbered.is_empty()).then_some(renumbered)
    }
}

fn check_upstreams(named: &[String], known: &BTreeSet<&str>) -> Result<(), String> {
    match named.iter().find(|name| !known.contains(name.as_str())) {
        Some(name) => Err(format!(
            "there is no upstream `{name}`: name one of the configuration's"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn routes(json: &str) -> Result<Routes, String> {
        let upstreams = ["a", "b", "berlin", "out", "pbx", "pbx-a", "pbx-b"].map(String::from);
        let config = serde_json::from_str(json).map_err(|error| error.to_string())?;
        Routes::new(config, &upstreams)
    }

    const EXAMPLE: &str = r#"{ "default": ["pbx"], "no-answer-ms": 30000, "routes": [
        { "prefix": "+49", "upstreams": ["a", "b"], "strip": 3, "add": "0049", "first-response-ms": 2000 },
        { "prefix": "+49-30", "upstreams": ["berlin"] },
        { "prefix": "9", "upstreams": ["out"], "strip": 1, "no-answer-ms": 5 } ] }"#;

    #[test]
    fn ways() {
        let routes = routes(EXAMPLE).unwrap();
        let way = |uri| {
            routes.way("web", uri).map(|way| {
                format!(
                    "{} {} {}/{}",
                    way.upstreams.join(","),
                    way.request_uri.unwrap_or_default(),
                    way.first_response_ms,
                    way.no_answer_ms
                )
            })
        };
        let cases = [
            (
                "sip:+49-89-1@h;user=phone",
                Some("a,b sip:0049891@h;user=phone 2000/30000"),
            ),
            ("sip:+493012@h", Some("berlin  0/30000")),
            ("sip:9@h", Some("out  0/5")),
            ("tel:9123", Some("out tel:123 0/5")),
            ("sip:0123@h", Some("pbx  0/30000")),
            ("sip:alice@h", None),
            ("sip:h", None),
        ];
        for (uri, expected) in cases {
            assert_eq!(way(uri).as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn without_default_others_decide() {
        let routes = routes(r#"{"routes":[{"prefix":"1","upstreams":["a"]}]}"#).unwrap();
        assert_eq!(routes.way("web", "sip:2@h"), None);
    }

    #[test]
    fn sides_that_are_not_named_are_left_to_others() {
        let routes = routes(r#"{"sides":["web","pbx-b"],"default":["pbx-a"]}"#).unwrap();
        let routed = |side| routes.way(side, "sip:2@h").is_some();
        assert_eq!(["web", "pbx-a", "pbx-b"].map(routed), [true, false, true]);
    }

    #[test]
    fn strangers_are_routed_only_where_they_are_named() {
        let routed = |json, side| routes(json).unwrap().way(side, "sip:2@h").is_some();
        let unsaid = r#"{"default":["pbx"]}"#;
        assert_eq!(
            ["web", "pbx", "stranger"].map(|side| routed(unsaid, side)),
            [true, true, false]
        );
        assert!(routed(
            r#"{"sides":["stranger"],"default":["pbx"]}"#,
            "stranger"
        ));
    }

    #[test]
    fn errors_name_the_route_and_the_remedy() {
        let cases = [
            (
                r#"{"prefix":"abc","upstreams":["a"]}"#,
                "route 1 (abc): the prefix is no number: write + and digits, * or #",
            ),
            (
                r#"{"prefix":"1","upstreams":[]}"#,
                "route 1 (1): it has no upstreams: name at least one of the configuration's",
            ),
            (
                r#"{"prefix":"1","upstreams":["a","c"]}"#,
                "route 1 (1): there is no upstream `c`: name one of the configuration's",
            ),
            (
                r#"{"prefix":"1","upstreams":["a"],"strip":2}"#,
                "route 1 (1): `strip` takes more than the prefix: a shorter number would lose its end",
            ),
            (
                r#"{"prefix":"1","upstreams":["a"],"add":"0-1"}"#,
                "route 1 (1): `add` is no number: write + and digits, * or #, without separators",
            ),
            (
                r#"{"prefix":"1","upstreams":["a"]},{"prefix":"(1)","upstreams":["b"]}"#,
                "routes 1 and 2 have the same prefix: put their upstreams into one",
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(
                routes(&format!(r#"{{"routes":[{json}]}}"#)).unwrap_err(),
                expected
            );
        }
    }
}
