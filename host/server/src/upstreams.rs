//! Where the members of the upstreams are now, and whose an address is. Names may lead elsewhere tomorrow: what they led to before is
//! remembered for a while, since dialogs go on there. Shared by all workers; never on the way of a message.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hookswitch_sip::{
    flow::{FlowId, ListenerId, Transport, UpstreamId},
    proxy::config::{Member, Way},
};

use crate::config;

/// Addresses that an upstream had before and may still use.
const FORMER_MEMBERS_MAX: usize = 64;
/// An address that a name no longer leads to may be somebody else's tomorrow: what comes from there is believed no longer than this.
const FORMER_BELIEVED_MAX: Duration = Duration::from_secs(3_600);

/// A member, and the name that led to it, which its certificate must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) member: Member,
    pub(crate) name: Option<Box<str>>,
}

/// All upstreams.
#[derive(Debug)]
pub(crate) struct Directory {
    upstreams: RwLock<Vec<Entry>>,
    /// Connections with upstreams, whoever opened them.
    connections: RwLock<Vec<(UpstreamId, IpAddr, FlowId)>>,
    /// Grows with each change.
    version: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    config: config::Upstream,
    /// How it is spoken to: of several in the configuration, the one that DNS chose.
    way: Way,
    members: Vec<Located>,
    /// The latest last.
    former: Vec<Located>,
    /// Of these, those whose messages are still taken as its own, and until when.
    believed: Vec<(IpAddr, Instant)>,
    /// How it was spoken to there, and until when it may still speak so.
    believed_ways: Vec<(Way, Instant)>,
}

impl Directory {
    pub(crate) fn new(upstreams: &[config::Upstream]) -> Self {
        let entry = |upstream: &config::Upstream| Entry {
            config: upstream.clone(),
            way: upstream.way(),
            members: located(&upstream.members),
            former: Vec::new(),
            believed: Vec::new(),
            believed_ways: Vec::new(),
        };
        Self {
            upstreams: RwLock::new(upstreams.iter().map(entry).collect()),
            connections: RwLock::default(),
            version: AtomicU64::new(0),
        }
    }

    /// Changes when anything does.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// As the proxy wants them.
    pub(crate) fn members(&self, id: UpstreamId) -> Vec<Member> {
        self.read(|upstreams| {
            let entry = upstreams.get(usize::from(id.0));
            let members = entry.into_iter().flat_map(|entry| &entry.members);
            members.map(|located| located.member).collect()
        })
    }

    /// How it is spoken to now.
    pub(crate) fn way(&self, id: UpstreamId) -> Option<Way> {
        self.read(|upstreams| upstreams.get(usize::from(id.0)).map(|entry| entry.way))
    }

    /// Replaces the members of an upstream. Says whether that changed anything.
    pub(crate) fn update(
        &self,
        id: UpstreamId,
        way: Way,
        members: Vec<Located>,
        now: Instant,
    ) -> bool {
        let mut upstreams = self
            .upstreams
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = upstreams.get_mut(usize::from(id.0)) else {
            return false;
        };
        if entry.forget(now) {
            self.version.fetch_add(1, Ordering::Release);
        }
        if entry.way == way && entry.members == members {
            return false;
        }
        let way_before = std::mem::replace(&mut entry.way, way);
        let before = std::mem::replace(&mut entry.members, members);
        entry.believe(&before, way_before, now + FORMER_BELIEVED_MAX);
        entry.former.retain(|former| !before.contains(former));
        entry.former.extend(before);
        let surplus = entry.former.len().saturating_sub(FORMER_MEMBERS_MAX);
        entry.former.drain(..surplus);
        self.version.fetch_add(1, Ordering::Release);
        true
    }

    /// The upstream that has a member there, or had one; else one that has a member on that machine.
    pub(crate) fn upstream_at(&self, peer: SocketAddr) -> Option<UpstreamId> {
        self.position(|entry| entry.all().any(|at| at == peer))
            .or_else(|| self.position(|entry| entry.all().any(|at| at.ip() == peer.ip())))
    }

    /// The upstream that has one of the names that a certificate was verified for. Else the one that sends from this address to this
    /// listener: its own, or one by which an address is harder to forge.
    pub(crate) fn upstream_from(
        &self,
        peer: IpAddr,
        listener: ListenerId,
        transport: Transport,
        certificate: &[String],
    ) -> Option<UpstreamId> {
        let shown =
            self.position(|entry| entry.asks_at(listener) && entry.is_named_in(certificate));
        if shown.is_some() {
            return shown;
        }
        let is_its_own = |entry: &Entry| entry.ways().any(|way| way.listener == listener);
        let is_harder = |entry: &Entry| {
            let mut ways = entry.ways();
            ways.any(|way| hardness(transport) > hardness(way.transport))
        };
        let is_from = |entry: &Entry| entry.is_from(peer, transport);
        self.position(|entry| is_its_own(entry) && is_from(entry))
            .or_else(|| self.position(|entry| is_harder(entry) && is_from(entry)))
    }

    /// A connection with a member is up.
    pub(crate) fn connected(&self, id: UpstreamId, peer: IpAddr, flow: FlowId) {
        let mut connections = self
            .connections
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        connections.push((id, peer, flow));
    }

    /// It is no more.
    pub(crate) fn disconnected(&self, flow: FlowId) {
        let mut connections = self
            .connections
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        connections.retain(|(_, _, other)| *other != flow);
    }

    /// The oldest with that machine of the upstream, or with one that is no member: its certificate or its range says whose it is.
    pub(crate) fn connection_of(&self, id: UpstreamId, peer: IpAddr) -> Option<FlowId> {
        let connections = self
            .connections
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let of_it = || connections.iter().filter(|(of, ..)| *of == id);
        let there = of_it().find(|(_, ip, _)| *ip == peer);
        let elsewhere = || {
            let members = self.members(id);
            let is_member = |ip: IpAddr| members.iter().any(|member| member.address.ip() == ip);
            of_it().find(|(_, ip, _)| !is_member(*ip))
        };
        there.or_else(elsewhere).map(|(_, _, flow)| *flow)
    }

    /// The name that led to this member.
    pub(crate) fn name_of(&self, id: UpstreamId, peer: SocketAddr) -> Option<Box<str>> {
        self.read(|upstreams| {
            let entry = upstreams.get(usize::from(id.0))?;
            let mut all = entry.members.iter().chain(&entry.former);
            all.find(|located| located.member.address == peer)?
                .name
                .clone()
        })
    }

    fn position(&self, fits: impl Fn(&Entry) -> bool) -> Option<UpstreamId> {
        let found = self.read(|upstreams| upstreams.iter().position(fits))?;
        u16::try_from(found).ok().map(UpstreamId)
    }

    fn read<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> T {
        look(
            &self
                .upstreams
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Entry {
    fn all(&self) -> impl Iterator<Item = SocketAddr> {
        let all = self.members.iter().chain(&self.former);
        all.map(|located| located.member.address)
    }

    fn is_from(&self, peer: IpAddr, transport: Transport) -> bool {
        match &self.config.sources {
            Some(sources) => sources.iter().any(|range| range.contains(peer)),
            // Whose certificates are known has one where they can be shown.
            None if transport == Transport::Tls && !self.config.certificates.is_empty() => false,
            None => {
                let mut members = self.members.iter();
                members.any(|located| located.member.address.ip() == peer)
                    || self.believed.iter().any(|(ip, _)| *ip == peer)
            }
        }
    }

    /// By which it may send: not all that its configuration allows, the easiest to forge of which may never be in use.
    fn ways(&self) -> impl Iterator<Item = Way> {
        let believed = self.believed_ways.iter().map(|(way, _)| *way);
        std::iter::once(self.way).chain(believed)
    }

    /// Drops what is believed no more. Says whether there was any.
    fn forget(&mut self, now: Instant) -> bool {
        let count = |entry: &Self| entry.believed.len() + entry.believed_ways.len();
        let before = count(self);
        self.believed.retain(|(_, until)| *until > now);
        self.believed_ways.retain(|(_, until)| *until > now);
        count(self) < before
    }

    /// Of each address once, the oldest make room; and the way to them, if that is another now.
    fn believe(&mut self, members: &[Located], way: Way, until: Instant) {
        // Without members nobody was spoken to by it.
        if way != self.way && !members.is_empty() {
            self.believed_ways.retain(|(known, _)| *known != way);
            self.believed_ways.push((way, until));
        }
        for ip in members.iter().map(|located| located.member.address.ip()) {
            self.believed.retain(|(known, _)| *known != ip);
            self.believed.push((ip, until));
        }
        let surplus = self.believed.len().saturating_sub(FORMER_MEMBERS_MAX);
        self.believed.drain(..surplus);
    }

    /// Do certificates say at this listener who it is? At others, whoever signs them may be trusted for phones alone.
    fn asks_at(&self, listener: ListenerId) -> bool {
        let own = self.config.ways.iter();
        let mut own = own.filter(|way| way.transport == Transport::Tls);
        own.clone().next().is_none() || own.any(|way| way.listener == listener)
    }

    /// Names are compared whole: `*` stands for nothing (RFC 5922 §7.2).
    fn is_named_in(&self, certificate: &[String]) -> bool {
        let is_ours = |name: &String| {
            let mut ours = self.config.certificates.iter();
            ours.any(|own| own.eq_ignore_ascii_case(name))
        };
        certificate.iter().any(is_ours)
    }
}

/// Those members whose address is in the configuration.
fn located(members: &[config::MemberAt]) -> Vec<Located> {
    let addresses = members.iter().filter_map(config::MemberAt::address);
    let located = addresses.map(|address| Located {
        member: address.into(),
        name: None,
    });
    located.collect()
}

/// How hard it is to send from the address of somebody else.
fn hardness(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
        // Browsers come by these, never upstreams.
        Transport::Ws | Transport::Wss => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn directory() -> Directory {
        let text = r#"
            [[listener]]
            name = "udp"
            transport = "udp"
            address = "0.0.0.0:5060"
            [[listener]]
            name = "tls"
            transport = "tls"
            address = "0.0.0.0:5061"
            [[upstream]]
            name = "plain"
            members = ["192.0.2.1:5060"]
            [[upstream]]
            name = "secure"
            transport = "tls"
            members = ["192.0.2.2:5061"]
            sources = ["192.0.2.0/28"]
            "#;
        let config = Config::parse(text, std::path::Path::new(".")).unwrap();
        Directory::new(&config.upstreams)
    }

    fn located(address: &str) -> Located {
        Located {
            member: Member::from(address.parse::<SocketAddr>().unwrap()),
            name: Some("pbx.example".into()),
        }
    }

    #[test]
    fn an_address_counts_where_it_is_at_least_as_hard_to_forge() {
        let directory = directory();
        let from = |ip: &str, listener, transport| {
            directory.upstream_from(ip.parse().unwrap(), ListenerId(listener), transport, &[])
        };
        assert_eq!(from("192.0.2.1", 0, Transport::Udp), Some(UpstreamId(0)));
        assert_eq!(from("192.0.2.2", 0, Transport::Udp), None);
        assert_eq!(from("192.0.2.9", 1, Transport::Tls), Some(UpstreamId(1)));
        assert_eq!(from("192.0.2.2", 7, Transport::Tcp), None);
        assert_eq!(from("192.0.2.1", 7, Transport::Tcp), Some(UpstreamId(0)));
        assert_eq!(from("192.0.2.1", 7, Transport::Wss), None);
    }

    #[test]
    fn a_certificate_counts_from_everywhere_and_an_address_not_where_one_can_be_shown() {
        let text = r#"
            [[listener]]
            name = "tls"
            transport = "tls"
            address = "0.0.0.0:5061"
            client_ca = "ca.pem"
            [[upstream]]
            name = "shown"
            transport = "tls"
            members = ["192.0.2.1:5061"]
            certificates = ["Sip.Carrier.Example"]
            [[upstream]]
            name = "both"
            transport = "tls"
            members = ["192.0.2.2:5061"]
            sources = ["192.0.2.2"]
            certificates = ["other.example"]
            "#;
        let config = Config::parse(text, std::path::Path::new(".")).unwrap();
        let directory = Directory::new(&config.upstreams);
        let from = |ip: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let (ip, tls) = (ip.parse().unwrap(), Transport::Tls);
            directory.upstream_from(ip, ListenerId(0), tls, &names)
        };
        let [shown, both] = [0, 1].map(|id| Some(UpstreamId(id)));
        let (ip, names) = ("203.0.113.9".parse().unwrap(), ["other.example".to_owned()]);
        let at =
            |listener| directory.upstream_from(ip, ListenerId(listener), Transport::Tls, &names);
        assert_eq!((at(0), at(1)), (both, None));
        assert_eq!(from("203.0.113.9", &["x", "SIP.carrier.example"]), shown);
        assert_eq!(from("192.0.2.1", &[]), None);
        assert_eq!(from("192.0.2.1", &["*.carrier.example"]), None);
        assert_eq!(from("192.0.2.2", &[]), both);
        assert_eq!(from("192.0.2.2", &["sip.carrier.example"]), shown);
    }

    #[test]
    fn where_dns_chooses_the_way_an_easier_one_counts_only_for_a_while_after_its_use() {
        let text = r#"
            [[listener]]
            name = "udp"
            transport = "udp"
            address = "0.0.0.0:5060"
            [[listener]]
            name = "tls"
            transport = "tls"
            address = "0.0.0.0:5061"
            [[upstream]]
            name = "auto"
            transport = "auto"
            members = ["pbx.example"]
            "#;
        let config = Config::parse(text, std::path::Path::new(".")).unwrap();
        let [udp, tls] = config.upstreams[0].ways[..] else {
            panic!("one for each listener");
        };
        let directory = Directory::new(&config.upstreams);
        let (id, members) = (UpstreamId(0), vec![located("192.0.2.1:5060")]);
        let counts = |way, now| {
            directory.update(id, way, members.clone(), now);
            let from = |way: Way| {
                let ip = "192.0.2.1".parse().unwrap();
                directory.upstream_from(ip, way.listener, way.transport, &[]) == Some(id)
            };
            (from(udp), from(tls))
        };
        let start = Instant::now();
        let later = start + FORMER_BELIEVED_MAX;
        assert_eq!(counts(tls, start), (false, true));
        assert_eq!(counts(udp, start), (true, true));
        assert_eq!(counts(tls, start), (true, true));
        assert_eq!(counts(tls, later - Duration::from_secs(1)), (true, true));
        assert_eq!(counts(tls, later), (false, true));
    }

    #[test]
    fn what_a_name_led_to_is_remembered_for_a_while() {
        let directory = directory();
        let (id, old): (_, SocketAddr) = (UpstreamId(0), "192.0.2.1:5060".parse().unwrap());
        let new = located("198.51.100.1:5060");
        let (way, now) = (directory.way(id).unwrap(), Instant::now());
        assert!(directory.update(id, way, vec![new.clone()], now));
        assert!(!directory.update(id, way, vec![new.clone()], now));
        assert_eq!((directory.version(), directory.members(id).len()), (1, 1));
        assert_eq!(directory.upstream_at(old), Some(id));
        assert_eq!(directory.upstream_at(new.member.address), Some(id));
        let name = directory.name_of(id, new.member.address);
        assert_eq!(name.as_deref(), Some("pbx.example"));
        for last in 0..=FORMER_MEMBERS_MAX {
            let there = located(&format!("203.0.113.{last}:5060"));
            directory.update(id, way, vec![there], now);
        }
        assert_eq!(directory.upstream_at(old), None);
    }

    #[test]
    fn an_address_that_a_name_has_left_is_not_believed_for_ever() {
        let directory = directory();
        let (id, old): (_, IpAddr) = (UpstreamId(0), "192.0.2.1".parse().unwrap());
        let (way, start) = (directory.way(id).unwrap(), Instant::now());
        let new = vec![located("198.51.100.1:5060")];
        let believed_at = |now| {
            directory.update(id, way, new.clone(), now);
            let from = directory.upstream_from(old, ListenerId(0), Transport::Udp, &[]);
            (from == Some(id), directory.version())
        };
        assert_eq!(believed_at(start), (true, 1));
        let later = start + FORMER_BELIEVED_MAX;
        assert_eq!(believed_at(later - Duration::from_secs(1)), (true, 1));
        // Whoever remembers whose an address is must look again.
        assert_eq!(believed_at(later), (false, 2));
    }
}
