//! A call between two ends of any kind that has media, and what either end sends and hears.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hookswitch_media::{
    Ask, Direction, Leg, Role,
    engine::Input,
    sdp::{RtcpPort, Session},
    sockets::SocketId,
    srtp::{Inbound, Keys, Outbound, Profile},
};

use super::{
    browser::Browser,
    opened,
    room::{LEGS, Room, Sent, WEB, branch, socket},
    sealed,
};

/// In the order of the ends.
pub(crate) const AT: [&str; 2] = ["192.0.2.17:5000", "192.0.2.30:6000"];
const KEY: [u8; 30] = [7; 30];
const KEY_LINE: &str =
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH\r\n";
/// Until both have keys.
const CONNECT: Duration = Duration::from_secs(3);

/// How one end speaks.
enum Way {
    Browser(Box<Browser>),
    Phone(Option<Box<(Outbound, Inbound)>>),
}

/// One end.
pub(crate) struct End {
    way: Way,
    at: SocketAddr,
    /// Where it sends to: the engine's port.
    port: u16,
    is_muxed: bool,
}

/// What the m-lines are of, and which way media goes.
#[derive(Clone, Copy)]
pub(crate) struct Media<'m> {
    /// The payload types of either end, with their lines.
    pub(crate) codecs: [&'m str; 2],
    pub(crate) directions: [&'m str; 2],
}

/// A call that both ends are in.
pub(crate) struct Pair {
    pub(crate) room: Room,
    pub(crate) ends: [End; 2],
    pub(crate) call: Arc<str>,
    legs: [Leg; 2],
    version: u32,
}

impl Pair {
    /// Of these [`LEGS`]; offered and answered once, and connected.
    pub(crate) fn new(legs: [usize; 2], media: Media<'_>, is_muxed: bool) -> Self {
        let room = Room::new();
        let now = room.now;
        let end = |side: usize| End {
            way: match LEGS[legs[side]] {
                Leg::Web => Way::Browser(Box::new(Browser::new(now))),
                Leg::Sip(_) => Way::Phone(None),
            },
            at: AT[side]
                .parse()
                .unwrap_or_else(|_| unreachable!("an address")),
            port: 0,
            is_muxed,
        };
        let mut pair = Self {
            room,
            ends: [end(0), end(1)],
            call: "call".into(),
            legs: legs.map(|leg| LEGS[leg]),
            version: 0,
        };
        assert!(pair.negotiate(0, media), "the first offer is refused");
        let branch = branch(&pair.call, "0", "a", pair.legs);
        pair.room.handle(Input::Established { branch });
        pair.run(CONNECT);
        pair
    }

    /// One of them offers and the other one answers. Gives whether both were understood.
    pub(crate) fn negotiate(&mut self, offerer: usize, media: Media<'_>) -> bool {
        self.version += 1;
        let answerer = 1 - offerer;
        self.say(offerer, Role::Offer, media) && self.say(answerer, Role::Answer, media)
    }

    fn say(&mut self, side: usize, role: Role, media: Media<'_>) -> bool {
        let hearer = 1 - side;
        let direction = [Direction::ToCallee, Direction::ToCaller][side];
        let sdp = self.description(side, role, media);
        let to_tag = if self.version == 1 && role == Role::Offer {
            ""
        } else {
            "a"
        };
        let branch = branch(&self.call, "0", to_tag, self.legs);
        let ask = Ask {
            branch,
            direction,
            role,
            sdp: sdp.into(),
        };
        let Some(told) = self.room.ask(ask) else {
            return false;
        };
        let told = Session::parse(told.as_bytes());
        let told = told.unwrap_or_else(|error| panic!("what we tell: {error}"));
        self.ends[hearer].read(self.room.now, &told);
        true
    }

    fn description(&self, side: usize, role: Role, media: Media<'_>) -> String {
        let end = &self.ends[side];
        let (address, port) = (end.at.ip(), end.at.port());
        let (codecs, direction) = (media.codecs[side], media.directions[side]);
        let formats: Vec<&str> = codecs.split(';').collect();
        let numbers = formats.iter().filter_map(|format| format.split(' ').next());
        let numbers = numbers.collect::<Vec<_>>().join(" ");
        let maps = formats
            .iter()
            .map(|format| format!("a=rtpmap:{format}\r\n"));
        let (protocol, more) = match (&end.way, self.legs[side]) {
            (Way::Browser(browser), _) => {
                let setup = if role == Role::Offer {
                    "actpass"
                } else {
                    "active"
                };
                (
                    "UDP/TLS/RTP/SAVPF",
                    format!("a=mid:0\r\na=setup:{setup}\r\n{}", browser.lines()),
                )
            }
            (Way::Phone(_), Leg::Sip(Some(0))) => ("RTP/SAVP", KEY_LINE.to_owned()),
            (Way::Phone(_), Leg::Sip(Some(2))) => ("RTP/AVPF", String::new()),
            (Way::Phone(_), Leg::Sip(_) | Leg::Web) => ("RTP/AVP", String::new()),
        };
        let mux = if end.is_muxed { "a=rtcp-mux\r\n" } else { "" };
        format!(
            "v=0\r\no=- 1 {} IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
             m=audio {port} {protocol} {numbers}\r\n{}a={direction}\r\n{mux}{more}",
            self.version,
            maps.collect::<String>(),
        )
    }

    /// Lets time pass, with browsers and engine talking to each other.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.room.now + time;
        loop {
            let mut is_quiet = true;
            for side in [0, 1] {
                let at = self.ends[side].at;
                for bytes in self.ends[side].outbox() {
                    is_quiet = false;
                    let left = self.room.packet(WEB, at, &bytes);
                    assert!(left.is_none(), "no media, and it leaves");
                }
            }
            let heard = self.deliver(None);
            assert!(heard.is_empty(), "media that nobody sent");
            if !is_quiet {
                continue;
            }
            let of_ends = self.ends.iter().filter_map(End::poll_timeout);
            let due = of_ends.chain(self.room.engine.poll_timeout()).min();
            let Some(due) = due.filter(|due| *due <= end) else {
                break;
            };
            let now = self.room.now.max(due);
            self.room.now = now;
            self.ends.iter_mut().for_each(|end| end.handle_timeout(now));
            self.room.handle_timeout();
        }
        self.room.now = end;
    }

    /// A datagram to where `side` sends, from there or elsewhere: what either end hears of it, in the clear.
    pub(crate) fn send(
        &mut self,
        side: usize,
        from: SocketAddr,
        is_rtcp: bool,
        bytes: &[u8],
    ) -> Vec<(usize, Vec<u8>)> {
        let socket = self.ends[side].socket(is_rtcp);
        let left = self.room.packet(socket, from, bytes);
        self.deliver(left)
    }

    fn deliver(&mut self, left: Option<Sent>) -> Vec<(usize, Vec<u8>)> {
        let now = self.room.now;
        let sent = left.into_iter().chain(self.room.sent.drain(..));
        let mut heard = Vec::new();
        for (socket, to, bytes) in sent.collect::<Vec<_>>() {
            let side = self.ends.iter().position(|end| end.is_at(to));
            // Whoever may be answered that is no end has checked, or made believe so.
            let Some(side) = side else {
                assert!(matches!(bytes.first(), Some(0..=63)), "media to {to}");
                continue;
            };
            assert!(
                self.ends[side].sends_to(socket),
                "{socket:?} is not what {to} knows"
            );
            heard.extend(self.ends[side].hear(now, &bytes).map(|heard| (side, heard)));
        }
        heard
    }
}

impl End {
    fn read(&mut self, now: Instant, told: &Session) {
        let section = &told.sections[0];
        if section.is_refused() {
            return;
        }
        self.port = section.port;
        self.is_muxed = section.rtcp == RtcpPort::Muxed;
        match &mut self.way {
            Way::Browser(browser) => {
                let web = section.web.as_ref();
                browser.read(
                    now,
                    web.unwrap_or_else(|| panic!("told without credentials")),
                );
            }
            Way::Phone(srtp) => {
                let theirs = section.crypto.iter().find(|key| key.tag == 1);
                let keys = theirs.and_then(|key| Keys::new(key.profile, &key.key_and_salt));
                let own = Keys::new(Profile::AesCm128HmacSha1_80, &KEY);
                // The same keys go on with their counters.
                if let (Some(theirs), Some(own), None) = (keys, own, &srtp) {
                    *srtp = Some(Box::new((Outbound::new(&own), Inbound::new(&theirs))));
                }
            }
        }
    }

    pub(crate) fn at(&self) -> SocketAddr {
        self.at
    }

    /// Whether nobody else can speak for it.
    pub(crate) fn has_keys(&self) -> bool {
        match &self.way {
            Way::Browser(browser) => browser.has_keys(),
            Way::Phone(srtp) => srtp.is_some(),
        }
    }

    pub(crate) fn is_browser(&self) -> bool {
        matches!(self.way, Way::Browser(_))
    }

    /// As it would send this.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        match &mut self.way {
            Way::Browser(browser) => browser.seal(plain),
            Way::Phone(None) => Some(plain.to_vec()),
            Way::Phone(Some(srtp)) => sealed(&mut srtp.0, plain).ok(),
        }
    }

    fn hear(&mut self, now: Instant, bytes: &[u8]) -> Option<Vec<u8>> {
        match &mut self.way {
            Way::Browser(browser) => browser.receive(now, bytes),
            Way::Phone(None) => Some(bytes.to_vec()),
            Way::Phone(Some(srtp)) => {
                let plain = opened(&mut srtp.1, bytes);
                Some(plain.unwrap_or_else(|refused| panic!("{refused}: {}", bytes.escape_ascii())))
            }
        }
    }

    fn socket(&self, is_rtcp: bool) -> SocketId {
        match &self.way {
            Way::Browser(_) => WEB,
            Way::Phone(_) => socket(self.port + u16::from(is_rtcp && !self.is_muxed)),
        }
    }

    fn sends_to(&self, from: SocketId) -> bool {
        [false, true]
            .iter()
            .any(|is_rtcp| self.socket(*is_rtcp) == from)
    }

    /// RTP, or RTCP one above it.
    fn is_at(&self, to: SocketAddr) -> bool {
        to.ip() == self.at.ip() && to.port().wrapping_sub(self.at.port()) < 2
    }

    fn outbox(&mut self) -> Vec<Vec<u8>> {
        match &mut self.way {
            Way::Browser(browser) => std::mem::take(&mut browser.outbox),
            Way::Phone(_) => Vec::new(),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match &self.way {
            Way::Browser(browser) => browser.poll_timeout(),
            Way::Phone(_) => None,
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match &mut self.way {
            Way::Browser(browser) => browser.handle_timeout(now),
            Way::Phone(_) => {}
        }
    }
}
