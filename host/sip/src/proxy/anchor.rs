//! What is kept of a call whose media passes through us, so that it can be ended when that has died (`hang_up`).
//!
//! Media says that a call passes through it by replacing a description of its INVITE. From then on the call has a record, and in it what
//! a request of either end needs (RFC 3261 §12.2.1.1), as that end would write it itself and as it stands where it reaches us: the highest
//! CSeq that came from there, and for each dialog that was answered From, To, the remote target, and the Routes beyond us. The rest of
//! the way is in the flow token. There are as many records as `calls_max`, and as many dialogs in one as branches and their answers; a
//! dialog is forgotten with its BYE. A call that media lets pass has no such record, and only its ends can end it.

use std::sync::Arc;

use super::{
    Proxy,
    dialog::{InDialog, with_tag},
    ids::{BranchId, CallKey, TxId},
    io::Direction,
    relay::reverse,
};
use crate::{
    header::NameAddr,
    message::{HeaderName, Message, Method, unfold},
    token::Token,
};

/// Of one call.
#[derive(Debug)]
pub(super) struct Anchor {
    /// Its INVITE.
    pub(super) invite: TxId,
    pub(super) call_id: String,
    /// Branches of the INVITE whose media passes through us.
    branches: Vec<u8>,
    /// Of the requests that came from the caller, in any dialog.
    caller_cseq: u32,
    /// Of those that came from callees.
    callee_cseq: u32,
    pub(super) dialogs: Vec<AnchoredDialog>,
}

/// One that was answered.
#[derive(Debug)]
pub(super) struct AnchoredDialog {
    pub(super) token: Token,
    callee_tag: String,
    pub(super) caller: Voice,
    pub(super) callee: Voice,
}

/// How one end writes its requests.
#[derive(Debug)]
pub(super) struct Voice {
    /// Values of the fields, with their tags.
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
    /// The other end's Contact.
    pub(super) target: String,
    /// Route, without what is ours and what lies before us.
    pub(super) routes: Routes,
}

/// Values of Route.
type Routes = Vec<Vec<u8>>;

impl Anchor {
    fn new(invite: TxId, request: &Message) -> Self {
        Self {
            invite,
            call_id: request.call_id().unwrap_or_default().to_owned(),
            branches: Vec::new(),
            caller_cseq: request.cseq().map_or(0, |cseq| cseq.number),
            callee_cseq: 0,
            dialogs: Vec::new(),
        }
    }

    /// What the next request that goes this way is numbered.
    pub(super) fn next_cseq(&self, direction: Direction) -> u32 {
        let highest = match direction {
            Direction::ToCallee => self.caller_cseq,
            Direction::ToCaller => self.callee_cseq,
        };
        highest.saturating_add(1)
    }

    fn dialog(&mut self, dialog: InDialog, request: &Message) -> Option<&mut AnchoredDialog> {
        let tag = callee_tag(request, dialog.direction);
        let mut dialogs = self.dialogs.iter_mut();
        dialogs.find(|known| known.is(dialog, tag))
    }
}

impl AnchoredDialog {
    fn is(&self, dialog: InDialog, callee_tag: &str) -> bool {
        self.token.branch == dialog.token.branch && self.callee_tag == callee_tag
    }

    pub(super) fn voice(&self, direction: Direction) -> &Voice {
        match direction {
            Direction::ToCallee => &self.caller,
            Direction::ToCaller => &self.callee,
        }
    }

    fn voice_mut(&mut self, direction: Direction) -> &mut Voice {
        match direction {
            Direction::ToCallee => &mut self.caller,
            Direction::ToCaller => &mut self.callee,
        }
    }
}

impl Proxy {
    /// Media of this branch of an INVITE passes through us.
    pub(super) fn anchor_branch(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get(&id).filter(|branch| branch.is_invite()) else {
            return;
        };
        let (tx_id, index) = (branch.tx, branch.index);
        let tx = self.servers.get(&tx_id).filter(|tx| tx.dialog.is_none());
        let Some(request) = tx.map(|tx| Arc::clone(&tx.request)) else {
            return;
        };
        let Some(call) = self.call_record(tx_id) else {
            return;
        };
        let anchor = || Box::new(Anchor::new(tx_id, &request));
        let branches = &mut call.anchor.get_or_insert_with(anchor).branches;
        if !branches.contains(&index) {
            branches.push(index);
        }
    }

    /// Does media of this call pass through us?
    pub(super) fn is_anchored(&self, call: CallKey) -> bool {
        self.calls
            .peek(call)
            .is_some_and(|call| call.anchor.is_some())
    }

    /// A 2xx of a branch makes a dialog; `response` is as it goes to the caller.
    pub(super) fn anchor_dialog(&mut self, id: BranchId, response: &Message) {
        let now = self.now();
        if let Some((call, dialog)) = self.anchored_dialog(id, response)
            && let Some(call) = self.calls.get(call, now)
            && let Some(anchor) = &mut call.anchor
        {
            anchor.dialogs.push(dialog);
        }
    }

    fn anchored_dialog(
        &self,
        id: BranchId,
        response: &Message,
    ) -> Option<(CallKey, AnchoredDialog)> {
        let branch = self.branches.get(&id)?;
        let tx = self.servers.get(&branch.tx)?;
        let anchor = self.calls.peek(tx.call)?.anchor.as_ref()?;
        if tx.dialog.is_some() || !anchor.branches.contains(&branch.index) {
            return None;
        }
        let (asked, to_tag) = (&branch.request, response.to_tag()?);
        let field = |message: &Message, name| message.header(name).unwrap_or_default().into_owned();
        let own = self.own_record_route(asked)?;
        // Each end's way to the other, as the other has written it.
        let (_, to_caller) = self.around(asked, own)?;
        let (mut to_callee, _) = self.around(response, own).unwrap_or_default();
        to_callee.reverse();
        let dialog = AnchoredDialog {
            token: self.flow_token(tx, branch),
            callee_tag: to_tag.to_owned(),
            caller: Voice {
                from: field(&tx.request, HeaderName::From),
                to: field(response, HeaderName::To),
                target: target_of(response).unwrap_or_default(),
                routes: to_callee,
            },
            callee: Voice {
                from: with_tag(&field(asked, HeaderName::To), Some(to_tag)),
                to: field(asked, HeaderName::From),
                target: target_of(asked).unwrap_or_default(),
                routes: to_caller,
            },
        };
        Some((tx.call, dialog))
    }

    /// The token of our topmost Record-Route.
    fn own_record_route<'m>(&self, request: &'m Message) -> Option<&'m str> {
        let first = request.values(HeaderName::RecordRoute).next()?;
        match self.read_route(first)? {
            (true, token) => token,
            (false, _) => None,
        }
    }

    /// Record-Routes above and below ours.
    fn around(&self, message: &Message, own: &str) -> Option<(Routes, Routes)> {
        let routes: Vec<&[u8]> = message.values(HeaderName::RecordRoute).collect();
        let is_own = |route: &&[u8]| self.read_route(route) == Some((true, Some(own)));
        let first = routes.iter().position(is_own)?;
        let last = routes.iter().rposition(is_own)?;
        let owned = |routes: &[&[u8]]| {
            routes
                .iter()
                .map(|route| unfold(route).into_owned())
                .collect()
        };
        Some((owned(routes.get(..first)?), owned(routes.get(last + 1..)?)))
    }

    /// A request of a dialog came: whatever follows it from there has a higher number (RFC 3261 §12.2.2).
    pub(super) fn note_cseq(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        let (Some(dialog), Some(cseq)) = (tx.dialog, tx.request.cseq()) else {
            return;
        };
        let (number, now) = (cseq.number, self.now());
        let call = self.calls.get(tx.call, now);
        if let Some(anchor) = call.and_then(|call| call.anchor.as_mut()) {
            let highest = match dialog.direction {
                Direction::ToCallee => &mut anchor.caller_cseq,
                Direction::ToCaller => &mut anchor.callee_cseq,
            };
            *highest = number.max(*highest);
        }
    }

    /// RFC 3261 §12.2, RFC 3311 §5.1: a request that was accepted, and its 2xx, say where their senders are now.
    pub(super) fn refresh_targets(&mut self, id: BranchId, response: &Message) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let request = &branch.request;
        if !matches!(request.method(), Some(Method::Invite | Method::Update)) {
            return;
        }
        let Some(tx) = self.servers.get(&branch.tx) else {
            return;
        };
        let (Some(dialog), now) = (tx.dialog, self.now()) else {
            return;
        };
        let call = self.calls.get(tx.call, now);
        let anchor = call.and_then(|call| call.anchor.as_mut());
        let Some(known) = anchor.and_then(|anchor| anchor.dialog(dialog, request)) else {
            return;
        };
        if let Some(target) = target_of(request) {
            known.voice_mut(reverse(dialog.direction)).target = target;
        }
        if let Some(target) = target_of(response) {
            known.voice_mut(dialog.direction).target = target;
        }
    }

    /// A dialog was ended by BYE.
    pub(super) fn forget_dialog(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        let (Some(dialog), now) = (tx.dialog, self.now()) else {
            return;
        };
        let tag = callee_tag(&tx.request, dialog.direction);
        let call = self.calls.get(tx.call, now);
        if let Some(anchor) = call.and_then(|call| call.anchor.as_mut()) {
            anchor.dialogs.retain(|known| !known.is(dialog, tag));
        }
    }
}

fn callee_tag(request: &Message, direction: Direction) -> &str {
    let tag = match direction {
        Direction::ToCallee => request.to_tag(),
        Direction::ToCaller => request.from_tag(),
    };
    tag.unwrap_or_default()
}

fn target_of(message: &Message) -> Option<String> {
    let contact = message.values(HeaderName::Contact).next()?;
    NameAddr::parse(contact)
        .ok()
        .map(|contact| contact.uri.to_owned())
}
