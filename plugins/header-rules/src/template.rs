//! Values with fields of the message in braces: `"{method} from {from-user}"`.

use std::borrow::Cow;

use hookswitch_sdk::{Summary, uri};

use crate::rules::{Headers, Slot};

/// A value, parsed once at load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

/// What may stand in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    Method,
    RequestUri,
    RequestUser,
    FromUser,
    FromDomain,
    ToUser,
    ToDomain,
    CallId,
    Side,
    Tenant,
    Status,
    Header(Slot),
}

const FIELDS: &[(&str, Field)] = &[
    ("method", Field::Method),
    ("request-uri", Field::RequestUri),
    ("request-user", Field::RequestUser),
    ("from-user", Field::FromUser),
    ("from-domain", Field::FromDomain),
    ("to-user", Field::ToUser),
    ("to-domain", Field::ToDomain),
    ("call-id", Field::CallId),
    ("side", Field::Side),
    ("tenant", Field::Tenant),
    ("status", Field::Status),
];

impl Template {
    /// Parses a value; `slot` gives the place of a header that is read.
    pub(crate) fn parse(
        value: &str,
        mut slot: impl FnMut(&str) -> Result<Slot, String>,
    ) -> Result<Self, String> {
        if value.contains(['\r', '\n', '\0']) {
            return Err("the value has a line break: a header value is one line".into());
        }
        let mut parts = Vec::new();
        let mut rest = value;
        while let Some(brace) = rest.find(['{', '}']) {
            let (text, from_brace) = rest.split_at(brace);
            push_text(&mut parts, text);
            rest = if let Some(after) = from_brace.strip_prefix("{{") {
                push_text(&mut parts, "{");
                after
            } else if let Some(after) = from_brace.strip_prefix("}}") {
                push_text(&mut parts, "}");
                after
            } else {
                let (name, after) = from_brace
                    .strip_prefix('{')
                    .and_then(|inner| inner.split_once('}'))
                    .ok_or_else(|| format!("`{value}` has a brace without its partner: write {{{{ or }}}} for a plain one"))?;
                parts.push(Part::Field(field(name, &mut slot)?));
                after
            };
        }
        push_text(&mut parts, rest);
        Ok(Self(parts))
    }

    pub(crate) fn uses(&self, field: Field) -> bool {
        self.0.contains(&Part::Field(field))
    }

    /// The value for this message. What the message does not have is empty; line breaks of folded fields (RFC 3261 §7.3.1) become
    /// spaces.
    pub(crate) fn value(
        &self,
        request: &Summary,
        status: u16,
        headers: &mut Headers<'_>,
    ) -> Cow<'_, str> {
        if let [Part::Text(constant)] = self.0.as_slice() {
            return Cow::Borrowed(constant);
        }
        let mut value = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Field(Field::Status) => value.push_str(&status.to_string()),
                Part::Field(Field::Header(slot)) => push_line(&mut value, headers.get(*slot)),
                Part::Field(field) => push_line(&mut value, of_summary(*field, request)),
            }
        }
        Cow::Owned(value)
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(last)) => last.push_str(text),
        _ if text.is_empty() => {}
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

fn field(name: &str, slot: &mut impl FnMut(&str) -> Result<Slot, String>) -> Result<Field, String> {
    if let Some(header) = name.strip_prefix("header:") {
        return slot(header.trim()).map(Field::Header);
    }
    let known = FIELDS.iter().find(|(known, _)| *known == name);
    known.map(|(_, field)| *field).ok_or_else(|| {
        let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        format!(
            "`{{{name}}}` is no field: use one of {}, header:NAME",
            names.join(", ")
        )
    })
}

fn of_summary(field: Field, request: &Summary) -> Option<&str> {
    match field {
        Field::Method => Some(&request.method),
        Field::RequestUri => Some(&request.request_uri),
        Field::RequestUser => uri::user(&request.request_uri),
        Field::FromUser => uri::user(&request.from_uri),
        Field::FromDomain => uri::host(&request.from_uri),
        Field::ToUser => uri::user(&request.to_uri),
        Field::ToDomain => uri::host(&request.to_uri),
        Field::CallId => Some(&request.call_id),
        Field::Side => Some(&request.side),
        Field::Tenant => Some(&request.tenant),
        Field::Status | Field::Header(_) => None,
    }
}

fn push_line(out: &mut String, value: Option<&str>) {
    let value = value.unwrap_or_default();
    if value.contains(['\r', '\n', '\0']) {
        out.extend(value.chars().map(|c| {
            if matches!(c, '\r' | '\n' | '\0') {
                ' '
            } else {
                c
            }
        }));
    } else {
        out.push_str(value);
    }
}
