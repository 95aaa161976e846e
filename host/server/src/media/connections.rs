//! Browsers whose network lets no UDP through: they open connections (RFC 6544), and these are what datagrams are to others, on a thread
//! of their own beside the media workers. Knows nothing of what the packets are.
//!
//! A connection is worth as much as the engine thinks it is: one on which we have nothing to say is closed. To who knows no call's ufrag
//! that happens in seconds.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use hookswitch_media::{
    engine::Input,
    framing::{Deframer, frame},
    run::{Busy, Worker},
    sockets::SocketId,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
    task::spawn_local,
    time::timeout,
};

/// Of all workers; more are closed at once.
const CONNECTIONS_MAX: usize = 4_096;
/// Of one address, that we have said nothing on yet.
const NEWCOMERS_PER_ADDRESS_MAX: usize = 32;
/// Packets that wait for a slow reader; more are dropped, for media that waits is worth nothing.
const PACKETS_QUEUED_MAX: usize = 64;
/// What the kernel keeps besides.
const SEND_BUFFER_BYTES: usize = 64 << 10;
const READ_BYTES_MAX: usize = 4_096;
/// Until our first word: the answer to a check.
const FIRST_WORD_MAX: Duration = Duration::from_secs(5);
/// Between two: longer than consent lasts (RFC 7675 §5.1).
const SILENCE_MAX: Duration = Duration::from_secs(35);
/// A reader that takes nothing for so long is gone.
const WRITE_MAX: Duration = Duration::from_secs(10);
/// What a worker has before it that takes no more packets is done after that.
const BUSY_FOR: Duration = Duration::from_millis(5);

/// A port for connections, and whose packets come there.
pub(super) type Port = (std::net::TcpListener, Weak<Worker>);

/// The thread. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Connections {
    connected: Arc<Connected>,
    _runs: oneshot::Sender<()>,
}

/// The connections that are open: where packets for each are put.
#[derive(Debug, Default)]
pub(super) struct Connected {
    queues: Mutex<HashMap<SocketId, mpsc::Sender<Vec<u8>>>>,
    opened: AtomicU32,
}

impl Connected {
    /// Puts a packet to those that wait for a connection, or drops it.
    pub(super) fn send(&self, to: SocketId, packet: Vec<u8>) {
        if let Some(queue) = self.queues().get(&to) {
            // Too many wait, or it is about to close.
            let _ = queue.try_send(packet);
        }
    }

    /// `None` if there are too many.
    fn open(&self) -> Option<(SocketId, mpsc::Receiver<Vec<u8>>)> {
        let mut queues = self.queues();
        if queues.len() >= CONNECTIONS_MAX {
            return None;
        }
        let id = SocketId::connection(self.opened.fetch_add(1, Relaxed));
        let (sender, receiver) = mpsc::channel(PACKETS_QUEUED_MAX);
        queues.insert(id, sender);
        Some((id, receiver))
    }

    fn close(&self, id: SocketId) {
        self.queues().remove(&id);
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<SocketId, mpsc::Sender<Vec<u8>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Takes connections at these ports.
    ///
    /// # Errors
    /// No thread is to be had, or no listener.
    pub(super) fn start(ports: Vec<Port>, connected: Arc<Connected>) -> io::Result<Self> {
        for (listener, _) in &ports {
            listener.set_nonblocking(true)?;
        }
        let (runs, ended) = oneshot::channel::<()>();
        let all = Arc::clone(&connected);
        thread::Builder::new()
            .name("media-tcp".to_owned())
            .spawn(move || {
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .build_local(LocalOptions::default());
                match runtime {
                    Ok(runtime) => runtime.block_on(run(ports, connected, ended)),
                    Err(error) => tracing::error!(%error, "no media over TCP"),
                }
            })?;
        Ok(Self {
            connected: all,
            _runs: runs,
        })
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.connected.queues().len()
    }
}

async fn run(ports: Vec<Port>, connected: Arc<Connected>, ended: oneshot::Receiver<()>) {
    let newcomers = Newcomers::default();
    for (listener, worker) in ports {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let (connected, newcomers) = (Arc::clone(&connected), newcomers.clone());
                spawn_local(accept(listener, worker, connected, newcomers));
            }
            Err(error) => tracing::error!(%error, "no media over TCP"),
        }
    }
    // Only when the sender is gone.
    let _ = ended.await;
}

async fn accept(
    listener: TcpListener,
    worker: Weak<Worker>,
    connected: Arc<Connected>,
    newcomers: Newcomers,
) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(newcomer) = newcomers.come(peer.ip()) else {
            continue;
        };
        let Some((id, packets)) = connected.open() else {
            continue;
        };
        let (worker, connected) = (Weak::clone(&worker), Arc::clone(&connected));
        spawn_local(async move {
            let sender = Sender { id, peer, worker };
            serve(stream, &sender, packets, newcomer).await;
            connected.close(id);
        });
    }
}

/// Whose packets they are, and who gets them.
struct Sender {
    id: SocketId,
    peer: SocketAddr,
    worker: Weak<Worker>,
}

/// Until either side has nothing more to say.
async fn serve(
    stream: TcpStream,
    sender: &Sender,
    packets: mpsc::Receiver<Vec<u8>>,
    newcomer: Newcomer,
) {
    // Late is as bad as lost; and what lies in the kernel is late.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES);
    let (read, write) = stream.into_split();
    tokio::select! {
        () = hear(read, sender) => {}
        () = say(write, packets, newcomer) => {}
    }
}

async fn hear(mut stream: OwnedReadHalf, sender: &Sender) {
    let mut deframer = Deframer::default();
    let mut buffer = vec![0; READ_BYTES_MAX];
    loop {
        let read = match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => buffer.get(..length).unwrap_or_default(),
        };
        deframer.push(read);
        loop {
            match deframer.frame() {
                Ok(Some(packet)) => {
                    if sender.hand_over(packet).await.is_none() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

impl Sender {
    /// `None` where the worker has ended. One that has too much before it loses the packet, and the connection is not read for a while:
    /// TCP holds its sender back.
    async fn hand_over(&self, bytes: Vec<u8>) -> Option<()> {
        let input = Input::Packet {
            connection: self.id,
            from: self.peer,
            bytes,
        };
        let told = self.worker.upgrade()?.tell(input);
        if let Err(Busy) = told {
            tokio::time::sleep(BUSY_FOR).await;
        }
        Some(())
    }
}

async fn say(mut stream: OwnedWriteHalf, mut packets: mpsc::Receiver<Vec<u8>>, newcomer: Newcomer) {
    let (mut newcomer, mut patience) = (Some(newcomer), FIRST_WORD_MAX);
    while let Ok(Some(packet)) = timeout(patience, packets.recv()).await {
        (newcomer, patience) = (None, SILENCE_MAX);
        let Some(frame) = frame(&packet) else {
            continue;
        };
        match timeout(WRITE_MAX, stream.write_all(&frame)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
    drop(newcomer);
}

/// How many there are of each address.
#[derive(Clone, Debug, Default)]
struct Newcomers(Rc<RefCell<HashMap<IpAddr, usize>>>);

/// One that is counted until we have said something.
struct Newcomer {
    of: Newcomers,
    address: IpAddr,
}

impl Newcomers {
    /// `None` if there are too many of that address.
    fn come(&self, address: IpAddr) -> Option<Newcomer> {
        let mut counts = self.0.borrow_mut();
        let count = counts.entry(address).or_default();
        if *count >= NEWCOMERS_PER_ADDRESS_MAX {
            return None;
        }
        *count += 1;
        let of = self.clone();
        Some(Newcomer { of, address })
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let mut counts = self.of.0.borrow_mut();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
