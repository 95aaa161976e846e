//! Who sends: what policies read and keep about a connection or, over UDP, about a peer's address. Outlives instances and reloads. It
//! rides on the flow, so that whoever works on a message has it at hand.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use hookswitch_policy::context::{self, AttributeEdit, Identity};
use hookswitch_sip::flow::{SessionKey, Transport};

/// Of one source, whatever policies set; more are dropped.
const ATTRIBUTES_MAX: usize = 256;

/// Of the name that a client gives to its session.
const SESSION_BYTES_MAX: usize = 128;

/// One peer.
#[derive(Debug)]
pub(crate) struct Source {
    transport: Transport,
    peer: SocketAddr,
    listener: Arc<str>,
    upgrade: Option<Box<Upgrade>>,
    /// What its certificate was verified for.
    certificate: Option<Box<str>>,
    given: Mutex<Given>,
}

/// What of the upgrade can be read later.
#[derive(Debug)]
struct Upgrade {
    origin: Option<String>,
    host: String,
    path: String,
    sni: Option<String>,
}

/// What policies gave it, and what they may take.
#[derive(Debug, Default)]
struct Given {
    identity: Option<Identity>,
    attributes: BTreeMap<String, String>,
    /// Of the upgrade.
    query: Option<String>,
}

impl Source {
    pub(crate) fn connection(
        transport: Transport,
        peer: SocketAddr,
        listener: Arc<str>,
        upgrade: &context::Upgrade,
    ) -> Self {
        let given = Given {
            query: upgrade.query.clone(),
            ..Given::default()
        };
        let upgrade = Upgrade {
            origin: upgrade.origin.clone(),
            host: upgrade.host.clone(),
            path: upgrade.path.clone(),
            sni: upgrade.sni.clone(),
        };
        Self {
            transport,
            peer,
            listener,
            upgrade: Some(Box::new(upgrade)),
            certificate: None,
            given: Mutex::new(given),
        }
    }

    /// Of datagrams, or of a stream that began without an upgrade.
    pub(crate) fn address(transport: Transport, peer: SocketAddr, listener: Arc<str>) -> Self {
        Self {
            transport,
            peer,
            listener,
            upgrade: None,
            certificate: None,
            given: Mutex::default(),
        }
    }

    /// The same, with what its certificate was verified for.
    pub(crate) fn verified(self, certificate: Option<String>) -> Self {
        Self {
            certificate: certificate.map(String::into_boxed_str),
            ..self
        }
    }

    /// That its client named in the query of the upgrade, `session=NAME`, if a policy said there who that is: somebody else who names
    /// it has another.
    pub(crate) fn session(&self) -> Option<SessionKey> {
        let identity = context::Source::identity(self)?;
        let given = self.given();
        let mut pairs = given.query.as_deref()?.split('&');
        let name = pairs.find_map(|pair| pair.strip_prefix("session="))?;
        let fits = (1..=SESSION_BYTES_MAX).contains(&name.len());
        fits.then(|| SessionKey::named(&identity, name))
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is there anything to remember?
    pub(crate) fn was_given_something(&self) -> bool {
        let given = self.given();
        given.identity.is_some() || !given.attributes.is_empty()
    }
}

impl context::Source for Source {
    fn transport(&self) -> &str {
        transport_name(self.transport)
    }
    fn peer(&self) -> String {
        self.peer.to_string()
    }
    fn address(&self) -> IpAddr {
        self.peer.ip()
    }
    fn listener(&self) -> &str {
        &self.listener
    }
    fn identity(&self) -> Option<String> {
        let given = self.given();
        let identity = given.identity.as_ref()?;
        let is_over = identity
            .until
            .is_some_and(|until| until <= SystemTime::now());
        (!is_over).then(|| identity.name.clone())
    }
    fn upgrade(&self, name: &str) -> Option<String> {
        if name == "certificate" {
            return self.certificate.as_deref().map(str::to_owned);
        }
        let upgrade = self.upgrade.as_deref()?;
        match name {
            "origin" => upgrade.origin.clone(),
            "host" => Some(upgrade.host.clone()),
            "path" => Some(upgrade.path.clone()),
            "query" => self.given().query.clone(),
            "sni" => upgrade.sni.clone(),
            _ => None,
        }
    }
    fn attribute(&self, key: &str) -> Option<String> {
        self.given().attributes.get(key).cloned()
    }
    fn attributes(&self) -> usize {
        self.given().attributes.len()
    }
    fn apply(&self, identity: Option<Identity>, attributes: Vec<AttributeEdit>) {
        let mut given = self.given();
        if identity.is_some() {
            given.identity = identity;
        }
        for (key, value) in attributes {
            let is_new = !given.attributes.contains_key(&key);
            match value {
                // Each policy has a limit of its own; hooks that run at the same time do not see each other's attributes.
                Some(_) if is_new && given.attributes.len() >= ATTRIBUTES_MAX => {}
                Some(value) => drop(given.attributes.insert(key, value)),
                None => drop(given.attributes.remove(&key)),
            }
        }
    }
    fn hide(&self, tokens: &[String]) {
        let query = &mut self.given().query;
        for token in tokens {
            *query = query.take().map(|query| query.replace(token, ""));
        }
    }
}

/// As the contract and the log name it.
pub(crate) fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
        Transport::Ws => "ws",
        Transport::Wss => "wss",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hookswitch_policy::context::Source as _;

    use super::*;

    #[test]
    fn a_source_has_no_more_attributes_than_its_limit() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 5060));
        let source = Source::address(Transport::Udp, peer, "udp".into());
        for index in 0..2 * ATTRIBUTES_MAX {
            source.apply(None, vec![(index.to_string(), Some("v".into()))]);
        }
        assert_eq!(source.attributes(), ATTRIBUTES_MAX);
        source.apply(
            None,
            vec![("0".into(), None), ("k".into(), Some("v".into()))],
        );
        assert_eq!(source.attribute("k").as_deref(), Some("v"));
    }

    #[test]
    fn a_session_is_named_by_somebody_who_is_known() {
        let session = |query: &str, identity: Option<&str>| {
            let upgrade = context::Upgrade {
                query: Some(query.to_owned()),
                ..context::Upgrade::default()
            };
            let peer = SocketAddr::from(([192, 0, 2, 1], 5060));
            let source = Source::connection(Transport::Wss, peer, "wss".into(), &upgrade);
            let identity = identity.map(|name| Identity {
                name: name.to_owned(),
                until: None,
            });
            source.apply(identity, Vec::new());
            source.session()
        };
        let of_alice = session("token=t&session=4f1c", Some("alice"));
        assert_eq!(of_alice, Some(SessionKey::named("alice", "4f1c")));
        assert_eq!(session("session=4f1c", Some("alice")), of_alice);
        assert_ne!(session("session=4f1c", Some("mallory")), of_alice);
        let long = format!("session={}", "x".repeat(SESSION_BYTES_MAX + 1));
        for query in ["session=", "sessions=4f1c", "token=session=4f1c", &long] {
            assert_eq!(session(query, Some("alice")), None, "{query}");
        }
        assert_eq!(session("session=4f1c", None), None);
    }

    #[test]
    fn an_identity_ends_with_its_time() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 5060));
        let source = Source::address(Transport::Udp, peer, "udp".into());
        let identify = |until| {
            let name = "alice".to_owned();
            source.apply(Some(Identity { name, until }), Vec::new());
            source.identity()
        };
        assert_eq!(identify(None).as_deref(), Some("alice"));
        let now = SystemTime::now();
        assert_eq!(identify(Some(now)), None);
        let later = now + Duration::from_secs(60);
        assert_eq!(identify(Some(later)).as_deref(), Some("alice"));
    }
}
