//! The capture is read by Wireshark's own dissector.

use std::process::Command;

use crate::{
    client::{Browser, request},
    scene::Scene,
};

#[tokio::test]
async fn wireshark_reads_the_capture_and_finds_no_secret() {
    let scene = Scene::start("", "[capture]\nfile = \"sip.pcap\"").await;
    let mut alice = Browser::register(&scene, "alice").await;
    let digest = "Authorization: Digest username=\"alice\", realm=\"r\", nonce=\"n\", uri=\"sip:r\", response=\"5ecre75ecre7\"\r\n";
    let fields = format!(
        "{}Contact: {}\r\n{digest}",
        alice.from(&alice.aor()),
        alice.contact()
    );
    alice
        .send(&request(
            "REGISTER",
            "sip:localhost",
            Browser::VIA,
            2,
            &fields,
        ))
        .await;
    alice.receive().await;
    let (folder, web) = (scene.folder.clone(), scene.address("wss"));
    scene.server.stop().await;
    let output = Command::new("tshark")
        .arg("-r")
        .arg(folder.join("sip.pcap"))
        .args([
            "-T",
            "fields",
            "-e",
            "sip.CSeq",
            "-e",
            "sip.Status-Code",
            "-e",
            "udp.dstport",
            "-e",
            "_ws.malformed",
        ])
        .output()
        .expect("tshark is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.trim_end().split('\t').collect())
        .collect();
    let port = web.port().to_string();
    assert_eq!(lines[0], ["1 REGISTER", "", port.as_str()]);
    assert_eq!(lines[1][..2], ["1 REGISTER", "200"]);
    assert_eq!(lines[2], ["2 REGISTER", "", port.as_str()]);
    assert_eq!(lines[3][..2], ["2 REGISTER", "200"]);
    assert_eq!(lines.len(), 4);
    let bytes = std::fs::read(folder.join("sip.pcap")).unwrap();
    assert!(!bytes.windows(12).any(|window| window == b"5ecre75ecre7"));
    std::fs::remove_dir_all(folder).unwrap();
}
