//! Whether a call is alive: who was to be heard, and was not. And what is told of it at its end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Call, End, leg::Way};
use crate::{
    config::Limits,
    engine::CallReport,
    relay::StreamStats,
    sdp::{Kind, Section},
    transport::{Event, PlainTransport},
};

/// How often a call is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Of one call.
#[derive(Debug)]
pub(super) struct Life {
    began: Instant,
    /// The last exchange of descriptions that was answered.
    agreed: Option<Instant>,
    look: Instant,
    /// The browser of this leg went away.
    lost: Option<(u16, Instant)>,
    failed: Option<String>,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has accepted it yet, though early media may be heard.
    Ringing,
    /// Somebody has.
    Answered,
}

/// One end of a call.
#[derive(Clone, Debug)]
pub struct LegReport {
    /// Whether it is WebRTC.
    pub web: bool,
    /// What it sends, and how that arrives at the other one.
    pub sent: Vec<StreamReport>,
    /// Packets that came and were not believed: not authentic, replayed, malformed, or from a stranger.
    pub refused: u64,
    /// Why nothing was heard from it, if that is so.
    pub diagnosis: Option<String>,
}

/// One section of what an end sends.
#[derive(Clone, Debug)]
pub struct StreamReport {
    /// Of what.
    pub kind: Kind,
    /// How it does.
    pub stats: StreamStats,
}

impl Life {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            agreed: None,
            look: now + LOOK,
            lost: None,
            failed: None,
        }
    }

    pub(super) fn agreed(&mut self, now: Instant) {
        self.agreed = Some(now);
    }

    pub(super) fn heard_of(&mut self, now: Instant, leg: u16, event: Event) {
        match event {
            Event::Connected(_) => self.lost = self.lost.filter(|(of, _)| *of != leg),
            Event::Keys => {}
            Event::ConsentLost => self.lost = Some((leg, now)),
            Event::Failed(failure) => self.failed = Some(failure.to_string()),
        }
    }
}

impl Call {
    /// When something is due.
    pub(crate) fn poll_timeout(&self) -> Instant {
        if self.life.failed.is_some() {
            return self.life.began;
        }
        let ends = std::iter::once(&self.caller).chain(
            self.branches
                .iter()
                .filter_map(|branch| branch.end.as_ref()),
        );
        let due = ends.filter_map(|end| match &end.leg.way {
            Way::Web(web) => web.transport.poll_timeout(),
            Way::Plain(_) => None,
        });
        let due = due.chain(self.events_due());
        due.chain([self.life.look]).min().unwrap_or(self.life.look)
    }

    /// The legs that had something due, and have something to say maybe.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<u16> {
        let callees = self.branches.iter_mut().map(|branch| branch.end.as_mut());
        let ends = std::iter::once(Some(&mut self.caller)).chain(callees);
        let mut legs = Vec::new();
        for (end, leg) in ends.zip(0..) {
            if let Some(Way::Web(web)) = end.map(|end| &mut end.leg.way)
                && web.transport.poll_timeout().is_some_and(|due| due <= now)
            {
                web.transport.handle_timeout(now);
                legs.push(leg);
            }
        }
        legs
    }

    /// Why the call is dead, if it is.
    pub(crate) fn dead(&mut self, now: Instant, limits: &Limits) -> Option<String> {
        if let Some(failed) = self.life.failed.take() {
            return Some(failed);
        }
        if now < self.life.look {
            return None;
        }
        self.life.look = now + LOOK;
        let Some(agreed) = self.life.agreed else {
            let forgotten = now.duration_since(self.life.began) >= limits.ringing();
            return forgotten.then(|| "nobody answered".to_owned());
        };
        if let Some((_, since)) = self.life.lost
            && now.duration_since(since) >= limits.silence()
        {
            return Some("the browser went away".to_owned());
        }
        let (caller, callee) = (&self.caller, self.branches.get(self.joined?)?.end.as_ref()?);
        if [caller, callee].iter().any(|end| end.leg.is_broken()) {
            return Some("a codec failed on what it was given".to_owned());
        }
        let silent = |end: &End, hearer: &End| {
            end.is_to_be_heard(hearer)
                && now.duration_since(end.leg.heard.map_or(agreed, |heard| heard.max(agreed)))
                    >= limits.silence()
        };
        let pairs = [(caller, callee), (callee, caller)];
        let (end, _) = { pairs }
            .into_iter()
            .find(|(end, hearer)| silent(end, hearer))?;
        Some(end.diagnosis(now).unwrap_or_else(|| {
            let who = if end.party.is_web() {
                "browser"
            } else {
                "SIP end"
            };
            format!(
                "nothing was heard from the {who} for {} s",
                limits.silence().as_secs()
            )
        }))
    }

    /// How it does now.
    pub(crate) fn report(&self, now: Instant, name: &Arc<str>) -> CallReport {
        CallReport {
            call: Arc::clone(name),
            died: None,
            duration: now.duration_since(self.life.began),
            stage: match self.won {
                Some(_) => Stage::Answered,
                None => Stage::Ringing,
            },
            legs: self.legs_report(now),
        }
    }

    /// The codecs panic from now on.
    #[cfg(test)]
    pub(crate) fn break_codecs(&mut self) {
        self.caller.leg.break_codecs();
        let callees = self.branches.iter_mut();
        let callees = callees.filter_map(|branch| branch.end.as_mut());
        callees.for_each(|end| end.leg.break_codecs());
    }

    /// Of the caller, and of who was joined with him.
    fn legs_report(&self, now: Instant) -> Vec<LegReport> {
        let joined = self
            .joined
            .and_then(|index| self.branches.get(index)?.end.as_ref());
        let Some(callee) = joined else {
            return vec![self.caller.report(now, Vec::new())];
        };
        vec![
            self.caller.report(now, callee.hears()),
            callee.report(now, self.caller.hears()),
        ]
    }
}

impl End {
    /// Whether it has agreed to send something that the other one has agreed to hear.
    fn is_to_be_heard(&self, by: &End) -> bool {
        let (Some(said), Some(hears)) = (&self.party.said, &by.party.said) else {
            return false;
        };
        let flows = |(from, to): (&Section, &Section)| {
            !from.is_refused()
                && !to.is_refused()
                && from.direction.has_send()
                && to.direction.has_recv()
        };
        said.sections.iter().zip(&hears.sections).any(flows)
    }

    fn diagnosis(&self, now: Instant) -> Option<String> {
        match &self.leg.way {
            Way::Web(web) => web.transport.diagnosis(now),
            Way::Plain(plain) => plain
                .transports()
                .find_map(|transport| transport.diagnosis(now)),
        }
    }

    fn hears(&self) -> Vec<StreamReport> {
        let told = self.party.told.iter().flat_map(|told| &told.sections);
        let streams = told.zip(self.leg.stats());
        streams
            .filter_map(|(section, stats)| {
                let kind = section.kind.clone();
                stats.map(|stats| StreamReport { kind, stats })
            })
            .collect()
    }

    fn report(&self, now: Instant, sent: Vec<StreamReport>) -> LegReport {
        LegReport {
            web: self.party.is_web(),
            sent,
            refused: match &self.leg.way {
                Way::Web(web) => web.transport.refused(),
                Way::Plain(plain) => {
                    let refused = plain.transports().map(PlainTransport::refused);
                    refused
                        .map(|refused| refused.packets + refused.strangers)
                        .sum()
                }
            },
            diagnosis: self.diagnosis(now),
        }
    }
}
