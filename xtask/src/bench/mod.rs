//! `cargo xtask bench relay`: what hookswitch costs, beside Debian's Kamailio with the same policy in its own language. And `cargo xtask
//! bench media`, in [`media`].
//!
//! Every subject is started anew in every round, the rounds alternate their order, and all of them get the same load from the same
//! generator on the same cores. The figures are the median of the rounds and their spread; they hold for one machine and one moment.

mod jitter;
mod media;
mod profile;
mod report;
mod server;
mod subject;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    plugins::{self, Selection},
    shell::{self, cargo, target_dir},
};
use report::{About, Report};
use subject::{Kind, Registrar, Running};

const USAGE: &str = "usage: cargo xtask bench relay|media [--quick] [--profile]

  relay      SIP through the proxy, beside Kamailio
  media      packets through the media engine, beside rtpengine
  --quick    one short round with the binaries of the dev profile: shows that it works, not what it costs
  --profile  where the time goes, instead of how much it is";

/// Digits that every number of the load begins with, followed by three that count to this.
const PREFIXES: usize = 1000;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let Some((what, flags)) = args.split_first() else {
        bail!("{USAGE}")
    };
    let unknown = flags
        .iter()
        .find(|flag| *flag != "--quick" && *flag != "--profile");
    ensure!(unknown.is_none(), "{unknown:?}?\n{USAGE}");
    let has = |name: &str| flags.iter().any(|flag| flag == name);
    let effort = if has("--quick") {
        Effort::Quick
    } else {
        Effort::Full
    };
    match (what.as_str(), has("--profile")) {
        ("relay", false) => relay(&Bench::build(effort)?),
        ("relay", true) => profile_relay(&Bench::build(effort)?),
        ("media", false) => media::run(effort),
        ("media", true) => media::profile(effort),
        (unknown, _) => bail!("{unknown}?\n{USAGE}"),
    }
}

/// How much is done for a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effort {
    /// Once and shortly, as built for tests.
    Quick,
    /// Several rounds, as built for release.
    Full,
}

impl Effort {
    fn rounds(self) -> usize {
        match self {
            Self::Quick => 1,
            Self::Full => 3,
        }
    }

    fn seconds(self) -> u64 {
        match self {
            Self::Quick => 2,
            Self::Full => 5,
        }
    }

    fn profile(self) -> &'static str {
        match self {
            Self::Quick => "dev",
            Self::Full => "release",
        }
    }
}

/// What was built, and where a benchmark keeps its files.
struct Bench {
    effort: Effort,
    proxy: PathBuf,
    generator: PathBuf,
    /// `header-rules` and `prefix-router`.
    policies: Vec<PathBuf>,
    folder: PathBuf,
}

impl Bench {
    fn build(effort: Effort) -> Result<Self> {
        let policies = plugins::build(Selection::Named(&["header-rules", "prefix-router"]))?;
        let [proxy, generator] = binaries(effort, ["hookswitch", "hookswitch-load"])?;
        Ok(Self {
            effort,
            proxy,
            generator,
            policies,
            folder: folder()?,
        })
    }
}

/// Builds these programs.
fn binaries<const N: usize>(effort: Effort, names: [&str; N]) -> Result<[PathBuf; N]> {
    let mut build = cargo();
    // All of the workspace is named for the reason that `host` gives.
    build.args(["build", "--workspace"]);
    build.args(["--profile", effort.profile()]);
    build.args(names.iter().flat_map(|name| ["--bin", *name]));
    shell::run("build", &mut build)?;
    let folder = target_dir().join(match effort {
        Effort::Full => "release",
        Effort::Quick => "debug",
    });
    Ok(names.map(|name| folder.join(name)))
}

/// Where the results stand, and what the servers say.
fn folder() -> Result<PathBuf> {
    let folder = target_dir().join("bench");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// One run of the generator and the figures that are read from its report.
struct Task {
    args: &'static [&'static str],
    figures: &'static [Figure],
}

/// One line of the result.
#[derive(Clone, Copy)]
struct Figure {
    measure: &'static str,
    unit: &'static str,
    /// Of the generator's report.
    field: &'static str,
}

const fn figure(measure: &'static str, unit: &'static str, field: &'static str) -> Figure {
    Figure {
        measure,
        unit,
        field,
    }
}

/// Each on a server of its own: memory that another load left behind would hide what a connection costs.
const MEMORY: &[Task] = &[
    Task {
        args: &["idle", "--browsers", "1000"],
        figures: &[figure(
            "memory of an idle WSS connection",
            "bytes",
            "bytes_per_connection",
        )],
    },
    Task {
        args: &["idle", "--browsers", "1000", "--tls", "no"],
        figures: &[figure(
            "memory of an idle WS connection",
            "bytes",
            "bytes_per_connection",
        )],
    },
    Task {
        args: &["registrations", "--browsers", "1000"],
        figures: &[figure(
            "memory of a registration",
            "bytes",
            "bytes_per_registration",
        )],
    },
];

/// One after the other on one server.
const CPU: &[Task] = &[
    Task {
        args: &["handshakes", "--browsers", "300"],
        figures: &[
            figure(
                "CPU of a TLS handshake and upgrade, full",
                "ms",
                "full_cpu_ms",
            ),
            figure(
                "CPU of a TLS handshake and upgrade, resumed",
                "ms",
                "resumed_cpu_ms",
            ),
        ],
    },
    Task {
        args: &["options", "--browsers", "64", "--window", "64"],
        figures: &[
            figure("CPU for 1,000 OPTIONS, saturated", "ms", "cpu_ms_per_1000"),
            figure("OPTIONS, saturated", "1/s", "rate"),
        ],
    },
    Task {
        args: &["options", "--browsers", "200", "--rate", "2000"],
        figures: &[
            figure("CPU for 1,000 OPTIONS at 2,000/s", "ms", "cpu_ms_per_1000"),
            figure("p50 of OPTIONS at 2,000/s", "us", "p50_us"),
            figure("p99 of OPTIONS at 2,000/s", "us", "p99_us"),
        ],
    },
    Task {
        args: &["calls", "--browsers", "64", "--window", "64"],
        figures: &[
            figure("CPU for 1,000 calls, saturated", "ms", "cpu_ms_per_1000"),
            figure("calls, saturated", "1/s", "rate"),
        ],
    },
    Task {
        args: &["register", "--browsers", "64", "--window", "64"],
        figures: &[
            figure(
                "CPU for 1,000 REGISTERs, saturated",
                "ms",
                "cpu_ms_per_1000",
            ),
            figure("REGISTERs, saturated", "1/s", "rate"),
        ],
    },
    Task {
        args: &["pbx-options", "--browsers", "64", "--window", "64"],
        figures: &[
            figure(
                "CPU for 1,000 OPTIONS of the PBX, saturated",
                "ms",
                "cpu_ms_per_1000",
            ),
            figure("OPTIONS of the PBX, saturated", "1/s", "rate"),
        ],
    },
    Task {
        args: &["pbx-options", "--browsers", "200", "--rate", "2000"],
        figures: &[
            figure(
                "CPU for 1,000 OPTIONS of the PBX at 2,000/s",
                "ms",
                "cpu_ms_per_1000",
            ),
            figure("p50 of OPTIONS of the PBX at 2,000/s", "us", "p50_us"),
            figure("p99 of OPTIONS of the PBX at 2,000/s", "us", "p99_us"),
        ],
    },
];

/// On a server that relays REGISTER to the PBX.
const RELAYED: Task = Task {
    args: &["register", "--browsers", "64", "--window", "64"],
    figures: &[
        figure(
            "CPU for 1,000 relayed REGISTERs, saturated",
            "ms",
            "cpu_ms_per_1000",
        ),
        figure("relayed REGISTERs, saturated", "1/s", "rate"),
    ],
};

fn relay(bench: &Bench) -> Result<()> {
    let mut kinds = vec![Kind::Reused, Kind::Fresh];
    if subject::kamailio_is_here() {
        kinds.extend([Kind::Kamailio, Kind::KamailioLua]);
    } else {
        println!(
            "Kamailio is not installed; for the peer: apt-get install {}",
            subject::KAMAILIO_PACKAGES
        );
    }
    let version = subject::kamailio_program().map(|program| {
        let mut command = Command::new(program);
        command.arg("-v");
        command
    });
    let mut report = Report::new(About {
        benchmark: "relay",
        load: "10 header rules on request and response, 1,000 prefixes",
        effort: bench.effort,
        columns: &subject::COLUMNS,
        peer: ("kamailio", version),
    });
    for round in 0..bench.effort.rounds() {
        for turn in 0..kinds.len() {
            // Nobody is always first, or always after the same one.
            let Some(kind) = kinds.get((round + turn) % kinds.len()) else {
                continue;
            };
            println!("── round {}: {}", round + 1, kind.name());
            if let Err(error) = turn_of(*kind, bench, &mut report) {
                // Kamailio hangs or dies now and then; what it did until then counts.
                if !kind.is_peer() {
                    return Err(error);
                }
                report.note(format!("{} gave up: {error:#}", kind.name()));
            }
        }
    }
    conclude(&mut report, &bench.folder.join("relay.json"))
}

/// Where the time goes under OPTIONS.
fn profile_relay(bench: &Bench) -> Result<()> {
    let running = Running::start(Kind::Reused, Registrar::Own, bench)?;
    let load = || {
        let args = ["options", "--browsers", "64", "--window", "64"];
        generate(bench, &running, &args).map(drop)
    };
    profile::run("hookswitch", running.server.pid(), bench.effort, load)
}

/// Prints the table, and writes the JSON.
fn conclude(report: &mut Report, file: &Path) -> Result<()> {
    println!("\n{}", report.table());
    write(file, &report.json())?;
    println!("{}", file.display());
    Ok(())
}

/// All that is measured of one subject in one round.
fn turn_of(kind: Kind, bench: &Bench, report: &mut Report) -> Result<()> {
    for task in MEMORY {
        let running = Running::start(kind, Registrar::Own, bench)?;
        measure(bench, &running, task, report)?;
    }
    let running = Running::start(kind, Registrar::Own, bench)?;
    for task in CPU {
        measure(bench, &running, task, report)?;
    }
    drop(running);
    let running = Running::start(kind, Registrar::Pbx, bench)?;
    measure(bench, &running, &RELAYED, report)
}

fn measure(bench: &Bench, running: &Running, task: &Task, report: &mut Report) -> Result<()> {
    let outcome = generate(bench, running, task.args)?;
    for figure in task.figures {
        let value = outcome[figure.field]
            .as_f64()
            .with_context(|| format!("the generator's report lacks {}", figure.field))?;
        report.add(running.kind.column(), *figure, value);
    }
    let score = &outcome["score"];
    let clean = score.is_null()
        || score["answered"] == score["begun"] && score["wrong"] == 0 && outcome["closed"] == 0;
    if !clean {
        report.note(format!(
            "{}, {}: {score}",
            running.kind.name(),
            task.args.join(" ")
        ));
    }
    Ok(())
}

/// Runs the generator against `running`; gives its report.
fn generate(bench: &Bench, running: &Running, args: &[&str]) -> Result<Value> {
    let mut command = shell::command(&bench.generator);
    let is_plain = args.windows(2).any(|pair| pair == ["--tls", "no"]);
    let door = if is_plain {
        running.ports.ws
    } else {
        running.ports.wss
    };
    command.args(args).arg("--door").arg(door.to_string());
    command.args([
        "--proxy-udp",
        &running.ports.udp.to_string(),
        "--pid",
        &running.server.pid().to_string(),
    ]);
    command.args([
        "--pbx",
        &running.ports.pbx.to_string(),
        "--dial-count",
        &PREFIXES.to_string(),
    ]);
    if args
        .first()
        .is_some_and(|what| !["idle", "handshakes", "registrations"].contains(what))
    {
        command.args(["--seconds", &bench.effort.seconds().to_string()]);
    }
    let text = shell::read(&mut command).with_context(|| running.server.log())?;
    Ok(serde_json::from_str(&text)?)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("write {}", file.display()))
}
