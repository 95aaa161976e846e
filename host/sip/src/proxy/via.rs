//! Our branch parameter: magic cookie, worker, a random number that names the branch, and a hash for loop detection.
//!
//! The worker lets a response find its owner without any state, the number cannot be guessed by who wants to forge one, and the hash
//! tells a loop from a spiral (RFC 3261 §16.6 item 8).

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::{
    flow::WorkerId,
    header::Via,
    message::{HeaderName, Message},
};

/// What our branches begin with (RFC 3261 §8.1.1.7): two hexadecimal digits of the worker follow.
pub(crate) const COOKIE: &str = "z9hG4bKhs";
const WORKER_DIGITS: usize = 2;
const NUMBER_DIGITS: usize = 16;
const HASH_DIGITS: usize = 8;

/// What a branch parameter of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ViaBranch {
    pub(crate) worker: WorkerId,
    /// Random.
    pub(crate) number: u64,
    /// Of what the routing of the request depended on.
    pub(crate) loop_hash: u32,
}

impl ViaBranch {
    /// In characters.
    pub(crate) const LEN: usize = COOKIE.len() + WORKER_DIGITS + NUMBER_DIGITS + HASH_DIGITS;

    /// Cheaper than to read the Via, and never wrong when it says no.
    pub(crate) fn may_be_in(via: &[u8]) -> bool {
        static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(COOKIE));
        FINDER.find(via).is_some()
    }

    pub(crate) fn push_to(&self, text: &mut String) {
        text.push_str(COOKIE);
        push_hex(text, self.worker.0.into(), WORKER_DIGITS);
        push_hex(text, self.number, NUMBER_DIGITS);
        push_hex(text, self.loop_hash.into(), HASH_DIGITS);
    }

    /// Of the topmost Via of a response.
    pub(crate) fn of(response: &Message) -> Option<Self> {
        Self::parse(Via::branch_of(response.values(HeaderName::Via).next()?)?)
    }

    pub(crate) fn parse(branch: &str) -> Option<Self> {
        let digits = branch.strip_prefix(COOKIE)?;
        if digits.len() != WORKER_DIGITS + NUMBER_DIGITS + HASH_DIGITS
            || !digits.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return None;
        }
        let (worker, digits) = digits.split_at_checked(WORKER_DIGITS)?;
        let (number, hash) = digits.split_at_checked(NUMBER_DIGITS)?;
        Some(Self {
            worker: WorkerId(u8::from_str_radix(worker, 16).ok()?),
            number: u64::from_str_radix(number, 16).ok()?,
            loop_hash: u32::from_str_radix(hash, 16).ok()?,
        })
    }
}

impl std::fmt::Display for ViaBranch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::with_capacity(Self::LEN);
        self.push_to(&mut text);
        f.write_str(&text)
    }
}

fn push_hex(text: &mut String, number: u64, digits: usize) {
    for digit in (0..digits).rev() {
        let nibble = (number >> (4 * digit)) & 0xf;
        text.push(char::from_digit(nibble as u32, 16).unwrap_or('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let branch = ViaBranch {
            worker: WorkerId(255),
            number: u64::MAX - 7,
            loop_hash: 5,
        };
        assert_eq!(ViaBranch::parse(&branch.to_string()), Some(branch));
    }

    #[test]
    fn what_others_write_is_not_ours() {
        for other in [
            "",
            "z9hG4bK",
            "z9hG4bKhs",
            "z9hG4bKhs+1",
            &format!("z9hG4bKhs{:+026}", 1),
            &"é".repeat(35),
        ] {
            assert_eq!(ViaBranch::parse(other), None, "{other}");
        }
    }
}
