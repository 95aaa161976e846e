//! A server that is killed and started again: what it wrote to the disk, and what the tokens of its dialogs say.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::rustls::DEFAULT_VERSIONS;

use crate::{
    client::{Browser, Sip, as_caller, receive_on, request, send_to, uri, via_of},
    scene::{get, tls},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Registrations are on the disk a tenth of a second later.
const WRITTEN: Duration = Duration::from_secs(2);

/// The binary, run in a folder with listeners `wss` and `udp` on the same ports each time.
struct Process {
    folder: PathBuf,
    child: Child,
    wss: SocketAddr,
    udp: SocketAddr,
    admin: SocketAddr,
}

/// One that is free now.
fn free_port() -> u16 {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.local_addr().unwrap().port()
}

impl Process {
    fn start(name: &str, pbx: SocketAddr) -> Self {
        let folder = std::env::temp_dir().join(format!("hookswitch-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [wss, udp, admin] = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
        let config = format!(
            r#"
            [server]
            state_dir = "state"
            workers = 4
            [[listener]]
            name = "wss"
            transport = "wss"
            address = "{wss}"
            [[listener]]
            name = "udp"
            transport = "udp"
            address = "{udp}"
            [[upstream]]
            name = "pbx"
            members = ["{pbx}"]
            [routing]
            default_upstream = "pbx"
            [registrar]
            store = "disk"
            [admin]
            address = "{admin}"
            "#
        );
        std::fs::write(folder.join("a.toml"), config).unwrap();
        let child = run(&folder);
        Self {
            folder,
            child,
            wss,
            udp,
            admin,
        }
    }

    /// SIGKILL, and the next life, with a worker alone: where connections were before means nothing to it.
    fn kill_and_start(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let file = self.folder.join("a.toml");
        let config = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, config.replace("workers = 4", "workers = 1")).unwrap();
        self.child = run(&self.folder);
    }

    async fn browser(&self, name: &str) -> Browser {
        let stream = tls(&self.folder, self.wss, DEFAULT_VERSIONS).await;
        Browser::knock_on(stream, name, "/", &[]).await.unwrap()
    }

    async fn registrations(&self) -> serde_json::Value {
        let stream = TcpStream::connect(self.admin).await.unwrap();
        let (_, text) = get(stream, "/api/registrations", "").await;
        serde_json::from_str(&text).unwrap()
    }

    fn end(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_dir_all(self.folder).unwrap();
    }
}

fn run(folder: &Path) -> Child {
    let ready = folder.join("ready");
    let _ = std::fs::remove_file(&ready);
    let mut child = Command::new(env!("CARGO_BIN_EXE_hookswitch"))
        .args(["run", "a.toml", "--ready-file", "ready"])
        .current_dir(folder)
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !ready.exists() {
        assert!(started.elapsed() < PATIENCE && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

/// As a page does that was loaded: with a Contact of its own.
async fn register(browser: &mut Browser, page: u32) {
    let fields = format!(
        "{}Contact: <sip:p{page}@page{page}.invalid;transport=ws>\r\nExpires: 600\r\n",
        browser.from(&browser.aor())
    );
    let register = request("REGISTER", "sip:localhost", Browser::VIA, 1, &fields);
    browser.send(&register).await;
    assert_eq!(browser.receive().await.start(), "SIP/2.0 200 OK");
}

/// The browser calls; its ends of the dialog, and the URI of the PBX.
async fn call_pbx(alice: &mut Browser, pbx: &UdpSocket, proxy: SocketAddr) -> (String, String) {
    let fields = format!(
        "{}Contact: {}\r\n",
        alice.from("sip:9001@elsewhere.example"),
        alice.contact()
    );
    let number = "sip:9001@elsewhere.example";
    let invite = request("INVITE", number, Browser::VIA, 1, &fields);
    alice.send(&invite).await;
    let contact = format!("Contact: <sip:9001@{}>\r\n", pbx.local_addr().unwrap());
    let accept = receive_on(pbx).await.answer("200 OK", "p", &contact);
    send_to(pbx, proxy, &accept).await;
    let answer = alice.receive().await;
    let dialog = as_caller(&answer);
    let target = uri(answer.get("Contact")).to_owned();
    let ack = request("ACK", &target, Browser::VIA, 1, &dialog);
    alice.send(&ack).await;
    assert!(receive_on(pbx).await.start().starts_with("ACK "));
    (dialog, target)
}

/// The PBX calls; its ends of the dialog, and the browser's URI.
async fn call_browser(alice: &mut Browser, pbx: &UdpSocket, proxy: SocketAddr) -> (String, String) {
    let contact = format!("Contact: <sip:9002@{}>\r\n", pbx.local_addr().unwrap());
    let fields = format!(
        "From: <sip:9002@localhost>;tag=q\r\nTo: <{}>\r\nCall-ID: from-pbx\r\n{contact}",
        alice.aor()
    );
    let invite = request("INVITE", &alice.aor(), &via_of(pbx), 1, &fields);
    send_to(pbx, proxy, &invite).await;
    let contact = format!("Contact: {}\r\n", alice.contact());
    let accept = alice.receive().await.answer("200 OK", "a", &contact);
    alice.send(&accept).await;
    let answer = receive_on(pbx).await;
    let dialog = as_caller(&answer);
    let target = uri(answer.get("Contact")).to_owned();
    send_to(
        pbx,
        proxy,
        &request("ACK", &target, &via_of(pbx), 1, &dialog),
    )
    .await;
    assert!(alice.receive().await.start().starts_with("ACK "));
    (dialog, target)
}

async fn hang_up_from_pbx(
    pbx: &UdpSocket,
    proxy: SocketAddr,
    (dialog, target): &(String, String),
    cseq: u32,
) {
    let bye = request("BYE", target, &via_of(pbx), cseq, dialog);
    send_to(pbx, proxy, &bye).await;
}

/// The browser is a page that was loaded again, too: it has another Contact.
#[tokio::test]
async fn calls_that_were_up_are_hung_up_from_both_sides() {
    let pbx = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut process = Process::start("killed", pbx.local_addr().unwrap());
    let mut alice = process.browser("alice").await;
    register(&mut alice, 1).await;
    let of_alice = call_pbx(&mut alice, &pbx, process.udp).await;
    let of_pbx = call_browser(&mut alice, &pbx, process.udp).await;
    tokio::time::sleep(WRITTEN).await;
    process.kill_and_start();

    let registrations = process.registrations().await;
    assert_eq!(registrations["total"], 1, "{registrations}");
    assert_eq!(registrations["registrations"][0]["aor"], "sip:alice");
    hang_up_from_pbx(&pbx, process.udp, &of_pbx, 2).await;
    assert_eq!(receive_on(&pbx).await.start(), "SIP/2.0 430 Flow Failed");

    let mut alice = process.browser("alice").await;
    register(&mut alice, 2).await;
    hang_up_from_pbx(&pbx, process.udp, &of_pbx, 3).await;
    let bye: Sip = alice.receive().await;
    assert!(bye.start().starts_with("BYE "), "{}", bye.start());
    alice.send(&bye.answer("200 OK", "a", "")).await;
    assert_eq!(receive_on(&pbx).await.start(), "SIP/2.0 200 OK");

    let (dialog, target) = of_alice;
    let bye = request("BYE", &target, Browser::VIA, 2, &dialog);
    alice.send(&bye).await;
    let bye = receive_on(&pbx).await;
    assert!(bye.start().starts_with("BYE "), "{}", bye.start());
    send_to(&pbx, process.udp, &bye.answer("200 OK", "p", "")).await;
    assert_eq!(alice.receive().await.start(), "SIP/2.0 200 OK");
    process.end();
}
