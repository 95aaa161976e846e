//! From the proxy's words to those of media, and back.

use bytes::Bytes;
use hookswitch_media as media;
use hookswitch_sip::proxy::io::{Direction, Leg, MediaBranch, MediaVerdict, SdpRole};

/// What becomes of a session description.
pub(super) fn answer(
    branch: &MediaBranch,
    direction: Direction,
    role: SdpRole,
    sdp: &Bytes,
) -> MediaVerdict {
    let ask = media::Ask {
        branch: media::Branch {
            call: branch.call.clone(),
            branch: branch.branch.clone(),
            to_tag: branch.to_tag.clone(),
            caller: leg(branch.caller),
            callee: leg(branch.callee),
        },
        direction: match direction {
            Direction::ToCallee => media::Direction::ToCallee,
            Direction::ToCaller => media::Direction::ToCaller,
        },
        role: match role {
            SdpRole::Offer => media::Role::Offer,
            SdpRole::Answer => media::Role::Answer,
        },
        sdp: sdp.clone(),
    };
    match media::direct(&ask) {
        media::Answer::Unchanged => MediaVerdict::Unchanged,
        media::Answer::Replace(sdp) => MediaVerdict::Replace(sdp),
        media::Answer::Refuse { status, reason } => MediaVerdict::Refuse { status, reason },
    }
}

fn leg(leg: Leg) -> media::Leg {
    match leg {
        Leg::Web => media::Leg::Web,
        Leg::Sip(upstream) => media::Leg::Sip(upstream.map(|upstream| upstream.0)),
    }
}
