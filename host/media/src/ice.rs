//! The ICE agent of a server with a public address: ICE-lite (RFC 8445 §2.5), which answers checks and lets the browser choose the pair,
//! and consent (RFC 7675) as such an agent sees it: the browser's checks go on as long as it wants to hear us.
//!
//! Never sends a check, never takes the controlling role, and never learns an address from one who does not know our password.

use std::time::{Duration, Instant};

use crate::{
    stun::{Builder, Kind, Message, attribute},
    transport::Peer,
};

/// Addresses that one browser may have checked from at once. The one that was checked longest ago goes first.
const PATHS_MAX: usize = 8;
/// A browser checks its pair every 5 s or so (RFC 7675 §5.1): after two that are missing, another pair that it checks is the better.
const STALE_AFTER: Duration = Duration::from_secs(11);
/// RFC 7675 §5.1: so long after the last check nothing may be sent.
const CONSENT: Duration = Duration::from_secs(30);

/// A username fragment and a password (RFC 8445 §5.3).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IceCredentials {
    /// Named in each check.
    pub ufrag: String,
    /// Known to both ends alone.
    pub password: String,
}

impl IceCredentials {
    /// From 32 bytes of chance: 48 bits of ufrag and 144 of password, of the 64 characters that ICE allows.
    #[must_use]
    pub fn from_entropy(entropy: [u8; 32]) -> IceCredentials {
        const CHARS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let chars = |bytes: &[u8]| {
            let chars = bytes.iter().map(|b| CHARS[usize::from(b & 63)]);
            chars.map(char::from).collect()
        };
        let (ufrag, password) = entropy.split_at(8);
        IceCredentials {
            ufrag: chars(ufrag),
            password: chars(password),
        }
    }
}

/// Passwords are not for logs.
impl std::fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IceCredentials({})", self.ufrag)
    }
}

/// What came of a STUN message.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// No request, or none that is worth an answer.
    Nothing,
    /// It is answered so, and changes nothing.
    Refused(Vec<u8>),
    /// It is answered so: its sender knows the password.
    Check(Vec<u8>),
}

/// A pair of our one candidate and an address of the browser's.
#[derive(Clone, Copy, Debug)]
struct Path {
    to: Peer,
    checked: Instant,
}

/// Whether something may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Not yet: no check came.
    None,
    /// To this address.
    To(Peer),
    /// No more: no check came for 30 s.
    Lost,
}

/// An agent for one component: RTP and RTCP share it.
#[derive(Debug)]
pub struct IceLite {
    ours: IceCredentials,
    /// Those before a restart, until the browser uses the new ones (RFC 8445 §9).
    before: Option<IceCredentials>,
    /// The selected one in front.
    paths: Vec<Path>,
    /// Requests with our ufrag that were refused since the last valid one.
    refused: u32,
}

impl IceLite {
    /// With what our description says.
    #[must_use]
    pub fn new(ours: IceCredentials) -> IceLite {
        IceLite {
            ours,
            before: None,
            paths: Vec::new(),
            refused: 0,
        }
    }

    /// What our description says.
    #[must_use]
    pub fn ours(&self) -> &IceCredentials {
        &self.ours
    }

    /// A restart: checks with the old credentials count until the first with the new ones.
    pub fn restart(&mut self, ours: IceCredentials) {
        let before = std::mem::replace(&mut self.ours, ours);
        // Where those were never used, the browser still uses the ones before them.
        self.before.get_or_insert(before);
    }

    /// A datagram that is STUN by its first byte (RFC 7983).
    pub fn handle(&mut self, now: Instant, from: impl Into<Peer>, datagram: &[u8]) -> Heard {
        let from = from.into();
        let Some(message) = Message::parse(datagram) else {
            return Heard::Nothing;
        };
        let (Kind::Request, Some((asked, _))) = (message.kind, message.ufrags()) else {
            return Heard::Nothing;
        };
        let Some(credentials) = self.credentials(asked) else {
            return self.refuse(&message, 401, None);
        };
        if !message.has_integrity() {
            return self.refuse(&message, 400, None);
        }
        if !message.is_authentic(&credentials.password) {
            return self.refuse(&message, 401, None);
        }
        let password = credentials.password.clone();
        if !message.unknown().is_empty() {
            return self.refuse(&message, 420, Some(&password));
        }
        // RFC 8445 §7.3.1.1: against a lite agent the other end is the controlling one.
        if message.is_from_controlled() {
            return self.refuse(&message, 487, Some(&password));
        }
        if asked == self.ours.ufrag && self.before.take().is_some() {
            // What the browser checked before the restart may lead to where it is no more.
            self.paths.truncate(1);
        }
        self.refused = 0;
        self.learn(now, from, message.nominates());
        let answer = Builder::new(Kind::Success, message.transaction)
            .xor_mapped_address(from.address)
            .integrity(&password)
            .finish();
        Heard::Check(answer)
    }

    /// Whether checks by this ufrag of ours are answered.
    pub(crate) fn answers_to(&self, ufrag: &str) -> bool {
        self.credentials(ufrag).is_some()
    }

    /// Ours by their ufrag, those before a restart included.
    fn credentials(&self, asked: &str) -> Option<&IceCredentials> {
        let mut all = [Some(&self.ours), self.before.as_ref()]
            .into_iter()
            .flatten();
        all.find(|credentials| credentials.ufrag == asked)
    }

    /// With integrity where the sender proved to know the password (RFC 8489 §9.1.3).
    fn refuse(&mut self, message: &Message, error: u16, password: Option<&str>) -> Heard {
        self.refused = self.refused.saturating_add(1);
        let mut answer = Builder::new(Kind::Error, message.transaction).error(error);
        if error == 420 {
            let unknown = message.unknown().iter();
            let list: Vec<u8> = unknown.flat_map(|kind| kind.to_be_bytes()).collect();
            answer = answer.attribute(attribute::UNKNOWN_ATTRIBUTES, &list);
        }
        if let Some(password) = password {
            answer = answer.integrity(password);
        }
        Heard::Refused(answer.finish())
    }

    /// The browser chooses: what it nominated last is selected, and until then what it checked first. Browsers that nominate every pair
    /// go on to check the one that they use.
    fn learn(&mut self, now: Instant, from: Peer, nominated: bool) {
        let at = self.paths.iter().position(|path| path.to == from);
        let path = Path {
            to: from,
            checked: now,
        };
        let at = match at {
            Some(at) => {
                self.paths[at] = path;
                at
            }
            None => {
                self.forget_one();
                self.paths.push(path);
                self.paths.len() - 1
            }
        };
        let stale = |selected: &Path| now.duration_since(selected.checked) > STALE_AFTER;
        if nominated || self.paths.first().is_some_and(stale) {
            self.paths.swap(0, at);
        }
    }

    fn forget_one(&mut self) {
        if self.paths.len() < PATHS_MAX {
            return;
        }
        let others = self.paths.iter().enumerate().skip(1);
        if let Some((oldest, _)) = others.min_by_key(|(_, path)| path.checked) {
            self.paths.swap_remove(oldest);
        }
    }

    /// Whether the browser checked from this address: nobody else's packets are looked at.
    #[must_use]
    pub fn knows(&self, from: impl Into<Peer>) -> bool {
        let from = from.into();
        self.paths.iter().any(|path| path.to == from)
    }

    /// Where to send, if anything may be sent.
    #[must_use]
    pub fn consent(&self, now: Instant) -> Consent {
        match (self.paths.first(), self.consent_until()) {
            (Some(selected), Some(until)) if now < until => Consent::To(selected.to),
            (Some(_), _) => Consent::Lost,
            (None, _) => Consent::None,
        }
    }

    /// When it will be [`Consent::Lost`], if no further check comes.
    #[must_use]
    pub fn consent_until(&self) -> Option<Instant> {
        let last = self.paths.iter().map(|path| path.checked).max();
        last.map(|last| last + CONSENT)
    }

    /// How many requests were refused since the last valid one.
    #[must_use]
    pub fn refused(&self) -> u32 {
        self.refused
    }
}

#[cfg(test)]
mod tests;
