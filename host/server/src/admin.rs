//! The admin endpoint, on a thread of its own beside other housekeeping: health, metrics, what policies and registrations there are.
//! It reads, and changes nothing but for the registrations that it is told to remove.

use std::{
    convert::Infallible,
    fmt::Write,
    io,
    net::TcpListener,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use bytes::Bytes;
use hookswitch_sip::registrar::Aor;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    runtime::Builder,
    sync::{Semaphore, watch},
};

use crate::{
    metrics::{head, line},
    policy_metrics,
    server::{Phase, Shared},
    state::State,
    transport::pages::{decode, plain},
    worker::Mail,
};

const ADMIN_CONNECTIONS_MAX: usize = 64;
const ADMIN_REQUEST_MAX: Duration = Duration::from_secs(10);
/// Registrations, or calls, in one answer.
const LISTED_MAX: usize = 1_000;
/// Before the Call-ID of a call that is looked at.
const ONE_CALL: &str = "/api/calls/";
/// Keys rotate in days.
const LOOK_AT_KEYS_EVERY: Duration = Duration::from_secs(3_600);
/// How often registrations that are over are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How the kernel counts CPU time in `/proc/self/stat`, on every Linux.
const CLOCK_TICKS_PER_S: f64 = 100.0;

/// Starts the thread. It ends when `phase`'s sender is gone.
pub(crate) fn spawn(
    listener: Option<TcpListener>,
    state: State,
    phase: watch::Receiver<Phase>,
) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new()
        .name("admin".to_owned())
        .spawn(move || runtime.block_on(run(listener, state, phase)))?;
    Ok(())
}

async fn run(listener: Option<TcpListener>, state: State, mut phase: watch::Receiver<Phase>) {
    if let Some(listener) = listener {
        tokio::spawn(accept(listener, phase.clone()));
    }
    let served = phase.wait_for(|phase| phase.shared().is_some()).await;
    if let Some(shared) = served.ok().and_then(|phase| phase.shared().cloned()) {
        tokio::spawn(rotate_keys(Arc::clone(&shared), state));
        tokio::spawn(sweep(shared));
    }
    // Only when the sender is gone.
    while phase.changed().await.is_ok() {}
}

/// A process that runs for months rotates its keys, too.
async fn rotate_keys(shared: Arc<Shared>, state: State) {
    loop {
        tokio::time::sleep(LOOK_AT_KEYS_EVERY).await;
        match state.token_keys(shared.config.key_rotation) {
            Ok(keys) => shared.tell_all(|| Mail::Keys(keys.clone())).await,
            Err(error) => tracing::error!("the keys of tokens are not rotated: {error:#}"),
        }
    }
}

async fn sweep(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        shared.locations.sweep(Instant::now());
    }
}

async fn accept(listener: TcpListener, phase: watch::Receiver<Phase>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no admin endpoint"),
    };
    let connections = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let phase = phase.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let phase = phase.borrow().clone();
                async move { Ok::<_, Infallible>(answer(&request, &phase).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(ADMIN_REQUEST_MAX)
                .serve_connection(TokioIo::new(stream), service);
            // A client that hangs up is no fault of ours.
            let _ = connection.await;
            drop(permit);
        });
    }
}

async fn answer(request: &Request<Incoming>, phase: &Phase) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if let (&Method::DELETE, Some(aor)) =
        (request.method(), path.strip_prefix("/api/registrations/"))
    {
        return remove_registration(phase, aor);
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD.\n");
    }
    match (path, phase.shared()) {
        ("/healthz" | "/readyz", Some(shared)) if shared.is_broken.load(Relaxed) => {
            plain(StatusCode::INTERNAL_SERVER_ERROR, "a worker has ended\n")
        }
        ("/healthz", _) => plain(StatusCode::OK, "ok\n"),
        (_, None) => plain(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        ("/readyz", Some(_)) => match phase {
            Phase::Starting | Phase::Draining(_) => {
                plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
            }
            Phase::Serving(_) => plain(StatusCode::OK, "ready\n"),
        },
        ("/metrics", Some(shared)) => typed(metrics(shared), "text/plain; version=0.0.4"),
        ("/api/policies", Some(shared)) => json_answer(&policies(shared)),
        ("/api/calls", Some(shared)) => json_answer(&calls(shared).await),
        (path, Some(shared)) if path.starts_with(ONE_CALL) => {
            let named = path.strip_prefix(ONE_CALL).and_then(decode);
            match calls_named(shared, &named.unwrap_or_default()).await {
                Some(calls) => json_answer(&calls),
                None => plain(StatusCode::NOT_FOUND, "no such call\n"),
            }
        }
        ("/api/registrations", Some(shared)) => json_answer(&registrations(shared)),
        ("/api/registrations/upstream", Some(shared)) => {
            json_answer(&shared.carriers.registrations())
        }
        _ => plain(
            StatusCode::NOT_FOUND,
            "/healthz /readyz /metrics /api/policies /api/calls /api/registrations /api/registrations/upstream\n",
        ),
    }
}

/// `aor` as it is listed: `sip:alice@example.com`.
fn remove_registration(phase: &Phase, aor: &str) -> Response<Full<Bytes>> {
    let Some(shared) = phase.shared() else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "starting\n");
    };
    if shared.locations.remove(&Aor::canonical(aor)) {
        tracing::info!(aor, "registration removed by the admin endpoint");
        plain(StatusCode::OK, "removed\n")
    } else {
        plain(StatusCode::NOT_FOUND, "no such registration\n")
    }
}

/// Those whose media the embedded engine relays.
async fn calls(shared: &Shared) -> serde_json::Value {
    let (total, calls) = shared.media.calls("", LISTED_MAX).await;
    json!({ "total": total, "calls": calls })
}

/// By the name that a call is listed with, or by its Call-ID, which may have passed us twice.
async fn calls_named(shared: &Shared, named: &str) -> Option<serde_json::Value> {
    let (_, mut calls) = shared.media.calls(named, LISTED_MAX).await;
    calls.retain(|call| {
        let name = call["call"].as_str();
        let rest = name.and_then(|name| name.strip_prefix(named));
        !named.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(';'))
    });
    (!calls.is_empty()).then(|| json!({ "calls": calls }))
}

fn json_answer(value: &serde_json::Value) -> Response<Full<Bytes>> {
    typed(format!("{value:#}\n"), "application/json")
}

fn typed(body: String, kind: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn policies(shared: &Shared) -> serde_json::Value {
    let draining: Vec<_> = shared.policies.draining();
    json!({
        "generation": shared.policies.current().number(),
        "policies": shared.policies.status(),
        "draining": draining,
    })
}

fn registrations(shared: &Shared) -> serde_json::Value {
    let now = Instant::now();
    let listed = shared
        .locations
        .list(LISTED_MAX)
        .into_iter()
        .map(|(aor, bindings)| {
            let contacts: Vec<_> = bindings
                .iter()
                .map(|binding| {
                    json!({
                        "contact": binding.contact,
                        "expires_s": binding.expires_at.saturating_duration_since(now).as_secs(),
                        "peer": binding.flow.as_ref().map(|flow| flow.peer.to_string()),
                    })
                })
                .collect();
            json!({ "aor": aor.as_str(), "contacts": contacts })
        });
    let listed: Vec<_> = listed.collect();
    json!({ "total": shared.locations.registrations(), "registrations": listed })
}

fn metrics(shared: &Shared) -> String {
    let mut out = String::new();
    shared.metrics.render(&mut out);
    head(
        &mut out,
        "registrations",
        "gauge",
        "Addresses of record with a binding",
    );
    line(
        &mut out,
        "registrations",
        "",
        shared.locations.registrations(),
    );
    shared.carriers.render(&mut out);
    head(&mut out, "rtpengine_up", "gauge", "Rtpengines that answer");
    for (name, is_up) in shared.media.rtpengines() {
        let labels = format!("node=\"{name}\"");
        line(&mut out, "rtpengine_up", &labels, u8::from(is_up));
    }
    shared.media.render(&mut out);
    head(&mut out, "uptime_seconds", "gauge", "Since the start");
    line(
        &mut out,
        "uptime_seconds",
        "",
        shared.started.elapsed().as_secs_f64(),
    );
    policy_metrics::render(&shared.policies.status(), &mut out);
    // Writing to a String cannot fail; without /proc there are no such numbers.
    if let Ok((cpu_s, rss_bytes)) = process() {
        let _ = writeln!(
            out,
            "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {cpu_s}"
        );
        let _ = writeln!(
            out,
            "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {rss_bytes}"
        );
    }
    out
}

/// CPU time in seconds and resident memory in bytes of this process.
fn process() -> io::Result<(f64, u64)> {
    let malformed = || io::Error::other("/proc has another format");
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or_else(malformed)?;
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok());
    let cpu_s = ticks.sum::<u64>() as f64 / CLOCK_TICKS_PER_S;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kb = resident.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Ok((cpu_s, kb.ok_or_else(malformed)? * 1_024))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::*;

    #[test]
    fn a_server_that_starts_is_healthy_and_not_ready() {
        let folder = std::env::temp_dir().join(format!("hookswitch-admin-{}", std::process::id()));
        let state = State::open(&folder).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (phase, seen) = watch::channel(Phase::Starting);
        spawn(Some(listener), state, seen).unwrap();
        for (path, status) in [
            ("/healthz", "200 OK"),
            ("/readyz", "503 Service Unavailable"),
            ("/metrics", "503 Service Unavailable"),
        ] {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{path}: {answer}"
            );
        }
        drop(phase);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
