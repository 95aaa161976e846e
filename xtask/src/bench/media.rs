//! `cargo xtask bench media`: what our media engine costs, beside Debian's rtpengine in userspace.
//!
//! Both are told of calls over rtpengine's control protocol, by the same generator, which plays both ends of every call and counts what
//! arrives; both are started anew for every task, and take turns. What signalling costs is measured by `bench relay`, and what it does to
//! audio in [`super::jitter`].

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Effort, Figure, binaries, conclude, figure, folder, jitter, profile,
    report::{About, Column, Report},
    server::Server,
};
use crate::shell;

/// Below those that the kernel gives to the generator's sockets.
const PORTS: [u16; 2] = [20_000, 29_999];
const PATIENCE: Duration = Duration::from_millis(200);
const ENGINE: &str = "hookswitch-media-alone";

const OURS: Column = Column {
    key: "ours",
    title: "hookswitch",
};
const PEER: Column = Column {
    key: "peer",
    title: "rtpengine",
};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ours,
    Rtpengine,
}

/// One run of the generator, and the figures that are read from its report.
struct Task {
    args: &'static [&'static str],
    figures: &'static [Figure],
}

const fn packet(measure: &'static str) -> Figure {
    figure(measure, "us", "cpu_us_per_packet")
}

const fn calls(measure: &'static str) -> Figure {
    figure(measure, "calls", "calls_per_core")
}

const fn memory(measure: &'static str) -> Figure {
    figure(measure, "bytes", "bytes_per_call")
}

/// Between a browser's SRTP and plain RTP, and between two of plain RTP, both directions of each; and where no codec is shared.
const TASKS: &[Task] = &[
    Task {
        args: &["relay", "--caller", "web", "--calls", "100"],
        figures: &[
            packet("CPU of a packet, SRTP and RTP, 100 calls"),
            figure(
                "jitter of SRTP and RTP, 100 calls, p99",
                "us",
                "p99_deviation_us",
            ),
        ],
    },
    Task {
        args: &["relay", "--caller", "web", "--calls", "300"],
        figures: &[packet("CPU of a packet, SRTP and RTP, 300 calls")],
    },
    Task {
        args: &["relay", "--caller", "web", "--calls", "500"],
        figures: &[
            packet("CPU of a packet, SRTP and RTP, 500 calls"),
            calls("calls of SRTP and RTP a core carries, by that"),
            memory("memory of a call of SRTP and RTP"),
        ],
    },
    Task {
        args: &["relay", "--caller", "plain", "--calls", "100"],
        figures: &[packet("CPU of a packet, RTP and RTP, 100 calls")],
    },
    Task {
        args: &["relay", "--caller", "plain", "--calls", "300"],
        figures: &[packet("CPU of a packet, RTP and RTP, 300 calls")],
    },
    Task {
        args: &["relay", "--caller", "plain", "--calls", "500"],
        figures: &[
            packet("CPU of a packet, RTP and RTP, 500 calls"),
            calls("calls of RTP and RTP a core carries, by that"),
            memory("memory of a call of RTP and RTP"),
        ],
    },
    Task {
        args: &[
            "relay", "--caller", "web", "--callee", "PCMA", "--calls", "20",
        ],
        figures: &[
            calls("calls of Opus and PCMA a core transcodes"),
            memory("memory of a call of Opus and PCMA"),
        ],
    },
    Task {
        args: &[
            "relay", "--caller", "web", "--callee", "G722", "--calls", "20",
        ],
        figures: &[
            calls("calls of Opus and G.722 a core transcodes"),
            memory("memory of a call of Opus and G.722"),
        ],
    },
    Task {
        args: &["set-up", "--caller", "web", "--calls", "300"],
        figures: &[figure(
            "CPU to set up and end a call with DTLS",
            "ms",
            "cpu_ms_per_call",
        )],
    },
    Task {
        args: &["set-up", "--caller", "plain", "--calls", "300"],
        figures: &[figure(
            "CPU to set up and end a call of RTP",
            "ms",
            "cpu_ms_per_call",
        )],
    },
];

impl Kind {
    fn column(self) -> Column {
        match self {
            Self::Ours => OURS,
            Self::Rtpengine => PEER,
        }
    }
}

/// What was built, and where it runs.
struct Bench {
    effort: Effort,
    jitter: jitter::Bench,
    engine: PathBuf,
    generator: PathBuf,
    folder: PathBuf,
}

impl Bench {
    fn build(effort: Effort) -> Result<Self> {
        let jitter = jitter::Bench::build(effort)?;
        let [engine, generator] = binaries(effort, [ENGINE, "hookswitch-media-load"])?;
        let folder = folder()?;
        Ok(Self {
            effort,
            jitter,
            engine,
            generator,
            folder,
        })
    }

    fn start(&self, kind: Kind) -> Result<(Server, SocketAddr)> {
        let ng = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        let command = match kind {
            Kind::Ours => {
                let mut command = Command::new(&self.engine);
                command.arg(ng.to_string());
                command.args(PORTS.map(|port| port.to_string()));
                command
            }
            Kind::Rtpengine => rtpengine(ng),
        };
        let name = kind.column().title;
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        let server = Server::start(name, command, &folder, || answers(ng).is_some())?;
        Ok((server, ng))
    }

    fn generate(&self, server: &Server, ng: SocketAddr, task: &Task) -> Result<Value> {
        let mut command = shell::command(&self.generator);
        command.args(task.args);
        command.args(["--ng", &ng.to_string(), "--pid", &server.pid().to_string()]);
        command.args(["--seconds", &self.effort.seconds().to_string()]);
        let text = shell::read(&mut command).with_context(|| server.log())?;
        Ok(serde_json::from_str(&text)?)
    }
}

/// In userspace, and otherwise as it comes.
fn rtpengine(ng: SocketAddr) -> Command {
    let [first, last] = PORTS;
    let mut command = Command::new("rtpengine");
    command.args([
        "--config-file=none",
        "--table=-1",
        "--foreground",
        "--log-stderr",
        "--log-level=3",
        "--interface=127.0.0.1",
        "--delete-delay=0",
    ]);
    command.arg(format!("--listen-ng={ng}"));
    command.args([format!("--port-min={first}"), format!("--port-max={last}")]);
    command
}

/// Whether it does; both know `ping`.
fn answers(ng: SocketAddr) -> Option<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    socket.connect(ng).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    socket.send(b"xtask d7:command4:pinge").ok()?;
    socket.recv(&mut [0; 512]).ok().map(drop)
}

/// Where the time goes with the most calls.
pub(super) fn profile(effort: Effort) -> Result<()> {
    let bench = Bench::build(effort)?;
    let (server, ng) = bench.start(Kind::Ours)?;
    let task = Task {
        args: &["relay", "--caller", "web", "--calls", "500"],
        figures: &[],
    };
    profile::run(ENGINE, server.pid(), effort, || {
        bench.generate(&server, ng, &task).map(drop)
    })
}

/// All tasks, in rounds.
pub(super) fn run(effort: Effort) -> Result<()> {
    let bench = Bench::build(effort)?;
    let mut kinds = vec![Kind::Ours];
    if shell::which("rtpengine").is_some() {
        kinds.push(Kind::Rtpengine);
    } else {
        println!("rtpengine is not installed; for the peer: apt-get install rtpengine-daemon");
    }
    let mut version = Command::new("rtpengine");
    version.arg("--version");
    let mut report = Report::new(About {
        benchmark: "media",
        load: "packets of 20 ms, G.711 where nothing else is named, both directions of every call",
        effort,
        columns: &[OURS, PEER],
        peer: ("rtpengine", Some(version)),
    });
    for round in 0..effort.rounds() {
        for task in TASKS {
            println!("── round {}: {}", round + 1, task.args.join(" "));
            // Nobody is always first.
            kinds.rotate_left(1);
            for kind in &kinds {
                measure(&bench, *kind, task, &mut report)?;
            }
        }
        println!("── round {}: jitter", round + 1);
        bench.jitter.measure(OURS, &mut report)?;
    }
    conclude(&mut report, &bench.folder.join("media.json"))
}

fn measure(bench: &Bench, kind: Kind, task: &Task, report: &mut Report) -> Result<()> {
    let (server, ng) = bench.start(kind)?;
    let outcome = bench.generate(&server, ng, task)?;
    println!("   {}", kind.column().title);
    for figure in task.figures {
        let value = outcome[figure.field].as_f64();
        let value = value.with_context(|| format!("no {}", figure.field))?;
        report.add(kind.column(), *figure, value);
    }
    let (lost, wrong) = (&outcome["lost"], &outcome["wrong"]);
    let is_clean = [lost, wrong]
        .iter()
        .all(|count| count.is_null() || **count == 0);
    if !is_clean {
        let (who, what) = (kind.column().title, task.args.join(" "));
        report.note(format!("{who}, {what}: {lost} packets lost, {wrong} wrong"));
    }
    ensure!(
        outcome["received"] != 0,
        "nothing arrived; {}",
        server.log()
    );
    Ok(())
}
