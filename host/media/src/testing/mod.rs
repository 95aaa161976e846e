//! What the tests of several modules need: bytes by their digits, and a browser.

mod browser;

pub(crate) use browser::{Browser, dtls_config};

use crate::packet::Packet;

/// Bytes by their hexadecimal digits.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).unwrap();
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).unwrap())
        .collect()
}

/// These bytes, in a buffer that they fit into.
pub(crate) fn packet<'b>(buffer: &'b mut [u8], bytes: &[u8]) -> Packet<'b> {
    buffer[..bytes.len()].copy_from_slice(bytes);
    Packet::new(buffer, bytes.len())
}
