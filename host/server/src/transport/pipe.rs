//! What waits to be written to one connection: bounded, since a reader that does not read must cost its own connection and no other.

use std::{cell::RefCell, collections::VecDeque, task::Waker, time::Duration};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Shared by the worker, which fills it, and the connection's task, which empties it; both on one thread.
#[derive(Debug)]
pub(crate) struct Pipe {
    inner: RefCell<Inner>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Inner {
    queue: VecDeque<Bytes>,
    bytes: usize,
    waker: Option<Waker>,
    state: PipeState,
    peer: Peer,
    /// Another limit of the peer's silence than the one that the task has.
    silence_max: Option<Duration>,
}

/// Whether the connection's task is to find out if its peer is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Believed,
    Doubted,
}

/// What the connection's task is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PipeState {
    /// Carry on.
    Open,
    /// Close: the peer reads too slowly.
    Overflowed,
    /// Close: the server is going away.
    GoingAway,
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer closed it, or it broke.
    Closed,
    /// Nothing was heard for too long.
    Idle,
    /// Its reader was too slow.
    Overflowed,
    /// What came could not be cut into messages; over WebSocket the peer was told so with this code.
    Unreadable(Option<CloseCode>),
    /// We went away.
    Drained,
}

/// Nothing more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PipeClosed;

impl Pipe {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let inner = Inner {
            queue: VecDeque::new(),
            bytes: 0,
            waker: None,
            state: PipeState::Open,
            peer: Peer::Believed,
            silence_max: None,
        };
        Self {
            inner: RefCell::new(inner),
            bytes_max,
        }
    }

    /// To be written, in order.
    pub(crate) fn push(&self, bytes: Bytes) -> Result<(), PipeClosed> {
        let mut inner = self.inner.borrow_mut();
        if inner.state != PipeState::Open {
            return Err(PipeClosed);
        }
        if inner.bytes + bytes.len() > self.bytes_max {
            inner.turn(PipeState::Overflowed);
            return Err(PipeClosed);
        }
        inner.bytes += bytes.len();
        inner.queue.push_back(bytes);
        inner.wake();
        Ok(())
    }

    /// The next to be written.
    pub(crate) fn pop(&self) -> Option<Bytes> {
        let mut inner = self.inner.borrow_mut();
        let bytes = inner.queue.pop_front()?;
        inner.bytes -= bytes.len();
        Some(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.borrow().queue.is_empty()
    }

    pub(crate) fn state(&self) -> PipeState {
        self.inner.borrow().state
    }

    /// Takes nothing more; what waits is still written.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.borrow_mut();
        if inner.state == PipeState::Open {
            inner.turn(PipeState::GoingAway);
        }
    }

    /// Its peer may be gone: the task is to ask it.
    pub(crate) fn doubt(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.peer = Peer::Doubted;
        inner.wake();
    }

    /// Is the peer to be asked? Once for each doubt.
    pub(crate) fn take_doubt(&self) -> bool {
        let mut inner = self.inner.borrow_mut();
        std::mem::replace(&mut inner.peer, Peer::Believed) == Peer::Doubted
    }

    /// Its peer promised to be heard so often: the task is to close the connection when it is not.
    pub(crate) fn expect_within(&self, silence_max: Duration) {
        let mut inner = self.inner.borrow_mut();
        inner.silence_max = Some(silence_max);
        inner.wake();
    }

    /// From now on, if there is anything new.
    pub(crate) fn take_silence_max(&self) -> Option<Duration> {
        self.inner.borrow_mut().silence_max.take()
    }

    /// Who is woken by the next change; `None` while the task looks for itself.
    pub(crate) fn listen(&self, waker: Option<Waker>) {
        self.inner.borrow_mut().waker = waker;
    }
}

impl Inner {
    fn turn(&mut self, state: PipeState) {
        self.state = state;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pipe_closes_and_takes_nothing_more() {
        let pipe = Pipe::new(8);
        assert_eq!(pipe.push(Bytes::from_static(b"12345")), Ok(()));
        assert_eq!(pipe.push(Bytes::from_static(b"678")), Ok(()));
        assert_eq!(pipe.push(Bytes::from_static(b"9")), Err(PipeClosed));
        assert_eq!(pipe.state(), PipeState::Overflowed);
        assert_eq!(pipe.pop().as_deref(), Some(&b"12345"[..]));
        assert_eq!(pipe.push(Bytes::from_static(b"9")), Err(PipeClosed));
    }

    #[test]
    fn what_was_written_leaves_room() {
        let pipe = Pipe::new(4);
        for _ in 0..3 {
            assert_eq!(pipe.push(Bytes::from_static(b"1234")), Ok(()));
            assert_eq!(pipe.pop().as_deref(), Some(&b"1234"[..]));
        }
        assert!(pipe.is_empty());
        assert_eq!(pipe.state(), PipeState::Open);
    }
}
