//! The calls that are up, as far as a server that goes down must know: begun by an INVITE's 2xx, ended by BYE. The proxy itself keeps
//! nothing of a call between its requests.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    time::{Duration, Instant},
};

use hookswitch_sip::proxy::io::Ended;

/// A call whose BYE we have not seen for this long is thought to be over.
const CALL_MAX: Duration = Duration::from_secs(12 * 3_600);

/// Calls by the hash of their Call-ID, which all requests of a call have on the same worker.
#[derive(Debug)]
pub(super) struct OpenCalls<S> {
    begun: HashMap<u64, Instant>,
    hasher: S,
    calls_max: usize,
}

impl<S: BuildHasher> OpenCalls<S> {
    pub(super) fn new(hasher: S, calls_max: usize) -> Self {
        Self {
            begun: HashMap::new(),
            hasher,
            calls_max,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.begun.len()
    }

    /// Beyond the limit calls are not known: they will not be waited for.
    pub(super) fn ended(&mut self, ended: &Ended, now: Instant) {
        let key = self.hasher.hash_one(&ended.call_id);
        match (ended.method.as_str(), ended.in_dialog) {
            ("INVITE", false) if matches!(ended.status, 200..=299) => {
                if self.begun.len() >= self.calls_max {
                    self.begun
                        .retain(|_, begun| now.duration_since(*begun) < CALL_MAX);
                }
                if self.begun.len() < self.calls_max {
                    self.begun.insert(key, now);
                }
            }
            ("BYE", true) => drop(self.begun.remove(&key)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{hash::RandomState, sync::Arc};

    use hookswitch_sip::{
        flow::{Flow, FlowId, ListenerId, Side, Transport},
        proxy::io::Cause,
    };

    use super::*;

    fn ended(method: &str, call_id: &str, in_dialog: bool, status: u16) -> Ended {
        let (listener, peer) = (ListenerId(0), ([192, 0, 2, 1], 5060).into());
        Ended {
            method: method.into(),
            request_uri: String::new(),
            from_uri: String::new(),
            to_uri: String::new(),
            call_id: call_id.into(),
            flow: Arc::new(Flow {
                id: FlowId::Datagram { listener, peer },
                transport: Transport::Udp,
                listener,
                peer,
                side: Side::Stranger,
            }),
            in_dialog,
            status,
            cause: Cause::Forwarded,
            detail: String::new(),
            upstream: None,
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
    fn calls_without_a_bye_make_room_in_the_end() {
        let mut calls = OpenCalls::new(RandomState::new(), 1);
        let now = Instant::now();
        calls.ended(&ended("INVITE", "a", false, 200), now);
        calls.ended(&ended("INVITE", "b", false, 200), now + CALL_MAX);
        calls.ended(&ended("BYE", "b", true, 200), now + CALL_MAX);
        assert_eq!(calls.len(), 0);
    }
}
