//! Who sends: what policies read and keep about a connection or, over UDP, about a peer's address. Outlives instances and reloads.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hookswitch_policy::context::{self, AttributeEdit};
use hookswitch_sip::flow::{Flow, FlowId, Transport};

/// One peer.
#[derive(Debug)]
pub(crate) struct Source {
    transport: Transport,
    peer: SocketAddr,
    listener: Arc<str>,
    upgrade: Option<Box<Upgrade>>,
    given: Mutex<Given>,
}

/// What of the upgrade can be read later.
#[derive(Debug)]
struct Upgrade {
    origin: Option<String>,
    host: String,
    path: String,
    query: Option<String>,
    sni: Option<String>,
}

/// What policies gave it.
#[derive(Debug, Default)]
struct Given {
    identity: Option<String>,
    attributes: BTreeMap<String, String>,
}

impl Source {
    pub(crate) fn connection(
        transport: Transport,
        peer: SocketAddr,
        listener: Arc<str>,
        upgrade: &context::Upgrade,
    ) -> Self {
        let upgrade = Upgrade {
            origin: upgrade.origin.clone(),
            host: upgrade.host.clone(),
            path: upgrade.path.clone(),
            query: upgrade.query.clone(),
            sni: upgrade.sni.clone(),
        };
        Self {
            transport,
            peer,
            listener,
            upgrade: Some(Box::new(upgrade)),
            given: Mutex::default(),
        }
    }

    fn datagram(flow: &Flow, listener: Arc<str>) -> Self {
        Self {
            transport: flow.transport,
            peer: flow.peer,
            listener,
            upgrade: None,
            given: Mutex::default(),
        }
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn was_given_something(&self) -> bool {
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
    fn listener(&self) -> &str {
        &self.listener
    }
    fn identity(&self) -> Option<String> {
        self.given().identity.clone()
    }
    fn upgrade(&self, name: &str) -> Option<String> {
        let upgrade = self.upgrade.as_deref()?;
        match name {
            "origin" => upgrade.origin.clone(),
            "host" => Some(upgrade.host.clone()),
            "path" => Some(upgrade.path.clone()),
            "query" => upgrade.query.clone(),
            "sni" => upgrade.sni.clone(),
            _ => None,
        }
    }
    fn attribute(&self, key: &str) -> Option<String> {
        self.given().attributes.get(key).cloned()
    }
    fn apply(&self, identity: Option<String>, attributes: Vec<AttributeEdit>) {
        let mut given = self.given();
        if identity.is_some() {
            given.identity = identity;
        }
        for (key, value) in attributes {
            match value {
                Some(value) => drop(given.attributes.insert(key, value)),
                None => drop(given.attributes.remove(&key)),
            }
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

/// The sources of all workers: a message is not always handled where its connection lives.
#[derive(Debug)]
pub(crate) struct Sources {
    connections: Mutex<HashMap<FlowId, Arc<Source>>>,
    datagrams: Mutex<Datagrams>,
    datagram_sources_max: usize,
}

#[derive(Debug, Default)]
struct Datagrams {
    sources: HashMap<FlowId, Arc<Source>>,
    /// The oldest is forgotten first.
    order: VecDeque<FlowId>,
}

impl Sources {
    pub(crate) fn new(datagram_sources_max: usize) -> Self {
        Self {
            connections: Mutex::default(),
            datagrams: Mutex::default(),
            datagram_sources_max,
        }
    }

    pub(crate) fn opened(&self, flow: FlowId, source: Arc<Source>) {
        lock(&self.connections).insert(flow, source);
    }

    pub(crate) fn closed(&self, flow: FlowId) {
        lock(&self.connections).remove(&flow);
    }

    /// Of a message that came on `flow`; a stand-in without attributes if that is closed by now.
    pub(crate) fn of(&self, flow: &Flow, listener: &Arc<str>) -> Arc<Source> {
        let known = match flow.id {
            FlowId::Connection { .. } => lock(&self.connections).get(&flow.id).cloned(),
            FlowId::Datagram { .. } => lock(&self.datagrams).sources.get(&flow.id).cloned(),
        };
        known.unwrap_or_else(|| Arc::new(Source::datagram(flow, Arc::clone(listener))))
    }

    /// After a hook: what policies gave to a datagram's source is worth keeping.
    pub(crate) fn keep(&self, flow: FlowId, source: &Arc<Source>) {
        if matches!(flow, FlowId::Connection { .. }) || !source.was_given_something() {
            return;
        }
        let mut datagrams = lock(&self.datagrams);
        if datagrams.sources.insert(flow, Arc::clone(source)).is_some() {
            return;
        }
        datagrams.order.push_back(flow);
        if datagrams.order.len() > self.datagram_sources_max
            && let Some(oldest) = datagrams.order.pop_front()
        {
            datagrams.sources.remove(&oldest);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use hookswitch_policy::context::Source as _;
    use hookswitch_sip::flow::{ListenerId, Side};

    use super::*;

    fn datagram(port: u16) -> Flow {
        let peer = SocketAddr::from(([192, 0, 2, 1], port));
        Flow {
            id: FlowId::Datagram {
                listener: ListenerId(0),
                peer,
            },
            transport: Transport::Udp,
            listener: ListenerId(0),
            peer,
            side: Side::Stranger,
        }
    }

    #[test]
    fn attributes_of_an_address_last_until_newer_ones_push_them_out() {
        let sources = Sources::new(2);
        let name: Arc<str> = "udp".into();
        let attribute = |port| sources.of(&datagram(port), &name).attribute("k");
        for port in 1..=3 {
            let flow = datagram(port);
            let source = sources.of(&flow, &name);
            source.apply(None, vec![("k".into(), Some(port.to_string()))]);
            sources.keep(flow.id, &source);
        }
        assert_eq!(attribute(1), None);
        assert_eq!(attribute(2).as_deref(), Some("2"));
        assert_eq!(attribute(3).as_deref(), Some("3"));
        assert_eq!(attribute(4), None);
    }
}
