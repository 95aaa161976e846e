//! What `hookswitch check` reads beyond the configuration itself: every file that it names, as a start would read it. Nothing is bound
//! and nothing is written.

use std::path::Path;

use hookswitch_policy::{Engine, EngineConfig, Policies};

use crate::{
    auth, carriers,
    config::{self, Certificate, ClientCertificates, Config, Faults, ListenerKind, Web},
    transport::tls,
};

/// Loads and configures the policies, reads certificates, users and keys, and looks for the pages.
///
/// # Errors
/// Every fault that was found.
pub fn files(config: &Config) -> Result<(), Faults> {
    let mut faults = Faults::default();
    for (index, listener) in config.listeners.iter().enumerate() {
        let key = format!("listener[{index}]");
        match &listener.kind {
            ListenerKind::Udp | ListenerKind::Tcp => {}
            ListenerKind::Tls(identity, clients) => {
                certificate(&key, identity, clients, &mut faults);
            }
            ListenerKind::Ws(web) => pages(&key, web, &mut faults),
            ListenerKind::Wss(web, identity) => {
                pages(&key, web, &mut faults);
                certificate(&key, identity, &ClientCertificates::NotAsked, &mut faults);
            }
        }
    }
    for (index, upstream) in config.upstreams.iter().enumerate() {
        if let Err(error) = tls::connector_to(upstream) {
            faults.push(
                format!("upstream[{index}]"),
                format!("{error:#}"),
                "name PEM files of a CA, and of a certificate and its key",
            );
        }
        if let Some(Err(error)) = upstream.login.as_ref().map(carriers::login) {
            faults.push(
                format!("upstream[{index}].password_file"),
                format!("{error:#}"),
                "name a file with the password in its first line",
            );
        }
    }
    if let Some(Err(error)) = config
        .turn
        .as_ref()
        .map(|turn| carriers::password(&turn.secret))
    {
        faults.push(
            "turn.secret_file",
            format!("{error:#}"),
            "name a file with the secret in its first line",
        );
    }
    auth_files(&config.auth, &mut faults);
    policies(config, &mut faults);
    match faults.0.is_empty() {
        true => Ok(()),
        false => Err(faults),
    }
}

fn auth_files(config: &config::Auth, faults: &mut Faults) {
    for (index, realm) in config.realms.iter().enumerate() {
        if let Err(error) = auth::read_users(realm) {
            faults.push(
                format!("auth.realm[{index}].users"),
                format!("{error:#}"),
                "name a file of [[user]] with a name and a password each",
            );
        }
    }
    for (index, issuer) in config.issuers.iter().enumerate() {
        if let Err(error) = auth::keys::issuer(issuer) {
            faults.push(
                format!("auth.issuer[{index}]"),
                format!("{error:#}"),
                "name a JSON Web Key Set (RFC 7517) with a key of the issuer's algorithms, or a PEM file of a CA",
            );
        }
    }
}

fn pages(key: &str, web: &Web, faults: &mut Faults) {
    if let Some(pages) = web.pages.as_deref().filter(|pages| !pages.is_dir()) {
        faults.push(
            format!("{key}.pages"),
            format!("there is no folder {}", pages.display()),
            "name the folder of the page",
        );
    }
}

fn certificate(
    key: &str,
    certificate: &Certificate,
    clients: &ClientCertificates,
    faults: &mut Faults,
) {
    match certificate {
        Certificate::SelfSigned => {}
        Certificate::Files {
            certificate,
            key: private,
        } => {
            if let Err(error) = tls::with_identity(certificate, private, clients) {
                faults.push(
                    format!("{key}.certificate"),
                    format!("{error:#}"),
                    "name PEM files that belong together",
                );
            }
        }
    }
}

fn policies(config: &Config, faults: &mut Faults) {
    let engine = match Engine::new(EngineConfig::default()) {
        Ok(engine) => engine,
        Err(error) => {
            return faults.push("policy", error.to_string(), "mend what stands in its way");
        }
    };
    let Err(error) = Policies::start(&engine, config.policies.clone(), config.upstream_names())
    else {
        return;
    };
    for (name, reason) in error.faults {
        let index = config
            .policies
            .iter()
            .position(|policy| policy.name == name);
        let key = index.map_or("policy".to_owned(), |index| format!("policy[{index}]"));
        faults.push(key, format!("`{name}`: {reason}"), remedy(config, index));
    }
}

fn remedy(config: &Config, index: Option<usize>) -> String {
    let component = index
        .and_then(|index| config.policies.get(index))
        .map_or(Path::new("the component"), |policy| &policy.component);
    format!("mend {} or its configuration", component.display())
}
