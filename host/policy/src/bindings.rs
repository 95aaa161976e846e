//! The contract in Rust: what wasmtime's macro makes of the world `everything`, and the way between its types and [`context`].

use crate::context;

pub(crate) use generated::{
    exports::hookswitch::policy as exported,
    hookswitch::policy::{self as imported, types},
};

/// Its `Pre` stays unused: it wants every hook exported.
#[allow(unsafe_code, missing_docs, unreachable_pub, dead_code, clippy::all)]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "everything",
        exports: { default: async },
    });
}

impl From<context::EditError> for types::EditError {
    fn from(error: context::EditError) -> Self {
        match error {
            context::EditError::Protected => Self::Protected,
            context::EditError::NotGranted => Self::NotGranted,
            context::EditError::NoMessage => Self::NoMessage,
            context::EditError::Invalid(text) => Self::Invalid(text),
            context::EditError::TooLarge => Self::TooLarge,
            context::EditError::Other(text) => Self::Other(text),
        }
    }
}

impl From<hookswitch_auth::Outcome> for imported::auth::Outcome {
    fn from(outcome: hookswitch_auth::Outcome) -> Self {
        use hookswitch_auth::Outcome;
        match outcome {
            Outcome::Verified(identity) => Self::Verified(imported::auth::Identity {
                name: identity.name,
                claims: identity.claims,
                expires_unix_s: identity.expires_unix_s,
            }),
            Outcome::Missing => Self::Missing,
            Outcome::Stale(why) => Self::Stale(why),
            Outcome::Wrong(why) => Self::Wrong(why),
            Outcome::Malformed(why) => Self::Malformed(why),
            Outcome::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<context::Summary> for types::Summary {
    fn from(summary: context::Summary) -> Self {
        Self {
            method: summary.method,
            request_uri: summary.request_uri,
            from_uri: summary.from_uri,
            to_uri: summary.to_uri,
            call_id: summary.call_id,
            in_dialog: summary.in_dialog,
            side: summary.side,
            tenant: summary.tenant,
        }
    }
}

impl From<context::Upgrade> for types::Upgrade {
    fn from(upgrade: context::Upgrade) -> Self {
        Self {
            host: upgrade.host,
            path: upgrade.path,
            query: upgrade.query,
            origin: upgrade.origin,
            sni: upgrade.sni,
            peer: upgrade.peer,
            headers: fields(upgrade.headers),
        }
    }
}

impl From<context::Branch> for types::Branch {
    fn from(branch: context::Branch) -> Self {
        Self {
            target: branch.target,
            uri: branch.uri,
            upstream: branch.upstream,
            member: branch.member,
            stage: branch.stage,
        }
    }
}

impl From<context::Content> for types::Content {
    fn from(content: context::Content) -> Self {
        Self {
            media_type: content.media_type,
            bytes: content.bytes,
        }
    }
}

impl From<types::Content> for context::Content {
    fn from(content: types::Content) -> Self {
        Self {
            media_type: content.media_type,
            bytes: content.bytes,
        }
    }
}

/// Pairs as header fields of the contract.
pub(crate) fn fields(pairs: Vec<(String, String)>) -> Vec<types::HeaderField> {
    pairs
        .into_iter()
        .map(|(name, value)| types::HeaderField { name, value })
        .collect()
}
