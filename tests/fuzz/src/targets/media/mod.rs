//! What the targets of the media engine share: ends that speak as they should, and what must hold of RTCP.

pub(super) mod browser;
pub(super) mod compound;
pub(super) mod ends;
pub(super) mod room;
pub(super) mod told;

use hookswitch_media::{
    packet::Packet,
    srtp::{Inbound, Outbound, Refused},
    transport::Class,
};

/// As large as the workers' own.
pub(super) const BUFFER_BYTES: usize = 2_048 + 32;

/// A packet of RTP or RTCP under keys.
pub(super) fn sealed(outbound: &mut Outbound, plain: &[u8]) -> Result<Vec<u8>, Refused> {
    with(plain, |packet| match Class::of(plain) {
        Class::Rtcp => outbound.protect_rtcp(packet),
        _ => outbound.protect_rtp(packet),
    })
}

/// What is in a packet under keys.
pub(super) fn opened(inbound: &mut Inbound, bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    with(bytes, |packet| match Class::of(bytes) {
        Class::Rtcp => inbound.unprotect_rtcp(packet),
        _ => inbound.unprotect_rtp(packet),
    })
}

fn with(
    bytes: &[u8],
    work: impl FnOnce(&mut Packet<'_>) -> Result<(), Refused>,
) -> Result<Vec<u8>, Refused> {
    let mut buffer = [0; BUFFER_BYTES];
    let mut packet = put(&mut buffer, bytes);
    work(&mut packet).map(|()| packet.bytes().to_vec())
}

/// These bytes in a buffer, as far as it reaches.
pub(super) fn put<'b>(buffer: &'b mut [u8; BUFFER_BYTES], bytes: &[u8]) -> Packet<'b> {
    let length = bytes.len().min(BUFFER_BYTES - 32);
    buffer[..length].copy_from_slice(&bytes[..length]);
    Packet::new(buffer, length)
}
