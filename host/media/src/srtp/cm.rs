//! AES in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1).

use aes::{
    Aes128Enc,
    cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper},
};
use ctr::{CtrCore, flavors::Ctr128BE};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::{
    RTCP_HEADER_BYTES, RTCP_INDEX_END, Refused,
    kdf::{Label, derive},
};
use crate::{packet::Packet, rtp};

/// SRTCP has the long tag in every profile (RFC 4568 §6.2).
pub(super) const RTCP_TAG_BYTES: usize = 10;

pub(super) struct Cm {
    rtp: Session,
    rtcp: Session,
    tag_bytes: usize,
}

impl Cm {
    /// `tag_bytes`: of RTP.
    pub(super) fn new(key: &[u8], salt: &[u8], tag_bytes: usize) -> Cm {
        let session = |labels: [Label; 3]| {
            let [encryption, authentication, salting] = labels;
            let (mut cipher, mut mac, mut salts) = ([0; 16], [0; 20], [0; 16]);
            derive(key, salt, encryption, &mut cipher);
            derive(key, salt, authentication, &mut mac);
            derive(key, salt, salting, &mut salts[..14]);
            Session {
                aes: Aes128Enc::new(&cipher.into()),
                mac: Hmac::new_from_slice(&mac).expect("HMAC takes keys of any length"),
                salt: u128::from_be_bytes(salts),
            }
        };
        Cm {
            rtp: session([
                Label::RtpEncryption,
                Label::RtpAuthentication,
                Label::RtpSalt,
            ]),
            rtcp: session([
                Label::RtcpEncryption,
                Label::RtcpAuthentication,
                Label::RtcpSalt,
            ]),
            tag_bytes,
        }
    }

    pub(super) fn seal_rtp(
        &self,
        packet: &mut Packet,
        header: &rtp::Header,
        index: u64,
    ) -> Result<(), Refused> {
        let body = packet.bytes_mut().get_mut(header.payload.start..);
        let body = body.ok_or(Refused::Malformed)?;
        self.rtp.apply_key_stream(header.ssrc, index, body);
        let mac = self.rtp.mac(packet.bytes(), rollovers(index));
        let tag = mac.finalize().into_bytes();
        packet.append(&tag[..self.tag_bytes]).ok_or(Refused::NoRoom)
    }

    pub(super) fn open_rtp(
        &self,
        packet: &mut Packet,
        header: &rtp::Header,
        index: u64,
    ) -> Result<(), Refused> {
        let end = packet.len().checked_sub(self.tag_bytes);
        let end = end.ok_or(Refused::Malformed)?;
        let (sealed, tag) = packet.bytes().split_at(end);
        let mac = self.rtp.mac(sealed, rollovers(index));
        mac.verify_truncated_left(tag)
            .map_err(|_| Refused::Forged)?;
        packet.truncate(end);
        let body = packet.bytes_mut().get_mut(header.payload.start..);
        self.rtp
            .apply_key_stream(header.ssrc, index, body.ok_or(Refused::Malformed)?);
        Ok(())
    }

    pub(super) fn seal_rtcp(
        &self,
        packet: &mut Packet,
        ssrc: u32,
        index: u32,
    ) -> Result<(), Refused> {
        let body = packet.bytes_mut().get_mut(RTCP_HEADER_BYTES..);
        self.rtcp
            .apply_key_stream(ssrc, u64::from(index), body.ok_or(Refused::Malformed)?);
        let word = (index | RTCP_INDEX_END).to_be_bytes();
        let mac = self.rtcp.mac(packet.bytes(), word);
        let tag = mac.finalize().into_bytes();
        packet.append(&word).ok_or(Refused::NoRoom)?;
        packet.append(&tag[..RTCP_TAG_BYTES]).ok_or(Refused::NoRoom)
    }

    pub(super) fn open_rtcp(
        &self,
        packet: &mut Packet,
        ssrc: u32,
        word: u32,
    ) -> Result<(), Refused> {
        let end = packet.len().checked_sub(RTCP_TAG_BYTES + 4);
        let end = end
            .filter(|end| *end >= RTCP_HEADER_BYTES)
            .ok_or(Refused::Malformed)?;
        let (sealed, rest) = packet.bytes().split_at(end);
        let (word_bytes, tag) = rest.split_at(4);
        let mut mac = self.rtcp.mac.clone();
        mac.update(sealed);
        mac.update(word_bytes);
        mac.verify_truncated_left(tag)
            .map_err(|_| Refused::Forged)?;
        packet.truncate(end);
        let body = packet.bytes_mut().get_mut(RTCP_HEADER_BYTES..);
        let index = u64::from(word & !RTCP_INDEX_END);
        self.rtcp
            .apply_key_stream(ssrc, index, body.ok_or(Refused::Malformed)?);
        Ok(())
    }
}

/// The keys for RTP, or those for RTCP.
struct Session {
    aes: Aes128Enc,
    mac: Hmac<Sha1>,
    /// Of 14 bytes, and two of zero behind them where blocks are counted.
    salt: u128,
}

impl Session {
    /// §4.1.1.
    fn apply_key_stream(&self, ssrc: u32, index: u64, body: &mut [u8]) {
        let iv = self.salt ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16;
        let core: CtrCore<&Aes128Enc, Ctr128BE> =
            CtrCore::inner_iv_init(&self.aes, &iv.to_be_bytes().into());
        StreamCipherCoreWrapper::from_core(core).apply_keystream(body);
    }

    /// §4.2: over the packet and what follows it, the rollover counter or the index of RTCP.
    fn mac(&self, packet: &[u8], behind: [u8; 4]) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        mac.update(packet);
        mac.update(&behind);
        mac
    }
}

fn rollovers(index: u64) -> [u8; 4] {
    // An index has 48 bits; the counter wraps with it.
    #[allow(clippy::cast_possible_truncation)]
    let counter = (index >> 16) as u32;
    counter.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    /// RFC 3711 appendix B.2.
    #[test]
    fn counts_as_rfc_3711_b2() {
        let mut salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000");
        salt.truncate(16);
        let key: [u8; 16] = hex("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap();
        let session = Session {
            aes: Aes128Enc::new(&key.into()),
            mac: Hmac::new_from_slice(b"").unwrap(),
            salt: u128::from_be_bytes(salt.try_into().unwrap()),
        };
        let mut stream = [0; 48];
        session.apply_key_stream(0, 0, &mut stream);
        let expected = "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(stream[..], hex(expected));
    }
}
