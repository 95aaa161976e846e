//! What every message must have so that a proxy can work on it and answer it (RFC 3261 §8.1.1, §16.3).

use super::{Fault, HeaderName, Message, Method, read::parse_number};
use crate::header::NameAddr;

use HeaderName::{
    CSeq as CSEQ, CallId, ContentLength, ContentType, From, MaxForwards, To, Via as VIA,
};

/// Fields that may stand once and that something on the way depends on: two elements that pick different ones of two disagree on
/// what the message says.
pub(super) const SINGLE: u128 = CallId.bit()
    | CSEQ.bit()
    | From.bit()
    | To.bit()
    | MaxForwards.bit()
    | ContentLength.bit()
    | ContentType.bit();

const MANDATORY: [HeaderName; 5] = [VIA, From, To, CallId, CSEQ];

/// `seen` has the bits of the known names in `message`.
pub(super) fn check(message: &Message, seen: u128) -> Result<(), Fault> {
    if let Some(&missing) = MANDATORY.iter().find(|name| seen & name.bit() == 0) {
        return Err(Fault::Missing(missing));
    }
    if message.top_via().is_none() {
        return Err(Fault::Malformed(VIA));
    }
    for name in [From, To] {
        if message
            .raw(name)
            .is_none_or(|value| NameAddr::parse(value).is_err())
        {
            return Err(Fault::Malformed(name));
        }
    }
    if message
        .call_id()
        .is_none_or(|id| id.is_empty() || id.bytes().any(|byte| byte <= b' '))
    {
        return Err(Fault::Malformed(CallId));
    }
    let cseq = message.cseq().ok_or(Fault::Malformed(CSEQ))?;
    if message.method().is_some_and(|method| method != cseq.method) {
        return Err(Fault::CSeqMethod);
    }
    if message
        .raw(MaxForwards)
        .is_some_and(|value| parse_number::<u8>(value).is_none())
    {
        return Err(Fault::Malformed(MaxForwards));
    }
    Ok(())
}

impl Message {
    /// Has a request what a response copies from it (RFC 3261 §8.2.6)? An ACK is never answered.
    #[must_use]
    pub fn is_answerable(&self) -> bool {
        let readable = |name| self.raw(name).is_some_and(|value| !value.is_empty());
        self.method().is_some_and(|method| method != Method::Ack)
            && self.top_via().is_some()
            && self.cseq().is_some()
            && readable(From)
            && readable(To)
            && readable(CallId)
    }
}
