//! OPTIONS by which we ask members of upstreams whether they do their work, and what came of it. Shared by all workers, since the
//! answer may come to any of them. No transactions: a ping that is lost is made up for by the next.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// RFC 3261 §8.1.1.7 and a mark of ours; never that of a proxied branch.
const BRANCH: &str = "z9hG4bKping";
/// A member that leaves so many in a row without an answer is silent.
const UNANSWERED_MAX: u32 = 2;

/// Pings under way; one for each member.
#[derive(Debug, Default)]
pub(crate) struct Pings(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    members: HashMap<SocketAddr, Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    number: u64,
    unanswered: u32,
}

/// To be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ping {
    pub(crate) number: u64,
    /// The last ones were not answered.
    pub(crate) silent: bool,
}

impl Pings {
    /// The next one for a member.
    pub(crate) fn next(&self, member: SocketAddr) -> Ping {
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        let asked = state.members.entry(member).or_default();
        let silent = asked.unanswered >= UNANSWERED_MAX;
        asked.number = number;
        asked.unanswered += 1;
        Ping { number, silent }
    }

    /// An answer came: the member that it is of.
    pub(crate) fn answered(&self, number: u64, from: IpAddr) -> Option<SocketAddr> {
        let mut state = self.state();
        let of_it = |(member, asked): &(&SocketAddr, &mut Asked)| {
            asked.number == number && member.ip() == from
        };
        let (member, asked) = state.members.iter_mut().find(of_it)?;
        asked.unanswered = 0;
        Some(*member)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of the ping that a response with this branch answers.
pub(crate) fn number_of(branch: &str) -> Option<u64> {
    u64::from_str_radix(branch.strip_prefix(BRANCH)?, 16).ok()
}

/// One ping, from `us` (host and port).
pub(crate) fn options(transport: &str, us: &str, member: SocketAddr, number: u64) -> Bytes {
    let rport = if transport == "UDP" { ";rport" } else { "" };
    let scheme = if transport == "TLS" { "sips" } else { "sip" };
    let text = format!(
        "OPTIONS {scheme}:{member} SIP/2.0\r\nVia: SIP/2.0/{transport} {us};branch={BRANCH}{number:x}{rport}\r\nMax-Forwards: 70\r\n\
         From: <sip:ping@{us}>;tag=ping{number:x}\r\nTo: <{scheme}:{member}>\r\nCall-ID: ping{number:x}@{us}\r\nCSeq: 1 OPTIONS\r\n\
         Accept: application/sdp\r\nContent-Length: 0\r\n\r\n"
    );
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use hookswitch_sip::{limits::Limits, message::Message};

    use super::*;

    #[test]
    fn a_member_is_silent_after_two_pings_and_back_after_one_answer() {
        let (pings, member) = (Pings::default(), "192.0.2.1:5060".parse().unwrap());
        let silent = |pings: &Pings| pings.next(member).silent;
        assert_eq!(
            [silent(&pings), silent(&pings), silent(&pings)],
            [false, false, true]
        );
        let last = pings.next(member).number;
        assert_eq!(pings.answered(last - 1, member.ip()), None);
        assert_eq!(pings.answered(last, [192, 0, 2, 9].into()), None);
        assert_eq!(pings.answered(last, member.ip()), Some(member));
        assert!(!silent(&pings));
    }

    #[test]
    fn a_ping_is_a_request_that_can_be_answered_and_its_answer_is_known() {
        let member = "[2001:db8::1]:5061".parse().unwrap();
        let ping = options("TLS", "192.0.2.1:5061", member, 0xabc);
        let ping = Message::parse(ping, &Limits::default()).unwrap();
        assert_eq!(ping.request_uri(), Some("sips:[2001:db8::1]:5061"));
        assert!(ping.is_answerable());
        let answer = Message::response_to(&ping, 404, "", Some("t"));
        let via = answer.top_via().unwrap();
        assert_eq!(via.branch().and_then(number_of), Some(0xabc));
        assert_eq!(number_of("z9hG4bKhs00"), None);
    }
}
