//! `hookswitch-media-alone NG FIRST LAST`: one media worker without the rest of the proxy, told of calls over rtpengine's control protocol
//! at the address NG, with the ports from FIRST to LAST for SIP ends. For measurements: it believes whoever speaks to it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use hookswitch_media::{
    Answer, Ask, Branch, Direction, Leg, Role,
    config::{Config, Limits, PlainProfile},
    dtls::DtlsConfig,
    engine::{Engine, Input, Output},
    ng::bencode::Value,
    ports::{Address, Interface},
    run::{Worker, WorkerConfig},
    sdp::{Candidate, CandidateTransport, Protocol},
    sockets::{InterfaceId, SocketId},
    transport::Latch,
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const COMMAND_BYTES_MAX: usize = 65_536;
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// In the descriptions of browsers.
const WEB: &[u8] = b"UDP/TLS/RTP/SAVPF";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [ng, first, last] = args.as_slice() else {
        anyhow::bail!("usage: hookswitch-media-alone NG FIRST LAST");
    };
    let socket = UdpSocket::bind(ng)?;
    let mut desk = Desk::start(first.parse()?..=last.parse()?)?;
    let mut buffer = vec![0; COMMAND_BYTES_MAX];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        let message = buffer.get(..length).unwrap_or_default();
        if let Some(reply) = desk.obey(message) {
            socket.send_to(&reply, from)?;
        }
    }
}

/// Between commands and the worker.
struct Desk {
    worker: Worker,
    told: Receiver<Output>,
    /// What each call's caller speaks.
    callers: HashMap<Arc<str>, Leg>,
    last_ask: u64,
}

impl Desk {
    fn start(ports: std::ops::RangeInclusive<u16>) -> Result<Self> {
        let config = WorkerConfig {
            name: "media".into(),
            web: SocketAddr::new(LOCAL, 0),
            interfaces: vec![Interface {
                name: "loopback".into(),
                addresses: vec![Address {
                    bind: LOCAL,
                    public: LOCAL,
                }],
                ports,
            }],
        };
        let web = certificate()?;
        let engine = |web_socket, bound| engine(web, web_socket, bound);
        let (tell, told) = channel();
        // The other end lives as long as this process.
        let worker = Worker::start(config, engine, move |output| drop(tell.send(output)))?;
        let last_ask = 0;
        Ok(Self {
            worker,
            told,
            callers: HashMap::new(),
            last_ask,
        })
    }

    fn obey(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let blank = message.iter().position(|byte| *byte == b' ')?;
        let (cookie, command) = message.split_at(blank + 1);
        let command = Value::decode(command).ok()?;
        let mut reply = cookie.to_vec();
        let result = self.command(&command);
        let pairs = match &result {
            Ok(None) => vec![(&b"result"[..], Value::Text(b"ok"))],
            Ok(Some(Done::Pong)) => vec![(&b"result"[..], Value::Text(b"pong"))],
            Ok(Some(Done::Description(sdp))) => vec![
                (&b"result"[..], Value::Text(b"ok")),
                (b"sdp", Value::Text(sdp)),
            ],
            Err(reason) => vec![
                (&b"result"[..], Value::Text(b"error")),
                (b"error-reason", Value::Text(reason.as_bytes())),
            ],
        };
        Value::Dictionary(pairs).encode(&mut reply);
        Some(reply)
    }

    fn command(&mut self, command: &Value<'_>) -> Result<Option<Done>, String> {
        let text = |key| command.get(key).and_then(Value::text).unwrap_or_default();
        let call: Arc<str> = String::from_utf8_lossy(text("call-id")).into();
        match text("command") {
            b"ping" => Ok(Some(Done::Pong)),
            b"offer" => self.ask(&call, Role::Offer, text("sdp")),
            b"answer" => self.ask(&call, Role::Answer, text("sdp")),
            b"delete" => {
                self.callers.remove(&call);
                let busy = |error: hookswitch_media::run::Busy| error.to_string();
                self.worker.tell(Input::End { call }).map_err(busy)?;
                Ok(None)
            }
            _ => Err("no such command".to_owned()),
        }
    }

    /// The caller offers, the callee answers, nothing else is measured.
    fn ask(&mut self, call: &Arc<str>, role: Role, sdp: &[u8]) -> Result<Option<Done>, String> {
        self.last_ask += 1;
        let direction = match role {
            Role::Offer => Direction::ToCallee,
            Role::Answer => Direction::ToCaller,
        };
        let branch = self.branch(call, role, sdp);
        let ask = Ask {
            branch: branch.clone(),
            direction,
            role,
            sdp: sdp.to_vec().into(),
        };
        let id = self.last_ask;
        let tell = |input| self.worker.tell(input).map_err(|error| error.to_string());
        tell(Input::Ask { id, ask })?;
        let answer = self.answer(id)?;
        if role == Role::Answer {
            tell(Input::Established { branch })?;
        }
        Ok(Some(Done::Description(answer)))
    }

    fn branch(&mut self, call: &Arc<str>, role: Role, sdp: &[u8]) -> Branch {
        if role == Role::Offer {
            let is_web = sdp.windows(WEB.len()).any(|words| words == WEB);
            let caller = if is_web { Leg::Web } else { Leg::Sip(None) };
            self.callers.insert(Arc::clone(call), caller);
        }
        Branch {
            call: Arc::clone(call),
            branch: "0".into(),
            to_tag: (role == Role::Answer).then(|| "callee".into()),
            caller: self.callers.get(call).copied().unwrap_or(Leg::Sip(None)),
            callee: Leg::Sip(None),
        }
    }

    /// What calls that are over have left to say is passed over.
    fn answer(&self, of: u64) -> Result<Vec<u8>, String> {
        loop {
            let told = self.told.recv_timeout(ANSWER_MAX);
            match told.map_err(|error| error.to_string())? {
                Output::Answer { id, answer } if id == of => match answer {
                    Answer::Replace(sdp) => return Ok(sdp.to_vec()),
                    Answer::Unchanged | Answer::Taken => return Err("unchanged".to_owned()),
                    Answer::Refuse { reason, .. } => return Err(reason),
                },
                Output::Answer { .. }
                | Output::Transmit { .. }
                | Output::Dead { .. }
                | Output::Over(_)
                | Output::Seen { .. } => {}
            }
        }
    }
}

enum Done {
    Pong,
    Description(Vec<u8>),
}

fn certificate() -> Result<Arc<DtlsConfig>> {
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::default().self_signed(&key)?;
    let config = DtlsConfig::new(certificate.der().to_vec(), key.serialize_der());
    Ok(Arc::new(config.context("the certificate")?))
}

fn engine(web: Arc<DtlsConfig>, web_socket: SocketId, bound: SocketAddr) -> Engine {
    let config = Config {
        web,
        web_socket,
        web_candidates: vec![Candidate {
            address: bound,
            transport: CandidateTransport::Udp,
        }],
        plain: PlainProfile {
            interface: InterfaceId(0),
            protocol: Protocol::Avp,
            codecs: Vec::new(),
            latch: Latch::Signalled,
        },
        upstreams: Vec::new(),
        limits: Limits::default(),
    };
    // There is no other engine.
    Engine::new(config, [1; 32])
}
