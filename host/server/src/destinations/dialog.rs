//! A call to a test destination: its dialog, the 2xx that goes again until its ACK comes (RFC 3261 §13.3.1.4), and its session.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hookswitch_media::sdp::{Section, Session, plain};
use hookswitch_sip::{
    header::NameAddr,
    message::{HeaderName, Message, unfold},
    transaction::Timing,
};
use tokio::sync::watch;

use super::{
    Destination,
    answer::{self, Plan},
    reply::{Sender, has_session},
};

/// One call.
pub(super) struct Call {
    pub(super) destination: Destination,
    /// Where its INVITE came from: the proxy beside us.
    pub(super) peer: SocketAddr,
    pub(super) sender: Sender,
    caller_tag: String,
    /// The highest that came (RFC 3261 §12.2.2).
    cseq: u32,
    accepted: Option<Accepted>,
    ends_at: Instant,
    voice: Voice,
}

/// A 2xx without its ACK.
struct Accepted {
    cseq: u32,
    bytes: Bytes,
    every: Duration,
    again_at: Instant,
    /// 64*T1 after the first one.
    gives_up_at: Instant,
    /// Its ACK answers an offer of ours.
    late: bool,
}

/// What we say of media.
pub(super) struct Voice {
    pub(super) id: u64,
    pub(super) us: SocketAddr,
    pub(super) plan: watch::Sender<Plan>,
    version: u64,
    said: Vec<Section>,
}

/// What is due of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Its 2xx is.
    Again,
    /// BYE: it has lasted for long enough, or no ACK came.
    End,
}

/// There is nothing in the offer that we could play.
pub(super) struct NothingInCommon;

impl Voice {
    pub(super) fn new(id: u64, us: SocketAddr, plan: watch::Sender<Plan>) -> Self {
        Self {
            id,
            us,
            plan,
            version: 0,
            said: Vec::new(),
        }
    }

    /// The body; its version grows where it is another one than before (RFC 3264 §8).
    fn say(&mut self, sections: Vec<Section>) -> Bytes {
        if self.said != sections {
            self.version += 1;
        }
        self.said.clone_from(&sections);
        plain::write(&Session {
            id: self.id.to_string(),
            version: self.version,
            sections,
            bundle: Vec::new(),
        })
    }

    /// Answers the offer of a request, or makes one where it has none.
    fn respond(
        &mut self,
        destination: Destination,
        request: &Message,
    ) -> Result<Bytes, NothingInCommon> {
        if !has_session(request) {
            return Ok(self.say(answer::offer(self.us)));
        }
        let offer = Session::parse(request.body()).map_err(|_| NothingInCommon)?;
        let answer = destination.answer(&offer, self.us);
        let (sections, plan) = answer.ok_or(NothingInCommon)?;
        self.plan.send_replace(plan);
        Ok(self.say(sections))
    }
}

impl Call {
    /// Of an INVITE that is about to be accepted, with our tag; and the session description of the 2xx.
    pub(super) fn begin(
        destination: Destination,
        invite: &Message,
        (peer, tag): (SocketAddr, &str),
        mut voice: Voice,
        ends_at: Instant,
    ) -> Result<(Self, Bytes), NothingInCommon> {
        let body = voice.respond(destination, invite)?;
        let field = |name| invite.header(name).unwrap_or_default().into_owned();
        let routes = invite.values(HeaderName::RecordRoute);
        let sender = Sender {
            from: [&field(HeaderName::To), b";tag=".as_slice(), tag.as_bytes()].concat(),
            to: field(HeaderName::From),
            call_id: invite.call_id().unwrap_or_default().to_owned(),
            routes: routes.map(|route| unfold(route).into_owned()).collect(),
            target: contact_of(invite).unwrap_or_default(),
        };
        let call = Self {
            destination,
            peer,
            sender,
            caller_tag: invite.from_tag().unwrap_or_default().to_owned(),
            cseq: number_of(invite),
            accepted: None,
            ends_at,
            voice,
        };
        Ok((call, body))
    }

    /// Is the message of this dialog? Our tag has been looked up.
    pub(super) fn is_of(&self, message: &Message) -> bool {
        message.call_id() == Some(&self.sender.call_id)
            && message.from_tag().unwrap_or_default() == self.caller_tag
    }

    /// Takes the number of a request. `false` if it is out of order.
    pub(super) fn takes(&mut self, request: &Message) -> bool {
        let number = number_of(request);
        let is_in_order = number >= self.cseq;
        self.cseq = self.cseq.max(number);
        is_in_order
    }

    /// The session description that answers an INVITE or UPDATE of the dialog.
    pub(super) fn change(&mut self, request: &Message) -> Result<Bytes, NothingInCommon> {
        let body = self.voice.respond(self.destination, request)?;
        if let Some(target) = contact_of(request) {
            self.sender.target = target;
        }
        Ok(body)
    }

    /// A 2xx to an INVITE goes out, and again until its ACK comes.
    pub(super) fn accepted(
        &mut self,
        now: Instant,
        timing: &Timing,
        invite: &Message,
        ok: &Message,
    ) {
        self.accepted = Some(Accepted {
            cseq: number_of(invite),
            bytes: ok.to_bytes(),
            every: timing.t1,
            again_at: now + timing.t1,
            gives_up_at: now + timing.t1 * 64,
            late: !has_session(invite),
        });
    }

    pub(super) fn acknowledged(&mut self, ack: &Message) {
        let is_its = |accepted: &mut Accepted| accepted.cseq == number_of(ack);
        let Some(accepted) = self.accepted.take_if(is_its) else {
            return;
        };
        if !accepted.late {
            return;
        }
        let answer = Session::parse(ack.body()).ok();
        let plan = answer.and_then(|answer| self.destination.answered(&answer));
        self.voice.plan.send_replace(plan.unwrap_or(Plan::SILENCE));
    }

    /// When [`Call::due`] has something to say.
    pub(super) fn due_at(&self) -> Instant {
        match &self.accepted {
            Some(accepted) => self
                .ends_at
                .min(accepted.again_at)
                .min(accepted.gives_up_at),
            None => self.ends_at,
        }
    }

    pub(super) fn due(&self, now: Instant) -> Option<Due> {
        let is_over = self.ends_at <= now;
        match &self.accepted {
            _ if is_over => Some(Due::End),
            Some(accepted) if accepted.gives_up_at <= now => Some(Due::End),
            Some(accepted) if accepted.again_at <= now => Some(Due::Again),
            Some(_) | None => None,
        }
    }

    /// The 2xx once more.
    pub(super) fn again(&mut self, now: Instant, timing: &Timing) -> Option<Bytes> {
        let accepted = self.accepted.as_mut()?;
        accepted.every = (accepted.every * 2).min(timing.t2);
        accepted.again_at = now + accepted.every;
        Some(accepted.bytes.clone())
    }
}

fn number_of(message: &Message) -> u32 {
    message.cseq().map_or(0, |cseq| cseq.number)
}

fn contact_of(message: &Message) -> Option<String> {
    let contact = message.values(HeaderName::Contact).next()?;
    let contact = NameAddr::parse(contact).ok()?;
    Some(contact.uri.to_owned())
}
