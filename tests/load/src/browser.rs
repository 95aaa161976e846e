//! WebSocket clients: opening a connection (TCP, TLS, upgrade with the subprotocol `sip`) and moving messages on it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use futures_util::{SinkExt, StreamExt};
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpSocket,
    sync::mpsc::UnboundedReceiver,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig,
    },
};

/// Small, so that thousands of connections fit beside the proxy.
const READ_BUFFER_BYTES: usize = 4096;

/// How long a proxy may take to open a connection, busy as it may be with others.
pub const OPEN_MAX: Duration = Duration::from_secs(30);

/// Where WebSocket clients connect to.
#[derive(Clone)]
pub struct Door {
    /// Of the listener.
    pub address: SocketAddr,
    /// Where they connect from; the system chooses if `None`.
    pub from: Option<IpAddr>,
    /// Path of the upgrade, which begins with a slash.
    pub path: String,
    /// TLS, or plain WebSocket if `None`.
    pub tls: Option<TlsConnector>,
}

/// Whether a second TLS handshake with the same server may be an abbreviated one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sessions {
    /// Every handshake is a full one.
    Full,
    /// Sessions are kept and resumed.
    Resumed,
}

/// TLS that takes any certificate: the peer is a proxy under test on this machine.
///
/// # Errors
/// The TLS library refuses its own defaults.
pub fn tls(sessions: Sessions) -> Result<TlsConnector> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    if sessions == Sessions::Full {
        config.resumption = Resumption::disabled();
    }
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A stream below a WebSocket: TLS or not.
pub trait Pipe: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Pipe for T {}

/// An open WebSocket.
pub type Socket = WebSocketStream<Box<dyn Pipe>>;

/// Opens one connection.
///
/// # Errors
/// Refused, not open within [`OPEN_MAX`], closed in a handshake, or upgraded without the subprotocol `sip` (RFC 7118 §4.1).
pub async fn open(door: &Door) -> Result<Socket> {
    timeout(OPEN_MAX, open_patiently(door))
        .await
        .with_context(|| format!("{} did not open a WebSocket in time", door.address))?
}

async fn open_patiently(door: &Door) -> Result<Socket> {
    let socket = match door.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(from) = door.from {
        socket
            .bind((from, 0).into())
            .with_context(|| format!("bind to {from}"))?;
    }
    let stream = socket
        .connect(door.address)
        .await
        .with_context(|| format!("connect to {}", door.address))?;
    stream.set_nodelay(true)?;
    let (scheme, pipe): (_, Box<dyn Pipe>) = match &door.tls {
        None => ("ws", Box::new(stream)),
        Some(connector) => {
            let name = ServerName::try_from("localhost").context("a server name")?;
            (
                "wss",
                Box::new(
                    connector
                        .connect(name, stream)
                        .await
                        .context("TLS handshake")?,
                ),
            )
        }
    };
    let mut request = format!("{scheme}://{}{}", door.address, door.path).into_client_request()?;
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
    let (socket, response) = client_async_with_config(request, pipe, Some(config))
        .await
        .context("WebSocket upgrade")?;
    ensure!(
        response
            .headers()
            .get("Sec-WebSocket-Protocol")
            .is_some_and(|value| value == "sip"),
        "upgraded without `sip`"
    );
    Ok(socket)
}

/// Sends what comes from `outbox` and gives what comes from the peer to `received`, until either side closes.
///
/// # Errors
/// The connection broke.
pub async fn pump(
    mut socket: Socket,
    mut outbox: UnboundedReceiver<String>,
    mut received: impl FnMut(&str),
) -> Result<()> {
    loop {
        tokio::select! {
            text = outbox.recv() => {
                let Some(text) = text else { return Ok(socket.close(None).await?) };
                socket.feed(Message::text(text)).await?;
                while let Ok(text) = outbox.try_recv() {
                    socket.feed(Message::text(text)).await?;
                }
                socket.flush().await?;
            }
            message = socket.next() => match message.context("closed by the peer")?? {
                Message::Text(text) => received(&text),
                Message::Binary(bytes) => received(std::str::from_utf8(&bytes)?),
                Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
            }
        }
    }
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
