//! One call: two sockets, what each says of itself, and where the relay has it.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hookswitch_media::{
    codec::Encoding,
    sdp::{Section, Session},
    srtp::{Inbound, KeyPair, Keys, Outbound, Profile},
};
use mio::net::UdpSocket;

use crate::{
    ng::Ng,
    web::{Browser, Handshake},
};

const SDES: Profile = Profile::AesCm128HmacSha1_80;

/// What the caller speaks; the callee speaks plain RTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// RTP.
    Plain,
    /// SRTP with keys by SDES.
    Sdes,
    /// SRTP with keys by DTLS, on a way that ICE has found.
    Web,
}

/// What the two ends send each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codecs {
    /// Both speak PCMA.
    Shared,
    /// The caller speaks Opus alone, the callee this: the relay transcodes.
    OpusAnd(Encoding),
}

impl Codecs {
    /// The caller's, then the callee's.
    #[must_use]
    pub fn of_ends(self) -> [Encoding; 2] {
        match self {
            Self::Shared => [Encoding::Pcma; 2],
            Self::OpusAnd(encoding) => [Encoding::Opus, encoding],
        }
    }
}

/// One that is up. Both ends may send.
pub struct Call {
    /// As the relay knows it.
    pub name: String,
    /// The caller and the callee.
    pub ends: [End; 2],
}

/// One end of a call.
pub struct End {
    /// Its own.
    pub socket: UdpSocket,
    /// The relay's port for it.
    pub relay: SocketAddr,
    /// For what it sends and for what it gets, if that is protected.
    pub srtp: Option<(Outbound, Inbound)>,
    /// A browser says it every few seconds: whoever does not is sent nothing after 30 s (RFC 7675 §5.1).
    pub check: Option<Vec<u8>>,
    /// What it sends and hears.
    pub encoding: Encoding,
}

impl End {
    pub(crate) fn open() -> Result<(UdpSocket, SocketAddr)> {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let bound = socket.local_addr()?;
        Ok((socket, bound))
    }
}

impl Call {
    /// Sets one up, with all that its keys need.
    ///
    /// # Errors
    /// The relay does not do its part.
    pub fn set_up(
        ng: &mut Ng,
        number: usize,
        (speech, codecs): (Speech, Codecs),
        browser: &Browser,
    ) -> Result<Call> {
        let name = format!("load-{}-{number}", std::process::id());
        let ((caller, caller_at), (callee, callee_at)) = (End::open()?, End::open()?);
        let key = key_of(number);
        let [said, heard] = codecs.of_ends();
        let offer = match speech {
            Speech::Plain => description(caller_at, "RTP/AVP", said, ""),
            Speech::Sdes => description(caller_at, "RTP/SAVP", said, &crypto(&key)),
            Speech::Web => browser.description(caller_at, said),
        };
        let offered = section(&ng.offer(&name, &offer, codecs).context("offer")?)?;
        let answer = description(callee_at, "RTP/AVP", heard, "");
        let answered = ng.answer(&name, &answer, speech).context("answer")?;
        let answered = section(&answered)?;
        let (to_caller, to_callee) = (at(&answered)?, at(&offered)?);
        let (keys, check) = match speech {
            Speech::Plain => (None, None),
            Speech::Sdes => (Some(sdes(&key, &answered)?), None),
            Speech::Web => {
                let web = answered.web.as_ref().context("no WebRTC in the answer")?;
                let (keys, check) = Handshake::new(browser, &caller, to_caller, web).run()?;
                (Some(keys), Some(check))
            }
        };
        let srtp = keys.map(|keys| (Outbound::new(&keys.outbound), Inbound::new(&keys.inbound)));
        let callee = End {
            socket: callee,
            relay: to_callee,
            srtp: None,
            check: None,
            encoding: heard,
        };
        let caller = End {
            socket: caller,
            relay: to_caller,
            srtp,
            check,
            encoding: said,
        };
        let ends = [caller, callee];
        Ok(Call { name, ends })
    }
}

pub(crate) fn section(sdp: &str) -> Result<Section> {
    let session = Session::parse(sdp.as_bytes())?;
    let mut sections = session.sections.into_iter();
    sections.next().context("a description without media")
}

pub(crate) fn at(section: &Section) -> Result<SocketAddr> {
    let address = section.address.context("a section without an address")?;
    Ok(SocketAddr::new(address, section.port))
}

/// Any.
fn key_of(number: usize) -> Vec<u8> {
    let bytes = number.to_be_bytes().into_iter().cycle();
    let length = SDES.key_bytes() + SDES.salt_bytes();
    bytes
        .zip(0_u8..)
        .map(|(byte, i)| byte ^ i)
        .take(length)
        .collect()
}

fn crypto(key: &[u8]) -> String {
    let key = STANDARD.encode(key);
    format!("a=crypto:1 {} inline:{key}\r\n", SDES.sdes())
}

fn sdes(ours: &[u8], theirs: &Section) -> Result<KeyPair> {
    let theirs = theirs.crypto.first().context("no key in the answer")?;
    let keys = |bytes| Keys::new(SDES, bytes).context("a key of another length");
    Ok(KeyPair {
        outbound: keys(ours)?,
        inbound: keys(&theirs.key_and_salt)?,
    })
}

/// One stream.
pub(crate) fn description(
    at: SocketAddr,
    protocol: &str,
    encoding: Encoding,
    attributes: &str,
) -> String {
    let (address, port, number) = (at.ip(), at.port(), payload_type(encoding));
    let (name, clock) = (encoding.name(), encoding.clock_hz());
    let channels = if encoding == Encoding::Opus { "/2" } else { "" };
    format!(
        "v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nt=0 0\r\nm=audio {port} {protocol} {number}\r\nc=IN IP4 {address}\r\n\
         a=rtpmap:{number} {name}/{clock}{channels}\r\na=sendrecv\r\n{attributes}"
    )
}

/// By RFC 3551 §6, and by habit.
pub(crate) fn payload_type(encoding: Encoding) -> u8 {
    match encoding {
        Encoding::Pcmu => 0,
        Encoding::Pcma => 8,
        Encoding::G722 => 9,
        Encoding::Opus => 111,
    }
}
