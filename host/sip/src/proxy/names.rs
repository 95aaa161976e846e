//! What we write of ourselves into messages, and how we recognise it: Via, Record-Route, our own addresses and domains.

use std::net::IpAddr;

use super::{
    config::{ListenerConfig, ProxyConfig},
    via::ViaBranch,
};
use crate::{
    flow::{ListenerId, NameTags, Transport},
    header::Via,
    message::{HeaderName, Message},
    registrar::Aor,
    uri::{Host, Scheme, SipUri, Uri, unescape},
};

/// Made once from the configuration.
#[derive(Debug)]
pub(super) struct Names {
    listeners: Vec<Own>,
    tags: NameTags,
    domains: Vec<Domain>,
}

#[derive(Debug)]
struct Domain {
    name: String,
    host: OwnHost,
}

#[derive(Debug)]
struct Own {
    /// `SIP/2.0/UDP host:port;branch=`
    via_head: String,
    /// After the branch.
    via_tail: &'static str,
    /// `@host:port;lr>`
    route_tail: String,
    host: OwnHost,
    port: u16,
    transport: Transport,
}

#[derive(Debug)]
enum OwnHost {
    Name(String),
    Address(IpAddr),
}

impl Names {
    pub(super) fn new(config: &ProxyConfig) -> Self {
        let domain = |name: &String| Domain {
            name: name.to_ascii_lowercase(),
            host: OwnHost::new(name),
        };
        let domains = config.domains.iter().map(domain).collect();
        Self {
            listeners: config.listeners.iter().map(Own::new).collect(),
            tags: NameTags::new(
                config.listeners.iter().map(|each| each.name.as_str()),
                config.upstreams.iter().map(|each| each.name.as_str()),
            ),
            domains,
        }
    }

    /// What flow tokens call listeners and upstreams.
    pub(super) fn tags(&self) -> &NameTags {
        &self.tags
    }

    /// The value of our Via for what leaves by `listener`; over `transport`, which may be another than the listener's own. `None` if
    /// the listener is gone.
    pub(super) fn via(
        &self,
        listener: ListenerId,
        transport: Transport,
        branch: &ViaBranch,
    ) -> Option<String> {
        let own = self.listeners.get(usize::from(listener.0))?;
        if own.transport == transport {
            let mut via =
                String::with_capacity(own.via_head.len() + ViaBranch::LEN + own.via_tail.len());
            via.push_str(&own.via_head);
            branch.push_to(&mut via);
            via.push_str(own.via_tail);
            return Some(via);
        }
        Some(format!(
            "SIP/2.0/{} {};branch={branch}",
            via_transport(transport),
            own.host_port()
        ))
    }

    /// The value of our Record-Route towards whoever reaches us at `listener`; `None` if that is gone.
    pub(super) fn record_route(
        &self,
        scheme: Scheme,
        listener: ListenerId,
        token: &str,
    ) -> Option<String> {
        let own = self.listeners.get(usize::from(listener.0))?;
        Some(format!("<{scheme}:{token}{}", own.route_tail))
    }

    /// A URI that reaches us at `listener`; `None` if that is gone.
    pub(super) fn contact(&self, listener: ListenerId, user: &str) -> Option<String> {
        let own = self.listeners.get(usize::from(listener.0))?;
        let transport = route_transport(own.transport);
        Some(format!("sip:{user}@{}{transport}", own.host_port()))
    }

    /// Does the URI point at one of our listeners? Without a port, the host alone decides.
    pub(super) fn is_ours(&self, uri: &SipUri<'_>) -> bool {
        self.listeners
            .iter()
            .any(|own| own.is_at(uri.host, uri.port))
    }

    /// The branch parameters of ours in the Vias of `request`.
    pub(super) fn branches_in(&self, request: &Message) -> impl Iterator<Item = ViaBranch> {
        // Most Vias are of others, and need not be taken apart to see that.
        let vias = request
            .values(HeaderName::Via)
            .filter(|via| ViaBranch::may_be_in(via));
        vias.filter_map(|via| Via::parse(via).ok())
            .filter_map(|via| {
                let branch = ViaBranch::parse(via.branch()?)?;
                let is_at = |own: &Own| own.is_at(via.sent_by.host, via.sent_by.port);
                self.listeners.iter().any(is_at).then_some(branch)
            })
    }

    /// The address of record that `uri` names, if the registrar serves its domain. A listener's own address stands for the first
    /// domain: that is how trunks call.
    pub(super) fn aor(&self, uri: &Uri<'_>) -> Option<Aor> {
        let Uri::Sip(uri) = uri else { return None };
        let domain = self.domain_of(uri)?;
        let user = unescape(uri.user?);
        Some(Aor::new(&String::from_utf8_lossy(&user), domain))
    }

    /// Does the registrar serve the domain of `uri`? A REGISTER's Request-URI has no user.
    pub(super) fn is_local(&self, uri: &Uri<'_>) -> bool {
        match uri {
            Uri::Sip(uri) => self.domain_of(uri).is_some(),
            Uri::Tel(_) | Uri::Other(_) => false,
        }
    }

    /// Is its host one of the domains by name?
    pub(super) fn is_domain(&self, uri: &SipUri<'_>) -> bool {
        self.domains.iter().any(|domain| domain.host.is(uri.host))
    }

    /// The domain that `uri` names; the first for an address of ours, none for another host. Empty where all domains are one.
    fn domain_of(&self, uri: &SipUri<'_>) -> Option<&str> {
        let Some(first) = self.domains.first() else {
            return Some("");
        };
        let named = self.domains.iter().find(|domain| domain.host.is(uri.host));
        let domain = named.or_else(|| self.is_ours(uri).then_some(first));
        domain.map(|domain| domain.name.as_str())
    }
}

impl OwnHost {
    fn new(text: &str) -> Self {
        let address = text.trim_start_matches('[').trim_end_matches(']').parse();
        address.map_or_else(|_| Self::Name(text.to_owned()), Self::Address)
    }

    fn is(&self, host: Host<'_>) -> bool {
        match self {
            Self::Name(name) => host.is_same(Host::Name(name)),
            Self::Address(ip) => host.address() == Some(*ip),
        }
    }
}

impl Own {
    fn new(listener: &ListenerConfig) -> Self {
        let transport = listener.transport;
        let host = OwnHost::new(&listener.host);
        let mut own = Self {
            via_head: String::new(),
            // RFC 3581 §3: ask whoever answers a datagram to answer to where it came from.
            via_tail: if transport.is_reliable() {
                ""
            } else {
                ";rport"
            },
            route_tail: String::new(),
            host,
            port: listener.port,
            transport,
        };
        own.via_head = format!(
            "SIP/2.0/{} {};branch=",
            via_transport(transport),
            own.host_port()
        );
        own.route_tail = format!("@{}{};lr>", own.host_port(), route_transport(transport));
        own
    }

    fn host_port(&self) -> String {
        match &self.host {
            OwnHost::Name(name) => format!("{name}:{}", self.port),
            OwnHost::Address(IpAddr::V4(ip)) => format!("{ip}:{}", self.port),
            OwnHost::Address(IpAddr::V6(ip)) => format!("[{ip}]:{}", self.port),
        }
    }

    fn is_at(&self, host: Host<'_>, port: Option<u16>) -> bool {
        self.host.is(host) && port.is_none_or(|port| port == self.port)
    }
}

fn via_transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
        Transport::Tls => "TLS",
        Transport::Ws => "WS",
        Transport::Wss => "WSS",
    }
}

/// RFC 7118 §5.4 has one `ws` for both.
fn route_transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
        Transport::Tls => ";transport=tls",
        Transport::Ws | Transport::Wss => ";transport=ws",
    }
}

/// Where whoever names no port listens (RFC 3261 §18.1.1, §19.1.2).
pub(super) fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
        Transport::Ws => 80,
        Transport::Wss => 443,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        flow::WorkerId,
        token::{Key, Keyring},
    };

    fn names(domains: &[&str]) -> Names {
        let mut config = ProxyConfig::new(Keyring::new(Key::new(0, &[0; 32])));
        let listener = |name: &str, transport, host: &str, port| ListenerConfig {
            name: name.to_owned(),
            transport,
            host: host.to_owned(),
            port,
            flow_timer: None,
        };
        config.listeners = vec![
            listener("web", Transport::Wss, "proxy.example.com", 443),
            listener("udp6", Transport::Udp, "[2001:db8::1]", 5060),
        ];
        config.domains = domains.iter().map(|&domain| domain.to_owned()).collect();
        Names::new(&config)
    }

    fn aor(names: &Names, uri: &str) -> Option<String> {
        names
            .aor(&Uri::parse(uri).unwrap())
            .map(|aor| aor.to_string())
    }

    #[test]
    fn own_fields() {
        let names = names(&[]);
        let branch = ViaBranch {
            worker: WorkerId(1),
            number: 2,
            loop_hash: 3,
        };
        assert_eq!(
            names.via(ListenerId(1), Transport::Udp, &branch).as_deref(),
            Some("SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bKhs01000000000000000200000003;rport")
        );
        assert_eq!(
            names.via(ListenerId(1), Transport::Tcp, &branch).as_deref(),
            Some("SIP/2.0/TCP [2001:db8::1]:5060;branch=z9hG4bKhs01000000000000000200000003")
        );
        assert_eq!(
            names
                .record_route(Scheme::Sip, ListenerId(0), "T")
                .as_deref(),
            Some("<sip:T@proxy.example.com:443;transport=ws;lr>")
        );
        assert_eq!(names.via(ListenerId::GONE, Transport::Udp, &branch), None);
        let ours = |text| names.is_ours(&SipUri::from_text(text).unwrap());
        assert!(ours("sip:PROXY.example.com") && ours("sip:x@[2001:DB8:0::1]:5060;lr"));
        assert!(!ours("sip:proxy.example.com:5060") && !ours("sip:example.com"));
    }

    #[test]
    fn domains() {
        let named = names(&["Example.com", "other.org"]);
        assert_eq!(
            aor(&named, "sip:%61lice@EXAMPLE.com:5070;x=y").as_deref(),
            Some("sip:alice@example.com")
        );
        assert_eq!(
            aor(&named, "sips:alice@other.org.").as_deref(),
            Some("sip:alice@other.org")
        );
        assert_eq!(
            aor(&named, "sip:alice@[2001:db8::1]").as_deref(),
            Some("sip:alice@example.com")
        );
        assert_eq!(aor(&named, "sip:alice@elsewhere.net"), None);
        assert_eq!(aor(&named, "tel:+49"), None);
        // Without a list, every domain is one.
        assert_eq!(
            aor(&names(&[]), "sip:alice@elsewhere.net").as_deref(),
            Some("sip:alice")
        );
    }
}
