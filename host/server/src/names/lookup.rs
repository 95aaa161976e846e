//! Questions to DNS, and to the system's file of hosts. Never decides what an answer means for SIP.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use hickory_resolver::{
    Hosts, MAX_TTL, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RData, Record, RecordType, rdata::NAPTR, rdata::SRV},
    },
};

/// Records of one answer that are looked at.
const RECORDS_MAX: usize = 32;

/// One round of questions: what it has heard it does not ask again.
pub(super) struct Lookup {
    resolver: TokioResolver,
    hosts: Hosts,
}

/// Records, and until when they are good.
#[derive(Debug)]
pub(super) struct Records<T> {
    pub(super) records: Vec<T>,
    pub(super) until: Instant,
}

impl Lookup {
    /// Asks these, or those that the system asks if there are none. Files are read anew.
    pub(super) fn new(servers: &[SocketAddr]) -> Self {
        let provider = TokioRuntimeProvider::default();
        let builder = match servers {
            // Without servers the file of hosts is all that is known.
            [] => TokioResolver::builder_tokio().unwrap_or_else(|error| {
                tracing::warn!(%error, "/etc/resolv.conf names nobody to be asked");
                TokioResolver::builder_with_config(ResolverConfig::default(), provider)
            }),
            servers => TokioResolver::builder_with_config(config(servers), provider),
        };
        Self {
            resolver: builder.build().expect("without TLS nothing can fail"),
            hosts: Hosts::from_system().unwrap_or_default(),
        }
    }

    /// Of A or AAAA. What the system's files know is not asked of anybody.
    pub(super) async fn addresses(
        &self,
        name: &Name,
        of: RecordType,
    ) -> Result<Records<IpAddr>, NetError> {
        let found = match self.in_hosts(name, of) {
            Some(found) => Ok(found),
            None => self.resolver.lookup(name.clone(), of).await,
        };
        records(found, |data| data.ip_addr())
    }

    /// Has the system's file this name? Such a name has addresses and nothing else.
    pub(super) fn is_in_hosts(&self, name: &Name) -> bool {
        let of = [RecordType::A, RecordType::AAAA];
        of.into_iter().any(|of| self.in_hosts(name, of).is_some())
    }

    fn in_hosts(&self, name: &Name, of: RecordType) -> Option<lookup::Lookup> {
        let query = Query::query(name.clone(), of);
        let found = self.hosts.lookup_static_host(&query);
        found.filter(|found| !found.answers().is_empty())
    }

    pub(super) async fn services(&self, name: &Name) -> Result<Records<SRV>, NetError> {
        let srv = |data: &RData| match data {
            RData::SRV(srv) => Some(srv.clone()),
            _ => None,
        };
        let found = records(
            self.resolver.lookup(name.clone(), RecordType::SRV).await,
            srv,
        )?;
        if !found.records.is_empty() {
            return Ok(found);
        }
        // The resolver follows aliases to addresses, but not to services.
        let alias = |data: &RData| match data {
            RData::CNAME(alias) => Some(alias.0.clone()),
            _ => None,
        };
        let aliases = self.resolver.lookup(name.clone(), RecordType::CNAME).await;
        let aliases = records(aliases, alias)?;
        let Some(name) = aliases.records.into_iter().next() else {
            return Ok(found);
        };
        let found = records(self.resolver.lookup(name, RecordType::SRV).await, srv)?;
        Ok(Records {
            until: found.until.min(aliases.until),
            ..found
        })
    }

    pub(super) async fn pointers(&self, name: &Name) -> Result<Records<NAPTR>, NetError> {
        let found = self.resolver.lookup(name.clone(), RecordType::NAPTR).await;
        records(found, |data| match data {
            RData::NAPTR(naptr) => Some(naptr.clone()),
            _ => None,
        })
    }
}

fn config(servers: &[SocketAddr]) -> ResolverConfig {
    let server = |server: &SocketAddr| {
        let on_port = |mut connection: ConnectionConfig| {
            connection.port = server.port();
            connection
        };
        // What a datagram cut short is asked again over TCP.
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(on_port);
        NameServerConfig::new(server.ip(), true, connections.into())
    };
    ResolverConfig::from_name_servers(servers.iter().map(server).collect())
}

/// No such name, and nothing of that kind by that name, are answers, too: none.
fn records<T>(
    found: Result<lookup::Lookup, NetError>,
    pick: impl Fn(&RData) -> Option<T>,
) -> Result<Records<T>, NetError> {
    let forever = Duration::from_secs(MAX_TTL.into());
    match found {
        Ok(found) => {
            let picked = |record: &Record| pick(&record.data);
            Ok(Records {
                records: found
                    .answers()
                    .iter()
                    .filter_map(picked)
                    .take(RECORDS_MAX)
                    .collect(),
                until: found.valid_until(),
            })
        }
        Err(error) if error.is_no_records_found() => Ok(Records {
            records: Vec::new(),
            until: Instant::now() + forever,
        }),
        Err(error) => Err(error),
    }
}
