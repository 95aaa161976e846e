//! Mail between workers. A mailbox is bounded; what does not fit waits in the sender's outbox. Mail is always taken in, so two workers
//! cannot wait for each other.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use hookswitch_sip::{
    flow::{Destination, Flow, FlowId, UpstreamId, WorkerId},
    message::Message,
    proxy::{
        config::{Member, MemberHealth, Way},
        io::{DropCause, Input},
    },
    token::Keyring,
};
use tokio::sync::mpsc;

use super::{Worker, WorkerRef, outbox::Road};
use crate::metrics::Count;

/// Mail that is opened in one turn, before connections have theirs.
const MAIL_PER_TURN_MAX: usize = 32;

/// From one worker to another.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A message that belongs to the receiver.
    Received { flow: Arc<Flow>, message: Message },
    /// Bytes for a connection of the receiver.
    Send {
        from: WorkerId,
        to: FlowId,
        bytes: Bytes,
    },
    /// Bytes of the receiver's could not be delivered.
    SendFailed { to: Destination },
    /// A connection is gone.
    FlowClosed { flow: FlowId },
    /// The client of the receiver's connection has opened another: is the old one still there?
    Doubt { flow: FlowId },
    /// The client of the receiver's connection promised to be heard at least this often.
    ExpectWithin { flow: FlowId, silence_max: Duration },
    /// A member of an upstream was looked after.
    Member {
        member: SocketAddr,
        health: MemberHealth,
    },
    /// The names of an upstream lead elsewhere now.
    Members {
        upstream: UpstreamId,
        way: Way,
        members: Vec<Member>,
    },
    /// The keys of flow tokens were rotated.
    Keys(Keyring),
    /// Take no new transactions.
    Drain,
    /// Close every connection and end.
    Close,
}

impl Worker {
    /// Leaves at the end of this turn. What clients send again is given up when too much waits; the rest is never lost while its
    /// receiver lives.
    pub(super) fn post(&mut self, to: WorkerId, mail: Mail) {
        if !self.outbox.is_full() {
            return self.outbox.put(to, mail);
        }
        match mail {
            Mail::Received { .. } => self.metrics.dropped(DropCause::Overload),
            Mail::Send { to, bytes, .. } => {
                self.metrics.count(Count::SendFailed);
                let to = Destination::Flow(to);
                self.inputs.push_back(Input::Undelivered { to, bytes });
            }
            Mail::SendFailed { .. }
            | Mail::FlowClosed { .. }
            | Mail::Doubt { .. }
            | Mail::ExpectWithin { .. }
            | Mail::Member { .. }
            | Mail::Members { .. }
            | Mail::Keys(_)
            | Mail::Drain
            | Mail::Close => self.outbox.put(to, mail),
        }
    }

    /// At the end of a turn.
    pub(super) fn send_mail(&self) {
        if self.outbox.send() == Road::Congested {
            self.metrics.count(Count::Congested);
        }
    }

    fn open(&mut self, mail: Mail) {
        match mail {
            Mail::Received { flow, message } => self.take(flow, message),
            Mail::Send { from, to, bytes } => {
                if self.deliver(to, bytes).is_err() {
                    self.post(
                        from,
                        Mail::SendFailed {
                            to: Destination::Flow(to),
                        },
                    );
                }
            }
            Mail::SendFailed { to } => {
                self.is_lost(to);
                self.drain();
            }
            Mail::Members {
                upstream,
                way,
                members,
            } => self.handle(Input::Members {
                upstream,
                way,
                members,
            }),
            Mail::Member { member, health } => self.handle(Input::Member { member, health }),
            Mail::FlowClosed { flow } => self.flow_closed(flow),
            Mail::Doubt { flow } => self.doubt(flow),
            Mail::ExpectWithin { flow, silence_max } => self.expect_within(flow, silence_max),
            Mail::Keys(keys) => self.proxy.set_keys(keys),
            Mail::Drain => self.handle(Input::Drain),
            Mail::Close => self.connections.values().for_each(|open| open.pipe.close()),
        }
    }
}

/// Opens mail until the worker is told to end.
pub(super) async fn read(mut mailbox: mpsc::Receiver<Mail>, worker: WorkerRef) {
    let mut letters = Vec::with_capacity(MAIL_PER_TURN_MAX);
    loop {
        let taken = mailbox.recv_many(&mut letters, MAIL_PER_TURN_MAX).await;
        let is_last = letters.iter().any(|mail| matches!(mail, Mail::Close));
        worker.borrow_mut().turn(|worker| {
            letters
                .drain(..)
                .for_each(|mail| worker.guard(|worker| worker.open(mail)));
        });
        if is_last || taken == 0 {
            return;
        }
        if taken == MAIL_PER_TURN_MAX {
            tokio::task::yield_now().await;
        }
    }
}
