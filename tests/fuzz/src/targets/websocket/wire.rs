//! A connection in memory, whose peer sends what it has and hangs up when nothing more comes of it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use hookswitch::{
    config::Origins,
    fuzz::{self, Visited},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};

use super::MESSAGE_BYTES_MAX;

/// Of one connection: some for each byte that it sends and is sent.
const POLLS_MAX: usize = 200_000;
/// Taken in one go, every other time that it is asked.
const WRITE_BYTES_MAX: usize = 100;

/// For timers to be made in; none of them fires.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let built = Builder::new_current_thread().enable_time().build();
    built.unwrap_or_else(|error| panic!("no runtime: {error}"))
});

/// What came of a connection, and what its peer got.
pub(super) struct Seen {
    pub(super) visited: Visited,
    pub(super) got: Vec<u8>,
}

impl Seen {
    /// Was the first request on the connection the upgrade?
    pub(super) fn is_upgrade_first(&self) -> bool {
        self.got.starts_with(b"HTTP/1.1 101 ")
    }
}

/// Sends `bytes` in pieces of `size`, waits until nothing more happens, and hangs up.
pub(super) fn visit(bytes: &[u8], size: usize, origins: &Origins) -> Seen {
    let _timers = RUNTIME.enter();
    let wire = Wire::default();
    wire.0.borrow_mut().sends = bytes.chunks(size).map(<[u8]>::to_vec).collect();
    let mut visit = pin!(fuzz::visit(
        wire.clone(),
        origins.clone(),
        MESSAGE_BYTES_MAX
    ));
    let mut visited = until_idle(visit.as_mut());
    if visited.is_none() {
        wire.hang_up();
        visited = until_idle(visit);
    }
    let visited = visited.unwrap_or_else(|| panic!("it goes on when its peer has hung up"));
    Seen {
        visited,
        got: wire.0.take().got,
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Polls for as long as it is woken.
fn until_idle<T>(mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut polls = 0;
    while woken.0.swap(false, Relaxed) {
        polls += 1;
        assert!(polls < POLLS_MAX, "it never rests");
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(done);
        }
    }
    None
}

/// Both ends of it.
#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Ends>>);

#[derive(Default)]
struct Ends {
    sends: VecDeque<Vec<u8>>,
    has_hung_up: bool,
    got: Vec<u8>,
    reader: Option<Waker>,
    /// So that half of what is written has to wait.
    is_full: bool,
}

impl Wire {
    fn hang_up(&self) {
        let mut ends = self.0.borrow_mut();
        ends.has_hung_up = true;
        if let Some(reader) = ends.reader.take() {
            reader.wake();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut ends = self.0.borrow_mut();
        let Some(mut piece) = ends.sends.pop_front() else {
            if ends.has_hung_up {
                return Poll::Ready(Ok(()));
            }
            ends.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let rest = piece.split_off(piece.len().min(into.remaining()));
        into.put_slice(&piece);
        if !rest.is_empty() {
            ends.sends.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut ends = self.0.borrow_mut();
        ends.is_full = !ends.is_full;
        if ends.is_full {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = bytes.len().min(WRITE_BYTES_MAX);
        ends.got.extend(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
