//! Commands to a relay over rtpengine's control protocol, one after the other, and the flags of each leg.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hookswitch_media::ng::{
    bencode::Value,
    message::{self, Command, Reply, Session},
};

use crate::call::{Codecs, Speech};

const REPLY_MAX: Duration = Duration::from_secs(1);
const ATTEMPTS_MAX: u32 = 3;
const REPLY_BYTES_MAX: usize = 65_536;
/// The two ends.
const TAGS: [&str; 2] = ["caller", "callee"];

/// The way to one relay.
pub struct Ng {
    socket: UdpSocket,
    last_cookie: u64,
}

impl Ng {
    /// Waits until it answers.
    ///
    /// # Errors
    /// There is no socket, or no answer.
    pub fn connect(relay: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(relay)?;
        socket.set_read_timeout(Some(REPLY_MAX))?;
        let last_cookie = 0;
        let mut ng = Self {
            socket,
            last_cookie,
        };
        match ng.ask(&Command::Ping)? {
            Reply::Pong => Ok(ng),
            other => bail!("ping: {other:?}"),
        }
    }

    /// The caller, who speaks `speech`, offers this to a callee who speaks plain RTP. Gives what the callee is told.
    ///
    /// # Errors
    /// The relay does not answer, or refuses.
    pub fn offer(&mut self, call: &str, sdp: &str, codecs: Codecs) -> Result<String> {
        let mut flags = plain();
        flags.push((b"transport-protocol", Value::Text(b"RTP/AVP")));
        flags.push((b"rtcp-mux", Value::List(vec![Value::Text(b"demux")])));
        if let Codecs::OpusAnd(encoding) = codecs {
            let names = Value::List(vec![Value::Text(encoding.name().as_bytes())]);
            flags.push((b"codec", Value::Dictionary(vec![(b"transcode", names)])));
        }
        self.described(Command::Offer(Session {
            call,
            from_tag: TAGS[0],
            to_tag: None,
            via_branch: "0",
            sdp: sdp.as_bytes(),
            flags,
        }))
    }

    /// The callee answers. Gives what the caller is told.
    ///
    /// # Errors
    /// The relay does not answer, or refuses.
    pub fn answer(&mut self, call: &str, sdp: &str, caller: Speech) -> Result<String> {
        let flags = match caller {
            Speech::Plain | Speech::Sdes => plain(),
            Speech::Web => web(),
        };
        self.described(Command::Answer(Session {
            call,
            from_tag: TAGS[0],
            to_tag: Some(TAGS[1]),
            via_branch: "0",
            sdp: sdp.as_bytes(),
            flags,
        }))
    }

    /// The call is over.
    ///
    /// # Errors
    /// The relay does not answer, or refuses.
    pub fn delete(&mut self, call: &str) -> Result<()> {
        self.ask(&Command::Delete { call }).map(drop)
    }

    fn described(&mut self, command: Command<'_>) -> Result<String> {
        match self.ask(&command)? {
            Reply::Done { sdp: Some(sdp), .. } => Ok(String::from_utf8(sdp.to_vec())?),
            other => bail!("no description, but {other:?}"),
        }
    }

    fn ask(&mut self, command: &Command<'_>) -> Result<Reply> {
        self.last_cookie += 1;
        let cookie = format!("load{}_{}", std::process::id(), self.last_cookie);
        let bytes = command.write(&cookie);
        let mut buffer = vec![0; REPLY_BYTES_MAX];
        for _ in 0..ATTEMPTS_MAX {
            self.socket.send(&bytes)?;
            // One that came late is another command's.
            while let Ok(length) = self.socket.recv(&mut buffer) {
                let (of, reply) = message::read(buffer.get(..length).unwrap_or_default())?;
                if of == cookie {
                    return succeeded(reply);
                }
            }
        }
        Err(std::io::Error::last_os_error()).context("the relay does not answer")
    }
}

fn succeeded(reply: Reply) -> Result<Reply> {
    match reply {
        Reply::Failed { reason } => bail!("{reason}"),
        Reply::Full => bail!("no more calls"),
        Reply::Pong | Reply::Done { .. } => Ok(reply),
    }
}

type Flags = Vec<(&'static [u8], Value<'static>)>;

fn plain() -> Flags {
    vec![replace(), (b"ICE", Value::Text(b"remove"))]
}

fn web() -> Flags {
    vec![
        replace(),
        (b"ICE", Value::Text(b"force")),
        (b"DTLS", Value::Text(b"passive")),
        (b"SDES", Value::List(vec![Value::Text(b"off")])),
    ]
}

fn replace() -> (&'static [u8], Value<'static>) {
    let words = [&b"origin"[..], b"session-connection"];
    (b"replace", Value::List(words.map(Value::Text).to_vec()))
}
