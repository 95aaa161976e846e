//! Runs a target over its corpus and over mutations of it: so many by default, or for as long as `HOOKSWITCH_FUZZ_SECONDS` says.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::{Chance, mutate};

/// Seconds of a long run; without it a run is the same each time.
pub const SECONDS: &str = "HOOKSWITCH_FUZZ_SECONDS";
/// What one input may cost of a processor, where nothing is optimised: a hundred times what the slowest costs, and far less than
/// what looks at 64 KiB again for each of its bytes.
const INPUT_CPU_MAX: Duration = Duration::from_secs(3);
/// Of a mutated input.
const INPUT_BYTES_MAX: usize = 4_096;

/// The inputs that are kept for `target` in `folder`, with their names, in order.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn corpus(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

/// Feeds `run` with the kept inputs in `folder`, then with `mutations` of them and `dictionary`, or more for as long as [`SECONDS`] says.
///
/// # Panics
/// With `run`; the input is printed.
pub fn drive(folder: &Path, dictionary: &str, mutations: u64, run: impl Fn(&[u8])) {
    let (corpus, words) = (corpus(folder), words(dictionary));
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    for (path, bytes) in &corpus {
        feed(&path.display().to_string(), bytes, &run);
    }
    let until = seconds().map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let goes_on = |seed: u64| match until {
        Some(until) => Instant::now() < until,
        None => seed < mutations,
    };
    let mut seed = 0;
    while goes_on(seed) {
        let mut chance = Chance::new(seed);
        let (_, bytes) = &corpus[chance.below(corpus.len())];
        let (_, other) = &corpus[chance.below(corpus.len())];
        let mut bytes = bytes.clone();
        mutate(&mut chance, &mut bytes, other, &words, INPUT_BYTES_MAX);
        feed(&format!("seed {seed}"), &bytes, &run);
        seed += 1;
    }
    println!("{} kept inputs and {seed} mutations", corpus.len());
}

fn seconds() -> Option<u64> {
    let text = std::env::var(SECONDS).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{SECONDS}={text} is no number")),
    )
}

fn feed(name: &str, bytes: &[u8], run: impl Fn(&[u8])) {
    // Printed only if `run` panics.
    let shown = Shown { name, bytes };
    let before = cpu();
    run(bytes);
    let took = cpu() - before;
    assert!(took < INPUT_CPU_MAX, "took {took:?} of a processor");
    std::mem::forget(shown);
}

fn cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        now.tv_sec.unsigned_abs(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

/// Says which input it was, when it is dropped.
struct Shown<'b> {
    name: &'b str,
    bytes: &'b [u8],
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        eprintln!("{}: b\"{}\"", self.name, self.bytes.escape_ascii());
    }
}

/// The words of a dictionary: `"word"` on each line, with `\xhh`, `\\` and `\"`; `#` begins a comment.
fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let quoted = |line: &str| Some(unescaped(line.trim().strip_prefix('"')?.strip_suffix('"')?));
    dictionary.lines().filter_map(quoted).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'\\', [b'x', digits @ ..]) => {
                let (digits, after) = digits.split_at(2);
                let digits = std::str::from_utf8(digits).unwrap_or_default();
                plain.extend(u8::from_str_radix(digits, 16));
                rest = after;
            }
            (b'\\', [escaped, after @ ..]) => {
                plain.push(*escaped);
                rest = after;
            }
            _ => plain.push(*first),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_read() {
        let text = "# words\n\"a\\x0d\\x0a\"\n\"\\\"\\\\\"\n";
        assert_eq!(words(text), [&b"a\r\n"[..], b"\"\\"]);
        for target in crate::TARGETS {
            assert!(words(target.words).len() > 50, "{}", target.name);
        }
    }
}
