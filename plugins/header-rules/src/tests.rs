//! Rules against a message that is a list.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;

use hookswitch_sdk::{EditError, Summary};

use crate::compile::{Compiled, compile};
use crate::rules::Message;

#[derive(Default)]
struct List {
    fields: Vec<(String, String)>,
    reads: RefCell<Vec<String>>,
}

impl List {
    fn new(fields: &[(&str, &str)]) -> Self {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        Self {
            fields,
            reads: RefCell::default(),
        }
    }

    fn text(&self) -> String {
        let lines: Vec<String> = self
            .fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        lines.join("\n")
    }
}

impl Message for List {
    fn header(&self, name: &str) -> Option<String> {
        self.reads.borrow_mut().push(name.to_owned());
        self.fields
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    }

    fn values(&self, name: &str) -> Vec<String> {
        self.reads.borrow_mut().push(name.to_owned());
        let known = self.fields.iter();
        let known = known.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, value)| value.clone()).collect()
    }

    fn remove(&mut self, name: &str) -> Result<(), EditError> {
        self.fields
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        self.remove(name)?;
        self.add(name, value)
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        self.fields.push((name.to_owned(), value.to_owned()));
        Ok(())
    }
}

fn rules(json: &str) -> Result<Compiled, String> {
    compile(&serde_json::from_str(json).map_err(|error| error.to_string())?)
}

fn invite() -> Summary {
    Summary {
        method: "INVITE".into(),
        request_uri: "sip:+4930@pbx.example".into(),
        from_uri: "sip:alice@example.com".into(),
        to_uri: "sip:+4930@pbx.example".into(),
        call_id: "c1@h".into(),
        in_dialog: false,
        side: "web".into(),
        tenant: "main".into(),
    }
}

#[track_caller]
fn check_request(json: &str, before: &[(&str, &str)], after: &str) {
    let mut message = List::new(before);
    rules(json)
        .unwrap()
        .request
        .apply(&mut message, &invite(), 0)
        .unwrap();
    assert_eq!(message.text(), after);
}

#[test]
fn edits_come_in_order() {
    check_request(
        r#"{"rules":[{"on":"request","remove":"A","set":{"B":"2"},"add":{"C":"3"}}, {"on":"request","add":{"C":"4"}}]}"#,
        &[("a", "1"), ("B", "1"), ("C", "1")],
        "C: 1\nB: 2\nC: 3\nC: 4",
    );
}

#[test]
fn values_take_fields_of_the_message() {
    check_request(
        r#"{"rules":[{"on":"request","set":{"X":"{method} {{{from-user}}} {from-domain} {to-user} {call-id} {side} {tenant} {header:Subject}|{header:None}"}}]}"#,
        &[("Subject", "tea\r\n at five")],
        "Subject: tea\r\n at five\nX: INVITE {alice} example.com +4930 c1@h web main tea   at five|",
    );
}

#[test]
fn conditions() {
    let holds = |when: &str| {
        let json = format!(r#"{{"rules":[{{"on":"request","when":{when},"set":{{"Yes":"1"}}}}]}}"#);
        let mut message = List::new(&[("User-Agent", "SIP.js/0.21")]);
        rules(&json)
            .unwrap()
            .request
            .apply(&mut message, &invite(), 0)
            .unwrap();
        message.header("Yes").is_some()
    };
    for when in [
        r#"{}"#,
        r#"{"method":["BYE","INVITE"],"side":"web","in-dialog":false}"#,
        r#"{"request-uri-prefix":"sip:+49","from-domain":"EXAMPLE.com","to-domain":["other","pbx.example"]}"#,
        r#"{"header":{"name":"user-agent","prefix":"SIP.js"}}"#,
        r#"{"header":[{"name":"User-Agent","suffix":"0.21"},{"name":"User-Agent","contains":"js/"},{"name":"X","exists":false}]}"#,
        r#"{"header":{"name":"User-Agent","equals":"SIP.js/0.21"}}"#,
    ] {
        assert!(holds(when), "{when}");
    }
    for when in [
        r#"{"method":"BYE"}"#,
        r#"{"side":"pbx"}"#,
        r#"{"in-dialog":true}"#,
        r#"{"request-uri-prefix":"tel:"}"#,
        r#"{"from-domain":"pbx.example"}"#,
        r#"{"header":{"name":"User-Agent","equals":"SIP.js"}}"#,
        r#"{"header":{"name":"X","prefix":""}}"#,
        r#"{"method":"INVITE","header":{"name":"X","exists":true}}"#,
    ] {
        assert!(!holds(when), "{when}");
    }
}

#[test]
fn of_several_values_one_must_fit() {
    let rule = |test: &str| {
        format!(
            r#"{{"rules":[{{"on":"request","when":{{"header":{{"name":"P",{test}}}}},"set":{{"Yes":"{{header:P}}"}}}}]}}"#
        )
    };
    let message = [("P", "sip"), ("P", "tel")];
    for test in [
        r#""equals":"tel""#,
        r#""prefix":"te""#,
        r#""suffix":"el""#,
        r#""contains":"e""#,
    ] {
        check_request(&rule(test), &message, "P: sip\nP: tel\nYes: sip");
    }
    check_request(&rule(r#""equals":"urn""#), &message, "P: sip\nP: tel");
}

#[test]
fn responses_by_status() {
    let compiled = rules(r#"{"rules":[{"on":"response","when":{"status":["4xx","500-503",600]},"set":{"X":"{status}"}}]}"#).unwrap();
    for (status, expected) in [
        (200, ""),
        (404, "X: 404"),
        (499, "X: 499"),
        (503, "X: 503"),
        (504, ""),
        (600, "X: 600"),
    ] {
        let mut message = List::default();
        compiled
            .response
            .apply(&mut message, &invite(), status)
            .unwrap();
        assert_eq!(message.text(), expected, "{status}");
    }
}

#[test]
fn one_rule_on_three_hooks_stamps_each() {
    let compiled = rules(
        r#"{"rules":[{"on":["request","branch","response"],"set":{"X-Policy-Version":"7"}}]}"#,
    )
    .unwrap();
    for (set, expected) in [
        (&compiled.request, "X-Policy-Version: 7"),
        (&compiled.branch, "X-Policy-Version: 7"),
        (&compiled.response, "X-Policy-Version: 7"),
        (&compiled.register, ""),
    ] {
        let mut message = List::default();
        set.apply(&mut message, &invite(), 200).unwrap();
        assert_eq!(message.text(), expected);
    }
}

#[test]
fn a_header_is_read_once_and_again_after_an_edit() {
    let test =
        r#"{"on":"request","when":{"header":{"name":"A","equals":"1"}},"set":{"Seen":"yes"}}"#;
    let edit = r#"{"on":"request","set":{"a":"2"}}"#;
    let compiled = rules(&format!(r#"{{"rules":[{test},{test},{edit},{test}]}}"#)).unwrap();
    let mut message = List::new(&[("A", "1")]);
    compiled.request.apply(&mut message, &invite(), 0).unwrap();
    assert_eq!(*message.reads.borrow(), ["A", "A"]);
    assert_eq!(message.text(), "Seen: yes\na: 2");
}

#[test]
fn errors_name_the_rule_and_the_remedy() {
    let cases = [
        (
            r#"{"rules":[{"on":"request","set":{"X":"1"}},{"name":"via","on":"branch","remove":"VIA"}]}"#,
            "rule 2 (via): `VIA` is the proxy's own header and cannot be changed: take it out of the rule",
        ),
        (
            r#"{"rules":[{"on":"request"}]}"#,
            "rule 1: it does nothing: give it `set`, `add` or `remove`",
        ),
        (
            r#"{"rules":[{"on":[],"remove":"X"}]}"#,
            "rule 1: `on` is empty: name at least one of register, request, branch, response",
        ),
        (
            r#"{"rules":[{"on":"request","set":{"X:":"1"}}]}"#,
            "rule 1: `X:` is no header name: use letters, digits and hyphens, without the colon",
        ),
        (
            r#"{"rules":[{"on":"request","set":{"X":"{method"}}]}"#,
            "rule 1: `{method` has a brace without its partner: write {{ or }} for a plain one",
        ),
        (
            r#"{"rules":[{"on":"request","set":{"X":"{status}"}}]}"#,
            "rule 1: `{status}` stands in a rule that is not on response alone: requests have none",
        ),
        (
            r#"{"rules":[{"on":"response","when":{"status":"7xx"},"remove":"X"}]}"#,
            "invalid value: string \"7xx\", expected a status such as 486, \"4xx\" or \"400-499\" at line 1 column 49",
        ),
        (
            r#"{"rules":[{"on":"request","when":{"header":{"name":"X"}},"remove":"X"}]}"#,
            "rule 1: `when.header` on X tests nothing: add exists, equals, prefix, suffix or contains",
        ),
        (
            r#"{"rules":[{"on":"request","set":{"X":"a\nb"}}]}"#,
            "rule 1: the value has a line break: a header value is one line",
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(rules(json).unwrap_err(), expected, "{json}");
    }
    let unknown = rules(r#"{"rules":[{"on":"request","set":{"X":"{user}"}}]}"#).unwrap_err();
    assert!(
        unknown.starts_with("rule 1: `{user}` is no field: use one of method, request-uri"),
        "{unknown}"
    );
}
