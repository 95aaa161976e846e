//! Where the names of upstreams lead (RFC 3263), asked again whenever an answer is no longer good, by a thread of its own: workers
//! never wait for names. What a name led to last stays good while nobody knows better.

mod lookup;
mod service;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use hookswitch_sip::{flow::UpstreamId, proxy::config::Way};
use tokio::task::JoinSet;

use crate::{
    config::{MemberAt, Upstream},
    server::Shared,
    upstreams::Located,
    worker::Mail,
};
use lookup::Lookup;
use service::{Family, Found, Reach};

/// However short an answer is good for.
const REFRESH_MIN: Duration = Duration::from_secs(1);
/// However long: files of the system say nothing of it.
const REFRESH_MAX: Duration = Duration::from_secs(300);
/// After a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Starts the thread if there is a name to be asked for; it ends with the server.
pub(crate) fn spawn(shared: &Arc<Shared>) -> io::Result<()> {
    let upstreams = (0..).map(UpstreamId).zip(&shared.config.upstreams);
    let with_names = upstreams.filter(|(_, upstream)| has_name(upstream));
    let named: Vec<Named> = with_names
        .map(|(id, upstream)| Named::of(shared, id, upstream))
        .collect();
    if named.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let server = Arc::downgrade(shared);
    let thread = thread::Builder::new().name("names".to_owned());
    thread.spawn(move || {
        runtime.block_on(async {
            let mut following: JoinSet<()> = named.into_iter().map(Named::follow).collect();
            while let Some(ended) = following.join_next().await {
                if let (Err(panicked), Some(server)) = (ended, server.upgrade()) {
                    server.broke(&format!("a name is not followed any more: {panicked}"));
                }
            }
        });
    })?;
    Ok(())
}

fn has_name(upstream: &Upstream) -> bool {
    let mut members = upstream.members.iter();
    members.any(|member| member.address().is_none())
}

/// An upstream with a name. Never holds the server while it waits.
struct Named {
    server: Weak<Shared>,
    id: UpstreamId,
    name: String,
    /// That may be asked; the system's if empty.
    servers: Vec<SocketAddr>,
    /// The first unless DNS prefers another.
    reaches: Vec<Reach>,
    members: Vec<Asked>,
}

/// A member, and what is known of it.
struct Asked {
    at: MemberAt,
    found: Option<Found>,
}

impl Named {
    fn of(shared: &Arc<Shared>, id: UpstreamId, upstream: &Upstream) -> Self {
        let reach = |&way: &Way| {
            let listener = shared
                .config
                .listeners
                .get(usize::from(way.listener.0))
                .map(|listener| listener.address);
            let family = match listener {
                Some(SocketAddr::V6(_)) => Family::V6,
                Some(SocketAddr::V4(_)) | None => Family::V4,
            };
            Reach { way, family }
        };
        let asked = |at: &MemberAt| Asked {
            at: at.clone(),
            found: None,
        };
        Self {
            server: Arc::downgrade(shared),
            id,
            name: upstream.name.clone(),
            servers: shared.config.dns.servers.clone(),
            reaches: upstream.ways.iter().map(reach).collect(),
            members: upstream.members.iter().map(asked).collect(),
        }
    }

    async fn follow(mut self) {
        loop {
            let again = self.refresh().await;
            let Some(server) = self.server.upgrade() else {
                return;
            };
            self.tell(&server).await;
            drop(server);
            tokio::time::sleep(again.saturating_duration_since(Instant::now())).await;
        }
    }

    /// Asks for every name. When to do so again.
    async fn refresh(&mut self) -> Instant {
        let lookup = Lookup::new(&self.servers);
        let mut again = Instant::now() + REFRESH_MAX;
        for member in &mut self.members {
            let MemberAt::Name { host, port } = &member.at else {
                continue;
            };
            let before = member.found.as_ref();
            let found = service::locate(&lookup, host, *port, &self.reaches, before).await;
            let due = match found {
                Ok(found) => member.found.insert(found).until,
                Err(error) => {
                    let upstream = &self.name;
                    tracing::warn!(upstream, name = host, %error, "a name leads nowhere now");
                    Instant::now() + RETRY_AFTER
                }
            };
            again = again.min(due);
        }
        again.max(Instant::now() + REFRESH_MIN)
    }

    async fn tell(&self, server: &Shared) {
        let found = self
            .members
            .iter()
            .filter_map(|member| member.found.as_ref());
        // Several names have one way: DNS chooses it for a single name alone.
        let Some(way) = found.map(|found| found.way).next() else {
            return;
        };
        let (directory, now) = (&server.directory, Instant::now());
        if !directory.update(self.id, way, self.located(), now) {
            return;
        }
        let members = directory.members(self.id);
        tracing::info!(upstream = self.name, ?way, ?members, "names resolved");
        let mail = || Mail::Members {
            upstream: self.id,
            way,
            members: members.clone(),
        };
        server.tell_all(mail).await;
    }

    /// All members, in the order of the configuration, each address once.
    fn located(&self) -> Vec<Located> {
        let mut located: Vec<Located> = Vec::new();
        let mut add = |new: Located| {
            let is_it = |at: &Located| at.member.address == new.member.address;
            if !located.iter().any(is_it) {
                located.push(new);
            }
        };
        for member in &self.members {
            match (&member.at, &member.found) {
                (MemberAt::Address(address), _) => add(Located {
                    member: (*address).into(),
                    name: None,
                }),
                (MemberAt::Name { host, .. }, Some(found)) => {
                    found.members.iter().for_each(|member| {
                        add(Located {
                            member: *member,
                            // Whatever SRV says: the certificate is the name's (RFC 5922 §4).
                            name: Some(host.as_str().into()),
                        });
                    });
                }
                (MemberAt::Name { .. }, None) => {}
            }
        }
        located
    }
}
