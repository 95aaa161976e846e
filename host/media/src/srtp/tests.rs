//! Contexts against each other and against libsrtp's vectors: long calls, losses, replays, forgeries.

use super::*;
use crate::testing::{hex, packet};

const ALL: [Profile; 4] = [
    Profile::AesCm128HmacSha1_80,
    Profile::AesCm128HmacSha1_32,
    Profile::AeadAes128Gcm,
    Profile::AeadAes256Gcm,
];

fn keys(profile: Profile) -> Keys {
    let bytes: Vec<u8> = (1..=46).collect();
    let len = profile.key_bytes() + profile.salt_bytes();
    Keys::new(profile, &bytes[..len]).unwrap()
}

fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 160];
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(*b"twenty milliseconds of sound");
    packet
}

fn protect(out: &mut Outbound, bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut buffer = [0; 300];
    let mut packet = packet(&mut buffer, bytes);
    out.protect_rtp(&mut packet)?;
    Ok(packet.bytes().to_vec())
}

fn unprotect(inbound: &mut Inbound, bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut buffer = [0; 300];
    let mut packet = packet(&mut buffer, bytes);
    inbound.unprotect_rtp(&mut packet)?;
    Ok(packet.bytes().to_vec())
}

#[test]
fn protects_as_libsrtp_does() {
    let key = "e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6";
    let keys = Keys::new(Profile::AesCm128HmacSha1_80, &hex(key)).unwrap();
    let plain = hex("800f1234decafbadcafebabeabababababababababababababababab");
    let sealed =
        hex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb");
    assert_eq!(
        protect(&mut Outbound::new(&keys), &plain),
        Ok(sealed.clone())
    );
    assert_eq!(unprotect(&mut Inbound::new(&keys), &sealed), Ok(plain));

    let plain = hex("81c8000bcafebabeabababababababababababababababab");
    let sealed =
        hex("81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798");
    let mut out = Outbound::new(&keys);
    out.rtcp_index = 1;
    let mut buffer = [0; 100];
    let mut packet = packet(&mut buffer, &plain);
    out.protect_rtcp(&mut packet).unwrap();
    assert_eq!(packet.bytes(), sealed);
    Inbound::new(&keys).unprotect_rtcp(&mut packet).unwrap();
    assert_eq!(packet.bytes(), plain);
}

/// 40 minutes of 20 ms are 120,000 packets; here are 200,000 of one source, beside which another speaks seldom.
#[test]
fn a_long_call_rolls_over_without_a_loss() {
    for profile in ALL {
        let (mut out, mut inbound) = (Outbound::new(&keys(profile)), Inbound::new(&keys(profile)));
        for i in 0..200_000_u32 {
            #[allow(clippy::cast_possible_truncation)]
            let plain = rtp(1, 65_000_u16.wrapping_add(i as u16));
            let sealed = protect(&mut out, &plain).unwrap();
            assert_eq!(unprotect(&mut inbound, &sealed), Ok(plain), "{i}");
            if i % 5000 == 0 {
                let plain = rtp(2, (i / 5000) as u16);
                let sealed = protect(&mut out, &plain).unwrap();
                assert_eq!(unprotect(&mut inbound, &sealed), Ok(plain), "{i}");
            }
        }
    }
}

#[test]
fn reordered_packets_around_a_rollover_are_opened_once() {
    for profile in ALL {
        let (mut out, mut inbound) = (Outbound::new(&keys(profile)), Inbound::new(&keys(profile)));
        let plain: Vec<_> = (65_500..=65_535).chain(0..40).map(|s| rtp(1, s)).collect();
        let sealed: Vec<_> = plain
            .iter()
            .map(|p| protect(&mut out, p).unwrap())
            .collect();
        // Every second one first, then the others backwards.
        let order = (0..76).step_by(2).chain((1..76).step_by(2).rev());
        for i in order {
            assert_eq!(unprotect(&mut inbound, &sealed[i]), Ok(plain[i].clone()));
        }
        for sealed in &sealed {
            assert_eq!(unprotect(&mut inbound, sealed), Err(Refused::Replayed));
        }
    }
}

#[test]
fn a_changed_bit_anywhere_is_refused_and_changes_nothing() {
    for profile in ALL {
        let (mut out, mut inbound) = (Outbound::new(&keys(profile)), Inbound::new(&keys(profile)));
        let sealed = protect(&mut out, &rtp(1, 7)).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect(&mut inbound, &forged).is_err(), "{bit}");
        }
        assert_eq!(unprotect(&mut inbound, &sealed), Ok(rtp(1, 7)));
        assert!(inbound.rtp.get(1).is_some_and(|s| !s.is_new(7)));
    }
}

#[test]
fn a_rollover_that_nobody_heard_is_found_again() {
    for profile in ALL {
        let (mut out, mut inbound) = (Outbound::new(&keys(profile)), Inbound::new(&keys(profile)));
        // The first packets, and with them the rollover, went lost.
        protect(&mut out, &rtp(1, 65_533)).unwrap();
        let lost = protect(&mut out, &rtp(1, 3)).unwrap();
        assert_eq!(unprotect(&mut inbound, &lost), Err(Refused::Forged));
        let next = protect(&mut out, &rtp(1, 4)).unwrap();
        assert_eq!(unprotect(&mut inbound, &next), Ok(rtp(1, 4)));
        // An outage of 40,000 packets.
        let mut sealed = Vec::new();
        for sequence in 5..=40_005 {
            sealed = protect(&mut out, &rtp(1, sequence)).unwrap();
        }
        assert_eq!(unprotect(&mut inbound, &sealed), Err(Refused::Replayed));
        let next = protect(&mut out, &rtp(1, 40_006)).unwrap();
        assert_eq!(unprotect(&mut inbound, &next), Ok(rtp(1, 40_006)));
    }
}

#[test]
fn a_sequence_number_is_never_protected_twice() {
    let mut out = Outbound::new(&keys(Profile::AeadAes128Gcm));
    protect(&mut out, &rtp(1, 7)).unwrap();
    let mut other = rtp(1, 7);
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(protect(&mut out, &other), Err(Refused::Replayed));
    assert!(protect(&mut out, &rtp(2, 7)).is_ok(), "of another source");
}

#[test]
fn rtcp_is_opened_once_and_only_encrypted() {
    let plain = hex("81c8000bcafebabeabababababababababababababababab");
    for profile in ALL {
        let (mut out, mut inbound) = (Outbound::new(&keys(profile)), Inbound::new(&keys(profile)));
        let mut open = |sealed: &[u8]| {
            let mut buffer = [0; 100];
            let mut packet = packet(&mut buffer, sealed);
            inbound.unprotect_rtcp(&mut packet)?;
            Ok(packet.bytes().to_vec())
        };
        let mut sealed = Vec::new();
        for _ in 0..3 {
            let mut buffer = [0; 100];
            let mut packet = packet(&mut buffer, &plain);
            out.protect_rtcp(&mut packet).unwrap();
            sealed.push(packet.bytes().to_vec());
        }
        assert_eq!(open(&sealed[1]), Ok(plain.clone()));
        assert_eq!(open(&sealed[1]), Err(Refused::Replayed));
        assert_eq!(open(&sealed[0]), Ok(plain.clone()));
        for bit in 0..sealed[2].len() * 8 {
            let mut forged = sealed[2].clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&forged).is_err(), "{bit}");
        }
        assert_eq!(open(&sealed[2]), Ok(plain.clone()));
        for len in 0..sealed[2].len() {
            assert!(open(&sealed[2][..len]).is_err(), "{len}");
        }
    }
}

#[test]
fn a_key_is_used_for_no_more_rtcp_than_it_may() {
    let mut out = Outbound::new(&keys(Profile::AesCm128HmacSha1_80));
    out.rtcp_index = RTCP_INDEX_END - 1;
    let mut buffer = [0; 100];
    let plain = hex("80c9000112345678");
    out.protect_rtcp(&mut packet(&mut buffer, &plain)).unwrap();
    let again = out.protect_rtcp(&mut packet(&mut buffer, &plain));
    assert_eq!(again, Err(Refused::UsedUp));
}

#[test]
fn what_does_not_fit_its_buffer_is_refused() {
    for profile in ALL {
        let mut out = Outbound::new(&keys(profile));
        let mut plain = rtp(1, 7);
        let len = plain.len();
        let refused = out.protect_rtp(&mut Packet::new(&mut plain, len));
        assert_eq!(refused, Err(Refused::NoRoom));
    }
}

#[test]
fn profiles_have_their_names_and_lengths() {
    for profile in ALL {
        assert_eq!(Profile::from_sdes(profile.sdes()), Some(profile));
        let len = profile.key_bytes() + profile.salt_bytes();
        assert_eq!(Keys::new(profile, &vec![0; len + 1]), None);
        let exported: Vec<u8> = (0..2 * len).map(|i| i as u8).collect();
        let [client, server] = Keys::from_dtls(profile, &exported).unwrap();
        assert_eq!(client.bytes().len(), len);
        assert_eq!(server.bytes()[0] as usize, profile.key_bytes());
        assert_eq!(
            *client.bytes().last().unwrap() as usize,
            2 * profile.key_bytes() + profile.salt_bytes() - 1
        );
        assert_eq!(Keys::from_dtls(profile, &exported[1..]), None);
    }
    assert_eq!(Profile::from_sdes("F8_128_HMAC_SHA1_80"), None);
    let shown = format!("{:?}", keys(Profile::AeadAes256Gcm));
    assert_eq!(shown, "Keys(AEAD_AES_256_GCM)");
}
