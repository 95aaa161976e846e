//! What a server makes of a browser's frames, by RFC 6455 alone.

use bytes::Bytes;

use super::MESSAGE_BYTES_MAX;

/// Data that cannot be read (RFC 6455 §7.4.1).
const PROTOCOL: u16 = 1_002;
const INVALID: u16 = 1_007;
const SIZE: u16 = 1_009;
const CONTROL_BYTES_MAX: usize = 125;

/// What policies read of an upgrade, by its names.
pub(super) type Upgrade = [(&'static str, Option<String>); 4];

/// What must come of a connection.
pub(super) struct Expected {
    /// `None`: it is refused.
    pub(super) upgrade: Option<Upgrade>,
    /// Of the messages, in order.
    pub(super) payloads: Vec<Bytes>,
    pub(super) pings: Vec<Vec<u8>>,
    pub(super) end: End,
}

/// Why it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer has nothing more to say.
    HungUp,
    /// The peer said so.
    Closed,
    /// By us, with this code.
    Failed(u16),
}

/// One frame, and how it lies.
pub(super) struct Frame {
    pub(super) is_final: bool,
    pub(super) reserved_bits: u8,
    pub(super) opcode: u8,
    pub(super) mask: Option<[u8; 4]>,
    /// As its header says; not all of it needs to be there.
    pub(super) length: u64,
    pub(super) payload: Vec<u8>,
}

/// Reads frames, one after the other.
#[derive(Default)]
pub(super) struct Model {
    /// A message of which there is more to come, and whether it is text.
    begun: Option<(Vec<u8>, bool)>,
    pub(super) payloads: Vec<Bytes>,
    pub(super) pings: Vec<Vec<u8>>,
}

impl Model {
    /// Whether it is the last one that is read, and why.
    pub(super) fn read(&mut self, frame: &Frame) -> Option<End> {
        let is_control = frame.opcode & 8 != 0;
        if !matches!(frame.opcode, 0..=2 | 8..=10) {
            return Some(End::Failed(PROTOCOL));
        }
        if frame.length > MESSAGE_BYTES_MAX as u64 {
            return Some(End::Failed(SIZE));
        }
        if (frame.payload.len() as u64) < frame.length {
            return Some(End::HungUp);
        }
        if frame.mask.is_none() || frame.reserved_bits != 0 {
            return Some(End::Failed(PROTOCOL));
        }
        let is_short = frame.payload.len() <= CONTROL_BYTES_MAX;
        match frame.opcode {
            _ if is_control && !(frame.is_final && is_short) => Some(End::Failed(PROTOCOL)),
            8 => Some(close(&frame.payload)),
            9 => {
                self.pings.push(frame.payload.clone());
                None
            }
            10 => None,
            _ => self.data(frame).err().map(End::Failed),
        }
    }

    fn data(&mut self, frame: &Frame) -> Result<(), u16> {
        let (mut message, is_text) = match (self.begun.take(), frame.opcode) {
            (Some(begun), 0) => begun,
            (None, opcode) if opcode != 0 => (Vec::new(), opcode == 1),
            (_, _) => return Err(PROTOCOL),
        };
        message.extend(&frame.payload);
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(SIZE);
        }
        if is_text && !is_utf8_so_far(&message, frame.is_final) {
            return Err(INVALID);
        }
        match frame.is_final {
            true => self.payloads.push(message.into()),
            false => self.begun = Some((message, is_text)),
        }
        Ok(())
    }
}

fn is_utf8_so_far(text: &[u8], is_whole: bool) -> bool {
    let fault = std::str::from_utf8(text).err();
    fault.is_none_or(|fault| fault.error_len().is_none() && !is_whole)
}

fn close(payload: &[u8]) -> End {
    match payload {
        [_] => End::Failed(PROTOCOL),
        [_, _, reason @ ..] if std::str::from_utf8(reason).is_err() => End::Failed(INVALID),
        _ => End::Closed,
    }
}
