//! Session descriptions: what is read can be written and read again; and the engine, told any offers and answers of either end, tells the
//! other end what it understands, and nothing that is not for it.
//!
//! The input's pieces end with a NUL. Each is a byte that says whose it is and what for, and the text, in which some lines stand for more.

use std::{net::Ipv4Addr, sync::Arc};

use hookswitch_media::{
    Ask, Direction, Role,
    sdp::{self, Session},
};

use super::media::{
    browser::Browser,
    room::{LEGS, Room, branch},
};

const PIECES_MAX: usize = 12;
/// More than the engine takes is refused at once.
const TEXT_BYTES_MAX: usize = 16_384;

/// What real ends said.
const SAMPLES: [(&str, &str); 9] = [
    (
        "@a",
        include_str!("../../../../host/media/src/sdp/samples/asterisk.sdp"),
    ),
    (
        "@b",
        include_str!("../../../../host/media/src/sdp/samples/baresip.sdp"),
    ),
    (
        "@c",
        include_str!("../../../../host/media/src/sdp/samples/chromium-audio.sdp"),
    ),
    (
        "@v",
        include_str!("../../../../host/media/src/sdp/samples/chromium-audio-video.sdp"),
    ),
    (
        "@f",
        include_str!("../../../../host/media/src/sdp/samples/fax.sdp"),
    ),
    (
        "@l",
        include_str!("../../../../host/media/src/sdp/samples/linphone.sdp"),
    ),
    (
        "@p",
        include_str!("../../../../host/media/src/sdp/samples/pjsua2.sdp"),
    ),
    (
        "@s",
        include_str!("../../../../host/media/src/sdp/samples/pjsua2-sdes.sdp"),
    ),
    (
        "@h",
        include_str!("../../../../host/media/src/sdp/samples/yealink-hold.sdp"),
    ),
];
/// What this end was told last, as its own.
const ECHO: &str = "@=";
/// What makes it WebRTC.
const BROWSER: &str = "@w";

pub(crate) fn run(data: &[u8]) {
    let (ends, data) = data.split_first().unwrap_or((&0, &[]));
    let callee = LEGS[usize::from(ends >> 4) % LEGS.len()];
    let ends = [LEGS[usize::from(ends & 15) % LEGS.len()], callee];
    let call: Arc<str> = "call".into();
    let mut room = Room::new();
    // Of who called, of who was called.
    let mut told = [String::new(), String::new()];
    for piece in data.split(|byte| *byte == 0).take(PIECES_MAX) {
        let (what, text) = piece.split_first().unwrap_or((&0, &[]));
        let (direction, role) = (
            [Direction::ToCallee, Direction::ToCaller][usize::from(what & 1)],
            [Role::Offer, Role::Answer][usize::from(what >> 1 & 1)],
        );
        let (speaker, hearer) = match direction {
            Direction::ToCallee => (0, 1),
            Direction::ToCaller => (1, 0),
        };
        let text = written(&String::from_utf8_lossy(text), &told[speaker], &room);
        if let Ok(read) = Session::parse(text.as_bytes()) {
            round_trip(&read);
        }
        let branch = branch(
            &call,
            ["0", "1"][usize::from(what >> 2 & 1)],
            ["", "a", "b", "c"][usize::from(what >> 3 & 3)],
            ends,
        );
        let sdp = text.into();
        if let Some(sdp) = room.ask(Ask {
            branch,
            direction,
            role,
            sdp,
        }) {
            told[hearer] = sdp;
        }
    }
    room.close(&[call]);
}

fn written(text: &str, told: &str, room: &Room) -> String {
    let browser = Browser::new(room.now);
    let line = |line: &str| {
        let line = line.trim_end_matches('\r');
        match SAMPLES.iter().find(|(short, _)| *short == line) {
            Some((_, sample)) => sample.replace('\n', "\r\n"),
            None if line == ECHO => echo(told),
            None if line == BROWSER => browser.lines(),
            None => format!("{line}\r\n"),
        }
    };
    let mut written: String = text.split('\n').map(line).collect();
    let end = written.floor_char_boundary(TEXT_BYTES_MAX);
    written.truncate(end);
    written
}

/// An answer that takes all that was offered, or the same offer again.
fn echo(told: &str) -> String {
    let kept = told.lines().filter(|line| *line != "a=ice-lite");
    kept.map(|line| line.replace("actpass", "active") + "\r\n")
        .collect()
}

/// Written twice it is the same, for either kind of end.
fn round_trip(read: &Session) {
    let mut read = read.clone();
    for section in read
        .sections
        .iter_mut()
        .filter(|section| !section.is_refused())
    {
        // As the legs do: an address and a port of ours.
        section.address = Some(Ipv4Addr::LOCALHOST.into());
        section.port = section.port.max(9);
    }
    for write in [sdp::web::write, sdp::plain::write] {
        let once = write(&read);
        let again = Session::parse(&once);
        let again = again.unwrap_or_else(|error| panic!("{error}: {}", once.escape_ascii()));
        assert_eq!(again.sections.len(), read.sections.len());
        for (before, after) in read.sections.iter().zip(&again.sections) {
            assert_eq!((&before.kind, before.port), (&after.kind, after.port));
            if !before.is_refused() {
                assert_eq!(before.codecs.len(), after.codecs.len());
                assert_eq!(before.direction, after.direction);
            }
        }
        assert_eq!(write(&again), once, "{}", once.escape_ascii());
    }
}
