//! What an operator can change in the main file while the process runs: the `config` of a policy. It is handed to the policy in a
//! file of its own, which is watched like any other, so that every change of a policy takes the same way.

use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Result;
use hookswitch_policy::spec::{ConfigSource, PolicySpec};

use crate::{config::Config, state::State};

/// How often the main file is looked at; a symbolic link that changes its target is seen like a write.
const LOOK_EVERY: Duration = Duration::from_millis(250);

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

/// Watches the main file for ever.
pub(crate) async fn watch(file: PathBuf, running: Config, state: State) {
    let mut current = running;
    let mut seen = stamp(&file);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = stamp(&file);
        if now == seen || now.is_none() {
            continue;
        }
        // A file that is still being written is looked at again once it rests.
        if now != stamp_after(&file, LOOK_EVERY / 5).await {
            continue;
        }
        seen = now;
        match Config::load(&file) {
            Ok(changed) => apply(&mut current, changed, &state),
            Err(faults) => {
                tracing::error!(file = %file.display(), "the changed configuration is not used: {faults}")
            }
        }
    }
}

fn apply(current: &mut Config, changed: Config, state: &State) {
    if !current.differs_in_policy_configs_alone(&changed) {
        tracing::warn!(
            "more than the config of policies changed in the configuration: restart to use the rest"
        );
    }
    for (ours, theirs) in current.policies.iter_mut().zip(&changed.policies) {
        let is_inline = matches!(
            (&ours.config, &theirs.config),
            (ConfigSource::Inline(_), ConfigSource::Inline(_))
        );
        if ours.name != theirs.name || ours.config == theirs.config || !is_inline {
            continue;
        }
        ours.config = theirs.config.clone();
        if let ConfigSource::Inline(json) = &theirs.config
            && let Err(error) = state.write_policy_config(&theirs.name, json)
        {
            tracing::error!(
                policy = theirs.name,
                error = format!("{error:#}"),
                "the changed config is not used"
            );
        }
    }
}

/// What tells one state of a file from the next.
type Stamp = (u64, u64, u64, Option<SystemTime>);

fn stamp(file: &Path) -> Option<Stamp> {
    let of = |metadata: Metadata| {
        (
            metadata.dev(),
            metadata.ino(),
            metadata.len(),
            metadata.modified().ok(),
        )
    };
    std::fs::metadata(file).ok().map(of)
}

async fn stamp_after(file: &Path, pause: Duration) -> Option<Stamp> {
    tokio::time::sleep(pause).await;
    stamp(file)
}
