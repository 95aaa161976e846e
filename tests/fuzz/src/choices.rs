//! Bytes read as decisions: whatever they are, they mean something, and similar ones mean similar things.

/// What is left of the bytes. When nothing is, every choice is the first one.
#[derive(Clone, Copy, Debug)]
pub struct Choices<'d>(&'d [u8]);

impl<'d> Choices<'d> {
    /// Of these.
    #[must_use]
    pub fn new(bytes: &'d [u8]) -> Self {
        Self(bytes)
    }

    /// Is nothing left to decide?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let [first, rest @ ..] = self.0 else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// Less than `end`, which is neither 0 nor above 256.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// True once in `n` times, if bytes were even.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// One of these, of which there is at least one.
    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// Two bytes.
    pub fn number(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// The next `count`, or as many as are left.
    pub fn take(&mut self, count: usize) -> &'d [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// All that is left.
    #[must_use]
    pub fn rest(self) -> &'d [u8] {
        self.0
    }
}
