//! Where the time goes: samples of a running server under load, by crate and by function.

use std::{collections::BTreeMap, process::Stdio};

use anyhow::{Context, Result, ensure};

use super::{Effort, folder};
use crate::shell;

const SAMPLES_PER_SECOND: &str = "997";
const SYMBOLS_SHOWN: usize = 40;

/// Prints shares of the samples by crate and the functions with most of them, of the process `pid` of `program` under a load.
pub(super) fn run(
    program: &str,
    pid: u32,
    effort: Effort,
    load: impl Fn() -> Result<()>,
) -> Result<()> {
    ensure!(
        shell::which("perf").is_some(),
        "perf is not installed: apt-get install linux-perf"
    );
    let data = folder()?.join("perf.data");
    // cpu-clock needs no counters of the processor, which virtual machines lack.
    let mut perf = shell::command("perf");
    perf.args([
        "record",
        "--quiet",
        "--event",
        "cpu-clock",
        "--freq",
        SAMPLES_PER_SECOND,
        "--pid",
        &pid.to_string(),
    ]);
    perf.arg("--output")
        .arg(&data)
        .args(["--", "sleep", &effort.seconds().to_string()])
        .stderr(Stdio::inherit());
    // Warm before the samples begin: compiled, connected, caches filled.
    load()?;
    let mut recording = perf.spawn().context("start perf")?;
    load()?;
    ensure!(recording.wait()?.success(), "perf recorded nothing");
    let mut report = shell::command("perf");
    report.args([
        "report",
        "--stdio",
        "--quiet",
        "--no-children",
        "--sort",
        "dso,symbol",
        "--field-separator",
        "|",
    ]);
    report.arg("--input").arg(&data).stderr(Stdio::null());
    print(&shell::read(&mut report)?, program);
    Ok(())
}

fn print(report: &str, program: &str) {
    let samples = report
        .lines()
        .filter_map(|line| Sample::parse(line, program));
    let samples: Vec<Sample> = samples.collect();
    let mut by_origin: BTreeMap<&str, f64> = BTreeMap::new();
    for sample in &samples {
        *by_origin.entry(&sample.origin).or_default() += sample.share;
    }
    let mut origins: Vec<(&str, f64)> = by_origin.into_iter().collect();
    origins.sort_by(|a, b| b.1.total_cmp(&a.1));
    println!("\nshare of the CPU time by origin");
    for (origin, share) in origins.iter().filter(|(_, share)| *share >= 0.1) {
        println!("{share:6.2} %  {origin}");
    }
    println!("\nfunctions with the largest shares, their callees not counted");
    for sample in samples.iter().take(SYMBOLS_SHOWN) {
        println!(
            "{:6.2} %  {:<22} {}",
            sample.share, sample.origin, sample.symbol
        );
    }
}

struct Sample {
    share: f64,
    /// Crate, library or kernel.
    origin: String,
    symbol: String,
}

impl Sample {
    /// `12.34%|hookswitch|[.] symbol`, and columns that are of no use.
    fn parse(line: &str, program: &str) -> Option<Self> {
        let mut fields = line.split('|').map(str::trim);
        let share = fields.next()?.trim_end_matches('%').parse().ok()?;
        let (object, symbol) = (fields.next()?, fields.next()?);
        let (mode, raw) = symbol.split_once(' ')?;
        let symbol = format!("{:#}", rustc_demangle::demangle(raw.trim()));
        let origin = match (mode, object) {
            ("[k]", _) => "kernel".to_owned(),
            (_, object) if object == program => crate_of(&symbol),
            (_, "[vdso]") => "kernel".to_owned(),
            // Code that was made at run time has no file.
            (_, object)
                if object.starts_with('[')
                    || object.starts_with("//anon")
                    || object.contains("memfd") =>
            {
                "policies (wasm)".to_owned()
            }
            (_, object) => object.to_owned(),
        };
        Some(Self {
            share,
            origin,
            symbol,
        })
    }
}

/// The first crate in a symbol: of a method, that of its type.
fn crate_of(symbol: &str) -> String {
    let path = symbol.trim_start_matches(['<', '&', '*', '(', '[']);
    let path = path
        .strip_prefix("mut ")
        .or(path.strip_prefix("dyn "))
        .unwrap_or(path);
    match path.split_once("::") {
        Some((name, _))
            if name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
        {
            name.to_owned()
        }
        Some(_) | None if symbol.starts_with("aws_lc") => "aws_lc".to_owned(),
        Some(_) | None => "other".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_crate_of_a_symbol() {
        let origin = |line: &str| Sample::parse(line, "hookswitch").unwrap().origin;
        assert_eq!(
            origin(" 1.50%|hookswitch|[.] hookswitch_sip::message::parse   |-      -"),
            "hookswitch_sip"
        );
        assert_eq!(
            origin(" 1.50%|hookswitch|[.] <hookswitch_sip::Message as core::fmt::Debug>::fmt"),
            "hookswitch_sip"
        );
        assert_eq!(
            origin(" 1.50%|hookswitch|[.] _ZN5tokio7runtime4park17h0123456789abcdefE"),
            "tokio"
        );
        assert_eq!(
            origin(" 1.50%|hookswitch|[.] aws_lc_0_40_0_aes_gcm"),
            "aws_lc"
        );
        assert_eq!(origin(" 1.50%|[kernel.kallsyms]|[k] tcp_sendmsg"), "kernel");
        assert_eq!(origin(" 1.50%|libc.so.6|[.] malloc"), "libc.so.6");
        assert_eq!(origin(" 0.29%|[vdso]|[.] __vdso_clock_gettime"), "kernel");
        assert_eq!(
            origin(" 0.29%|[JIT] tid 7|[.] 0x00007f14f8e1593a"),
            "policies (wasm)"
        );
        assert!(Sample::parse("# a comment", "hookswitch").is_none());
    }
}
