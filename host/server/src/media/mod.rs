//! Who answers what the proxies ask about media: nobody (`direct`), the embedded engine (`relay`), or a cluster of rtpengines, on threads
//! of their own. A worker never waits for an answer; it comes back over the worker's own channel.

mod askers;
mod connection;
mod connections;
mod looks;
mod places;
mod quality;
mod relay;
mod reports;
mod rtpengine;

use std::sync::Arc;

use anyhow::{Context, Result};
use hookswitch_media::{self as media, Auto};
use hookswitch_sip::{
    flow::{UpstreamId, WorkerId},
    proxy::io::{AskId, Leg, MediaMode},
};
use tokio::sync::mpsc;

use crate::config::{Config, Speech, UpstreamMedia};
use askers::Askers;
use relay::Relays;
use rtpengine::Rtpengines;

/// What comes late, to a worker.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Late {
    Answer(AskId, media::Answer),
    /// A call has no media any more; it may be another worker's.
    Dead {
        call: Arc<str>,
        reason: String,
    },
}

/// Where that comes out, of each worker.
pub(crate) type Answers = Vec<mpsc::UnboundedReceiver<Late>>;

/// Who answers an ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Nobody,
    Relay,
    Rtpengine,
}

/// What one worker asks of the rtpengines.
#[derive(Debug)]
pub(crate) enum Order {
    Ask { id: AskId, ask: media::Ask },
    Withdraw { id: AskId },
    News(media::News),
}

/// Media, as the configuration has it.
pub(crate) struct Media {
    modes: Modes,
    relays: Option<Relays>,
    rtpengines: Option<Rtpengines>,
}

/// What is configured for whom.
struct Modes {
    all: MediaMode,
    /// By their index.
    upstreams: Vec<UpstreamMedia>,
}

impl Modes {
    fn of(config: &Config) -> Self {
        let upstreams = config.upstreams.iter();
        Self {
            all: config.media.mode,
            upstreams: upstreams.map(|each| each.media).collect(),
        }
    }

    fn upstream(&self, id: Option<UpstreamId>) -> Option<&UpstreamMedia> {
        self.upstreams.get(usize::from(id?.0))
    }

    /// As the upstream says that is called, or the one that calls, or all of `[media]`.
    fn between(&self, caller: Leg, callee: Leg) -> MediaMode {
        let of_leg = |leg| match leg {
            Leg::Sip(upstream) => self.upstream(upstream).and_then(|media| media.mode),
            Leg::Web => None,
        };
        of_leg(callee)
            .or_else(|| of_leg(caller))
            .unwrap_or(self.all)
    }

    fn leg(&self, leg: Leg) -> media::Leg {
        match leg {
            Leg::Web => media::Leg::Web,
            Leg::Sip(upstream) => match self.upstream(upstream).map(|media| media.speech) {
                Some(Speech::WebRtc) => media::Leg::Web,
                Some(Speech::Rtp) | None => media::Leg::Sip(upstream.map(|id| id.0)),
            },
        }
    }
}

impl Media {
    /// Starts what is configured.
    ///
    /// # Errors
    /// A thread or a socket cannot be had.
    pub(crate) fn start(config: &Config) -> Result<(Self, Answers)> {
        let (senders, answers): (Vec<_>, Answers) = (0..config.workers)
            .map(|_| mpsc::unbounded_channel())
            .unzip();
        let askers = Askers::new(senders);
        let relay = config.media.relay.as_ref();
        let relays = relay.map(|relay| Relays::start(config, relay, &askers));
        let is_configured = !config.media.rtpengines.is_empty();
        let rtpengines = is_configured.then(|| Rtpengines::start(config, askers));
        let media = Self {
            modes: Modes::of(config),
            relays: relays.transpose()?,
            rtpengines: rtpengines
                .transpose()
                .context("the thread of the rtpengines")?,
        };
        Ok((media, answers))
    }

    /// Is there nobody who could answer?
    pub(crate) fn is_idle(&self) -> bool {
        self.relays.is_none() && self.rtpengines.is_none()
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
            MediaMode::Relay => By::Relay,
            MediaMode::Rtpengine => By::Rtpengine,
            MediaMode::Auto => match (media::by_target(offer), &self.rtpengines, &self.relays) {
                (Auto::Relay, Some(_), _) => By::Rtpengine,
                (Auto::Relay, None, Some(_)) => By::Relay,
                (Auto::Relay, None, None) | (Auto::Direct, ..) => By::Nobody,
            },
        }
    }

    /// `Err` gives back at once what would have been the answer.
    pub(crate) fn ask(
        &self,
        by: By,
        from: WorkerId,
        id: AskId,
        ask: media::Ask,
    ) -> Result<(), media::Answer> {
        match (by, &self.relays, &self.rtpengines) {
            (By::Nobody, ..) => Err(media::direct(&ask)),
            (By::Relay, Some(relays), _) => relays.ask(from, id, ask),
            (By::Rtpengine, _, Some(rtpengines)) => rtpengines.ask(from, id, ask),
            // A token may be older than a restart with another configuration.
            (By::Relay, None, _) | (By::Rtpengine, _, None) => Err(media::Answer::Refuse {
                status: 500,
                reason: "what relayed the media of this call is not configured any more".to_owned(),
            }),
        }
    }

    /// As [`Media::ask`], of a key. Only the engine has a way to tell the other end.
    pub(crate) fn press(
        &self,
        by: By,
        from: WorkerId,
        id: AskId,
        press: media::Press,
    ) -> Result<(), media::Answer> {
        match (by, &self.relays) {
            (By::Relay, Some(relays)) => relays.press(from, id, press),
            (By::Relay, None) | (By::Nobody | By::Rtpengine, _) => Err(media::Answer::Unchanged),
        }
    }

    /// An answer is not waited for any more. The engine answers faster than it could be told.
    pub(crate) fn withdraw(&self, from: WorkerId, id: AskId) {
        if let Some(rtpengines) = &self.rtpengines {
            rtpengines.tell(from, Order::Withdraw { id });
        }
    }

    /// What became of branches; if it is not known who answered for them, all that did not are told for nothing.
    pub(crate) fn hear(&self, by: Option<By>, from: WorkerId, news: media::News) {
        let is_for = |who| by.is_none_or(|by| by == who);
        if let Some(relays) = self.relays.as_ref().filter(|_| is_for(By::Relay)) {
            relays.hear(news.clone());
        }
        if let Some(rtpengines) = self.rtpengines.as_ref().filter(|_| is_for(By::Rtpengine)) {
            rtpengines.tell(from, Order::News(news));
        }
    }

    /// Calls of the engine whose names begin so, as the admin endpoint shows them, and how many calls there are.
    pub(crate) async fn calls(
        &self,
        named: &str,
        calls_max: usize,
    ) -> (u64, Vec<serde_json::Value>) {
        match &self.relays {
            Some(relays) => relays.look(named, calls_max).await,
            None => (0, Vec::new()),
        }
    }

    /// Writes metrics of the engine.
    pub(crate) fn render(&self, out: &mut String) {
        if let Some(relays) = &self.relays {
            relays.render(out);
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
    use crate::config::{MediaSource, Srtp};

    fn upstream(mode: Option<MediaMode>, speech: Speech) -> UpstreamMedia {
        UpstreamMedia {
            mode,
            speech,
            interface: None,
            srtp: Srtp::Off,
            source: MediaSource::Signalled,
        }
    }

    #[test]
    fn the_called_upstream_comes_before_the_calling_one() {
        let (direct, any) = (UpstreamId(0), UpstreamId(1));
        let modes = Modes {
            all: MediaMode::Auto,
            upstreams: vec![
                upstream(Some(MediaMode::Direct), Speech::WebRtc),
                upstream(None, Speech::Rtp),
                upstream(Some(MediaMode::Rtpengine), Speech::Rtp),
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
