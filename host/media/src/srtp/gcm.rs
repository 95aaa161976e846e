//! AES-GCM (RFC 7714).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::{
    RTCP_HEADER_BYTES, RTCP_INDEX_END, Refused,
    kdf::{Label, derive},
};
use crate::{packet::Packet, rtp};

const TAG_BYTES: usize = 16;
const SALT_BYTES: usize = 12;

pub(super) struct Gcm {
    rtp: Session,
    rtcp: Session,
}

impl Gcm {
    /// A key of 16 bytes or of 32.
    pub(super) fn new(key: &[u8], salt: &[u8]) -> Gcm {
        Gcm {
            rtp: Session::new(key, salt, Label::RtpEncryption, Label::RtpSalt),
            rtcp: Session::new(key, salt, Label::RtcpEncryption, Label::RtcpSalt),
        }
    }

    pub(super) fn seal_rtp(
        &self,
        packet: &mut Packet,
        header: &rtp::Header,
        index: u64,
    ) -> Result<(), Refused> {
        let nonce = self.rtp.nonce(header.ssrc, index);
        let split = packet
            .bytes_mut()
            .split_at_mut_checked(header.payload.start);
        let (header, body) = split.ok_or(Refused::Malformed)?;
        let tag = self
            .rtp
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(&*header), body);
        let tag = tag.map_err(|_| Refused::Malformed)?;
        packet.append(tag.as_ref()).ok_or(Refused::NoRoom)
    }

    pub(super) fn open_rtp(
        &self,
        packet: &mut Packet,
        header: &rtp::Header,
        index: u64,
    ) -> Result<(), Refused> {
        let end = packet.len().checked_sub(TAG_BYTES);
        let end = end.ok_or(Refused::Malformed)?;
        let nonce = self.rtp.nonce(header.ssrc, index);
        let split = packet
            .bytes_mut()
            .split_at_mut_checked(header.payload.start);
        let (header, body) = split.ok_or(Refused::Malformed)?;
        self.rtp
            .key
            .open_in_place(nonce, Aad::from(&*header), body)
            .map_err(|_| Refused::Forged)?;
        packet.truncate(end);
        Ok(())
    }

    pub(super) fn seal_rtcp(
        &self,
        packet: &mut Packet,
        ssrc: u32,
        index: u32,
    ) -> Result<(), Refused> {
        let nonce = self.rtcp.nonce(ssrc, u64::from(index));
        let word = (index | RTCP_INDEX_END).to_be_bytes();
        let split = packet.bytes_mut().split_first_chunk_mut();
        let (header, body) = split.ok_or(Refused::Malformed)?;
        let aad = rtcp_aad(header, word);
        let tag = self
            .rtcp
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(&aad), body);
        let tag = tag.map_err(|_| Refused::Malformed)?;
        packet.append(tag.as_ref()).ok_or(Refused::NoRoom)?;
        packet.append(&word).ok_or(Refused::NoRoom)
    }

    pub(super) fn open_rtcp(
        &self,
        packet: &mut Packet,
        ssrc: u32,
        word: u32,
    ) -> Result<(), Refused> {
        let end = packet.len().checked_sub(TAG_BYTES + 4);
        let end = end.ok_or(Refused::Malformed)?;
        let nonce = self.rtcp.nonce(ssrc, u64::from(word & !RTCP_INDEX_END));
        packet.truncate(end + TAG_BYTES);
        let split = packet.bytes_mut().split_first_chunk_mut();
        let (header, body) = split.ok_or(Refused::Malformed)?;
        let aad = rtcp_aad(header, word.to_be_bytes());
        self.rtcp
            .key
            .open_in_place(nonce, Aad::from(&aad), body)
            .map_err(|_| Refused::Forged)?;
        packet.truncate(end);
        Ok(())
    }
}

/// §9.2: the header that stays in the clear, and the word of the index, which lies behind the tag.
fn rtcp_aad(header: &[u8; RTCP_HEADER_BYTES], word: [u8; 4]) -> [u8; RTCP_HEADER_BYTES + 4] {
    let mut aad = [0; RTCP_HEADER_BYTES + 4];
    let (front, back) = aad.split_at_mut(RTCP_HEADER_BYTES);
    front.copy_from_slice(header);
    back.copy_from_slice(&word);
    aad
}

/// The key and salt for RTP, or those for RTCP.
struct Session {
    key: LessSafeKey,
    /// Of 12 bytes, the last ones.
    salt: u128,
}

impl Session {
    fn new(key: &[u8], salt: &[u8], encryption: Label, salting: Label) -> Session {
        let (mut session, mut salts) = ([0; 32], [0; SALT_BYTES]);
        let session = &mut session[..key.len()];
        derive(key, salt, encryption, session);
        derive(key, salt, salting, &mut salts);
        Session::with(session, &salts)
    }

    /// A session key of 16 bytes or of 32.
    fn with(key: &[u8], salt: &[u8; SALT_BYTES]) -> Session {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            _ => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).expect("it has the algorithm's length");
        let mut salts = [0; 16];
        salts[16 - SALT_BYTES..].copy_from_slice(salt);
        Session {
            key: LessSafeKey::new(key),
            salt: u128::from_be_bytes(salts),
        }
    }

    /// §8.1 and §9.1 at once: SSRC and index, of 48 bits or of 31, against the salt.
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let iv = self.salt ^ u128::from(ssrc) << 48 ^ u128::from(index);
        let [_, _, _, _, nonce @ ..] = iv.to_be_bytes();
        Nonce::assume_unique_for_key(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, packet};

    const SALT: &[u8; SALT_BYTES] = b"Quid pro quo";
    const RTP: &str = "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
    const RTCP: &str = "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

    /// RFC 7714 §16 and §17 give the session keys, 00 01 02 ….
    fn session(key_bytes: u8) -> Gcm {
        let key: Vec<u8> = (0..key_bytes).collect();
        let [rtp, rtcp] = [(); 2].map(|()| Session::with(&key, SALT));
        Gcm { rtp, rtcp }
    }

    fn check_rtp(key_bytes: u8, sealed: &str) {
        let (gcm, mut buffer) = (session(key_bytes), [0; 200]);
        let mut packet = packet(&mut buffer, &hex(RTP));
        let header = rtp::Header::parse(packet.bytes()).unwrap();
        gcm.seal_rtp(&mut packet, &header, 0xf17b).unwrap();
        assert_eq!(packet.bytes(), hex(sealed));
        gcm.open_rtp(&mut packet, &header, 0xf17b).unwrap();
        assert_eq!(packet.bytes(), hex(RTP));
    }

    fn check_rtcp(key_bytes: u8, sealed: &str) {
        let (gcm, mut buffer) = (session(key_bytes), [0; 200]);
        let mut packet = packet(&mut buffer, &hex(RTCP));
        gcm.seal_rtcp(&mut packet, 0x4d61_7273, 0x5d4).unwrap();
        assert_eq!(packet.bytes(), hex(sealed));
        gcm.open_rtcp(&mut packet, 0x4d61_7273, 0x8000_05d4)
            .unwrap();
        assert_eq!(packet.bytes(), hex(RTCP));
    }

    #[test]
    fn seals_and_opens_rtp_as_rfc_7714_16() {
        check_rtp(
            16,
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        );
        check_rtp(
            32,
            "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b7aa3db36dfffd6b0f9bb7878d7a76c13",
        );
    }

    #[test]
    fn seals_and_opens_rtcp_as_rfc_7714_17() {
        check_rtcp(
            16,
            "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        );
        check_rtcp(
            32,
            "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
        );
    }
}
