//! REGISTER of a local domain: from the message to what the store is asked, and from its answer to the 200 (RFC 3261 §10.3).

use std::{sync::Arc, time::Duration};

use super::{
    Proxy,
    asks::Waiting,
    contact::{Outbound, client_key, has_option, outbound, session_key},
    ids::TxId,
    io::{Cause, StoreOp, StoreReply},
    reply::Reply,
};
use crate::{
    flow::Flow,
    header::{Contact, NameAddr},
    message::{HeaderName, Message},
    registrar::{Aor, Binding, ContactUpdate, RegisterUpdate},
    uri::Uri,
};

impl Proxy {
    pub(super) fn register(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        let request = tx.outgoing.as_ref().unwrap_or(&tx.request);
        match self.read_register(request, &tx.flow) {
            Ok((aor, update)) => {
                let ask = self.ask_store(Waiting::Register(id), StoreOp::Register { aor, update });
                self.wait(id, ask);
            }
            Err(reply) => self.reply(
                id,
                Reply {
                    cause: Cause::Registrar,
                    ..reply
                },
            ),
        }
    }

    /// RFC 3261 §10.3 steps 5 and 6.
    fn read_register(
        &self,
        request: &Message,
        flow: &Arc<Flow>,
    ) -> Result<(Aor, RegisterUpdate), Reply> {
        let bad = |reason: &str| Reply::refuse(400, reason);
        let to = request.to().ok_or_else(|| bad("Malformed To"))?;
        let aor = to.parsed_uri().ok().and_then(|uri| self.names.aor(&uri));
        let aor = aor.ok_or_else(|| Reply::refuse(404, "No Such Address Of Record"))?;
        let call_id = request.call_id().unwrap_or_default().to_owned();
        let cseq = request.cseq().map_or(0, |cseq| cseq.number);
        let contacts = request
            .values(HeaderName::Contact)
            .map(Contact::parse)
            .collect::<Result<Vec<_>, _>>();
        let contacts = contacts.map_err(|_| bad("Malformed Contact"))?;
        let outbound = outbound(request, &contacts)?;
        let update = match contacts.as_slice() {
            [] => RegisterUpdate::Query,
            [Contact::Star] if request.number::<u32>(HeaderName::Expires) == Some(0) => {
                RegisterUpdate::RemoveAll { call_id, cseq }
            }
            [Contact::Star] => return Err(bad("Wildcard Contact Without Expires 0")),
            _ => {
                let contacts = contacts.iter().map(|contact| match contact {
                    Contact::Star => Err(bad("Wildcard Contact With Others")),
                    Contact::Address(contact) => {
                        self.read_contact(request, contact, &aor, outbound)
                    }
                });
                let contacts = contacts.collect::<Result<Vec<_>, _>>()?;
                if contacts.len() > self.config.registrar.contacts_max {
                    return Err(Reply::refuse(403, "Too Many Contacts"));
                }
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let path = request.values(HeaderName::Path).map(text).collect();
                let contacts_max = self.config.registrar.contacts_max;
                RegisterUpdate::Contacts {
                    call_id,
                    cseq,
                    contacts,
                    flow: Arc::clone(flow),
                    path,
                    contacts_max,
                }
            }
        };
        Ok((aor, update))
    }

    fn read_contact(
        &self,
        request: &Message,
        contact: &NameAddr<'_>,
        aor: &Aor,
        outbound: Outbound,
    ) -> Result<ContactUpdate, Reply> {
        let limits = &self.config.registrar;
        if !matches!(contact.parsed_uri(), Ok(Uri::Sip(_))) {
            return Err(Reply::refuse(400, "Contact Must Be A SIP URI"));
        }
        let seconds = contact
            .expires()
            .or_else(|| request.number(HeaderName::Expires));
        let wanted = seconds.map_or(limits.expires_default, |seconds| {
            Duration::from_secs(seconds.into())
        });
        if !wanted.is_zero() && wanted < limits.expires_min {
            let min = limits.expires_min.as_secs().to_string();
            return Err(Reply::new(423, Cause::Registrar).header(HeaderName::MinExpires, min));
        }
        Ok(ContactUpdate {
            uri: contact.uri.to_owned(),
            expires: wanted.min(limits.expires_max),
            q: contact.q().unwrap_or(1000),
            instance: contact.instance().map(str::to_owned),
            reg_id: contact.reg_id().filter(|_| outbound == Outbound::Applied),
            client: client_key(Some(aor), contact),
            session: session_key(Some(aor), contact.uri),
        })
    }

    pub(super) fn on_registered(&mut self, id: TxId, reply: StoreReply) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.ask = None;
        let reply = match reply {
            StoreReply::Bindings(bindings) => self.registered(id, &bindings),
            StoreReply::Refused { status, reason } => Reply {
                reason,
                ..Reply::new(status, Cause::Registrar)
            },
            StoreReply::Session(_) | StoreReply::Failed => {
                Reply::new(500, Cause::Registrar).detail("the location service failed")
            }
        };
        self.reply(id, reply);
    }

    /// RFC 3261 §10.3 step 8, RFC 3327 §5.3, RFC 5626 §6.
    fn registered(&mut self, id: TxId, bindings: &[Binding]) -> Reply {
        let mut reply = Reply::new(200, Cause::Registrar);
        for binding in bindings {
            reply = reply.header(HeaderName::Contact, self.contact_of(binding));
        }
        let Some(tx) = self.servers.get(&id) else {
            return reply;
        };
        let (request, flow) = (Arc::clone(&tx.request), Arc::clone(&tx.flow));
        for path in request.values(HeaderName::Path) {
            reply = reply.header(HeaderName::Path, String::from_utf8_lossy(path));
        }
        // RFC 5626 §6: only if it asked for that, and not for the sake of a flow that another one registered.
        let contacts = request.values(HeaderName::Contact).map(Contact::parse);
        let contacts: Vec<_> = contacts.filter_map(Result::ok).collect();
        if has_option(&request, HeaderName::Supported, b"outbound")
            && outbound(&request, &contacts).is_ok_and(|found| found == Outbound::Applied)
        {
            reply = reply.header(HeaderName::Require, "outbound");
            if let Some(timer) = self.flow_timer(&request, &flow) {
                reply = reply.header(HeaderName::FlowTimer, timer);
            }
        }
        reply
    }

    fn contact_of(&self, binding: &Binding) -> String {
        let left = binding.expires_at.saturating_duration_since(self.now());
        let mut contact = format!("<{}>;expires={}", binding.contact, left.as_secs());
        if binding.q < 1000 {
            contact.push_str(&format!(";q=0.{:03}", binding.q));
        }
        if let Some(instance) = &binding.instance {
            contact.push_str(&format!(";+sip.instance=\"<{instance}>\""));
        }
        if let Some(reg_id) = binding.reg_id {
            contact.push_str(&format!(";reg-id={reg_id}"));
        }
        contact
    }
}
