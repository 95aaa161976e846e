//! RTP headers (RFC 3550 §5.1) and their extensions (RFC 8285), read and written in place.

use std::ops::Range;

/// What no RTP packet is shorter than.
const FIXED_BYTES: usize = 12;

/// The fixed header, and where the payload lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// 0 to 127.
    pub payload_type: u8,
    /// Of a talkspurt's first packet, or a frame's last.
    pub marker: bool,
    /// Counts packets, modulo 2^16.
    pub sequence: u16,
    /// In units of the payload's clock.
    pub timestamp: u32,
    /// Of the source.
    pub ssrc: u32,
    /// Behind CSRCs and extension, padding included.
    pub payload: Range<usize>,
}

impl Header {
    /// `None` for what is no RTP: too short, another version, or lengths beyond its end.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Header> {
        let payload = payload_start(packet)?..packet.len();
        let fixed: &[u8; FIXED_BYTES] = packet.first_chunk()?;
        let [_, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *fixed;
        Some(Header {
            payload_type: second & 0x7f,
            marker: second & 0x80 != 0,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
            payload,
        })
    }

    /// Writes what the fixed header holds back into the packet that it was parsed from; CSRCs, extension and payload stay.
    pub fn write(&self, packet: &mut [u8]) {
        let Some(fixed) = packet.first_chunk_mut::<FIXED_BYTES>() else {
            return;
        };
        let (first, rest) = fixed.split_at_mut(2);
        if let [_, second] = first {
            *second = self.payload_type & 0x7f | u8::from(self.marker) << 7;
        }
        let (sequence, rest) = rest.split_at_mut(2);
        let (timestamp, ssrc) = rest.split_at_mut(4);
        sequence.copy_from_slice(&self.sequence.to_be_bytes());
        timestamp.copy_from_slice(&self.timestamp.to_be_bytes());
        ssrc.copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// Where the payload begins: behind CSRCs and extension, all of which SRTP leaves in the clear.
#[must_use]
pub fn payload_start(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    if first >> 6 != 2 {
        return None;
    }
    let mut start = csrc_end(first);
    if has_extension(first) {
        let [_, _, high, low] = *packet.get(start..)?.first_chunk()?;
        start += 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
    }
    (start <= packet.len() && packet.len() >= FIXED_BYTES).then_some(start)
}

/// Where a payload lies without the padding behind it, whose last byte counts it (RFC 3550 §5.1).
pub(crate) fn without_padding(packet: &[u8], payload: Range<usize>) -> Range<usize> {
    let padding = match (packet.first(), packet.last()) {
        (Some(first), Some(last)) if first & 0x20 != 0 => usize::from(*last),
        _ => 0,
    };
    payload.start..payload.end.saturating_sub(padding).max(payload.start)
}

/// Where CSRCs end, and the extension begins if there is one.
pub(crate) fn csrc_end(first: u8) -> usize {
    FIXED_BYTES + 4 * usize::from(first & 0x0f)
}

/// The X bit.
pub(crate) fn has_extension(first: u8) -> bool {
    first & 0x10 != 0
}

/// The header extension with this id (RFC 8285), of the one-byte or the two-byte form.
#[must_use]
pub fn extension(packet: &[u8], id: u8) -> Option<&[u8]> {
    let first = *packet.first()?;
    let end = payload_start(packet)?;
    if !has_extension(first) {
        return None;
    }
    let (profile, rest) = packet.get(csrc_end(first)..end)?.split_first_chunk::<4>()?;
    let [high, low, ..] = *profile;
    match u16::from_be_bytes([high, low]) {
        0xbede => one_byte(rest, id),
        profile if profile >> 4 == 0x100 => two_byte(rest, id),
        _ => None,
    }
}

/// §4.2: id 0 is padding, id 15 ends the list.
fn one_byte(mut elements: &[u8], id: u8) -> Option<&[u8]> {
    while let [head, rest @ ..] = elements {
        let len = match head >> 4 {
            0 => 0,
            15 => return None,
            _ => usize::from(head & 0x0f) + 1,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        if head >> 4 == id && id != 0 {
            return Some(value);
        }
        elements = rest;
    }
    None
}

/// §4.3: id 0 is padding, without a length.
fn two_byte(mut elements: &[u8], id: u8) -> Option<&[u8]> {
    while let [head, rest @ ..] = elements {
        if *head == 0 {
            elements = rest;
            continue;
        }
        let (len, rest) = rest.split_first()?;
        let (value, rest) = rest.split_at_checked(usize::from(*len))?;
        if *head == id {
            return Some(value);
        }
        elements = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V=2, X, one CSRC, an extension of two words: MID (id 3) "a0", padding, id 5 of one byte.
    const PACKET: &[u8] = &[
        0x91, 0xef, 0x12, 0x34, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9, 0xbe, 0xde, 0, 2, 0x31, b'a',
        b'0', 0, 0x50, 0xff, 0, 0, b'p', b'q',
    ];

    #[test]
    fn reads_what_it_writes() {
        let mut header = Header::parse(PACKET).unwrap();
        assert_eq!(
            header,
            Header {
                payload_type: 0x6f,
                marker: true,
                sequence: 0x1234,
                timestamp: 0x0102_0304,
                ssrc: 0x0506_0708,
                payload: 28..30,
            }
        );
        (header.marker, header.payload_type, header.sequence) = (false, 8, 7);
        let mut packet = PACKET.to_vec();
        header.write(&mut packet);
        assert_eq!(Header::parse(&packet).unwrap(), header);
        assert_eq!(packet[12..], PACKET[12..]);
    }

    #[test]
    fn padding_is_no_payload() {
        let mut packet = PACKET.to_vec();
        assert_eq!(without_padding(&packet, 28..30), 28..30);
        packet[0] |= 0x20;
        for (count, payload) in [(1, 28..29), (2, 28..28), (255, 28..28)] {
            packet[29] = count;
            assert_eq!(without_padding(&packet, 28..30), payload);
        }
    }

    #[test]
    fn finds_extensions_of_both_forms() {
        assert_eq!(extension(PACKET, 3), Some(&b"a0"[..]));
        assert_eq!(extension(PACKET, 5), Some(&[0xff][..]));
        assert_eq!(extension(PACKET, 4), None);
        let mut packet = PACKET.to_vec();
        packet[16..28].copy_from_slice(&[0x10, 0, 0, 2, 0, 3, 2, b'a', b'0', 5, 0, 0]);
        assert_eq!(extension(&packet, 3), Some(&b"a0"[..]));
        assert_eq!(extension(&packet, 5), Some(&b""[..]));
    }

    #[test]
    fn refuses_lengths_beyond_the_end() {
        for len in 0..28 {
            assert_eq!(Header::parse(&PACKET[..len]), None, "{len}");
        }
        let mut stun = PACKET.to_vec();
        stun[0] = 0;
        assert_eq!(Header::parse(&stun), None);
    }
}
