//! Commands and replies of rtpengine's control protocol: a cookie, a blank, a dictionary in bencode.

use bytes::Bytes;

use super::bencode::{BencodeError, Value};

/// A reply; a session description of that length fits in no SIP message.
pub const REPLY_BYTES_MAX: usize = 256 << 10;

/// What rtpengine is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Are you there?
    Ping,
    /// Rewrite an offer for whoever gets it.
    Offer(Session<'a>),
    /// Rewrite the answer to an offer for whoever made it.
    Answer(Session<'a>),
    /// A call is over.
    Delete {
        /// Its name.
        call: &'a str,
    },
    /// What do you know of a call?
    Query {
        /// Its name.
        call: &'a str,
    },
}

/// A session description and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session<'a> {
    /// Of the call.
    pub call: &'a str,
    /// Of whoever offers, in an answer too.
    pub from_tag: &'a str,
    /// Of whoever answers, once that is known.
    pub to_tag: Option<&'a str>,
    /// Tells the branches of a call apart while they have no To tag.
    pub via_branch: &'a str,
    /// Of whoever sends it.
    pub sdp: &'a [u8],
    /// What is to become of it.
    pub flags: Vec<(&'static [u8], Value<'static>)>,
}

/// What rtpengine answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is there.
    Pong,
    /// Done.
    Done {
        /// Rewritten, for an offer or an answer.
        sdp: Option<Bytes>,
        /// Of a call that was deleted or asked about.
        totals: Option<Totals>,
    },
    /// It takes no more calls.
    Full,
    /// It cannot.
    Failed {
        /// In its words.
        reason: String,
    },
}

/// What went through a call, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// RTP packets.
    pub packets: u64,
    /// In them.
    pub bytes: u64,
    /// That could not be forwarded.
    pub errors: u64,
}

/// Why bytes are no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// There is no cookie before it.
    #[error("no cookie")]
    Cookie,
    /// Longer than [`REPLY_BYTES_MAX`].
    #[error("too long")]
    TooLong,
    /// Not bencode.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// Not a result that we know.
    #[error("no result")]
    Result,
}

impl Command<'_> {
    /// Its bytes, as they are sent.
    #[must_use]
    pub fn write(&self, cookie: &str) -> Bytes {
        let pairs = match self {
            Self::Ping => vec![named("ping")],
            Self::Offer(session) => session.pairs("offer"),
            Self::Answer(session) => session.pairs("answer"),
            Self::Delete { call } => vec![named("delete"), of_call(call)],
            Self::Query { call } => vec![named("query"), of_call(call)],
        };
        let mut out = Vec::with_capacity(2_048);
        out.extend(cookie.bytes());
        out.push(b' ');
        Value::Dictionary(pairs).encode(&mut out);
        out.into()
    }
}

type Pair<'a> = (&'a [u8], Value<'a>);

fn named(command: &str) -> Pair<'_> {
    (b"command", Value::Text(command.as_bytes()))
}

fn of_call(call: &str) -> Pair<'_> {
    (b"call-id", Value::Text(call.as_bytes()))
}

impl Session<'_> {
    fn pairs(&self, command: &'static str) -> Vec<Pair<'_>> {
        let text = |key: &'static str, value| (key.as_bytes(), Value::Text(value));
        let mut pairs = vec![
            named(command),
            of_call(self.call),
            text("from-tag", self.from_tag.as_bytes()),
            text("via-branch", self.via_branch.as_bytes()),
            text("sdp", self.sdp),
        ];
        pairs.extend(self.to_tag.map(|tag| text("to-tag", tag.as_bytes())));
        pairs.extend(self.flags.iter().cloned());
        pairs
    }
}

/// The cookie of a reply, and what it says.
///
/// # Errors
/// [`ReplyError`]
pub fn read(bytes: &[u8]) -> Result<(&str, Reply), ReplyError> {
    if bytes.len() > REPLY_BYTES_MAX {
        return Err(ReplyError::TooLong);
    }
    let blank = bytes.iter().position(|byte| *byte == b' ');
    let (cookie, rest) = bytes
        .split_at_checked(blank.ok_or(ReplyError::Cookie)?)
        .ok_or(ReplyError::Cookie)?;
    let cookie = str::from_utf8(cookie).map_err(|_| ReplyError::Cookie)?;
    let value = Value::decode(rest.get(1..).unwrap_or_default())?;
    let text = |key| value.get(key).and_then(Value::text);
    let reply = match text("result").ok_or(ReplyError::Result)? {
        b"pong" => Reply::Pong,
        b"ok" => Reply::Done {
            sdp: text("sdp").map(Bytes::copy_from_slice),
            totals: value.get("totals").and_then(totals),
        },
        b"load limit" => Reply::Full,
        b"error" => {
            let reason = text("error-reason").unwrap_or(b"an error without a reason");
            Reply::Failed {
                reason: String::from_utf8_lossy(reason).into_owned(),
            }
        }
        _ => return Err(ReplyError::Result),
    };
    Ok((cookie, reply))
}

fn totals(totals: &Value<'_>) -> Option<Totals> {
    let rtp = totals.get("RTP")?;
    let count = |key| {
        let number = rtp.get(key).and_then(Value::integer);
        number.map_or(0, |number| u64::try_from(number).unwrap_or(0))
    };
    Some(Totals {
        packets: count("packets"),
        bytes: count("bytes"),
        errors: count("errors"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(command: &Command<'_>) -> String {
        String::from_utf8(command.write("c_1").to_vec()).unwrap()
    }

    #[test]
    fn commands_are_written() {
        assert_eq!(command(&Command::Ping), "c_1 d7:command4:pinge");
        assert_eq!(
            command(&Command::Delete { call: "x" }),
            "c_1 d7:command6:delete7:call-id1:xe"
        );
        let session = Session {
            call: "x",
            from_tag: "caller",
            to_tag: Some("t"),
            via_branch: "0",
            sdp: b"v=0\r\n",
            flags: vec![(b"ICE", Value::Text(b"force"))],
        };
        assert_eq!(
            command(&Command::Answer(session)),
            "c_1 d7:command6:answer7:call-id1:x8:from-tag6:caller10:via-branch1:03:sdp5:v=0\r\n6:to-tag1:t3:ICE5:forcee"
        );
    }

    #[test]
    fn replies_are_read() {
        let sdp = Some(Bytes::from_static(b"v=0"));
        let totals = Totals {
            packets: 2,
            bytes: 320,
            errors: 0,
        };
        let done = |sdp, totals| Reply::Done { sdp, totals };
        for (bytes, reply) in [
            ("c d6:result4:ponge", Reply::Pong),
            ("c d6:result2:ok3:sdp3:v=0e", done(sdp, None)),
            (
                "c d6:result2:ok6:totalsd3:RTPd7:packetsi2e5:bytesi320e6:errorsi-1eeee",
                done(None, Some(totals)),
            ),
            ("c d6:result10:load limite", Reply::Full),
            (
                "c d6:result5:error12:error-reason4:nopee",
                Reply::Failed {
                    reason: "nope".to_owned(),
                },
            ),
        ] {
            assert_eq!(read(bytes.as_bytes()), Ok(("c", reply)), "{bytes}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for (bytes, error) in [
            (&b"d6:result4:ponge"[..], ReplyError::Cookie),
            (b"\xff d6:result4:ponge", ReplyError::Cookie),
            (b"c d6:result4:pong", BencodeError::Short.into()),
            (b"c d6:result3:huhe", ReplyError::Result),
            (b"c i1e", ReplyError::Result),
            (&[b' '; REPLY_BYTES_MAX + 1], ReplyError::TooLong),
        ] {
            assert_eq!(read(bytes), Err(error));
        }
    }
}
