//! Who is believed about who somebody is (RFC 3325): upstreams are inside of the trust domain, browsers and strangers are outside. What
//! comes from outside goes no further, and what a caller wants hidden does not leave. Never asks anybody who they are: policies do.

use crate::{
    flow::Side,
    header::NameAddr,
    message::{HeaderName, Message, Name, unfold},
    redact,
};

/// What only the trust domain may say (RFC 3325 §5), what a client would like it to say, and what PBXs read that are older than both.
const CLAIMS: [Name<'static>; 3] = [
    Name::Known(HeaderName::PAssertedIdentity),
    Name::Known(HeaderName::PPreferredIdentity),
    REMOTE_PARTY_ID,
];

/// draft-ietf-sip-privacy-04, which never became an RFC.
const REMOTE_PARTY_ID: Name<'static> = Name::Other(b"Remote-Party-ID");

/// Removes what is not believed of a message that comes from there.
pub(super) fn disbelieve(message: &mut Message, from: Side) {
    if !is_trusted(from) {
        remove_claims(message);
    }
}

fn remove_claims(message: &mut Message) {
    for name in CLAIMS {
        message.remove(name);
    }
}

/// Removes what a message that goes there says of its sender, if that wants to be hidden (RFC 3325 §7, §9.3).
pub(super) fn hide(message: &mut Message, to: Side) {
    if !is_trusted(to) && wants_id_hidden(message) {
        remove_claims(message);
    }
}

/// Removes digest credentials of a request that goes from an upstream to somebody outside. What a caller behind the upstream answered
/// is for the upstream; and if it is us who called, through an upstream that asks who we are and passes on what it should take out,
/// the callee would read there what our password can be guessed from. What browsers say to upstreams stays: those ask them.
pub(super) fn take_digests(request: &mut Message, from: Side, to: Side) {
    if is_trusted(from) && !is_trusted(to) {
        take_credentials(request, is_digest);
    }
}

/// Removes bearer tokens (RFC 8898), also of fields that are somebody's own. An ACK repeats the credentials of its INVITE (RFC 3261
/// §22.1), out of which policies took them that never see the ACK; nobody may challenge it.
pub(super) fn take_tokens(ack: &mut Message, from: Side) {
    if is_trusted(from) {
        return;
    }
    take_credentials(ack, redact::is_token);
    // Not of those that SIP knows: a Call-ID may look like anything.
    let own = ack.headers().filter(|field| field.known.is_none());
    let tokens = own.filter(|field| redact::is_token(field.value));
    let tokens: Vec<Vec<u8>> = tokens.map(|field| field.name.to_vec()).collect();
    for name in tokens {
        ack.remove(Name::Other(&name));
    }
}

fn take_credentials(message: &mut Message, is_taken: impl Fn(&[u8]) -> bool) {
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
        if !message.values(name).any(&is_taken) {
            continue;
        }
        let others = message.values(name).filter(|value| !is_taken(value));
        let others: Vec<Vec<u8>> = others.map(|value| unfold(value).into_owned()).collect();
        if message.set_values(name, &others).is_err() {
            message.remove(name);
        }
    }
}

pub(super) fn is_trusted(side: Side) -> bool {
    match side {
        Side::Upstream(_) => true,
        Side::Web | Side::Stranger => false,
    }
}

fn wants_id_hidden(message: &Message) -> bool {
    let is_id = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"id");
    let mut wishes = message.values(HeaderName::Privacy);
    wishes.any(|values| values.split(|byte| matches!(byte, b';' | b',')).any(is_id))
        || message.values(REMOTE_PARTY_ID).any(is_private_party)
}

/// Its `privacy` is `full`, `uri`, `name`, or whatever else is not `off`. What cannot be read is not told either.
fn is_private_party(party: &[u8]) -> bool {
    let is_private = |(name, value): (&str, Option<&str>)| {
        name.eq_ignore_ascii_case("privacy")
            && !value.is_some_and(|value| value.eq_ignore_ascii_case("off"))
    };
    NameAddr::split(party).map_or(true, |party| party.params.iter().any(is_private))
}

fn is_digest(credentials: &[u8]) -> bool {
    let scheme = credentials.split(u8::is_ascii_whitespace).next();
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Digest"))
}
