//! What a process and its descendants cost, from `/proc`.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result};

/// `USER_HZ`, which is 100 on every Linux that this project builds for.
const TICKS_PER_SECOND: u64 = 100;

/// User and system time of `pid`, of all its threads and of all its living descendants.
///
/// # Errors
/// There is no such process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stats = family(pid)?;
    let ticks: u64 = stats.iter().map(|stat| stat.ticks).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Memory of `pid` and its descendants in bytes; pages that they share count once (`Pss`).
///
/// # Errors
/// There is no such process, or its memory may not be read.
pub fn memory(pid: u32) -> Result<u64> {
    let mut total = 0;
    for stat in family(pid)? {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", stat.pid))
            .context("smaps_rollup")?;
        let line = rollup
            .lines()
            .find_map(|line| line.strip_prefix("Pss:"))
            .context("smaps_rollup has no Pss")?;
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().context("Pss")?;
        total += kilobytes * 1024;
    }
    Ok(total)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    ticks: u64,
}

fn family(pid: u32) -> Result<Vec<Stat>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // A process may end between the listing and the reading.
        if let Some(stat) = fs::read_to_string(format!("/proc/{id}/stat"))
            .ok()
            .and_then(|line| parse(&line))
        {
            all.insert(id, stat);
        }
    }
    let first = *all
        .get(&pid)
        .with_context(|| format!("there is no process {pid}"))?;
    let mut members = vec![first];
    let mut next = 0;
    while let Some(parent) = members.get(next).map(|stat| stat.pid) {
        members.extend(all.values().filter(|stat| stat.parent == parent));
        next += 1;
    }
    Ok(members)
}

/// One line of `/proc/PID/stat`, proc(5): the name in parentheses may hold anything.
fn parse(line: &str) -> Option<Stat> {
    let pid = line.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = line.rsplit_once(") ")?.1.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_with_a_strange_name() {
        let line = "42 (a) b (c) S 7 42 42 0 -1 4194304 1 0 0 0 30 12 0 0 20 0 1 0 100 0 0";
        assert_eq!(
            parse(line),
            Some(Stat {
                pid: 42,
                parent: 7,
                ticks: 42
            })
        );
    }

    #[test]
    fn sees_this_process() {
        let pid = std::process::id();
        assert!(cpu(pid).is_ok());
        assert!(memory(pid).unwrap() > 100_000);
        assert!(cpu(u32::MAX).is_err());
    }
}
