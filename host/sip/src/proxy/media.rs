//! Media as the proxy sees it: what it asks about a session description, and what it tells of the branches that it asked about.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Proxy,
    branch::Branch,
    dialog::InDialog,
    ids::{BranchId, TxId},
    io::{Direction, Output},
    place::{self, Place},
    seal,
};
use crate::{
    flow::UpstreamId,
    message::{Message, Method},
};

/// Opaque name of a branch of a call for whoever handles its media.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MediaBranch {
    /// Call-ID, From tag and passage.
    pub call: Arc<str>,
    /// Our branch of the INVITE that made the dialog.
    pub branch: Arc<str>,
    /// The To tag, once there is one.
    pub to_tag: Option<Arc<str>>,
    /// Where the offerer of the dialog is.
    pub caller: Leg,
    /// Where the answerer is.
    pub callee: Leg,
}

/// One end of a call as media sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// WebRTC.
    Web,
    /// Plain SIP, by this upstream if it is one.
    Sip(Option<UpstreamId>),
}

/// RFC 3264.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SdpRole {
    /// Asks.
    Offer,
    /// Answers.
    Answer,
}

/// The answer to [`Output::Media`] and [`Output::Key`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaVerdict {
    /// Passes untouched.
    Unchanged,
    /// Leaves with this body.
    Replace(Bytes),
    /// It does not leave, for the other end hears of it in the media: the request gets 200.
    Taken,
    /// A request gets this answer; a response, or an ACK, passes without its body, since a call that was answered cannot fail any more.
    Refuse {
        /// 488, 500, …
        status: u16,
        /// Says why.
        reason: String,
    },
}

/// What a policy chose for the media of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediaMode {
    /// By what the target speaks.
    Auto,
    /// From end to end.
    Direct,
    /// Through us.
    Relay,
    /// Through a cluster of rtpengines.
    Rtpengine,
}

/// What became of branches that media was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MediaNews {
    /// A 2xx of whoever has this To tag is on its way to the caller.
    Answered(MediaBranch),
    /// An offer within the dialog came to nothing: what was agreed before it stands (RFC 3261 §14.1).
    Rejected(MediaBranch),
    /// This branch, whatever the To tag, was not answered and never will be; others of its call may be.
    Lost(MediaBranch),
    /// This dialog was ended by BYE.
    Ended(MediaBranch),
    /// Nobody answered the INVITE: all branches of this call are over.
    Failed {
        /// As [`MediaBranch`] has it.
        call: Arc<str>,
    },
}

/// Does media know of a branch, and is it to hear what becomes of it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It was never asked.
    Unknown,
    /// It was asked, and waits for the outcome.
    Waiting,
    /// It knows all that there is.
    Outcome,
}

impl Proxy {
    /// Media is about to be asked about a description of this branch.
    pub(super) fn media_asked(&mut self, id: BranchId, name: &MediaBranch) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        if branch.told == Told::Unknown {
            branch.told = Told::Waiting;
        }
        if let Some(tx) = self.servers.get_mut(&branch.tx)
            && tx.dialog.is_none()
        {
            tx.media_call.get_or_insert_with(|| Arc::clone(&name.call));
        }
    }

    /// A 2xx of the branch is on its way.
    pub(super) fn media_answered(&mut self, id: BranchId, response: &Message) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        if branch.told == Told::Unknown {
            return;
        }
        branch.told = Told::Outcome;
        let Some(branch) = self.branches.get(&id).filter(|branch| branch.is_invite()) else {
            return;
        };
        if self.dialog_of(branch).is_none() {
            let name = self.media_branch(branch, response);
            self.media_news(MediaNews::Answered(name));
        }
    }

    /// A branch has failed for good: no 2xx can come of it any more.
    pub(super) fn media_lost(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get_mut(&id) else {
            return;
        };
        if branch.told != Told::Waiting {
            return;
        }
        branch.told = Told::Outcome;
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let name = self.media_branch(branch, &branch.request);
        let tx = self.servers.get(&branch.tx);
        let is_over = tx.is_none_or(|tx| tx.dialog.is_none() && tx.media_call.is_none());
        match self.dialog_of(branch) {
            Some(_) => self.media_news(MediaNews::Rejected(name)),
            // Said already, of the whole call.
            None if is_over => {}
            None => self.media_news(MediaNews::Lost(name)),
        }
    }

    /// A transaction has come to its end with this status, 0 if it was not answered.
    pub(super) fn media_after(&mut self, id: TxId, status: u16) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        if !(200..300).contains(&status)
            && let Some(call) = tx.media_call.take()
        {
            return self.media_news(MediaNews::Failed { call });
        }
        let Some(InDialog { token, direction }) = tx.dialog else {
            return;
        };
        // Challenged, it comes again.
        if tx.request.method() != Some(Method::Bye) || matches!(status, 401 | 407) {
            return;
        }
        let here = place::leg_of(tx.flow.side);
        let there = Place::at_end(&self.config, *token.to(direction)).leg();
        let (caller, callee) = match direction {
            Direction::ToCallee => (here, there),
            Direction::ToCaller => (there, here),
        };
        let (passage, index) = (token.passage, token.branch);
        let name = seal::media_branch(&tx.request, direction, passage, index, caller, callee);
        self.media_news(MediaNews::Ended(name));
    }

    /// What a policy chose for the media of this branch.
    pub(super) fn media_mode(&self, branch: &Branch) -> Option<MediaMode> {
        match self.dialog_of(branch) {
            Some(dialog) => dialog.token.media,
            None => branch.candidate.media,
        }
    }

    fn dialog_of(&self, branch: &Branch) -> Option<InDialog> {
        self.servers.get(&branch.tx)?.dialog
    }

    fn media_news(&mut self, news: MediaNews) {
        self.outputs.push_back(Output::MediaNews(news));
    }
}
