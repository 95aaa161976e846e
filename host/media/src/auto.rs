//! The mode `auto`: which offers need somebody between the two ends.

use crate::{Ask, Leg};

/// What `auto` comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto {
    /// The two ends understand each other.
    Direct,
    /// They do not, or need not reach each other.
    Relay,
}

/// Decides an offer by its target: a WebRTC offer to somebody who speaks WebRTC goes there as it is. An offer that comes late, in a
/// response, is judged by itself: it may be of a phone, or of a browser behind it.
#[must_use]
pub fn by_target(offer: &Ask) -> Auto {
    match offer.recipient() {
        Leg::Web if is_webrtc(&offer.sdp) => Auto::Direct,
        Leg::Web | Leg::Sip(_) => Auto::Relay,
    }
}

/// Is there a stream over DTLS-SRTP (RFC 8827 §6.5, RFC 5764 §8)?
fn is_webrtc(sdp: &[u8]) -> bool {
    let lines = sdp.split(|byte| *byte == b'\n');
    let mut media = lines.filter_map(|line| line.strip_prefix(b"m="));
    let is_dtls = |media: &[u8]| {
        let protocol = media.split(|byte| *byte == b' ').nth(2);
        let words = protocol.map(|protocol| protocol.split(|byte| *byte == b'/'));
        words.is_some_and(|mut words| words.any(|word| word == b"TLS" || word == b"DTLS"))
    };
    media.any(is_dtls)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Branch, Direction, Role};

    const WEB: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
    const PLAIN: &str = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";

    #[test]
    fn a_webrtc_offer_to_webrtc_needs_nobody() {
        let pbx = Leg::Sip(Some(0));
        for (caller, callee, direction, sdp, expected) in [
            (Leg::Web, Leg::Web, Direction::ToCallee, WEB, Auto::Direct),
            (Leg::Web, pbx, Direction::ToCallee, WEB, Auto::Relay),
            (pbx, Leg::Web, Direction::ToCallee, PLAIN, Auto::Relay),
            (pbx, pbx, Direction::ToCallee, PLAIN, Auto::Relay),
            // A late offer, from a phone and from a browser beyond the PBX.
            (Leg::Web, pbx, Direction::ToCaller, PLAIN, Auto::Relay),
            (Leg::Web, pbx, Direction::ToCaller, WEB, Auto::Direct),
        ] {
            let branch = Branch {
                call: "c".into(),
                branch: "0".into(),
                to_tag: None,
                caller,
                callee,
            };
            let ask = Ask {
                branch,
                direction,
                role: Role::Offer,
                sdp: Bytes::from_static(sdp.as_bytes()),
            };
            assert_eq!(by_target(&ask), expected, "{ask:?}");
        }
    }
}
