//! What a datagram is, by its first bytes: several protocols share a port (RFC 7983, RFC 5761 §4).

/// A protocol that shares a port with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// ICE.
    Stun,
    /// Keys.
    Dtls,
    /// Media.
    Rtp,
    /// What is said of media.
    Rtcp,
    /// None that we know: ZRTP, TURN channels, noise.
    Other,
}

impl Class {
    /// By its first two bytes.
    #[must_use]
    pub fn of(datagram: &[u8]) -> Class {
        match datagram {
            [0..=3, ..] => Class::Stun,
            [20..=63, ..] => Class::Dtls,
            // Payload types 64 to 95 with a marker are kept free for it.
            [128..=191, 192..=223, ..] => Class::Rtcp,
            [128..=191, _, ..] => Class::Rtp,
            _ => Class::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_protocols_apart() {
        for (bytes, class) in [
            (&[0, 1][..], Class::Stun),
            (&[22, 254], Class::Dtls),
            (&[0x80, 0], Class::Rtp),
            (&[0x90, 0x80 | 111], Class::Rtp),
            (&[0x80, 200], Class::Rtcp),
            (&[0x81, 206], Class::Rtcp),
            (&[64], Class::Other),
            (&[16, 0], Class::Other),
            (&[0xff, 200], Class::Other),
            (&[128], Class::Other),
            (&[], Class::Other),
        ] {
            assert_eq!(Class::of(bytes), class, "{bytes:?}");
        }
    }
}
