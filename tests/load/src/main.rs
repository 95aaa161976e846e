//! `hookswitch-load`: one measurement of a proxy that runs already; prints its outcome as JSON.

use std::{collections::BTreeMap, env, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use hookswitch_load::{
    browser::{self, Door, Sessions, Socket},
    load::{Amount, From, Load, Pace, Run, Sides},
    process,
    uac::{Kind, Plan},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::task::LocalSet;

const USAGE: &str = "usage: hookswitch-load WHAT [--NAME VALUE]…
WHAT is one of
  options        browsers send OPTIONS to the PBX
  calls          browsers call the PBX: INVITE, 180, 200, ACK, BYE, 200
  register       browsers register again and again
  pbx-options    the PBX sends OPTIONS to registered browsers
  idle           memory of the proxy for each idle connection
  registrations  memory of the proxy for each registered browser, beyond its connection
  handshakes     CPU of the proxy for each TLS handshake and upgrade, full and resumed
NAME is one of
  door ADDR      where browsers connect to               tls yes|no     (yes)
  path PATH      of the upgrade (/)                      domain NAME    (localhost)
  proxy-udp ADDR where the PBX sends its requests        pbx ADDR       where the PBX listens (127.0.0.1:0)
  pid PID        whose CPU and memory is measured        browsers N     (200)
  at-once N      opened at the same time (1)             register yes|no (no)
  dial PREFIX    +3 digits that count to `dial-count` + 5551234 (49)
  dial-count N   (1000)
  rate N | window N  requests a second, or on their way (window 64)
  warm-up-s N    (1)                                     seconds N      (5)
  patience-s N   after which a request is lost (10)";

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let what = args.next().context(USAGE)?;
    let options = Options::parse(args)?;
    raise_open_files()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let work = async {
        match what.as_str() {
            "options" => requests(&options, Kind::Options, From::Browsers).await,
            "calls" => requests(&options, Kind::Call, From::Browsers).await,
            "register" => requests(&options, Kind::Register, From::Browsers).await,
            "pbx-options" => requests(&options, Kind::Options, From::Pbx).await,
            "idle" => idle(&options).await,
            "registrations" => registrations(&options).await,
            "handshakes" => handshakes(&options).await,
            unknown => bail!("{unknown}?\n{USAGE}"),
        }
    };
    let bounded = async { tokio::time::timeout(WORK_MAX, work).await };
    let report = LocalSet::new()
        .block_on(&runtime, bounded)
        .with_context(|| format!("{what}: not done in {WORK_MAX:?}, so the server hangs"))??;
    println!("{report}");
    Ok(())
}

/// Nothing that is measured takes half as long.
const WORK_MAX: Duration = Duration::from_secs(150);

/// Ten thousand browsers are as many files.
fn raise_open_files() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).context("the limit of open files")
}

/// What a transaction over a reliable transport leaves behind, a peer keeps for 5 s (`wt_timer` of Kamailio).
const TRANSACTIONS_GONE: Duration = Duration::from_secs(6);

async fn requests(options: &Options, kind: Kind, from: From) -> Result<Value> {
    let load = Load::open(options.sides()?).await?;
    if from == From::Pbx || options.flag("register")? == Some(true) {
        load.register().await?;
    }
    let uris = match (kind, from) {
        (Kind::Register, _) => vec![format!("sip:{}", options.domain())],
        (_, From::Pbx) => load.addresses_of_record(),
        (_, From::Browsers) => options.dialled()?,
    };
    let pace = match options.number("rate")? {
        Some(rate) => Pace::Rate(rate as f64),
        None => Pace::Window(usize::try_from(options.number("window")?.unwrap_or(64))?),
    };
    let amount = Amount::Time {
        warm_up: options.seconds("warm-up-s", 1)?,
        measured: options.seconds("seconds", 5)?,
    };
    let patience = options.seconds("patience-s", 10)?;
    let plan = Plan::new(kind, uris);
    let outcome = load
        .run(Run {
            plan,
            from,
            pace,
            amount,
            patience,
            proxy: options.pid()?,
            inspect: None,
        })
        .await?;
    let mut report = serde_json::to_value(outcome)?;
    report["closed"] = json!(load.closed());
    Ok(report)
}

async fn idle(options: &Options) -> Result<Value> {
    let pid = options.pid()?.context("idle needs --pid")?;
    let (door, count) = (options.door()?, options.number("browsers")?.unwrap_or(200));
    // What the first connection brings to life is not what a connection costs, and memory that the start left behind would make it
    // cheaper than it is: these use both up.
    let first = open_all(&door, count * 2).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = process::memory(pid)?;
    let sockets = open_all(&door, count).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = process::memory(pid)?;
    drop((first, sockets));
    Ok(
        json!({ "connections": count, "bytes_per_connection": after.saturating_sub(before) as f64 / count as f64 }),
    )
}

async fn registrations(options: &Options) -> Result<Value> {
    let pid = options.pid()?.context("registrations needs --pid")?;
    let mut sides = options.sides()?;
    let count = sides.browsers;
    sides.browsers *= 2;
    let load = Load::open(sides).await?;
    // What the first registrations bring to life is not what a registration costs.
    load.register_some(0..count).await?;
    tokio::time::sleep(TRANSACTIONS_GONE).await;
    let before = process::memory(pid)?;
    load.register_some(count..count * 2).await?;
    tokio::time::sleep(TRANSACTIONS_GONE).await;
    let after = process::memory(pid)?;
    Ok(
        json!({ "registrations": count, "bytes_per_registration": after.saturating_sub(before) as f64 / count as f64 }),
    )
}

async fn open_all(door: &Door, count: u64) -> Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(browser::open(door).await?);
    }
    Ok(sockets)
}

async fn handshakes(options: &Options) -> Result<Value> {
    let pid = options.pid()?.context("handshakes needs --pid")?;
    let count = options.number("browsers")?.unwrap_or(200);
    let mut report = json!({ "handshakes": count });
    for (name, sessions) in [
        ("full_cpu_ms", Sessions::Full),
        ("resumed_cpu_ms", Sessions::Resumed),
    ] {
        let door = Door {
            tls: Some(browser::tls(sessions)?),
            ..options.door()?
        };
        // Of TLS 1.3, tickets come after the handshake: one message later they have been read.
        one_connection(&door).await?;
        let before = process::cpu(pid)?;
        for _ in 0..count {
            one_connection(&door).await?;
        }
        let spent = process::cpu(pid)?.saturating_sub(before);
        report[name] = json!(spent.as_secs_f64() * 1000.0 / count as f64);
    }
    Ok(report)
}

async fn one_connection(door: &Door) -> Result<()> {
    let mut socket = browser::open(door).await?;
    // The peer may answer the close, or close at once.
    drop(socket.close(None).await);
    Ok(())
}

/// `--name value` pairs.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut pairs = BTreeMap::new();
        while let Some(name) = args.next() {
            let name = name
                .strip_prefix("--")
                .with_context(|| format!("{name}?\n{USAGE}"))?
                .to_owned();
            ensure!(USAGE.contains(&format!("{name} ")), "--{name}?\n{USAGE}");
            let value = args
                .next()
                .with_context(|| format!("--{name} lacks a value"))?;
            pairs.insert(name, value);
        }
        Ok(Self(pairs))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Result<Option<u64>> {
        self.text(name)
            .map(|value| value.parse().with_context(|| format!("--{name} {value}")))
            .transpose()
    }

    fn seconds(&self, name: &str, default: u64) -> Result<Duration> {
        Ok(Duration::from_secs(self.number(name)?.unwrap_or(default)))
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.text(name) {
            None => Ok(None),
            Some("yes") => Ok(Some(true)),
            Some("no") => Ok(Some(false)),
            Some(other) => bail!("--{name} {other}: yes or no"),
        }
    }

    fn address(&self, name: &str) -> Result<Option<SocketAddr>> {
        self.text(name)
            .map(|value| value.parse().with_context(|| format!("--{name} {value}")))
            .transpose()
    }

    fn pid(&self) -> Result<Option<u32>> {
        Ok(self.number("pid")?.map(u32::try_from).transpose()?)
    }

    fn domain(&self) -> &str {
        self.text("domain").unwrap_or("localhost")
    }

    fn door(&self) -> Result<Door> {
        let tls = if self.flag("tls")? == Some(false) {
            None
        } else {
            Some(browser::tls(Sessions::Resumed)?)
        };
        let path = self.text("path").unwrap_or("/").to_owned();
        Ok(Door {
            address: self.address("door")?.context("--door is missing")?,
            from: None,
            path,
            tls,
        })
    }

    fn sides(&self) -> Result<Sides> {
        Ok(Sides {
            door: self.door()?,
            browsers: usize::try_from(self.number("browsers")?.unwrap_or(200))?,
            at_once: usize::try_from(self.number("at-once")?.unwrap_or(1))?,
            name: "load".to_owned(),
            domain: self.domain().to_owned(),
            pbx: self
                .address("pbx")?
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            proxy_udp: self.address("proxy-udp")?,
            echo: Vec::new(),
            ring: Duration::ZERO,
        })
    }

    fn dialled(&self) -> Result<Vec<String>> {
        let (prefix, domain) = (self.text("dial").unwrap_or("49"), self.domain());
        let count = self.number("dial-count")?.unwrap_or(1000);
        Ok((0..count)
            .map(|n| format!("sip:{prefix}{n:03}5551234@{domain}"))
            .collect())
    }
}
