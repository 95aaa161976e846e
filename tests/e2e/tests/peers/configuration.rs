//! The configurations that we show are good ones.

use hookswitch_e2e::host;

#[test]
fn the_one_in_the_readme_passes_its_check() {
    let readme = include_str!("../../../../README.md");
    let toml = readme
        .split("```toml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    host::check("check_readme", toml);
}

#[test]
fn the_one_of_the_demo_passes_its_check() {
    host::check(
        "check_demo",
        include_str!("../../../../examples/softphone/demo/hookswitch.toml"),
    );
}
