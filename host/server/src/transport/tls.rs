//! TLS 1.2 and 1.3 for WSS listeners. Sessions resume by ticket, so no worker shares a session cache with another.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
};
use tokio_rustls::TlsAcceptor;

use crate::{config::Certificate, state::State};

/// A browser resumes once or twice; each ticket costs a record.
const TICKETS: usize = 1;

/// Loads or makes the certificate of a listener.
pub(crate) fn acceptor(
    certificate: &Certificate,
    host: &str,
    state: &State,
) -> Result<TlsAcceptor> {
    let (chain, key) = match certificate {
        Certificate::Files { certificate, key } => (certificate.clone(), key.clone()),
        Certificate::SelfSigned => state.certificate(&names(host))?,
    };
    let mut config = with_identity(&chain, &key)?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Reads the PEM files, and sees whether they belong together.
pub(crate) fn with_identity(chain: &Path, key: &Path) -> Result<ServerConfig> {
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("certificate {}: name a PEM file", chain.display()))?;
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("key {}: name a PEM file", key.display()))?;
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .with_context(|| format!("{} and {}", chain.display(), key.display()))
}

fn names(host: &str) -> Vec<String> {
    let host = host.trim_matches(['[', ']']);
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1", host]
        .map(str::to_owned)
        .into();
    names.dedup();
    names
}
