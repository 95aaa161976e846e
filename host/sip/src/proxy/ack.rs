//! ACK: of a failure it ends with our transaction, of a 2xx it follows its dialog's token, without a transaction and without a policy.

use std::hash::Hasher;

use super::{
    Proxy,
    asks::Waiting,
    believe::{self, is_trusted},
    dialog::{InDialog, call_key},
    forward::{carries_session, next_max_forwards},
    gates::Crowded,
    ids::CallKey,
    io::{Direction, DropCause, MediaVerdict, Output, SdpRole, StoreOp, StoreReply},
    place::{Place, leg_of},
    relay::without_body,
    route::Aim,
    seal,
    server_tx::{ServerEvent, ServerMachine},
    via::ViaBranch,
};
use crate::{
    flow::{Flow, FlowId, Side},
    message::{HeaderName, Message},
    token::Reach,
    transaction::invite_server,
};

/// An ACK that waits for its next hop or for media.
#[derive(Debug)]
pub(super) struct PendingAck {
    message: Message,
    dialog: InDialog,
    side: Side,
    /// Of our Via; a retransmission gets the same.
    number: u64,
    place: Option<Place>,
    /// Held while it waits: later requests of the dialog come after it.
    gate: Option<(CallKey, Direction)>,
}

impl Proxy {
    pub(super) fn on_ack(&mut self, flow: &Flow, mut ack: Message) {
        let key = self.tx_key(&ack, flow);
        let invite = key.and_then(|key| self.by_key.get(&key).copied());
        if let Some(id) = invite
            && let Some(tx) = self.servers.get_mut(&id)
            && matches!(
                tx.machine,
                ServerMachine::Invite(
                    invite_server::State::Completed | invite_server::State::Confirmed
                )
            )
        {
            let actions = tx.step(ServerEvent::Ack);
            return self.act_server(id, actions, None);
        }
        believe::disbelieve(&mut ack, flow.side);
        believe::take_tokens(&mut ack, flow.side);
        let number = self.ack_number(&ack);
        let is_spent = ack.max_forwards() == Some(0);
        match self.take_routes(&mut ack, flow) {
            Ok(Aim::Dialog(dialog)) if !is_spent => {
                self.find_hop(PendingAck {
                    message: ack,
                    dialog,
                    side: flow.side,
                    number,
                    place: None,
                    gate: None,
                });
            }
            Ok(_) | Err(_) => self.dropped(DropCause::StrayAck),
        }
    }

    /// RFC 3261 §16.11: what is forwarded without state gets the same branch every time.
    fn ack_number(&self, ack: &Message) -> u64 {
        let mut hasher = self.chance.hasher(b'a');
        let branch = ack.top_via().and_then(|via| via.branch());
        hasher.write(branch.unwrap_or_default().as_bytes());
        hasher.write_u8(0);
        hasher.write(ack.call_id().unwrap_or_default().as_bytes());
        hasher.write_u32(ack.cseq().map_or(0, |cseq| cseq.number));
        hasher.finish()
    }

    fn find_hop(&mut self, mut ack: PendingAck) {
        let end = *ack.dialog.token.to(ack.dialog.direction);
        match end.reach {
            Reach::Session {
                key,
                worker,
                serial,
                ..
            } => {
                if self.hold_ack_gate(&mut ack) == Err(Crowded) {
                    return self.dropped(DropCause::Overload);
                }
                let flow = FlowId::Connection { worker, serial };
                let op = StoreOp::Session { key, flow };
                self.ask_store(Waiting::AckSession(Box::new(ack)), op);
            }
            Reach::Hop { .. } => {
                let place = Place::at_end(&self.config, end);
                self.ask_ack_media(PendingAck {
                    place: Some(place),
                    ..ack
                });
            }
        }
    }

    pub(super) fn on_ack_session(&mut self, ack: PendingAck, reply: StoreReply) {
        let place = self.session_place(*ack.dialog.token.to(ack.dialog.direction), &reply);
        self.ask_ack_media(PendingAck {
            place: Some(place),
            ..ack
        });
    }

    fn hold_ack_gate(&mut self, ack: &mut PendingAck) -> Result<(), Crowded> {
        if ack.gate.is_some() {
            return Ok(());
        }
        let InDialog { token, direction } = ack.dialog;
        let call = call_key(&self.chance, &ack.message, direction, token.passage);
        let queued_max = self.config.limits.queued_max;
        self.gates.hold_ack((call, direction), queued_max)?;
        ack.gate = Some((call, direction));
        Ok(())
    }

    /// A late offer's answer rides in the ACK.
    fn ask_ack_media(&mut self, mut ack: PendingAck) {
        if !carries_session(&ack.message) {
            return self.forward_ack(ack);
        }
        if self.hold_ack_gate(&mut ack) == Err(Crowded) {
            return self.dropped(DropCause::Overload);
        }
        let InDialog { token, direction } = ack.dialog;
        let (here, there) = (
            leg_of(ack.side),
            ack.place.as_ref().map_or(leg_of(ack.side), Place::leg),
        );
        let (caller, callee) = match direction {
            Direction::ToCallee => (here, there),
            Direction::ToCaller => (there, here),
        };
        let branch = seal::media_branch(
            &ack.message,
            direction,
            token.passage,
            token.branch,
            caller,
            callee,
        );
        let sdp = ack.message.body().clone();
        let id = self.ask_id(Waiting::AckMedia(Box::new(ack)));
        self.outputs.push_back(Output::Media {
            id,
            branch,
            direction,
            role: SdpRole::Answer,
            sdp,
            mode: token.media,
        });
    }

    pub(super) fn on_ack_media(&mut self, mut ack: PendingAck, verdict: MediaVerdict) {
        match verdict {
            MediaVerdict::Unchanged | MediaVerdict::Taken => {}
            MediaVerdict::Refuse { .. } => without_body(&mut ack.message),
            MediaVerdict::Replace(sdp) => {
                if ack.message.set_body(sdp, None).is_err() {
                    without_body(&mut ack.message);
                }
            }
        }
        self.forward_ack(ack);
    }

    fn forward_ack(&mut self, ack: PendingAck) {
        let PendingAck {
            mut message,
            dialog,
            side,
            number,
            place,
            gate,
        } = ack;
        let sealed = place.map(|place| {
            believe::hide(&mut message, place.side);
            believe::take_digests(&mut message, side, place.side);
            let sealed = self.seal_ack(&mut message, dialog, number, &place);
            sealed.map(|()| self.lane(&place, &message))
        });
        match sealed.flatten() {
            Some(to) => self.send(to, message.to_bytes()),
            None => self.dropped(DropCause::StrayAck),
        }
        if let Some(gate) = gate {
            self.gates.release_ack(gate);
            self.release_gate(gate);
        }
    }

    /// `None` if it cannot be written, or its listener is gone.
    fn seal_ack(
        &mut self,
        ack: &mut Message,
        dialog: InDialog,
        number: u64,
        place: &Place,
    ) -> Option<()> {
        let call = call_key(&self.chance, ack, dialog.direction, dialog.token.passage);
        seal::set_routes(ack, &[]).ok()?;
        ack.set(HeaderName::MaxForwards, next_max_forwards(ack).to_string())
            .ok()?;
        self.rewrite_in_dialog(ack, call, dialog, None).ok()?;
        self.number_ack(ack, call, dialog).ok()?;
        let record = self.calls.peek(call).filter(|_| is_trusted(place.side));
        let fields = record.and_then(|call| {
            call.credentials
                .get(&(dialog.token.branch, dialog.direction))
        });
        for (name, value) in fields.into_iter().flatten().rev() {
            ack.prepend(*name, value).ok()?;
        }
        let via = ViaBranch {
            worker: self.config.worker,
            number,
            loop_hash: 0,
        };
        let via = self.names.via(place.listener, place.transport, &via)?;
        ack.prepend(HeaderName::Via, via).ok()
    }
}
