//! Which client and session a Contact is of, and whether by one flow of several (RFC 5626).

use super::{Proxy, io::Output, names::Names, reply::Reply};
use crate::{
    flow::{Flow, SessionKey},
    header::{Contact, NameAddr},
    message::{HeaderName, Message},
    registrar::{Aor, contact_address},
    token::ClientKey,
    uri::SipUri,
};

/// By instance and reg-id where it names an instance (RFC 5626 §6), else by its address.
pub(super) fn client_key(aor: Option<&Aor>, contact: &NameAddr<'_>) -> ClientKey {
    let aor = aor.map_or("", Aor::as_str);
    match (contact.instance(), contact.reg_id()) {
        (Some(instance), reg_id) => {
            let reg_id = reg_id.unwrap_or_default().to_be_bytes();
            ClientKey::new(aor, [&b"instance"[..], instance.as_bytes(), &reg_id])
        }
        (None, _) => ClientKey::new(aor, [contact_address(contact.uri).as_bytes()]),
    }
}

/// By its address alone.
pub(super) fn session_key(aor: Option<&Aor>, contact: &str) -> SessionKey {
    let aor = aor.map_or("", Aor::as_str);
    SessionKey::registered(aor, contact_address(contact).as_bytes())
}

/// The session that a message speaks for, of the user in this field.
pub(super) fn session_of(names: &Names, message: &Message, party: HeaderName) -> SessionKey {
    let address = |value| NameAddr::split(value).ok();
    let user = message.raw(party).and_then(address);
    let aor = user.and_then(|user| names.aor(&user.parsed_uri().ok()?));
    let contact = message.values(HeaderName::Contact).next();
    let contact = contact.and_then(|value| NameAddr::parse(value).ok());
    session_key(aor.as_ref(), contact.map_or("", |contact| contact.uri))
}

/// Does it ask for a binding that is one flow of several (RFC 5626 §6)?
pub(super) fn is_outbound(contact: &NameAddr<'_>) -> bool {
    contact.instance().is_some() && contact.reg_id().is_some()
}

/// How the registrar takes the `reg-id`s of a REGISTER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outbound {
    /// Each names one flow of its instance.
    Applied,
    /// As if there were none.
    Ignored,
}

/// RFC 5626 §6.
///
/// # Errors
/// 400 for several Contacts with a `reg-id` among them, 439 if whoever stands between us and the client cannot tell its flows apart.
pub(super) fn outbound(request: &Message, contacts: &[Contact<'_>]) -> Result<Outbound, Reply> {
    let addresses = contacts.iter().filter_map(|contact| match contact {
        Contact::Star => None,
        Contact::Address(address) => Some(address),
    });
    let is_removal = |contact: &NameAddr<'_>| {
        let expires = contact.expires();
        expires.or_else(|| request.number(HeaderName::Expires)) == Some(0)
    };
    let added = || addresses.clone().filter(|contact| !is_removal(contact));
    if !addresses.clone().any(is_outbound) {
        return Ok(Outbound::Ignored);
    }
    if added().count() > 1 && added().any(is_outbound) {
        return Err(Reply::refuse(400, "One Contact With Reg-Id At A Time"));
    }
    if is_first_hop(request) || edge_knows_outbound(request) {
        return Ok(Outbound::Applied);
    }
    match has_option(request, HeaderName::Supported, b"outbound") {
        true => Err(Reply::refuse(439, "")),
        false => Ok(Outbound::Ignored),
    }
}

/// It came from its client, and not by way of another proxy.
pub(super) fn is_first_hop(request: &Message) -> bool {
    request.values(HeaderName::Via).count() == 1
}

/// The first of the proxies before us, whose Path is the last.
fn edge_knows_outbound(request: &Message) -> bool {
    let edge = request.values(HeaderName::Path).last();
    let edge = edge.and_then(|path| NameAddr::parse(path).ok());
    edge.and_then(|edge| SipUri::from_text(edge.uri))
        .is_some_and(|uri| uri.params.has("ob"))
}

/// Is `option` one of the tags in this field?
pub(super) fn has_option(message: &Message, name: HeaderName, option: &[u8]) -> bool {
    message
        .values(name)
        .any(|tag| tag.eq_ignore_ascii_case(option))
}

impl Proxy {
    /// The value of Flow-Timer in the answer to this REGISTER, if outbound was applied (RFC 5626 §5.4). A flow that brings it from
    /// another proxy is not the client's to keep alive.
    pub(super) fn flow_timer(&mut self, register: &Message, flow: &Flow) -> Option<String> {
        let listener = self.config.listeners.get(usize::from(flow.listener.0));
        let timer = listener?.flow_timer.filter(|_| is_first_hop(register))?;
        let flow = flow.id;
        self.outputs.push_back(Output::FlowTimer { flow, timer });
        Some(timer.as_secs().to_string())
    }
}
