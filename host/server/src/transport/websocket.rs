//! One WebSocket of RFC 7118: frames in, messages to the worker; what waits in the pipe out. One task, one small future.

use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream};
use hookswitch_sip::{
    flow::Flow,
    framing::{self, Frame},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::Sleep,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::pipe::{Ended, Pipe, PipeState};

/// A SIP message of a browser fits: an idle connection holds no more.
const READ_BUFFER_BYTES: usize = 4_096;
/// Frames of one connection before the others have their turn.
const FRAMES_PER_TURN_MAX: usize = 16;
/// How long the peer may take to answer our Close, or to take our answer to its own.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) message_bytes_max: usize,
    pub(crate) queue_bytes_max: usize,
    pub(crate) idle_max: Duration,
    /// For the answer to a ping, of a peer that may be gone: its client has meanwhile opened another connection.
    pub(crate) pong_max: Duration,
}

/// Who gets what a connection reads: its worker.
pub(crate) trait Inbox {
    /// Pending while nothing more is to be read.
    fn poll_uncongested(&self, cx: &Context<'_>) -> Poll<()>;
    /// Bytes of one message came on `flow`.
    fn received(&self, flow: &Arc<Flow>, bytes: Bytes);
    /// The peer of `flow`, who was doubted, is there.
    fn heard(&self, flow: &Flow);
}

/// An open WebSocket.
pub(crate) struct Connection<S, I> {
    socket: WebSocketStream<S>,
    flow: Arc<Flow>,
    pipe: Rc<Pipe>,
    inbox: I,
    idle_max: Duration,
    pong_max: Duration,
    heard_at: Instant,
    /// When something must have come from a peer that is doubted.
    answer_due: Option<tokio::time::Instant>,
    timer: Pin<Box<Sleep>>,
    closing: Closing,
    sent: Sent,
}

/// Who has said Close first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// We have.
    Sent,
    /// The peer: nothing is left to say but our answer.
    Answered,
}

/// Where the bytes of the frames are that the socket was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// All with the kernel.
    Whole,
    /// Some in the buffers of WebSocket or TLS, which nobody but us empties.
    Partly,
}

impl<S: AsyncRead + AsyncWrite + Unpin, I: Inbox> Connection<S, I> {
    /// After the upgrade; `early` are bytes that came right behind it.
    pub(crate) async fn open(
        stream: S,
        early: Vec<u8>,
        flow: Arc<Flow>,
        pipe: Rc<Pipe>,
        inbox: I,
        bounds: Bounds,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(READ_BUFFER_BYTES)
            .max_write_buffer_size(bounds.queue_bytes_max + READ_BUFFER_BYTES)
            .max_message_size(Some(bounds.message_bytes_max))
            .max_frame_size(Some(bounds.message_bytes_max));
        let socket =
            WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
        Self {
            socket,
            flow,
            pipe,
            inbox,
            idle_max: bounds.idle_max,
            pong_max: bounds.pong_max,
            heard_at: Instant::now(),
            answer_due: None,
            timer: Box::pin(tokio::time::sleep(bounds.idle_max / 2)),
            closing: Closing::No,
            sent: Sent::Whole,
        }
    }

    /// Until it ends.
    pub(crate) async fn run(mut self) -> Ended {
        let ended = std::future::poll_fn(|cx| self.poll(cx)).await;
        if let Ended::Unreadable(Some(code)) = ended {
            // Boxed: hardly any connection comes to this, and all would have to have room for it.
            let _ = Box::pin(tokio::time::timeout(CLOSE_MAX, self.fail(code))).await;
        }
        ended
    }

    /// RFC 6455 §7.1.7.
    async fn fail(mut self, code: CloseCode) -> Result<(), Error> {
        self.pipe.close();
        let reason = Utf8Bytes::default();
        let close = Message::Close(Some(CloseFrame { code, reason }));
        self.socket.send(close).await?;
        let stream = self.socket.get_mut();
        stream.shutdown().await?;
        // With bytes unread the kernel would reset the connection, and our Close be lost on its way.
        let mut rest = [0; 1_024];
        while stream.read(&mut rest).await? > 0 {}
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        // While this task looks for itself, nobody need wake it.
        self.pipe.listen(None);
        if let Poll::Ready(ended) = self.read(cx) {
            return Poll::Ready(ended);
        }
        if self.closing == Closing::Answered {
            return self.answer_close(cx);
        }
        if self.pipe.state() == PipeState::Overflowed {
            return Poll::Ready(Ended::Overflowed);
        }
        // After all that was read: the answers leave together, and what came before the ping is no answer to it.
        if self.ask(cx).and_then(|()| self.write(cx)).is_err() {
            return Poll::Ready(Ended::Closed);
        }
        self.take_silence_max();
        if let Poll::Ready(ended) = self.watch(cx) {
            return Poll::Ready(ended);
        }
        self.pipe.listen(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn ended(&self, error: Option<&Error>) -> Ended {
        match (self.closing, error.and_then(close_code)) {
            (Closing::No, Some(code)) => Ended::Unreadable(Some(code)),
            (Closing::No, None) | (Closing::Answered, _) => Ended::Closed,
            (Closing::Sent, _) => Ended::Drained,
        }
    }

    /// Writes what waits, as far as the socket takes it; the task is woken when it takes more.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        while !self.pipe.is_empty() && self.closing == Closing::No {
            if Pin::new(&mut self.socket).poll_ready(cx)?.is_pending() {
                return Ok(());
            }
            if let Some(bytes) = self.pipe.pop() {
                self.start_send(frame(bytes))?;
            }
        }
        if self.pipe.state() == PipeState::GoingAway && self.closing == Closing::No {
            let reason = CloseFrame {
                code: CloseCode::Away,
                reason: Utf8Bytes::from_static("going away"),
            };
            self.start_send(Message::Close(Some(reason)))?;
            self.close(Closing::Sent);
        }
        self.flush(cx)
    }

    fn close(&mut self, closing: Closing) {
        self.closing = closing;
        let deadline = tokio::time::Instant::now() + CLOSE_MAX;
        self.timer.as_mut().reset(deadline);
    }

    /// The library has our answer to the peer's Close. It follows what is being written already (RFC 6455 §5.5.1).
    fn answer_close(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.timer.as_mut().poll(cx).is_pending() {
            // An error says that there is nothing more to write.
            let _ = ready!(Pin::new(&mut self.socket).poll_flush(cx));
            let _ = ready!(Pin::new(self.socket.get_mut()).poll_shutdown(cx));
        }
        Poll::Ready(Ended::Closed)
    }

    /// Pings a peer that may be gone.
    fn ask(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if !self.pipe.take_doubt() || self.closing == Closing::Sent {
            return Ok(());
        }
        let due = tokio::time::Instant::now() + self.pong_max;
        self.answer_due = Some(due);
        let next_look = self.timer.deadline().min(due);
        self.timer.as_mut().reset(next_look);
        self.start_send(Message::Ping(Bytes::new()))?;
        self.flush(cx)
    }

    fn start_send(&mut self, message: Message) -> Result<(), Error> {
        self.sent = Sent::Partly;
        Pin::new(&mut self.socket).start_send(message)
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if self.sent == Sent::Partly && Pin::new(&mut self.socket).poll_flush(cx)?.is_ready() {
            self.sent = Sent::Whole;
        }
        Ok(())
    }

    /// What came, as far as the worker can take it; ready at the end of the connection.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        for _ in 0..FRAMES_PER_TURN_MAX {
            if self.closing == Closing::Answered {
                return Poll::Pending;
            }
            if let Err(ended) = ready!(self.read_frame(cx)) {
                return Poll::Ready(ended);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn read_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        ready!(self.inbox.poll_uncongested(cx));
        let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                tracing::debug!(peer = %self.flow.peer, %error, "no frame");
                return Poll::Ready(Err(self.ended(Some(&error))));
            }
            None => return Poll::Ready(Err(self.ended(None))),
        };
        self.heard_at = Instant::now();
        if self.answer_due.take().is_some() {
            self.inbox.heard(&self.flow);
        }
        match message {
            Message::Text(text) => self.take(text.into()),
            Message::Binary(bytes) => self.take(bytes),
            Message::Close(_) if self.closing == Closing::No => {
                self.pipe.close();
                self.close(Closing::Answered);
            }
            // Answered by the library at its next read or write.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, payload: Bytes) {
        match framing::datagram(payload) {
            Frame::Message(bytes) => self.inbox.received(&self.flow, bytes),
            // A full pipe ends the connection at the next look.
            Frame::Ping => drop(self.pipe.push(Bytes::from_static(framing::PONG))),
            Frame::Blank => {}
        }
    }

    /// The client may have been told how long it may be silent.
    fn take_silence_max(&mut self) {
        if let Some(silence_max) = self.pipe.take_silence_max() {
            self.idle_max = silence_max;
            let next_look = (self.heard_at + silence_max / 2).into();
            let next_look = self.timer.deadline().min(next_look);
            self.timer.as_mut().reset(next_look);
        }
    }

    /// Pings a silent peer, and gives it up when even that is not answered.
    fn watch(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let silent = self.heard_at.elapsed();
            if self.closing == Closing::Sent {
                return Poll::Ready(Ended::Drained);
            }
            let is_due = |due| due <= tokio::time::Instant::now();
            if silent >= self.idle_max || self.answer_due.is_some_and(is_due) {
                return Poll::Ready(Ended::Idle);
            }
            let due = if silent >= self.idle_max / 2 {
                let pinged = self.start_send(Message::Ping(Bytes::new()));
                if pinged.and_then(|()| self.flush(cx)).is_err() {
                    return Poll::Ready(Ended::Closed);
                }
                self.idle_max
            } else {
                self.idle_max / 2
            };
            let next_look = (self.heard_at + due).into();
            let answer_due = self.answer_due.unwrap_or(next_look);
            self.timer.as_mut().reset(next_look.min(answer_due));
        }
        Poll::Pending
    }
}

/// Text where it is UTF-8, as browsers expect; else binary (RFC 7118 §5).
fn frame(bytes: Bytes) -> Message {
    match Utf8Bytes::try_from(bytes.clone()) {
        Ok(text) => Message::Text(text),
        Err(_) => Message::Binary(bytes),
    }
}

/// What the peer did wrong (RFC 6455 §7.4.1); `None` where it is gone.
fn close_code(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(_) => Some(CloseCode::Size),
        Error::Utf8(_) => Some(CloseCode::Invalid),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
