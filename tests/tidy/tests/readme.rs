//! The README shows code that is compiled and tested elsewhere, letter by letter.
#![allow(clippy::unwrap_used)]

use std::fs;

use hookswitch_tidy::root;

const POLICY: &str = "plugins/hello/src/lib.rs";

#[test]
fn its_policy_is_the_tested_one() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let marker = format!("<!-- {POLICY} -->\n```rust\n");
    let (_, rest) = readme.split_once(&marker).unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let tested = fs::read_to_string(root().join(POLICY)).unwrap();
    assert_eq!(shown, tested, "README.md and {POLICY} differ");
}

#[test]
fn what_it_links_to_exists() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let targets: Vec<&str> = readme
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
        .collect();
    assert!(!targets.is_empty());
    let headings: Vec<String> = readme
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches(['#', ' '])
                .to_lowercase()
                .replace(' ', "-")
        })
        .collect();
    for target in targets {
        let exists = match target.strip_prefix('#') {
            Some(heading) => headings.iter().any(|known| known == heading),
            None => root().join(target).exists(),
        };
        assert!(exists, "README.md links to {target}");
    }
}
