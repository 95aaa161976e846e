//! Connections that we open: TCP, then TLS where it is wanted, within a limit in time. Never decides when, nor how often.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// After this long without a segment the kernel asks whether the peer is still there, and gives it up after three questions.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(10);

/// What is to be opened.
pub(crate) struct Dialing {
    /// The address that it leaves from; any if `None`.
    pub(crate) from: Option<IpAddr>,
    pub(crate) to: SocketAddr,
    pub(crate) connect_max: Duration,
    /// Whom the certificate must name.
    pub(crate) tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// It is open.
pub(crate) enum Dialed {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why it is not.
#[derive(Debug, Error)]
pub(crate) enum DialError {
    #[error("not within connect_ms_max")]
    TooSlow,
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("{0}")]
    Tcp(#[from] io::Error),
    /// TLS to an address that belongs to no upstream: nobody says whose certificate is good there.
    #[error("no upstream says how to speak TLS to there")]
    Unknown,
}

/// Opens it.
pub(crate) async fn dial(dialing: Dialing) -> Result<Dialed, DialError> {
    let connect_max = dialing.connect_max;
    let open = async {
        let stream = connect(&dialing).await?;
        let Some((connector, name)) = dialing.tls else {
            return Ok(Dialed::Tcp(stream));
        };
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(DialError::Tls)?;
        Ok(Dialed::Tls(Box::new(stream)))
    };
    let opened = timeout(connect_max, open).await;
    opened.unwrap_or(Err(DialError::TooSlow))
}

async fn connect(dialing: &Dialing) -> io::Result<TcpStream> {
    let socket = match dialing.to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(from) = dialing.from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(dialing.to).await?;
    tune(&stream);
    Ok(stream)
}

/// A message is one write: there is nothing to wait for. And a peer that lost its power says no goodbye. Both best effort.
pub(crate) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_EVERY)
        .with_retries(3);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}
