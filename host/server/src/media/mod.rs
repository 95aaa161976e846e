//! Who answers what the proxies ask about media: nobody (`direct`), or a cluster of rtpengines, on a thread of its own. A worker never
//! waits for an answer; it comes back over the worker's own channel.

mod connection;
mod rtpengine;

use std::io;

use hookswitch_media::{self as media, Auto};
use hookswitch_sip::{
    flow::{UpstreamId, WorkerId},
    proxy::io::{AskId, Leg, MediaMode},
};
use tokio::sync::mpsc;

use crate::config::{Config, Speech};
use rtpengine::Rtpengines;

/// An answer that comes late.
pub(crate) type LateAnswer = (AskId, media::Answer);

/// Where the answers come out, of each worker.
pub(crate) type Answers = Vec<mpsc::UnboundedReceiver<LateAnswer>>;

/// Who answers an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Nobody,
    Rtpengine,
}

/// What one worker asks of whoever is on the thread.
#[derive(Debug)]
pub(crate) enum Order {
    Ask { id: AskId, ask: media::Ask },
    Withdraw { id: AskId },
    News(media::News),
}

/// Media, as the configuration has it.
pub(crate) struct Media {
    modes: Modes,
    rtpengines: Option<Rtpengines>,
}

/// What is configured for whom.
struct Modes {
    all: MediaMode,
    /// By their index.
    upstreams: Vec<(Option<MediaMode>, Speech)>,
}

impl Modes {
    fn of(config: &Config) -> Self {
        let upstreams = config.upstreams.iter();
        Self {
            all: config.media.mode,
            upstreams: upstreams.map(|each| (each.media, each.speech)).collect(),
        }
    }

    fn upstream(&self, id: Option<UpstreamId>) -> Option<(Option<MediaMode>, Speech)> {
        self.upstreams.get(usize::from(id?.0)).copied()
    }

    /// As the upstream says that is called, or the one that calls, or all of `[media]`.
    fn between(&self, caller: Leg, callee: Leg) -> MediaMode {
        let of_leg = |leg| match leg {
            Leg::Sip(upstream) => self.upstream(upstream).and_then(|(mode, _)| mode),
            Leg::Web => None,
        };
        of_leg(callee)
            .or_else(|| of_leg(caller))
            .unwrap_or(self.all)
    }

    fn leg(&self, leg: Leg) -> media::Leg {
        match leg {
            Leg::Web => media::Leg::Web,
            Leg::Sip(upstream) => match self.upstream(upstream) {
                Some((_, Speech::WebRtc)) => media::Leg::Web,
                Some((_, Speech::Rtp)) | None => media::Leg::Sip(upstream.map(|id| id.0)),
            },
        }
    }
}

impl Media {
    /// Starts what is configured.
    ///
    /// # Errors
    /// A thread or a socket cannot be had.
    pub(crate) fn start(config: &Config) -> io::Result<(Self, Answers)> {
        let (senders, answers): (Vec<_>, Answers) = (0..config.workers)
            .map(|_| mpsc::unbounded_channel())
            .unzip();
        let is_configured = !config.media.rtpengines.is_empty();
        let rtpengines = is_configured.then(|| Rtpengines::start(config, senders));
        let media = Self {
            modes: Modes::of(config),
            rtpengines: rtpengines.transpose()?,
        };
        Ok((media, answers))
    }

    /// Is there nobody who could answer?
    pub(crate) fn is_idle(&self) -> bool {
        self.rtpengines.is_none()
    }

    /// What is spoken at an end.
    pub(crate) fn leg(&self, leg: Leg) -> media::Leg {
        self.modes.leg(leg)
    }

    /// Who answers an offer; a policy's choice counts before the configuration.
    pub(crate) fn by(
        &self,
        offer: &media::Ask,
        (caller, callee): (Leg, Leg),
        chosen: Option<MediaMode>,
    ) -> By {
        match chosen.unwrap_or_else(|| self.modes.between(caller, callee)) {
            MediaMode::Direct => By::Nobody,
            MediaMode::Rtpengine | MediaMode::Relay => By::Rtpengine,
            MediaMode::Auto => match media::by_target(offer) {
                Auto::Relay if !self.is_idle() => By::Rtpengine,
                Auto::Direct | Auto::Relay => By::Nobody,
            },
        }
    }

    /// `Err` gives back at once what would have been the answer.
    pub(crate) fn ask(
        &self,
        from: WorkerId,
        id: AskId,
        ask: media::Ask,
    ) -> Result<(), media::Answer> {
        match &self.rtpengines {
            Some(rtpengines) => rtpengines.ask(from, id, ask),
            // A token may be older than a restart with another configuration.
            None => Err(media::Answer::Refuse {
                status: 500,
                reason: "no rtpengine is configured any more".to_owned(),
            }),
        }
    }

    /// Whatever needs no answer.
    pub(crate) fn tell(&self, from: WorkerId, order: Order) {
        if let Some(rtpengines) = &self.rtpengines {
            rtpengines.tell(from, order);
        }
    }

    /// The rtpengines by name, and whether each is there.
    pub(crate) fn rtpengines(&self) -> impl Iterator<Item = (&str, bool)> {
        self.rtpengines.iter().flat_map(Rtpengines::health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_called_upstream_comes_before_the_calling_one() {
        let (direct, any) = (UpstreamId(0), UpstreamId(1));
        let modes = Modes {
            all: MediaMode::Auto,
            upstreams: vec![
                (Some(MediaMode::Direct), Speech::WebRtc),
                (None, Speech::Rtp),
                (Some(MediaMode::Rtpengine), Speech::Rtp),
            ],
        };
        let sip = |id| Leg::Sip(Some(id));
        for (caller, callee, expected) in [
            (Leg::Web, Leg::Web, MediaMode::Auto),
            (Leg::Web, sip(any), MediaMode::Auto),
            (Leg::Web, sip(direct), MediaMode::Direct),
            (sip(direct), Leg::Web, MediaMode::Direct),
            (sip(direct), sip(UpstreamId(2)), MediaMode::Rtpengine),
            (sip(direct), sip(any), MediaMode::Direct),
            (Leg::Sip(None), sip(UpstreamId(9)), MediaMode::Auto),
        ] {
            assert_eq!(
                modes.between(caller, callee),
                expected,
                "{caller:?} {callee:?}"
            );
        }
        assert_eq!(modes.leg(sip(direct)), media::Leg::Web);
        assert_eq!(modes.leg(sip(any)), media::Leg::Sip(Some(1)));
    }
}
