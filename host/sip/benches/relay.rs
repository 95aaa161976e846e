//! What relaying costs without sockets and policies: `cargo bench -p hookswitch-sip --bench relay`. Prints nanoseconds of an OPTIONS
//! and of a whole call from a browser to a PBX, the best of many rounds.
//!
//! For figures that do not depend on how busy the machine is, count instructions, those of the peers left out:
//! `valgrind --tool=callgrind --toggle-collect='*::carry' --toggle-collect='*::pass_time' target/release/deps/relay-* options 2000`
//! (or `calls`). What is counted includes the warm-up.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the messages are well-formed"
)]

use std::{
    env,
    hash::RandomState,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hookswitch_sip::{
    edit,
    flow::{
        Attachment, Destination, Flow, FlowId, ListenerId, Side, Transport, UpstreamId, WorkerId,
    },
    header::NameAddr,
    limits::Limits,
    message::{HeaderName, Message},
    placement::{self, Arrival},
    proxy::{
        Proxy, ProxyConfig,
        config::{ListenerConfig, UpstreamConfig},
        io::{
            Ask, Continue, Hook, Hooks, Input, MediaVerdict, Output, Policies, StoreReply, Target,
            TargetKind, Verdict,
        },
    },
    token::{Key, Keyring},
};

/// Short and many: the best one was not interrupted by other processes.
const ROUNDS: usize = 100;
const REPEATS: u64 = 500;
/// Between one request and the next: some hundred transactions wait for their timers at any time.
const STEP: Duration = Duration::from_millis(50);
/// Until the timers of the first ones come up, from where on each one's way costs the same.
const WARM_UP: u64 = 700;

const PBX: &str = "127.0.0.1:5070";
const SDP: &str = "v=0\r\no=load 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\n\
     a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let named = |what: &str| arguments.iter().any(|argument| argument == what);
    let count = arguments.iter().find_map(|argument| argument.parse().ok());
    let (wants_options, wants_calls) = (named("options"), named("calls"));
    for (what, way) in [("options", options as Way), ("calls", call as Way)] {
        let wanted = if what == "options" {
            wants_options || !wants_calls
        } else {
            wants_calls || !wants_options
        };
        if !wanted {
            continue;
        }
        let mut scene = Scene::new();
        (0..WARM_UP).for_each(|_| way(&mut scene));
        match count {
            Some(count) => measured(&mut scene, way, count),
            None => {
                let best = (0..ROUNDS).map(|_| {
                    let begun = Instant::now();
                    measured(&mut scene, way, REPEATS);
                    begun.elapsed().as_nanos() / u128::from(REPEATS)
                });
                println!("{what:40} {:6} ns", best.min().unwrap_or_default());
            }
        }
    }
}

type Way = fn(&mut Scene);

#[inline(never)]
fn measured(scene: &mut Scene, way: Way, count: u64) {
    (0..count).for_each(|_| way(scene));
}

/// OPTIONS and its answer.
fn options(scene: &mut Scene) {
    let number = scene.next();
    let text = request("OPTIONS", number, 1, &dialled(number), "", "", "");
    let [request] = scene.carry(Peer::Browser, text).try_into().unwrap();
    let [response] = scene
        .carry(Peer::Pbx, answer(&request, "200 OK", ""))
        .try_into()
        .unwrap();
    assert!(response.starts_with(b"SIP/2.0 200"));
}

/// INVITE, 180, 200, ACK, BYE, 200.
fn call(scene: &mut Scene) {
    let number = scene.next();
    let target = dialled(number);
    let text = request(
        "INVITE",
        number,
        1,
        &target,
        "",
        "Content-Type: application/sdp\r\n",
        SDP,
    );
    let [invite] = scene.carry(Peer::Browser, text).try_into().unwrap();
    scene.carry(Peer::Pbx, answer(&invite, "180 Ringing", ""));
    let [ok] = scene
        .carry(Peer::Pbx, answer(&invite, "200 OK", SDP))
        .try_into()
        .unwrap();
    let ok = Message::parse(ok, &Limits::default()).unwrap();
    let mut routes: Vec<String> = ok
        .values(HeaderName::RecordRoute)
        .map(|route| format!("Route: {}\r\n", String::from_utf8_lossy(route)))
        .collect();
    routes.reverse();
    let tag = format!(";tag={}", ok.to_tag().unwrap());
    let contact = NameAddr::parse(ok.raw(HeaderName::Contact).unwrap()).unwrap();
    for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
        let to = format!("<{target}>{tag}");
        let text = request(method, number, cseq, contact.uri, &to, &routes.concat(), "");
        let [sent] = scene.carry(Peer::Browser, text).try_into().unwrap();
        if method == "BYE" {
            scene.carry(Peer::Pbx, answer(&sent, "200 OK", ""));
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Browser,
    Pbx,
}

/// A proxy between a browser and a PBX, with the answers that policies, store and media of a server give.
struct Scene {
    proxy: Proxy,
    now: Instant,
    browser: Arc<Flow>,
    pbx: Arc<Flow>,
    policies: Policies,
    placement: RandomState,
    limits: Limits,
    begun: u64,
}

impl Scene {
    fn new() -> Self {
        let pbx: SocketAddr = PBX.parse().unwrap();
        let mut config = ProxyConfig::new(Keyring::new(Key::new(1, &[7; 32])));
        let listener = |name: &str, transport, port| ListenerConfig {
            name: name.to_owned(),
            transport,
            host: "127.0.0.1".to_owned(),
            port,
            flow_timer: None,
        };
        config.workers = 2;
        config.domains = vec!["localhost".to_owned()];
        config.listeners = vec![
            listener("wss", Transport::Wss, 8443),
            listener("ws", Transport::Ws, 8080),
            listener("udp", Transport::Udp, 5060),
        ];
        config.upstreams = vec![UpstreamConfig::new("pbx", ListenerId(2), vec![pbx])];
        let flow = |id, transport, listener, peer, side| {
            Arc::new(Flow {
                id,
                transport,
                listener,
                peer,
                side,
                session: None,
                attachment: Attachment::default(),
            })
        };
        let connection = FlowId::Connection {
            worker: WorkerId(0),
            serial: 0x1234_5678_9abc_def0,
        };
        let datagram = FlowId::Datagram {
            listener: ListenerId(2),
            peer: pbx,
        };
        Self {
            proxy: Proxy::new(config, [3; 32]),
            now: Instant::now(),
            browser: flow(
                connection,
                Transport::Wss,
                ListenerId(0),
                "127.0.0.1:40000".parse().unwrap(),
                Side::Web,
            ),
            pbx: flow(
                datagram,
                Transport::Udp,
                ListenerId(2),
                pbx,
                Side::Upstream(UpstreamId(0)),
            ),
            policies: Policies {
                hooks: Hooks::default().with(Hook::Request).with(Hook::Response),
                generation: Arc::new(()),
            },
            placement: RandomState::new(),
            limits: Limits::default(),
            begun: 0,
        }
    }

    /// The number of the next request.
    fn next(&mut self) -> u64 {
        self.pass_time();
        self.begun += 1;
        self.begun
    }

    /// For the timers of the requests before.
    #[inline(never)]
    fn pass_time(&mut self) {
        self.now += STEP;
        if self.proxy.poll_timeout().is_some_and(|at| at <= self.now) {
            self.proxy.handle_timeout(self.now);
            self.drain();
        }
    }

    /// What leaves when `bytes` come from `from`.
    #[inline(never)]
    fn carry(&mut self, from: Peer, bytes: Bytes) -> Vec<Bytes> {
        let message = Message::parse(bytes, &self.limits).unwrap();
        let (flow, arrival) = match from {
            Peer::Browser => (&self.browser, Arrival::Client(WorkerId(0))),
            Peer::Pbx => (&self.pbx, Arrival::Shared),
        };
        std::hint::black_box(placement::owner(&message, arrival, 2, &self.placement));
        let input = Input::Received {
            flow: Arc::clone(flow),
            message,
            policies: self.policies.clone(),
        };
        self.proxy.handle(self.now, input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Bytes> {
        let mut sent = Vec::new();
        while let Some(output) = self.proxy.poll_output() {
            let input = match output {
                Output::Send { to, bytes } => {
                    debug_assert!(matches!(to, Destination::Flow(_)));
                    sent.push(bytes);
                    continue;
                }
                Output::Ask(ask) => Input::Verdict {
                    id: ask.id,
                    verdict: self.verdict(*ask),
                },
                Output::Store { id, .. } => Input::Stored {
                    id,
                    reply: StoreReply::Session(None),
                },
                Output::Media { id, .. } | Output::Key { id, .. } => Input::MediaDone {
                    id,
                    verdict: MediaVerdict::Unchanged,
                },
                Output::Ended(_) | Output::MediaNews(_) => continue,
                Output::Withdraw { .. }
                | Output::Challenged { .. }
                | Output::FlowTimer { .. }
                | Output::Trunk { .. }
                | Output::Dropped { .. } => {
                    panic!("nothing goes wrong here: {output:?}")
                }
            };
            self.proxy.handle(self.now, input);
        }
        sent
    }

    /// What the policies header-rules and prefix-router do in `cargo xtask bench relay`.
    fn verdict(&self, ask: Ask) -> Verdict {
        let (mut message, limits) = (ask.message, &self.limits);
        // Kept by the host until the policy has returned.
        let before = message.clone();
        let mut targets = Vec::new();
        if ask.hook == Hook::Request {
            edit::set_header_values(&mut message, limits, "X-Tenant", &["acme"]).unwrap();
            edit::set_header_values(&mut message, limits, "X-Region", &["eu-central"]).unwrap();
            edit::append_header(&mut message, limits, "X-Trace", "edge-1").unwrap();
            edit::remove_header(&mut message, "X-Internal").unwrap();
            edit::remove_header(&mut message, "User-Agent").unwrap();
            edit::set_header_values(&mut message, limits, "Organization", &["Acme"]).unwrap();
            assert_eq!(message.values("X-Debug").count(), 0);
            targets.extend((!ask.in_dialog).then_some(Target {
                stage: 0,
                kind: TargetKind::Upstream(UpstreamId(0)),
                uri: None,
                next_hop: None,
                headers: Vec::new(),
                media: None,
            }));
        } else {
            edit::set_header_values(&mut message, limits, "Server", &["edge"]).unwrap();
            edit::remove_header(&mut message, "X-Powered-By").unwrap();
            edit::append_header(&mut message, limits, "X-Edge", "edge-1").unwrap();
        }
        drop(before);
        Verdict::Continue(Box::new(Continue {
            message,
            targets,
            timeouts: Vec::new(),
            status: None,
            transaction: Vec::new(),
            call: Vec::new(),
        }))
    }
}

fn dialled(number: u64) -> String {
    format!("sip:49{:03}55512@localhost", number % 1_000)
}

/// As a browser writes it; `to` is the target if empty.
fn request(
    method: &str,
    number: u64,
    cseq: u32,
    target: &str,
    to: &str,
    headers: &str,
    body: &str,
) -> Bytes {
    let default_to = format!("<{target}>");
    let to = if to.is_empty() { &default_to } else { to };
    let text = format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/WSS load0.invalid;branch=z9hG4bKk3f9-{number}-{method};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:load0@localhost>;tag=f{number}\r\nTo: {to}\r\nCall-ID: {number}@k3f9\r\nCSeq: {cseq} {method}\r\n\
         User-Agent: hookswitch-load\r\nContact: <sip:load0@load0.invalid;transport=ws>\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    text.into()
}

/// As a PBX answers it.
fn answer(request: &Bytes, status: &str, body: &str) -> Bytes {
    let message = Message::parse(request.clone(), &Limits::default()).unwrap();
    let (code, reason) = status.split_once(' ').unwrap();
    let mut answer = Message::response_to(&message, code.parse().unwrap(), reason, Some("u1"));
    for route in message.values(HeaderName::RecordRoute) {
        answer.append(HeaderName::RecordRoute, route).unwrap();
    }
    answer
        .append(HeaderName::Contact, format!("<sip:pbx@{PBX}>"))
        .unwrap();
    answer
        .append(HeaderName::Server, "hookswitch-load")
        .unwrap();
    let media_type = (!body.is_empty()).then_some("application/sdp");
    answer
        .set_body(Bytes::from(body.to_owned()), media_type)
        .unwrap();
    answer.to_bytes()
}
