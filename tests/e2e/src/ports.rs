//! Ports for peers that must be told one.

use std::{
    fs,
    net::{SocketAddr, TcpListener, UdpSocket},
    time::{Duration, Instant},
};

const ATTEMPTS_MAX: u32 = 1000;
const POLL_MS: u64 = 10;

/// A free address for UDP.
pub(crate) fn free_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
}

/// The first of `count` ports in a row that are free for UDP and TCP.
pub(crate) fn free_row(count: u16) -> SocketAddr {
    let is_free = |address: SocketAddr| {
        UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
    };
    let nth =
        |first: SocketAddr, nth| SocketAddr::new(first.ip(), first.port().saturating_add(nth));
    let mut attempts = (0..ATTEMPTS_MAX).map(|_| free_udp());
    attempts
        .find(|first| (0..count).all(|offset| is_free(nth(*first, offset))))
        .expect("free ports in a row")
}

/// Waits until somebody has this port for UDP, by the kernel's list: to try it would take it away. False when `goes_on` says so first.
pub(crate) fn until_bound(port: u16, patience_ms: u64, mut goes_on: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !is_bound(port) {
        if !goes_on() || started.elapsed() >= Duration::from_millis(patience_ms) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(POLL_MS));
    }
    true
}

/// Over UDP and IPv4: second column, `ADDRESS:PORT` in hexadecimal.
fn is_bound(port: u16) -> bool {
    let sockets = fs::read_to_string("/proc/net/udp").expect("Linux lists its sockets");
    let port = format!(":{port:04X}");
    sockets
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .any(|local| local.ends_with(&port))
}
