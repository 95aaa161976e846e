//! A call with media, between ends of any kind: packets of RTP and RTCP as the bytes tell, under the right keys so that what is inside is
//! reached, and in the clear; from the ends and from elsewhere; with renegotiations between them. What leaves is checked at the end that
//! hears it.

use std::{collections::BTreeSet, time::Duration};

use hookswitch_media::rtp;

use super::media::{
    compound::{self, Sources},
    ends::{Media, Pair},
};
use crate::Choices;

const STEPS_MAX: usize = 60;
/// Of all that one packet brings about.
const HEARD_MAX: usize = 20;
const SENT_MAX: usize = 16;

const G711: &str = "8 PCMA/8000;0 PCMU/8000;101 telephone-event/8000";
const ALL: &str = "111 opus/48000/2;9 G722/8000;8 PCMA/8000;126 telephone-event/8000;110 telephone-event/48000;13 CN/8000";
const OPUS: &str = "111 opus/48000/2;110 telephone-event/48000";
/// By their numbers in `LEGS`, with the codecs of either end.
const CALLS: [([usize; 2], [&str; 2]); 7] = [
    ([0, 1], [ALL, G711]),
    ([0, 2], [ALL, G711]),
    ([1, 2], [G711, ALL]),
    ([1, 0], [G711, OPUS]),
    ([0, 3], [OPUS, G711]),
    ([2, 4], [ALL, "9 G722/8000"]),
    ([0, 0], [ALL, OPUS]),
];
const DIRECTIONS: [[&str; 2]; 4] = [
    ["sendrecv", "sendrecv"],
    ["sendonly", "recvonly"],
    ["recvonly", "sendonly"],
    ["inactive", "inactive"],
];
const TYPES: [u8; 8] = [8, 0, 111, 9, 101, 126, 110, 13];
const SOURCES: [u32; 3] = [0x1111_1111, 0x2222_2222, 0x3333_3333];

pub(crate) fn run(data: &[u8]) {
    let mut scene = Scene::new(data);
    for _ in 0..STEPS_MAX {
        if scene.choices.is_empty() {
            break;
        }
        scene.step();
    }
    let call = scene.pair.call.clone();
    scene.pair.room.close(&[call]);
}

struct Scene<'d> {
    choices: Choices<'d>,
    pair: Pair,
    codecs: [&'static str; 2],
    /// What each end heard: the one source that there is for it.
    source: [Option<u32>; 2],
    /// What was said, by whom.
    sent: Vec<(usize, Vec<u8>)>,
    next: [(u16, u32); 2],
}

impl<'d> Scene<'d> {
    fn new(data: &'d [u8]) -> Self {
        let mut choices = Choices::new(data);
        let (legs, codecs) = CALLS[choices.below(CALLS.len())];
        let (directions, is_muxed) = (DIRECTIONS[0], choices.once_in(2));
        let pair = Pair::new(legs, Media { codecs, directions }, is_muxed);
        for end in &pair.ends {
            assert!(end.has_keys() || !end.is_browser(), "not connected");
        }
        let (number, timestamp) = (choices.number(), u32::from(choices.number()) << 16);
        Self {
            choices,
            pair,
            codecs,
            source: [None; 2],
            sent: Vec::new(),
            next: [(number, timestamp), (number.wrapping_add(7), timestamp)],
        }
    }

    fn step(&mut self) {
        let side = self.choices.below(2);
        match self.choices.below(12) {
            0..=3 => self.rtp(side),
            4..=6 => self.rtcp(side),
            7 => self.raw(side),
            8 => self.again(),
            9 | 10 => {
                let ms = [20, 1, 60, 400, 4_000, 20_000][self.choices.below(6)];
                self.pair.run(Duration::from_millis(ms));
            }
            _ => {
                let directions = DIRECTIONS[self.choices.below(DIRECTIONS.len())];
                let codecs = match self.choices.below(3) {
                    0 => [G711, G711],
                    _ => self.codecs,
                };
                self.pair.negotiate(side, Media { codecs, directions });
            }
        }
    }

    fn rtp(&mut self, side: usize) {
        let choices = &mut self.choices;
        let (sequence, timestamp) = self.next[side];
        let sequence = match choices.below(8) {
            0 => choices.number(),
            1 => sequence.wrapping_sub(choices.byte().into()),
            2 => sequence.wrapping_add(choices.byte().into()),
            _ => sequence,
        };
        let timestamp = match choices.below(6) {
            0 => u32::from(choices.number()) << 16 | u32::from(choices.number()),
            _ => timestamp,
        };
        self.next[side] = (sequence.wrapping_add(1), timestamp.wrapping_add(160));
        let first = match choices.below(4) {
            0 => 0x80 | choices.byte() & 0x3f,
            _ => 0x80,
        };
        let own = SOURCES[side];
        let source = match choices.below(6) {
            0 => SOURCES[choices.below(SOURCES.len())],
            _ => own,
        };
        let second = TYPES[choices.below(TYPES.len())] | choices.byte() & 0x80;
        let mut packet = vec![first, second];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(source.to_be_bytes());
        let length = choices.byte();
        packet.extend(choices.take(length.into()));
        if choices.once_in(4) {
            packet.resize(172, 0xd5);
        }
        self.say(side, false, &packet);
    }

    fn rtcp(&mut self, side: usize) {
        let known: Vec<u32> = self.source[side].into_iter().chain(SOURCES).collect();
        let packet = compound::choose(&mut self.choices, &known);
        self.say(side, true, &packet);
    }

    /// From the end itself, or from elsewhere, or in the clear.
    fn say(&mut self, side: usize, is_rtcp: bool, plain: &[u8]) {
        let own = self.pair.ends[side].at();
        let elsewhere = "192.0.2.99:5000".parse().unwrap_or(own);
        let at = if is_rtcp {
            (own.ip(), own.port() + 1).into()
        } else {
            own
        };
        let at = if self.pair.ends[side].is_browser() {
            own
        } else {
            at
        };
        let (from, is_sealed) = match self.choices.below(10) {
            0 => (elsewhere, true),
            1 => (at, false),
            2 => (elsewhere, false),
            _ => (at, true),
        };
        let has_keys = self.pair.ends[side].has_keys();
        let sealed = match is_sealed {
            true => self.pair.ends[side].seal(plain),
            false => Some(plain.to_vec()),
        };
        let Some(bytes) = sealed else {
            return;
        };
        // Under keys a phone may be anywhere, and is heard there from then on: that is another target's.
        if from == elsewhere && has_keys && is_sealed && !self.pair.ends[side].is_browser() {
            return;
        }
        let heard = self.pair.send(side, from, is_rtcp, &bytes);
        let is_believed = (is_sealed || !has_keys) && from == at;
        assert!(
            is_believed || heard.is_empty(),
            "a stranger is heard: {}",
            bytes.escape_ascii()
        );
        self.check(side, plain, &heard);
        if is_believed && self.sent.len() < SENT_MAX {
            self.sent.push((side, bytes));
        }
    }

    fn raw(&mut self, side: usize) {
        let own = self.pair.ends[side].at();
        let length = usize::from(self.choices.number() % 300);
        let bytes = self.choices.take(length).to_vec();
        let is_rtcp = self.choices.once_in(2);
        let has_keys = self.pair.ends[side].has_keys();
        let heard = self.pair.send(side, own, is_rtcp, &bytes);
        assert!(heard.is_empty() || !has_keys);
        self.check(side, &bytes, &heard);
    }

    /// What was heard once is not heard again, where a key tells.
    fn again(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let (side, bytes) = self.sent[self.choices.below(self.sent.len())].clone();
        let own = self.pair.ends[side].at();
        let is_rtcp = matches!(bytes.get(1), Some(192..=223));
        let heard = self.pair.send(side, own, is_rtcp, &bytes);
        assert!(
            heard.is_empty() || !self.pair.ends[side].has_keys(),
            "replayed"
        );
    }

    /// What the other end heard of what one has said.
    fn check(&mut self, side: usize, said: &[u8], heard: &[(usize, Vec<u8>)]) {
        assert!(heard.len() <= HEARD_MAX, "{} packets of one", heard.len());
        for (hearer, bytes) in heard {
            assert_eq!(*hearer, 1 - side, "said to its speaker");
            if matches!(bytes.get(1), Some(192..=223)) {
                assert!(
                    bytes.len() <= said.len() + 12,
                    "{} bytes of {}",
                    bytes.len(),
                    said.len()
                );
                self.check_rtcp(*hearer, bytes);
            } else {
                self.check_rtp(*hearer, bytes);
            }
        }
    }

    fn check_rtp(&mut self, hearer: usize, bytes: &[u8]) {
        let header = rtp::Header::parse(bytes);
        let header = header.unwrap_or_else(|| panic!("no RTP: {}", bytes.escape_ascii()));
        let first = *self.source[hearer].get_or_insert(header.ssrc);
        assert_eq!(header.ssrc, first, "another source");
        assert_eq!(bytes[0] & 0x10, 0, "a header extension went on");
        let known: BTreeSet<u8> = (self.codecs.iter().chain([&G711]))
            .flat_map(|codecs| codecs.split(';'))
            .filter_map(|codec| codec.split(' ').next()?.parse().ok())
            .collect();
        assert!(
            known.contains(&header.payload_type),
            "{}",
            header.payload_type
        );
    }

    fn check_rtcp(&mut self, hearer: usize, bytes: &[u8]) {
        // Before the first packet of media, only RTCP tells what ours is.
        let word = bytes[4..]
            .first_chunk()
            .map(|word| u32::from_be_bytes(*word));
        let ours = *self.source[hearer].get_or_insert(word.unwrap_or_default());
        let sources = Sources {
            ours: vec![ours],
            theirs: SOURCES.to_vec(),
        };
        compound::check(bytes, &sources);
    }
}
