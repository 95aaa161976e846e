//! Who may import whom: `sip`, `policy` and `media` know nothing of each other, `auth` knows none of them and `policy` alone knows it,
//! `server` knows all four, nobody but what tests it knows `server`,
//! and a plugin knows the SDK alone.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::{collections::BTreeMap, fs, path::Path};

use hookswitch_tidy::{files, root};

/// What each package of ours may depend on, among ours. A package that is not here must be added with its arrows.
const ARROWS: &[(&str, &[&str])] = &[
    ("hookswitch-sip", &[]),
    ("hookswitch-auth", &[]),
    ("hookswitch-policy", &["hookswitch-auth"]),
    ("hookswitch-media", &[]),
    (
        "hookswitch",
        &[
            "hookswitch-sip",
            "hookswitch-auth",
            "hookswitch-policy",
            "hookswitch-media",
        ],
    ),
    ("hookswitch-simulator", &["hookswitch-sip"]),
    (
        "hookswitch-fuzz",
        &[
            "hookswitch-sip",
            "hookswitch-auth",
            "hookswitch-media",
            "hookswitch",
        ],
    ),
    ("hookswitch-tidy", &[]),
    ("hookswitch-load", &[]),
    (
        "hookswitch-media-load",
        &["hookswitch-media", "hookswitch-load"],
    ),
    ("hookswitch-e2e", &[]),
    ("xtask", &[]),
    ("hookswitch-sdk-macros", &[]),
    ("hookswitch-sdk", &["hookswitch-sdk-macros"]),
];

/// Packages below these folders are policies: all of them know the SDK and one another's testing help, nothing of the host.
const PLUGINS: &[&str] = &["plugins", "examples"];
const PLUGIN_KNOWS: &[&str] = &["hookswitch-sdk", "hookswitch-sdk-macros"];

/// Our dependencies of every kind, by the name of the package that has them.
fn arrows() -> BTreeMap<String, (String, Vec<String>)> {
    let manifests = [
        "host",
        "plugin-sdk",
        "plugins",
        "tests",
        "examples",
        "xtask",
    ]
    .into_iter();
    let manifests = manifests
        .filter(|folder| root().join(folder).is_dir())
        .flat_map(|folder| files(folder, "Cargo.toml"));
    manifests.filter_map(|path| arrows_of(&path)).collect()
}

fn arrows_of(path: &Path) -> Option<(String, (String, Vec<String>))> {
    let manifest: toml::Table = fs::read_to_string(root().join(path))
        .unwrap()
        .parse()
        .unwrap();
    let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
    let targets = manifest
        .get("target")
        .and_then(|t| t.as_table())
        .into_iter()
        .flat_map(|t| t.values());
    let tables = targets
        .filter_map(|target| target.as_table())
        .chain([&manifest]);
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let dependencies = tables.flat_map(|table| {
        kinds
            .iter()
            .filter_map(|kind| table.get(*kind)?.as_table())
            .flat_map(|deps| deps.iter())
    });
    let ours = dependencies
        .map(|(key, dependency)| package_of(key, dependency))
        .filter(|package| package.starts_with("hookswitch") || package == "xtask")
        .collect();
    Some((name, (path.to_string_lossy().into_owned(), ours)))
}

/// The package behind a dependency: it may be renamed here, or in the workspace that it is taken from.
fn package_of(key: &str, dependency: &toml::Value) -> String {
    let named = |dependency: &toml::Value| dependency.get("package")?.as_str().map(str::to_owned);
    let inherited = || {
        dependency.get("workspace")?;
        WORKSPACES
            .iter()
            .find_map(|manifest| named(dependencies_of(manifest).get(key)?))
    };
    named(dependency)
        .or_else(inherited)
        .unwrap_or(key.to_owned())
}

const WORKSPACES: [&str; 2] = ["Cargo.toml", "plugins/Cargo.toml"];

/// What the members of a workspace may inherit.
fn dependencies_of(manifest: &str) -> toml::Table {
    let text = fs::read_to_string(root().join(manifest)).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    manifest["workspace"]["dependencies"]
        .as_table()
        .unwrap()
        .clone()
}

#[test]
fn a_renamed_package_is_known_by_its_own_name() {
    let dependency = |toml: &str| toml.parse::<toml::Table>().unwrap()["d"].clone();
    for (toml, package) in [
        ("d = \"1\"", "d"),
        (
            "d = { path = \"x\", package = \"hookswitch-sip\" }",
            "hookswitch-sip",
        ),
        ("d = { workspace = true }", "d"),
    ] {
        assert_eq!(package_of("d", &dependency(toml)), package);
    }
}

#[test]
fn imports_follow_the_arrows() {
    let arrows = arrows();
    let mut wrong = Vec::new();
    for (name, (path, imports)) in &arrows {
        let plugin = PLUGINS.iter().any(|folder| path.starts_with(folder));
        let allowed = match ARROWS.iter().find(|(package, _)| package == name) {
            Some((_, allowed)) => *allowed,
            None if plugin => PLUGIN_KNOWS,
            None => {
                wrong.push(format!("{name} ({path}) has no arrows here"));
                continue;
            }
        };
        let local = |import: &&String| {
            plugin
                && arrows
                    .get(*import)
                    .is_some_and(|(path, _)| path.starts_with("plugins"))
        };
        let strangers = imports
            .iter()
            .filter(|import| !allowed.contains(&import.as_str()) && !local(import));
        wrong.extend(strangers.map(|import| format!("{name} ({path}) must not know {import}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_of_sip_has_no_io_and_no_wasm() {
    let manifest: toml::Table = fs::read_to_string(root().join("host/sip/Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let dependencies: Vec<String> = manifest["dependencies"]
        .as_table()
        .unwrap()
        .iter()
        .map(|(key, dependency)| package_of(key, dependency))
        .collect();
    for banned in [
        "tokio", "wasmtime", "socket2", "hyper", "rustls", "tracing", "rand",
    ] {
        assert!(
            dependencies.iter().all(|name| !name.starts_with(banned)),
            "host/sip must not know {banned}"
        );
    }
}

#[test]
fn every_package_of_the_workspace_is_here() {
    let names = arrows();
    for package in [
        "hookswitch-sip",
        "hookswitch-policy",
        "hookswitch-media",
        "hookswitch",
        "xtask",
    ] {
        assert!(
            names.contains_key(package),
            "{package} was not found: this test looks in the wrong place"
        );
    }
}
