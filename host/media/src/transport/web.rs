//! One PeerConnection of a browser: ICE-lite, DTLS and SRTP on one 5-tuple, for all its m-lines (BUNDLE, rtcp-mux).
//!
//! Never lets a packet through, in or out, before the browser's certificate is the one that its description named, and never looks at
//! a packet from where no valid check came.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Class, Peer, Received, Transmit};
use crate::{
    dtls::{Association, DtlsConfig, DtlsError, Fingerprint, Role, Setup, Stage},
    ice::{Consent, Heard, IceCredentials, IceLite},
    packet::Packet,
    srtp::{Inbound, Outbound},
};

/// A handshake may be another's who guessed the browser's address: that many times a later one takes its place.
const HANDSHAKES_MAX: u32 = 50;
/// What waits to be sent; a flight of DTLS has fewer.
const TRANSMITS_MAX: usize = 32;

/// What a browser's description says of its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `a=ice-ufrag`, `a=ice-pwd`.
    pub ice: IceCredentials,
    /// `a=fingerprint`: one of them must be the certificate's (RFC 8122 §5).
    pub fingerprints: Vec<Fingerprint>,
    /// `a=setup`, the browser's.
    pub setup: Setup,
}

/// What became of a transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The browser checked a pair, for the first time or after its consent was lost. Nominations do not tell again.
    Connected(Peer),
    /// Media may flow.
    Keys,
    /// It will not, until another description comes.
    Failed(DtlsError),
    /// No check came for 30 s: nothing may be sent (RFC 7675 §5.1).
    ConsentLost,
}

/// See above.
pub struct WebTransport {
    config: Arc<DtlsConfig>,
    ice: IceLite,
    remote: Option<Remote>,
    dtls: Dtls,
    handshakes: u32,
    srtp: Option<Srtp>,
    /// Where media goes; `None` without consent.
    to: Option<Peer>,
    link: Link,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    since: Since,
    refused: u64,
}

struct Srtp {
    outbound: Outbound,
    inbound: Inbound,
}

enum Dtls {
    /// Not begun: nothing came, or nothing can be sent yet.
    Idle,
    Live(Association),
    /// Over, for good or for ill; keys that it gave go on.
    Over,
    Failed(DtlsError),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    New,
    Up,
    Lost,
}

/// When what happened, for the diagnosis.
struct Since {
    created: Instant,
    checked: Option<Instant>,
    hello: Option<Instant>,
    keys: Option<Instant>,
    /// The last packet of media.
    media: Option<Instant>,
}

impl WebTransport {
    /// With what our description says.
    #[must_use]
    pub fn new(config: &Arc<DtlsConfig>, ours: IceCredentials, now: Instant) -> WebTransport {
        WebTransport {
            config: Arc::clone(config),
            ice: IceLite::new(ours),
            remote: None,
            dtls: Dtls::Idle,
            handshakes: 0,
            srtp: None,
            to: None,
            link: Link::New,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            since: Since {
                created: now,
                checked: None,
                hello: None,
                keys: None,
                media: None,
            },
            refused: 0,
        }
    }

    /// What our description says.
    #[must_use]
    pub fn ice(&self) -> &IceCredentials {
        self.ice.ours()
    }

    /// What our description must go on saying as `a=setup`, once it is decided.
    #[must_use]
    pub fn setup(&self) -> Option<Setup> {
        let role = match &self.dtls {
            Dtls::Live(association) => Some(association.role()),
            Dtls::Idle | Dtls::Over | Dtls::Failed(_) => {
                self.remote.as_ref().map(|r| role_against(r.setup))
            }
        };
        role.map(|role| match role {
            Role::Client => Setup::Active,
            Role::Server => Setup::Passive,
        })
    }

    /// Whether a description with these wants ICE to begin anew (RFC 8839 §4.4.1.1.1): then [`WebTransport::restart`] comes first.
    #[must_use]
    pub fn is_restart(&self, theirs: &IceCredentials) -> bool {
        self.remote.as_ref().is_some_and(|r| r.ice != *theirs)
    }

    /// New ones of ours. The pair in use is used until the browser uses these.
    pub fn restart(&mut self, ours: IceCredentials) {
        self.ice.restart(ours);
    }

    /// As [`IceLite::answers_to`].
    pub(crate) fn answers_to(&self, ufrag: &str) -> bool {
        self.ice.answers_to(ufrag)
    }

    /// The browser's description, each time that one comes. With other fingerprints than before, or another role, a new association of
    /// DTLS begins (RFC 8842 §5); else the one that is there goes on.
    pub fn set_remote(&mut self, now: Instant, remote: Remote) {
        let role = match (&self.dtls, remote.setup) {
            (Dtls::Live(association), Setup::ActPass) => association.role(),
            (_, setup) => role_against(setup),
        };
        let other_role = matches!(&self.dtls, Dtls::Live(a) if a.role() != role);
        let before = self.remote.replace(remote);
        let other_end = match (&before, &self.remote) {
            (Some(before), Some(now)) => !same(&before.fingerprints, &now.fingerprints),
            (None, _) | (_, None) => false,
        };
        if other_role || other_end {
            self.dtls = Dtls::Idle;
            self.srtp = None;
            self.handshakes = 0;
            (self.since.hello, self.since.keys) = (None, None);
        }
        if role == Role::Client {
            self.begin_as_client(now);
        }
        self.verify(now);
    }

    /// A datagram from the port that our description names.
    pub fn receive(
        &mut self,
        now: Instant,
        from: impl Into<Peer>,
        packet: &mut Packet,
    ) -> Received {
        let from = from.into();
        let class = Class::of(packet.bytes());
        match class {
            Class::Stun => return self.stun(now, from, packet.bytes()),
            Class::Other => return Received::Nothing,
            Class::Dtls | Class::Rtp | Class::Rtcp => {}
        }
        if self.to != Some(from) && !self.ice.knows(from) {
            return Received::Nothing;
        }
        let Some(srtp) = &mut self.srtp else {
            if class == Class::Dtls {
                self.handshake(now, from, packet.bytes());
            }
            return Received::Nothing;
        };
        let opened = match class {
            Class::Rtp => srtp.inbound.unprotect_rtp(packet).map(|()| Received::Rtp),
            Class::Rtcp => srtp.inbound.unprotect_rtcp(packet).map(|()| Received::Rtcp),
            Class::Stun | Class::Dtls | Class::Other => {
                self.handshake(now, from, packet.bytes());
                return Received::Nothing;
            }
        };
        match opened {
            Ok(received) => {
                self.since.media = Some(now);
                received
            }
            Err(_) => {
                self.refused += 1;
                Received::Nothing
            }
        }
    }

    /// Protects an RTP packet in place. Gives where to send it; `None` where it must not be sent.
    pub fn send_rtp(&mut self, packet: &mut Packet) -> Option<Peer> {
        let (to, srtp) = (self.to?, self.srtp.as_mut()?);
        srtp.outbound.protect_rtp(packet).ok()?;
        Some(to)
    }

    /// As [`WebTransport::send_rtp`], for a compound RTCP packet.
    pub fn send_rtcp(&mut self, packet: &mut Packet) -> Option<Peer> {
        let (to, srtp) = (self.to?, self.srtp.as_mut()?);
        srtp.outbound.protect_rtcp(packet).ok()?;
        Some(to)
    }

    /// What is to be sent now, besides media.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`WebTransport::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dtls = match &self.dtls {
            Dtls::Live(association) => association.poll_timeout(),
            Dtls::Idle | Dtls::Over | Dtls::Failed(_) => None,
        };
        let consent = self.ice.consent_until().filter(|_| self.link == Link::Up);
        [dtls, consent].into_iter().flatten().min()
    }

    /// At [`WebTransport::poll_timeout`], or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.update_link(now);
        let Some(to) = self.to else {
            return self.forget_timer(now);
        };
        self.with_association(to, |association, send| {
            match association.poll_timeout().is_some_and(|at| at <= now) {
                true => association.handle_timeout(now, send),
                false => Ok(()),
            }
        });
    }

    /// Without consent nothing may be sent again, so the association waits no longer: it is over if it was not done.
    fn forget_timer(&mut self, now: Instant) {
        let due = |a: &Association| a.poll_timeout().is_some_and(|at| at <= now);
        if matches!(&self.dtls, Dtls::Live(association) if due(association)) {
            self.dtls = match self.srtp {
                Some(_) => Dtls::Over,
                None => Dtls::Idle,
            };
        }
    }

    /// How many packets of media were refused: not authentic, replayed, malformed.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Why no media comes from the browser, in plain words; `None` where some came in the last 5 s.
    #[must_use]
    pub fn diagnosis(&self, now: Instant) -> Option<String> {
        const LATELY: Duration = Duration::from_secs(5);
        let since = &self.since;
        let ago = |at: Instant| now.duration_since(at).as_secs();
        if let Dtls::Failed(error) = &self.dtls {
            return Some(error.to_string());
        }
        Some(
            match (since.checked, since.hello, since.keys, since.media) {
                (None, ..) if self.ice.refused() > 0 => {
                    "ICE checks come with a wrong password".to_owned()
                }
                (None, ..) => format!("no ICE check for {} s", ago(since.created)),
                _ if self.link == Link::Lost => "ICE checks ended, no consent to send".to_owned(),
                (Some(checked), None, ..) => {
                    format!("ICE connected, no DTLS ClientHello for {} s", ago(checked))
                }
                (_, Some(_), None, _) if self.stage() == Some(Stage::Unverified) => {
                    "DTLS connected, the fingerprint to verify it by has not come".to_owned()
                }
                (_, Some(hello), None, _) => {
                    format!("DTLS handshake not done for {} s", ago(hello))
                }
                (.., Some(_), None) if self.refused > 0 => "no SRTP packet is authentic".to_owned(),
                (.., Some(keys), None) => format!("DTLS connected, no SRTP for {} s", ago(keys)),
                (.., Some(media)) if now.duration_since(media) > LATELY => {
                    format!("no SRTP for {} s", ago(media))
                }
                (.., Some(_), Some(_)) => return None,
            },
        )
    }

    fn stage(&self) -> Option<Stage> {
        match &self.dtls {
            Dtls::Live(association) => Some(association.stage()),
            Dtls::Idle | Dtls::Over | Dtls::Failed(_) => None,
        }
    }

    fn stun(&mut self, now: Instant, from: Peer, datagram: &[u8]) -> Received {
        let (answer, received) = match self.ice.handle(now, from, datagram) {
            Heard::Nothing => return Received::Nothing,
            Heard::Refused(answer) => (answer, Received::Nothing),
            Heard::Check(answer) => (answer, Received::Check),
        };
        self.transmit(from, &answer);
        if received == Received::Check {
            self.since.checked.get_or_insert(now);
            self.update_link(now);
            let setup = self.remote.as_ref().map(|remote| remote.setup);
            if setup == Some(Setup::Passive) {
                self.begin_as_client(now);
            }
        }
        received
    }

    fn update_link(&mut self, now: Instant) {
        let (to, link, event) = match self.ice.consent(now) {
            Consent::None => (None, Link::New, None),
            Consent::To(to) => (Some(to), Link::Up, Some(Event::Connected(to))),
            Consent::Lost => (None, Link::Lost, Some(Event::ConsentLost)),
        };
        let before = std::mem::replace(&mut self.link, link);
        self.to = to;
        self.events.extend(event.filter(|_| before != link));
    }

    fn begin_as_client(&mut self, now: Instant) {
        let (Dtls::Idle, Some(to)) = (&self.dtls, self.to) else {
            return;
        };
        self.since.hello = Some(now);
        self.dtls = Dtls::Live(Association::new(&self.config, Role::Client, now));
        self.with_association(to, |association, send| {
            association.handle_timeout(now, send)
        });
    }

    fn handshake(&mut self, now: Instant, from: Peer, datagram: &[u8]) {
        let other = |a: &Association| a.is_other_hello(datagram);
        if matches!(&self.dtls, Dtls::Live(association) if other(association)) {
            self.begin_again();
        }
        if let Dtls::Idle = self.dtls {
            // Before its description came, a browser that speaks takes itself for the client.
            let setup = self.remote.as_ref().map_or(Setup::Active, |r| r.setup);
            if role_against(setup) == Role::Client {
                return;
            }
            self.dtls = Dtls::Live(Association::new(&self.config, Role::Server, now));
        }
        self.since.hello.get_or_insert(now);
        self.with_association(from, |association, send| {
            association.handle(now, datagram, send)
        });
        self.verify(now);
    }

    fn with_association(
        &mut self,
        to: Peer,
        work: impl FnOnce(&mut Association, &mut dyn FnMut(&[u8])) -> Result<(), DtlsError>,
    ) {
        let Dtls::Live(association) = &mut self.dtls else {
            return;
        };
        let mut sent: Vec<Vec<u8>> = Vec::new();
        let done = work(association, &mut |bytes| sent.push(bytes.to_vec()));
        for bytes in sent {
            self.transmit(to, &bytes);
        }
        if let Err(error) = done {
            self.handshake_failed(error);
        }
    }

    fn handshake_failed(&mut self, error: DtlsError) {
        let role = match &self.dtls {
            Dtls::Live(association) => association.role(),
            Dtls::Idle | Dtls::Over | Dtls::Failed(_) => return,
        };
        match (&error, &self.srtp, role) {
            // What fails once the keys are there does not touch them.
            (DtlsError::Handshake(_), Some(_), _) => self.dtls = Dtls::Over,
            (DtlsError::Handshake(_), None, Role::Server) if self.handshakes < HANDSHAKES_MAX => {
                self.begin_again();
            }
            _ => {
                self.srtp = None;
                self.events.push_back(Event::Failed(error.clone()));
                self.dtls = Dtls::Failed(error);
            }
        }
    }

    /// As server, with the next ClientHello.
    fn begin_again(&mut self) {
        if self.handshakes < HANDSHAKES_MAX {
            self.handshakes += 1;
            self.dtls = Dtls::Idle;
        }
    }

    /// The moment at which media may flow: both the handshake and the description are there.
    fn verify(&mut self, now: Instant) {
        let (Dtls::Live(association), Some(remote)) = (&mut self.dtls, &self.remote) else {
            return;
        };
        match association.verify(&remote.fingerprints) {
            Ok(Some(keys)) => {
                self.srtp = Some(Srtp {
                    outbound: Outbound::new(&keys.outbound),
                    inbound: Inbound::new(&keys.inbound),
                });
                self.since.keys = Some(now);
                self.events.push_back(Event::Keys);
            }
            Ok(None) => {}
            Err(error) => self.handshake_failed(error),
        }
    }

    fn transmit(&mut self, to: Peer, bytes: &[u8]) {
        if self.transmits.len() < TRANSMITS_MAX {
            let bytes = bytes.to_vec();
            self.transmits.push_back(Transmit { to, bytes });
        }
    }
}

/// Ours against the browser's (RFC 8842 §5.2). Where it leaves the choice, it begins: it has checked, so it can be reached.
fn role_against(setup: Setup) -> Role {
    match setup {
        Setup::Active | Setup::ActPass => Role::Server,
        Setup::Passive => Role::Client,
    }
}

/// In any order.
fn same(one: &[Fingerprint], other: &[Fingerprint]) -> bool {
    one.len() == other.len() && one.iter().all(|fingerprint| other.contains(fingerprint))
}

#[cfg(test)]
mod tests;
