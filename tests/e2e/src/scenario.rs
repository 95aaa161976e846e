//! SIPp scenarios as a list of steps: what the PBX waits for and what it sends in one call or one transaction.

use std::fmt::Write;

use crate::DOMAIN;

/// One step of a scenario.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Wait for a request.
    Expect(&'static str),
    /// Wait for a request that matches this regular expression.
    ExpectLike(&'static str, &'static str),
    /// Wait for a response.
    ExpectStatus(u16),
    /// This response may come first.
    Perhaps(u16),
    /// Answer the last request.
    Answer(u16),
    /// Answer the last request with a session description.
    AnswerSdp(u16, Media),
    /// Answer the INVITE, once its CANCEL has come and been answered.
    AnswerInvite(u16),
    /// Send a request without a body.
    Send(&'static str),
    /// Send a request with a session description.
    SendSdp(&'static str, Media),
    /// Send a MESSAGE with this text.
    SendText(&'static str),
    /// Do nothing for so many milliseconds.
    Pause(u32),
}

/// Direction attribute of a session description (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug)]
pub enum Media {
    /// Both ways.
    SendRecv,
    /// The sender holds.
    SendOnly,
    /// The sender is held.
    RecvOnly,
}

/// Which end of the dialog SIPp is.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// It sends the first request, to this user of ours.
    Caller {
        /// User part of the Request-URI.
        user: &'static str,
    },
    /// It waits for the first request.
    Callee,
}

/// The scenario as SIPp reads it.
#[must_use]
pub fn xml(role: Role, steps: &[Step]) -> String {
    let text = String::from("<?xml version=\"1.0\"?>\n<scenario name=\"steps\">\n");
    let mut writer = Writer {
        role,
        text,
        requests_seen: 0,
        last_request: "",
        last_status: 0,
        cseq: 0,
    };
    steps.iter().for_each(|step| writer.step(*step));
    writer.text + "</scenario>\n"
}

struct Writer {
    role: Role,
    text: String,
    requests_seen: u32,
    /// The last one that was waited for.
    last_request: &'static str,
    last_status: u16,
    /// Of the last request that we sent, but ACK and CANCEL.
    cseq: u32,
}

impl Writer {
    fn step(&mut self, step: Step) {
        match step {
            Step::Expect(method) => self.expect(method, ""),
            Step::ExpectLike(method, like) => {
                self.expect(method, &format!("<ereg regexp=\"{like}\" search_in=\"msg\" check_it=\"true\" assign_to=\"like\"/>"));
                self.line("<Reference variables=\"like\"/>");
            }
            Step::ExpectStatus(status) => {
                self.line(&format!("<recv response=\"{status}\" rrs=\"true\"></recv>"));
                self.last_status = status;
            }
            Step::Perhaps(status) => self.line(&format!(
                "<recv response=\"{status}\" optional=\"true\"></recv>"
            )),
            Step::Answer(status) => self.answer(status, NO_BODY),
            Step::AnswerSdp(status, media) => self.answer(status, &sdp(media, "active")),
            Step::AnswerInvite(status) => self.answer_invite(status),
            Step::Send(method) => self.send(method, NO_BODY),
            Step::SendSdp(method, media) => self.send(method, &sdp(media, "actpass")),
            Step::SendText(text) => {
                self.send(
                    "MESSAGE",
                    &format!("Content-Type: text/plain\nContent-Length: [len]\n\n{text}"),
                );
            }
            Step::Pause(ms) => self.line(&format!("<pause milliseconds=\"{ms}\"/>")),
        }
    }

    fn line(&mut self, line: &str) {
        writeln!(self.text, "  {line}").expect("a String grows");
    }

    /// A callee keeps of the first INVITE what its own requests and a late answer need.
    fn expect(&mut self, method: &'static str, check: &str) {
        let keeps =
            matches!(self.role, Role::Callee) && self.requests_seen == 0 && method == "INVITE";
        let keep = if keeps {
            KEPT.map(|(field, nth, name)| ereg(field, nth, name))
                .concat()
        } else {
            String::new()
        };
        let action = match keep.is_empty() && check.is_empty() {
            true => String::new(),
            false => format!("<action>{keep}{check}</action>"),
        };
        self.line(&format!(
            "<recv request=\"{method}\" rrs=\"true\">{action}</recv>"
        ));
        if keeps {
            self.line(&format!(
                "<Reference variables=\"{}\"/>",
                KEPT.map(|(_, _, name)| name).join(",")
            ));
        }
        self.requests_seen += 1;
        self.last_request = method;
    }

    /// A final answer to an INVITE is repeated until the ACK is there (RFC 3261 §13.3.1.4).
    fn answer(&mut self, status: u16, body: &str) {
        // Requests in the dialog bring the tag; a CANCEL is as the INVITE was.
        let is_first = matches!(self.role, Role::Callee) && self.requests_seen == 1;
        let tag = if is_first || self.last_request == "CANCEL" {
            OUR_TAG
        } else {
            ""
        };
        let repeated = self.last_request == "INVITE" && status >= 200;
        self.message(
            repeated,
            &format!(
                "SIP/2.0 {status} Answer\n[last_Via:]\n[last_Record-Route:]\n[last_From:]\n[last_To:]{tag}\n[last_Call-ID:]\n\
                 [last_CSeq:]\n{CONTACT}\n{body}"
            ),
        );
    }

    fn answer_invite(&mut self, status: u16) {
        self.message(
            true,
            &format!(
                "SIP/2.0 {status} Answer\nVia:[$via1]\nVia:[$via2]\nFrom:[$from]\nTo:[$to]{OUR_TAG}\n[last_Call-ID:]\n\
                 CSeq:[$invite]\n{NO_BODY}"
            ),
        );
    }

    fn send(&mut self, method: &str, body: &str) {
        let follows = matches!(method, "ACK" | "CANCEL");
        self.cseq += u32::from(!follows);
        // An ACK of a 2xx is a transaction of its own (RFC 3261 §13.2.2.4), any other goes the way of its INVITE.
        let acknowledges = method == "ACK" && self.last_status < 300;
        let begins = matches!(self.role, Role::Caller { .. }) && !acknowledges && (self.cseq == 1);
        let suffix = if acknowledges { "-ack" } else { "" };
        let (uri, routes) = match (self.role, begins) {
            (Role::Caller { user }, true) => (format!("sip:{user}@{DOMAIN}"), ""),
            (Role::Caller { .. }, false) | (Role::Callee, _) => {
                ("[next_url]".to_owned(), "[routes]\n")
            }
        };
        let (from, to) = match self.role {
            Role::Caller { user } => (
                format!("From: <sip:pbx@[local_ip]:[local_port]>{OUR_TAG}"),
                format!(
                    "To: <sip:{user}@{DOMAIN}>{}",
                    if begins && method != "ACK" {
                        ""
                    } else {
                        "[peer_tag_param]"
                    }
                ),
            ),
            Role::Callee => (format!("From:[$to]{OUR_TAG}"), "To:[$from]".to_owned()),
        };
        self.message(
            method != "ACK",
            &format!(
                "{method} {uri} SIP/2.0\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK[pid]-[call_number]-{}{suffix}\n\
                 {routes}Max-Forwards: 70\n{from}\n{to}\nCall-ID: [call_id]\nCSeq: {} {method}\n{CONTACT}\n{body}",
                self.cseq, self.cseq,
            ),
        );
    }

    fn message(&mut self, repeated: bool, text: &str) {
        let retrans = if repeated { " retrans=\"500\"" } else { "" };
        self.line(&format!("<send{retrans}><![CDATA[\n{text}\n]]></send>"));
    }
}

const NO_BODY: &str = "Content-Length: 0\n";
const OUR_TAG: &str = ";tag=[pid]pbx[call_number]";
const CONTACT: &str = "Contact: <sip:pbx@[local_ip]:[local_port]>";
/// Field, which of that name, variable.
const KEPT: [(&str, u32, &str); 5] = [
    ("Via", 1, "via1"),
    ("Via", 2, "via2"),
    ("From", 1, "from"),
    ("To", 1, "to"),
    ("CSeq", 1, "invite"),
];

fn ereg(field: &str, nth: u32, name: &str) -> String {
    format!(
        "<ereg regexp=\".*\" search_in=\"hdr\" header=\"{field}:\" occurrence=\"{nth}\" assign_to=\"{name}\"/>"
    )
}

/// One that a browser accepts: hookswitch passes it untouched, so it looks like WebRTC's. Nobody listens at its address.
fn sdp(media: Media, setup: &str) -> String {
    let direction = match media {
        Media::SendRecv => "sendrecv",
        Media::SendOnly => "sendonly",
        Media::RecvOnly => "recvonly",
    };
    let fingerprint = ["AB"; 32].join(":");
    format!(
        "Content-Type: application/sdp\nContent-Length: [len]\n\nv=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\nc=IN IP4 127.0.0.1\na=mid:0\na=ice-ufrag:pbxu\na=ice-pwd:passwordpasswordpassword\n\
         a=fingerprint:sha-256 {fingerprint}\na=setup:{setup}\na={direction}\na=rtcp-mux\na=rtpmap:111 opus/48000/2\n\
         a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host"
    )
}
