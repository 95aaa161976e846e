//! Fetches a key set by HTTP/1.1, over TLS but from this machine itself. Follows nobody elsewhere, and reads no more than it must.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    Request, StatusCode, Uri,
    client::conn::http1,
    header::{ACCEPT, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{config::KeyUrl, transport::tls};

/// A key set; real ones have some KB.
const KEYS_BYTES_MAX: usize = 1 << 20;
/// From the name to the last byte.
const FETCH_MAX: Duration = Duration::from_secs(10);
/// RFC 7517 §8.5.2, and what most servers call it.
const KEY_SETS: &str = "application/jwk-set+json, application/json";

/// The body of the answer to a GET.
///
/// # Errors
/// What went wrong on the way, or a status other than 200.
pub(super) async fn get(from: &KeyUrl) -> Result<Bytes> {
    timeout(FETCH_MAX, exchange(from))
        .await
        .with_context(|| format!("no answer within {} s", FETCH_MAX.as_secs()))?
}

/// `None`: it is on this machine, and asked in the clear.
///
/// # Errors
/// Its CA cannot be read.
pub(super) fn connector(from: &KeyUrl) -> Result<Option<TlsConnector>> {
    match from.url.scheme_str() {
        Some("http") => Ok(None),
        Some(_) | None => tls::connector(from.ca.as_deref()).map(Some),
    }
}

async fn exchange(from: &KeyUrl) -> Result<Bytes> {
    let url = &from.url;
    let host = url.host().context("a URL without host")?;
    let name = host.trim_matches(['[', ']']);
    let tls = connector(from)?;
    let port = url
        .port_u16()
        .unwrap_or(if tls.is_some() { 443 } else { 80 });
    let stream = TcpStream::connect((name, port)).await?;
    match tls {
        None => ask(stream, url).await,
        Some(tls) => {
            let server = ServerName::try_from(name.to_owned())?;
            ask(tls.connect(server, stream).await?, url).await
        }
    }
}

async fn ask<S>(stream: S, url: &Uri) -> Result<Bytes>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this function, whatever the server does.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let authority = url.authority().context("a URL without host")?;
    let request = Request::get(path)
        .header(HOST, authority.as_str())
        .header(ACCEPT, KEY_SETS)
        .header(USER_AGENT, "hookswitch")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    ensure!(status == StatusCode::OK, "answered {status}");
    let body = Limited::new(response.into_body(), KEYS_BYTES_MAX);
    let body = body.collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok(body.to_bytes())
}
