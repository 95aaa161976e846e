//! What stands in for media: it answers what it is told to answer, and remembers what it was asked about, since it must hear of each
//! end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hookswitch_sip::proxy::io::{
    AskId, Direction, Input, MediaBranch, MediaMode, MediaNews, MediaVerdict, SdpRole,
};

use super::{Event, World};

/// What media knows.
#[derive(Debug, Default)]
pub struct MediaBook {
    /// Branches of calls that it was asked about and whose outcome it has not heard, with the proxy's life.
    open: BTreeMap<Name, u32>,
    /// Those that were answered.
    answered: BTreeSet<Name>,
}

/// Of a call, and of its branch.
type Name = (String, String);

fn name(branch: &MediaBranch) -> Name {
    (branch.call.to_string(), branch.branch.to_string())
}

impl MediaBook {
    fn asked(&mut self, branch: &MediaBranch, life: u32) {
        if !self.answered.contains(&name(branch)) {
            self.open.insert(name(branch), life);
        }
    }

    fn heard(&mut self, news: &MediaNews) {
        match news {
            MediaNews::Answered(branch) => {
                self.open.remove(&name(branch));
                self.answered.insert(name(branch));
            }
            MediaNews::Rejected(branch) | MediaNews::Lost(branch) | MediaNews::Ended(branch) => {
                self.open.remove(&name(branch));
            }
            MediaNews::Failed { call } => self.open.retain(|(of, _), _| *of != **call),
        }
    }

    /// All that it ever heard of.
    fn calls(&self) -> BTreeSet<Arc<str>> {
        let names = self.open.keys().chain(&self.answered);
        names.map(|(call, _)| Arc::from(call.as_str())).collect()
    }

    /// Branches of which this life of the proxy said nothing more.
    pub fn unheard(&self, life: u32) -> impl Iterator<Item = &str> {
        let of_life = self.open.iter().filter(move |(_, began)| **began == life);
        of_life.map(|((call, _), _)| call.as_str())
    }
}

impl World {
    /// Nothing passes any more through any call that media knows of.
    pub fn media_dies(&mut self, reason: &str) {
        for call in self.media.calls() {
            for worker in 0..self.node.workers.len() {
                let input = Input::EndCall {
                    call: Arc::clone(&call),
                    reason: reason.to_owned(),
                };
                self.tell_worker(Duration::ZERO, worker, input);
            }
        }
    }

    pub(super) fn ask_media(
        &mut self,
        worker: usize,
        id: AskId,
        branch: &MediaBranch,
        what: (Direction, SdpRole, Option<MediaMode>),
        sdp: &[u8],
    ) {
        let life = self.node.life;
        self.media.asked(branch, life);
        if self.ladder.show_asks {
            let (direction, role, mode) = what;
            let sdp = String::from_utf8_lossy(sdp).trim_end().to_owned();
            let by = mode.map_or(String::new(), |mode| format!(", by {mode:?}"));
            let text = format!("proxy asks media {direction:?} {role:?} [{sdp}]{by}");
            self.ladder.note(self.now, &text);
        }
        let verdict = self.oracles.media_act.verdict();
        let input = Box::new(Input::MediaDone { id, verdict });
        let event = Event::Worker {
            worker,
            life,
            input,
        };
        self.later(self.oracles.media, event);
    }

    /// Media has no way to tell the other end.
    pub(super) fn press(&mut self, worker: usize, id: AskId) {
        let verdict = MediaVerdict::Unchanged;
        let event = Event::Worker {
            worker,
            life: self.node.life,
            input: Box::new(Input::MediaDone { id, verdict }),
        };
        self.later(self.oracles.media, event);
    }

    pub(super) fn tell_media(&mut self, news: &MediaNews) {
        self.media.heard(news);
        if !self.ladder.show_news {
            return;
        }
        let of = |branch: &MediaBranch| match &branch.to_tag {
            None => format!("branch {}", branch.branch),
            Some(_) => format!("a dialog of branch {}", branch.branch),
        };
        let text = match news {
            MediaNews::Answered(branch) => format!("{} is answered", of(branch)),
            MediaNews::Rejected(branch) => format!("an offer in {} is rejected", of(branch)),
            MediaNews::Lost(branch) => format!("{} is lost", of(branch)),
            MediaNews::Ended(branch) => format!("{} is over", of(branch)),
            MediaNews::Failed { .. } => "nobody answered".to_owned(),
        };
        self.ladder.note(self.now, &format!("media hears: {text}"));
    }
}
