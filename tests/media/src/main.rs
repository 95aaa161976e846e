//! `hookswitch-media-load`: one measurement of a media relay that runs already; prints its outcome as JSON.

use std::{collections::BTreeMap, env, net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use hookswitch_load::process;
use hookswitch_media::codec::Encoding;
use hookswitch_media_load::{
    call::{Call, Codecs, Speech},
    flow::{Flow, PACKETS_PER_SECOND},
    ng::Ng,
    sip::Sip,
    web::Browser,
};
use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
use serde_json::{Value, json};

const USAGE: &str = "usage: hookswitch-media-load WHAT [--NAME VALUE]…
WHAT is one of
  relay   calls that last: CPU of the relay for a packet, memory for a call
  set-up  calls that end at once: CPU of the relay for a call
  sip     calls of RTP that last, through the whole proxy: how evenly their packets arrive
NAME is one of
  ng ADDR    where the relay listens for its control protocol
  proxy ADDR where the proxy listens for SIP over UDP
  trunk ADDR of its upstream that calls
  pbx ADDR   of its upstream that is called
  pid PID    whose CPU and memory is measured
  caller WHAT  speaks plain (RTP), sdes or web; the callee speaks RTP (plain)
  callee NAME  has this codec alone, PCMA or G722, and the caller Opus; without it both have PCMA
  calls N    (100)
  seconds N  (5)";

/// What the first calls bring to life is not what a call costs.
const FIRST_CALLS: usize = 5;
const WARM_UP: Duration = Duration::from_secs(1);

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let what = args.next().context(USAGE)?;
    let options = Options::parse(args)?;
    raise_open_files()?;
    let report = match what.as_str() {
        "relay" => relay(&options)?,
        "set-up" => set_up(&options)?,
        "sip" => sip(&options)?,
        unknown => bail!("{unknown}?\n{USAGE}"),
    };
    println!("{report}");
    Ok(())
}

/// Each call has two.
fn raise_open_files() -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).context("the limit of open files")
}

fn relay(options: &Options) -> Result<Value> {
    let (mut ng, browser) = (Ng::connect(options.ng()?)?, Browser::new()?);
    let (pid, speech) = (options.pid()?, (options.caller()?, options.codecs()?));
    let count = options.number("calls", 100)?;
    let mut calls = Vec::with_capacity(count);
    for number in 0..FIRST_CALLS.min(count) {
        calls.push(Call::set_up(&mut ng, number, speech, &browser)?);
    }
    let before = process::memory(pid)?;
    for number in calls.len()..count {
        calls.push(Call::set_up(&mut ng, number, speech, &browser)?);
    }
    let names: Vec<String> = calls.iter().map(|call| call.name.clone()).collect();
    let mut flow = Flow::new(calls)?;
    flow.run(WARM_UP)?;
    let later = count.saturating_sub(FIRST_CALLS).max(1);
    let bytes_per_call = process::memory(pid)?.saturating_sub(before) as f64 / later as f64;
    let (cpu, own) = (process::cpu(pid)?, process::cpu(std::process::id())?);
    let seconds = options.number("seconds", 5)?;
    let mut counted = flow.run(Duration::from_secs(seconds as u64))?;
    let spent = process::cpu(pid)?.saturating_sub(cpu);
    let own = process::cpu(std::process::id())?.saturating_sub(own);
    for name in names {
        ng.delete(&name)?;
    }
    let per_packet = |cpu: Duration| cpu.as_secs_f64() * 1e6 / counted.received.max(1) as f64;
    let of_call = per_packet(spent) * f64::from(2 * PACKETS_PER_SECOND);
    Ok(json!({
        "calls": count, "sent": counted.sent, "received": counted.received, "wrong": counted.wrong,
        "lost": counted.sent.saturating_sub(counted.received),
        "cpu_us_per_packet": per_packet(spent), "own_cpu_us_per_packet": per_packet(own),
        "calls_per_core": 1e6 / of_call, "bytes_per_call": bytes_per_call,
        "p50_deviation_us": counted.deviation_us(50), "p99_deviation_us": counted.deviation_us(99),
    }))
}

fn set_up(options: &Options) -> Result<Value> {
    let (mut ng, browser) = (Ng::connect(options.ng()?)?, Browser::new()?);
    let (pid, speech) = (options.pid()?, (options.caller()?, options.codecs()?));
    let count = options.number("calls", 100)?;
    let mut one = |number| -> Result<()> {
        let call = Call::set_up(&mut ng, number, speech, &browser)?;
        ng.delete(&call.name)
    };
    (0..FIRST_CALLS).try_for_each(&mut one)?;
    let before = process::cpu(pid)?;
    (FIRST_CALLS..FIRST_CALLS + count).try_for_each(one)?;
    let spent = process::cpu(pid)?.saturating_sub(before);
    Ok(
        json!({ "calls": count, "cpu_ms_per_call": spent.as_secs_f64() * 1000.0 / count.max(1) as f64 }),
    )
}

fn sip(options: &Options) -> Result<Value> {
    // It measures time, and is not what is measured: without the right to it, the figures are worse.
    let _ = setpriority_process(None, -20);
    let [proxy, trunk, pbx] = ["proxy", "trunk", "pbx"].map(|name| options.text(name));
    let mut sip = Sip::new(proxy?.parse()?, trunk?.parse()?, pbx?.parse()?)?;
    let calls = (0..options.number("calls", 100)?).map(|number| sip.set_up(number));
    let mut flow = Flow::new(calls.collect::<Result<_>>()?)?;
    flow.run(WARM_UP)?;
    let seconds = options.number("seconds", 5)?;
    let mut counted = flow.run(Duration::from_secs(seconds as u64))?;
    Ok(json!({
        "sent": counted.sent, "received": counted.received, "wrong": counted.wrong,
        "lost": counted.sent.saturating_sub(counted.received),
        "p50_deviation_us": counted.deviation_us(50), "p99_deviation_us": counted.deviation_us(99),
    }))
}

/// `--name value` pairs.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut pairs = BTreeMap::new();
        while let Some(name) = args.next() {
            let name = name.strip_prefix("--").context(USAGE)?.to_owned();
            ensure!(
                USAGE.contains(&format!("\n  {name} ")),
                "--{name}?\n{USAGE}"
            );
            let value = args
                .next()
                .with_context(|| format!("--{name} lacks a value"))?;
            pairs.insert(name, value);
        }
        Ok(Self(pairs))
    }

    fn text(&self, name: &str) -> Result<&str> {
        let text = self
            .0
            .get(name)
            .with_context(|| format!("--{name} is missing"))?;
        Ok(text)
    }

    fn number(&self, name: &str, default: usize) -> Result<usize> {
        let value = self.0.get(name).map(|value| value.parse());
        Ok(value.transpose()?.unwrap_or(default))
    }

    fn ng(&self) -> Result<SocketAddr> {
        Ok(self.text("ng")?.parse()?)
    }

    fn pid(&self) -> Result<u32> {
        Ok(self.text("pid")?.parse()?)
    }

    fn codecs(&self) -> Result<Codecs> {
        match self.0.get("callee").map(String::as_str) {
            None => Ok(Codecs::Shared),
            Some("PCMA") => Ok(Codecs::OpusAnd(Encoding::Pcma)),
            Some("G722") => Ok(Codecs::OpusAnd(Encoding::G722)),
            Some(other) => bail!("--callee {other}?\n{USAGE}"),
        }
    }

    fn caller(&self) -> Result<Speech> {
        match self.text("caller")? {
            "plain" => Ok(Speech::Plain),
            "sdes" => Ok(Speech::Sdes),
            "web" => Ok(Speech::Web),
            other => bail!("--caller {other}?\n{USAGE}"),
        }
    }
}
