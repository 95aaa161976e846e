//! From an ask to a command, and from what rtpengine refuses to what the client is told.

use bytes::Bytes;

use super::{
    flags::{self, Protocol},
    message::{Command, Session},
};
use crate::{Ask, Branch, Direction, Role};

/// The tags are ours: they say which end it is, and of the callees which. `protocol` is that of who gets it, if that is a SIP end.
pub(super) fn write(cookie: &str, ask: &Ask, protocol: Protocol) -> Bytes {
    let Branch {
        call,
        branch,
        to_tag,
        ..
    } = &ask.branch;
    let callee_tag = to_tag.as_ref().map(|tag| format!("callee;{branch};{tag}"));
    let (caller_tag, callee_tag) = (Some("caller"), callee_tag.as_deref());
    let from_caller = ask.direction == Direction::ToCallee;
    // In both it is the tag of whoever offers that comes first.
    let caller_offers = from_caller == (ask.role == Role::Offer);
    let (from_tag, to_tag) = match caller_offers {
        true => (caller_tag, callee_tag),
        false => (callee_tag, caller_tag),
    };
    let session = Session {
        call,
        from_tag: from_tag.unwrap_or("callee"),
        to_tag,
        via_branch: branch,
        sdp: &ask.sdp,
        flags: flags::flags(ask.sender(), ask.recipient(), ask.role, protocol),
    };
    match ask.role {
        Role::Offer => Command::Offer(session),
        Role::Answer => Command::Answer(session),
    }
    .write(cookie)
}

/// What is wrong with the session description is the client's to mend (RFC 3261 §21.4.26), all else is our fault.
pub(super) fn status_of(reason: &str) -> u16 {
    let of_sdp = ["parse SDP", "Incomplete SDP", "Unsupported", "codec"];
    match of_sdp.iter().any(|words| reason.contains(words)) {
        true => 488,
        false => 500,
    }
}
