//! `[media]`, and what an `[[upstream]]` says of media.

use std::{collections::HashSet, net::SocketAddr};

use hookswitch_sip::proxy::io::MediaMode;

use super::{Faults, Interface, Upstream, check::File, interfaces, numbers::in_range, raw};

/// Each is asked for its health all the time.
const RTPENGINES_MAX: usize = 64;
/// Of each worker, without a word of the operator's: one core transcodes 90 to G.711 and 55 to G.722, and has others to relay.
const TRANSCODED_CALLS: u64 = 40;

/// What becomes of media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Unless an upstream or a policy says otherwise.
    pub mode: MediaMode,
    /// In the file's order: their index is their `NodeId`.
    pub rtpengines: Vec<Rtpengine>,
    /// The embedded engine, if somebody may need it.
    pub relay: Option<Relay>,
    /// What SIP ends are offered that are no upstream.
    pub srtp: Srtp,
}

/// The embedded engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Threads, each with calls and ports of its own; as many as workers of `[server]` if `None`.
    pub workers: Option<u8>,
    /// Where the ports are; the first one is that of browsers and of whoever names none. If there are none, the machine's routes say.
    pub interfaces: Vec<Interface>,
    /// Where browsers reach us.
    pub ice: Ice,
    /// A call is dead in which an end that should be heard was silent for so long.
    pub silence_s_max: u64,
    /// Of each worker, whose ends share no codec.
    pub transcoded_calls_max: u64,
}

/// What browsers are told of where they reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ice {
    /// By UDP, and by TCP where that is not let through.
    UdpAndTcp,
    /// By UDP alone.
    Udp,
    /// By TCP alone (RFC 6544).
    Tcp,
}

/// The media of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamMedia {
    /// What becomes of it; as everybody's if `None`.
    pub mode: Option<MediaMode>,
    /// What it is.
    pub speech: Speech,
    /// Index of the interface that our ports for it are on, if it names one.
    pub interface: Option<usize>,
    /// What it is offered.
    pub srtp: Srtp,
    /// Whose packets are taken for its own.
    pub source: MediaSource,
}

/// An rtpengine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtpengine {
    /// As the operator wrote it.
    pub name: String,
    /// How it is spoken to.
    pub at: RtpengineAt,
}

/// Where an rtpengine listens for its control protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpengineAt {
    /// Its `listen-ng`.
    Udp(SocketAddr),
    /// Its `listen-http`.
    WebSocket(SocketAddr),
}

/// What an end speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// RTP or SRTP, as phones and PBXs do.
    Rtp,
    /// WebRTC, as browsers do.
    WebRtc,
}

/// How RTP is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Srtp {
    /// Not at all.
    Off,
    /// With keys in the session description (RFC 4568).
    Sdes,
}

/// Where RTP may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaSource {
    /// From the address in the session description.
    Signalled,
    /// From whoever is the first: a NAT lies between.
    Nat,
}

/// The modes by their names.
const MODES: [(&str, MediaMode); 4] = [
    ("auto", MediaMode::Auto),
    ("direct", MediaMode::Direct),
    ("relay", MediaMode::Relay),
    ("rtpengine", MediaMode::Rtpengine),
];

impl Media {
    /// The mode of this name, if the rest of the configuration provides for it.
    ///
    /// # Errors
    /// What is missing.
    pub fn mode_named(&self, name: &str) -> Result<MediaMode, String> {
        let named = MODES.iter().find(|(known, _)| *known == name);
        let (_, mode) = named.ok_or_else(|| format!("`{name}` is no mode"))?;
        match mode {
            MediaMode::Relay if self.relay.is_none() => {
                Err("the embedded engine was not asked for".to_owned())
            }
            MediaMode::Rtpengine if self.rtpengines.is_empty() => {
                Err("no rtpengine is configured".to_owned())
            }
            MediaMode::Auto | MediaMode::Direct | MediaMode::Relay | MediaMode::Rtpengine => {
                Ok(*mode)
            }
        }
    }

    /// Without an engine that nobody needs.
    pub(super) fn for_upstreams(mut self, upstreams: &[Upstream]) -> Self {
        let own = upstreams.iter().filter_map(|upstream| upstream.media.mode);
        let needs_it = |mode| match mode {
            MediaMode::Relay => true,
            MediaMode::Auto => self.rtpengines.is_empty(),
            MediaMode::Direct | MediaMode::Rtpengine => false,
        };
        let is_needed = own.chain([self.mode]).any(needs_it);
        self.relay = self
            .relay
            .filter(|relay| is_needed || !relay.interfaces.is_empty());
        self
    }
}

pub(super) fn check(file: &mut File, faults: &mut Faults) -> Media {
    let interfaces = interfaces::check(file, faults);
    let raw: raw::Media = file.section("media", faults);
    let workers = raw.workers;
    let workers = workers.and_then(|count| in_range("media.workers", count, 1, 64, faults));
    let silence = raw.silence_s_max;
    let silence = silence.and_then(|s| in_range("media.silence_s_max", s, 1, 3_600, faults));
    let transcoded = raw.transcoded_calls_max;
    let key = "media.transcoded_calls_max";
    let transcoded = transcoded.and_then(|count| in_range(key, count, 0, 10_000, faults));
    let mut media = Media {
        mode: MediaMode::Auto,
        rtpengines: rtpengines(&raw.rtpengine, faults),
        relay: Some(Relay {
            workers: workers.and_then(|count| u8::try_from(count).ok()),
            interfaces,
            ice: ice(raw.ice.as_deref(), faults),
            silence_s_max: silence.unwrap_or(60),
            transcoded_calls_max: transcoded.unwrap_or(TRANSCODED_CALLS),
        }),
        srtp: srtp("media.srtp", raw.srtp.as_deref(), faults),
    };
    if let Some(mode) = mode("media.mode", raw.mode.as_deref(), &media, faults) {
        media.mode = mode;
    }
    media
}

/// Of `[media]` or of an upstream, if it says.
fn mode(key: &str, name: Option<&str>, media: &Media, faults: &mut Faults) -> Option<MediaMode> {
    let mode = media.mode_named(name?);
    mode.map_err(|what| {
        let remedy =
            "write auto, direct or relay, or rtpengine and list some under [media] rtpengine";
        faults.push(key, what, remedy);
    })
    .ok()
}

pub(super) fn of_upstream(
    key: &str,
    raw: &raw::Upstream,
    media: &Media,
    faults: &mut Faults,
) -> UpstreamMedia {
    let mode = mode(&format!("{key}.media"), raw.media.as_deref(), media, faults);
    let interface = raw.interface.as_deref();
    let interface = interface.and_then(|name| interface_named(key, name, media, faults));
    let srtp = srtp(&format!("{key}.srtp"), raw.srtp.as_deref(), faults);
    if raw.webrtc == Some(true) {
        for (name, is_there) in [
            ("interface", raw.interface.is_some()),
            ("srtp", raw.srtp.is_some()),
            ("nat", raw.nat.is_some()),
        ] {
            if is_there {
                let what = "means nothing to who speaks WebRTC";
                faults.push(format!("{key}.{name}"), what, "remove it");
            }
        }
    }
    UpstreamMedia {
        mode,
        speech: match raw.webrtc {
            Some(true) => Speech::WebRtc,
            Some(false) | None => Speech::Rtp,
        },
        interface,
        srtp,
        source: match raw.nat {
            Some(true) => MediaSource::Nat,
            Some(false) | None => MediaSource::Signalled,
        },
    }
}

fn ice(listed: Option<&[String]>, faults: &mut Faults) -> Ice {
    let Some(listed) = listed else {
        return Ice::UdpAndTcp;
    };
    let has = |name: &str| listed.iter().any(|listed| listed == name);
    let unknown = listed.iter().find(|name| *name != "udp" && *name != "tcp");
    match (has("udp"), has("tcp"), unknown) {
        (true, true, None) => Ice::UdpAndTcp,
        (true, false, None) => Ice::Udp,
        (false, true, None) => Ice::Tcp,
        (_, _, unknown) => {
            let what = unknown.map_or("empty".to_owned(), |name| {
                format!("`{name}` is no transport of media")
            });
            faults.push("media.ice", what, "write udp, tcp or both");
            Ice::UdpAndTcp
        }
    }
}

fn srtp(key: &str, text: Option<&str>, faults: &mut Faults) -> Srtp {
    match text {
        None | Some("off") => Srtp::Off,
        Some("sdes") => Srtp::Sdes,
        Some(other) => {
            let what = format!("`{other}` is no such way");
            faults.push(key, what, "write off or sdes");
            Srtp::Off
        }
    }
}

fn interface_named(key: &str, name: &str, media: &Media, faults: &mut Faults) -> Option<usize> {
    let mut interfaces = media.relay.iter().flat_map(|relay| &relay.interfaces);
    let found = interfaces.position(|interface| interface.name == name);
    if found.is_none() {
        faults.push(
            format!("{key}.interface"),
            format!("no interface `{name}`"),
            "add a [[media.interface]] of that name",
        );
    }
    found
}

fn rtpengines(names: &[String], faults: &mut Faults) -> Vec<Rtpengine> {
    let mut seen = HashSet::new();
    let mut rtpengines = Vec::new();
    if names.len() > RTPENGINES_MAX {
        faults.push(
            "media.rtpengine",
            format!("more than {RTPENGINES_MAX}"),
            "list fewer",
        );
    }
    for (i, name) in names.iter().enumerate() {
        let key = format!("media.rtpengine[{i}]");
        match (rtpengine_at(name), seen.insert(name)) {
            (Some(at), true) => rtpengines.push(Rtpengine {
                name: name.clone(),
                at,
            }),
            (Some(_), false) => faults.push(key, format!("`{name}` is there twice"), "remove one"),
            (None, _) => faults.push(
                key,
                format!("`{name}` is no address of an rtpengine"),
                "write udp:IP:port (its listen-ng) or ws:IP:port (its listen-http)",
            ),
        }
    }
    rtpengines
}

fn rtpengine_at(name: &str) -> Option<RtpengineAt> {
    let (kind, address) = name.split_once(':')?;
    let address = address.parse().ok()?;
    match kind {
        "udp" => Some(RtpengineAt::Udp(address)),
        "ws" => Some(RtpengineAt::WebSocket(address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::*;
    use crate::config::{Config, tests::check};

    #[test]
    fn an_upstream_may_have_its_own_way() {
        let config = Config::parse(
            r#"
            [media]
            rtpengine = ["udp:192.0.2.7:2223", "ws:[2001:db8::7]:8080"]
            [[upstream]]
            name = "pbx"
            members = ["192.0.2.10:5060"]
            media = "rtpengine"
            [[upstream]]
            name = "browsers"
            members = ["192.0.2.11:5060"]
            webrtc = true
            "#,
            Path::new("."),
        )
        .unwrap();
        let at: Vec<_> = config.media.rtpengines.iter().map(|each| each.at).collect();
        assert_eq!(
            at,
            [
                RtpengineAt::Udp("192.0.2.7:2223".parse().unwrap()),
                RtpengineAt::WebSocket("[2001:db8::7]:8080".parse().unwrap()),
            ]
        );
        let upstreams = config.upstreams.iter();
        let said: Vec<_> = upstreams
            .map(|each| (each.media.mode, each.media.speech))
            .collect();
        assert_eq!(
            said,
            [
                (Some(MediaMode::Rtpengine), Speech::Rtp),
                (None, Speech::WebRtc)
            ]
        );
        assert_eq!(config.media.mode, MediaMode::Auto);
        assert_eq!(config.media.relay, None);
    }

    #[test]
    fn the_engine_is_there_for_whoever_may_need_it() {
        for (text, is_there) in [
            ("", true),
            ("[media]\nmode = \"direct\"", false),
            ("[media]\nrtpengine = [\"udp:192.0.2.7:2223\"]", false),
            (
                "[media]\nmode = \"relay\"\nrtpengine = [\"udp:192.0.2.7:2223\"]",
                true,
            ),
            (
                "[media]\nmode = \"direct\"\n[[upstream]]\nname = \"a\"\nmembers = [\"192.0.2.10:5060\"]\nmedia = \"relay\"",
                true,
            ),
            (
                "[media]\nmode = \"direct\"\n[[media.interface]]\nname = \"a\"\naddresses = [\"127.0.0.1\"]",
                true,
            ),
        ] {
            let media = Config::parse(text, Path::new(".")).unwrap().media;
            assert_eq!(media.relay.is_some(), is_there, "{text}");
            assert_eq!(media.mode_named("relay").is_ok(), is_there, "{text}");
        }
    }

    #[test]
    fn modes_need_what_they_are_of() {
        check(
            r#"
            [media]
            mode = "rtpengine"
            [[upstream]]
            name = "a"
            members = ["192.0.2.10:5060"]
            media = "relay"
            [[upstream]]
            name = "b"
            members = ["192.0.2.11:5060"]
            media = "proxy"
            "#,
            expect![[r#"
                2 faults in the configuration
                  media.mode: no rtpengine is configured; write auto, direct or relay, or rtpengine and list some under [media] rtpengine
                  upstream[1].media: `proxy` is no mode; write auto, direct or relay, or rtpengine and list some under [media] rtpengine"#]],
        );
    }

    #[test]
    fn a_worker_transcodes_as_many_calls_as_it_may() {
        for (line, expected) in [("", 40), ("transcoded_calls_max = 0", 0)] {
            let config = Config::parse(&format!("[media]\n{line}"), Path::new(".")).unwrap();
            let relay = config.media.relay.unwrap();
            assert_eq!(relay.transcoded_calls_max, expected);
        }
        check(
            "[media]\ntranscoded_calls_max = -1",
            expect![[r#"
                1 fault in the configuration
                  media.transcoded_calls_max: -1 is out of range; write a number from 0 to 10000"#]],
        );
    }

    #[test]
    fn an_rtpengine_has_an_address() {
        check(
            r#"
            [media]
            rtpengine = ["192.0.2.7:2223", "udp:media.example:2223", "udp:192.0.2.7:2223", "udp:192.0.2.7:2223"]
            "#,
            expect![[r#"
                3 faults in the configuration
                  media.rtpengine[0]: `192.0.2.7:2223` is no address of an rtpengine; write udp:IP:port (its listen-ng) or ws:IP:port (its listen-http)
                  media.rtpengine[1]: `udp:media.example:2223` is no address of an rtpengine; write udp:IP:port (its listen-ng) or ws:IP:port (its listen-http)
                  media.rtpengine[3]: `udp:192.0.2.7:2223` is there twice; remove one"#]],
        );
    }
}
