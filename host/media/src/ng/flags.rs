//! What rtpengine is told of a session description, by what the one speaks who gets it and the one who sent it; and what must not
//! leave towards plain RTP, whatever rtpengine makes of it.

use bytes::Bytes;

use super::bencode::Value;
use crate::{Leg, Role};

/// Attributes of WebRTC (RFC 8839, 8842, 8843, 8830, 5576, 8285, 4585) that mean nothing to plain RTP, and tell of the browser.
const WEB_ATTRIBUTES: [&[u8]; 19] = [
    b"candidate",
    b"end-of-candidates",
    b"extmap",
    b"extmap-allow-mixed",
    b"fingerprint",
    b"group",
    b"ice-lite",
    b"ice-options",
    b"ice-pwd",
    b"ice-ufrag",
    b"mid",
    b"msid",
    b"msid-semantic",
    b"rtcp-fb",
    b"rtcp-rsize",
    b"setup",
    b"ssrc",
    b"ssrc-group",
    b"tls-id",
];
/// What a phone says of its sources (RFC 5576) is wrong where rtpengine transcodes, for then it is a source itself; and a browser that was
/// told of one plays no other.
const SOURCE_ATTRIBUTES: [&[u8]; 2] = [b"ssrc", b"ssrc-group"];
/// What is offered behind the offer's own, so that a browser with Opus alone can be understood: rtpengine transcodes then, and not if the
/// two share a codec.
const PLAIN_CODECS: &[&[u8]] = &[b"PCMA", b"PCMU"];
const WEB_CODECS: &[&[u8]] = &[b"opus"];

type Flags = Vec<(&'static [u8], Value<'static>)>;

/// What a SIP end's media is carried by. SRTP has its keys in the session description (RFC 4568).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RTP (RFC 3551).
    Avp,
    /// RTP with feedback (RFC 4585).
    Avpf,
    /// SRTP (RFC 3711).
    Savp,
    /// SRTP with feedback (RFC 5124).
    Savpf,
}

impl Protocol {
    const ALL: [Self; 4] = [Self::Avp, Self::Avpf, Self::Savp, Self::Savpf];

    fn name(self) -> &'static [u8] {
        match self {
            Self::Avp => b"RTP/AVP",
            Self::Avpf => b"RTP/AVPF",
            Self::Savp => b"RTP/SAVP",
            Self::Savpf => b"RTP/SAVPF",
        }
    }

    /// The first that a session description names.
    pub(super) fn of(sdp: &[u8]) -> Option<Self> {
        let mut lines = sdp.split(|byte| *byte == b'\n');
        lines.find_map(|line| {
            let mut words = line.strip_prefix(b"m=")?.split(|byte| *byte == b' ');
            let named = words.nth(2)?;
            Self::ALL.into_iter().find(|known| known.name() == named)
        })
    }
}

/// For what `sender` wrote, towards `recipient`, who has `protocol` if it is a SIP end. Nothing is said of who begins DTLS: rtpengine checks
/// candidates and says ClientHello as soon as it has an offer, and a browser takes the first one for the decision, whatever the answer says.
pub(super) fn flags(sender: Leg, recipient: Leg, role: Role, protocol: Protocol) -> Flags {
    let mut flags: Flags = vec![(b"replace", list(&[b"origin", b"session-connection"]))];
    let mut words: Vec<&'static [u8]> = Vec::new();
    match recipient {
        Leg::Web => {
            flags.push((b"ICE", Value::Text(b"force")));
            flags.push((b"transport-protocol", Value::Text(b"UDP/TLS/RTP/SAVPF")));
            flags.push((b"SDES", list(&[b"off"])));
            if role == Role::Offer {
                flags.push((b"rtcp-mux", list(&[b"require"])));
                words.push(b"generate-mid");
            }
        }
        Leg::Sip(_) => {
            flags.push((b"ICE", Value::Text(b"remove")));
            flags.push((b"transport-protocol", Value::Text(protocol.name())));
            if role == Role::Offer {
                flags.push((b"rtcp-mux", list(&[b"demux"])));
            }
        }
    }
    let codecs = match (role, sender, recipient) {
        (Role::Offer, Leg::Web, Leg::Sip(_)) => Some(PLAIN_CODECS),
        (Role::Offer, Leg::Sip(_), Leg::Web) => Some(WEB_CODECS),
        (Role::Offer | Role::Answer, ..) => None,
    };
    flags.extend(codecs.map(|codecs| {
        let codecs = Value::Dictionary(vec![(b"transcode", list(codecs))]);
        (&b"codec"[..], codecs)
    }));
    flags.extend((!words.is_empty()).then(|| (&b"flags"[..], list(&words))));
    flags
}

fn list(words: &[&'static [u8]]) -> Value<'static> {
    Value::List(words.iter().map(|word| Value::Text(word)).collect())
}

/// The session description that rtpengine made of `sender`'s, without what means nothing to `recipient`.
pub(super) fn clean(sdp: Bytes, sender: Leg, recipient: Leg) -> Bytes {
    match (sender, recipient) {
        (Leg::Web | Leg::Sip(_), Leg::Sip(_)) => without(&sdp, &WEB_ATTRIBUTES),
        (Leg::Sip(_), Leg::Web) => without(&sdp, &SOURCE_ATTRIBUTES),
        (Leg::Web, Leg::Web) => sdp,
    }
}

fn without(sdp: &[u8], attributes: &[&[u8]]) -> Bytes {
    let mut out = Vec::with_capacity(sdp.len());
    for line in sdp.split_inclusive(|byte| *byte == b'\n') {
        if !name_of(line).is_some_and(|name| attributes.contains(&name)) {
            out.extend_from_slice(line);
        }
    }
    out.into()
}

/// Of the attribute, if the line is one.
fn name_of(line: &[u8]) -> Option<&[u8]> {
    let attribute = line.strip_prefix(b"a=")?;
    attribute
        .split(|byte| matches!(byte, b':' | b'\r' | b'\n'))
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(sender: Leg, recipient: Leg, role: Role) -> String {
        let mut out = Vec::new();
        let flags = flags(sender, recipient, role, Protocol::Savp);
        Value::Dictionary(flags).encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_leg_has_its_own() {
        let pbx = Leg::Sip(Some(0));
        expect_test::expect![[r#"
            d7:replacel6:origin18:session-connectione3:ICE6:remove18:transport-protocol8:RTP/SAVP8:rtcp-muxl5:demuxe5:codecd9:transcodel4:PCMA4:PCMUeee
            d7:replacel6:origin18:session-connectione3:ICE5:force18:transport-protocol17:UDP/TLS/RTP/SAVPF4:SDESl3:offee
            d7:replacel6:origin18:session-connectione3:ICE5:force18:transport-protocol17:UDP/TLS/RTP/SAVPF4:SDESl3:offe8:rtcp-muxl7:requiree5:codecd9:transcodel4:opusee5:flagsl12:generate-midee
            d7:replacel6:origin18:session-connectione3:ICE6:remove18:transport-protocol8:RTP/SAVPe
            d7:replacel6:origin18:session-connectione3:ICE6:remove18:transport-protocol8:RTP/SAVP8:rtcp-muxl5:demuxee"#]].assert_eq(
            &[
                told(Leg::Web, pbx, Role::Offer),
                told(pbx, Leg::Web, Role::Answer),
                told(pbx, Leg::Web, Role::Offer),
                told(Leg::Web, pbx, Role::Answer),
                told(pbx, pbx, Role::Offer),
            ]
            .join("\n"),
        );
    }

    #[test]
    fn a_protocol_is_that_of_the_first_section_that_has_one() {
        for (sdp, protocol) in [
            ("v=0\r\nm=audio 9 RTP/SAVPF 0\r\n", Some(Protocol::Savpf)),
            (
                "m=image 9 udptl t38\nm=audio 9 RTP/AVP 0",
                Some(Protocol::Avp),
            ),
            ("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", None),
            ("m=audio\r\n", None),
        ] {
            assert_eq!(Protocol::of(sdp.as_bytes()), protocol, "{sdp}");
        }
    }

    #[test]
    fn what_is_the_browsers_does_not_leave() {
        let sdp = "v=0\r\na=group:BUNDLE 0\r\nm=audio 4000 RTP/AVP 0 101\r\na=mid:0\r\na=ssrc:1 cname:x\r\n\
                   a=rtpmap:0 PCMU/8000\r\na=fingerprint:sha-256 AA\r\na=ice-lite\r\na=sendrecv\r\na=midway:x\r\n";
        let plain = clean(Bytes::from(sdp), Leg::Web, Leg::Sip(None));
        let expected = "v=0\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\na=midway:x\r\n";
        assert_eq!(plain, expected.as_bytes());
    }

    #[test]
    fn a_browser_is_told_of_no_source_of_a_phones() {
        let sdp =
            "m=audio 4000 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ssrc:1 cname:x\r\na=sendrecv\r\n";
        let clean = |sender| clean(Bytes::from(sdp), sender, Leg::Web);
        let expected = "m=audio 4000 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=sendrecv\r\n";
        assert_eq!(clean(Leg::Sip(None)), expected.as_bytes());
        assert_eq!(clean(Leg::Web), sdp.as_bytes());
    }
}
