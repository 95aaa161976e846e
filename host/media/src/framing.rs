//! Packets on a connection, each with its length before it (RFC 4571), as ICE over TCP has them (RFC 6544 §3). Without sockets.

/// A longer one is none of ICE, DTLS, RTP or RTCP that we take.
pub const FRAME_BYTES_MAX: usize = 2_000;
const LENGTH_BYTES: usize = 2;

/// A peer announced a longer frame: what follows cannot be told apart any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes")]
pub struct TooLong(pub usize);

/// What came of a connection and is no whole frame yet: as much as was pushed at once, and a frame.
#[derive(Debug, Default)]
pub struct Deframer(Vec<u8>);

impl Deframer {
    /// More of it. [`Deframer::frame`] is to be called until there is none before the next.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next packet, if it is there. Empty ones say nothing and are passed over.
    ///
    /// # Errors
    /// [`TooLong`]
    pub fn frame(&mut self) -> Result<Option<Vec<u8>>, TooLong> {
        while let Some((head, rest)) = self.0.split_first_chunk::<LENGTH_BYTES>() {
            let len = usize::from(u16::from_be_bytes(*head));
            if len > FRAME_BYTES_MAX {
                return Err(TooLong(len));
            }
            let Some(packet) = rest.get(..len).map(<[u8]>::to_vec) else {
                return Ok(None);
            };
            self.0.drain(..LENGTH_BYTES + len);
            if !packet.is_empty() {
                return Ok(Some(packet));
            }
        }
        Ok(None)
    }
}

/// A packet with its length before it; `None` where it has too many bytes for that.
#[must_use]
pub fn frame(packet: &[u8]) -> Option<Vec<u8>> {
    let len = u16::try_from(packet.len()).ok()?;
    let mut frame = Vec::with_capacity(LENGTH_BYTES + packet.len());
    frame.extend(len.to_be_bytes());
    frame.extend_from_slice(packet);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_as_they_went_in_however_they_are_cut() {
        let packets = [
            b"one".to_vec(),
            vec![],
            vec![7; FRAME_BYTES_MAX],
            b"three".to_vec(),
        ];
        let stream: Vec<u8> = packets
            .iter()
            .flat_map(|packet| frame(packet).unwrap())
            .collect();
        for cut in [1, 2, 3, 5, 999, stream.len()] {
            let (mut deframer, mut came) = (Deframer::default(), Vec::new());
            for bytes in stream.chunks(cut) {
                deframer.push(bytes);
                while let Some(packet) = deframer.frame().unwrap() {
                    came.push(packet);
                }
                assert!(deframer.0.len() < LENGTH_BYTES + FRAME_BYTES_MAX);
            }
            let said = packets.iter().filter(|packet| !packet.is_empty());
            assert!(came.iter().eq(said), "cut {cut}");
            assert!(deframer.0.is_empty());
        }
    }

    #[test]
    fn a_frame_that_is_too_long_ends_it() {
        let mut deframer = Deframer::default();
        deframer.push(b"GET / HTTP/1.1");
        assert_eq!(deframer.frame(), Err(TooLong(0x4745)));
        assert_eq!(frame(&vec![0; 65_536]), None);
    }
}
