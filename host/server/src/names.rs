//! Where the names of upstreams lead (RFC 3263 §4.2), asked of the system's resolver by a thread of its own, again and again: workers
//! never wait for names. What a name led to last stays good while the resolver fails.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use hookswitch_sip::{
    flow::{Transport, UpstreamId},
    proxy::config::Member,
};

use crate::{
    config::{MemberAt, Upstream},
    server::Shared,
    upstreams::Located,
    worker::Mail,
};

/// The system's resolver does not say how long an answer is good for.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
/// After a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Addresses of one name.
const ADDRESSES_MAX: usize = 32;

/// Starts the thread if there is a name to be asked for; it ends with the server.
pub(crate) fn spawn(shared: &Arc<Shared>) -> io::Result<()> {
    let has_name = |upstream: &Upstream| {
        let mut members = upstream.members.iter();
        members.any(|member| member.address().is_none())
    };
    if !shared.config.upstreams.iter().any(has_name) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let shared = Arc::downgrade(shared);
    let thread = thread::Builder::new().name("names".to_owned());
    thread.spawn(move || runtime.block_on(refresh(shared)))?;
    Ok(())
}

async fn refresh(shared: Weak<Shared>) {
    loop {
        let mut wait = REFRESH_EVERY;
        let Some(server) = shared.upgrade() else {
            return;
        };
        for (id, upstream) in (0..).map(UpstreamId).zip(&server.config.upstreams) {
            match locate(upstream, is_ipv4(&server, upstream)).await {
                Ok(members) => tell(&server, id, members).await,
                Err(error) => {
                    tracing::warn!(upstream = upstream.name, %error, "a name leads nowhere now");
                    wait = RETRY_AFTER;
                }
            }
        }
        drop(server);
        tokio::time::sleep(wait).await;
    }
}

async fn tell(server: &Shared, upstream: UpstreamId, members: Vec<Located>) {
    if !server.directory.update(upstream, members) {
        return;
    }
    let members: Vec<Member> = server.directory.members(upstream);
    tracing::info!(
        upstream = server.upstream_name(upstream),
        ?members,
        "names resolved"
    );
    let mail = || Mail::Members {
        upstream,
        members: members.clone(),
    };
    server.tell_all(mail).await;
}

/// Addresses of the other family could not be reached from the upstream's listener.
fn is_ipv4(server: &Shared, upstream: &Upstream) -> bool {
    let listener = server.config.listeners.get(upstream.listener);
    listener.is_none_or(|listener| listener.address.is_ipv4())
}

/// All members, in the order of the configuration; the addresses of one name in order, too, so that an answer in another order is the
/// same answer.
async fn locate(upstream: &Upstream, is_ipv4: bool) -> io::Result<Vec<Located>> {
    let mut located = Vec::new();
    for member in &upstream.members {
        match member {
            MemberAt::Address(address) => located.push(Located {
                member: (*address).into(),
                name: None,
            }),
            MemberAt::Name { host, port } => {
                let port = port.unwrap_or(default_port(upstream.transport.kind()));
                let found = tokio::net::lookup_host((host.as_str(), port)).await?;
                let found = found.filter(|address| address.is_ipv4() == is_ipv4);
                let mut addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
                addresses.sort_unstable();
                addresses.dedup();
                located.extend(addresses.into_iter().map(|address| Located {
                    member: address.into(),
                    name: Some(host.as_str().into()),
                }));
            }
        }
    }
    match located.is_empty() {
        true => Err(io::Error::other("no address of the listener's family")),
        false => Ok(located),
    }
}

/// RFC 3261 §18.1.1.
fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Tls => 5061,
        Transport::Udp | Transport::Tcp | Transport::Ws | Transport::Wss => 5060,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn upstream(members: &str) -> Upstream {
        let text = format!("[[upstream]]\nname = \"pbx\"\nmembers = [{members}]\n");
        Config::parse(&text, Path::new("."))
            .unwrap()
            .upstreams
            .remove(0)
    }

    async fn found(members: &str) -> Option<Vec<(String, Option<Box<str>>)>> {
        let located = locate(&upstream(members), true).await.ok()?;
        let found = located.into_iter();
        Some(
            found
                .map(|located| (located.member.address.to_string(), located.name))
                .collect(),
        )
    }

    #[tokio::test]
    async fn names_lead_to_addresses_of_one_family_with_the_port_of_the_transport() {
        let expected = vec![
            ("192.0.2.1:5070".to_owned(), None),
            ("127.0.0.1:5060".to_owned(), Some("localhost".into())),
            ("127.0.0.1:5062".to_owned(), Some("localhost".into())),
        ];
        let members = "\"192.0.2.1:5070\", \"localhost\", \"localhost:5062\"";
        assert_eq!(found(members).await, Some(expected));
        // RFC 6761 §6.4: there is no such name.
        assert_eq!(found("\"localhost\", \"pbx.invalid\"").await, None);
    }
}
