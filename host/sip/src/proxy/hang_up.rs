//! The end of a call by us: its media passed through us and has died, so there is nothing left that its ends could say to one another.
//!
//! Each end gets the BYE that the other would send (RFC 3261 §15.1.1), with a Reason (RFC 3326). It is a request like any other of its
//! dialog, only that nobody sent it: a server transaction without a client, that takes the way of its flow token, is numbered, rewritten
//! and signed like those before it, and whose response ends here. No policy is asked about it. Should an end hang up by itself, now or
//! later, its BYE passes as ever and finds what it finds: 481 where ours was first, which ends a dialog as well (§15.1.1). A call that
//! nobody has answered yet gets 408.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use super::{
    Proxy,
    admit::{Newcomer, Room},
    anchor::{Anchor, AnchoredDialog, Voice},
    dialog::{InDialog, call_key_of},
    ids::{CallKey, TxId, TxKey},
    io::{Direction, DropCause, Hooks, Policies},
    place::Place,
    request::Kind,
    route::Aim,
    server_tx::Client,
};
use crate::{
    flow::{Attachment, Destination, Flow, FlowId},
    message::{HeaderName, Message, MessageError},
};

impl Proxy {
    /// `call` is as [`MediaBranch`](super::io::MediaBranch) has it. Nothing is done about a call whose media does not pass through us,
    /// or that another worker has.
    pub(super) fn end_call(&mut self, call: &str, reason: &str) {
        let now = self.now();
        let Some(key) = self.call_named(call) else {
            return;
        };
        let record = self.calls.get(key, now);
        let Some(anchor) = record.and_then(|call| call.anchor.take()) else {
            return;
        };
        self.give_up_invite(anchor.invite);
        for dialog in &anchor.dialogs {
            for direction in [Direction::ToCallee, Direction::ToCaller] {
                // One that cannot be written has been written by nobody else either: its target is no URI.
                if let Ok(bye) = bye(&anchor, dialog, direction, reason) {
                    self.send_bye(bye, dialog, direction);
                }
            }
        }
    }

    fn call_named(&self, call: &str) -> Option<CallKey> {
        let (call, passage) = call.rsplit_once(';')?;
        let (call_id, tag) = call.rsplit_once(';')?;
        let passage = u32::from_str_radix(passage, 16).ok()?;
        Some(call_key_of(&self.chance, call_id, tag, passage))
    }

    /// As if nobody had answered in time.
    fn give_up_invite(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id).filter(|tx| !tx.is_over()) else {
            return;
        };
        tx.plan.stages.clear();
        for branch in tx.branches.clone() {
            if let Some(branch) = self.branches.get_mut(&branch) {
                branch.candidate.place.others.clear();
            }
            self.give_up(branch, "its media died");
        }
    }

    fn send_bye(&mut self, bye: Message, dialog: &AnchoredDialog, direction: Direction) {
        if self.room(&bye) == Room::Nobody {
            return self.dropped(DropCause::Overload);
        }
        let token = dialog.token;
        let sender = match direction {
            Direction::ToCallee => token.caller,
            Direction::ToCaller => token.callee,
        };
        let sender = Place::at_end(&self.config, sender);
        let new = Newcomer {
            key: TxKey(self.chance.draw()),
            kind: Kind::Other,
            reply_to: sender.to,
            flow: Arc::new(flow_of(&sender)),
            client: Client::Ourselves,
            request: bye,
            policies: Policies {
                hooks: Hooks::default(),
                generation: Arc::new(()),
            },
        };
        let loop_hash = self.loop_hash(&new.request, &new.flow);
        let id = self.begin(new, Aim::Dialog(InDialog { token, direction }), loop_hash);
        self.enter_gate(id, direction);
    }
}

/// RFC 3261 §12.2.1.1.
fn bye(
    anchor: &Anchor,
    dialog: &AnchoredDialog,
    direction: Direction,
    reason: &str,
) -> Result<Message, MessageError> {
    let Voice {
        from,
        to,
        target,
        routes,
    } = dialog.voice(direction);
    let mut bye = Message::request("BYE", target)?;
    for route in routes {
        bye.append(HeaderName::Route, route)?;
    }
    bye.append(HeaderName::MaxForwards, "70")?;
    bye.append(HeaderName::From, from)?;
    bye.append(HeaderName::To, to)?;
    bye.append(HeaderName::CallId, &anchor.call_id)?;
    let number = anchor.next_cseq(direction);
    bye.append(HeaderName::CSeq, format!("{number} BYE"))?;
    bye.append(HeaderName::Reason, reason_value(reason))?;
    bye.append(HeaderName::ContentLength, "0")?;
    Ok(bye)
}

/// Q.850's 41 is a temporary failure of the network.
fn reason_value(text: &str) -> String {
    let plain = |c: char| match c {
        '"' => '\'',
        '\\' => '/',
        c if c.is_control() => ' ',
        c => c,
    };
    let text: String = text.chars().map(plain).collect();
    format!("Q.850;cause=41;text=\"media died: {text}\"")
}

/// On which the sender would have sent it.
fn flow_of(sender: &Place) -> Flow {
    let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let peer = sender.peer().unwrap_or(unknown);
    Flow {
        id: match sender.to {
            Destination::Flow(id) => id,
            Destination::Connect { listener, peer, .. } => FlowId::Datagram { listener, peer },
        },
        transport: sender.transport,
        listener: sender.listener,
        peer,
        side: sender.side,
        session: None,
        attachment: Attachment::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_quoted_string() {
        assert_eq!(
            reason_value("\"a\\\r\nb\" é"),
            "Q.850;cause=41;text=\"media died: 'a/  b' é\""
        );
    }
}
