//! Ports for peers that must be told one.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    ops::Range,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Where rows begin: below what hookswitch takes for media, and far below what the kernel gives to whoever asks for any port.
const FIRSTS: Range<u16> = 10_000..19_000;
const ATTEMPTS_MAX: u32 = 1_000;
const POLL_MS: u64 = 10;

/// Counts what was taken, from somewhere else in each process: tests that run side by side never have the same.
static TAKEN: LazyLock<AtomicU32> =
    LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(64)));

/// A free address for UDP.
pub(crate) fn free_udp() -> SocketAddr {
    free_row(1)
}

/// The first of `count` ports in a row that are free for UDP and TCP.
pub(crate) fn free_row(count: u16) -> SocketAddr {
    let mut rows = (0..ATTEMPTS_MAX).map(|_| take(count));
    rows.find(|row| (0..count).all(|nth| is_free(row.port() + nth)))
        .expect("free ports in a row")
}

fn take(count: u16) -> SocketAddr {
    let taken = TAKEN.fetch_add(u32::from(count), Ordering::Relaxed);
    let nth = taken % u32::from(FIRSTS.end - FIRSTS.start);
    loopback(FIRSTS.start + u16::try_from(nth).expect("below the number of ports"))
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn is_free(port: u16) -> bool {
    UdpSocket::bind(loopback(port)).is_ok() && TcpListener::bind(loopback(port)).is_ok()
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
