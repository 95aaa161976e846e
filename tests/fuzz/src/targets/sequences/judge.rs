//! What must hold whatever happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Instant,
};

use bytes::Bytes;
use hookswitch_sip::{
    flow::{Destination, Flow, FlowId},
    header::Via,
    limits::Limits,
    message::{Fault, HeaderName, Message},
    proxy::{Gauges, Proxy, ProxyConfig, io::Ended, trunk::TrunkState},
};

use super::{
    login::MARK,
    peers::{self, Peer},
};

/// Of one input: every branch of a fork, its CANCELs, and what waited behind a gate.
const OUTPUTS_PER_INPUT_MAX: usize = 400;
/// Between two inputs. The longest wait has 400 retransmissions of each of some transactions.
const TIMERS_PER_WAIT_MAX: usize = 20_000;
/// What the proxy may add to a message: Via, Record-Route, Path, a Contact.
const ADDED_BYTES_MAX: usize = 4_096;

/// A server transaction as its client names it: the host that it is on, then sent-by, branch, Call-ID and CSeq. An answer goes to the
/// port of the Via, or to a new connection where that of the request is gone (RFC 3261 §18.2.2).
type Key = (IpAddr, String);

#[derive(Debug, Default)]
struct Answered {
    requests: usize,
    /// Final responses, but the 2xx to INVITE, of which a fork may have many.
    finals: BTreeSet<Bytes>,
}

pub(super) struct Judge {
    transactions: BTreeMap<Key, Answered>,
    /// As the Via below ours names them in responses that came: whoever answers may have changed it.
    named: BTreeSet<String>,
    longest: usize,
    /// Requests without a transaction are answered each time anew.
    counts_finals: bool,
    /// A peer said what we had answered an upstream.
    is_mark_known: bool,
    is_drained: bool,
}

impl Judge {
    pub(super) fn new(config: &ProxyConfig) -> Self {
        Self {
            transactions: BTreeMap::new(),
            named: BTreeSet::new(),
            longest: 0,
            counts_finals: config.limits.transactions_max > 1_000,
            is_mark_known: false,
            is_drained: false,
        }
    }

    pub(super) fn received(&mut self, flow: &Flow, message: &Message) {
        self.longest = self.longest.max(message.size());
        self.is_mark_known |= has_mark(&message.to_bytes());
        if message.is_request() {
            let key = (flow.peer.ip(), name(message.top_via(), message));
            self.transactions.entry(key).or_default().requests += 1;
        } else {
            self.named.insert(name(below_ours(message), message));
        }
    }

    /// The message, if it can be read.
    pub(super) fn sent(&mut self, to: Destination, bytes: &Bytes) -> Option<Message> {
        assert!(
            bytes.len() <= self.longest + ADDED_BYTES_MAX,
            "{} bytes",
            bytes.len()
        );
        let is_upstream = matches!(Peer::at(to), Some(Peer::Pbx | Peer::Pbx2 | Peer::Carrier));
        assert!(
            is_upstream || self.is_mark_known || !has_mark(bytes),
            "our credentials to {to:?}: {}",
            bytes.escape_ascii()
        );
        let message = match Message::parse(bytes.clone(), &WIDE) {
            Ok(message) => message,
            // The Via below ours is the peer's own.
            Err(error)
                if bytes.starts_with(b"SIP/2.0")
                    && error.fault == Fault::Malformed(HeaderName::Via) =>
            {
                return None;
            }
            Err(error) => panic!("{error}: {}", bytes.escape_ascii()),
        };
        let is_answer = message.status().is_some() && peers::is_at_a_peer(to);
        let is_asked_for = is_answer || peers::is_allowed(to) || self.is_of_upstream(&message);
        assert!(
            is_asked_for,
            "nobody asked for {to:?}: {}",
            bytes.escape_ascii()
        );
        if message.status().is_some_and(|status| status >= 200) {
            self.answered(to, &message, bytes);
        }
        Some(message)
    }

    /// An upstream may send by its Route wherever it likes. The Via below ours says whose request it was.
    fn is_of_upstream(&self, message: &Message) -> bool {
        let name = name(below_ours(message), message);
        let upstreams = [Peer::Pbx, Peer::Pbx2, Peer::Carrier].map(|peer| peer.flow().peer.ip());
        message.is_request()
            && upstreams
                .into_iter()
                .any(|host| self.transactions.contains_key(&(host, name.clone())))
    }

    fn answered(&mut self, to: Destination, message: &Message, bytes: &Bytes) {
        let is_invite = message
            .cseq()
            .is_some_and(|cseq| cseq.method.as_str() == "INVITE");
        if !self.counts_finals || (is_invite && message.status().is_some_and(|status| status < 300))
        {
            return;
        }
        let host = Peer::at(to).map(|peer| peer.flow().peer.ip());
        let host = host.or(to.peer().map(|peer| peer.ip()));
        let key = host.map(|host| (host, name(message.top_via(), message)));
        let asked = key.and_then(|key| self.transactions.get_mut(&key));
        let Some(asked) = asked else {
            let is_changed = self.named.contains(&name(message.top_via(), message));
            assert!(
                is_changed,
                "an answer that nobody waits for: {}",
                bytes.escape_ascii()
            );
            return;
        };
        asked.finals.insert(bytes.clone());
        assert!(
            asked.finals.len() <= asked.requests,
            "{} requests and {} final responses: {}",
            asked.requests,
            asked.finals.len(),
            bytes.escape_ascii()
        );
    }

    pub(super) fn ended(&mut self, ended: &Ended) {
        assert!(
            ended.status == 0 || (200..700).contains(&ended.status),
            "{ended:?}"
        );
        assert!(matches!(
            ended.flow.id,
            FlowId::Connection { .. } | FlowId::Datagram { .. }
        ));
    }

    /// Once we have taken our registrations back we do not make them again.
    pub(super) fn trunk_is(&self, state: &TrunkState, now: Instant) {
        match state {
            TrunkState::Registering => assert!(!self.is_drained),
            TrunkState::Registered { until } => assert!(!self.is_drained && *until > now),
            TrunkState::Failed { retry_at, .. } => assert!(!self.is_drained && *retry_at > now),
            TrunkState::Removed => assert!(self.is_drained),
        }
    }

    pub(super) fn drains(&mut self) {
        self.is_drained = true;
    }

    pub(super) fn drained(&self, outputs: usize) {
        assert!(
            outputs <= OUTPUTS_PER_INPUT_MAX,
            "{outputs} outputs of one input"
        );
    }

    pub(super) fn fired(&self, timers: usize) {
        assert!(timers <= TIMERS_PER_WAIT_MAX, "{timers} timers in one wait");
    }

    pub(super) fn at_rest(&self, proxy: &Proxy) {
        let gauges = proxy.gauges();
        // Timers are never taken out.
        let empty = Gauges {
            timers: gauges.timers,
            ..Gauges::default()
        };
        assert_eq!(gauges, empty, "{proxy:?}");
        assert_eq!(proxy.unanswered(), 0);
    }
}

const WIDE: Limits = Limits {
    message_bytes_max: Limits::MESSAGE_BYTES_MAX,
    header_count_max: usize::MAX,
    header_line_bytes_max: usize::MAX,
    body_bytes_max: usize::MAX,
};

fn below_ours(message: &Message) -> Option<Via<'_>> {
    let via = message.values(HeaderName::Via).nth(1)?;
    Via::parse(via).ok()
}

fn has_mark(bytes: &[u8]) -> bool {
    let mark = MARK.as_bytes();
    bytes.windows(mark.len()).any(|window| window == mark)
}

fn name(via: Option<Via<'_>>, message: &Message) -> String {
    // A quote that is never closed would reach into what we add to the Via.
    let branch = via.and_then(|via| via.branch()?.split(['"', ';']).next());
    let branch = branch.unwrap_or_default();
    let sent_by = via.map(|via| via.sent_by.text).unwrap_or_default();
    let cseq = message
        .cseq()
        .map(|cseq| format!("{} {}", cseq.number, cseq.method))
        .unwrap_or_default();
    let call = message.call_id().unwrap_or_default();
    let name = format!("{sent_by} {branch} {call} {cseq}");
    // What was folded may have been joined meanwhile.
    name.split_whitespace().collect()
}
