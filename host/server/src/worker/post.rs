//! Mail between workers. A mailbox is bounded; what does not fit waits here, in order, and meanwhile this worker's sockets are not
//! read. Mail is always taken in, so two workers cannot wait for each other.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use hookswitch_sip::{
    flow::{Destination, Flow, FlowId, WorkerId},
    message::Message,
    proxy::io::Input,
    token::Keyring,
};
use tokio::sync::{Notify, mpsc, mpsc::error::TrySendError};

use super::{Worker, WorkerRef};
use crate::metrics::Count;

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
    /// The keys of flow tokens were rotated.
    Keys(Keyring),
    /// Take no new transactions.
    Drain,
    /// Close every connection and end.
    Close,
}

/// What waits for room in a mailbox.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(WorkerId, Mail)>,
    flush: Rc<Notify>,
    readers: RefCell<Vec<Waker>>,
}

impl Outbox {
    pub(super) fn poll_empty(&self, cx: &Context<'_>) -> Poll<()> {
        if self.waiting.is_empty() {
            return Poll::Ready(());
        }
        let mut readers = self.readers.borrow_mut();
        if !readers.iter().any(|reader| reader.will_wake(cx.waker())) {
            readers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Worker {
    /// Never lost while the receiver lives.
    pub(super) fn post(&mut self, to: WorkerId, mail: Mail) {
        let Some(mailbox) = self.shared.mailbox(to) else {
            return;
        };
        let mail = match self.outbox.waiting.is_empty() {
            true => match mailbox.try_send(mail) {
                Ok(()) | Err(TrySendError::Closed(_)) => return,
                Err(TrySendError::Full(mail)) => mail,
            },
            false => mail,
        };
        self.metrics.count(Count::Congested);
        self.outbox.waiting.push_back((to, mail));
        self.outbox.flush.notify_one();
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
            Mail::SendFailed { to } => self.handle(Input::SendFailed { to }),
            Mail::FlowClosed { flow } => self.handle(Input::FlowClosed { flow }),
            Mail::Keys(keys) => self.proxy.set_keys(keys),
            Mail::Drain => self.handle(Input::Drain),
            Mail::Close => self.connections.values().for_each(|open| open.pipe.close()),
        }
    }
}

/// Sends what waits, as room comes up.
pub(super) async fn flush(worker: WorkerRef) {
    let flush = Rc::clone(&worker.borrow().outbox.flush);
    loop {
        flush.notified().await;
        loop {
            let next = worker.borrow_mut().outbox.waiting.pop_front();
            let Some((to, mail)) = next else { break };
            let mailbox = worker.borrow().shared.mailbox(to).cloned();
            if let Some(mailbox) = mailbox {
                // An error says that the receiver has ended: nobody waits for this mail.
                let _ = mailbox.send(mail).await;
            }
        }
        for reader in worker.borrow().outbox.readers.take() {
            reader.wake();
        }
    }
}

/// Opens mail until the worker is told to end.
pub(super) async fn read(mut mailbox: mpsc::Receiver<Mail>, worker: WorkerRef) {
    while let Some(mail) = mailbox.recv().await {
        let is_last = matches!(mail, Mail::Close);
        worker.borrow_mut().open(mail);
        if is_last {
            return;
        }
    }
}
