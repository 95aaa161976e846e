//! The answering side, browser and PBX alike: every answer is a function of its request, nothing is kept but counts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::sip::{View, parameter};

/// Who answers, and what of the request the answer shows.
#[derive(Clone, Debug)]
pub struct Answerer {
    /// The Contact of answers that make a dialog.
    pub contact: String,
    /// Fields of the request that come back in its answers as `Echo-NAME`, so that the caller sees what reached this side.
    pub echo: Vec<String>,
}

/// What an answering side saw.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// Requests by method.
    pub requests: BTreeMap<String, u64>,
    /// Requests whose To tag is not the one that this side gave, or that lack what an answer needs.
    pub foreign: u64,
}

impl Answerer {
    /// Answers `request` through `send`: 180 and 200 to an INVITE, nothing to an ACK, 200 to all else; to a REGISTER with its own
    /// contact and Path (RFC 3261 §10.3, RFC 3327 §5.3).
    pub fn answer(&self, request: View<'_>, seen: &mut Seen, mut send: impl FnMut(String)) {
        let method = request.method().unwrap_or_default();
        match seen.requests.get_mut(method) {
            Some(count) => *count += 1,
            None => drop(seen.requests.insert(method.to_owned(), 1)),
        }
        let (Some(to), Some(call_id)) = (request.header("To"), request.header("Call-ID")) else {
            seen.foreign += 1;
            return;
        };
        if parameter(to, "tag").is_some_and(|tag| tag != tag_for(call_id)) {
            seen.foreign += 1;
        }
        match method {
            "ACK" => {}
            "INVITE" => {
                send(self.response(request, "180 Ringing", to, call_id, ""));
                send(self.response(request, "200 OK", to, call_id, SDP));
            }
            _ => send(self.response(request, "200 OK", to, call_id, "")),
        }
    }

    fn response(
        &self,
        request: View<'_>,
        status: &str,
        to: &str,
        call_id: &str,
        body: &str,
    ) -> String {
        let mut text = String::with_capacity(1024);
        text.extend(["SIP/2.0 ", status, "\r\n"]);
        for name in ["Via", "Record-Route", "Path"] {
            for value in request.headers(name) {
                text.extend([name, ": ", value, "\r\n"]);
            }
        }
        text.extend([
            "From: ",
            request.header("From").unwrap_or_default(),
            "\r\nTo: ",
            to,
        ]);
        if parameter(to, "tag").is_none() {
            text.extend([";tag=", &tag_for(call_id)]);
        }
        text.extend([
            "\r\nCall-ID: ",
            call_id,
            "\r\nCSeq: ",
            request.header("CSeq").unwrap_or_default(),
        ]);
        let (contact, lifetime) = match request.method() {
            Some("REGISTER") => (request.header("Contact").unwrap_or_default(), LIFETIME),
            _ => (self.contact.as_str(), ""),
        };
        text.extend(["\r\nContact: ", contact, lifetime]);
        text.push_str("\r\nServer: hookswitch-load\r\n");
        for name in &self.echo {
            for value in request.headers(name) {
                text.extend(["Echo-", name, ": ", value, "\r\n"]);
            }
        }
        if !body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        text
    }
}

/// The To tag that this side gives to a call, from nothing but its Call-ID.
#[must_use]
pub fn tag_for(call_id: &str) -> String {
    format!("u{}", call_id.split('@').next().unwrap_or(call_id))
}

/// How long a registration is good for.
const LIFETIME: &str = ";expires=600";

/// A session description of about the size that a PBX sends; the media seam passes it or answers it, nobody sends media.
pub const SDP: &str = "v=0\r\no=load 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\n\
     a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_an_invite_twice_and_notices_a_foreign_tag() {
        let answerer = Answerer {
            contact: "<sip:pbx@h>".into(),
            echo: vec!["X-Version".into()],
        };
        let mut seen = Seen::default();
        let mut sent = Vec::new();
        let invite = "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP p;branch=1\r\nVia: SIP/2.0/WSS c;branch=2\r\nRecord-Route: <sip:p;lr>\r\n\
             From: <sip:c@b>;tag=f\r\nTo: <sip:a@b>\r\nCall-ID: 7@x\r\nCSeq: 1 INVITE\r\nX-Version: 3\r\n\r\n";
        answerer.answer(View::new(invite), &mut seen, |text| sent.push(text));
        assert_eq!(
            sent.iter()
                .map(|text| View::new(text).status())
                .collect::<Vec<_>>(),
            [Some(180), Some(200)]
        );
        let ok = View::new(&sent[1]);
        assert_eq!(ok.headers("Via").count(), 2);
        assert_eq!(ok.header("To"), Some("<sip:a@b>;tag=u7"));
        assert_eq!(ok.header("Echo-X-Version"), Some("3"));
        assert_eq!(seen.foreign, 0);
        let register = "REGISTER sip:b SIP/2.0\r\nTo: <sip:c@b>\r\nCall-ID: 8@x\r\nContact: <sip:c@d>\r\nPath: <sip:p;lr>\r\n\r\n";
        answerer.answer(View::new(register), &mut seen, |text| sent.push(text));
        let ok = View::new(&sent[2]);
        assert_eq!(ok.header("Contact"), Some("<sip:c@d>;expires=600"));
        assert_eq!(ok.header("Path"), Some("<sip:p;lr>"));
        let ack = "ACK sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=other\r\nCall-ID: 7@x\r\n\r\n";
        answerer.answer(View::new(ack), &mut seen, |_| {
            panic!("an ACK has no answer")
        });
        assert_eq!(
            (seen.foreign, seen.requests["INVITE"], seen.requests["ACK"]),
            (1, 1, 1)
        );
    }
}
