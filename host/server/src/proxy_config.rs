//! What the proxy is told, made from the configuration and the bound listeners.

use std::time::Duration;

use hookswitch_sip::{
    flow::{UpstreamId, WorkerId},
    limits,
    proxy::{
        config::{
            Announce, ListenerConfig, MemberName, Oversize, ProxyConfig, ProxyLimits, ProxyTimers,
            RegistrarConfig, UpstreamConfig,
        },
        credentials::Login,
        trunk::TrunkConfig,
    },
    token::Keyring,
    transaction::Timing,
};

use crate::{
    carriers::Carriers,
    config::{self, Config, length},
    destinations::Destination,
    transport::Bound,
    worker::TIMER_GRAIN,
};

/// For one worker.
pub(crate) fn of(
    config: &Config,
    bound: &[Bound],
    keys: &Keyring,
    carriers: &Carriers,
    worker: WorkerId,
) -> ProxyConfig {
    let upstream_id = |index| u16::try_from(index).ok().map(UpstreamId);
    ProxyConfig {
        worker,
        workers: config.workers,
        timing: timing(&config.timers),
        timers: timers(&config.timers),
        limits: ProxyLimits {
            transactions_max: length(config.limits.transactions_max),
            in_dialog_reserve_max: length(config.limits.transactions_max) / 4,
            calls_max: length(config.limits.calls_max),
            ..ProxyLimits::default()
        },
        listeners: bound
            .iter()
            .zip(&config.listeners)
            .map(|(bound, listener)| listener_config(bound, listener))
            .collect(),
        upstreams: (0..)
            .zip(&config.upstreams)
            .map(|(index, each)| upstream(each, carriers.login(index)))
            .collect(),
        trunks: config.registrations.iter().filter_map(trunk).collect(),
        domains: config.domains.clone(),
        users: test_users(config),
        default_upstream: config.default_upstream.and_then(upstream_id),
        registrar: RegistrarConfig {
            upstream: config.registrar.upstream.and_then(upstream_id),
            expires_min: config.registrar.expires_min,
            expires_default: config.registrar.expires_default,
            expires_max: config.registrar.expires_max,
            contacts_max: length(config.limits.contacts_max),
        },
        ..ProxyConfig::new(keys.clone())
    }
}

fn test_users(config: &Config) -> Vec<(String, UpstreamId)> {
    let upstream = config.test_destinations.map(|there| there.upstream);
    let Some(Ok(upstream)) = upstream.map(u16::try_from) else {
        return Vec::new();
    };
    let named = |(user, _): (&str, Destination)| (user.to_owned(), UpstreamId(upstream));
    Destination::ALL.into_iter().map(named).collect()
}

/// What a message may be.
pub(crate) fn message_limits(limits: &config::Limits) -> limits::Limits {
    limits::Limits {
        message_bytes_max: length(limits.message_bytes_max),
        header_count_max: length(limits.header_count_max),
        header_line_bytes_max: length(limits.header_line_bytes_max),
        body_bytes_max: length(limits.body_bytes_max),
    }
}

pub(crate) fn timing(timers: &config::Timers) -> Timing {
    Timing {
        t1: Duration::from_millis(timers.t1_ms),
        t2: Duration::from_millis(timers.t2_ms),
        t4: Duration::from_millis(timers.t4_ms),
    }
}

fn timers(timers: &config::Timers) -> ProxyTimers {
    let some = |time: Duration| Some(time).filter(|time| !time.is_zero());
    ProxyTimers {
        // "At the latest", however timers fire.
        trying: Duration::from_millis(timers.trying_ms).saturating_sub(TIMER_GRAIN),
        timer_c: Duration::from_secs(timers.timer_c_s),
        first_response: some(Duration::from_millis(timers.first_response_ms)),
        no_answer: some(Duration::from_secs(timers.no_answer_s)),
        ..ProxyTimers::default()
    }
}

fn listener_config(bound: &Bound, listener: &config::Listener) -> ListenerConfig {
    ListenerConfig {
        name: bound.name.clone(),
        transport: bound.transport,
        host: bound.advertised.0.clone(),
        port: bound.advertised.1,
        flow_timer: listener.flow_timer,
    }
}

/// All of them: the index is their name.
fn trunk(registration: &config::Registration) -> Option<TrunkConfig> {
    Some(TrunkConfig {
        upstream: UpstreamId(u16::try_from(registration.upstream).ok()?),
        aor: registration.aor.clone(),
        user: registration.contact_user.clone(),
        expires: registration.expires,
    })
}

fn upstream(upstream: &config::Upstream, login: Option<Login>) -> UpstreamConfig {
    let way = upstream.way();
    let members = upstream
        .members
        .iter()
        .filter_map(config::MemberAt::address);
    UpstreamConfig {
        announce: match upstream.announce {
            config::Announce::Path => Announce::Path,
            config::Announce::Contact => Announce::Contact,
        },
        oversize: match upstream.oversize {
            config::Oversize::Fragment => Oversize::Fragment,
            config::Oversize::TcpThenUdp => Oversize::TcpThenUdp,
            config::Oversize::Refuse => Oversize::Refuse,
        },
        transport: way.transport,
        names: upstream.members.iter().filter_map(name).collect(),
        connections_max: upstream.connections_max,
        login,
        ..UpstreamConfig::new(&upstream.name, way.listener, members.collect())
    }
}

fn name(member: &config::MemberAt) -> Option<MemberName> {
    match member {
        config::MemberAt::Address(_) => None,
        config::MemberAt::Name { host, port } => Some(MemberName {
            host: host.clone(),
            port: *port,
        }),
    }
}
