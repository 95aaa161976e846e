//! Which worker a message belongs to: the place of its work, which need not be the place of its socket.
//!
//! A PBX that speaks from 5060 to 5060 is one socket, whatever the number of workers. A response goes to the worker that our branch
//! names, a request of a dialog to the one that its flow token names, and a new request either stays (a browser's) or is placed by
//! its Call-ID, so that retransmissions, CANCEL and ACK meet their INVITE. Nothing is verified here: a forged hint costs a hop.

use std::hash::BuildHasher;

use crate::{
    flow::WorkerId,
    header::NameAddr,
    message::{HeaderName, Message},
    proxy::via,
    token::Token,
    uri::SipUri,
};

/// What the branches that we write begin with; the number of the worker follows, in two lower-case hexadecimal digits.
pub const BRANCH_COOKIE: &str = via::COOKIE;

/// What a message came on, as far as its placement depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// A client's own connection, which lives on this worker.
    Client(WorkerId),
    /// A datagram, or a connection that many calls share.
    Shared,
}

/// The worker that `message` belongs to, of `workers` (at least one). Whoever knows `keyed` can choose a worker by a Call-ID, so it
/// has a secret key, the same for all workers of a process.
#[must_use]
pub fn owner(
    message: &Message,
    arrival: Arrival,
    workers: u8,
    keyed: &impl BuildHasher,
) -> WorkerId {
    if workers <= 1 {
        return WorkerId(0);
    }
    let hint = if message.is_request() {
        token_hint(message)
    } else {
        branch_hint(message)
    };
    let WorkerId(worker) = hint.unwrap_or_else(|| match arrival {
        Arrival::Client(worker) => worker,
        Arrival::Shared => by_call_id(message, workers, keyed),
    });
    // Tokens and branches may be older than a restart with fewer workers.
    WorkerId(worker.checked_rem(workers).unwrap_or(0))
}

fn branch_hint(response: &Message) -> Option<WorkerId> {
    via::ViaBranch::of(response).map(|branch| branch.worker)
}

/// In the topmost Route, or in the Request-URI where a strict router put it (RFC 3261 §16.4).
fn token_hint(request: &Message) -> Option<WorkerId> {
    // Without a Route there was no strict router, either.
    let route = request.values(HeaderName::Route).next()?;
    let in_route = || user_hint(NameAddr::split(route).ok()?.uri);
    let in_request_uri = || user_hint(request.request_uri()?);
    in_route().or_else(in_request_uri)
}

fn user_hint(uri: &str) -> Option<WorkerId> {
    Token::worker_hint(SipUri::from_text(uri)?.user?.as_bytes())
}

fn by_call_id(message: &Message, workers: u8, keyed: &impl BuildHasher) -> WorkerId {
    let hash = keyed.hash_one(message.call_id().unwrap_or_default());
    let place = hash.checked_rem(u64::from(workers)).unwrap_or(0);
    WorkerId(u8::try_from(place).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher, RandomState};

    use bytes::Bytes;

    use super::*;
    use crate::{
        flow::{ListenerId, NameTags, Transport},
        limits::Limits,
        token::{End, Key, Keyring, Reach},
    };

    /// With a key that everybody knows: a test is to replay.
    fn place(message: &Message, arrival: Arrival, workers: u8) -> WorkerId {
        let keyed = BuildHasherDefault::<DefaultHasher>::default();
        owner(message, arrival, workers, &keyed)
    }

    fn message(start: &str, fields: &str) -> Message {
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKhs03000000000000000100000002\r\n{fields}Call-ID: c\r\nCSeq: 1 BYE\r\n\
             From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nContent-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text), &Limits::default()).unwrap()
    }

    fn token(worker: u8) -> String {
        let peer = "192.0.2.1:5060".parse().unwrap();
        let end = End {
            reach: Reach::Hop {
                listener: ListenerId(0),
                transport: Transport::Udp,
                peer,
            },
            upstream: None,
        };
        let token = Token {
            worker: WorkerId(worker),
            passage: 1,
            branch: 0,
            caller: end,
            callee: end,
            ahead: 0,
            media: None,
        };
        let keys = Keyring::new(Key::new(0, &[1; 32]));
        token.seal(&keys, &NameTags::new(["udp"], []), b"c", b"1")
    }

    #[test]
    fn a_response_goes_where_its_request_was() {
        let response = message("SIP/2.0 200 OK", "");
        assert_eq!(
            place(&response, Arrival::Client(WorkerId(1)), 4),
            WorkerId(3)
        );
        assert_eq!(place(&response, Arrival::Shared, 2), WorkerId(1));
    }

    #[test]
    fn a_request_of_a_dialog_goes_where_its_token_says() {
        let route = format!("Route: <sip:{}@proxy;lr>\r\n", token(2));
        let request = message("BYE sip:b@h SIP/2.0", &route);
        assert_eq!(
            place(&request, Arrival::Client(WorkerId(1)), 4),
            WorkerId(2)
        );
        let strict = message(
            &format!("BYE sip:{}@proxy;lr SIP/2.0", token(2)),
            "Route: <sip:b@h>\r\n",
        );
        assert_eq!(place(&strict, Arrival::Shared, 4), WorkerId(2));
    }

    #[test]
    fn a_new_request_stays_or_goes_by_its_call_id() {
        let request = message("BYE sip:b@h SIP/2.0", "Route: <sip:alice@proxy;lr>\r\n");
        assert_eq!(
            place(&request, Arrival::Client(WorkerId(1)), 4),
            WorkerId(1)
        );
        let places: Vec<_> = (1..=8)
            .map(|workers| place(&request, Arrival::Shared, workers))
            .collect();
        assert_eq!(places[0], WorkerId(0));
        assert!(
            places
                .iter()
                .zip(1..)
                .all(|(place, workers)| place.0 < workers)
        );
        assert_eq!(place(&request, Arrival::Shared, 0), WorkerId(0));
    }

    #[test]
    fn a_call_id_is_placed_by_a_key() {
        let request = message("BYE sip:b@h SIP/2.0", "");
        let mut places: Vec<_> = (0..64)
            .map(|_| owner(&request, Arrival::Shared, 255, &RandomState::new()))
            .collect();
        places.dedup();
        assert!(places.len() > 1);
    }
}
