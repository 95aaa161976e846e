//! Dialogs of RFC 3261 §12: identifiers, Route set, remote target, CSeq of both sides.

use super::Agent;
use crate::wire::{self, Msg};

/// How far a dialog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialogState {
    /// A provisional response with a To tag made it.
    Early,
    /// A 2xx made or confirmed it.
    Confirmed,
    /// BYE, or a failure of the INVITE.
    Ended,
}

/// One end of a dialog.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The other's tag.
    pub remote_tag: String,
    /// How far it is.
    pub state: DialogState,
    /// The ACK that is owed: the CSeq of its INVITE.
    pub unacknowledged: Option<u32>,
    /// From of our requests, with tag.
    pub local: String,
    /// To of our requests, with tag.
    pub remote: String,
    /// In the order in which our requests carry it.
    pub route: Vec<String>,
    /// Contact of the other.
    pub target: String,
    /// Of our last request.
    pub local_cseq: u32,
    /// Of the other's last request.
    pub remote_cseq: u32,
    pub(super) ack: Option<(u32, Msg)>,
}

impl Dialog {
    /// RFC 3261 §12.2.1.1, both kinds of routers.
    pub(super) fn request(&self, method: &str, cseq: u32) -> Msg {
        let strict = self
            .route
            .first()
            .filter(|first| !wire::uri_of(first).contains(";lr"));
        let mut request = match strict {
            None => Msg::request(method, &self.target),
            Some(first) => Msg::request(method, wire::uri_of(first)),
        };
        request.push("From", &self.local);
        request.push("To", &self.remote);
        request.push("Call-ID", &self.call_id);
        request.push("CSeq", &format!("{cseq} {method}"));
        for route in self.route.iter().skip(usize::from(strict.is_some())) {
            request.push("Route", route);
        }
        if strict.is_some() {
            request.push("Route", &format!("<{}>", self.target));
        }
        request
    }
}

impl Agent {
    /// The dialog that a request or a response of the other side belongs to.
    pub(super) fn find_dialog(
        &self,
        call_id: &str,
        local_tag: &str,
        remote_tag: &str,
    ) -> Option<usize> {
        self.dialogs.iter().position(|d| {
            d.call_id == call_id && d.local_tag == local_tag && d.remote_tag == remote_tag
        })
    }

    /// The newest dialog in which requests can be sent.
    #[must_use]
    pub fn latest_dialog(&self) -> Option<usize> {
        self.dialogs
            .iter()
            .rposition(|d| d.state != DialogState::Ended)
            .or(self.dialogs.len().checked_sub(1))
    }

    /// RFC 3261 §12.1.2: the caller's end, made or confirmed by a response to the INVITE `client`.
    pub(super) fn dialog_from_response(&mut self, client: usize, response: &Msg) -> Option<usize> {
        let (local_tag, remote_tag) = (response.tag("From"), response.tag("To"));
        if remote_tag.is_empty() {
            return None;
        }
        let confirmed = response.status().is_some_and(|status| status >= 200);
        let contact = response
            .all("Contact")
            .first()
            .map(|contact| wire::uri_of(contact).to_owned());
        let mut route = response.all("Record-Route");
        route.reverse();
        if let Some(at) = self.find_dialog(response.header("Call-ID"), &local_tag, &remote_tag) {
            let dialog = &mut self.dialogs[at];
            if let Some(contact) = contact {
                dialog.target = contact;
            }
            if confirmed && dialog.state == DialogState::Early {
                dialog.state = DialogState::Confirmed;
                dialog.route = route;
            }
            return Some(at);
        }
        let request = &self.clients[client].request;
        if !request.tag("To").is_empty() {
            let what = "a 2xx in a dialog that is not ours";
            self.wrong(what, response);
            return None;
        }
        self.dialogs.push(Dialog {
            call_id: response.header("Call-ID").to_owned(),
            local_tag,
            remote_tag,
            state: if confirmed {
                DialogState::Confirmed
            } else {
                DialogState::Early
            },
            unacknowledged: None,
            local: request.header("From").to_owned(),
            remote: response.header("To").to_owned(),
            route,
            target: contact.unwrap_or_else(|| request.uri().to_owned()),
            local_cseq: request.cseq(),
            remote_cseq: 0,
            ack: None,
        });
        Some(self.dialogs.len() - 1)
    }

    /// RFC 3261 §12.1.1: the callee's end, made by our response `to` the INVITE.
    pub(super) fn dialog_from_request(&mut self, request: &Msg, response: &Msg) -> usize {
        let (local_tag, remote_tag) = (response.tag("To"), request.tag("From"));
        let confirmed = response.status().is_some_and(|status| status >= 200);
        if let Some(at) = self.find_dialog(request.header("Call-ID"), &local_tag, &remote_tag) {
            if confirmed && self.dialogs[at].state == DialogState::Early {
                self.dialogs[at].state = DialogState::Confirmed;
            }
            return at;
        }
        let contact = request
            .all("Contact")
            .first()
            .map(|contact| wire::uri_of(contact).to_owned());
        self.dialogs.push(Dialog {
            call_id: request.header("Call-ID").to_owned(),
            local_tag,
            remote_tag,
            state: if confirmed {
                DialogState::Confirmed
            } else {
                DialogState::Early
            },
            unacknowledged: None,
            local: response.header("To").to_owned(),
            remote: request.header("From").to_owned(),
            route: request.all("Record-Route"),
            target: contact.unwrap_or_default(),
            local_cseq: 100,
            remote_cseq: request.cseq(),
            ack: None,
        });
        self.dialogs.len() - 1
    }
}
