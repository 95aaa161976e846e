//! One datagram in a buffer with room behind it: authentication tags are appended and header extensions come off its front, in place.
//!
//! Never allocates and never grows: what does not fit is refused.

/// Room that a buffer should have behind a datagram: the longest authentication tag and the SRTCP index.
pub const PACKET_TAIL_BYTES: usize = 32;

/// A datagram, and the buffer that it lies in.
#[derive(Debug)]
pub struct Packet<'b> {
    buffer: &'b mut [u8],
    start: usize,
    end: usize,
}

impl<'b> Packet<'b> {
    /// The first `len` bytes of `buffer`, or all of it if it is shorter. What lies behind them is room to grow into.
    pub fn new(buffer: &'b mut [u8], len: usize) -> Packet<'b> {
        let end = len.min(buffer.len());
        Packet {
            buffer,
            start: 0,
            end,
        }
    }

    /// The datagram as it is now.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// As [`Packet::bytes`].
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer
            .get_mut(self.start..self.end)
            .unwrap_or_default()
    }

    /// How long it is now, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is left of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Keeps the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }

    /// Drops the first `count` bytes.
    pub fn trim_front(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Makes it longer by these bytes; `None`, and nothing changed, where the buffer ends before.
    #[must_use]
    pub fn append(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.end + bytes.len();
        self.buffer.get_mut(self.end..end)?.copy_from_slice(bytes);
        self.end = end;
        Some(())
    }

    /// Replaces it by these bytes, as far as the buffer reaches; `None`, and nothing changed, where it is too short.
    #[must_use]
    pub fn replace(&mut self, bytes: &[u8]) -> Option<()> {
        self.buffer.get_mut(..bytes.len())?.copy_from_slice(bytes);
        (self.start, self.end) = (0, bytes.len());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_shrinks_within_its_buffer() {
        let mut buffer = *b"abcdef..";
        let mut packet = Packet::new(&mut buffer, 6);
        packet.trim_front(2);
        packet.truncate(3);
        assert_eq!(packet.bytes(), b"cde");
        packet.append(b"XYZ").unwrap();
        assert_eq!(packet.bytes(), b"cdeXYZ");
        assert_eq!(packet.append(b"1"), None);
        assert_eq!(packet.bytes(), b"cdeXYZ");
        packet.replace(b"12345678").unwrap();
        assert_eq!(packet.replace(b"123456789"), None);
        assert_eq!(packet.bytes(), b"12345678");
        packet.trim_front(99);
        assert!(packet.is_empty());
    }
}
