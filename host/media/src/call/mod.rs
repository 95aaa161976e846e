//! One call: what its ends say to each other (RFC 3264), and which of their packets meet.
//!
//! There is one end that called, and one for each branch that was called. For each there is kept what it said last and what it was told
//! last; every description is computed from these, and never from what came before. The caller's leg is one for the life of the call,
//! whoever answers: a browser has one PeerConnection. The newest answer is who is heard, until signalling says who has won.

pub(crate) mod desk;
mod keys;
mod leg;
mod life;
mod packets;
mod party;
mod plain;
mod transcode;
mod translate;
mod web;

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;

use crate::{
    Ask, Branch as Name, Direction, Role,
    sdp::{self, SdpError, Session},
    sockets::OpenError,
};
use desk::{Desk, LegKey};
use leg::Leg;
use life::Life;
pub use life::{LegReport, Stage, StreamReport};
pub(crate) use packets::Passage;
use party::{Party, Speaks};
use transcode::Room;
use translate::Passed;
pub(crate) use translate::Unfit;

/// Why a description does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// It is not understood.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// The other end cannot be told so.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// No ports.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An answer without an offer.
    #[error("an answer to no offer")]
    NoOffer,
    /// No more calls.
    #[error("more than {max} calls of one media worker")]
    Full {
        /// How many there may be.
        max: usize,
    },
    /// A limit within a call.
    #[error("more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
}

impl CallError {
    /// For whoever sent it. 503 is for an engine that is full: the others do not tell a PBX to stop using us.
    #[must_use]
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Sdp(_) | Self::Unfit(_) => 488,
            Self::Open(_) | Self::NoOffer | Self::TooMany { .. } => 500,
            Self::Full { .. } => 503,
        }
    }
}

/// One call.
pub(crate) struct Call {
    key: u32,
    caller: End,
    branches: Vec<Branch>,
    /// The branch that was answered last, or that has won.
    joined: Option<usize>,
    /// The branch and the To tag of a 2xx.
    won: Option<(usize, Option<Arc<str>>)>,
    transcodes: bool,
    life: Life,
}

struct End {
    party: Party,
    leg: Leg,
}

struct Branch {
    name: Arc<str>,
    /// `None` once it is over: the others keep their places.
    end: Option<End>,
    dialogs: Vec<Dialog>,
}

/// The last exchange with one To tag. That of the INVITE, which many may answer, has none.
#[derive(Clone)]
struct Dialog {
    to_tag: Option<Arc<str>>,
    offerer: Side,
    offer: Passed,
    answer: Option<Passed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Caller,
    Callee,
}

impl Side {
    /// Who says what travels so.
    fn speaks(direction: Direction) -> Self {
        match direction {
            Direction::ToCallee => Self::Caller,
            Direction::ToCaller => Self::Callee,
        }
    }
}

impl Call {
    pub(crate) fn new(desk: &mut Desk<'_>, key: u32, name: &Name) -> Self {
        Self {
            key,
            caller: End::new(desk, LegKey { call: key, leg: 0 }, name.caller),
            branches: Vec::new(),
            joined: None,
            won: None,
            transcodes: false,
            life: Life::new(desk.now),
        }
    }

    /// What the far end is told instead.
    pub(crate) fn ask(&mut self, desk: &mut Desk<'_>, ask: &Ask) -> Result<Bytes, CallError> {
        let said = Session::parse(&ask.sdp)?;
        let index = self.branch(desk, &ask.branch, ask.role)?;
        let speaker = Side::speaks(ask.direction);
        let told = match ask.role {
            Role::Offer => self.offer(desk, index, &ask.branch, speaker, said),
            Role::Answer => self.answer(desk, index, &ask.branch, speaker, said),
        };
        if told.is_err()
            && self
                .branches
                .get(index)
                .is_some_and(|branch| branch.dialogs.is_empty())
        {
            self.close_branch(desk, index);
        }
        told
    }

    fn offer(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        name: &Name,
        speaker: Side,
        said: Session,
    ) -> Result<Bytes, CallError> {
        let room = self.room(desk);
        let (from, to) = self.ends(index, speaker).ok_or(CallError::NoOffer)?;
        from.understands(&said)?;
        from.party.note(&said);
        let mut told = translate::offer(&said, &from.party, &mut to.party, room)?;
        let there = to.party.said.as_ref().and_then(address);
        to.leg.open(desk, &told, there)?;
        from.leg.open(desk, &told, address(&said))?;
        to.leg.dress(desk, &mut told, None);
        let told = to.party.tell(told).clone();
        let body = to.written(&told);
        let dialog = Dialog {
            to_tag: name.to_tag.clone(),
            offerer: speaker,
            offer: Passed { said, told },
            answer: None,
        };
        self.keep(desk, index, dialog)?;
        Ok(body)
    }

    fn answer(
        &mut self,
        desk: &mut Desk<'_>,
        index: usize,
        name: &Name,
        speaker: Side,
        said: Session,
    ) -> Result<Bytes, CallError> {
        let asked = self.asked(index, name, speaker).ok_or(CallError::NoOffer)?;
        let room = self.room(desk);
        let (from, to) = self.ends(index, speaker).ok_or(CallError::NoOffer)?;
        from.understands(&said)?;
        let mut told = translate::answer(&asked.offer, &said, &to.party, room)?;
        to.leg.hear(desk, &asked.offer.said, Role::Offer);
        from.leg.hear(desk, &said, Role::Answer);
        to.leg.dress(desk, &mut told, Some(&asked.offer.said));
        let told = to.party.tell(told).clone();
        let body = to.written(&told);
        let dialog = Dialog {
            to_tag: name.to_tag.clone(),
            answer: Some(Passed { said, told }),
            ..asked
        };
        self.keep(desk, index, dialog.clone())?;
        let (wins, winner) = ((index, &name.to_tag), self.won.as_ref());
        if winner.is_none_or(|(branch, to_tag)| wins == (*branch, to_tag)) {
            self.join(desk, index, &dialog);
        }
        Ok(body)
    }

    /// Lets the two ends of an exchange hear each other as they have agreed.
    fn join(&mut self, desk: &mut Desk<'_>, index: usize, dialog: &Dialog) {
        let won = self.won.is_some();
        let (Some(answer), Some((offerer, answerer))) =
            (&dialog.answer, self.ends(index, dialog.offerer))
        else {
            return;
        };
        let (asked, answered) = (
            (&dialog.offer.said, &answer.told),
            (&answer.said, &dialog.offer.told),
        );
        for (end, (said, told)) in [(&mut *offerer, asked), (&mut *answerer, answered)] {
            end.party.said = Some(said.clone());
            end.leg.agree(said, told);
            if won {
                end.leg.tidy(desk, &answer.said);
            }
        }
        let there = offerer.leg.feed(answered, asked);
        let back = answerer.leg.feed(asked, answered);
        self.transcodes = there || back;
        self.joined = Some(index);
        self.life.agreed(desk.now);
    }

    /// A 2xx: this branch and To tag have won, and the others give their ports back.
    pub(crate) fn established(&mut self, desk: &mut Desk<'_>, name: &Name) {
        let Some(index) = self.position(name).filter(|_| self.won.is_none()) else {
            return;
        };
        self.won = Some((index, name.to_tag.clone()));
        for other in (0..self.branches.len()).filter(|other| *other != index) {
            self.close_branch(desk, other);
        }
        let dialogs = self.branches.get_mut(index).map(|branch| {
            branch
                .dialogs
                .retain(|dialog| dialog.to_tag == name.to_tag || dialog.to_tag.is_none());
            branch.dialogs.clone()
        });
        // It may have been answered before another one was heard.
        let mut dialogs = dialogs.into_iter().flatten();
        if let Some(dialog) = dialogs.find(|dialog| dialog.to_tag == name.to_tag) {
            self.join(desk, index, &dialog);
        }
    }

    /// Whether this dialog is the call: it has won, or none has yet.
    pub(crate) fn lives_by(&self, name: &Name) -> bool {
        self.won.as_ref().is_none_or(|(index, to_tag)| {
            self.position(name) == Some(*index) && *to_tag == name.to_tag
        })
    }

    /// A branch failed.
    pub(crate) fn branch_over(&mut self, desk: &mut Desk<'_>, name: &Name) {
        if let Some(index) = self.position(name) {
            self.close_branch(desk, index);
        }
    }

    /// How many legs there are but the caller's.
    pub(crate) fn legs(&self) -> u16 {
        u16::try_from(self.branches.len()).unwrap_or(u16::MAX)
    }

    /// Whether nobody is called any more.
    pub(crate) fn is_over(&self) -> bool {
        self.branches.iter().all(|branch| branch.end.is_none())
    }

    /// Whether its ends share no codec.
    pub(crate) fn transcodes(&self) -> bool {
        self.transcodes
    }

    /// A call that is transcoded stays so.
    fn room(&self, desk: &Desk<'_>) -> Room {
        match self.transcodes || desk.transcoded_calls < desk.config.limits.transcoded_calls_max {
            true => Room::Left,
            false => Room::Full,
        }
    }

    /// All that it had is free again.
    pub(crate) fn close(&mut self, desk: &mut Desk<'_>) {
        self.caller.leg.close(desk);
        for index in 0..self.branches.len() {
            self.close_branch(desk, index);
        }
    }

    fn close_branch(&mut self, desk: &mut Desk<'_>, index: usize) {
        let Some(branch) = self.branches.get_mut(index) else {
            return;
        };
        if let Some(mut end) = branch.end.take() {
            end.leg.close(desk);
        }
        branch.dialogs.clear();
        self.joined = self.joined.filter(|joined| *joined != index);
        self.transcodes &= self.joined.is_some();
    }

    /// The place of a branch; an offer makes one.
    fn branch(&mut self, desk: &mut Desk<'_>, name: &Name, role: Role) -> Result<usize, CallError> {
        match (self.position(name), role) {
            (Some(index), _) => return Ok(index),
            (None, Role::Answer) => return Err(CallError::NoOffer),
            (None, Role::Offer) => {}
        }
        let (index, max) = (self.branches.len(), desk.config.limits.branches_max);
        let live = self.branches.iter().filter(|branch| branch.end.is_some());
        let is_full = live.count() >= max;
        let leg = u16::try_from(index + 1).ok().filter(|_| !is_full);
        let leg = leg.ok_or(CallError::TooMany {
            what: "branches of one call",
            max,
        })?;
        let key = LegKey {
            call: self.key,
            leg,
        };
        self.branches.push(Branch {
            name: Arc::clone(&name.branch),
            end: Some(End::new(desk, key, name.callee)),
            dialogs: Vec::new(),
        });
        Ok(index)
    }

    fn position(&self, name: &Name) -> Option<usize> {
        let mut branches = self.branches.iter();
        branches.position(|branch| branch.name == name.branch && branch.end.is_some())
    }

    /// What was offered to whoever speaks now: in this dialog, or by the INVITE to all.
    fn asked(&self, index: usize, name: &Name, speaker: Side) -> Option<Dialog> {
        let dialogs = &self.branches.get(index)?.dialogs;
        let of = |to_tag: &Option<Arc<str>>| {
            let mut dialogs = dialogs.iter();
            dialogs.find(|dialog| dialog.to_tag == *to_tag && dialog.offerer != speaker)
        };
        of(&name.to_tag).or_else(|| of(&None)).cloned()
    }

    /// In place of what this dialog had.
    fn keep(&mut self, desk: &Desk<'_>, index: usize, dialog: Dialog) -> Result<(), CallError> {
        let max = desk.config.limits.dialogs_max;
        let Some(branch) = self.branches.get_mut(index) else {
            return Ok(());
        };
        branch.dialogs.retain(|kept| kept.to_tag != dialog.to_tag);
        if branch.dialogs.len() >= max {
            return Err(CallError::TooMany {
                what: "answers to one branch",
                max,
            });
        }
        branch.dialogs.push(dialog);
        Ok(())
    }

    /// Who speaks, and who is told.
    fn ends(&mut self, index: usize, speaker: Side) -> Option<(&mut End, &mut End)> {
        let callee = self.branches.get_mut(index)?.end.as_mut()?;
        Some(match speaker {
            Side::Caller => (&mut self.caller, callee),
            Side::Callee => (callee, &mut self.caller),
        })
    }

    /// One leg, and the one that hears it.
    fn meeting(&mut self, leg: u16) -> Option<(&mut End, Option<&mut End>)> {
        let Some(index) = usize::from(leg).checked_sub(1) else {
            let joined = self
                .joined
                .and_then(|index| self.branches.get_mut(index)?.end.as_mut());
            return Some((&mut self.caller, joined));
        };
        let heard = (self.joined == Some(index)).then_some(&mut self.caller);
        Some((self.branches.get_mut(index)?.end.as_mut()?, heard))
    }
}

impl End {
    fn new(desk: &mut Desk<'_>, key: LegKey, end: crate::Leg) -> Self {
        let speaks = match desk.config.profile(end) {
            None => Speaks::Web,
            Some(profile) => Speaks::Plain {
                protocol: profile.protocol.clone(),
                codecs: profile.codecs.clone(),
            },
        };
        Self {
            party: Party::new(speaks, desk.chance.number()),
            leg: Leg::new(desk, key, end),
        }
    }

    /// Whether what it says is of its kind.
    fn understands(&self, said: &Session) -> Result<(), Unfit> {
        match self.party.speaks {
            Speaks::Web => web::transport(said).map(|_| ()),
            Speaks::Plain { .. } => Ok(()),
        }
    }

    fn written(&self, told: &Session) -> Bytes {
        match self.party.speaks {
            Speaks::Web => sdp::web::write(told),
            Speaks::Plain { .. } => sdp::plain::write(told),
        }
    }
}

fn address(said: &Session) -> Option<IpAddr> {
    said.sections.iter().find_map(|section| section.address)
}
