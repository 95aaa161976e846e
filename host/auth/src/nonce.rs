//! Nonces that carry their own time and a MAC, so that nothing is kept of those that are never used; and how often the others were
//! used, so that nobody uses one again (RFC 7616 §3.3, §5.4, §5.5).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

use crate::{millis, unix_ms};

/// Of the key that nonces are signed with.
pub const NONCE_KEY_BYTES: usize = 32;
/// Nonces whose uses are remembered at once, of all realms.
const NONCES_MAX: usize = 100_000;
/// Requests may overtake each other by so many.
const WINDOW_COUNTS: u32 = 64;
/// A clock that was set back must not make nonces good for longer.
const SKEW_MS_MAX: u64 = 5_000;

const MAC_BYTES: usize = 16;
/// Six of the time, four of the serial number.
const HEAD_BYTES: usize = 10;

/// Makes them, and remembers how often they were used.
pub struct Nonces {
    key: [u8; NONCE_KEY_BYTES],
    serial: AtomicU32,
    uses: Mutex<Uses>,
}

/// Whose nonce it is: nobody else's credentials are good with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) realm: &'a str,
    /// Its address, without port.
    pub(crate) client: &'a str,
}

/// Why a nonce is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NonceFault {
    #[error("the nonce was not made here for this realm and address")]
    Foreign,
    #[error("the nonce is over")]
    Over,
    #[error("the nonce was used with this count before")]
    Replayed,
}

#[derive(Default)]
struct Uses {
    /// Nothing is known of what was made until then.
    floor_ms: u64,
    /// By time and serial number.
    seen: BTreeMap<(u64, u32), Window>,
    nonces_max: usize,
}

/// The counts that were seen: the highest, and which of those just below it.
#[derive(Clone, Copy, Default)]
struct Window {
    highest: u32,
    seen: u64,
}

impl Nonces {
    /// With a key that outlives the process: nonces from before it are told from forged ones. Their counts are not known any more, so
    /// clients are asked again, once.
    #[must_use]
    pub fn new(key: [u8; NONCE_KEY_BYTES], started: SystemTime) -> Self {
        let uses = Uses {
            floor_ms: unix_ms(started),
            nonces_max: NONCES_MAX,
            ..Uses::default()
        };
        Self {
            key,
            serial: AtomicU32::new(0),
            uses: Mutex::new(uses),
        }
    }

    /// A new one.
    pub(crate) fn issue(&self, owner: Owner<'_>, now: SystemTime) -> String {
        let serial = self.serial.fetch_add(1, Relaxed);
        let mut nonce = [0; HEAD_BYTES + MAC_BYTES];
        let (head, mac) = nonce.split_at_mut(HEAD_BYTES);
        head[..6].copy_from_slice(&unix_ms(now).to_be_bytes()[2..]);
        head[6..].copy_from_slice(&serial.to_be_bytes());
        mac.copy_from_slice(&self.mac(head, owner)[..MAC_BYTES]);
        BASE64_URL_SAFE_NO_PAD.encode(nonce)
    }

    /// Is it one of ours, not over, and not used with this count? Then it is from now on.
    pub(crate) fn take(
        &self,
        nonce: &str,
        count: u32,
        owner: Owner<'_>,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<(), NonceFault> {
        let (made_ms, serial) = self.open(nonce, owner).ok_or(NonceFault::Foreign)?;
        let now_ms = unix_ms(now);
        if now_ms > made_ms.saturating_add(millis(lifetime))
            || made_ms > now_ms.saturating_add(SKEW_MS_MAX)
        {
            return Err(NonceFault::Over);
        }
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.take((made_ms, serial), count)
    }

    fn open(&self, nonce: &str, owner: Owner<'_>) -> Option<(u64, u32)> {
        let mut bytes = [0; HEAD_BYTES + MAC_BYTES];
        let length = BASE64_URL_SAFE_NO_PAD
            .decode_slice(nonce, &mut bytes)
            .ok()?;
        let (head, mac) = bytes.get(..length)?.split_at_checked(HEAD_BYTES)?;
        self.keyed(head, owner).verify_truncated_left(mac).ok()?;
        if mac.len() != MAC_BYTES {
            return None;
        }
        let (time, serial) = head.split_at(6);
        let time = time
            .iter()
            .fold(0, |time, byte| time << 8 | u64::from(*byte));
        Some((time, u32::from_be_bytes(serial.try_into().ok()?)))
    }

    fn mac(&self, head: &[u8], owner: Owner<'_>) -> [u8; 32] {
        self.keyed(head, owner).finalize().into_bytes().into()
    }

    fn keyed(&self, head: &[u8], owner: Owner<'_>) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.update(head);
        // A realm has no control characters: no two owners look alike.
        mac.update(owner.realm.as_bytes());
        mac.update(b"\n");
        mac.update(owner.client.as_bytes());
        mac
    }
}

/// With a key that nobody can have issued a nonce with: none is good.
impl Default for Nonces {
    fn default() -> Self {
        Self::new([0; NONCE_KEY_BYTES], SystemTime::UNIX_EPOCH)
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

impl Uses {
    fn take(&mut self, nonce: (u64, u32), count: u32) -> Result<(), NonceFault> {
        let (made_ms, _) = nonce;
        if made_ms < self.floor_ms {
            return Err(NonceFault::Over);
        }
        self.seen.entry(nonce).or_default().take(count)?;
        // The oldest is forgotten, and whatever is as old can be told from a replay no more.
        while self.seen.len() > self.nonces_max {
            if let Some(((oldest_ms, _), _)) = self.seen.pop_first() {
                self.floor_ms = oldest_ms + 1;
            }
        }
        Ok(())
    }
}

impl Window {
    fn take(&mut self, count: u32) -> Result<(), NonceFault> {
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return Ok(());
        }
        let behind = self.highest - count;
        if behind >= WINDOW_COUNTS || self.seen & (1 << behind) != 0 {
            return Err(NonceFault::Replayed);
        }
        self.seen |= 1 << behind;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);
    const OWNER: Owner<'_> = Owner {
        realm: "r",
        client: "192.0.2.1",
    };

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn nonces() -> Nonces {
        Nonces::new([7; NONCE_KEY_BYTES], start())
    }

    #[test]
    fn a_nonce_is_good_for_its_owner_and_its_time() {
        let nonces = nonces();
        let nonce = nonces.issue(OWNER, start());
        let take = |owner, count, after_s| {
            nonces.take(
                &nonce,
                count,
                owner,
                LIFETIME,
                start() + Duration::from_secs(after_s),
            )
        };
        assert_eq!(take(OWNER, 1, 60), Ok(()));
        assert_eq!(take(OWNER, 2, 61), Err(NonceFault::Over));
        let elsewhere = Owner {
            client: "192.0.2.2",
            ..OWNER
        };
        assert_eq!(take(elsewhere, 2, 0), Err(NonceFault::Foreign));
        let other = Owner {
            realm: "s",
            ..OWNER
        };
        assert_eq!(take(other, 2, 0), Err(NonceFault::Foreign));
    }

    #[test]
    fn what_was_not_made_here_is_foreign() {
        let nonces = nonces();
        let nonce = nonces.issue(OWNER, start());
        let mut forged = nonce.clone().into_bytes();
        forged[3] ^= 1;
        let forged = String::from_utf8(forged).unwrap();
        for text in [
            "",
            "x",
            "====",
            &nonce[..nonce.len() - 4],
            &nonce[..20],
            &forged,
            &nonce.repeat(9),
        ] {
            let taken = nonces.take(text, 1, OWNER, LIFETIME, start());
            assert_eq!(taken, Err(NonceFault::Foreign), "{text}");
        }
    }

    #[test]
    fn every_count_is_good_once_in_whatever_order() {
        let nonces = nonces();
        let nonce = nonces.issue(OWNER, start());
        let take = |count| nonces.take(&nonce, count, OWNER, LIFETIME, start());
        for count in [1, 3, 2, 60, 64, 200, 137, u32::MAX] {
            assert_eq!(take(count), Ok(()), "{count}");
            assert_eq!(take(count), Err(NonceFault::Replayed), "{count}");
        }
        for count in [1, 136, 200, u32::MAX - 64] {
            assert_eq!(take(count), Err(NonceFault::Replayed), "{count}");
        }
        assert_eq!(take(u32::MAX - 63), Ok(()));
    }

    #[test]
    fn a_restart_forgets_counts_and_lets_nobody_use_them_again() {
        let before = nonces();
        let nonce = before.issue(OWNER, start());
        let after = Nonces::new([7; NONCE_KEY_BYTES], start() + Duration::from_millis(1));
        let taken = after.take(&nonce, 1, OWNER, LIFETIME, start() + Duration::from_secs(1));
        assert_eq!(taken, Err(NonceFault::Over));
    }

    #[test]
    fn what_is_forgotten_for_want_of_room_is_over() {
        let mut uses = Uses {
            nonces_max: 2,
            ..Uses::default()
        };
        for made_ms in [10, 20, 30] {
            assert_eq!(uses.take((made_ms, 0), 1), Ok(()));
        }
        assert_eq!(uses.seen.len(), 2);
        assert_eq!(uses.take((10, 0), 1), Err(NonceFault::Over));
        assert_eq!(uses.take((10, 1), 1), Err(NonceFault::Over));
        assert_eq!(uses.take((20, 0), 1), Err(NonceFault::Replayed));
        assert_eq!(uses.take((20, 0), 2), Ok(()));
    }
}
