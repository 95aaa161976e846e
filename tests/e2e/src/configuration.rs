//! The files that a hookswitch under test reads.

use std::{fs, net::SocketAddr, path::Path};

use serde_json::json;

use crate::{DOMAIN, built, here, made};

pub(crate) fn edge_rules(value: &str) -> String {
    json!({"rules": [{"on": "request", "set": {"X-Edge": value}}]}).to_string()
}

/// Where the rules of `header-rules` stand.
#[derive(Clone, Copy)]
pub(crate) enum RulesAt {
    File,
    MainFile,
}

/// How the line with the rules begins in the main file.
pub(crate) const INLINE: &str = "config = ";

/// A table of TOML that says what [`edge_rules`] does.
pub(crate) fn inline_rules(value: &str) -> String {
    format!("{INLINE}{{ rules = [{{ on = \"request\", set = {{ X-Edge = \"{value}\" }} }}] }}")
}

pub(crate) fn copy_components(folder: &Path) {
    let target = built()
        .parent()
        .expect("target above target/debug")
        .to_path_buf();
    for policy in ["header-rules", "prefix-router"] {
        let component = made(target.join("plugins").join(format!("{policy}.wasm")));
        fs::copy(component, folder.join(format!("{policy}.wasm")))
            .expect("the component is copied");
    }
}

pub(crate) fn write_configuration(folder: &Path, pbx: SocketAddr, rules: RulesAt) {
    copy_components(folder);
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).expect("a file of the configuration")
    };
    write("header-rules.json", edge_rules("one"));
    write(
        "prefix-router.json",
        json!({"routes": [{"prefix": "9", "upstreams": ["pbx"], "strip": 1}]}).to_string(),
    );
    copy_pages(&folder.join("pages"));
    let rules = match rules {
        RulesAt::File => "config_file = \"header-rules.json\"".to_owned(),
        RulesAt::MainFile => inline_rules("one"),
    };
    write("hookswitch.toml", configuration(pbx, &rules));
}

/// The pages with SIP.js and with JsSIP, side by side.
fn copy_pages(folder: &Path) {
    fs::create_dir_all(folder).expect("a folder for the pages");
    for pages in ["../../examples/softphone/dist", "dist"] {
        for page in fs::read_dir(made(here().join(pages))).expect("a folder") {
            let page = page.expect("a file").path();
            let name = page.file_name().expect("a file has a name");
            fs::copy(&page, folder.join(name)).expect("the page is copied");
        }
    }
}

fn configuration(pbx: SocketAddr, rules: &str) -> String {
    format!(
        r#"
[server]
workers = 2
state_dir = "../state"
domains = ["{DOMAIN}"]

[[listener]]
name = "wss"
transport = "wss"
address = "127.0.0.1:0"
pages = "pages"

[[listener]]
name = "udp"
transport = "udp"
address = "127.0.0.1:0"

[[upstream]]
name = "pbx"
members = ["{pbx}"]

[[policy]]
name = "header-rules"
component = "header-rules.wasm"
{rules}

[[policy]]
name = "prefix-router"
component = "prefix-router.wasm"
config_file = "prefix-router.json"

[admin]
address = "127.0.0.1:0"

[capture]
file = "capture.pcap"
"#
    )
}
