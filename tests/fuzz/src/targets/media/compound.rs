//! Compound packets of RTCP: some that bytes tell, and what must hold of those that we send (RFC 3550 §6, RFC 4585 §6.1).

use crate::Choices;

const KINDS: [(u8, u8); 9] = [
    (200, 0),
    (201, 1),
    (202, 1),
    (203, 1),
    (204, 0),
    (205, 1),
    (206, 1),
    (206, 4),
    (206, 15),
];
const PACKETS_MAX: usize = 5;

/// Whose sources are spoken of.
pub(crate) struct Sources {
    /// Those that may speak: ours, to the hearer.
    pub(crate) ours: Vec<u32>,
    /// Those that may be spoken of: the hearer's own.
    pub(crate) theirs: Vec<u32>,
}

/// Some packets, of sources that are often these; lengths are mostly right.
pub(crate) fn choose(choices: &mut Choices<'_>, ssrcs: &[u32]) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..=choices.below(PACKETS_MAX) {
        let (kind, mut count) = KINDS[choices.below(KINDS.len())];
        let mut body = Vec::new();
        for _ in 0..choices.below(10) {
            body.extend(word(choices, ssrcs));
        }
        if choices.once_in(3) {
            count = choices.byte() & 0x1f;
        }
        if kind == 202 {
            let cname = choices.below(12);
            body.truncate(4);
            body.extend([1, cname as u8]);
            body.extend(choices.take(cname));
            body.push(0);
        }
        if (kind, count) == (206, 15) {
            body.resize(8, 0);
            body.extend(*b"REMB\x01\0\0\xff");
            body.extend(word(choices, ssrcs));
        }
        let flags = if choices.once_in(12) { 0xa0 } else { 0x80 };
        body.resize(body.len().next_multiple_of(4), 0);
        let words = match choices.once_in(16) {
            true => choices.number() % 64,
            false => (body.len() / 4) as u16,
        };
        out.extend([flags | count, kind]);
        out.extend(words.to_be_bytes());
        out.extend(body);
    }
    let more = choices.below(64);
    if choices.once_in(8) {
        out.extend(choices.take(more));
    }
    out
}

fn word(choices: &mut Choices<'_>, ssrcs: &[u32]) -> [u8; 4] {
    match choices.below(4) {
        0 => [
            choices.byte(),
            choices.byte(),
            choices.byte(),
            choices.byte(),
        ],
        1 => [0, 0, choices.byte(), choices.byte()],
        _ if ssrcs.is_empty() => [0; 4],
        _ => ssrcs[choices.below(ssrcs.len())].to_be_bytes(),
    }
}

/// Nothing in it but whole packets of kinds that both ends mean the same by, a report first, and no source that the hearer does not know.
///
/// # Panics
/// If it is otherwise.
pub(crate) fn check(bytes: &[u8], sources: &Sources) {
    let shown = || bytes.escape_ascii();
    assert!(
        matches!(bytes.get(1), Some(200 | 201)),
        "no report first: {}",
        shown()
    );
    let mut rest = bytes;
    while let [first, kind, high, low, behind @ ..] = rest {
        assert_eq!(first & 0xe0, 0x80, "version or padding: {}", shown());
        let length = usize::from(u16::from_be_bytes([*high, *low])) * 4;
        let parts = behind.split_at_checked(length);
        let (body, behind) = parts.unwrap_or_else(|| panic!("cut: {}", shown()));
        let speaks = |ssrc: u32| assert!(sources.ours.contains(&ssrc), "{ssrc:x} in {}", shown());
        let is_meant =
            |ssrc: u32| assert!(sources.theirs.contains(&ssrc), "{ssrc:x} in {}", shown());
        let count = usize::from(first & 0x1f);
        let sender = body.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        speaks(sender.unwrap_or_else(|| panic!("no source: {}", shown())));
        let words: Vec<u32> = body
            .as_chunks()
            .0
            .iter()
            .map(|word| u32::from_be_bytes(*word))
            .collect();
        match kind {
            200 | 201 => {
                let head = if *kind == 200 { 6 } else { 1 };
                assert_eq!(words.len(), head + 6 * count, "{}", shown());
                words[head..].chunks(6).for_each(|block| is_meant(block[0]));
            }
            202 => assert!(count > 0),
            203 => words[..count].iter().for_each(|ssrc| speaks(*ssrc)),
            205 => is_meant(words[1]),
            206 if count == 1 => is_meant(words[1]),
            206 if count == 4 => words[2..].chunks(2).for_each(|entry| is_meant(entry[0])),
            206 if count == 15 => words[4..].iter().for_each(|ssrc| is_meant(*ssrc)),
            _ => panic!("{kind} {count} in {}", shown()),
        }
        rest = behind;
    }
    assert!(rest.is_empty(), "a piece of a packet: {}", shown());
}
