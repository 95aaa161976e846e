//! What the test destinations say in SIP: responses with what RFC 3261 §8.2.6, §12.1.1 and §20.5 want in them, and their BYE.

use std::net::SocketAddr;

use bytes::Bytes;
use hookswitch_sip::message::{HeaderName, Message, MessageError, unfold};

const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE";
const SDP: &str = "application/sdp";

/// A response to be.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) fields: Vec<(HeaderName, String)>,
    /// A session description.
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            fields: vec![(HeaderName::Allow, ALLOW.to_owned())],
            body: Bytes::new(),
        }
    }

    pub(super) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// A 2xx that has the session in it, from `contact`.
    pub(super) fn session(contact: &str, body: Bytes) -> Self {
        let reply = Self {
            body,
            ..Self::new(200)
        };
        reply.with(HeaderName::Contact, format!("<{contact}>"))
    }

    /// # Errors
    /// Something in the request cannot be repeated.
    pub(super) fn write(&self, request: &Message, tag: &str) -> Result<Message, MessageError> {
        let mut response = Message::response_to(request, self.status, "", Some(tag));
        if (101..300).contains(&self.status) {
            for route in request.values(HeaderName::RecordRoute) {
                response.append(HeaderName::RecordRoute, unfold(route))?;
            }
        }
        for (name, value) in &self.fields {
            response.append(*name, value)?;
        }
        let media_type = (!self.body.is_empty()).then_some(SDP);
        response.set_body(self.body.clone(), media_type)?;
        Ok(response)
    }
}

/// Does the message have a session description?
pub(super) fn has_session(message: &Message) -> bool {
    let is_sdp = |value: &[u8]| {
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(SDP.as_bytes())
    };
    let declared = message.raw(HeaderName::ContentType);
    !message.body().is_empty() && declared.is_some_and(is_sdp)
}

/// Our end of a dialog (RFC 3261 §12.1.1), as its requests have it.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
    pub(super) call_id: String,
    pub(super) routes: Vec<Vec<u8>>,
    pub(super) target: String,
}

impl Sender {
    /// The first request of ours in this dialog is the last one.
    ///
    /// # Errors
    /// The other end's Contact is no URI.
    pub(super) fn bye(&self, us: SocketAddr, branch: &str) -> Result<Message, MessageError> {
        let mut bye = Message::request("BYE", &self.target)?;
        let via = format!("SIP/2.0/UDP {us};branch=z9hG4bK{branch};rport");
        bye.append(HeaderName::Via, via)?;
        for route in &self.routes {
            bye.append(HeaderName::Route, route)?;
        }
        bye.append(HeaderName::MaxForwards, "70")?;
        bye.append(HeaderName::From, &self.from)?;
        bye.append(HeaderName::To, &self.to)?;
        bye.append(HeaderName::CallId, &self.call_id)?;
        bye.append(HeaderName::CSeq, "1 BYE")?;
        bye.append(HeaderName::ContentLength, "0")?;
        Ok(bye)
    }
}
