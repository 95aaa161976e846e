//! Who we are at upstreams: passwords on their way from the configuration to where challenges are answered, what came of it, and the
//! state of our registrations. Shared by all workers; never on the way of a message that no upstream asks about.

use std::{
    fs,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hookswitch_auth::client::{self, NoneFits};
use hookswitch_sip::{
    flow::UpstreamId,
    proxy::{
        credentials::{Choice, Credentials, Freshness, Login, Subject},
        io::Challenged,
        trunk::{TrunkId, TrunkState},
    },
};
use serde_json::json;

use crate::{
    config::{self, Config, Password},
    metrics::{head, line},
};

/// A password and its line's end.
const PASSWORD_FILE_BYTES_MAX: u64 = 4_096;

/// Everything of all upstreams.
pub(crate) struct Carriers {
    upstreams: Vec<Upstream>,
    trunks: Mutex<Vec<Trunk>>,
}

struct Upstream {
    name: String,
    login: Option<Login>,
    /// In the order of [`OUTCOMES`].
    challenges: [AtomicU64; OUTCOMES.len()],
}

/// What became of a challenge, and its label.
const OUTCOMES: [(Challenged, &str); 3] = [
    (Challenged::Answered, "answered"),
    (Challenged::Refused, "refused"),
    (Challenged::Unknown, "unknown"),
];

struct Trunk {
    upstream: String,
    aor: String,
    state: TrunkState,
    /// The last one, for as long as the trunk is not registered.
    error: Option<String>,
}

impl Carriers {
    /// Reads the files of passwords.
    ///
    /// # Errors
    /// One that cannot be used, with the key that names it.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let upstreams = config.upstreams.iter().enumerate();
        let upstreams = upstreams.map(|(index, upstream)| {
            let login = upstream.login.as_ref().map(login).transpose();
            Ok(Upstream {
                name: upstream.name.clone(),
                login: login.with_context(|| format!("upstream[{index}].password_file"))?,
                challenges: Default::default(),
            })
        });
        let trunks = config.registrations.iter().map(|registration| Trunk {
            upstream: config.upstreams[registration.upstream].name.clone(),
            aor: registration.aor.clone(),
            state: TrunkState::Registering,
            error: None,
        });
        Ok(Self {
            upstreams: upstreams.collect::<Result<_>>()?,
            trunks: Mutex::new(trunks.collect()),
        })
    }

    /// Of the upstream at this place in the configuration.
    pub(crate) fn login(&self, upstream: usize) -> Option<Login> {
        self.upstreams.get(upstream)?.login.clone()
    }

    /// An upstream asked who we are.
    pub(crate) fn challenged(&self, upstream: UpstreamId, outcome: Challenged) {
        let Some(upstream) = self.upstreams.get(usize::from(upstream.0)) else {
            return;
        };
        for ((known, _), count) in OUTCOMES.iter().zip(&upstream.challenges) {
            if *known == outcome {
                count.fetch_add(1, Relaxed);
            }
        }
        let upstream = &upstream.name;
        match outcome {
            Challenged::Answered => tracing::debug!(upstream, "asked who we are, and answered"),
            Challenged::Refused => tracing::warn!(
                upstream,
                "the upstream refuses our credentials: mend username and password of that [[upstream]]"
            ),
            Challenged::Unknown => tracing::warn!(
                upstream,
                "the upstream asks for credentials that we do not have: mend realm of that [[upstream]], \
                 or have it ask by digest with MD5 or SHA-256"
            ),
        }
    }

    /// The worker that keeps a registration says what has become of it.
    pub(crate) fn trunk_is(&self, TrunkId(id): TrunkId, state: TrunkState) {
        let mut trunks = self.trunks();
        let Some(trunk) = trunks.get_mut(usize::from(id)) else {
            return;
        };
        let (aor, upstream) = (&trunk.aor, &trunk.upstream);
        match &state {
            TrunkState::Registering => {}
            // Every refresh says so again.
            TrunkState::Registered { .. } if trunk.is_registered() => {}
            TrunkState::Registered { .. } => tracing::info!(aor, upstream, "registered"),
            TrunkState::Failed {
                reason, retry_at, ..
            } => {
                let retry_s = seconds_until(*retry_at);
                tracing::warn!(aor, upstream, retry_s, "not registered: {reason}");
            }
            TrunkState::Removed => tracing::info!(aor, upstream, "no longer registered"),
        }
        trunk.error = match &state {
            TrunkState::Failed { reason, .. } => Some(reason.clone()),
            TrunkState::Registering | TrunkState::Registered { .. } | TrunkState::Removed => None,
        };
        trunk.state = state;
    }

    /// Is an upstream still to be told that we go?
    pub(crate) fn is_registered(&self) -> bool {
        let now = Instant::now();
        let is_bound = |trunk: &Trunk| match trunk.state {
            TrunkState::Registered { .. } => true,
            TrunkState::Failed { until, .. } => until.is_some_and(|until| until > now),
            TrunkState::Registering | TrunkState::Removed => false,
        };
        self.trunks().iter().any(is_bound)
    }

    /// For the admin endpoint.
    pub(crate) fn registrations(&self) -> serde_json::Value {
        let trunks = self.trunks();
        let listed = trunks.iter().map(|trunk| {
            let (state, expires_s, retry_s) = match &trunk.state {
                TrunkState::Registering => ("registering", None, None),
                TrunkState::Registered { until } => {
                    ("registered", Some(seconds_until(*until)), None)
                }
                TrunkState::Failed {
                    retry_at, until, ..
                } => (
                    "failed",
                    until.map(seconds_until),
                    Some(seconds_until(*retry_at)),
                ),
                TrunkState::Removed => ("removed", None, None),
            };
            json!({
                "aor": trunk.aor,
                "upstream": trunk.upstream,
                "state": state,
                "expires_s": expires_s,
                "retry_s": retry_s,
                "error": trunk.error,
            })
        });
        json!({ "registrations": listed.collect::<Vec<_>>() })
    }

    /// For Prometheus.
    pub(crate) fn render(&self, out: &mut String) {
        const CHALLENGES: &str = "upstream_challenges_total";
        head(
            out,
            CHALLENGES,
            "counter",
            "Challenges of upstreams, by what came of them",
        );
        for upstream in &self.upstreams {
            for ((_, outcome), count) in OUTCOMES.iter().zip(&upstream.challenges) {
                let labels = format!("upstream=\"{}\",outcome=\"{outcome}\"", upstream.name);
                line(out, CHALLENGES, &labels, count.load(Relaxed));
            }
        }
        const REGISTERED: &str = "upstream_registered";
        head(
            out,
            REGISTERED,
            "gauge",
            "Whether a registration of ours at an upstream stands",
        );
        for trunk in self.trunks().iter() {
            let labels = format!("upstream=\"{}\",aor=\"{}\"", trunk.upstream, trunk.aor);
            line(out, REGISTERED, &labels, u8::from(trunk.is_registered()));
        }
    }

    fn trunks(&self) -> MutexGuard<'_, Vec<Trunk>> {
        self.trunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trunk {
    fn is_registered(&self) -> bool {
        match self.state {
            TrunkState::Registered { .. } => true,
            TrunkState::Registering | TrunkState::Failed { .. } | TrunkState::Removed => false,
        }
    }
}

fn seconds_until(at: Instant) -> u64 {
    let left = at.saturating_duration_since(Instant::now());
    // Rounded: what was granted for 60 s has 60 s left, not 59.
    (left + Duration::from_millis(500)).as_secs()
}

/// With its password read.
///
/// # Errors
/// A file that has no password in its first line.
pub(crate) fn login(login: &config::Login) -> Result<Login> {
    let password = password(&login.password)?;
    let login = client::Login::new(&login.username, &password, login.realm.as_deref());
    Ok(Login(Arc::new(Digest(login))))
}

/// Itself, from wherever it stands.
pub(crate) fn password(password: &Password) -> Result<String> {
    let path = match password {
        Password::Written(secret) => return Ok(secret.reveal().to_owned()),
        Password::File(path) => path,
    };
    let read = || -> Result<String> {
        let bytes = fs::metadata(path)?.len();
        ensure!(
            bytes <= PASSWORD_FILE_BYTES_MAX,
            "more than {PASSWORD_FILE_BYTES_MAX} bytes"
        );
        let text = fs::read_to_string(path)?;
        let first = text.lines().next().unwrap_or_default();
        ensure!(!first.is_empty(), "its first line is empty");
        Ok(first.to_owned())
    };
    read().with_context(|| path.display().to_string())
}

/// What `sip` asks of `auth`.
#[derive(Debug)]
struct Digest(client::Login);

impl Credentials for Digest {
    fn choose(&self, challenges: &[&str]) -> Choice {
        match self.0.choose(challenges.iter().copied()) {
            Ok(challenge) => Choice::Answer {
                challenge: challenge.value().to_owned(),
                freshness: match challenge.is_stale() {
                    true => Freshness::Stale,
                    false => Freshness::First,
                },
            },
            Err(NoneFits::Foreign) => {
                if let Some(realm) = self.0.first_realm() {
                    tracing::warn!(
                        login = ?self.0,
                        "a challenge is left to the caller, since the first one was of the realm `{realm}`: \
                         write `realm = \"...\"` in that [[upstream]] if another one is right"
                    );
                }
                Choice::Foreign
            }
            Err(NoneFits::Unknown) => Choice::Unknown,
        }
    }

    fn answer(&self, challenge: &str, request: &Subject<'_>) -> Option<String> {
        let challenge = self.0.choose([challenge]).ok()?;
        let request = client::Request {
            method: request.method,
            uri: request.uri,
            body: request.body,
            count: request.count,
            cnonce: request.cnonce,
        };
        Some(self.0.answer(&challenge, &request))
    }
}
