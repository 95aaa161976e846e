//! What operators write: the configuration, users, keys. What is accepted can be run, what is not is told without its secrets.

use std::path::Path;

use hookswitch::{
    config::{Config, Password},
    fuzz,
};
use hookswitch_auth::{Algorithm, Keys, TokenAlgorithm, Users};
use hookswitch_sip::{
    proxy::{Proxy, ProxyConfig, io::Input},
    token::{Key, Keyring},
};

use crate::Choices;

/// What nobody may be told, and how it is written where a line is one of these.
const SECRET: &str = "4711";
const PASSWORDS: [(&str, &str); 6] = [
    ("@0", "password = \"hush-4711\""),
    ("@1", "password = \"\"\"\nhush-4711\"\"\""),
    ("@2", "\"password\" = 'hush-4711'"),
    ("@3", "password = hush-4711"),
    ("@4", "password = [\"hush-4711\"]"),
    ("@5", "password = 4711"),
];
const KEYS: [(&str, &str); 1] = [("@6", "\"k\": \"hush-4711hush-4711hush-4711hush-4711\",")];
const OUTPUTS_MAX: usize = 10_000;

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let kind = choices.below(4);
    let Ok(text) = std::str::from_utf8(choices.rest()) else {
        return;
    };
    let (read, secrets): (fn(&str) -> String, &[_]) = match kind {
        0 => (users, &PASSWORDS),
        1 => (keys, &KEYS),
        _ => (configuration, &PASSWORDS),
    };
    // Within the text of something else it would be no secret.
    let may_be_told = text.contains(SECRET) || text.contains("\"\"\"") || text.contains("'''");
    let told = read(&written(text, secrets));
    assert!(may_be_told || !told.contains(SECRET), "{told}");
}

fn written(text: &str, secrets: &[(&str, &str)]) -> String {
    let line = |line: &str| {
        let known = secrets.iter().find(|(short, _)| *short == line);
        known.map_or(line.to_owned(), |(_, long)| (*long).to_owned())
    };
    let lines: Vec<_> = text.split('\n').map(line).collect();
    lines.join("\n")
}

/// Gives all that is told of it.
fn configuration(text: &str) -> String {
    let folder = Path::new("/nowhere");
    match Config::parse(text, folder) {
        Ok(config) => {
            assert_eq!(Config::parse(text, folder).as_ref(), Ok(&config));
            assert!(config.differs_in_policy_configs_alone(&config));
            can_run(&config);
            format!("{config:?}")
        }
        Err(faults) => {
            assert!(!faults.0.is_empty());
            for fault in &faults.0 {
                assert!(
                    !fault.what.is_empty() && !fault.remedy.is_empty(),
                    "{fault:?}"
                );
            }
            faults.to_string()
        }
    }
}

/// With a proxy that does what it is told to do at its start and at its end.
fn can_run(config: &Config) {
    let reads_files = |password: &Password| matches!(password, Password::File(_));
    let mut logins = config.upstreams.iter().flat_map(|upstream| &upstream.login);
    if logins.any(|login| reads_files(&login.password)) {
        return;
    }
    let keys = Keyring::new(Key::new(0, &[1; 32]));
    let told = fuzz::proxy_config(config, &keys);
    let told = told.unwrap_or_else(|error| panic!("nothing is read: {error:#}"));
    names_what_is_there(&told);
    let mut proxy = Proxy::new(told, [3; 32]);
    let mut now = std::time::Instant::now();
    for input in [Input::Begin, Input::Drain] {
        proxy.handle(now, input);
        let mut outputs = 0;
        while outputs < OUTPUTS_MAX {
            while proxy.poll_output().is_some() {
                outputs += 1;
            }
            let Some(at) = proxy
                .poll_timeout()
                .filter(|at| at.duration_since(now).as_secs() < 60)
            else {
                break;
            };
            now = at;
            proxy.handle_timeout(now);
        }
        assert!(outputs < OUTPUTS_MAX, "a proxy that never rests");
    }
}

fn names_what_is_there(config: &ProxyConfig) {
    let listeners = config.listeners.len();
    for upstream in &config.upstreams {
        let listener = config.listeners.get(usize::from(upstream.listener.0));
        let listener = listener.unwrap_or_else(|| panic!("{upstream:?} of {listeners} listeners"));
        assert_eq!(listener.transport, upstream.transport);
    }
    let ids = config.trunks.iter().map(|trunk| trunk.upstream);
    let mut ids = ids
        .chain(config.default_upstream)
        .chain(config.registrar.upstream);
    assert!(ids.all(|id| usize::from(id.0) < config.upstreams.len()));
    assert!(config.workers > 0 && config.registrar.expires_min <= config.registrar.expires_max);
}

fn users(text: &str) -> String {
    match Users::parse(text, "example.com", &[Algorithm::Md5, Algorithm::Sha256]) {
        Ok(users) => format!("{users:?}"),
        Err(error) => error.to_string(),
    }
}

fn keys(text: &str) -> String {
    match Keys::parse(text.as_bytes(), &TokenAlgorithm::ALL) {
        Ok(keys) => {
            assert!(keys.count() > 0);
            format!("{keys:?}")
        }
        Err(error) => error.to_string(),
    }
}
