//! The embedded engine: media workers, threads of their own, and the way to the one that has a call.

use std::{
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, atomic::Ordering::Relaxed, mpsc::SyncSender},
};

use anyhow::{Context, Result, bail};
use hookswitch_media::{
    self as media,
    config::{Config as EngineConfig, Limits, PlainProfile},
    dtls::DtlsConfig,
    engine::{CallReport, Engine, Input, Output},
    run::{Busy, Counters, Worker, WorkerConfig},
    sdp::{Candidate, CandidateTransport, Protocol},
    sockets::{InterfaceId, SocketId},
    transport::Latch,
};
use hookswitch_sip::{flow::WorkerId, proxy::io::AskId};
use serde_json::Value;

use super::{
    askers::Askers,
    connections::{Connected, Connections},
    looks::{Looks, shown},
    places::Places,
    quality::Quality,
    reports,
};
use crate::{
    config::{self, Config, Ice, MediaSource, Srtp, UpstreamMedia, length},
    metrics::{head, line},
    state,
};

/// The media workers.
pub(super) struct Relays {
    workers: Vec<Arc<Worker>>,
    /// Of browsers that come by TCP.
    connections: Option<Connections>,
    /// A peer that knew the key could choose the worker of its calls.
    placement: RandomState,
    looks: Arc<Looks>,
    quality: Arc<Quality>,
}

/// What all workers have in common.
struct Common<'c> {
    config: &'c Config,
    relay: &'c config::Relay,
    places: Places,
    certificate: Arc<DtlsConfig>,
    askers: &'c Askers,
    reports: SyncSender<Box<CallReport>>,
    looks: Arc<Looks>,
    quality: Arc<Quality>,
    connected: Arc<Connected>,
}

impl Relays {
    pub(super) fn start(config: &Config, relay: &config::Relay, askers: &Askers) -> Result<Self> {
        let common = Common {
            config,
            relay,
            places: Places::of(config, &relay.interfaces),
            certificate: Arc::new(certificate()?),
            askers,
            reports: reports::start()?,
            looks: Arc::default(),
            quality: Arc::default(),
            connected: Arc::default(),
        };
        let count = relay.workers.unwrap_or(config.workers);
        let (mut workers, mut ports) = (Vec::new(), Vec::new());
        for number in 0..count {
            let (worker, listener) = common.start(number, count)?;
            let worker = Arc::new(worker);
            ports.extend(listener.map(|listener| (listener, Arc::downgrade(&worker))));
            workers.push(worker);
        }
        let connections = match ports.is_empty() {
            true => None,
            false => Some(Connections::start(ports, common.connected)?),
        };
        let relays = Self {
            connections,
            workers,
            placement: RandomState::new(),
            looks: Arc::clone(&common.looks),
            quality: Arc::clone(&common.quality),
        };
        let browsers: Vec<_> = relays.workers.iter().map(|worker| worker.web()).collect();
        tracing::info!(?browsers, "media is relayed");
        Ok(relays)
    }

    pub(super) fn ask(
        &self,
        from: WorkerId,
        id: AskId,
        ask: media::Ask,
    ) -> Result<(), media::Answer> {
        let id = Askers::number(from, id);
        let told = match self.worker(&ask.branch.call) {
            Some(worker) => worker.tell(Input::Ask { id, ask }),
            None => Err(Busy),
        };
        told.map_err(|busy| media::Answer::Refuse {
            status: 503,
            reason: busy.to_string(),
        })
    }

    pub(super) fn press(
        &self,
        from: WorkerId,
        id: AskId,
        press: media::Press,
    ) -> Result<(), media::Answer> {
        let id = Askers::number(from, id);
        let told = match self.worker(&press.branch.call) {
            Some(worker) => worker.tell(Input::Press { id, press }),
            None => Err(Busy),
        };
        told.map_err(|Busy| media::Answer::Unchanged)
    }

    pub(super) fn hear(&self, news: media::News) {
        let Some(worker) = self.worker(news.call()) else {
            return;
        };
        let told = match news {
            media::News::Answered(branch) => worker.tell(Input::Established { branch }),
            media::News::Lost(branch) => worker.tell(Input::BranchOver { branch }),
            media::News::Ended(branch) => worker.tell(Input::DialogOver { branch }),
            media::News::Failed { call } => worker.tell(Input::End { call }),
            // What was agreed before stands in the engine, too.
            media::News::Rejected(_) => Ok(()),
        };
        if told.is_err() {
            tracing::warn!(
                "a media worker is overloaded: it takes its calls for over when they are silent"
            );
        }
    }

    /// Always the same one for a call.
    fn worker(&self, call: &str) -> Option<&Worker> {
        let place = self
            .placement
            .hash_one(call)
            .checked_rem(self.workers.len() as u64)?;
        self.workers
            .get(usize::try_from(place).ok()?)
            .map(|worker| &**worker)
    }

    /// How calls do whose names begin so, and how many calls there are.
    pub(super) async fn look(&self, named: &str, calls_max: usize) -> (u64, Vec<Value>) {
        let mut seen = Vec::new();
        for worker in &self.workers {
            let (id, calls) = self.looks.begin();
            let look = Input::Look {
                id,
                named: named.to_owned(),
                calls_max: calls_max - seen.len(),
            };
            if worker.tell(look).is_err() {
                self.looks.end(id, None);
            }
            // A worker that is overloaded, or has ended, shows nothing.
            let calls = calls.await.unwrap_or_default();
            seen.extend(calls.iter().map(shown));
        }
        let counters = self.workers.iter().map(|worker| worker.counters());
        (counters.map(|of| of.calls.load(Relaxed)).sum(), seen)
    }

    /// Writes metrics, of each worker.
    pub(super) fn render(&self, out: &mut String) {
        self.quality.render(out);
        if let Some(connections) = &self.connections {
            let name = "media_connections";
            head(
                out,
                name,
                "gauge",
                "Connections that browsers send media by",
            );
            line(out, name, "", connections.count());
        }
        type Read = fn(&Counters) -> u64;
        let metrics: [(&str, &str, &str, Read); 6] = [
            (
                "media_calls",
                "gauge",
                "Calls whose media is relayed",
                |of| of.calls.load(Relaxed),
            ),
            (
                "media_received_total",
                "counter",
                "Datagrams that came for media",
                |of| of.received.load(Relaxed),
            ),
            (
                "media_relayed_total",
                "counter",
                "Packets of media that went on",
                |of| of.relayed.load(Relaxed),
            ),
            (
                "media_unsent_total",
                "counter",
                "Datagrams of media that the system did not take",
                |of| of.unsent.load(Relaxed),
            ),
            (
                "media_refused_total",
                "counter",
                "Calls refused because a media worker was too busy",
                |of| of.refused.load(Relaxed),
            ),
            (
                "media_busy_permille",
                "gauge",
                "How much of its time a media worker was busy lately",
                |of| of.busy_permille.load(Relaxed),
            ),
        ];
        for (name, kind, help, read) in metrics {
            head(out, name, kind, help);
            for (number, worker) in self.workers.iter().enumerate() {
                line(
                    out,
                    name,
                    &format!("worker=\"{number}\""),
                    read(worker.counters()),
                );
            }
        }
    }
}

/// Made anew at each start: browsers know it by the fingerprint in the session description (RFC 8827 §6.5).
fn certificate() -> Result<DtlsConfig> {
    let made = rcgen::generate_simple_self_signed(["hookswitch".to_owned()]);
    let made = made.context("the certificate of media")?;
    let (certificate, key) = (made.cert.der().to_vec(), made.signing_key.serialize_der());
    DtlsConfig::new(certificate, key).context("the certificate of media")
}

impl Common<'_> {
    /// With the port for browsers that come by TCP, which has the same number.
    fn start(&self, number: u8, count: u8) -> Result<(Worker, Option<TcpListener>)> {
        let (number, count) = (u16::from(number), u16::from(count));
        let interfaces = self.places.interfaces.iter();
        let interfaces: Vec<_> = interfaces.map(|each| each.part(number, count)).collect();
        let (bind, public) = self.places.web();
        let ports = interfaces.first().map(|first| first.ports.clone());
        // Another process, or another worker of another one's, may have the first ones.
        for port in ports.into_iter().flatten() {
            let config = WorkerConfig {
                name: format!("media-{number}"),
                web: SocketAddr::new(bind, port),
                interfaces: interfaces.clone(),
            };
            let started = self.listener(config.web).and_then(|listener| {
                let worker = self.worker(config, &public)?;
                Ok((worker, listener))
            });
            match started {
                Ok(started) => return Ok(started),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error).with_context(|| {
                    format!(
                        "media.interface: {bind} cannot be bound; name an address of this machine"
                    )
                }),
            }
        }
        bail!(
            "media.interface: no port on {bind} is free for browsers; write more `ports`, or fewer media.workers"
        )
    }

    fn listener(&self, at: SocketAddr) -> io::Result<Option<TcpListener>> {
        match self.relay.ice {
            Ice::Udp => Ok(None),
            Ice::UdpAndTcp | Ice::Tcp => TcpListener::bind(at).map(Some),
        }
    }

    /// Where browsers reach a worker that is bound to this port.
    fn candidates(&self, public: &[IpAddr], port: u16) -> Vec<Candidate> {
        let transports: &[CandidateTransport] = match self.relay.ice {
            Ice::UdpAndTcp => &[CandidateTransport::Udp, CandidateTransport::TcpPassive],
            Ice::Udp => &[CandidateTransport::Udp],
            Ice::Tcp => &[CandidateTransport::TcpPassive],
        };
        let all = transports.iter().flat_map(|transport| {
            public.iter().map(|address| Candidate {
                address: SocketAddr::new(*address, port),
                transport: *transport,
            })
        });
        all.collect()
    }

    fn worker(&self, config: WorkerConfig, public: &[IpAddr]) -> io::Result<Worker> {
        let seed = state::random()?;
        let engine = |socket, bound: SocketAddr| {
            let candidates = self.candidates(public, bound.port());
            Engine::new(self.engine(socket, candidates), seed)
        };
        let (askers, reports) = (self.askers.clone(), self.reports.clone());
        let (looks, quality) = (Arc::clone(&self.looks), Arc::clone(&self.quality));
        let connected = Arc::clone(&self.connected);
        Worker::start(config, engine, move |output| match output {
            Output::Answer { id, answer } => askers.answer(id, answer),
            Output::Over(report) => {
                quality.add(&report);
                // What the log is too slow for is missing there: media does not wait.
                drop(reports.try_send(report));
            }
            Output::Seen { id, calls } => looks.end(id, Some(calls)),
            Output::Dead { call, reason } => askers.dead(&call, &reason),
            // The worker sends the others itself.
            Output::Transmit { socket, bytes, .. } => connected.send(socket, bytes),
        })
    }

    fn engine(&self, web_socket: SocketId, web_candidates: Vec<Candidate>) -> EngineConfig {
        let upstreams = self.config.upstreams.iter().zip(&self.places.upstreams);
        EngineConfig {
            web: Arc::clone(&self.certificate),
            web_socket,
            web_candidates,
            // A phone that registered may be anywhere.
            plain: profile(InterfaceId(0), self.config.media.srtp, MediaSource::Nat),
            upstreams: upstreams
                .map(|(upstream, on)| {
                    let UpstreamMedia { srtp, source, .. } = upstream.media;
                    profile(*on, srtp, source)
                })
                .collect(),
            limits: Limits {
                calls_max: length(self.config.limits.calls_max),
                transcoded_calls_max: length(self.relay.transcoded_calls_max),
                silence_ms_max: self.relay.silence_s_max * 1_000,
                ..Limits::default()
            },
        }
    }
}

fn profile(interface: InterfaceId, srtp: Srtp, source: MediaSource) -> PlainProfile {
    PlainProfile {
        interface,
        protocol: match srtp {
            Srtp::Off => Protocol::Avp,
            Srtp::Sdes => Protocol::Savp,
        },
        codecs: Vec::new(),
        latch: match source {
            MediaSource::Signalled => Latch::Signalled,
            MediaSource::Nat => Latch::Symmetric,
        },
    }
}

#[cfg(test)]
mod tests {
    use hookswitch_media::{Answer, Ask, Branch, Direction, Leg, Role};

    use super::*;

    #[test]
    fn a_call_that_no_worker_takes_is_answered_503() {
        let relays = Relays {
            connections: None,
            workers: Vec::new(),
            placement: RandomState::new(),
            looks: Arc::default(),
            quality: Arc::default(),
        };
        let branch = Branch {
            call: "c".into(),
            branch: "0".into(),
            to_tag: None,
            caller: Leg::Web,
            callee: Leg::Sip(None),
        };
        let ask = Ask {
            branch,
            direction: Direction::ToCallee,
            role: Role::Offer,
            sdp: bytes::Bytes::new(),
        };
        let refused = relays.ask(WorkerId(0), AskId(1), ask);
        assert!(matches!(refused, Err(Answer::Refuse { status: 503, .. })));
    }
}
