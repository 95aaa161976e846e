//! Other bytes from known ones, the same ones for the same seed.

/// Numbers that look random (SplitMix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// A sequence that its seed decides.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Less than `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Mutations of one input at most.
const MUTATIONS_MAX: usize = 6;
/// A run of bytes that is moved as one.
const RUN_BYTES_MAX: usize = 64;

/// `bytes` with a few changes: bits, bytes, words of the grammar, runs moved, removed, said twice, or taken from `other`.
pub fn mutate(
    chance: &mut Chance,
    bytes: &mut Vec<u8>,
    other: &[u8],
    words: &[&[u8]],
    bytes_max: usize,
) {
    for _ in 0..=chance.below(MUTATIONS_MAX) {
        let at = chance.below(bytes.len() + 1);
        match chance.below(8) {
            0 => insert(bytes, at, &[chance.below(256) as u8]),
            1 | 2 => insert(bytes, at, words[chance.below(words.len())]),
            3 => {
                let run = run(chance, bytes);
                insert(bytes, at, &run);
            }
            4 => {
                let run = run(chance, other);
                insert(bytes, at, &run);
            }
            5 => {
                let end = (at + chance.below(RUN_BYTES_MAX)).min(bytes.len());
                drop(bytes.drain(at..end));
            }
            6 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
            _ => {
                let word = words[chance.below(words.len())];
                let end = (at + word.len()).min(bytes.len());
                drop(bytes.splice(at..end, word.iter().copied()));
            }
        }
    }
    bytes.truncate(bytes_max);
}

fn insert(bytes: &mut Vec<u8>, at: usize, what: &[u8]) {
    drop(bytes.splice(at..at, what.iter().copied()));
}

fn run(chance: &mut Chance, from: &[u8]) -> Vec<u8> {
    let at = chance.below(from.len() + 1);
    let end = (at + 1 + chance.below(RUN_BYTES_MAX)).min(from.len());
    from.get(at..end).unwrap_or_default().to_vec()
}
