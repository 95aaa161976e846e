//! A worker on the loopback interface, with a browser and a phone that have sockets of their own.

use std::{
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{
        atomic::{AtomicBool, AtomicU32},
        mpsc::{Receiver, channel},
    },
};

use super::*;
use crate::{
    Ask, Branch, Direction, Leg, Role,
    config::{Config, Limits, PlainProfile},
    dtls::{DtlsConfig, Setup},
    ice::IceCredentials,
    ports::Address,
    sdp::{Candidate, CandidateTransport, Protocol, Session},
    sockets::InterfaceId,
    testing::{Browser, dtls_config},
    transport::Latch,
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OFFER: &str = include_str!("../sdp/samples/chromium-audio.sdp");
/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    worker: Worker,
    told: Receiver<Output>,
    browser: Browser,
    browser_socket: UdpSocket,
    phone: UdpSocket,
}

impl World {
    fn new(ports: std::ops::RangeInclusive<u16>) -> World {
        let web = dtls_config();
        let config = WorkerConfig {
            name: "media-test".into(),
            web: SocketAddr::new(LOCAL, 0),
            interfaces: vec![interface(ports)],
        };
        let shared = Arc::clone(&web);
        let engine = |web_socket, bound| engine(shared, web_socket, bound);
        let (tell, told) = channel();
        let worker = Worker::start(config, engine, move |output| {
            // The test may be over.
            let _ = tell.send(output);
        });
        let nobody = IceCredentials::from_entropy([0; 32]);
        let socket = || {
            let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
            let timeout = Some(Duration::from_millis(10));
            socket.set_read_timeout(timeout).unwrap();
            socket
        };
        World {
            worker: worker.unwrap(),
            told,
            browser: Browser::new(Instant::now(), Setup::Active, &nobody, web.fingerprint()),
            browser_socket: socket(),
            phone: socket(),
        }
    }

    fn branch(to_tag: Option<&str>) -> Branch {
        Branch {
            call: "call".into(),
            branch: "0".into(),
            to_tag: to_tag.map(Into::into),
            caller: Leg::Web,
            callee: Leg::Sip(None),
        }
    }

    fn ask(&self, direction: Direction, role: Role, sdp: &str) -> String {
        let branch = World::branch((role == Role::Answer).then_some("phone"));
        let sdp = sdp.replace('\n', "\r\n").into();
        let ask = Ask {
            branch,
            direction,
            role,
            sdp,
        };
        self.worker.tell(Input::Ask { id: 7, ask }).unwrap();
        match self.told.recv_timeout(PATIENCE).unwrap() {
            Output::Answer {
                id: 7,
                answer: Answer::Replace(sdp),
            } => String::from_utf8(sdp.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// The browser calls, the phone answers. Gives our port for the phone.
    fn call(&mut self) -> SocketAddr {
        let ours = self.browser.ours.clone();
        let fingerprint = self.browser.config.fingerprint().to_string();
        let value = |line: &str| match line.split_once(':').map_or(line, |(name, _)| name) {
            "a=ice-ufrag" => format!("a=ice-ufrag:{}\n", ours.ufrag),
            "a=ice-pwd" => format!("a=ice-pwd:{}\n", ours.password),
            "a=fingerprint" => format!("a=fingerprint:{fingerprint}\n"),
            _ => format!("{line}\n"),
        };
        let offer: String = OFFER.lines().map(value).collect();
        let offered = self.ask(Direction::ToCallee, Role::Offer, &offer);
        let media = offered.lines().find(|line| line.starts_with("m=")).unwrap();
        let port = media.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = format!(
            "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {} RTP/AVP 0\n",
            self.phone.local_addr().unwrap().port()
        );
        let answered = self.ask(Direction::ToCaller, Role::Answer, &answer);
        let branch = World::branch(Some("phone"));
        self.worker.tell(Input::Established { branch }).unwrap();
        let session = Session::parse(answered.as_bytes()).unwrap();
        let web = session.sections.iter().find_map(|s| s.web.clone());
        self.browser.restart_ice(Instant::now(), &web.unwrap().ice);
        SocketAddr::new(LOCAL, port)
    }

    /// Gives what the browser hears, if it hears something soon.
    fn turn(&mut self) -> Option<Vec<u8>> {
        let now = Instant::now();
        self.browser.handle_timeout(now);
        for bytes in std::mem::take(&mut self.browser.outbox) {
            self.browser_sends(&bytes);
        }
        let mut buffer = [0; 2048];
        let len = self.browser_socket.recv(&mut buffer).ok()?;
        self.browser.receive(now, &buffer[..len])
    }

    fn browser_sends(&self, bytes: &[u8]) {
        let web = self.worker.web();
        self.browser_socket.send_to(bytes, web).unwrap();
    }

    fn phone_hears(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        let len = self.phone.recv(&mut buffer).ok()?;
        Some(buffer[..len].to_vec())
    }
}

fn interface(ports: std::ops::RangeInclusive<u16>) -> Interface {
    Interface {
        name: "inside".into(),
        addresses: vec![Address {
            bind: LOCAL,
            public: LOCAL,
        }],
        ports,
    }
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
    Engine::new(config, [1; 32])
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend([0xd5; 160]);
    packet
}

/// Until it gives something.
#[track_caller]
fn until<T>(mut find: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(found) = find() {
            return found;
        }
    }
    panic!("it did not happen");
}

#[test]
fn a_browser_and_a_phone_hear_each_other_over_sockets() {
    let mut world = World::new(23_000..=23_001);
    let ours = world.call();
    until(|| {
        world.turn();
        world.browser.has_keys().then_some(())
    });
    let mut sequence = 0;
    let heard = until(|| {
        sequence += 1;
        let sealed = world.browser.rtp(&rtp(sequence));
        world.browser_sends(&sealed);
        // Its last words of the handshake may still wait.
        world.turn();
        world.phone_hears()
    });
    assert_eq!(heard[12..], [0xd5; 160]);
    let heard = until(|| {
        sequence += 1;
        world.phone.send_to(&rtp(sequence), ours).unwrap();
        world.turn()
    });
    assert_eq!(heard[12..], [0xd5; 160]);
    // A packet is counted once it is sent, and may be heard before.
    until(|| {
        let relayed = world.worker.counters().relayed.load(Ordering::Relaxed);
        (relayed >= 2).then_some(())
    });

    let call = World::branch(None).call;
    world.worker.tell(Input::End { call }).unwrap();
    match world.told.recv_timeout(PATIENCE).unwrap() {
        Output::Over(report) => assert_eq!(report.legs.len(), 2),
        other => panic!("{other:?}"),
    }
    // The only pair of the range is free again.
    until(|| UdpSocket::bind(ours).ok());
}

/// Of each flood: more ends it.
const FLOOD_ROUNDS_MAX: u32 = 4000;
/// Datagrams of both, at least; and what must pass meanwhile, each way.
const FLOOD: u32 = 8000;
const HEARD: u32 = 50;

/// Garbage, a ClientHello, a check and RTP from strangers, again and again.
fn flood(to: SocketAddr, sent: &AtomicU32, is_over: &AtomicBool) {
    let sockets: Vec<_> = (0..4)
        .map(|_| UdpSocket::bind((LOCAL, 0)).unwrap())
        .collect();
    let nobody = IceCredentials::from_entropy([9; 32]);
    let fingerprint = dtls_config().fingerprint().clone();
    let check = Browser::new(Instant::now(), Setup::Active, &nobody, &fingerprint).check();
    let hello = [&[22, 254, 253][..], &[1; 200]].concat();
    let datagrams = [vec![0xff; 900], hello, check, rtp(7)];
    for _ in 0..FLOOD_ROUNDS_MAX {
        for (socket, bytes) in sockets.iter().zip(datagrams.iter().cycle()) {
            sent.fetch_add(
                u32::from(socket.send_to(bytes, to).is_ok()),
                Ordering::Relaxed,
            );
        }
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

#[test]
fn a_flood_to_its_ports_leaves_a_call_its_packets() {
    let mut world = World::new(23_020..=23_021);
    let ours = world.call();
    until(|| {
        world.turn();
        world.browser.has_keys().then_some(())
    });
    let mut sequence = 0;
    let (mut by_phone, mut by_browser) = (0, 0);
    let (sent, is_over) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let mut floods = Vec::new();
    until(|| {
        sequence += 1;
        let sealed = world.browser.rtp(&rtp(sequence));
        world.browser_sends(&sealed);
        world.phone.send_to(&rtp(sequence), ours).unwrap();
        by_browser += u32::from(world.turn().is_some());
        by_phone += u32::from(world.phone_hears().is_some());
        // Once each end is known: the phone's address is learned from its first packet.
        if floods.is_empty() && by_browser > 0 && by_phone > 0 {
            (by_phone, by_browser) = (0, 0);
            for to in [world.worker.web(), ours] {
                let (sent, is_over) = (Arc::clone(&sent), Arc::clone(&is_over));
                floods.push(std::thread::spawn(move || flood(to, &sent, &is_over)));
            }
        }
        let is_flooded = sent.load(Ordering::Relaxed) >= FLOOD;
        (is_flooded && by_phone >= HEARD && by_browser >= HEARD).then_some(())
    });
    is_over.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.join().unwrap();
    }
}

#[test]
fn a_dropped_worker_ends_and_gives_its_ports_back() {
    let mut world = World::new(23_010..=23_011);
    let (ours, web) = (world.call(), world.worker.web());
    assert!(UdpSocket::bind(ours).is_err());
    drop(world);
    assert!(UdpSocket::bind(ours).is_ok());
    assert!(UdpSocket::bind(web).is_ok());
}

/// For a second in steps of 10 ms, of each of which the thread waits and runs so many. Gives whether it takes no calls, and how busy it is.
struct Second {
    now: Instant,
    ran: Duration,
    load: Load,
}

impl Second {
    fn new() -> Second {
        let now = Instant::now();
        let (ran, load) = (Duration::ZERO, Load::new(now));
        Second { now, ran, load }
    }

    fn pass(&mut self, waits: u64, runs: u64) -> (bool, u64) {
        let counters = Counters::default();
        for _ in 0..100 {
            self.now += Duration::from_millis(10);
            self.ran += Duration::from_millis(runs);
            let (waited, ran) = (Duration::from_millis(waits), self.ran);
            self.load.turn(self.now, waited, || ran, &counters);
        }
        let busy = counters.busy_permille.load(Ordering::Relaxed);
        (self.load.is_too_much, busy)
    }
}

#[test]
fn a_worker_that_never_waits_is_overloaded_until_it_does() {
    let mut second = Second::new();
    assert_eq!(second.pass(10, 0), (false, 0));
    assert_eq!(second.pass(2, 8), (false, 800));
    assert_eq!(second.pass(0, 10), (true, 1000));
    assert_eq!(second.pass(0, 6), (true, 1000));
    assert_eq!(second.pass(5, 5), (false, 500));
}

#[test]
fn a_worker_that_others_keep_from_its_core_is_overloaded_if_it_lasts() {
    let mut second = Second::new();
    assert_eq!(second.pass(0, 2), (false, 1000));
    assert_eq!(second.pass(0, 2), (true, 1000));
    assert_eq!(second.pass(8, 2), (false, 200));
    assert_eq!(second.pass(0, 2), (false, 1000));
}

/// A worker that is not started, and was told this; what it tells of that.
fn overloaded(inputs: Vec<Input>) -> Vec<Output> {
    let poll = Poll::new().unwrap();
    let registry = poll.registry().try_clone().unwrap();
    let mut ports = Ports::new(registry, vec![interface(43_020..=43_023)]);
    let (web, bound) = ports.open_web(SocketAddr::new(LOCAL, 0)).unwrap();
    let (tell, told) = channel();
    let (sender, receiver) = sync_channel(INPUTS_WAITING_MAX);
    let mut running = Running {
        poll,
        ports,
        web,
        engine: engine(dtls_config(), web, bound),
        inputs: receiver,
        told: Box::new(move |output| tell.send(output).unwrap()),
        unread: Vec::new(),
        load: Load::new(Instant::now()),
        counters: Arc::default(),
    };
    for input in inputs {
        sender.send(input).unwrap();
        running.take_inputs(Instant::now());
        running.load.is_too_much = true;
    }
    drop(running);
    told.iter().collect()
}

#[test]
fn an_overloaded_worker_refuses_new_calls_and_still_serves_those_that_it_has() {
    let ask = |id, call: &str| {
        let branch = Branch {
            call: call.into(),
            ..World::branch(None)
        };
        let ask = Ask {
            branch,
            direction: Direction::ToCallee,
            role: Role::Offer,
            sdp: OFFER.replace('\n', "\r\n").into(),
        };
        Input::Ask { id, ask }
    };
    let told = overloaded(vec![ask(1, "old"), ask(2, "old"), ask(3, "new")]);
    let [
        Output::Answer {
            id: 1,
            answer: Answer::Replace(_),
        },
        Output::Answer {
            id: 2,
            answer: Answer::Replace(_),
        },
        Output::Answer {
            id: 3,
            answer: Answer::Refuse { status: 503, .. },
        },
    ] = told.as_slice()
    else {
        panic!("{told:?}")
    };
}
