//! baresip with one account, told what to do by its own JSON over TCP (module `ctrl_tcp`). It speaks DTLS-SRTP and ICE, so a browser
//! hears it.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fs,
    io::{BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Far, PATIENCE_MS,
    account::{Account, uri_of},
    far::Rtp,
    ports::free_row,
};

const POLL_MS: u64 = 20;
/// What people are told, messages too, is shown where there is a terminal's module; `sndfile` writes down what is heard.
const MODULES: [&str; 8] = [
    "stdio",
    "sndfile",
    "opus",
    "g711",
    "ausine",
    "aubridge",
    "ice",
    "dtls_srtp",
];
const RTP_MODULES: [&str; 6] = ["stdio", "g711", "ausine", "aubridge", "sndfile", "srtp"];
const APPLICATIONS: [&str; 4] = ["account", "contact", "menu", "ctrl_tcp"];

/// A running baresip; killed when dropped.
pub struct Baresip {
    process: Child,
    control: RefCell<Control>,
    address: String,
    output: PathBuf,
    folder: PathBuf,
}

/// What its session descriptions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sound {
    /// DTLS-SRTP and ICE.
    WebRtc,
    /// Neither.
    Rtp(Rtp),
}

struct Control {
    stream: BufReader<TcpStream>,
    /// What came before the answer to a command.
    events: VecDeque<Value>,
}

impl Baresip {
    /// Starts it in a new folder below `folder`, with a tone of `tone_hz`, and waits until it is registered.
    #[must_use]
    pub fn start(folder: &Path, account: Account, tone_hz: u32) -> Self {
        Self::start_as(folder, account, tone_hz, Sound::WebRtc)
    }

    /// The same, but it knows G.711 alone, carried so.
    #[must_use]
    pub fn start_with(folder: &Path, account: Account, tone_hz: u32, rtp: Rtp) -> Self {
        Self::start_as(folder, account, tone_hz, Sound::Rtp(rtp))
    }

    fn start_as(folder: &Path, account: Account, tone_hz: u32, sound: Sound) -> Self {
        let folder = folder.join(account.user);
        fs::create_dir_all(&folder).expect("a folder for baresip");
        let control = write_configuration(&folder, account, tone_hz, sound);
        let output = folder.join("output");
        let log = fs::File::create(&output).expect("a file for its output");
        let process = Command::new("baresip")
            .arg("-f")
            .arg(&folder)
            // Open as long as it runs: its terminal.
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("baresip starts");
        let control = RefCell::new(Control {
            stream: connect(control),
            events: VecDeque::new(),
        });
        let baresip = Self {
            process,
            control,
            address: account.uri(),
            output,
            folder,
        };
        baresip.until_registered();
        baresip
    }

    /// It registers before anybody can listen to it.
    fn until_registered(&self) {
        let started = Instant::now();
        while !self.command("reginfo", "").contains("OK") {
            assert!(
                started.elapsed() < Duration::from_millis(PATIENCE_MS),
                "baresip was not registered:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(POLL_MS));
        }
    }

    /// What a person would read on its terminal.
    fn said(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[track_caller]
    fn command(&self, command: &str, parameters: &str) -> String {
        let control = &mut *self.control.borrow_mut();
        let request = json!({"command": command, "params": parameters, "token": "t"}).to_string();
        write!(control.stream.get_mut(), "{}:{request},", request.len()).expect("baresip listens");
        loop {
            let answer = control.next().unwrap_or_else(|error| {
                panic!("baresip did not answer {command}: {error}\n{}", self.said())
            });
            if answer["response"] != true {
                control.events.push_back(answer);
                continue;
            }
            assert_eq!(
                answer["ok"],
                true,
                "{command} {parameters}: {answer}\n{}",
                self.said()
            );
            return answer["data"].as_str().unwrap_or_default().to_owned();
        }
    }

    /// Waits for an event; what came before it is forgotten.
    #[track_caller]
    fn until(&self, kind: &str) -> Value {
        let control = &mut *self.control.borrow_mut();
        loop {
            let event = control
                .events
                .pop_front()
                .map_or_else(|| control.next(), Ok);
            match event {
                Ok(event) if event["type"] == kind => return event,
                Ok(_) => {}
                Err(error) => panic!("baresip never saw {kind}: {error}\n{}", self.said()),
            }
        }
    }
}

impl Control {
    /// A netstring with JSON in it.
    fn next(&mut self) -> std::io::Result<Value> {
        let mut length = 0_usize;
        loop {
            match self.byte()? {
                b':' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut text = vec![0; length];
        self.stream.read_exact(&mut text)?;
        self.byte()?;
        Ok(serde_json::from_slice(&text).expect("baresip writes JSON"))
    }

    fn byte(&mut self) -> std::io::Result<u8> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

impl Far for Baresip {
    fn address(&self) -> &str {
        &self.address
    }

    fn calls(&self, uri: &str) {
        self.command("dial", uri);
    }

    fn rings(&self) {
        self.until("CALL_INCOMING");
    }

    fn hears_ringing(&self) {
        self.until("CALL_RINGING");
    }

    fn takes(&self) {
        self.command("accept", "");
    }

    fn talks(&self) {
        self.until("CALL_ESTABLISHED");
    }

    fn hangs_up(&self) {
        self.command("hangup", "");
    }

    fn ended(&self) {
        self.until("CALL_CLOSED");
    }

    fn holds(&self, on: bool) {
        self.command(if on { "hold" } else { "resume" }, "");
    }

    /// It is a short one: the other side hears several.
    fn presses(&self, key: char) {
        self.command("sndcode", &key.to_string());
    }

    fn hears_key(&self, key: char) {
        while self.until("CALL_DTMF_START")["param"] != key.to_string() {}
    }

    fn transfers(&self, uri: &str) {
        self.command("transfer", uri);
    }

    /// To the one contact that it has.
    fn sends(&self, text: &str) {
        self.command("message", text);
    }

    /// Of the newest call.
    fn recording(&self) -> Option<PathBuf> {
        let files = fs::read_dir(&self.folder).ok()?.flatten();
        let files = files.map(|file| file.path());
        let decoded = files.filter(|path| path.to_string_lossy().ends_with("dec.wav"));
        decoded.max_by_key(|path| fs::metadata(path).and_then(|file| file.created()).ok())
    }

    /// Its `sndfile` ends with the first re-INVITE.
    fn records_on(&self) -> bool {
        false
    }

    fn receives(&self, text: &str) {
        let started = Instant::now();
        while !self.said().contains(text) {
            assert!(
                started.elapsed() < Duration::from_millis(PATIENCE_MS),
                "baresip never got {text:?}:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(POLL_MS));
        }
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("── baresip\n{}", self.said());
        }
        // One that has ended already cannot be killed, and need not be.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn connect(port: u16) -> BufReader<TcpStream> {
    let started = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => {
                stream
                    .set_read_timeout(Some(Duration::from_millis(PATIENCE_MS)))
                    .expect("not zero");
                return BufReader::new(stream);
            }
            Err(error) => assert!(
                started.elapsed() < Duration::from_millis(PATIENCE_MS),
                "baresip does not start: {error}"
            ),
        }
        std::thread::sleep(Duration::from_millis(POLL_MS));
    }
}

/// Gives the port of its control.
fn write_configuration(folder: &Path, account: Account, tone_hz: u32, sound: Sound) -> u16 {
    // It takes the second for TLS.
    let listen = free_row(3);
    let control = listen.port() + 2;
    let modules = match sound {
        Sound::WebRtc => &MODULES[..],
        Sound::Rtp(_) => &RTP_MODULES[..],
    };
    let modules = modules.iter().map(|module| format!("module {module}.so\n"));
    let modules: String = modules.collect();
    let applications = APPLICATIONS
        .map(|module| format!("module_app {module}.so\n"))
        .concat();
    // Opus has two. Its sine knows two and one rate alone.
    let (channels, media) = match sound {
        Sound::WebRtc => (2, "mediaenc=dtls_srtp;medianat=ice"),
        Sound::Rtp(Rtp::Plain) => (1, "audio_codecs=PCMU,PCMA"),
        Sound::Rtp(Rtp::Sdes) => (1, "audio_codecs=PCMU,PCMA;mediaenc=srtp-mand"),
    };
    let config = format!(
        "sip_listen {listen}\nctrl_tcp_listen 127.0.0.1:{control}\nnet_interface 127.0.0.1\nrtcp_mux yes\n\
         audio_source ausine,{tone_hz}\naudio_player aubridge,x\naudio_alert aubridge,y\nausrc_srate 48000\nausrc_channels 2\nauplay_channels {channels}\n\
         snd_path {}\nmodule_path /usr/lib/baresip/modules\n{modules}{applications}",
        folder.display()
    );
    let Account {
        user,
        server,
        transport,
    } = account;
    let transport = transport.name();
    let accounts = format!(
        "<{};transport={transport}>;auth_user={user};auth_pass={};outbound=\"sip:{server};transport={transport}\";regint=300;\
         {media}\n",
        account.uri(),
        account.password()
    );
    let contacts = format!("\"alice\" <{}>\n", uri_of("alice"));
    for (name, text) in [
        ("config", config),
        ("accounts", accounts),
        ("contacts", contacts),
    ] {
        fs::write(folder.join(name), text).expect("a file of baresip's configuration");
    }
    control
}
