//! What a worker has for others, in the order in which it was put here. A full mailbox holds all of it up, and meanwhile this worker's
//! sockets are not read. Nothing overtakes, and nothing here blocks: waiting for room is the flushing task's.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use hookswitch_sip::flow::WorkerId;
use tokio::sync::{
    Notify,
    mpsc::{Sender, error::TrySendError},
};

/// Shared by the worker and its flushing task, on one thread.
#[derive(Debug)]
pub(super) struct Outbox<M> {
    mailboxes: Vec<Sender<M>>,
    waiting: RefCell<VecDeque<(WorkerId, M)>>,
    waiting_mail_max: usize,
    road: Cell<Road>,
    congestion: Notify,
    readers: RefCell<Vec<Waker>>,
}

/// Who sends the first that waits: one alone, or mail would overtake mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Road {
    /// Whoever calls [`Outbox::send`].
    Free,
    /// The flushing task, once its receiver has room.
    Congested,
}

impl<M> Outbox<M> {
    /// Mailboxes in the order of their workers.
    pub(super) fn new(mailboxes: Vec<Sender<M>>, waiting_mail_max: usize) -> Self {
        Self {
            mailboxes,
            waiting: RefCell::default(),
            waiting_mail_max,
            road: Cell::new(Road::Free),
            congestion: Notify::new(),
            readers: RefCell::default(),
        }
    }

    /// What can be done without is not to be put here any more.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.borrow().len() >= self.waiting_mail_max
    }

    /// Leaves with the next [`Self::send`].
    pub(super) fn put(&self, to: WorkerId, mail: M) {
        self.waiting.borrow_mut().push_back((to, mail));
    }

    /// Sends what there is room for.
    pub(super) fn send(&self) -> Road {
        let mut waiting = self.waiting.borrow_mut();
        while self.road.get() == Road::Free {
            let Some((to, mail)) = waiting.pop_front() else {
                break;
            };
            let sent = self.mailbox(to).map(|mailbox| mailbox.try_send(mail));
            // Nobody waits for the mail of a worker that has ended.
            if let Some(Err(TrySendError::Full(mail))) = sent {
                waiting.push_front((to, mail));
                self.road.set(Road::Congested);
                self.congestion.notify_one();
            }
        }
        self.road.get()
    }

    /// Pending while something waits for room.
    pub(super) fn poll_free(&self, cx: &Context<'_>) -> Poll<()> {
        if self.road.get() == Road::Free {
            return Poll::Ready(());
        }
        let mut readers = self.readers.borrow_mut();
        if !readers.iter().any(|reader| reader.will_wake(cx.waker())) {
            readers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Sends what waits, as room comes up. For ever.
    pub(super) async fn flush(&self) {
        loop {
            self.congestion.notified().await;
            while let Some(to) = self.next() {
                let room = match self.mailbox(to) {
                    Some(mailbox) => mailbox.reserve().await.ok(),
                    None => None,
                };
                // Taken out only now: while it waits for room it is what others wait behind.
                let first = self.waiting.borrow_mut().pop_front();
                if let (Some(room), Some((_, mail))) = (room, first) {
                    room.send(mail);
                }
            }
            self.road.set(Road::Free);
            self.readers.take().into_iter().for_each(Waker::wake);
        }
    }

    fn next(&self) -> Option<WorkerId> {
        self.waiting.borrow().front().map(|(to, _)| *to)
    }

    fn mailbox(&self, worker: WorkerId) -> Option<&Sender<M>> {
        self.mailboxes.get(usize::from(worker.0))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::{
        sync::mpsc,
        task::{LocalSet, yield_now},
    };

    use super::*;

    const THEM: WorkerId = WorkerId(0);

    #[tokio::test]
    async fn mail_keeps_its_order_while_a_full_mailbox_empties() {
        let (sender, mut mailbox) = mpsc::channel(2);
        let outbox = Rc::new(Outbox::new(vec![sender], 4));
        let post = |mail: u32| {
            outbox.put(THEM, mail);
            outbox.send()
        };
        let flushing = Rc::clone(&outbox);
        let scene = async {
            tokio::task::spawn_local(async move { flushing.flush().await });
            let roads = [1, 2, 3].map(post);
            assert_eq!(roads, [Road::Free, Road::Free, Road::Congested]);
            yield_now().await;
            assert_eq!(mailbox.recv().await, Some(1));
            assert_eq!(mailbox.recv().await, Some(2));
            // There is room for 4 before the task that waits with 3 has run.
            post(4);
            assert_eq!(mailbox.recv().await, Some(3));
            assert_eq!(mailbox.recv().await, Some(4));
            yield_now().await;
            assert_eq!(post(5), Road::Free);
        };
        LocalSet::new().run_until(scene).await;
    }

    #[tokio::test]
    async fn readers_wait_while_mail_does_and_go_on_after_it() {
        let (sender, mut mailbox) = mpsc::channel(1);
        let outbox = Rc::new(Outbox::new(vec![sender], 2));
        let flushing = Rc::clone(&outbox);
        let scene = async {
            tokio::task::spawn_local(async move { flushing.flush().await });
            for mail in 0..3 {
                outbox.put(THEM, mail);
            }
            assert!(outbox.is_full());
            assert_eq!(outbox.send(), Road::Congested);
            let reader = Rc::clone(&outbox);
            let reading = tokio::task::spawn_local(async move {
                std::future::poll_fn(|cx| reader.poll_free(cx)).await;
            });
            yield_now().await;
            assert!(!reading.is_finished());
            for mail in 0..3 {
                assert_eq!(mailbox.recv().await, Some(mail));
            }
            reading.await.unwrap();
        };
        LocalSet::new().run_until(scene).await;
    }
}
