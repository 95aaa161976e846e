//! The file as written: every key optional, strings and numbers as they stand, unknown keys refused.

use std::path::PathBuf;

use serde::Deserialize;

use super::registrations::Secret;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Server {
    pub(super) workers: Option<i64>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) domains: Option<Vec<String>>,
    pub(super) drain_s_max: Option<i64>,
    pub(super) key_rotation_days: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) transport: String,
    pub(super) address: String,
    pub(super) advertised: Option<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) client_certificate: Option<String>,
    pub(super) origins: Option<Vec<String>>,
    pub(super) pages: Option<PathBuf>,
    pub(super) flow_timer_s: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) transport: Option<String>,
    pub(super) listener: Option<String>,
    pub(super) members: Vec<String>,
    pub(super) sources: Option<Vec<String>>,
    #[serde(default)]
    pub(super) certificates: Vec<String>,
    pub(super) oversize: Option<String>,
    pub(super) announce: Option<String>,
    pub(super) connections_max: Option<i64>,
    pub(super) connect_ms_max: Option<i64>,
    pub(super) idle_s_max: Option<i64>,
    pub(super) keepalive: Option<String>,
    pub(super) keepalive_s: Option<i64>,
    pub(super) ca: Option<PathBuf>,
    pub(super) server_name: Option<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) realm: Option<String>,
    pub(super) media: Option<String>,
    pub(super) webrtc: Option<bool>,
    pub(super) interface: Option<String>,
    pub(super) srtp: Option<String>,
    pub(super) nat: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Media {
    pub(super) mode: Option<String>,
    pub(super) rtpengine: Vec<String>,
    pub(super) workers: Option<i64>,
    pub(super) srtp: Option<String>,
    pub(super) ice: Option<Vec<String>>,
    pub(super) silence_s_max: Option<i64>,
    pub(super) transcoded_calls_max: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    #[serde(default)]
    pub(super) public: Vec<String>,
    pub(super) ports: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Turn {
    pub(super) uris: Vec<String>,
    pub(super) secret: Option<Secret>,
    pub(super) secret_file: Option<PathBuf>,
    pub(super) ttl_s: Option<i64>,
    pub(super) path: Option<String>,
    pub(super) anonymous: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registration {
    pub(super) upstream: String,
    pub(super) aor: String,
    pub(super) contact_user: Option<String>,
    pub(super) expires_s: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Realm {
    pub(super) name: String,
    pub(super) users: PathBuf,
    pub(super) algorithms: Option<Vec<String>>,
    pub(super) qop: Option<Vec<String>>,
    pub(super) nonce_s_max: Option<i64>,
    pub(super) uri: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) audience: Vec<String>,
    pub(super) keys_file: Option<PathBuf>,
    pub(super) keys_url: Option<String>,
    pub(super) keys_ca: Option<PathBuf>,
    pub(super) keys_s_min: Option<i64>,
    pub(super) keys_s_max: Option<i64>,
    pub(super) algorithms: Option<Vec<String>>,
    pub(super) leeway_s: Option<i64>,
    pub(super) authz_server: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Routing {
    pub(super) default_upstream: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Registrar {
    pub(super) store: Option<String>,
    pub(super) upstream: Option<String>,
    pub(super) expires_s_min: Option<i64>,
    pub(super) expires_s_default: Option<i64>,
    pub(super) expires_s_max: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TestDestinations {
    pub(super) enabled: Option<bool>,
    pub(super) calls_max: Option<i64>,
    pub(super) call_s_max: Option<i64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dns {
    pub(super) servers: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    pub(super) address: Option<String>,
    pub(super) enabled: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    pub(super) filter: Option<String>,
    pub(super) format: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Capture {
    pub(super) file: PathBuf,
    pub(super) capture_bytes_max: Option<i64>,
    pub(super) credentials: Option<String>,
}
