//! The calls that are up, as far as a server that goes down must know: begun by an INVITE's 2xx, ended by BYE. The proxy itself keeps
//! nothing of a call between its requests.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    time::{Duration, Instant},
};

use hookswitch_sip::{flow::FlowId, proxy::io::Ended};

/// A call whose BYE we have not seen for this long is thought to be over.
const CALL_MAX: Duration = Duration::from_secs(12 * 3_600);

/// Calls by the hash of their Call-ID, which all requests of a call have on the same worker.
#[derive(Debug)]
pub(super) struct OpenCalls<S> {
    begun: HashMap<u64, Call>,
    /// The calls of each connection, as long as it is open.
    of_flow: HashMap<FlowId, Vec<u64>>,
    hasher: S,
    calls_max: usize,
}

#[derive(Debug)]
struct Call {
    begun_at: Instant,
    /// Caller's and callee's, where they are known.
    flows: [Option<FlowId>; 2],
    /// Two, less those whose connection is gone.
    ends: usize,
}

impl<S: BuildHasher> OpenCalls<S> {
    pub(super) fn new(hasher: S, calls_max: usize) -> Self {
        Self {
            begun: HashMap::new(),
            of_flow: HashMap::new(),
            hasher,
            calls_max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.begun.len()
    }

    /// Beyond the limit calls are not known: they will not be waited for.
    pub(super) fn ended(&mut self, ended: &Ended, now: Instant) {
        let key = self.hasher.hash_one(ended.call_id());
        match (ended.method(), ended.in_dialog) {
            ("INVITE", false) if matches!(ended.status, 200..=299) => {
                self.forget(key);
                if self.begun.len() < self.calls_max {
                    self.begin(key, [Some(ended.flow.id), ended.callee], now);
                }
            }
            ("BYE", true) => self.forget(key),
            _ => {}
        }
    }

    /// Nobody is left who could end the calls of which both ends were on connections that are gone. One that has still an end is
    /// ended by it.
    pub(super) fn flow_closed(&mut self, flow: FlowId) {
        for key in self.of_flow.remove(&flow).unwrap_or_default() {
            let Some(call) = self.begun.get_mut(&key) else {
                continue;
            };
            let gone = call.flows.iter().filter(|own| **own == Some(flow));
            call.ends = call.ends.saturating_sub(gone.count());
            if call.ends == 0 {
                self.begun.remove(&key);
            }
        }
    }

    /// Forgets calls that have been up for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let old = self
            .begun
            .iter()
            .filter(|(_, call)| now.duration_since(call.begun_at) >= CALL_MAX);
        let old: Vec<u64> = old.map(|(key, _)| *key).collect();
        old.into_iter().for_each(|key| self.forget(key));
    }

    fn begin(&mut self, key: u64, flows: [Option<FlowId>; 2], now: Instant) {
        for flow in connections(flows) {
            self.of_flow.entry(flow).or_default().push(key);
        }
        let call = Call {
            begun_at: now,
            flows,
            ends: flows.len(),
        };
        self.begun.insert(key, call);
    }

    fn forget(&mut self, key: u64) {
        let Some(call) = self.begun.remove(&key) else {
            return;
        };
        for flow in connections(call.flows) {
            if let Some(keys) = self.of_flow.get_mut(&flow) {
                keys.retain(|of| *of != key);
                if keys.is_empty() {
                    self.of_flow.remove(&flow);
                }
            }
        }
    }
}

/// A datagram flow never closes.
fn connections(flows: [Option<FlowId>; 2]) -> impl Iterator<Item = FlowId> {
    let flows = flows.into_iter().flatten();
    flows.filter(|flow| matches!(flow, FlowId::Connection { .. }))
}

#[cfg(test)]
mod tests {
    use std::{hash::RandomState, sync::Arc};

    use hookswitch_sip::{
        flow::{Attachment, Flow, ListenerId, Side, Transport, WorkerId},
        message::{HeaderName, Message},
        proxy::io::{Cause, Origin},
    };

    use super::*;

    fn ended(method: &str, call_id: &str, in_dialog: bool, status: u16) -> Ended {
        let (listener, peer) = (ListenerId(0), ([192, 0, 2, 1], 5060).into());
        let mut request = Message::request(method, "sip:a@h").unwrap();
        request.set(HeaderName::CallId, call_id).unwrap();
        Ended {
            origin: Origin::Client,
            request: Arc::new(request),
            flow: Arc::new(Flow {
                id: FlowId::Datagram { listener, peer },
                transport: Transport::Udp,
                listener,
                peer,
                side: Side::Stranger,
                session: None,
                attachment: Attachment::default(),
            }),
            in_dialog,
            status,
            cause: Cause::Forwarded,
            detail: String::new(),
            upstream: None,
            callee: None,
            took: Duration::ZERO,
        }
    }

    #[test]
    fn a_call_is_up_from_its_2xx_to_its_bye() {
        let mut calls = OpenCalls::new(RandomState::new(), 2);
        let now = Instant::now();
        for (method, call_id, in_dialog, status, open) in [
            ("INVITE", "a", false, 486, 0),
            ("INVITE", "a", false, 200, 1),
            ("INVITE", "a", true, 200, 1),
            ("MESSAGE", "b", false, 200, 1),
            ("INVITE", "b", false, 200, 2),
            ("INVITE", "c", false, 200, 2),
            ("BYE", "a", false, 403, 2),
            ("BYE", "a", true, 200, 1),
            ("BYE", "b", true, 481, 0),
        ] {
            calls.ended(&ended(method, call_id, in_dialog, status), now);
            assert_eq!(calls.len(), open, "{method} {call_id}");
        }
    }

    #[test]
    fn calls_without_a_bye_are_forgotten_in_the_end() {
        let mut calls = OpenCalls::new(RandomState::new(), 2);
        let now = Instant::now();
        calls.ended(&ended("INVITE", "a", false, 200), now);
        let later = now + Duration::from_secs(60);
        calls.ended(&ended("INVITE", "b", false, 200), later);
        calls.expire(now + CALL_MAX);
        assert_eq!(calls.len(), 1);
        calls.expire(later + CALL_MAX);
        assert_eq!(calls.len(), 0);
    }

    #[test]
    fn a_call_is_over_when_both_its_connections_are_gone() {
        let mut calls = OpenCalls::new(RandomState::new(), 10);
        let connection = |serial| FlowId::Connection {
            worker: WorkerId(0),
            serial,
        };
        let mut invite = |call_id, caller, callee| {
            let mut ended = ended("INVITE", call_id, false, 200);
            Arc::get_mut(&mut ended.flow).unwrap().id = caller;
            ended.callee = Some(callee);
            calls.ended(&ended, Instant::now());
        };
        let pbx = FlowId::Datagram {
            listener: ListenerId(0),
            peer: ([192, 0, 2, 9], 5060).into(),
        };
        invite("tabs", connection(1), connection(2));
        invite("outbound", connection(1), pbx);
        invite("inbound", pbx, connection(2));
        calls.flow_closed(connection(1));
        assert_eq!(calls.len(), 3);
        calls.flow_closed(connection(2));
        // The PBX can still say BYE.
        assert_eq!(calls.len(), 2);
        calls.ended(&ended("BYE", "outbound", true, 200), Instant::now());
        calls.ended(&ended("BYE", "inbound", true, 200), Instant::now());
        assert_eq!((calls.len(), calls.of_flow.len()), (0, 0));
    }
}
