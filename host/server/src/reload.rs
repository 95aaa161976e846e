//! What an operator can change in the main file while the process runs: the `config` of a policy. It is handed to the policy in a
//! file of its own, which is watched like any other, so that every change of a policy takes the same way.

use std::path::PathBuf;

use anyhow::{Context, Result};
use hookswitch_policy::{
    FileWatch,
    spec::{ConfigSource, PolicySpec},
};

use crate::{config::Config, state::State};

/// The policies, each with its configuration in a file.
pub(crate) fn with_config_files(specs: &[PolicySpec], state: &State) -> Result<Vec<PolicySpec>> {
    let mut specs = specs.to_vec();
    for spec in &mut specs {
        if let ConfigSource::Inline(json) = &spec.config {
            let file = state.write_policy_config(&spec.name, json)?;
            spec.config = ConfigSource::File(file);
        }
    }
    Ok(specs)
}

/// Watches the main file for as long as what it returns is held.
pub(crate) fn watch(file: PathBuf, running: Config, state: State) -> Result<FileWatch> {
    let mut current = running;
    let path = file.clone();
    let look = move || match Config::load(&path) {
        Ok(changed) => apply(&mut current, &changed, &state),
        Err(faults) => {
            tracing::error!(file = %path.display(), "the changed configuration is not used: {faults}");
        }
    };
    FileWatch::start(file, look).context("watching the configuration")
}

/// Hands over what has changed inline, and says what else has changed and waits for a restart.
fn apply(current: &mut Config, changed: &Config, state: &State) {
    if !current.differs_in_policy_configs_alone(changed) {
        tracing::warn!(
            "more than the config of policies changed in the configuration: restart to use the rest"
        );
    }
    for theirs in &changed.policies {
        let ours = current
            .policies
            .iter_mut()
            .find(|ours| ours.name == theirs.name);
        if let Some(ours) = ours.filter(|ours| ours.config != theirs.config) {
            apply_config(ours, theirs, state);
        }
    }
}

fn apply_config(ours: &mut PolicySpec, theirs: &PolicySpec, state: &State) {
    let policy = &theirs.name;
    let (ConfigSource::Inline(_), ConfigSource::Inline(json)) = (&ours.config, &theirs.config)
    else {
        tracing::warn!(
            policy,
            "its config comes from elsewhere now: restart to use it"
        );
        return;
    };
    match state.write_policy_config(policy, json) {
        Ok(_) => ours.config = theirs.config.clone(),
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(policy, error, "the changed config is not used");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(policies: &[(&str, &str)]) -> Config {
        let policy = |(name, config): &(&str, &str)| {
            format!("[[policy]]\nname = \"{name}\"\ncomponent = \"p.wasm\"\n{config}\n")
        };
        Config::parse(
            &policies.iter().map(policy).collect::<String>(),
            Path::new("."),
        )
        .unwrap()
    }

    #[test]
    fn each_policy_gets_its_own_change_wherever_it_stands() {
        let folder = std::env::temp_dir().join(format!("hookswitch-reload-{}", std::process::id()));
        let state = State::open(&folder).unwrap();
        let inline = |n: u8| format!("config = {{ n = {n} }}");
        let mut current = config(&[("a", &inline(1)), ("b", &inline(1)), ("c", &inline(1))]);
        let changed = config(&[
            ("b", &inline(2)),
            ("c", "config_file = \"c.json\""),
            ("a", &inline(1)),
        ]);
        apply(&mut current, &changed, &state);
        let written =
            |name: &str| std::fs::read_to_string(folder.join(format!("policy-{name}.json"))).ok();
        assert_eq!(
            ["a", "b", "c"].map(written),
            [None, Some(r#"{"n":2}"#.to_owned()), None]
        );
        // What waits for a restart is told again by the next change.
        assert_eq!(current.policies[1].config, changed.policies[0].config);
        assert_ne!(current.policies[2].config, changed.policies[1].config);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
