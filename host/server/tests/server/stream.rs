//! Phones and PBXs that speak SIP over TCP or TLS.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
        server::WebPkiClientVerifier,
    },
};

use crate::client::Sip;

const PATIENCE: Duration = Duration::from_secs(20);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection that carries SIP, at one of its ends.
pub(crate) struct Line {
    stream: Box<dyn Stream>,
    held: Vec<u8>,
    /// For Via.
    pub(crate) via: String,
}

impl Line {
    pub(crate) fn new(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        via: String,
    ) -> Self {
        Self {
            stream: Box::new(stream),
            held: Vec::new(),
            via,
        }
    }

    /// Over TCP, from this address.
    pub(crate) async fn tcp(from: [u8; 4], to: SocketAddr) -> Self {
        let stream = connect(from, to).await;
        let via = format!("TCP {}", stream.local_addr().unwrap());
        Self::new(stream, via)
    }

    /// Over TLS; an error says that the server broke it off.
    pub(crate) async fn tls(
        from: [u8; 4],
        to: SocketAddr,
        config: ClientConfig,
    ) -> std::io::Result<Self> {
        let stream = connect(from, to).await;
        let via = format!("TLS {}", stream.local_addr().unwrap());
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut line = Self::new(connector.connect(name, stream).await?, via);
        // In TLS 1.3 only the first read says whether the server took our certificate.
        line.stream.write_all(b"\r\n\r\n").await?;
        line.stream.read_exact(&mut [0; 2]).await?;
        Ok(line)
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn send(&mut self, message: &Sip) {
        self.write(message.0.as_bytes()).await;
    }

    /// What comes next, as it comes; empty at the end.
    pub(crate) async fn read(&mut self) -> Vec<u8> {
        let mut buffer = vec![0; 65_536];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut buffer)).await;
        let length = read.expect("bytes in time").unwrap_or(0);
        buffer.truncate(length);
        buffer
    }

    /// The next message but 100 Trying; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Sip> {
        loop {
            if let Some(message) = self.cut() {
                if !message.start().starts_with("SIP/2.0 100") {
                    return Some(message);
                }
                continue;
            }
            let bytes = self.read().await;
            if bytes.is_empty() {
                return None;
            }
            self.held.extend(bytes);
        }
    }

    pub(crate) async fn receive(&mut self) -> Sip {
        self.next().await.expect("an open connection")
    }

    fn cut(&mut self) -> Option<Sip> {
        let text = std::str::from_utf8(&self.held).unwrap();
        let start = text.len() - text.trim_start_matches("\r\n").len();
        let head = start + text[start..].find("\r\n\r\n")? + 4;
        let message = Sip(text[start..head].to_owned());
        let end = head + message.get("Content-Length").parse::<usize>().unwrap();
        if self.held.len() < end {
            return None;
        }
        let rest = self.held.split_off(end);
        let whole = std::mem::replace(&mut self.held, rest);
        Some(Sip(String::from_utf8(whole[start..].to_vec()).unwrap()))
    }
}

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

/// A PBX that listens for TCP.
pub(crate) struct Pbx {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl Pbx {
    pub(crate) async fn tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            listener,
            tls: None,
        }
    }

    /// That shows this certificate and wants one of this CA.
    pub(crate) async fn tls(own: &Path, ca: &Path) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(trusting(ca));
        let clients = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                chain(&own.with_extension("pem")),
                key(&own.with_extension("key")),
            )
            .unwrap();
        Self {
            tls: Some(TlsAcceptor::from(Arc::new(config))),
            ..Self::tcp().await
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> Line {
        let accepted = tokio::time::timeout(PATIENCE, self.listener.accept()).await;
        let (stream, _) = accepted.expect("a connection in time").unwrap();
        match &self.tls {
            None => Line::new(stream, format!("TCP {}", self.address())),
            Some(tls) => {
                let stream = tls.accept(stream).await.unwrap();
                Line::new(stream, format!("TLS {}", self.address()))
            }
        }
    }

    /// Does the handshake of the next connection succeed?
    pub(crate) async fn try_accept(&self) -> bool {
        let (stream, _) = self.listener.accept().await.unwrap();
        let Some(tls) = &self.tls else { return true };
        let mut stream = match tls.accept(stream).await {
            Ok(stream) => stream,
            Err(_) => return false,
        };
        matches!(stream.read(&mut [0]).await, Ok(1))
    }

    /// Did nobody else connect?
    pub(crate) async fn is_left_alone(&self) -> bool {
        let short = Duration::from_millis(200);
        tokio::time::timeout(short, self.listener.accept())
            .await
            .is_err()
    }
}

/// A CA of our own.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn write(&self, file: &Path) {
        std::fs::write(file, self.0.as_ref().pem()).unwrap();
    }

    /// Certificate and key for these names, in files of this name in the folder.
    pub(crate) fn issue(&self, folder: &Path, name: &str, names: &[&str]) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.0)
            .unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

pub(crate) fn chain(file: &Path) -> Vec<CertificateDer<'static>> {
    vec![CertificateDer::from_pem_file(file).unwrap()]
}

pub(crate) fn key(file: &Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(file).unwrap()
}

/// A client that trusts this certificate, with one of its own if its name is given.
pub(crate) fn client(trusted: &Path, own: Option<&Path>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(trusting(trusted));
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => builder
            .with_client_auth_cert(
                chain(&own.with_extension("pem")),
                key(&own.with_extension("key")),
            )
            .unwrap(),
    }
}

fn trusting(file: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_file(file).unwrap();
    roots.add(trusted).unwrap();
    roots
}
