//! One TCP or TLS connection that carries SIP (RFC 3261 §18): bytes in, cut into messages, to the worker; what waits in the pipe out.
//! One task, one small future. Never parses a message.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use hookswitch_sip::{
    flow::Flow,
    framing::{self, Frame, StreamFramer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::pipe::{Ended, Pipe, PipeState};
use crate::worker::WorkerRef;

/// Lies on the stack while it is read into: an idle connection holds no buffer.
const READ_BYTES: usize = 8_192;
/// Reads of one connection before the others have their turn.
const READS_PER_TURN_MAX: usize = 8;
/// A message must be whole this long after its first byte.
const MESSAGE_MAX: Duration = Duration::from_secs(30);
/// From our last byte to the peer's: closed before it has read our answer, it might never see it.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// A pong must come this long after a ping (RFC 5626 §4.4.1), from a peer that has answered one before: not everybody does.
const PONG_MAX: Duration = Duration::from_secs(10);

/// How long a connection is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    /// One that is not pinged is closed when nothing was heard for this long.
    pub(crate) idle_max: Duration,
    pub(crate) ping_every: Option<Duration>,
}

impl Keeping {
    fn first_look(&self) -> Duration {
        self.ping_every.unwrap_or(self.idle_max)
    }
}

/// Our pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pinging {
    last: Instant,
    answered: Answered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    /// Nothing was asked, or it was not known to answer.
    NotKnown,
    /// It answered the last one.
    Yes,
    /// It answered before, and owes us an answer now.
    NotYet,
}

/// An open connection.
pub(crate) struct Connection<S> {
    stream: S,
    flow: Arc<Flow>,
    pipe: Rc<Pipe>,
    worker: WorkerRef,
    framer: StreamFramer,
    /// The rest of what left the pipe.
    writing: Bytes,
    flushed: Flushed,
    keeping: Keeping,
    pinging: Pinging,
    heard_at: Instant,
    /// When a message began that is not whole yet.
    message_began: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    closing: Closing,
}

/// Has the stream passed on all that it was given?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flushed {
    Yes,
    No,
}

/// How far our own end of the connection is closed; until then what comes is no longer listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// As soon as what waits is written.
    Wanted(Ended),
    /// The peer is waited for.
    Done(Ended),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// After the handshake, if there is one.
    pub(crate) fn new(
        stream: S,
        flow: Arc<Flow>,
        pipe: Rc<Pipe>,
        worker: WorkerRef,
        keeping: Keeping,
    ) -> Self {
        let framer = StreamFramer::new(worker.borrow().message_limits());
        Self {
            stream,
            flow,
            pipe,
            worker,
            framer,
            writing: Bytes::new(),
            flushed: Flushed::Yes,
            heard_at: Instant::now(),
            message_began: None,
            pinging: Pinging::new(),
            timer: Box::pin(tokio::time::sleep(keeping.first_look())),
            keeping,
            closing: Closing::No,
        }
    }

    /// Until it ends.
    pub(crate) async fn run(mut self) -> Ended {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        // While this task looks for itself, nobody need wake it.
        self.pipe.listen(None);
        let mut reads = 0;
        loop {
            match self.pipe.state() {
                PipeState::Open => {}
                PipeState::Overflowed => return Poll::Ready(Ended::Overflowed),
                PipeState::GoingAway => self.begin_to_close(Ended::Drained),
            }
            if self.write(cx).is_err() {
                return Poll::Ready(self.ended());
            }
            if reads == READS_PER_TURN_MAX {
                cx.waker().wake_by_ref();
                break;
            }
            match self.read(cx) {
                Poll::Ready(Ok(())) => reads += 1,
                Poll::Ready(Err(Gone)) => return Poll::Ready(self.ended()),
                Poll::Pending => break,
            }
        }
        self.take_silence_max();
        if let Poll::Ready(ended) = self.watch(cx) {
            return Poll::Ready(ended);
        }
        self.pipe.listen(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn ended(&self) -> Ended {
        match self.closing {
            Closing::No => Ended::Closed,
            Closing::Wanted(why) | Closing::Done(why) => why,
        }
    }

    fn begin_to_close(&mut self, why: Ended) {
        if self.closing == Closing::No {
            self.pipe.close();
            self.closing = Closing::Wanted(why);
            let deadline = tokio::time::Instant::now() + CLOSE_MAX;
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Writes what waits, as far as the stream takes it, and then closes our end if that is wanted.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            if self.writing.is_empty() {
                match self.pipe.pop() {
                    Some(bytes) => self.writing = bytes,
                    None => break,
                }
            }
            match Pin::new(&mut self.stream).poll_write(cx, &self.writing)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(length) => {
                    self.writing.advance(length);
                    self.flushed = Flushed::No;
                }
                Poll::Pending => return Ok(()),
            }
        }
        if self.flushed == Flushed::No {
            if Pin::new(&mut self.stream).poll_flush(cx)?.is_pending() {
                return Ok(());
            }
            self.flushed = Flushed::Yes;
        }
        if let Closing::Wanted(why) = self.closing
            && Pin::new(&mut self.stream).poll_shutdown(cx)?.is_ready()
        {
            self.closing = Closing::Done(why);
        }
        Ok(())
    }

    /// Once, if something came and the worker can take it.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        ready!(self.worker.borrow().poll_uncongested(cx));
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            return Poll::Ready(Err(Gone));
        }
        if self.closing == Closing::No {
            self.heard_at = Instant::now();
            self.framer.push(buffer.filled());
            self.take_pong();
            self.take_frames();
        }
        Poll::Ready(Ok(()))
    }

    /// Whatever comes after a ping says that the peer is there; an empty line alone that it answers pings.
    fn take_pong(&mut self) {
        match self.keeping.ping_every {
            None => {}
            Some(_) if self.framer.take_pong() => self.pinging.answered = Answered::Yes,
            Some(_) if self.pinging.answered == Answered::NotYet => {
                self.pinging.answered = Answered::Yes;
            }
            Some(_) => {}
        }
    }

    fn take_frames(&mut self) {
        loop {
            match self.framer.next_frame() {
                Ok(Some(Frame::Message(bytes))) => {
                    let mut worker = self.worker.borrow_mut();
                    worker.turn(|worker| worker.received(&self.flow, bytes));
                }
                // A full pipe ends the connection at the next look.
                Ok(Some(Frame::Ping)) => drop(self.pipe.push(Bytes::from_static(framing::PONG))),
                Ok(Some(Frame::Blank)) => {}
                Ok(None) => break,
                Err(error) => {
                    let mut worker = self.worker.borrow_mut();
                    worker.turn(|worker| worker.unframed(&self.flow, &error));
                    drop(worker);
                    return self.begin_to_close(Ended::Unreadable(None));
                }
            }
        }
        self.message_began = match self.message_began {
            _ if !self.framer.is_within_message() => None,
            None => {
                let unfinished = (self.heard_at + MESSAGE_MAX).into();
                let due = self.timer.deadline().min(unfinished);
                self.timer.as_mut().reset(due);
                Some(self.heard_at)
            }
            began => began,
        };
    }

    /// The peer may have been told how long it may be silent.
    fn take_silence_max(&mut self) {
        if let Some(silence_max) = self.pipe.take_silence_max() {
            self.keeping.idle_max = silence_max;
            let next_look = (self.heard_at + silence_max).into();
            let next_look = self.timer.deadline().min(next_look);
            self.timer.as_mut().reset(next_look);
        }
    }

    /// Gives up a peer that is silent, or that never ends its message.
    fn watch(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.closing != Closing::No {
                return Poll::Ready(self.ended());
            }
            let now = Instant::now();
            let unfinished = self.message_began.map(|began| began + MESSAGE_MAX);
            let silent = match self.keeping.ping_every {
                None => Some(self.heard_at + self.keeping.idle_max),
                Some(_) => self.pinging.given_up_at(),
            };
            let ending = [unfinished, silent].into_iter().flatten().min();
            if ending.is_some_and(|ending| ending <= now) {
                return Poll::Ready(Ended::Idle);
            }
            let ping = self
                .keeping
                .ping_every
                .map(|every| self.ping(every, now, cx));
            let due = [ending, ping, self.pinging.given_up_at()];
            if let Some(due) = due.into_iter().flatten().min() {
                self.timer.as_mut().reset(due.into());
            }
        }
        Poll::Pending
    }

    /// Pings if it is time to; when the next one is due.
    fn ping(&mut self, every: Duration, now: Instant, cx: &Context<'_>) -> Instant {
        if self.pinging.last + every <= now {
            // A full pipe ends the connection at the next look.
            let _ = self.pipe.push(Bytes::from_static(framing::PING));
            cx.waker().wake_by_ref();
            self.pinging.asked(now);
        }
        self.pinging.last + every
    }
}

impl Pinging {
    fn new() -> Self {
        Self {
            last: Instant::now(),
            answered: Answered::NotKnown,
        }
    }

    fn asked(&mut self, now: Instant) {
        self.last = now;
        if self.answered == Answered::Yes {
            self.answered = Answered::NotYet;
        }
    }

    fn given_up_at(&self) -> Option<Instant> {
        (self.answered == Answered::NotYet).then(|| self.last + PONG_MAX)
    }
}

/// The peer closed the connection, or it broke.
struct Gone;
