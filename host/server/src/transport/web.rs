//! HTTP/1.1 in front of a WebSocket listener: an upgrade is judged, by us and by the policies' `connect-hook`, and so is who asks for
//! TURN servers; any other GET gets a page.

use std::{
    cell::RefCell,
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use hookswitch_policy::context::{self, Source as _};
use hookswitch_sip::flow::Transport;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONNECTION,
        CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, VARY,
    },
    http::request::Parts,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    accept::Visit,
    pages::{self, plain},
    upgrade::{self, SUBPROTOCOL},
};
use crate::{config::Web, metrics::Count, source::Source, turn::Turn, worker::policy::Admission};

const HTTP_HEADERS_MAX: usize = 64;
const HTTP_HEAD_BYTES_MAX: usize = 16_384;

/// Who has the last word on upgrades, and is told of all: the worker.
pub(crate) trait Gate {
    fn count(&self, count: Count);
    /// What the policies say.
    async fn admit(&self, upgrade: context::Upgrade, source: Arc<Source>) -> Admission;
    /// TURN servers, if there are any.
    fn turn(&self) -> Option<Arc<Turn>>;
}

/// Who is at the other end of an HTTP connection, and where it came in.
pub(crate) struct Visitor<'a, G> {
    pub(crate) peer: SocketAddr,
    pub(crate) sni: Option<String>,
    pub(crate) visit: Visit,
    pub(crate) listener: &'a Arc<str>,
    pub(crate) transport: Transport,
    pub(crate) handshake_max: Duration,
    pub(crate) web: &'a Web,
    pub(crate) gate: &'a G,
}

/// A connection that became a WebSocket.
pub(crate) struct Upgraded<S> {
    pub(crate) stream: S,
    /// Bytes that came right behind the upgrade.
    pub(crate) early: Vec<u8>,
    pub(crate) source: Arc<Source>,
}

/// Answers requests until the connection ends or becomes a WebSocket.
pub(crate) async fn serve<S, G>(stream: S, visitor: &Visitor<'_, G>) -> Option<Upgraded<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    G: Gate,
{
    let accepted = RefCell::new(None);
    let service = service_fn(|request: Request<Incoming>| async {
        let response = answer(request.into_parts().0, visitor, &accepted).await;
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // For a next page on the same connection; the time until the first is the visit's to limit, and to count.
        .header_read_timeout(visitor.handshake_max * 2)
        .max_headers(HTTP_HEADERS_MAX)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let parts = connection.without_shutdown().await.ok()?;
    let mut stream = parts.io.into_inner();
    let Some(source) = accepted.take() else {
        // The peer may be gone already.
        let _ = stream.shutdown().await;
        return None;
    };
    Some(Upgraded {
        stream,
        early: parts.read_buf.to_vec(),
        source,
    })
}

async fn answer<G: Gate>(
    request: Parts,
    visitor: &Visitor<'_, G>,
    accepted: &RefCell<Option<Arc<Source>>>,
) -> Response<Full<Bytes>> {
    let web = visitor.web;
    if !upgrade::is_upgrade(&request.headers) {
        if let Some(turn) = visitor
            .gate
            .turn()
            .filter(|turn| turn.path() == request.uri.path())
        {
            let servers = turn_servers(&turn, &request, visitor).await;
            visitor.visit.reads_pages();
            return servers;
        }
        let page = pages::serve(web.pages.as_deref(), &request).await;
        visitor.visit.reads_pages();
        return page;
    }
    let accept = match upgrade::judge(&request, &web.origins) {
        Ok(accept) => accept,
        Err(refusal) => {
            visitor.gate.count(Count::UpgradesRefused);
            tracing::info!(peer = %visitor.peer, listener = &**visitor.listener, %refusal, "upgrade refused");
            let mut response = plain(refusal.status(), format!("{refusal}\n"));
            let version = HeaderValue::from_static("13");
            response
                .headers_mut()
                .insert(SEC_WEBSOCKET_VERSION, version);
            return response;
        }
    };
    let (described, source) = described(&request, visitor);
    match visitor.gate.admit(described, Arc::clone(&source)).await {
        Admission::Accepted => {
            visitor.gate.count(Count::Upgrades);
            accepted.replace(Some(source));
            switching(&accept)
        }
        Admission::Refused {
            status,
            headers,
            body,
        } => {
            visitor.gate.count(Count::UpgradesRefused);
            tracing::info!(peer = %visitor.peer, listener = &**visitor.listener, status, "upgrade refused by policy");
            refused(status, &headers, body)
        }
    }
}

/// For whom policies would let open a WebSocket by what he sends here.
async fn turn_servers<G: Gate>(
    turn: &Turn,
    request: &Parts,
    visitor: &Visitor<'_, G>,
) -> Response<Full<Bytes>> {
    if request.method != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET.\n");
    }
    if !upgrade::is_allowed(&request.headers, &visitor.web.origins) {
        let refusal = upgrade::Refusal::Origin;
        return plain(refusal.status(), format!("{refusal}\n"));
    }
    let (described, source) = described(request, visitor);
    if let Admission::Refused {
        status,
        headers,
        body,
    } = visitor.gate.admit(described, Arc::clone(&source)).await
    {
        return refused(status, &headers, body);
    }
    let Some(servers) = turn.servers(source.identity().as_deref(), SystemTime::now()) else {
        return plain(StatusCode::FORBIDDEN, "for users alone\n");
    };
    let mut response = Response::new(Full::new(servers.to_string().into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("origin"));
    // A page of another host that may open a WebSocket may read this.
    if let Some(origin) = request.headers.get(ORIGIN) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    }
    response
}

fn switching(accept: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(
        SEC_WEBSOCKET_PROTOCOL,
        HeaderValue::from_static(SUBPROTOCOL),
    );
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn refused(status: u16, headers: &[(String, String)], body: Bytes) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(status)
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error());
    let mut response = plain(status.unwrap_or(StatusCode::FORBIDDEN), body);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// As policies see it.
fn described<G>(request: &Parts, visitor: &Visitor<'_, G>) -> (context::Upgrade, Arc<Source>) {
    let described = describe(request, visitor);
    let listener = Arc::clone(visitor.listener);
    let source = Source::connection(visitor.transport, visitor.peer, listener, &described);
    (described, Arc::new(source))
}

fn describe<G>(request: &Parts, visitor: &Visitor<'_, G>) -> context::Upgrade {
    let headers = &request.headers;
    context::Upgrade {
        host: text(headers, &HOST).unwrap_or_default(),
        path: request.uri.path().to_owned(),
        query: request.uri.query().map(str::to_owned),
        origin: text(headers, &ORIGIN),
        sni: visitor.sni.clone(),
        peer: visitor.peer.to_string(),
        headers: headers
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect(),
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
