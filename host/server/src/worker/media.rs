//! From the proxy's words to those of media, and back; and who answers for which branch.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hookswitch_media as media;
use hookswitch_sip::proxy::io::{
    AskId, Direction, Input, Leg, MediaBranch, MediaMode, MediaNews, MediaVerdict, SdpRole,
};
use tokio::sync::mpsc;

use super::{Worker, WorkerRef};
use crate::media::{By, Late, Media};

/// A call of whose end nothing was heard for this long is thought to be over.
const CALL_MAX: Duration = Duration::from_secs(12 * 3_600);

/// What [`hookswitch_sip::proxy::io::Output::Media`] has.
pub(super) struct Description {
    pub(super) branch: MediaBranch,
    pub(super) direction: Direction,
    pub(super) role: SdpRole,
    pub(super) sdp: Bytes,
    pub(super) mode: Option<MediaMode>,
}

/// Who answers for the branches of calls: decided by the first offer, and kept while the branch lives. After a restart the next offer
/// decides anew.
#[derive(Debug)]
pub(super) struct Seats {
    calls: HashMap<Arc<str>, Call>,
    calls_max: usize,
    /// Asks without an answer.
    asked: HashSet<AskId>,
}

#[derive(Debug)]
struct Call {
    begun_at: Instant,
    branches: Vec<(Arc<str>, By)>,
}

impl Seats {
    pub(super) fn new(calls_max: usize) -> Self {
        Self {
            calls: HashMap::new(),
            calls_max,
            asked: HashSet::new(),
        }
    }

    fn find(&self, branch: &media::Branch) -> Option<By> {
        let branches = &self.calls.get(&branch.call)?.branches;
        let found = branches.iter().find(|(name, _)| *name == branch.branch);
        found.map(|(_, by)| *by)
    }

    /// Says whether there was room.
    fn take(&mut self, branch: &media::Branch, by: By, now: Instant) -> bool {
        if self.calls.len() >= self.calls_max && !self.calls.contains_key(&branch.call) {
            return false;
        }
        let call = self.calls.entry(Arc::clone(&branch.call));
        let call = call.or_insert_with(|| Call {
            begun_at: now,
            branches: Vec::new(),
        });
        call.branches.push((Arc::clone(&branch.branch), by));
        true
    }

    fn leave(&mut self, branch: &media::Branch) {
        let Some(call) = self.calls.get_mut(&branch.call) else {
            return;
        };
        call.branches.retain(|(name, _)| *name != branch.branch);
        if call.branches.is_empty() {
            self.calls.remove(&branch.call);
        }
    }

    fn hear(&mut self, news: &media::News) {
        match news {
            media::News::Answered(_) | media::News::Rejected(_) => {}
            media::News::Lost(branch) | media::News::Ended(branch) => self.leave(branch),
            media::News::Failed { call } => drop(self.calls.remove(call)),
        }
    }

    /// Forgets calls that have been up for too long.
    pub(super) fn expire(&mut self, now: Instant) {
        let is_new = |call: &mut Call| now.duration_since(call.begun_at) < CALL_MAX;
        self.calls.retain(|_, call| is_new(call));
    }

    fn by(
        &mut self,
        media: &Media,
        ask: &media::Ask,
        legs: (Leg, Leg),
        mode: Option<MediaMode>,
    ) -> Option<By> {
        if let Some(by) = self.find(&ask.branch) {
            return Some(by);
        }
        match ask.role {
            // Nobody has seen its offer: a restart lies between.
            media::Role::Answer => Some(By::Nobody),
            media::Role::Offer => {
                let by = media.by(ask, legs, mode);
                self.take(&ask.branch, by, Instant::now()).then_some(by)
            }
        }
    }
}

impl Worker {
    pub(super) fn ask_media(&mut self, id: AskId, description: Description) {
        let media = &self.shared.media;
        let verdict = if media.is_idle() {
            Some(MediaVerdict::Unchanged)
        } else {
            let legs = (description.branch.caller, description.branch.callee);
            let mode = description.mode;
            let ask = ask_of(media, description);
            match self.seats.by(media, &ask, legs, mode) {
                Some(by) => media.ask(by, self.id, id, ask).err().map(verdict),
                None => Some(MediaVerdict::Refuse {
                    status: 500,
                    reason: "limits.calls_max".to_owned(),
                }),
            }
        };
        match verdict {
            Some(verdict) => self.inputs.push_back(Input::MediaDone { id, verdict }),
            None => drop(self.seats.asked.insert(id)),
        }
    }

    /// Whoever answers for the branch may have a way to tell the other end of a key.
    pub(super) fn press(
        &mut self,
        id: AskId,
        branch: MediaBranch,
        direction: Direction,
        body: Bytes,
    ) {
        let media = &self.shared.media;
        let press = media::Press {
            branch: branch_of(media, branch),
            direction: direction_of(direction),
            body,
        };
        let by = self.seats.find(&press.branch).unwrap_or(By::Nobody);
        match media.press(by, self.id, id, press) {
            Ok(()) => drop(self.seats.asked.insert(id)),
            Err(answer) => {
                let verdict = verdict(answer);
                self.inputs.push_back(Input::MediaDone { id, verdict });
            }
        }
    }

    /// It need not have been media that was asked.
    pub(super) fn withdraw(&mut self, id: AskId) {
        if self.seats.asked.remove(&id) {
            self.shared.media.withdraw(self.id, id);
        }
    }

    pub(super) fn tell_media(&mut self, news: MediaNews) {
        let media = &self.shared.media;
        if media.is_idle() {
            return;
        }
        let news = news_of(media, news);
        let by = match &news {
            media::News::Answered(branch)
            | media::News::Rejected(branch)
            | media::News::Lost(branch)
            | media::News::Ended(branch) => self.seats.find(branch),
            media::News::Failed { .. } => None,
        };
        self.seats.hear(&news);
        media.hear(by, self.id, news);
    }

    fn hear_late(&mut self, late: Late) {
        match late {
            Late::Answer(id, answer) => {
                if self.seats.asked.remove(&id) {
                    let verdict = verdict(answer);
                    self.handle(Input::MediaDone { id, verdict });
                }
            }
            Late::Dead { call, reason } => self.handle(Input::EndCall { call, reason }),
        }
    }
}

/// Answers that come late, at most as many as were asked for, and calls that have died.
pub(super) async fn late_answers(mut late: mpsc::UnboundedReceiver<Late>, worker: WorkerRef) {
    while let Some(late) = late.recv().await {
        worker
            .borrow_mut()
            .turn(|worker| worker.guard(|worker| worker.hear_late(late)));
    }
    // Nobody answers any more: so it should be where nobody is asked, and is a fault elsewhere.
    if worker.borrow().shared.media.is_idle() {
        std::future::pending().await
    }
}

fn ask_of(media: &Media, description: Description) -> media::Ask {
    media::Ask {
        branch: branch_of(media, description.branch),
        direction: direction_of(description.direction),
        role: match description.role {
            SdpRole::Offer => media::Role::Offer,
            SdpRole::Answer => media::Role::Answer,
        },
        sdp: description.sdp,
    }
}

fn direction_of(direction: Direction) -> media::Direction {
    match direction {
        Direction::ToCallee => media::Direction::ToCallee,
        Direction::ToCaller => media::Direction::ToCaller,
    }
}

fn branch_of(media: &Media, branch: MediaBranch) -> media::Branch {
    media::Branch {
        caller: media.leg(branch.caller),
        callee: media.leg(branch.callee),
        call: branch.call,
        branch: branch.branch,
        to_tag: branch.to_tag,
    }
}

fn news_of(media: &Media, news: MediaNews) -> media::News {
    let of = |branch| branch_of(media, branch);
    match news {
        MediaNews::Answered(branch) => media::News::Answered(of(branch)),
        MediaNews::Rejected(branch) => media::News::Rejected(of(branch)),
        MediaNews::Lost(branch) => media::News::Lost(of(branch)),
        MediaNews::Ended(branch) => media::News::Ended(of(branch)),
        MediaNews::Failed { call } => media::News::Failed { call },
    }
}

fn verdict(answer: media::Answer) -> MediaVerdict {
    match answer {
        media::Answer::Unchanged => MediaVerdict::Unchanged,
        media::Answer::Replace(sdp) => MediaVerdict::Replace(sdp),
        media::Answer::Taken => MediaVerdict::Taken,
        media::Answer::Refuse { status, reason } => MediaVerdict::Refuse { status, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(call: &str, branch: &str) -> media::Branch {
        media::Branch {
            call: call.into(),
            branch: branch.into(),
            to_tag: None,
            caller: media::Leg::Web,
            callee: media::Leg::Sip(None),
        }
    }

    #[test]
    fn a_branch_keeps_who_answers_for_it_while_it_lives() {
        let mut seats = Seats::new(1);
        let now = Instant::now();
        assert!(seats.take(&branch("a", "0"), By::Rtpengine, now));
        assert!(seats.take(&branch("a", "1"), By::Nobody, now));
        assert!(!seats.take(&branch("b", "0"), By::Nobody, now));
        assert_eq!(seats.find(&branch("a", "1")), Some(By::Nobody));
        seats.hear(&media::News::Lost(branch("a", "1")));
        assert_eq!(seats.find(&branch("a", "1")), None);
        assert_eq!(seats.find(&branch("a", "0")), Some(By::Rtpengine));
        seats.hear(&media::News::Answered(branch("a", "0")));
        seats.hear(&media::News::Ended(branch("a", "0")));
        assert!(seats.calls.is_empty());
        assert!(seats.take(&branch("b", "0"), By::Nobody, now));
        seats.hear(&media::News::Failed { call: "b".into() });
        assert!(seats.calls.is_empty());
    }

    #[test]
    fn calls_of_which_nothing_is_heard_are_forgotten() {
        let mut seats = Seats::new(2);
        let now = Instant::now();
        seats.take(&branch("a", "0"), By::Rtpengine, now);
        seats.expire(now + CALL_MAX);
        assert!(seats.calls.is_empty());
    }
}
