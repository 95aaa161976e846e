//! What makes a request part of a dialog, and From and To where the two ends of one know them differently.

use std::hash::Hasher;

use super::{
    ids::{CallKey, Chance},
    io::Direction,
};
use crate::{
    header::{NameAddr, TokenParams},
    message::{HeaderName, Message, Method},
    token::Token,
};

/// A request belongs to the dialog of this token.
#[derive(Clone, Copy, Debug)]
pub(super) struct InDialog {
    pub(super) token: Token,
    pub(super) direction: Direction,
}

/// Does the request make a dialog when it has no To tag (RFC 3261 §12, RFC 3515, RFC 6665)?
pub(super) fn makes_dialog(request: &Message) -> bool {
    matches!(
        request.method(),
        Some(Method::Invite | Method::Subscribe | Method::Refer | Method::Notify)
    )
}

/// Is it the last NOTIFY of a subscription (RFC 6665 §4.1.3)? One comes after an unsubscribing SUBSCRIBE too.
pub(super) fn ends_subscription(request: &Message) -> bool {
    let state = request.raw(HeaderName::SubscriptionState);
    request.method() == Some(Method::Notify)
        && state
            .and_then(|state| TokenParams::parse(state).ok())
            .is_some_and(|state| state.token.eq_ignore_ascii_case("terminated"))
}

/// Names the call of a request: by Call-ID, the tag of whoever made the dialog, and the passage.
pub(super) fn call_key(
    chance: &Chance,
    request: &Message,
    direction: Direction,
    passage: u32,
) -> CallKey {
    let tag = match direction {
        Direction::ToCallee => request.from_tag(),
        Direction::ToCaller => request.to_tag(),
    };
    let call_id = request.call_id().unwrap_or_default();
    call_key_of(chance, call_id, tag.unwrap_or_default(), passage)
}

/// Of what it is named by.
pub(super) fn call_key_of(chance: &Chance, call_id: &str, tag: &str, passage: u32) -> CallKey {
    let mut hasher = chance.hasher(b'c');
    hasher.write_u32(passage);
    hasher.write(call_id.as_bytes());
    hasher.write_u8(0xff);
    hasher.write(tag.as_bytes());
    CallKey(hasher.finish())
}

/// From and To as the two ends of a dialog know them. Values of the fields, To without a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rewrite {
    pub(super) from: Change,
    pub(super) to: Change,
}

/// One field before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// As the caller wrote it.
    pub(super) caller: Vec<u8>,
    /// As the callee sees it.
    pub(super) callee: Vec<u8>,
}

impl Change {
    /// Is it another after than before?
    pub(super) fn is_one(&self) -> bool {
        self.caller != self.callee
    }
}

impl Rewrite {
    /// What the policies changed between the request as it came and as it goes.
    pub(super) fn between(came: &Message, goes: &Message) -> Option<Self> {
        // Hardly ever another, and then nothing need be copied.
        let is_same = |name| came.raw(name) == goes.raw(name);
        if is_same(HeaderName::From) && is_same(HeaderName::To) {
            return None;
        }
        let change = |name| {
            Some(Change {
                caller: came.header(name)?.into_owned(),
                callee: goes.header(name)?.into_owned(),
            })
        };
        let rewrite = Self {
            from: change(HeaderName::From)?,
            to: change(HeaderName::To)?,
        };
        (rewrite.from.is_one() || rewrite.to.is_one()).then_some(rewrite)
    }

    /// From and To of a later request of the dialog, for the end that it goes to; the tags stay.
    pub(super) fn of_request(&self, request: &Message, direction: Direction) -> (Vec<u8>, Vec<u8>) {
        let (from, to) = match direction {
            Direction::ToCallee => (&self.from.callee, &self.to.callee),
            Direction::ToCaller => (&self.to.caller, &self.from.caller),
        };
        (
            with_tag(from, request.from_tag()),
            with_tag(to, request.to_tag()),
        )
    }
}

/// The value with this tag, in place of its own if it has one.
pub(super) fn with_tag(value: &[u8], tag: Option<&str>) -> Vec<u8> {
    let own = NameAddr::parse(value)
        .ok()
        .and_then(|address| address.tag());
    match (own, tag) {
        (Some(own), Some(tag)) if own == tag => value.to_vec(),
        (None, None) => value.to_vec(),
        (None, Some(tag)) => [value, b";tag=", tag.as_bytes()].concat(),
        (Some(_), _) => retagged(value, tag),
    }
}

fn retagged(value: &[u8], tag: Option<&str>) -> Vec<u8> {
    let Ok(address) = NameAddr::parse(value) else {
        return value.to_vec();
    };
    let mut out = [address.display_name, b" <", address.uri.as_bytes(), b">"].concat();
    let others = address
        .params
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("tag"));
    for (name, value) in others.chain(tag.map(|tag| ("tag", Some(tag)))) {
        out.extend([b";", name.as_bytes()].concat());
        out.extend(
            value
                .map(|value| [b"=", value.as_bytes()].concat())
                .unwrap_or_default(),
        );
    }
    out.trim_ascii_start().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_stay_whatever_else_changes() {
        let with = |value: &str, tag| String::from_utf8(with_tag(value.as_bytes(), tag)).unwrap();
        assert_eq!(with("<sip:b@h>", Some("2")), "<sip:b@h>;tag=2");
        assert_eq!(
            with("\"B\" <sip:b@h>;x=1;tag=1", Some("2")),
            "\"B\" <sip:b@h>;x=1;tag=2"
        );
        assert_eq!(with("sip:b@h;tag=1", Some("1")), "sip:b@h;tag=1");
        assert_eq!(with("sip:b@h;tag=1", None), "<sip:b@h>");
    }
}
