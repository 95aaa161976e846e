//! How many files this process may open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside connections: listeners, epoll, policies that are loaded, the log, the capture …
const SPARE_FILES: u64 = 256;

/// Raises the soft limit to the hard one, as only who uses `select` has reason not to. Says in the log when even that is too little.
pub fn raise(connections_max: u64) {
    let hard = getrlimit(Resource::Nofile).maximum;
    let most = Rlimit {
        current: hard,
        maximum: hard,
    };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let soft = getrlimit(Resource::Nofile).current;
    if let Some(files) = soft.filter(|files| *files < needed(connections_max)) {
        tracing::warn!(
            "{files} open files are allowed, which is too few for limits.connections_max = {connections_max}: raise the hard limit \
             (LimitNOFILE= of systemd, ulimit -Hn) or lower connections_max"
        );
    }
}

fn needed(connections_max: u64) -> u64 {
    connections_max.saturating_add(SPARE_FILES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let low = Rlimit {
            current: before.maximum.map(|hard| hard.min(1_024)),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, low).unwrap();
        raise(1);
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
