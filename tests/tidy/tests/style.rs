//! Bans that hold in every Rust file of ours.
#![allow(clippy::unwrap_used)]

use std::fs;

use hookswitch_tidy::{files, root};

const LINES_MAX: usize = 500;
const FOLDERS: &[&str] = &[
    "host",
    "plugin-sdk",
    "plugins",
    "tests",
    "examples",
    "xtask",
];

/// Joined here so that this file does not hold what it bans.
fn bans() -> Vec<(String, &'static str)> {
    vec![
        (["todo", "!("].concat(), "nothing is left undone"),
        (["unimplemented", "!("].concat(), "nothing is left undone"),
        (["dbg", "!("].concat(), "debugging is over"),
        (["TO", "DO"].concat(), "nothing is left undone"),
        (["FIX", "ME"].concat(), "nothing is left undone"),
        (
            ["#[", "ignore"].concat(),
            "a test that does not run is no test",
        ),
    ]
}

/// Path and text of every Rust file.
fn sources() -> Vec<(String, String)> {
    let folders = FOLDERS.iter().filter(|folder| root().join(folder).is_dir());
    let read = |path: std::path::PathBuf| {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        (path.to_string_lossy().into_owned(), text)
    };
    folders
        .flat_map(|folder| files(folder, ".rs"))
        .map(read)
        .collect()
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_files_to_look_at() {
    assert!(sources().len() > 40);
}

#[test]
fn no_file_is_too_long() {
    let long = |(path, text): &(String, String)| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{path} has {lines} lines; split it"))
    };
    assert_none(&sources().iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is() {
    // A file of tests beside the file that it tests needs no words of its own.
    let silent = |(path, text): &(String, String)| {
        (!path.ends_with("tests.rs") && !text.contains("//!"))
            .then(|| format!("{path} does not say what it is"))
    };
    assert_none(&sources().iter().filter_map(silent).collect::<Vec<_>>());
}

#[test]
fn nothing_banned_is_left() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for (line, number) in text.lines().zip(1..) {
            let found = bans()
                .into_iter()
                .filter(|(ban, _)| line.contains(ban.as_str()));
            wrong.extend(found.map(|(ban, why)| format!("{path}:{number} {ban} {why}")));
        }
    }
    assert_none(&wrong);
}
