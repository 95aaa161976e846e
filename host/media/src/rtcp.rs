//! RTCP from one leg to the other, end to end (RFC 3550 §6, RFC 4585, RFC 5104): what an end says of its source and of the other's is
//! translated to the SSRCs, sequence numbers and timestamps that the hearer knows.
//!
//! Only what both legs can mean the same by passes: reports, CNAME, BYE, NACK, PLI, FIR, REMB. Never makes a report of its own.

use std::time::Instant;

use crate::{
    packet::Packet,
    relay::{Forward, Stream},
};

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;
const NACK: u8 = 1;
const PLI: u8 = 1;
const FIR: u8 = 4;
const REMB: u8 = 15;
const CNAME: u8 = 1;
/// SSRC, six words of which the last but one are the times.
const BLOCK_BYTES: usize = 24;
/// What a translated packet is no longer than: it came in a datagram and may grow by one empty report.
const COMPOUND_BYTES_MAX: usize = 1500;

/// Translates a compound packet, or a reduced-size one (RFC 5506), in place. `from`: the streams from its sender to its hearer; `back`:
/// those from the hearer to the sender, of which the sender reports.
pub fn translate(
    now: Instant,
    packet: &mut Packet,
    from: &mut [&mut Stream],
    back: &mut [&mut Stream],
) -> Forward {
    let Some(sender) = from.first().map(|stream| stream.ssrc()) else {
        return Forward::Drop;
    };
    let mut translation = Translation {
        now,
        from,
        back,
        sender,
        out: Vec::with_capacity(packet.len() + 8),
    };
    let mut rest = packet.bytes();
    while let Some((one, behind)) = split(rest) {
        translation.one(one);
        rest = behind;
    }
    let out = translation.finish();
    if out.is_empty() || out.len() > COMPOUND_BYTES_MAX {
        return Forward::Drop;
    }
    match packet.replace(&out) {
        Some(()) => Forward::Send,
        None => Forward::Drop,
    }
}

/// One packet of a compound one.
struct One<'p> {
    /// Reports, sources, or the kind of feedback.
    count: u8,
    kind: u8,
    body: &'p [u8],
}

/// The first of what is left. What follows a malformed one is not read.
fn split(rest: &[u8]) -> Option<(One<'_>, &[u8])> {
    let ([first, kind, l0, l1], body) = rest.split_first_chunk::<4>()?;
    if first >> 6 != 2 {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([*l0, *l1])) * 4;
    let (mut body, behind) = body.split_at_checked(len)?;
    if first & 0x20 != 0 {
        let padding = usize::from(*body.last()?);
        body = body.get(..body.len().checked_sub(padding)?)?;
    }
    let one = One {
        count: first & 0x1f,
        kind: *kind,
        body,
    };
    Some((one, behind))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

struct Translation<'t, 'f, 'b> {
    now: Instant,
    from: &'t mut [&'f mut Stream],
    back: &'t mut [&'b mut Stream],
    /// Who speaks where no stream of the sender's is meant.
    sender: u32,
    out: Vec<u8>,
}

impl Translation<'_, '_, '_> {
    fn one(&mut self, one: One) {
        // What is malformed, or means nothing to the hearer, is left out.
        let _ = match (one.kind, one.count) {
            (SR, _) => self.sender_report(&one),
            (RR, _) => self.receiver_report(&one),
            (SDES, _) => self.descriptions(&one),
            (BYE, _) => self.bye(&one),
            (RTPFB, NACK) => self.nack(&one),
            (PSFB, PLI) => self.picture_loss(&one),
            (PSFB, FIR) => self.intra_request(&one),
            (PSFB, REMB) => self.bandwidth(&one),
            _ => None,
        };
    }

    /// A compound packet begins with a report (RFC 3550 §6.1), even where the sender's did not.
    fn finish(mut self) -> Vec<u8> {
        if !self.out.is_empty() && !matches!(self.out.get(1), Some(&SR | &RR)) {
            let mut empty = Vec::with_capacity(self.out.len() + 8);
            write(&mut empty, 0, RR, &self.sender.to_be_bytes());
            empty.append(&mut self.out);
            return empty;
        }
        self.out
    }

    /// The sender's source, as the hearer knows it.
    fn ours(&self, theirs: u32) -> Option<usize> {
        self.from
            .iter()
            .position(|stream| stream.source() == Some(theirs))
    }

    /// A source of the hearer's, which the sender knows by our SSRC.
    fn meant(&self, ours: u32) -> Option<usize> {
        self.back.iter().position(|stream| stream.ssrc() == ours)
    }

    fn sender_report(&mut self, one: &One) -> Option<()> {
        let (head, blocks) = one.body.split_first_chunk::<24>()?;
        let Some(at) = self.ours(word(head, 0)?) else {
            // Of a source that we never forwarded, or no more.
            return self.report(RR, &self.sender.to_be_bytes(), blocks);
        };
        let stream = self.from.get_mut(at)?;
        let (ntp, rtp) = (head.get(4..12)?, word(head, 12)?);
        let (packets, octets) = stream.counts();
        stream.report_sent(self.now, word(ntp, 2)?);
        let mut out = Vec::with_capacity(24);
        out.extend(stream.ssrc().to_be_bytes());
        out.extend(ntp);
        for word in [stream.timestamp_out(rtp), packets, octets] {
            out.extend(word.to_be_bytes());
        }
        self.report(SR, &out, blocks)
    }

    fn receiver_report(&mut self, one: &One) -> Option<()> {
        let (ssrc, blocks) = one.body.split_first_chunk::<4>()?;
        let ours = self.ours(u32::from_be_bytes(*ssrc));
        let ours = ours.and_then(|at| self.from.get(at)).map(|s| s.ssrc());
        let ssrc = ours.unwrap_or(self.sender).to_be_bytes();
        self.report(RR, &ssrc, blocks)
    }

    fn report(&mut self, kind: u8, head: &[u8], blocks: &[u8]) -> Option<()> {
        let mut body = head.to_vec();
        let mut count = 0;
        let (blocks, _) = blocks.as_chunks::<BLOCK_BYTES>();
        for block in blocks.iter().take(31) {
            if let Some(block) = self.block(block) {
                body.extend(block);
                count += 1;
            }
        }
        write(&mut self.out, count, kind, &body);
        Some(())
    }

    /// RFC 3550 §6.4.1. Times mean the same at both ends.
    fn block(&mut self, block: &[u8; BLOCK_BYTES]) -> Option<[u8; BLOCK_BYTES]> {
        let at = self.meant(word(block, 0)?)?;
        let stream = self.back.get_mut(at)?;
        let lost = word(block, 4)? & 0x00ff_ffff;
        let (highest, jitter) = (word(block, 8)?, word(block, 12)?);
        stream.report_heard(self.now, lost, jitter, word(block, 16)?, word(block, 20)?);
        let (share, lost) = stream.losses_back(*block.get(4)?, lost);
        let words = [
            stream.source()?,
            u32::from(share) << 24 | lost,
            stream.highest_back(highest),
            stream.jitter_back(jitter),
        ];
        let mut out = *block;
        for (place, word) in out.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        Some(out)
    }

    /// Each source with its CNAME alone (RFC 3550 §6.5.1).
    fn descriptions(&mut self, one: &One) -> Option<()> {
        let (mut body, mut count, mut rest) = (Vec::new(), 0, one.body);
        for _ in 0..one.count {
            let (ssrc, items) = rest.split_first_chunk::<4>()?;
            let (cname, behind) = read_items(items)?;
            rest = behind;
            let ours = self.ours(u32::from_be_bytes(*ssrc));
            let ours = ours.and_then(|at| self.from.get(at)).map(|s| s.ssrc());
            let Some(cname) = cname.filter(|_| ours.is_some() || count == 0) else {
                continue;
            };
            body.extend(ours.unwrap_or(self.sender).to_be_bytes());
            body.extend([CNAME, u8::try_from(cname.len()).ok()?]);
            body.extend(cname);
            body.extend(std::iter::repeat_n(0, 4 - body.len() % 4));
            count += 1;
        }
        if count > 0 {
            write(&mut self.out, count, SDES, &body);
        }
        Some(())
    }

    /// Of sources that are followed now: a replaced one ends nothing for the hearer.
    fn bye(&mut self, one: &One) -> Option<()> {
        let (sources, _) = one.body.as_chunks::<4>();
        let mut body = Vec::new();
        for ssrc in sources.iter().take(usize::from(one.count)) {
            let stream = self.ours(u32::from_be_bytes(*ssrc));
            if let Some(stream) = stream.and_then(|at| self.from.get(at)) {
                body.extend(stream.ssrc().to_be_bytes());
            }
        }
        let (ours, _) = body.as_chunks::<4>();
        let count = u8::try_from(ours.len()).ok().filter(|count| *count > 0)?;
        write(&mut self.out, count, BYE, &body);
        Some(())
    }

    /// RFC 4585 §6.2.1.
    fn nack(&mut self, one: &One) -> Option<()> {
        let stream = self.back.get(self.meant(word(one.body, 4)?)?)?;
        let mut body = Vec::with_capacity(one.body.len());
        body.extend(self.sender.to_be_bytes());
        body.extend(stream.source()?.to_be_bytes());
        let (items, _) = one.body.get(8..)?.as_chunks::<4>();
        for [p0, p1, bitmap @ ..] in items {
            let first = stream.sequence_back(u16::from_be_bytes([*p0, *p1]))?;
            body.extend(first.to_be_bytes());
            body.extend(bitmap);
        }
        write(&mut self.out, NACK, RTPFB, &body);
        Some(())
    }

    /// RFC 4585 §6.3.1.
    fn picture_loss(&mut self, one: &One) -> Option<()> {
        let stream = self.back.get(self.meant(word(one.body, 4)?)?)?;
        let body = [self.sender.to_be_bytes(), stream.source()?.to_be_bytes()].concat();
        write(&mut self.out, PLI, PSFB, &body);
        Some(())
    }

    /// RFC 5104 §4.3.1: who is meant stands in the entries.
    fn intra_request(&mut self, one: &One) -> Option<()> {
        let mut body = [self.sender.to_be_bytes(), [0; 4]].concat();
        let (entries, _) = one.body.get(8..)?.as_chunks::<8>();
        for entry in entries {
            let meant = self.meant(word(entry, 0)?);
            let source = meant.and_then(|at| self.back.get(at)?.source());
            if let Some(source) = source {
                body.extend(source.to_be_bytes());
                body.extend(entry.get(4..)?);
            }
        }
        if body.len() > 8 {
            write(&mut self.out, FIR, PSFB, &body);
        }
        Some(())
    }

    /// draft-alvestrand-rmcat-remb: "REMB", how many SSRCs, a bit rate, the SSRCs.
    fn bandwidth(&mut self, one: &One) -> Option<()> {
        let (head, sources) = one.body.get(8..)?.split_first_chunk::<8>()?;
        let [b'R', b'E', b'M', b'B', _, rate @ ..] = *head else {
            return None;
        };
        let (sources, _) = sources.as_chunks::<4>();
        let meant = sources.iter().filter_map(|ssrc| {
            let at = self.meant(u32::from_be_bytes(*ssrc))?;
            self.back.get(at)?.source()
        });
        let meant: Vec<u8> = meant.flat_map(u32::to_be_bytes).collect();
        let count = u8::try_from(meant.len() / 4).ok().filter(|c| *c > 0)?;
        let mut body = [self.sender.to_be_bytes(), [0; 4], *b"REMB"].concat();
        body.push(count);
        body.extend(rate);
        body.extend(meant);
        write(&mut self.out, REMB, PSFB, &body);
        Some(())
    }
}

/// The CNAME among the items of a chunk, and what follows the chunk: it ends with a zero, at a multiple of four bytes.
fn read_items(items: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (mut cname, mut at) = (None, 0);
    loop {
        match *items.get(at..)? {
            [] => return None,
            [0, ..] => break,
            [kind, len, ref rest @ ..] => {
                let value = rest.get(..usize::from(len))?;
                if kind == CNAME {
                    cname = Some(value);
                }
                at += 2 + value.len();
            }
            [_] => return None,
        }
    }
    let end = (at + 1).next_multiple_of(4);
    Some((cname, items.get(end..)?))
}

/// Bodies are whole words.
fn write(out: &mut Vec<u8>, count: u8, kind: u8, body: &[u8]) {
    let words = u16::try_from(body.len() / 4).unwrap_or(u16::MAX);
    out.extend([0x80 | count, kind]);
    out.extend(words.to_be_bytes());
    out.extend(body);
}

#[cfg(test)]
mod tests;
