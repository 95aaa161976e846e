//! A server in a folder of its own, and what it says about itself.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use hookswitch::{config::Config, server::Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DEFAULT_VERSIONS, RootCertStore, SupportedProtocolVersion,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use crate::client::PATIENCE;

static SCENES: AtomicU32 = AtomicU32::new(0);

/// A running server with listeners `wss` and `udp`, and an upstream `pbx`.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) folder: PathBuf,
    pub(crate) pbx: UdpSocket,
    config: Config,
}

impl Scene {
    /// With these lines in `[server]`, and this behind the rest of the configuration.
    pub(crate) async fn start(server: &str, more: &str) -> Self {
        let pbx = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("members = [\"{}\"]", pbx.local_addr().unwrap());
        Self::with_upstream(server, &upstream, more, pbx).await
    }

    /// With these lines in `[[upstream]]` instead; the PBX's socket is there for whoever names it.
    pub(crate) async fn with_upstream(
        server: &str,
        upstream: &str,
        more: &str,
        pbx: UdpSocket,
    ) -> Self {
        let number = SCENES.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("hookswitch-{}-{number}", std::process::id()));
        std::fs::create_dir_all(folder.join("pages")).unwrap();
        std::fs::write(folder.join("pages/index.html"), "<h1>softphone</h1>").unwrap();
        std::fs::write(folder.join("secret"), "secret").unwrap();
        let text = format!(
            r#"
            [server]
            state_dir = "state"
            {server}
            [[listener]]
            name = "wss"
            transport = "wss"
            address = "127.0.0.1:0"
            pages = "pages"
            origins = ["https://phone.example"]
            [[listener]]
            name = "udp"
            transport = "udp"
            address = "127.0.0.1:0"
            [[upstream]]
            name = "pbx"
            {upstream}
            [routing]
            default_upstream = "pbx"
            [admin]
            address = "127.0.0.1:0"
            {more}
            "#
        );
        let config = Config::parse(&text, &folder).unwrap();
        let server = Server::start(config.clone(), None).unwrap();
        Self {
            server,
            folder,
            pbx,
            config,
        }
    }

    /// Stops it and starts it anew, on other ports.
    pub(crate) async fn restart(mut self) -> Self {
        self.server.stop().await;
        self.server = Server::start(self.config.clone(), None).unwrap();
        self
    }

    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.server.addresses().listeners[listener]
    }

    /// TLS to the listener `wss`, trusting the certificate that the server made for itself.
    pub(crate) async fn tls(&self) -> TlsStream<TcpStream> {
        self.tls_of(DEFAULT_VERSIONS).await
    }

    /// The same with these versions alone.
    pub(crate) async fn tls_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsStream<TcpStream> {
        tls(&self.folder, self.address("wss"), versions).await
    }

    /// Status line and body of an admin page.
    pub(crate) async fn admin(&self, path: &str) -> (String, String) {
        let admin = self.server.addresses().admin.unwrap();
        get(TcpStream::connect(admin).await.unwrap(), path, "").await
    }

    /// Status line of a DELETE of the admin endpoint.
    pub(crate) async fn delete(&self, path: &str) -> String {
        let admin = self.server.addresses().admin.unwrap();
        let stream = TcpStream::connect(admin).await.unwrap();
        fetch(stream, "DELETE", path, "").await.0
    }

    /// The values of a metric, one for each worker, of the samples that contain `label`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> Vec<(String, u64)> {
        let (_, text) = self.admin("/metrics").await;
        let samples = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        samples
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(labels, value)| (labels.to_owned(), value.parse().unwrap()))
            .collect()
    }

    pub(crate) async fn total(&self, name: &str, label: &str) -> u64 {
        self.metric(name, label)
            .await
            .iter()
            .map(|(_, value)| value)
            .sum()
    }

    /// Waits until it is this: what is counted is seen outside before it is counted.
    pub(crate) async fn until_total(&self, name: &str, label: &str, expected: u64) {
        let given_up = Instant::now() + PATIENCE;
        loop {
            let total = self.total(name, label).await;
            if total == expected {
                return;
            }
            assert!(
                Instant::now() < given_up,
                "{name} {label}: {total}, not {expected}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops it and removes its folder.
    pub(crate) async fn end(self) {
        self.server.stop().await;
        std::fs::remove_dir_all(self.folder).unwrap();
    }
}

/// TLS to a listener that made a certificate for itself in this folder's `state`.
pub(crate) async fn tls(
    folder: &Path,
    address: SocketAddr,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(folder.join("state/cert.pem")).unwrap();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .unwrap()
}

/// One GET of HTTP/1.1: the status line, and the body.
pub(crate) async fn get(
    stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    path: &str,
    headers: &str,
) -> (String, String) {
    fetch(stream, "GET", path, headers).await
}

/// One request of HTTP/1.1: the status line, and the body.
pub(crate) async fn fetch(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    method: &str,
    path: &str,
    headers: &str,
) -> (String, String) {
    let close = if headers.contains("Upgrade") {
        ""
    } else {
        "Connection: close\r\n"
    };
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{close}{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    // What answers an upgrade keeps the connection open.
    while !(headers.contains("Upgrade") && answer.windows(4).any(|end| end == b"\r\n\r\n")) {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
        }
    }
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}
