//! pjsua2 with one account, told what to do line by line through `pjsua.py`. It knows no WebRTC: pages that talk with it have
//! `pages/plain-rtp.js` in them.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    DOMAIN, Far, PATIENCE_MS,
    account::{Account, uri_of},
    cache,
    far::Rtp,
    here, made,
};

/// A running pjsua2; ends with its standard input, so with the test.
pub struct Pjsua {
    process: Child,
    requests: ChildStdin,
    events: Receiver<Value>,
    address: String,
    folder: PathBuf,
}

impl Pjsua {
    /// Starts it in a new folder below `folder`, with a tone of `tone_hz`, and waits until it is registered.
    #[must_use]
    pub fn start(folder: &Path, account: Account, tone_hz: u32) -> Self {
        Self::start_with(folder, account, tone_hz, Rtp::Plain)
    }

    /// The same, with its media carried so.
    #[must_use]
    pub fn start_with(folder: &Path, account: Account, tone_hz: u32, rtp: Rtp) -> Self {
        let Account {
            user,
            server,
            transport,
        } = account;
        let folder = folder.join(user);
        fs::create_dir_all(&folder).expect("a folder for pjsua2");
        let errors = fs::File::create(folder.join("errors")).expect("a file for its errors");
        let mut process = Command::new("python3")
            .env("PYTHONPATH", made(cache().join("pjsua2")))
            .arg(here().join("pjsua.py"))
            .args([
                user,
                DOMAIN,
                &server.to_string(),
                transport.name(),
                &account.password(),
                &tone_hz.to_string(),
                match rtp {
                    Rtp::Plain => "plain",
                    Rtp::Sdes => "sdes",
                },
            ])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("python3 starts");
        let requests = process.stdin.take().expect("piped");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let (sender, events) = channel();
        // A pipe cannot be read with patience. The thread ends with the process.
        thread::spawn(move || {
            let events = lines.map_while(Result::ok);
            let mut events = events.filter_map(|line| serde_json::from_str(&line).ok());
            events.try_for_each(|event| sender.send(event))
        });
        let pjsua = Self {
            process,
            requests,
            events,
            address: account.uri(),
            folder,
        };
        pjsua.until("registered");
        pjsua
    }

    /// Calls a URI with an INVITE that offers nothing: the other side does.
    pub fn calls_without_offer(&self, uri: &str) {
        self.tell(&json!({"do": "call without offer", "uri": uri}));
    }

    /// Is heard by whoever calls, and leaves the call ringing.
    pub fn takes_early(&self) {
        self.tell(&json!({"do": "answer early"}));
    }

    #[track_caller]
    fn tell(&self, request: &Value) {
        writeln!(&self.requests, "{request}").expect("pjsua2 listens");
    }

    /// Waits for an event; what came before it is forgotten.
    #[track_caller]
    fn until(&self, event: &str) -> Value {
        loop {
            match self.events.recv_timeout(Duration::from_millis(PATIENCE_MS)) {
                Ok(came) if came["event"] == event => return came,
                Ok(_) => {}
                Err(error) => panic!("pjsua2 never saw {event}: {error}"),
            }
        }
    }
}

impl Far for Pjsua {
    fn address(&self) -> &str {
        &self.address
    }

    fn calls(&self, uri: &str) {
        self.tell(&json!({"do": "call", "uri": uri}));
    }

    fn rings(&self) {
        self.until("incoming");
    }

    fn hears_ringing(&self) {
        self.until("ringing");
    }

    fn takes(&self) {
        self.tell(&json!({"do": "answer"}));
    }

    fn talks(&self) {
        self.until("talking");
    }

    fn hangs_up(&self) {
        self.tell(&json!({"do": "hang up"}));
    }

    fn ended(&self) {
        self.until("ended");
    }

    fn holds(&self, on: bool) {
        self.tell(&json!({"do": if on { "hold" } else { "resume" }}));
    }

    fn presses(&self, key: char) {
        self.tell(&json!({"do": "press", "key": key}));
    }

    fn hears_key(&self, key: char) {
        while self.until("key")["key"] != key.to_string() {}
    }

    fn transfers(&self, uri: &str) {
        self.tell(&json!({"do": "transfer", "uri": uri}));
    }

    fn sends(&self, text: &str) {
        self.tell(&json!({"do": "message", "uri": uri_of("alice"), "text": text}));
    }

    fn receives(&self, text: &str) {
        while self.until("message")["text"] != text {}
    }

    fn recording(&self) -> Option<PathBuf> {
        Some(self.folder.join("heard.wav"))
    }
}

impl Drop for Pjsua {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for file in ["errors", "pjsua.log"] {
                let said = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
                eprintln!("── pjsua2, {file}\n{said}");
            }
        }
        // One that has ended already cannot be killed, and need not be.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
