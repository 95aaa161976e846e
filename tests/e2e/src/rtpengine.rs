//! A real rtpengine in userspace, on loopback.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{PATIENCE_MS, built, ports};

const POLL_MS: u64 = 20;
/// Enough for the calls of one test.
const MEDIA_PORTS: u16 = 64;
/// Any reply fits.
const REPLY_BYTES_MAX: usize = 65_536;

/// A running rtpengine; killed when dropped.
pub struct Rtpengine {
    process: Child,
    log: PathBuf,
    /// Its control protocol over UDP.
    pub udp: SocketAddr,
    /// Its control protocol over WebSocket.
    pub websocket: SocketAddr,
}

impl Rtpengine {
    /// Starts one; its log has this name.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let (udp, websocket) = (ports::free_udp(), ports::free_row(1));
        let media = ports::free_row(MEDIA_PORTS).port();
        let folder = built().join("e2e");
        let log = folder.join(format!("{name}.log"));
        fs::create_dir_all(&folder).expect("a folder");
        let output = fs::File::create(&log).expect("a log");
        let process = Command::new("rtpengine")
            .args([
                "--config-file=none",
                "--table=-1",
                "--foreground",
                "--log-stderr",
                "--log-level=6",
            ])
            .args([
                "--interface=127.0.0.1",
                "--delete-delay=0",
                "--num-threads=1",
            ])
            .arg(format!("--listen-ng={udp}"))
            .arg(format!("--listen-http={websocket}"))
            .arg(format!("--port-min={media}"))
            .arg(format!("--port-max={}", media + MEDIA_PORTS - 1))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("rtpengine starts");
        let rtpengine = Self {
            process,
            log,
            udp,
            websocket,
        };
        rtpengine.until("it answers", |reply| reply.contains("6:result"));
        rtpengine
    }

    /// Waits until it knows no call.
    #[track_caller]
    pub fn is_idle(&self) {
        self.until("its calls are over", |reply| reply.contains("5:callsle"));
    }

    /// Waits until it knows a call.
    #[track_caller]
    pub fn is_busy(&self) {
        self.until("it has a call", |reply| {
            reply.contains("5:callsl") && !reply.contains("5:callsle")
        });
    }

    /// Ends it as a fault would.
    pub fn crashes(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let started = Instant::now();
        while !self.list().is_some_and(|reply| holds(&reply)) {
            assert!(
                started.elapsed() < Duration::from_millis(PATIENCE_MS),
                "rtpengine: never: {what}"
            );
            std::thread::sleep(Duration::from_millis(POLL_MS));
        }
    }

    /// The names of its calls, as it writes them.
    fn list(&self) -> Option<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
        socket.connect(self.udp).ok()?;
        let patience = Some(Duration::from_millis(POLL_MS));
        socket.set_read_timeout(patience).ok()?;
        let cookie = socket.local_addr().ok()?.port();
        let started = Instant::now().elapsed().as_nanos();
        let command = format!("{cookie}_{started} d7:command4:liste");
        socket.send(command.as_bytes()).ok()?;
        let mut reply = vec![0; REPLY_BYTES_MAX];
        let length = socket.recv(&mut reply).ok()?;
        Some(String::from_utf8_lossy(&reply[..length]).into_owned())
    }
}

impl Drop for Rtpengine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("── rtpengine\n{log}");
        }
        self.crashes();
    }
}
