//! TLS 1.2 and 1.3 for listeners and upstreams. Sessions resume by ticket, so no worker shares a session cache with another.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use hookswitch_sip::flow::Transport;
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, ServerConnection,
    client::WantsClientCert,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use webpki::EndEntityCert;

use crate::{
    config::{Certificate, ClientCertificates, ListenerKind, Upstream},
    state::State,
};

/// Bundles of Debian and Alpine, of Fedora.
const SYSTEM_CAS: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];
/// Of one certificate, that are looked at.
const CLIENT_NAMES_MAX: usize = 32;
/// A browser resumes once or twice; each ticket costs a record.
const TICKETS: usize = 1;

/// For a listener that speaks TLS; `None` for the others.
pub(crate) fn acceptor_of(
    kind: &ListenerKind,
    host: &str,
    state: &State,
) -> Result<Option<TlsAcceptor>> {
    let made = match kind {
        ListenerKind::Udp | ListenerKind::Tcp | ListenerKind::Ws(_) => return Ok(None),
        ListenerKind::Wss(_, certificate) => {
            let asked = &ClientCertificates::NotAsked;
            acceptor(Transport::Wss, certificate, asked, host, state)
        }
        ListenerKind::Tls(certificate, clients) => {
            acceptor(Transport::Tls, certificate, clients, host, state)
        }
    };
    made.map(Some)
}

/// Loads or makes the certificate of a listener.
fn acceptor(
    transport: Transport,
    certificate: &Certificate,
    clients: &ClientCertificates,
    host: &str,
    state: &State,
) -> Result<TlsAcceptor> {
    let (chain, key) = match certificate {
        Certificate::Files { certificate, key } => (certificate.clone(), key.clone()),
        Certificate::SelfSigned => state.certificate(&names(host))?,
    };
    let mut config = with_identity(&chain, &key, clients)?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    if transport == Transport::Wss {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Reads the PEM files, and sees whether they belong together.
pub(crate) fn with_identity(
    chain: &Path,
    key: &Path,
    clients: &ClientCertificates,
) -> Result<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match verifier(clients)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    builder
        .with_single_cert(certificates(chain)?, private_key(key)?)
        .with_context(|| format!("{} and {}", chain.display(), key.display()))
}

fn verifier(clients: &ClientCertificates) -> Result<Option<Arc<dyn ClientCertVerifier>>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (ca, optional) = match clients {
        ClientCertificates::NotAsked => return Ok(None),
        ClientCertificates::Optional(ca) => (ca, true),
        ClientCertificates::Required(ca) => (ca, false),
    };
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider);
    let builder = if optional {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    let built = builder.build();
    Ok(Some(built.with_context(|| ca.display().to_string())?))
}

/// For an upstream that speaks TLS; `None` for the others.
pub(crate) fn connector_to(upstream: &Upstream) -> Result<Option<TlsConnector>> {
    let Some(tls) = &upstream.tls else {
        return Ok(None);
    };
    let builder = client(tls.ca.as_deref())?;
    let config = match &tls.own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(certificates(chain)?, private_key(key)?)
            .with_context(|| format!("{} and {}", chain.display(), key.display()))?,
    };
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

/// For a server of whoever else; shows no certificate.
pub(crate) fn connector(ca: Option<&Path>) -> Result<TlsConnector> {
    let config = client(ca)?.with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Trusts the CAs of a file, or else those of the system.
fn client(ca: Option<&Path>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    let roots = ca.map_or_else(system_roots, roots)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots))
}

/// What the system trusts. A CA that rustls does not take is left out.
fn system_roots() -> Result<RootCertStore> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let file = named
        .into_iter()
        .chain(SYSTEM_CAS.map(PathBuf::from))
        .find(|file| file.exists());
    let file = file.context("no system CAs; install ca-certificates, or name a file with `ca`")?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&file)?);
    Ok(roots)
}

/// The certificates of CAs in a PEM file.
fn roots(file: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        let added = roots.add(certificate);
        added.with_context(|| format!("{}: not the certificate of a CA", file.display()))?;
    }
    Ok(roots)
}

/// A chain in a PEM file.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("certificate {}: name a PEM file", file.display()))
}

/// A private key in a PEM file.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(file)
        .with_context(|| format!("key {}: name a PEM file", file.display()))
}

/// What the verified certificate of the client says that it is: SIP domains and users (RFC 5922 §7.1), without any the names of DNS.
pub(crate) fn client_names(connection: &ServerConnection) -> Vec<String> {
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let Some(Ok(leaf)) = leaf.map(EndEntityCert::try_from) else {
        return Vec::new();
    };
    let of_sip = leaf
        .valid_uri_names()
        .filter_map(|uri| uri.strip_prefix("sip:"));
    let mut names: Vec<&str> = of_sip.take(CLIENT_NAMES_MAX).collect();
    if names.is_empty() {
        names = leaf.valid_dns_names().take(CLIENT_NAMES_MAX).collect();
    }
    names.into_iter().map(str::to_owned).collect()
}

fn names(host: &str) -> Vec<String> {
    let host = host.trim_matches(['[', ']']);
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1", host]
        .map(str::to_owned)
        .into();
    names.dedup();
    names
}
