//! Session keys from a master key (RFC 3711 §4.3; RFC 6188 for 256 bits, RFC 7714 §11 for GCM), with a key derivation rate of zero.

use aes::{
    Aes128Enc, Aes256Enc,
    cipher::{BlockCipherEncrypt, KeyInit},
};

/// §4.3.2: what a session key is for.
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Fills `session` with key stream. `key` has 16 or 32 bytes, `salt` at most 14.
pub(super) fn derive(key: &[u8], salt: &[u8], label: Label, session: &mut [u8]) {
    let mut x = [0; 16];
    for (x, salt) in x.iter_mut().zip(salt) {
        *x = *salt;
    }
    x[7] ^= label as u8;
    let first = u128::from_be_bytes(x);
    let encrypt = |block: u128| -> [u8; 16] {
        let mut block = block.to_be_bytes().into();
        match Aes128Enc::new_from_slice(key) {
            Ok(aes) => aes.encrypt_block(&mut block),
            Err(_) => Aes256Enc::new_from_slice(key)
                .expect("a key has 16 or 32 bytes")
                .encrypt_block(&mut block),
        }
        block.into()
    };
    for (block, chunk) in (first..).zip(session.chunks_mut(16)) {
        chunk.copy_from_slice(&encrypt(block)[..chunk.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::hex;

    /// RFC 3711 appendix B.3.
    #[test]
    fn derives_as_rfc_3711_b3() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let check = |label, expected: &str| {
            let mut session = vec![0; expected.len() / 2];
            derive(&key, &salt, label, &mut session);
            assert_eq!(session, hex(expected));
        };
        check(Label::RtpEncryption, "C61E7A93744F39EE10734AFE3FF7A087");
        check(Label::RtpSalt, "30CBBC08863D8C85D49DB34A9AE1");
        check(
            Label::RtpAuthentication,
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2DC68",
        );
    }

    /// RFC 6188 §7.2.
    #[test]
    fn derives_with_256_bits_as_rfc_6188() {
        let key = hex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6");
        let salt = hex("3b04803de51ee7c96423ab5b78d2");
        let check = |label, expected: &str| {
            let mut session = vec![0; expected.len() / 2];
            derive(&key, &salt, label, &mut session);
            assert_eq!(session, hex(expected));
        };
        check(
            Label::RtpEncryption,
            "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
        );
        check(Label::RtpSalt, "fa31791685ca444a9e07c6c64e93");
    }
}
