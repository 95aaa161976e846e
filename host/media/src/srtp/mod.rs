//! SRTP and SRTCP (RFC 3711), with AES-CM and HMAC-SHA1 and with AES-GCM (RFC 7714): packets are protected and unprotected in place.
//!
//! Never allocates for a packet but where a new source speaks, never believes an unauthenticated byte, and never uses an index twice
//! with one key. Nothing here rolls the key over: who negotiates a new one makes new contexts.

mod cm;
mod gcm;
mod kdf;
mod source;
#[cfg(test)]
mod tests;

use crate::{packet::Packet, rtp};
use source::{Source, Sources};

/// How packets are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// RFC 3711, RFC 5764: what every end speaks.
    AesCm128HmacSha1_80,
    /// The same with tags of 4 bytes on RTP (RFC 4568).
    AesCm128HmacSha1_32,
    /// RFC 7714.
    AeadAes128Gcm,
    /// RFC 7714.
    AeadAes256Gcm,
}

impl Profile {
    /// All, by their names in `a=crypto` (RFC 4568, RFC 7714).
    const SDES: [(Profile, &'static str); 4] = [
        (Profile::AesCm128HmacSha1_80, "AES_CM_128_HMAC_SHA1_80"),
        (Profile::AesCm128HmacSha1_32, "AES_CM_128_HMAC_SHA1_32"),
        (Profile::AeadAes128Gcm, "AEAD_AES_128_GCM"),
        (Profile::AeadAes256Gcm, "AEAD_AES_256_GCM"),
    ];

    /// By its name in `a=crypto`.
    #[must_use]
    pub fn from_sdes(name: &str) -> Option<Profile> {
        let mut all = Profile::SDES.into_iter();
        all.find(|(_, known)| known.eq_ignore_ascii_case(name))
            .map(|(profile, _)| profile)
    }

    /// Its name in `a=crypto`.
    #[must_use]
    pub fn sdes(self) -> &'static str {
        let mut all = Profile::SDES.into_iter();
        all.find(|(profile, _)| *profile == self)
            .map_or("", |(_, name)| name)
    }

    /// Of the master key.
    #[must_use]
    pub fn key_bytes(self) -> usize {
        match self {
            Profile::AesCm128HmacSha1_80
            | Profile::AesCm128HmacSha1_32
            | Profile::AeadAes128Gcm => 16,
            Profile::AeadAes256Gcm => 32,
        }
    }

    /// Of the master salt.
    #[must_use]
    pub fn salt_bytes(self) -> usize {
        match self {
            Profile::AesCm128HmacSha1_80 | Profile::AesCm128HmacSha1_32 => 14,
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => 12,
        }
    }
}

/// A master key and its salt, for one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    profile: Profile,
    bytes: Vec<u8>,
}

impl Keys {
    /// The key and behind it the salt, as `inline:` carries them (RFC 4568 §6.1); `None` where the length is another.
    #[must_use]
    pub fn new(profile: Profile, key_and_salt: &[u8]) -> Option<Keys> {
        (key_and_salt.len() == profile.key_bytes() + profile.salt_bytes()).then(|| Keys {
            profile,
            bytes: key_and_salt.to_vec(),
        })
    }

    /// The client's and the server's, from what DTLS exported (RFC 5764 §4.2): both keys, then both salts.
    #[must_use]
    pub fn from_dtls(profile: Profile, exported: &[u8]) -> Option<[Keys; 2]> {
        let (key, salt) = (profile.key_bytes(), profile.salt_bytes());
        let (client_key, rest) = exported.split_at_checked(key)?;
        let (server_key, rest) = rest.split_at_checked(key)?;
        let (client_salt, server_salt) = rest.split_at_checked(salt)?;
        Some([
            Keys::new(profile, &[client_key, client_salt].concat())?,
            Keys::new(profile, &[server_key, server_salt].concat())?,
        ])
    }

    /// How they protect.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// The key and behind it the salt.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn split(&self) -> (&[u8], &[u8]) {
        self.bytes.split_at(self.profile.key_bytes())
    }
}

/// Keys are not for logs.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.profile.sdes())
    }
}

/// Of the two directions of media with one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// Of what we send.
    pub outbound: Keys,
    /// Of what we get.
    pub inbound: Keys,
}

/// Why a packet was neither sent nor believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no RTP or RTCP, or too short for its tag.
    #[error("malformed")]
    Malformed,
    /// Its tag does not fit its bytes, or the key.
    #[error("not authentic")]
    Forged,
    /// Its index was used before, or is too old to know.
    #[error("replayed")]
    Replayed,
    /// Its buffer has no room for the tag.
    #[error("no room for the tag")]
    NoRoom,
    /// As many packets as a key may protect were (RFC 3711 §9.2).
    #[error("the key is used up")]
    UsedUp,
}

/// Below it, the index of an SRTCP packet; the bit above says that it is encrypted.
const RTCP_INDEX_END: u32 = 1 << 31;
/// What no RTCP packet is shorter than: the header and its sender's SSRC.
const RTCP_HEADER_BYTES: usize = 8;

/// The way out.
pub struct Outbound {
    cipher: Cipher,
    sources: Sources,
    rtcp_index: u32,
}

impl Outbound {
    /// With the keys that we announced.
    #[must_use]
    pub fn new(keys: &Keys) -> Outbound {
        Outbound {
            cipher: Cipher::new(keys),
            sources: Sources::default(),
            rtcp_index: 0,
        }
    }

    /// Encrypts an RTP packet and appends its tag. A sequence number that its source has used is refused: the same key stream over
    /// another payload would tell both, and with GCM the key of the tags.
    pub fn protect_rtp(&mut self, packet: &mut Packet) -> Result<(), Refused> {
        let header = rtp::Header::parse(packet.bytes()).ok_or(Refused::Malformed)?;
        let source = self.sources.get_or_insert(header.ssrc);
        let index = source.index_of(header.sequence);
        if !source.is_new(index) {
            return Err(Refused::Replayed);
        }
        self.cipher.seal_rtp(packet, &header, index)?;
        source.used(index);
        Ok(())
    }

    /// Encrypts a compound RTCP packet and appends tag and index.
    pub fn protect_rtcp(&mut self, packet: &mut Packet) -> Result<(), Refused> {
        let ssrc = rtcp_ssrc(packet.bytes())?;
        if self.rtcp_index == RTCP_INDEX_END {
            return Err(Refused::UsedUp);
        }
        self.cipher.seal_rtcp(packet, ssrc, self.rtcp_index)?;
        self.rtcp_index += 1;
        Ok(())
    }
}

/// The way in.
pub struct Inbound {
    cipher: Cipher,
    rtp: Sources,
    rtcp: Sources,
    /// Whether the last RTP packet was refused.
    doubtful: bool,
}

impl Inbound {
    /// With the keys that the other end announced.
    #[must_use]
    pub fn new(keys: &Keys) -> Inbound {
        Inbound {
            cipher: Cipher::new(keys),
            rtp: Sources::default(),
            rtcp: Sources::default(),
            doubtful: false,
        }
    }

    /// Checks the tag, removes it and decrypts. Where that fails, what is left in the packet is of no use.
    pub fn unprotect_rtp(&mut self, packet: &mut Packet) -> Result<(), Refused> {
        let header = rtp::Header::parse(packet.bytes()).ok_or(Refused::Malformed)?;
        let known = self.rtp.get(header.ssrc);
        let source = known.copied().unwrap_or(Source::new(header.ssrc));
        let index = source.index_of(header.sequence);
        let opened = if self.doubtful {
            self.open_in_doubt(packet, &header, &source, index)
        } else if source.is_new(index) {
            let opened = self.cipher.open_rtp(packet, &header, index);
            opened.map(|()| index)
        } else {
            Err(Refused::Replayed)
        };
        self.doubtful = opened.is_err();
        let index = opened?;
        self.rtp.get_or_insert(header.ssrc).used(index);
        Ok(())
    }

    /// After a packet that was refused: the rollover counter may be one ahead of ours, because we heard nothing for more than
    /// 2^15 packets, or the first packets of a source went lost around its rollover (RFC 3711 §3.3.1 leaves that to us).
    #[cold]
    fn open_in_doubt(
        &self,
        packet: &mut Packet,
        header: &rtp::Header,
        source: &Source,
        likely: u64,
    ) -> Result<u64, Refused> {
        let sealed = packet.bytes().to_vec();
        let candidates = [likely, likely + (1 << 16)].into_iter();
        for index in candidates.filter(|index| source.is_new(*index)) {
            if self.cipher.open_rtp(packet, header, index).is_ok() {
                return Ok(index);
            }
            // What fails to open is spoilt.
            packet.replace(&sealed).ok_or(Refused::NoRoom)?;
        }
        Err(if source.is_new(likely) {
            Refused::Forged
        } else {
            Refused::Replayed
        })
    }

    /// As [`Inbound::unprotect_rtp`]. What is not encrypted is refused: nobody negotiates that with us (RFC 4568 §6.3.2).
    pub fn unprotect_rtcp(&mut self, packet: &mut Packet) -> Result<(), Refused> {
        let ssrc = rtcp_ssrc(packet.bytes())?;
        let word = self.cipher.rtcp_word(packet.bytes())?;
        let index = u64::from(word & !RTCP_INDEX_END);
        if word & RTCP_INDEX_END == 0 {
            return Err(Refused::Forged);
        }
        if self.rtcp.get(ssrc).is_some_and(|s| !s.is_new(index)) {
            return Err(Refused::Replayed);
        }
        self.cipher.open_rtcp(packet, ssrc, word)?;
        self.rtcp.get_or_insert(ssrc).used(index);
        Ok(())
    }
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, Refused> {
    let header: &[u8; RTCP_HEADER_BYTES] = packet.first_chunk().ok_or(Refused::Malformed)?;
    let [first, .., a, b, c, d] = *header;
    if first >> 6 != 2 {
        return Err(Refused::Malformed);
    }
    Ok(u32::from_be_bytes([a, b, c, d]))
}

/// Session keys of one direction.
enum Cipher {
    Cm(Box<cm::Cm>),
    Gcm(Box<gcm::Gcm>),
}

impl Cipher {
    fn new(keys: &Keys) -> Cipher {
        let (key, salt) = keys.split();
        match keys.profile {
            Profile::AesCm128HmacSha1_80 => Cipher::Cm(Box::new(cm::Cm::new(key, salt, 10))),
            Profile::AesCm128HmacSha1_32 => Cipher::Cm(Box::new(cm::Cm::new(key, salt, 4))),
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => {
                Cipher::Gcm(Box::new(gcm::Gcm::new(key, salt)))
            }
        }
    }

    fn seal_rtp(&self, packet: &mut Packet, header: &rtp::Header, i: u64) -> Result<(), Refused> {
        match self {
            Cipher::Cm(cm) => cm.seal_rtp(packet, header, i),
            Cipher::Gcm(gcm) => gcm.seal_rtp(packet, header, i),
        }
    }

    fn open_rtp(&self, packet: &mut Packet, header: &rtp::Header, i: u64) -> Result<(), Refused> {
        match self {
            Cipher::Cm(cm) => cm.open_rtp(packet, header, i),
            Cipher::Gcm(gcm) => gcm.open_rtp(packet, header, i),
        }
    }

    fn seal_rtcp(&self, packet: &mut Packet, ssrc: u32, index: u32) -> Result<(), Refused> {
        match self {
            Cipher::Cm(cm) => cm.seal_rtcp(packet, ssrc, index),
            Cipher::Gcm(gcm) => gcm.seal_rtcp(packet, ssrc, index),
        }
    }

    /// The encryption bit and the index of an SRTCP packet (RFC 3711 §3.4, RFC 7714 §9.2).
    fn rtcp_word(&self, packet: &[u8]) -> Result<u32, Refused> {
        let behind = match self {
            Cipher::Cm(_) => cm::RTCP_TAG_BYTES,
            Cipher::Gcm(_) => 0,
        };
        let end = packet.len().checked_sub(behind);
        let word = end.and_then(|end| packet.get(..end)?.last_chunk());
        word.copied()
            .map(u32::from_be_bytes)
            .ok_or(Refused::Malformed)
    }

    fn open_rtcp(&self, packet: &mut Packet, ssrc: u32, word: u32) -> Result<(), Refused> {
        match self {
            Cipher::Cm(cm) => cm.open_rtcp(packet, ssrc, word),
            Cipher::Gcm(gcm) => gcm.open_rtcp(packet, ssrc, word),
        }
    }
}
