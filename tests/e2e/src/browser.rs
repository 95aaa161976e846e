//! One Chromium for all tests, driven line by line through `driver.mjs`, and the softphone's page as a test sees it.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
};

use serde_json::{Value, json};

use crate::{PATIENCE_MS, here, made};

/// A level of sound above which a tone counts as heard; [`Phone::hears`].
const HEARD_LEVEL_MIN: f64 = 0.3;
/// Width of a bin of the page's spectrum, and a little more.
const HEARD_HZ_OFF_MAX: u32 = 15;

/// Chromium and the process that drives it. Ends with its standard input, so with the test.
pub struct Browser {
    pipe: Mutex<Pipe>,
}

struct Pipe {
    _driver: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    /// Starts it; takes some seconds.
    #[must_use]
    pub fn start() -> Self {
        made(here().join("node_modules"));
        let mut driver = Command::new("node")
            .arg("driver.mjs")
            .current_dir(here())
            .env("CHROMIUM", "/usr/bin/chromium")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let requests = driver.stdin.take().expect("piped");
        let answers = BufReader::new(driver.stdout.take().expect("piped"));
        let mut pipe = Pipe {
            _driver: driver,
            requests,
            answers,
        };
        pipe.answer().expect("Chromium starts");
        Self {
            pipe: Mutex::new(pipe),
        }
    }

    /// Asks the driver; `Err` is what the page or the driver says.
    pub(crate) fn ask(&self, request: &Value) -> Result<Value, String> {
        let mut pipe = self
            .pipe
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(pipe.requests, "{request}").expect("the driver reads");
        pipe.answer()
    }
}

impl Pipe {
    fn answer(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the driver writes");
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the driver ended: {line:?}"));
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap_or_default().to_owned()),
            None => Ok(answer["ok"].clone()),
        }
    }
}

/// A softphone's page, registered as its account.
pub struct Phone<'a> {
    browser: &'a Browser,
    account: String,
}

impl<'a> Phone<'a> {
    /// Opens the page and waits until it is registered. It sends a tone of `tone_hz`.
    pub(crate) fn open(
        browser: &'a Browser,
        address: std::net::SocketAddr,
        account: &str,
        tone_hz: u32,
    ) -> Self {
        let url = format!("https://{address}/#{account}&tone={tone_hz}");
        browser
            .ask(&json!({"op": "open", "page": account, "url": url}))
            .expect("the page opens");
        let phone = Self {
            browser,
            account: account.to_owned(),
        };
        phone.until("phone.status().registered");
        phone
    }

    /// Runs a script in the page; what it throws fails the test.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        match self.attempt(script) {
            Ok(value) => value,
            Err(error) => panic!("{}: {script}: {error}", self.account),
        }
    }

    /// Runs a script in the page that may throw.
    pub fn attempt(&self, script: &str) -> Result<Value, String> {
        self.browser
            .ask(&json!({"op": "eval", "page": self.account, "script": script}))
    }

    /// Waits until the script's value is truthy, and returns it.
    #[track_caller]
    pub fn until(&self, script: &str) -> Value {
        let request =
            json!({"op": "wait", "page": self.account, "script": script, "ms": PATIENCE_MS});
        match self.browser.ask(&request) {
            Ok(value) => value,
            Err(error) => panic!(
                "{}: never came true: {script}\n{error}\nstatus: {}",
                self.account,
                self.run("phone.status()")
            ),
        }
    }

    /// Calls a user, a number or a URI.
    #[track_caller]
    pub fn call(&self, target: &str) {
        self.run(&format!("phone.call({})", json!(target)));
    }

    /// Waits for a call and leaves it ringing.
    #[track_caller]
    pub fn rings(&self) {
        self.until("phone.status().call.state === 'ringing'");
    }

    /// Waits for a call and takes it.
    #[track_caller]
    pub fn answers(&self) {
        self.rings();
        self.run("phone.answer()");
        self.talks();
    }

    /// Waits until the other side rings.
    #[track_caller]
    pub fn hears_ringing(&self) {
        self.until("phone.status().call.progress === 180");
    }

    /// Waits until there is a call.
    #[track_caller]
    pub fn talks(&self) {
        self.until("phone.status().call.state === 'talking'");
    }

    /// Hangs up, cancels or refuses, as the call's state asks for.
    #[track_caller]
    pub fn hangs_up(&self) {
        self.run("phone.hangup()");
    }

    /// Waits until there is no call, and checks how the last one came to its end.
    #[track_caller]
    pub fn ended(&self, how: &str) {
        let ended = self.until("phone.status().call.state === 'none' && phone.status().call.ended");
        assert!(
            ended.as_str().is_some_and(|ended| ended.contains(how)),
            "{}: the call ended with {ended}, not {how:?}",
            self.account
        );
    }

    /// Puts the call on hold, or takes it back.
    #[track_caller]
    pub fn holds(&self, on: bool) {
        self.run(&format!("phone.hold({on})"));
    }

    /// Waits until this tone is the loudest in what is received.
    #[track_caller]
    pub fn hears(&self, hz: u32) {
        let loud = format!("phone.heard().level > {HEARD_LEVEL_MIN}");
        self.until(&format!(
            "{loud} && Math.abs(phone.heard().hz - {hz}) <= {HEARD_HZ_OFF_MAX}"
        ));
    }

    /// Waits until nothing is heard.
    #[track_caller]
    pub fn hears_nothing(&self) {
        self.until(&format!("phone.heard().level < {HEARD_LEVEL_MIN}"));
    }

    /// Sends a MESSAGE and waits for its 200.
    #[track_caller]
    pub fn sends(&self, target: &str, text: &str) {
        self.run(&format!(
            "phone.message({}, {})",
            json!(target),
            json!(text)
        ));
    }

    /// Waits for a MESSAGE of this text, blanks around it aside; returns its extension fields.
    #[track_caller]
    pub fn receives(&self, text: &str) -> Value {
        self.until(&format!(
            "phone.messages().find((message) => message.text.trim() === {})",
            json!(text)
        ))["headers"]
            .clone()
    }
}

impl Drop for Phone<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "── {}: {}",
                self.account,
                self.attempt("phone.status()").unwrap_or_default()
            );
        }
        // A page that is gone already is as good as closed.
        let _ = self
            .browser
            .ask(&json!({"op": "close", "page": self.account}));
    }
}
