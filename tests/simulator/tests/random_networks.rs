//! Random networks: what must hold, holds in each of them. `SEEDS=n` runs so many, `SEED=n` runs one and draws its ladder.

use std::{
    collections::BTreeMap,
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use hookswitch_simulator::{
    random::{Picture, run},
    world::World,
};
use hookswitch_sip::proxy::io::Origin;

const SEEDS: u64 = 1_000;
/// What happened, by name: the networks must be rich enough for each of these to happen somewhere.
const CAUSES: [&str; 12] = [
    "Forwarded",
    "Policy",
    "PolicyFault",
    "Discarded",
    "Refused",
    "Registrar",
    "Cancelled",
    "Timeout",
    "Unreachable",
    "Overload",
    "ClientGone",
    "ended by the proxy",
];

type Tally = BTreeMap<String, u64>;

#[test]
fn every_network_keeps_the_invariants() {
    if let Some(seed) = number("SEED") {
        let (world, broken) = run(seed, Picture::Drawn);
        println!("{}", world.ladder.text());
        assert!(broken.is_empty(), "seed {seed}:\n{}", broken.join("\n"));
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let (failed, tally) = search(seeds);
    println!("{seeds} networks: {tally:?}");
    let told = failed
        .iter()
        .take(10)
        .map(|(seed, broken)| format!("SEED={seed}\n  {}\n", broken.join("\n  ")));
    assert!(
        failed.is_empty(),
        "{} of {seeds} networks broke:\n{}",
        failed.len(),
        told.collect::<String>()
    );
    let missing: Vec<_> = CAUSES
        .iter()
        .filter(|cause| !tally.contains_key(**cause))
        .collect();
    assert!(
        seeds < SEEDS || missing.is_empty(),
        "never happened: {missing:?}"
    );
}

/// Runs the networks of all seeds on all cores.
fn search(seeds: u64) -> (Vec<(u64, Vec<String>)>, Tally) {
    let next = AtomicU64::new(0);
    let work = || {
        let (mut failed, mut tally) = (Vec::new(), Tally::new());
        while let Some(seed) =
            Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds)
        {
            let (world, broken) = run(seed, Picture::Blank);
            count(&world, &mut tally);
            if !broken.is_empty() {
                failed.push((seed, broken));
            }
        }
        (failed, tally)
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let (mut failed, mut tally) = (Vec::new(), Tally::new());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (some_failed, some) = worker.join().expect("a network panicked");
            failed.extend(some_failed);
            some.into_iter()
                .for_each(|(name, n)| *tally.entry(name).or_default() += n);
        }
    });
    failed.sort();
    (failed, tally)
}

fn count(world: &World, tally: &mut Tally) {
    let mut add = |name: &str, n: u64| *tally.entry(name.to_owned()).or_default() += n;
    add("messages sent by the proxy", world.sent);
    add(
        "requests",
        world
            .agents
            .iter()
            .map(|agent| agent.clients.len() as u64)
            .sum(),
    );
    for (_, ended) in &world.ended {
        add(&format!("{:?}", ended.cause), 1);
        if ended.origin == Origin::Proxy && ended.status == 200 {
            add("ended by the proxy", 1);
        }
        if ended.method() == "INVITE" && ended.status == 200 {
            add("calls accepted", 1);
        }
    }
    for (what, n) in &world.dropped {
        add(what, u64::from(*n));
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
