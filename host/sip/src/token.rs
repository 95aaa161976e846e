//! Flow tokens: the user part of our Record-Route, which is all that a dialog needs of us once it stands.
//!
//! A token names both ends of a dialog (where each is reached, and which of them made the dialog), the passage and branch of the call
//! through this proxy, and the worker where its record may still be. A MAC binds it to the dialog's Call-ID and to the From tag of the
//! request that made it (RFC 5626 §5.2 has the idea; RFC 3261 §16.6 item 4 the place). Keys are given: whoever keeps them on disk lets
//! tokens outlive a restart. Nothing here decides what a bad token costs.

mod client;

pub use client::ClientKey;

use std::net::{IpAddr, SocketAddr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    flow::{
        Destination, Flow, FlowId, ListenerId, NameTags, SessionKey, Transport, UpstreamId,
        WorkerId,
    },
    proxy::io::{Direction, MediaMode},
};

/// RFC 2104 §5 allows half of the hash; 96 bits keep the token short.
const MAC_BYTES: usize = 12;
/// Two IPv6 hops, or two connections, fit.
const TOKEN_BYTES_MAX: usize = 96;

/// One end of a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Where requests for it go.
    pub reach: Reach,
    /// Which upstream it is, if it is one: neither a range of addresses nor a certificate can be read from where it is reached.
    pub upstream: Option<UpstreamId>,
}

/// How an end is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On a connection that the peer opened, or on the one that replaced it.
    Session {
        /// Where the connection lived: a hint.
        worker: WorkerId,
        /// Its serial: a hint too.
        serial: u64,
        /// Where it was accepted.
        listener: ListenerId,
        /// Finds the connection by which the client is reached now.
        key: SessionKey,
    },
    /// At an address.
    Hop {
        /// Whose address we go by.
        listener: ListenerId,
        /// How.
        transport: Transport,
        /// The next hop.
        peer: SocketAddr,
    },
}

impl End {
    /// The end that a message on `flow` came from; `key` is what its client is called, unless it named its session itself.
    #[must_use]
    pub fn of_flow(flow: &Flow, key: SessionKey) -> Self {
        let reach = match flow.id {
            FlowId::Connection { worker, serial } => Reach::Session {
                worker,
                serial,
                listener: flow.listener,
                key: flow.session.unwrap_or(key),
            },
            FlowId::Datagram { listener, peer } => Reach::Hop {
                listener,
                transport: flow.transport,
                peer,
            },
        };
        Self {
            reach,
            upstream: flow.side.upstream(),
        }
    }

    /// Where messages for this end go as far as the token knows.
    #[must_use]
    pub fn destination(&self) -> Destination {
        match self.reach {
            Reach::Session { worker, serial, .. } => {
                Destination::Flow(FlowId::Connection { worker, serial })
            }
            Reach::Hop {
                listener,
                transport: Transport::Udp,
                peer,
            } => Destination::Flow(FlowId::Datagram { listener, peer }),
            Reach::Hop {
                listener,
                transport,
                peer,
            } => Destination::Connect {
                transport,
                listener,
                peer,
                lane: 0,
            },
        }
    }

    /// The listener whose address this end knows us by.
    #[must_use]
    pub fn listener(&self) -> ListenerId {
        match self.reach {
            Reach::Session { listener, .. } | Reach::Hop { listener, .. } => listener,
        }
    }
}

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// Where the call's record is, if it still is.
    pub worker: WorkerId,
    /// Which passage of the call through this proxy: the same Call-ID and From tag may pass twice.
    pub passage: u32,
    /// Which branch of that passage.
    pub branch: u8,
    /// The end that sent the request that made the dialog.
    pub caller: End,
    /// The end that it was sent to.
    pub callee: End,
    /// How far the CSeq of that request was ahead of its sender's own.
    pub ahead: u8,
    /// What becomes of its media, if a policy chose.
    pub media: Option<MediaMode>,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not something we wrote.
    #[error("malformed flow token")]
    Malformed,
    /// Its key is gone.
    #[error("flow token of an expired key")]
    KeyExpired,
    /// Forged, or of another dialog.
    #[error("flow token does not belong to this dialog")]
    Forged,
}

/// A secret and its name.
#[derive(Clone)]
pub struct Key {
    id: u8,
    /// Keyed once: a clone costs less than keying again.
    mac: Hmac<Sha256>,
}

impl Key {
    /// `id` names the key inside tokens; keys that overlap in time must differ in it.
    #[must_use]
    pub fn new(id: u8, secret: &[u8; 32]) -> Self {
        // A key of 32 bytes fits the block of SHA-256 (64 bytes), so this key is used as it is (RFC 2104 §2).
        let mut block = [0u8; 64];
        block[..32].copy_from_slice(secret);
        Self {
            id,
            mac: Hmac::new(&block.into()),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The key that seals, and those before it that still open.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// Seals and opens.
    pub current: Key,
    /// Open only: tokens of dialogs that began before the last rotation.
    pub previous: Vec<Key>,
}

impl Keyring {
    /// With one key.
    #[must_use]
    pub fn new(current: Key) -> Self {
        Self {
            current,
            previous: Vec::new(),
        }
    }

    fn find(&self, id: u8) -> Option<&Key> {
        std::iter::once(&self.current)
            .chain(&self.previous)
            .find(|key| key.id == id)
    }
}

impl Token {
    /// The text of this token, for the dialogs of this Call-ID and From tag.
    #[must_use]
    pub fn seal(
        &self,
        keys: &Keyring,
        names: &NameTags,
        call_id: &[u8],
        from_tag: &[u8],
    ) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES_MAX);
        bytes.push(keys.current.id);
        bytes.push(self.worker.0);
        bytes.extend(self.passage.to_be_bytes());
        bytes.push(self.branch);
        write_end(&mut bytes, &self.caller, names);
        write_end(&mut bytes, &self.callee, names);
        if self.ahead > 0 || self.media.is_some() {
            bytes.push(self.ahead);
        }
        bytes.extend(self.media.map(media_code));
        let mac = mac_of(&keys.current, &bytes, call_id, from_tag)
            .finalize()
            .into_bytes();
        bytes.extend_from_slice(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Opens `text` in a message of the dialog with these tags, and says which way that message travels: the token is bound to the tag
    /// of the dialog's first From. A listener that is not among `names` any more is [`ListenerId::GONE`], and an
    /// upstream none.
    ///
    /// # Errors
    /// [`TokenError`]: not ours, of a key that is gone, or not of this dialog.
    pub fn open(
        keys: &Keyring,
        names: &NameTags,
        text: &[u8],
        call_id: &[u8],
        from_tag: &[u8],
        to_tag: &[u8],
    ) -> Result<(Self, Direction), TokenError> {
        let mut buffer = [0u8; TOKEN_BYTES_MAX];
        let bytes = decode(text, &mut buffer)?;
        let (fields, mac) = bytes
            .split_at_checked(bytes.len().saturating_sub(MAC_BYTES))
            .ok_or(TokenError::Malformed)?;
        let mut rest = Reader(fields);
        let key_id = rest.u8()?;
        let token = read_fields(&mut rest, names)?;
        let key = keys.find(key_id).ok_or(TokenError::KeyExpired)?;
        let made_by = |tag| {
            mac_of(key, fields, call_id, tag)
                .verify_truncated_left(mac)
                .is_ok()
        };
        if mac.len() != MAC_BYTES {
            Err(TokenError::Malformed)
        } else if made_by(from_tag) {
            Ok((token, Direction::ToCallee))
        } else if made_by(to_tag) {
            Ok((token, Direction::ToCaller))
        } else {
            Err(TokenError::Forged)
        }
    }

    /// Where the token in `text` says that its call's worker is, unverified: good for placing a message, for nothing else.
    #[must_use]
    pub fn worker_hint(text: &[u8]) -> Option<WorkerId> {
        let mut buffer = [0u8; TOKEN_BYTES_MAX];
        let bytes = decode(text, &mut buffer).ok()?;
        let fields = bytes.get(1..bytes.len().checked_sub(MAC_BYTES)?)?;
        read_fields(&mut Reader(fields), &NameTags::default())
            .ok()
            .map(|token| token.worker)
    }

    /// The end that a message of this direction goes to.
    #[must_use]
    pub fn to(&self, direction: Direction) -> &End {
        match direction {
            Direction::ToCallee => &self.callee,
            Direction::ToCaller => &self.caller,
        }
    }
}

fn decode<'b>(text: &[u8], buffer: &'b mut [u8]) -> Result<&'b [u8], TokenError> {
    let len = URL_SAFE_NO_PAD
        .decode_slice(text, buffer)
        .map_err(|_| TokenError::Malformed)?;
    buffer.get(..len).ok_or(TokenError::Malformed)
}

fn mac_of(key: &Key, fields: &[u8], call_id: &[u8], from_tag: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.mac.clone();
    mac.update(fields);
    // The length keeps one Call-ID and tag from reading as another pair.
    mac.update(
        &u32::try_from(call_id.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    mac.update(call_id);
    mac.update(from_tag);
    mac
}

const TAG_SESSION: u8 = 0;
const TAG_HOP_V4: u8 = 1;
const TAG_HOP_V6: u8 = 2;
/// Beside one of the others: the end says of which upstream it is.
const TAG_UPSTREAM: u8 = 0x80;

fn write_end(out: &mut Vec<u8>, end: &End, names: &NameTags) {
    let tag = match end.reach {
        Reach::Session { .. } => TAG_SESSION,
        Reach::Hop { peer, .. } if peer.is_ipv4() => TAG_HOP_V4,
        Reach::Hop { .. } => TAG_HOP_V6,
    };
    match end.upstream {
        None => out.push(tag),
        Some(id) => {
            out.push(tag | TAG_UPSTREAM);
            out.extend(names.upstream(id).to_be_bytes());
        }
    }
    let listener = names.listener(end.listener()).to_be_bytes();
    match end.reach {
        Reach::Session {
            worker,
            serial,
            key,
            ..
        } => {
            out.push(worker.0);
            out.extend(listener);
            out.extend(serial.to_be_bytes());
            out.extend(key.0.to_be_bytes());
        }
        Reach::Hop {
            transport, peer, ..
        } => {
            out.push(transport_code(transport));
            out.extend(listener);
            match peer.ip() {
                IpAddr::V4(ip) => out.extend(ip.octets()),
                IpAddr::V6(ip) => out.extend(ip.octets()),
            }
            out.extend(peer.port().to_be_bytes());
        }
    }
}

fn read_fields(rest: &mut Reader<'_>, names: &NameTags) -> Result<Token, TokenError> {
    let token = Token {
        worker: WorkerId(rest.u8()?),
        passage: u32::from_be_bytes(rest.take()?),
        branch: rest.u8()?,
        caller: read_end(rest, names)?,
        callee: read_end(rest, names)?,
        ahead: if rest.0.is_empty() { 0 } else { rest.u8()? },
        media: read_media(rest)?,
    };
    if rest.0.is_empty() {
        Ok(token)
    } else {
        Err(TokenError::Malformed)
    }
}

fn read_end(rest: &mut Reader<'_>, names: &NameTags) -> Result<End, TokenError> {
    let tag = rest.u8()?;
    let upstream = match tag & TAG_UPSTREAM {
        0 => None,
        _ => names.find_upstream(u32::from_be_bytes(rest.take()?)),
    };
    let listener = |rest: &mut Reader<'_>| -> Result<ListenerId, TokenError> {
        let tag = rest.take().map(u32::from_be_bytes)?;
        Ok(names.find_listener(tag))
    };
    // Fields in the order of their bytes.
    let reach = match tag & !TAG_UPSTREAM {
        TAG_SESSION => Reach::Session {
            worker: WorkerId(rest.u8()?),
            listener: listener(rest)?,
            serial: u64::from_be_bytes(rest.take()?),
            key: SessionKey(u64::from_be_bytes(rest.take()?)),
        },
        tag => Reach::Hop {
            transport: transport_from(rest.u8()?)?,
            listener: listener(rest)?,
            peer: read_peer(tag, rest)?,
        },
    };
    Ok(End { reach, upstream })
}

fn read_peer(tag: u8, rest: &mut Reader<'_>) -> Result<SocketAddr, TokenError> {
    let ip = match tag {
        TAG_HOP_V4 => IpAddr::from(rest.take::<4>()?),
        TAG_HOP_V6 => IpAddr::from(rest.take::<16>()?),
        _ => return Err(TokenError::Malformed),
    };
    Ok(SocketAddr::new(ip, u16::from_be_bytes(rest.take()?)))
}

/// The last field, and only there if a policy chose.
fn read_media(rest: &mut Reader<'_>) -> Result<Option<MediaMode>, TokenError> {
    if rest.0.is_empty() {
        return Ok(None);
    }
    match rest.u8()? {
        0 => Ok(Some(MediaMode::Auto)),
        1 => Ok(Some(MediaMode::Direct)),
        2 => Ok(Some(MediaMode::Relay)),
        3 => Ok(Some(MediaMode::Rtpengine)),
        _ => Err(TokenError::Malformed),
    }
}

fn media_code(mode: MediaMode) -> u8 {
    match mode {
        MediaMode::Auto => 0,
        MediaMode::Direct => 1,
        MediaMode::Relay => 2,
        MediaMode::Rtpengine => 3,
    }
}

fn transport_code(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 0,
        Transport::Tcp => 1,
        Transport::Tls => 2,
        Transport::Ws => 3,
        Transport::Wss => 4,
    }
}

fn transport_from(code: u8) -> Result<Transport, TokenError> {
    match code {
        0 => Ok(Transport::Udp),
        1 => Ok(Transport::Tcp),
        2 => Ok(Transport::Tls),
        3 => Ok(Transport::Ws),
        4 => Ok(Transport::Wss),
        _ => Err(TokenError::Malformed),
    }
}

struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], TokenError> {
        let (head, tail) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(TokenError::Malformed)?;
        self.0 = tail;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8, TokenError> {
        self.take::<1>().map(|[byte]| byte)
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
