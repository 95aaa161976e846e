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
    client::{
        Browser, Sip, as_callee, as_caller, fresh, receive_on, request, send_to, uri, via_of,
    },
    scene::{get, tls},
    stream::{Line, client},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Registrations are on the disk a tenth of a second later.
const WRITTEN: Duration = Duration::from_secs(2);

/// No address of the PBX's.
const ELSEWHERE: [u8; 4] = [127, 0, 0, 2];

/// The binary, run in a folder with a listener of each kind, on the same ports each time.
struct Process {
    folder: PathBuf,
    child: Child,
    wss: SocketAddr,
    udp: SocketAddr,
    tcp: SocketAddr,
    tls: SocketAddr,
    admin: SocketAddr,
}

/// Whose connection dies with the process.
trait Client {
    fn via(&self) -> String;
    async fn send(&mut self, message: &Sip);
    async fn receive(&mut self) -> Sip;
}

impl Client for Browser {
    fn via(&self) -> String {
        Self::VIA.to_owned()
    }
    async fn send(&mut self, message: &Sip) {
        self.send(message).await;
    }
    async fn receive(&mut self) -> Sip {
        self.receive().await
    }
}

impl Client for Line {
    fn via(&self) -> String {
        self.via.clone()
    }
    async fn send(&mut self, message: &Sip) {
        self.send(message).await;
    }
    async fn receive(&mut self) -> Sip {
        self.receive().await
    }
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
        let [wss, udp, tcp, tls, admin] =
            [(); 5].map(|()| SocketAddr::from(([127, 0, 0, 1], free_port())));
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
            [[listener]]
            name = "tcp"
            transport = "tcp"
            address = "{tcp}"
            [[listener]]
            name = "tls"
            transport = "tls"
            address = "{tls}"
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
            tcp,
            tls,
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

    /// A phone over TCP.
    async fn phone_by_tcp(&self) -> Line {
        Line::tcp(ELSEWHERE, self.tcp).await
    }

    async fn phone_by_tls(&self) -> Line {
        let config = client(&self.folder.join("state/cert.pem"), None);
        Line::tls(ELSEWHERE, self.tls, config).await.unwrap()
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

fn from(user: &str, to: &str) -> String {
    let (tag, call) = (fresh(), fresh());
    format!("From: <sip:{user}@localhost>;tag=f{tag}\r\nTo: <{to}>\r\nCall-ID: {call}@test\r\n")
}

async fn register(client: &mut impl Client, user: &str, contact: &str) {
    let from = from(user, &format!("sip:{user}@localhost"));
    let fields = format!("{from}Contact: <{contact}>\r\nExpires: 600\r\n");
    let register = request("REGISTER", "sip:localhost", &client.via(), 1, &fields);
    client.send(&register).await;
    assert_eq!(client.receive().await.start(), "SIP/2.0 200 OK");
}

/// The client calls; its ends of the dialog, and the URI of the PBX.
async fn call_pbx(
    client: &mut impl Client,
    (user, contact): (&str, &str),
    pbx: &UdpSocket,
    proxy: SocketAddr,
) -> (String, String) {
    let number = "sip:9001@elsewhere.example";
    let fields = format!("{}Contact: <{contact}>\r\n", from(user, number));
    let invite = request("INVITE", number, &client.via(), 1, &fields);
    client.send(&invite).await;
    let contact = format!("Contact: <sip:9001@{}>\r\n", pbx.local_addr().unwrap());
    let accept = receive_on(pbx).await.answer("200 OK", "p", &contact);
    send_to(pbx, proxy, &accept).await;
    let answer = client.receive().await;
    let dialog = as_caller(&answer);
    let target = uri(answer.get("Contact")).to_owned();
    let ack = request("ACK", &target, &client.via(), 1, &dialog);
    client.send(&ack).await;
    assert!(receive_on(pbx).await.start().starts_with("ACK "));
    (dialog, target)
}

/// The PBX calls; the dialog as it writes it, with the client's URI, and as the client writes it, with the PBX's.
async fn call_client(
    client: &mut impl Client,
    (user, contact): (&str, &str),
    pbx: &UdpSocket,
    proxy: SocketAddr,
) -> [(String, String); 2] {
    let aor = format!("sip:{user}@localhost");
    let own = format!("Contact: <sip:9002@{}>\r\n", pbx.local_addr().unwrap());
    let fields = format!("{}{own}", from("9002", &aor));
    let invite = request("INVITE", &aor, &via_of(pbx), 1, &fields);
    send_to(pbx, proxy, &invite).await;
    let contact = format!("Contact: <{contact}>\r\n");
    let invite = client.receive().await;
    let accept = invite.answer("200 OK", "a", &contact);
    let of_client = (as_callee(&accept), uri(invite.get("Contact")).to_owned());
    client.send(&accept).await;
    let answer = receive_on(pbx).await;
    let dialog = as_caller(&answer);
    let target = uri(answer.get("Contact")).to_owned();
    let ack = request("ACK", &target, &via_of(pbx), 1, &dialog);
    send_to(pbx, proxy, &ack).await;
    assert!(client.receive().await.start().starts_with("ACK "));
    [(dialog, target), of_client]
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

/// Answered, wherever the call was before.
async fn pbx_is_hung_up_on(
    client: &mut impl Client,
    pbx: &UdpSocket,
    proxy: SocketAddr,
    (dialog, target): &(String, String),
) {
    let bye = request("BYE", target, &client.via(), 2, dialog);
    client.send(&bye).await;
    let bye = receive_on(pbx).await;
    assert!(bye.start().starts_with("BYE "), "{}", bye.start());
    send_to(pbx, proxy, &bye.answer("200 OK", "p", "")).await;
    assert_eq!(client.receive().await.start(), "SIP/2.0 200 OK");
}

async fn client_is_hung_up_on(
    client: &mut impl Client,
    pbx: &UdpSocket,
    proxy: SocketAddr,
    call: &(String, String),
) {
    hang_up_from_pbx(pbx, proxy, call, 3).await;
    let bye = client.receive().await;
    assert!(bye.start().starts_with("BYE "), "{}", bye.start());
    client.send(&bye.answer("200 OK", "a", "")).await;
    assert_eq!(receive_on(pbx).await.start(), "SIP/2.0 200 OK");
}

/// The browser is a page that was loaded again, too: it has another Contact.
#[tokio::test]
async fn calls_that_were_up_are_hung_up_from_both_sides() {
    let page = |page: u32| format!("sip:p{page}@page{page}.invalid;transport=ws");
    let (alice_in_calls, pages) = ("sip:alice@alice.invalid;transport=ws", [page(1), page(2)]);
    let pbx = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut process = Process::start("killed", pbx.local_addr().unwrap());
    let udp = process.udp;
    let mut alice = process.browser("alice").await;
    register(&mut alice, "alice", &pages[0]).await;
    let user = ("alice", alice_in_calls);
    let of_alice = call_pbx(&mut alice, user, &pbx, udp).await;
    let [of_pbx, _] = call_client(&mut alice, user, &pbx, udp).await;
    tokio::time::sleep(WRITTEN).await;
    process.kill_and_start();

    let registrations = process.registrations().await;
    assert_eq!(registrations["total"], 1, "{registrations}");
    assert_eq!(registrations["registrations"][0]["aor"], "sip:alice");
    hang_up_from_pbx(&pbx, udp, &of_pbx, 2).await;
    assert_eq!(receive_on(&pbx).await.start(), "SIP/2.0 430 Flow Failed");

    let mut alice = process.browser("alice").await;
    register(&mut alice, "alice", &pages[1]).await;
    client_is_hung_up_on(&mut alice, &pbx, udp, &of_pbx).await;
    pbx_is_hung_up_on(&mut alice, &pbx, udp, &of_alice).await;
    process.end();
}

/// As a phone does: it notices by its next keep-alive or request, connects, and says the rest by its token.
async fn a_phone_goes_on_by_another_connection(
    name: &str,
    transport: &str,
    phone: impl AsyncFn(&Process) -> Line,
) {
    let pbx = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut process = Process::start(name, pbx.local_addr().unwrap());
    let udp = process.udp;
    let contact = format!("sip:phone@phone.invalid;transport={transport}");
    let user = ("phone", contact.as_str());
    let mut line = phone(&process).await;
    register(&mut line, "phone", &contact).await;
    let [_, of_phone] = call_client(&mut line, user, &pbx, udp).await;
    let [of_pbx, _] = call_client(&mut line, user, &pbx, udp).await;
    tokio::time::sleep(WRITTEN).await;
    process.kill_and_start();

    assert!(line.next().await.is_none());
    hang_up_from_pbx(&pbx, udp, &of_pbx, 2).await;
    assert_eq!(receive_on(&pbx).await.start(), "SIP/2.0 430 Flow Failed");
    // The phone's own requests need no registration.
    let mut line = phone(&process).await;
    pbx_is_hung_up_on(&mut line, &pbx, udp, &of_phone).await;
    register(&mut line, "phone", &contact).await;
    client_is_hung_up_on(&mut line, &pbx, udp, &of_pbx).await;
    process.end();
}

#[tokio::test]
async fn a_phone_over_tcp_goes_on() {
    a_phone_goes_on_by_another_connection("killed-tcp", "tcp", Process::phone_by_tcp).await;
}

#[tokio::test]
async fn a_phone_over_tls_goes_on() {
    a_phone_goes_on_by_another_connection("killed-tls", "tls", Process::phone_by_tls).await;
}
