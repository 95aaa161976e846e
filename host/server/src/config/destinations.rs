//! `[test_destinations]`: a listener and an upstream more, behind those of the file.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use hookswitch_sip::{
    flow::{ListenerId, Transport},
    proxy::{config::Way, io::MediaMode},
};

use super::{
    Announce, Faults, Listener, ListenerKind, MediaSource, Oversize, Speech, Srtp, Upstream,
    UpstreamMedia, check::File, listeners::Listeners, numbers::in_range, raw,
};

/// What logs, metrics and policies call them.
const NAME: &str = "test-destinations";

/// `sip:echo@…` and `sip:tone@…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestDestinations {
    /// Index of the upstream that they are. It has no member before they are started.
    pub upstream: usize,
    /// At a time.
    pub calls_max: u64,
    /// Of one call.
    pub call_max: Duration,
}

pub(super) fn check(
    file: &mut File,
    listeners: &mut Listeners,
    upstreams: &mut Vec<Upstream>,
    faults: &mut Faults,
) -> Option<TestDestinations> {
    let raw: raw::TestDestinations = file.section("test_destinations", faults);
    let mut number = |name: &str, value: Option<i64>, standard, most| {
        let key = format!("test_destinations.{name}");
        let value = value.and_then(|value| in_range(&key, value, 1, most, faults));
        value.unwrap_or(standard)
    };
    let calls_max = number("calls_max", raw.calls_max, 16, 1_000);
    let call_s = number("call_s_max", raw.call_s_max, 600, 86_400);
    if raw.enabled != Some(true) {
        return None;
    }
    let is_taken = listeners.iter().any(|(_, listener)| listener.name == NAME)
        || upstreams.iter().any(|upstream| upstream.name == NAME);
    if is_taken {
        faults.push(
            "test_destinations.enabled",
            format!("`{NAME}` is the name of a listener or upstream"),
            "give that another name",
        );
    }
    let listener = u8::try_from(listeners.len()).unwrap_or(u8::MAX);
    listeners.push((NAME.to_owned(), listener_of_ours()));
    upstreams.push(upstream_of_ours(ListenerId(listener)));
    Some(TestDestinations {
        upstream: upstreams.len() - 1,
        calls_max,
        call_max: Duration::from_secs(call_s),
    })
}

fn listener_of_ours() -> Listener {
    Listener {
        name: NAME.to_owned(),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        advertised: None,
        kind: ListenerKind::Udp,
        flow_timer: None,
    }
}

fn upstream_of_ours(listener: ListenerId) -> Upstream {
    Upstream {
        name: NAME.to_owned(),
        ways: vec![Way {
            transport: Transport::Udp,
            listener,
        }],
        tls: None,
        members: Vec::new(),
        sources: None,
        certificates: Vec::new(),
        oversize: Oversize::Fragment,
        announce: Announce::Path,
        connections_max: 1,
        connect_max: Duration::from_secs(4),
        idle_max: Duration::from_secs(600),
        keepalive: None,
        login: None,
        media: UpstreamMedia {
            // Nobody but us can reach its ports.
            mode: Some(MediaMode::Relay),
            speech: Speech::Rtp,
            interface: None,
            srtp: Srtp::Off,
            source: MediaSource::Signalled,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use expect_test::expect;

    use super::*;
    use crate::config::{Config, tests::check};

    #[test]
    fn they_are_there_without_a_file_or_if_it_says_so() {
        let parse = |text: &str| Config::parse(text, Path::new(".")).unwrap();
        assert_eq!(parse("").test_destinations, None);
        let standard = Config::standard();
        let there = standard.test_destinations.unwrap();
        assert_eq!((there.upstream, there.calls_max), (0, 16));
        assert_eq!(standard.upstreams[0].way().listener, ListenerId(2));
        let text = "[test_destinations]\nenabled = true\ncall_s_max = 5";
        let there = parse(text).test_destinations.unwrap();
        assert_eq!(there.call_max, Duration::from_secs(5));
    }

    #[test]
    fn faults_are_told() {
        check(
            r#"
            [[upstream]]
            name = "test-destinations"
            members = ["192.0.2.10:5060"]
            [test_destinations]
            enabled = true
            calls_max = 0
            "#,
            expect![[r#"
                2 faults in the configuration
                  test_destinations.calls_max: 0 is out of range; write a number from 1 to 1000
                  test_destinations.enabled: `test-destinations` is the name of a listener or upstream; give that another name"#]],
        );
    }
}
