//! A trunk: an address of record of ours at an upstream, which knows from our REGISTER where its calls for us go (RFC 3261 §10.2).
//!
//! Here is what a trunk is, what its requests say, and when they are due; `registration` goes by that, and `register_tx` sends them. One
//! worker keeps it: its requests have our Via, which brings their answers there.

use std::time::{Duration, Instant};

use super::{
    config::ProxyConfig,
    credentials::{Challenges, Said},
    ids::{BranchId, Chance},
    place::Place,
};
use crate::{
    flow::{Destination, UpstreamId},
    header::NameAddr,
    message::{HeaderName, Message, MessageError},
    transaction::client,
    uri::SipUri,
};

/// RFC 5626 §4.5: where every flow to a registrar has failed.
const BACK_OFF_BASE: Duration = Duration::from_secs(30);
/// RFC 5626 §4.5.
const BACK_OFF_MAX: Duration = Duration::from_secs(1_800);
/// What is refreshed so long before its end, as 3GPP TS 24.229 §5.1.1.4.1 has it; half of a shorter time is left.
const REFRESH_BEFORE: Duration = Duration::from_secs(600);
/// However little an upstream grants.
const REFRESH_MIN: Duration = Duration::from_secs(1);
/// Until an upstream that is silent need not know that we go.
pub(super) const REMOVE_MAX: Duration = Duration::from_secs(5);

/// Index in [`ProxyConfig::trunks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrunkId(pub u16);

/// A registration of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkConfig {
    /// Where; its login answers for us.
    pub upstream: UpstreamId,
    /// A `sip:` or `sips:` URI with a user.
    pub aor: String,
    /// The user of our Contact: what calls are for that come of it.
    pub user: String,
    /// Asked for.
    pub expires: Duration,
}

/// What has become of a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrunkState {
    /// The first REGISTER is on its way.
    Registering,
    /// Calls reach us.
    Registered {
        /// Refreshed before.
        until: Instant,
    },
    /// They do not, or will not before long.
    Failed {
        /// For people.
        reason: String,
        /// The next REGISTER.
        retry_at: Instant,
        /// An earlier one still stands, as far as we know.
        until: Option<Instant>,
    },
    /// We took it back.
    Removed,
}

/// One trunk, as its worker keeps it.
#[derive(Debug)]
pub(super) struct Trunk {
    pub(super) id: TrunkId,
    pub(super) config: TrunkConfig,
    pub(super) aim: Aim,
    /// RFC 3261 §10.2: the same for all REGISTERs of a registration, with a CSeq that grows.
    call_id: String,
    tag: String,
    cseq: u32,
    /// Chooses among members that are equal: the same one every time.
    pub(super) turn: u64,
    /// As configured, or more after a 423.
    pub(super) expires: Duration,
    pub(super) transaction: Option<Transaction>,
    pub(super) binding: Option<Bound>,
    /// Rounds that failed, one after the other.
    pub(super) failures: u32,
    pub(super) challenges: Challenges,
    /// Of the timer that counts.
    pub(super) due: u32,
}

/// Where a trunk is registered now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) to: Destination,
    pub(super) until: Instant,
}

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    Registered,
    Removed,
}

/// A REGISTER on its way.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) branch: BranchId,
    pub(super) place: Place,
    pub(super) request: Message,
    pub(super) state: client::State,
    /// How often Timer E was started.
    pub(super) retransmissions: u32,
    pub(super) said: Said,
}

impl Trunk {
    /// Those that this worker keeps.
    pub(super) fn of(config: &ProxyConfig) -> Vec<Self> {
        let keeper = |id: u16| id % u16::from(config.workers.max(1));
        let ours = (0..)
            .zip(&config.trunks)
            .filter(|(id, _)| keeper(*id) == u16::from(config.worker.0));
        ours.map(|(id, trunk)| Self {
            id: TrunkId(id),
            config: trunk.clone(),
            aim: Aim::Registered,
            call_id: String::new(),
            tag: String::new(),
            cseq: 0,
            turn: 0,
            expires: trunk.expires,
            transaction: None,
            binding: None,
            failures: 0,
            challenges: Challenges::default(),
            due: 0,
        })
        .collect()
    }

    pub(super) fn bound_to(&self) -> Option<Destination> {
        self.binding.map(|bound| bound.to)
    }

    pub(super) fn bound_until(&self) -> Option<Instant> {
        self.binding.map(|bound| bound.until)
    }

    pub(super) fn begin(&mut self, chance: &mut Chance) {
        self.call_id = format!("{:016x}{:016x}", chance.draw(), chance.draw());
        self.tag = format!("{:016x}", chance.draw());
        self.turn = chance.draw();
    }

    /// The next REGISTER, without credentials and Via.
    pub(super) fn request(
        &mut self,
        contact: &str,
        user_agent: &str,
    ) -> Result<Message, MessageError> {
        self.cseq = self.cseq.saturating_add(1);
        let aor = &self.config.aor;
        let expires = match self.aim {
            Aim::Registered => self.expires.as_secs(),
            Aim::Removed => 0,
        };
        let mut request = Message::request("REGISTER", &registrar(aor))?;
        request.append(HeaderName::MaxForwards, "70")?;
        request.append(HeaderName::From, format!("<{aor}>;tag={}", self.tag))?;
        request.append(HeaderName::To, format!("<{aor}>"))?;
        request.append(HeaderName::CallId, &self.call_id)?;
        request.append(HeaderName::CSeq, format!("{} REGISTER", self.cseq))?;
        request.append(HeaderName::Contact, format!("<{contact}>"))?;
        request.append(HeaderName::Expires, expires.to_string())?;
        if !user_agent.is_empty() {
            request.append(HeaderName::UserAgent, user_agent)?;
        }
        request.append(HeaderName::ContentLength, "0")?;
        Ok(request)
    }

    /// How long what a 2xx grants is good (RFC 3261 §10.2.4).
    pub(super) fn granted(&self, request: &Message, response: &Message) -> Duration {
        let ours = request.values(HeaderName::Contact).next();
        let ours = ours.and_then(|value| NameAddr::parse(value).ok());
        let contacts = response.values(HeaderName::Contact);
        let listed = contacts
            .filter_map(|value| NameAddr::parse(value).ok())
            .find(|listed| ours.is_some_and(|ours| is_same(ours.uri, listed.uri)));
        let seconds = listed
            .and_then(|listed| listed.expires())
            .or_else(|| response.number(HeaderName::Expires));
        seconds.map_or(self.expires, |seconds| Duration::from_secs(seconds.into()))
    }
}

/// When to refresh what was granted for so long.
pub(super) fn refresh_after(granted: Duration) -> Duration {
    let after = match granted.checked_sub(REFRESH_BEFORE) {
        Some(after) if after >= REFRESH_BEFORE => after,
        Some(_) | None => granted / 2,
    };
    after.max(REFRESH_MIN)
}

/// RFC 5626 §4.5: twice as long after each failure, and by chance between half of that and all of it, so that not everybody comes
/// back at once to a registrar that was down.
pub(super) fn back_off(failures: u32, chance: u64) -> Duration {
    let doubled = 1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX);
    let most = BACK_OFF_BASE.saturating_mul(doubled).min(BACK_OFF_MAX);
    let half = most / 2;
    half + half.mul_f64((chance >> 11) as f64 / (1_u64 << 53) as f64)
}

/// The Request-URI of a REGISTER: the domain alone (RFC 3261 §10.2).
fn registrar(aor: &str) -> String {
    let (scheme, rest) = aor.split_once(':').unwrap_or(("sip", aor));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split([';', '?']).next().unwrap_or(host);
    format!("{scheme}:{host}")
}

/// As far as it is ours: an upstream may add parameters.
fn is_same(ours: &str, listed: &str) -> bool {
    let (ours, listed) = (SipUri::from_text(ours), SipUri::from_text(listed));
    let (Some(ours), Some(listed)) = (ours, listed) else {
        return false;
    };
    ours.user == listed.user && ours.host.is_same(listed.host) && ours.port == listed.port
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_asked() {
        for (aor, expected) in [
            ("sip:100@carrier.example", "sip:carrier.example"),
            (
                "sips:a%40b@carrier.example:5071;x=y?z",
                "sips:carrier.example:5071",
            ),
            ("sip:1@[2001:db8::1]:5062", "sip:[2001:db8::1]:5062"),
        ] {
            assert_eq!(registrar(aor), expected, "{aor}");
        }
    }

    #[test]
    fn a_registration_is_refreshed_well_before_its_end() {
        for (granted_s, expected_s) in [
            (3_600, 3_000),
            (1_200, 600),
            (1_199, 599),
            (60, 30),
            (1, 1),
            (0, 1),
        ] {
            let after = refresh_after(Duration::from_secs(granted_s));
            assert_eq!(after.as_secs(), expected_s, "{granted_s}");
        }
    }

    #[test]
    fn every_failure_doubles_the_wait_up_to_a_limit() {
        for (failures, most_s) in [
            (0, 30),
            (1, 60),
            (2, 120),
            (5, 960),
            (6, 1_800),
            (u32::MAX, 1_800),
        ] {
            let most = Duration::from_secs(most_s);
            assert_eq!(back_off(failures, 0), most / 2, "{failures}");
            let longest = back_off(failures, u64::MAX);
            assert!(
                longest <= most && longest > most.mul_f64(0.99),
                "{failures}"
            );
        }
    }
}
