//! A request as it comes: which transaction it is of, and the checks of RFC 3261 §16.3.

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Proxy, Service,
    admit::Newcomer,
    ids::{TxId, TxKey},
    io::{Cause, DropCause, Policies},
    reply::Reply,
    route::Aim,
    server_tx::{Client, ServerEvent},
};
use crate::{
    flow::{Destination, Flow, FlowId, Side},
    header::Via,
    message::{HeaderName, Message, Method, text::push_number, unfold},
    uri::{Scheme, SipUri, Uri},
};

/// What a request without Max-Forwards gets (RFC 3261 §16.6 item 3).
pub(super) const MAX_FORWARDS: u8 = 70;
/// RFC 3261 §8.1.1.7
const MAGIC_COOKIE: &str = "z9hG4bK";

/// Room for a Via as clients write it, and what is added.
const STAMPED_BYTES: usize = 160;

/// Which way a request goes by its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ack,
    Cancel,
    Invite,
    Other,
}

impl Kind {
    fn of(request: &Message) -> Self {
        match request.method() {
            Some(Method::Ack) => Self::Ack,
            Some(Method::Cancel) => Self::Cancel,
            Some(Method::Invite) => Self::Invite,
            Some(_) | None => Self::Other,
        }
    }
}

/// What the checks came to.
pub(super) enum Checked {
    /// Goes on, there.
    Request(Aim),
    /// Answered at once.
    Reply(Reply),
}

impl Proxy {
    pub(super) fn on_request(&mut self, flow: Arc<Flow>, request: Message, policies: Policies) {
        let kind = Kind::of(&request);
        match kind {
            Kind::Ack => self.on_ack(&flow, request),
            Kind::Cancel => self.on_cancel(&flow, request),
            Kind::Invite | Kind::Other => {
                let Some(key) = self.tx_key(&request, &flow) else {
                    return self.dropped(DropCause::Unanswerable);
                };
                match self.by_key.get(&key) {
                    Some(&id) => self.on_retransmission(id),
                    None => self.admit(Newcomer {
                        key,
                        kind,
                        reply_to: reply_to(&request, &flow),
                        flow,
                        client: Client::There,
                        request,
                        policies,
                    }),
                }
            }
        }
    }

    /// RFC 3261 §17.2.3. ACK and CANCEL have the key of their INVITE if they come from where it came from: a callee knows the
    /// caller's Via, and must not end the call for others that it rings at (§9.2, §22.1).
    pub(super) fn tx_key(&self, request: &Message, flow: &Flow) -> Option<TxKey> {
        let via = request.top_via()?;
        let mut hasher = self.chance.hasher(b't');
        match (flow.side, flow.id) {
            // Its members, addresses and connections speak for one another.
            (Side::Upstream(id), _) => id.hash(&mut hasher),
            (Side::Web | Side::Stranger, id @ FlowId::Connection { .. }) => id.hash(&mut hasher),
            // A NAT may change the port between two datagrams.
            (Side::Web | Side::Stranger, FlowId::Datagram { peer, .. }) => {
                peer.ip().hash(&mut hasher);
            }
        }
        match request.method()? {
            Method::Ack | Method::Cancel => hasher.write(b"INVITE"),
            method => hasher.write(method.as_str().as_bytes()),
        }
        hasher.write_u8(0);
        hasher.write(via.sent_by.text.as_bytes());
        hasher.write_u8(0);
        match via
            .branch()
            .filter(|branch| branch.starts_with(MAGIC_COOKIE))
        {
            Some(branch) => hasher.write(branch.as_bytes()),
            // RFC 2543: whatever its retransmissions, its ACK and its CANCEL have in common.
            None => {
                hasher.write(request.call_id()?.as_bytes());
                hasher.write_u32(request.cseq()?.number);
                hasher.write(request.from_tag().unwrap_or_default().as_bytes());
                hasher.write_u8(0);
                hasher.write(request.request_uri()?.as_bytes());
            }
        }
        Some(TxKey(hasher.finish()))
    }

    fn on_retransmission(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        let actions = tx.step(ServerEvent::Request);
        self.act_server(id, actions, None);
    }

    /// RFC 3261 §16.3 and §16.4.
    pub(super) fn check(&self, request: &mut Message, flow: &Flow, loop_hash: u32) -> Checked {
        let is_options = request.method() == Some(Method::Options);
        if let Some(reply) = check_scheme(request) {
            return Checked::Reply(reply);
        }
        if request.max_forwards() == Some(0) {
            return Checked::Reply(if is_options {
                self.capabilities()
            } else {
                Reply::new(483, Cause::Refused)
            });
        }
        if self
            .names
            .branches_in(request)
            .any(|branch| branch.loop_hash == loop_hash)
        {
            return Checked::Reply(Reply::new(482, Cause::Refused));
        }
        let aim = match self.take_routes(request, flow) {
            Ok(aim) => aim,
            Err(reply) => return Checked::Reply(reply),
        };
        let dialog = aim.dialog();
        if let Some(reply) = check_extensions(request) {
            return Checked::Reply(reply);
        }
        if dialog.is_none() && self.service == Service::Draining {
            return Checked::Reply(self.unavailable(Cause::Overload).detail("draining"));
        }
        if dialog.is_none() && is_options && self.is_for_us(request) {
            return Checked::Reply(self.capabilities());
        }
        Checked::Request(aim)
    }

    /// A keep-alive or a probe: our address or domain, and no user (RFC 3261 §11).
    fn is_for_us(&self, request: &Message) -> bool {
        let uri = request.request_uri().and_then(SipUri::from_text);
        let is_us = |uri: &SipUri<'_>| self.names.is_ours(uri) || self.names.is_domain(uri);
        uri.is_some_and(|uri| uri.user.is_none() && is_us(&uri))
            && !request.contains(HeaderName::Route)
    }

    fn capabilities(&self) -> Reply {
        Reply::new(200, Cause::Answered)
            .header(HeaderName::Allow, "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, REFER, MESSAGE, INFO, UPDATE, PRACK, PUBLISH")
            .header(HeaderName::Accept, "application/sdp, */*")
            .header(HeaderName::Supported, "path, outbound")
    }

    /// The only 503 that leaves us: the PBX or client goes elsewhere for a while.
    pub(super) fn unavailable(&self, cause: Cause) -> Reply {
        Reply::new(503, cause).header(
            HeaderName::RetryAfter,
            self.config.timers.retry_after.as_secs().to_string(),
        )
    }

    /// Of everything that routing depends on (RFC 5393 §4.2); where it came from too, so that a request that a PBX sends back with
    /// the same Request-URI is a spiral the first time and a loop the second.
    pub(super) fn loop_hash(&self, request: &Message, flow: &Flow) -> u32 {
        let mut hasher = self.chance.hasher(b'l');
        flow.side.hash(&mut hasher);
        let mut add = |part: &[u8]| {
            hasher.write(part);
            hasher.write_u8(0);
        };
        add(request.request_uri().unwrap_or_default().as_bytes());
        add(request.call_id().unwrap_or_default().as_bytes());
        for single in [HeaderName::From, HeaderName::To, HeaderName::CSeq] {
            add(request.raw(single).unwrap_or_default());
        }
        for list in [
            HeaderName::Route,
            HeaderName::ProxyRequire,
            HeaderName::ProxyAuthorization,
        ] {
            if request.contains(list) {
                request.values(list).for_each(&mut add);
            }
        }
        (hasher.finish() >> 32) as u32
    }
}

/// Schemes that somebody behind us may understand; whatever else is one nobody does.
fn check_scheme(request: &Message) -> Option<Reply> {
    let uri = request.request_uri().unwrap_or_default();
    if Scheme::of(uri).is_some() {
        return None;
    }
    match Uri::parse(uri) {
        Ok(Uri::Sip(_) | Uri::Tel(_)) => None,
        Ok(Uri::Other(uri)) if uri.scheme.eq_ignore_ascii_case("urn") => None,
        Ok(Uri::Other(_)) | Err(_) => Some(Reply::new(416, Cause::Refused)),
    }
}

/// RFC 3261 §16.3 item 5: no extension asks anything of a proxy that we would know.
fn check_extensions(request: &Message) -> Option<Reply> {
    if !request.contains(HeaderName::ProxyRequire) {
        return None;
    }
    let tags: Vec<_> = request
        .values(HeaderName::ProxyRequire)
        .map(String::from_utf8_lossy)
        .collect();
    (!tags.is_empty())
        .then(|| Reply::new(420, Cause::Refused).header(HeaderName::Unsupported, tags.join(", ")))
}

/// Back on the flow that it came on; for a datagram without `rport` to the port of its Via (RFC 3261 §18.2.2).
pub(super) fn reply_to(request: &Message, flow: &Flow) -> Destination {
    match flow.id {
        FlowId::Connection { .. } => Destination::Flow(flow.id),
        FlowId::Datagram { listener, peer } => {
            let via = request.top_via();
            let asked_for = via.is_some_and(|via| via.rport().is_some());
            let port = via.and_then(|via| via.sent_by.port).unwrap_or(5060);
            let peer = if asked_for {
                peer
            } else {
                SocketAddr::new(peer.ip(), port)
            };
            Destination::Flow(FlowId::Datagram { listener, peer })
        }
    }
}

/// `received` where the Via names another host than the packet (RFC 3261 §18.2.1), and both where it asks for `rport` (RFC 3581 §4).
pub(super) fn stamp_via(request: &mut Message, peer: SocketAddr) {
    let Some(raw) = request.values(HeaderName::Via).next() else {
        return;
    };
    let raw = unfold(raw);
    let Ok(via) = Via::parse(&raw) else { return };
    let is_known = via.sent_by.host.address() == Some(peer.ip());
    if is_known && !via.params.iter().any(|(name, _)| is_stamp(name)) {
        return;
    }
    let value = stamped(&via, peer);
    // A Via that nobody may write (it has a NUL in it) stays as it is: responses go by the flow, not by the Via.
    let _ = request.replace_first_value(HeaderName::Via, value);
}

/// Is it a parameter that only we may write?
fn is_stamp(name: &str) -> bool {
    name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport")
}

fn stamped(via: &Via<'_>, peer: SocketAddr) -> String {
    let mut value = String::with_capacity(STAMPED_BYTES);
    value.extend(["SIP/2.0/", via.transport, " "]);
    value.extend(via.sent_by.text.split_ascii_whitespace());
    let mut asks_for_port = false;
    for (name, param) in via.params.iter() {
        if is_stamp(name) {
            asks_for_port |= name.eq_ignore_ascii_case("rport");
            continue;
        }
        value.extend([";", name]);
        if let Some(param) = param {
            value.extend(["=", param]);
        }
    }
    value.push_str(";received=");
    push_ip(&mut value, peer.ip());
    if asks_for_port {
        value.push_str(";rport=");
        push_number(&mut value, peer.port().into());
    }
    value
}

fn push_ip(text: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (index, octet) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    text.push('.');
                }
                push_number(text, octet.into());
            }
        }
        IpAddr::V6(ip) => text.push_str(&ip.to_string()),
    }
}
