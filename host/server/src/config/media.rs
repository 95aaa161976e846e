//! `[media]`, and what an `[[upstream]]` says of media.

use std::{collections::HashSet, net::SocketAddr};

use hookswitch_sip::proxy::io::MediaMode;

use super::{Faults, check::File, raw};

/// Each is asked for its health all the time.
const RTPENGINES_MAX: usize = 64;

/// What becomes of media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Unless an upstream or a policy says otherwise.
    pub mode: MediaMode,
    /// In the file's order: their index is their `NodeId`.
    pub rtpengines: Vec<Rtpengine>,
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
            MediaMode::Relay => Err("there is no engine to relay media by yet".to_owned()),
            MediaMode::Rtpengine if self.rtpengines.is_empty() => {
                Err("no rtpengine is configured".to_owned())
            }
            MediaMode::Auto | MediaMode::Direct | MediaMode::Rtpengine => Ok(*mode),
        }
    }
}

pub(super) fn check(file: &mut File, faults: &mut Faults) -> Media {
    let raw: raw::Media = file.section("media", faults);
    let mut media = Media {
        mode: MediaMode::Auto,
        rtpengines: rtpengines(&raw.rtpengine, faults),
    };
    if let Some(mode) = mode("media.mode", raw.mode.as_deref(), &media, faults) {
        media.mode = mode;
    }
    media
}

/// Of `[media]` or of an upstream, if it says.
pub(super) fn mode(
    key: &str,
    name: Option<&str>,
    media: &Media,
    faults: &mut Faults,
) -> Option<MediaMode> {
    let mode = media.mode_named(name?);
    mode.map_err(|what| {
        let remedy = "write auto or direct, or rtpengine and list some under [media] rtpengine";
        faults.push(key, what, remedy);
    })
    .ok()
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
        let said: Vec<_> = upstreams.map(|each| (each.media, each.speech)).collect();
        assert_eq!(
            said,
            [
                (Some(MediaMode::Rtpengine), Speech::Rtp),
                (None, Speech::WebRtc)
            ]
        );
        assert_eq!(config.media.mode, MediaMode::Auto);
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
                3 faults in the configuration
                  media.mode: no rtpengine is configured; write auto or direct, or rtpengine and list some under [media] rtpengine
                  upstream[0].media: there is no engine to relay media by yet; write auto or direct, or rtpengine and list some under [media] rtpengine
                  upstream[1].media: `proxy` is no mode; write auto or direct, or rtpengine and list some under [media] rtpengine"#]],
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
