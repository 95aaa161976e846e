//! REGISTER on its way to a PBX that is the registrar, and the requests of that PBX for the clients that it knows by it.
//!
//! The PBX learns a way through us: by Path (RFC 3327), or, if it does not know that, by a Contact of ours in the place of the client's
//! own, which comes back in the answer. Either has a client token in it. What the PBX accepted is noted by the location service, which
//! finds the client's flow again by the token.

use std::{sync::Arc, time::Duration};

use super::{
    Proxy,
    asks::Waiting,
    config::Announce,
    contact::{client_key, has_option, is_first_hop, is_outbound, session_key},
    flows::at_binding,
    ids::{BranchId, TxId},
    io::{AskId, Cause, Output, StoreOp, StoreReply},
    place::Place,
    reply::Reply,
    seal::next_scheme,
    server_tx::ServerTx,
    targets::place_only,
};
use crate::{
    flow::{Flow, Side, UpstreamId},
    header::{Contact, NameAddr},
    message::{HeaderName, Message, MessageError, Method},
    registrar::{Aor, ContactUpdate, RegisterUpdate, contact_address},
    token::ClientKey,
    uri::SipUri,
};

/// A Contact of ours, and the client's own that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alias {
    token: String,
    contact: String,
}

impl Proxy {
    /// To the upstream that is the registrar.
    pub(super) fn relay_register(&mut self, id: TxId, upstream: UpstreamId) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        match self.place_at_upstream(upstream, tx.to_tag) {
            Some(place) => self.go_to(id, vec![place_only(place)]),
            None => self.reply(id, Reply::new(500, Cause::Unreachable)),
        }
    }

    /// Writes the way through us into a REGISTER that goes to an upstream.
    pub(super) fn announce(
        &self,
        request: &mut Message,
        tx: &ServerTx,
        place: &Place,
    ) -> Result<Vec<Alias>, MessageError> {
        let upstream = place
            .upstream()
            .and_then(|id| self.config.upstreams.get(usize::from(id.0)));
        let (Some(upstream), Some(Method::Register)) = (upstream, request.method()) else {
            return Ok(Vec::new());
        };
        let aor = self.registered_aor(&tx.request);
        match upstream.announce {
            Announce::Path => {
                self.add_path(request, aor.as_ref(), place)?;
                Ok(Vec::new())
            }
            Announce::Contact => self.alias_contacts(request, aor.as_ref(), place),
        }
    }

    fn registered_aor(&self, request: &Message) -> Option<Aor> {
        self.names.aor(&request.to()?.parsed_uri().ok()?)
    }

    /// RFC 3327 §5.2. A client that does not know of Path is no reason for the registrar to refuse it (§5.1).
    fn add_path(
        &self,
        request: &mut Message,
        aor: Option<&Aor>,
        place: &Place,
    ) -> Result<(), MessageError> {
        let contact = request.values(HeaderName::Contact).next();
        let contact = contact.and_then(|value| NameAddr::parse(value).ok());
        let path = contact.and_then(|contact| {
            let token = client_key(aor, &contact).seal(&self.config.keys);
            let (scheme, listener) = (next_scheme(request), place.listener);
            let path = self.names.record_route(scheme, listener, &token)?;
            // RFC 5626 §5.1: who is the first hop says so, or the registrar would not take it for one flow of several.
            Some(match is_outbound(&contact) && is_first_hop(request) {
                true => format!("{};ob>", path.trim_end_matches('>')),
                false => path,
            })
        });
        if let Some(path) = path {
            request.prepend(HeaderName::Path, path)?;
        }
        let is_path = |tag: &[u8]| tag.eq_ignore_ascii_case(b"path");
        if !request.values(HeaderName::Supported).any(is_path) {
            request.append(HeaderName::Supported, "path")?;
        }
        Ok(())
    }

    /// Each Contact becomes one of ours; its parameters stay.
    fn alias_contacts(
        &self,
        request: &mut Message,
        aor: Option<&Aor>,
        place: &Place,
    ) -> Result<Vec<Alias>, MessageError> {
        let (mut aliases, mut values) = (Vec::new(), Vec::new());
        for value in request.values(HeaderName::Contact) {
            let address = NameAddr::parse(value).ok();
            let own = address.and_then(|address| {
                let token = client_key(aor, &address).seal(&self.config.keys);
                let uri = self.names.contact(place.listener, &token)?;
                Some((address.uri, token, uri))
            });
            values.push(match own {
                Some((contact, token, uri)) => {
                    aliases.push(Alias {
                        token,
                        contact: contact.to_owned(),
                    });
                    with_uri(value, contact, &uri)
                }
                // `*`, and what nobody can read.
                None => value.to_vec(),
            });
        }
        request.set_values(HeaderName::Contact, &values)?;
        Ok(aliases)
    }

    /// Puts the client's own Contacts into the answer to its REGISTER, and tells the location service what the PBX granted.
    pub(super) fn take_registered(&mut self, id: BranchId, response: &mut Message) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let Some(tx) = self.servers.get(&branch.tx) else {
            return;
        };
        if branch.candidate.place.upstream().is_none() {
            return;
        }
        restore_contacts(response, &branch.aliases);
        if !response.status().is_some_and(|s| (200..300).contains(&s)) {
            return;
        }
        let (request, flow) = (Arc::clone(&tx.request), Arc::clone(&tx.flow));
        if has_option(response, HeaderName::Require, b"outbound")
            && let Some(timer) = self.flow_timer(&request, &flow)
        {
            // A number: it cannot be refused but for a response that is too large already.
            let _ = response.set(HeaderName::FlowTimer, timer);
        }
        if let Some((aor, update)) = self.granted(&request, &flow, response) {
            // Nobody waits for it: the registrar has decided.
            let id = AskId(self.next_id());
            let op = StoreOp::Register { aor, update };
            self.outputs.push_back(Output::Store { id, op });
        }
    }

    fn granted(
        &self,
        request: &Message,
        flow: &Arc<Flow>,
        response: &Message,
    ) -> Option<(Aor, RegisterUpdate)> {
        let aor = self.registered_aor(request)?;
        let call_id = request.call_id()?.to_owned();
        let cseq = request.cseq()?.number;
        let mut contacts = Vec::new();
        for value in request.values(HeaderName::Contact) {
            match Contact::parse(value).ok()? {
                Contact::Star => {
                    return Some((aor, RegisterUpdate::RemoveAll { call_id, cseq }));
                }
                Contact::Address(contact) => {
                    contacts.push(ContactUpdate {
                        uri: contact.uri.to_owned(),
                        expires: granted_expires(request, response, &contact),
                        q: contact.q().unwrap_or(1000),
                        instance: contact.instance().map(str::to_owned),
                        reg_id: contact.reg_id(),
                        client: client_key(Some(&aor), &contact),
                        session: session_key(Some(&aor), contact.uri),
                    });
                }
            }
        }
        let update = RegisterUpdate::Contacts {
            call_id,
            cseq,
            contacts,
            flow: Arc::clone(flow),
            path: Vec::new(),
            contacts_max: self.config.registrar.contacts_max,
        };
        Some((aor, update))
    }

    /// Whom a client token means, in a Route or as the Request-URI; only an upstream has one from us.
    ///
    /// # Errors
    /// 403 for one that is not ours or comes from elsewhere.
    pub(super) fn open_client(&self, token: &str, flow: &Flow) -> Option<Result<ClientKey, Reply>> {
        let refuse = |why: String| Reply::refuse(403, "Client Token Not Valid Here").detail(why);
        let opened = ClientKey::open(&self.config.keys, token)?;
        Some(match (opened, flow.side) {
            (Ok(key), Side::Upstream(_)) => Ok(key),
            (Ok(_), Side::Web | Side::Stranger) => Err(refuse(
                "client token from one who is no upstream".to_owned(),
            )),
            (Err(error), _) => Err(refuse(error.to_string())),
        })
    }

    /// A PBX that does not know of Path has our Contact for the client's.
    pub(super) fn client_in_request_uri(
        &self,
        request: &Message,
        flow: &Flow,
    ) -> Option<Result<ClientKey, Reply>> {
        let uri = request.request_uri().and_then(SipUri::from_text)?;
        let user = uri.user.filter(|_| self.names.is_ours(&uri))?;
        self.open_client(user, flow)
    }

    /// To the client that the PBX means.
    pub(super) fn route_client(&mut self, id: TxId, key: ClientKey) {
        let ask = self.ask_store(Waiting::Client(id), StoreOp::Client { key });
        self.wait(id, ask);
    }

    pub(super) fn on_client(&mut self, id: TxId, reply: StoreReply) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.ask = None;
        let bindings = match reply {
            StoreReply::Bindings(bindings) => bindings,
            StoreReply::Session(_) | StoreReply::Refused { .. } | StoreReply::Failed => {
                let failed = Reply::new(500, Cause::Unreachable);
                return self.reply(id, failed.detail("the location service failed"));
            }
        };
        match bindings.first().and_then(at_binding) {
            Some(candidate) => self.go_to(id, vec![candidate]),
            // RFC 5626 §5.3.1: the registrar may try another flow, or forget this one.
            None => self.reply(id, Reply::new(430, Cause::Unreachable)),
        }
    }
}

/// The value with another URI in the place of `old`, which it contains.
fn with_uri(value: &[u8], old: &str, new: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(value);
    let Some((head, tail)) = text.rsplit_once(old) else {
        return value.to_vec();
    };
    // Without brackets the parameters would be the URI's (RFC 3261 §20.10).
    match head.ends_with('<') {
        true => format!("{head}{new}{tail}").into_bytes(),
        false => format!("{head}<{new}>{tail}").into_bytes(),
    }
}

fn restore_contacts(response: &mut Message, aliases: &[Alias]) {
    if aliases.is_empty() {
        return;
    }
    let restored = |value: &[u8]| {
        let uri = NameAddr::parse(value).ok()?.uri;
        let user = SipUri::from_text(uri)?.user?;
        let alias = aliases.iter().find(|alias| alias.token == user)?;
        Some(with_uri(value, uri, &alias.contact))
    };
    let values: Vec<_> = response
        .values(HeaderName::Contact)
        .map(|value| restored(value).unwrap_or_else(|| value.to_vec()))
        .collect();
    // Values that were there and one that the client wrote: what cannot be written again stays as it is.
    let _ = response.set_values(HeaderName::Contact, &values);
}

/// What the answer says of this contact (RFC 3261 §10.2.4). A PBX that lists its contacts in another form is believed to have granted
/// what was asked.
fn granted_expires(request: &Message, response: &Message, contact: &NameAddr<'_>) -> Duration {
    let seconds = |message: &Message| message.number::<u32>(HeaderName::Expires);
    let asked = contact.expires().or_else(|| seconds(request));
    let address = contact_address(contact.uri);
    let listed = response
        .values(HeaderName::Contact)
        .filter_map(|value| NameAddr::parse(value).ok())
        .find(|listed| contact_address(listed.uri) == address);
    let granted = match (asked, listed) {
        (Some(0), _) => Some(0),
        (asked, Some(listed)) => listed.expires().or_else(|| seconds(response)).or(asked),
        (asked, None) => seconds(response).or(asked),
    };
    Duration::from_secs(u64::from(granted.unwrap_or(EXPIRES_DEFAULT_S)))
}

/// RFC 3261 §10.2.1.1 suggests an hour.
const EXPIRES_DEFAULT_S: u32 = 3_600;
