//! `[[policy]]`: a policy's own words, with three conveniences: `config` as a table, `config_file`, and one `failure` mode for all hooks outside
//! dialogs.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use hookswitch_policy::spec::{ConfigSource, PolicySpec};
use toml::{Table, Value};

use super::{Faults, check::read};

pub(super) fn check(
    raw: Vec<(String, Table)>,
    folder: &Path,
    faults: &mut Faults,
) -> Vec<PolicySpec> {
    let mut names = HashSet::new();
    let mut specs = Vec::new();
    for (key, table) in raw {
        let Some(spec) = spec(&key, table, folder, faults) else {
            continue;
        };
        if !is_file_name(&spec.name) {
            faults.push(
                format!("{key}.name"),
                format!("`{}` is not a name", spec.name),
                "write letters, digits, - and _",
            );
        }
        if !names.insert(spec.name.clone()) {
            faults.push(
                format!("{key}.name"),
                format!("`{}` is taken by another policy", spec.name),
                "choose another name",
            );
        }
        specs.push(spec);
    }
    specs
}

fn spec(key: &str, mut table: Table, folder: &Path, faults: &mut Faults) -> Option<PolicySpec> {
    let inline = table.remove("config");
    let file = table.remove("config_file");
    if let Some(Value::String(mode)) = table.get("failure") {
        // Not `in_dialog`: that calls cannot end is not to be said by the way.
        let hooks = ["connect", "register", "request", "branch", "failure"];
        let modes: Table = hooks
            .iter()
            .map(|hook| ((*hook).to_owned(), Value::String(mode.clone())))
            .collect();
        table.insert("failure".to_owned(), Value::Table(modes));
    }
    let mut spec: PolicySpec = read(key, Value::Table(table), faults)?;
    spec.component = folder.join(spec.component);
    spec.config = config(key, inline, file, folder, faults)?;
    Some(spec)
}

fn config(
    key: &str,
    inline: Option<Value>,
    file: Option<Value>,
    folder: &Path,
    faults: &mut Faults,
) -> Option<ConfigSource> {
    match (inline, file) {
        (None, None) => Some(ConfigSource::default()),
        (Some(inline), None) => {
            read(&format!("{key}.config"), inline, faults).map(ConfigSource::Inline)
        }
        (None, Some(file)) => {
            let file: PathBuf = read(&format!("{key}.config_file"), file, faults)?;
            Some(ConfigSource::File(folder.join(file)))
        }
        (Some(_), Some(_)) => {
            faults.push(
                format!("{key}.config_file"),
                "there is a `config` too",
                "keep one of the two",
            );
            None
        }
    }
}

/// An inline configuration is handed over in a file of the policy's name.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
