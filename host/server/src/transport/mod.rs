//! Sockets: bound once for each worker (SO_REUSEPORT), so that the kernel spreads connections and no worker shares one.

pub(crate) mod accept;
pub(crate) mod crowd;
pub(crate) mod dial;
pub(crate) mod pages;
pub(crate) mod pipe;
mod steer;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod udp;
pub(crate) mod upgrade;
pub(crate) mod web;
pub(crate) mod websocket;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use anyhow::{Context, Result};
use hookswitch_sip::flow::Transport;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{config::Listener, state};

/// Connections that wait in the kernel to be accepted, for each worker.
const BACKLOG_MAX: i32 = 1_024;
/// A burst of datagrams that the kernel keeps for us.
const DATAGRAM_BUFFER_BYTES: usize = 4 << 20;

/// A listener with its sockets.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) name: String,
    pub(crate) transport: Transport,
    /// The real one, where the configuration has port 0.
    pub(crate) address: SocketAddr,
    /// As others reach it: host (IPv6 in brackets) and port.
    pub(crate) advertised: (String, u16),
    /// One for each worker.
    pub(crate) sockets: Sockets,
}

/// One for each worker, in their order.
#[derive(Debug)]
pub(crate) enum Sockets {
    Tcp(Vec<TcpListener>),
    Udp(Vec<UdpSocket>),
}

/// Binds a listener once for each worker.
pub(crate) fn bind(index: usize, listener: &Listener, workers: u8) -> Result<Bound> {
    let remedy = || {
        let at = listener.address;
        format!(
            "listener[{index}].address: cannot bind {at} for `{}`; choose another address or port, or stop what uses it",
            listener.name
        )
    };
    let transport = listener.kind.transport();
    let kind = match transport {
        Transport::Udp => Type::DGRAM,
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => Type::STREAM,
    };
    let sockets = bind_all(listener.address, kind, workers).with_context(remedy)?;
    let address = sockets.local_addr().with_context(remedy)?;
    Ok(Bound {
        name: listener.name.clone(),
        transport,
        address,
        advertised: advertised(listener, address),
        sockets,
    })
}

impl Sockets {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        let none = || io::Error::other("no worker");
        match self {
            Self::Tcp(sockets) => sockets.first().ok_or_else(none)?.local_addr(),
            Self::Udp(sockets) => sockets.first().ok_or_else(none)?.local_addr(),
        }
    }
}

fn bind_all(address: SocketAddr, kind: Type, workers: u8) -> io::Result<Sockets> {
    if address.port() != 0 {
        // With SO_REUSEPORT a second server of the same user would share the port unnoticed: without it, it is refused.
        open(address, kind, Reuse::No)?;
    }
    let first = open(address, kind, Reuse::Port)?;
    let address = first
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("not an IP socket"))?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(open(address, kind, Reuse::Port)?);
    }
    if kind == Type::DGRAM {
        let sockets: Vec<_> = sockets.into_iter().map(UdpSocket::from).collect();
        if let Err(error) = steer::responses(&sockets) {
            tracing::info!(%address, %error, "the kernel does not lead responses to their workers: each costs a hop");
        }
        return Ok(Sockets::Udp(sockets));
    }
    sockets
        .iter()
        .try_for_each(|socket| socket.listen(BACKLOG_MAX))?;
    Ok(Sockets::Tcp(
        sockets.into_iter().map(TcpListener::from).collect(),
    ))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reuse {
    No,
    Port,
}

fn open(address: SocketAddr, kind: Type, reuse: Reuse) -> io::Result<Socket> {
    let protocol = if kind == Type::DGRAM {
        Protocol::UDP
    } else {
        Protocol::TCP
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own: a flow's address has one form.
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    } else {
        // Best effort: the kernel's own limit may be lower.
        let _ = socket.set_recv_buffer_size(DATAGRAM_BUFFER_BYTES);
    }
    if reuse == Reuse::Port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// As configured; else the bound address, or this machine's where that is "any".
pub(crate) fn advertised(listener: &Listener, address: SocketAddr) -> (String, u16) {
    if let Some(advertised) = &listener.advertised {
        return (
            advertised.host.clone(),
            advertised.port.unwrap_or(address.port()),
        );
    }
    let loopback = if address.is_ipv6() {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    };
    let ip = match address.ip() {
        any if any.is_unspecified() => state::main_address(address.is_ipv6()).unwrap_or(loopback),
        ip => ip,
    };
    (bracketed(ip), address.port())
}

/// As a URI has it: IPv6 in brackets.
pub(crate) fn bracketed(ip: std::net::IpAddr) -> String {
    match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
