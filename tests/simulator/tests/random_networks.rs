//! Random networks: what must hold, holds in each of them. `SEEDS=n` runs so many, `SEED=n` runs one and draws its ladder.

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use hookswitch_simulator::random::{Picture, run};

const SEEDS: u64 = 1_000;

#[test]
fn every_network_keeps_the_invariants() {
    if let Some(seed) = number("SEED") {
        let (world, broken) = run(seed, Picture::Drawn);
        println!("{}", world.ladder.text());
        assert!(broken.is_empty(), "seed {seed}:\n{}", broken.join("\n"));
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let search = || {
        let claim = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds);
        let check = |seed| (seed, run(seed, Picture::Blank).1);
        std::iter::from_fn(claim)
            .map(check)
            .filter(|(_, broken)| !broken.is_empty())
            .collect::<Vec<_>>()
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut failed: Vec<_> = thread::scope(|scope| {
        let searches: Vec<_> = (0..threads).map(|_| scope.spawn(search)).collect();
        searches
            .into_iter()
            .flat_map(|search| search.join().expect("a network panicked"))
            .collect()
    });
    failed.sort();
    let told: String = failed
        .iter()
        .take(10)
        .map(|(seed, broken)| format!("SEED={seed}\n  {}\n", broken.join("\n  ")))
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {seeds} networks broke:\n{told}",
        failed.len()
    );
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
