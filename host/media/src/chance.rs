//! Everything random of one engine, from its seed: credentials and keys that nobody can guess, and a run that replays.

use sha2::{Digest, Sha256};

/// Draws by hashing; each draw also replaces the seed, so that what was drawn cannot be found out from it later.
#[derive(Debug)]
pub(crate) struct Chance {
    seed: [u8; 32],
}

impl Chance {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed }
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let drawn = self.hash(b"drawn");
        self.seed = self.hash(b"seed");
        drawn
    }

    pub(crate) fn number(&mut self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    fn hash(&self, label: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(label)
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn a_seed_replays_and_no_draw_comes_twice() {
        let draw = || {
            let mut chance = Chance::new([7; 32]);
            [chance.bytes(), chance.bytes(), chance.bytes()]
        };
        let [first, second, third] = draw();
        assert_eq!(draw(), [first, second, third]);
        assert!(first != second && second != third && first != third);
    }
}
