//! A page with a softphone in it, as a test sees it. What a page can do is the same with either library.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};

use crate::{PATIENCE_MS, browser::Browser, far::GAP_MS_MAX, here};

/// A level of sound above which a tone counts as heard; [`Phone::hears`].
const HEARD_LEVEL_MIN: f64 = 0.3;
/// How fast Chromium plays what comes: as fast as the codec samples.
const KHZ_MIN: usize = 8;
/// Width of a bin of the page's spectrum, and a little more.
const HEARD_HZ_OFF_MAX: u32 = 15;

/// What speaks SIP in the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The softphone that comes with hookswitch.
    SipJs,
    /// A page of these tests.
    JsSip,
}

/// What the page's session descriptions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// What a browser says.
    WebRtc,
    /// The same, but for every codec beside Opus.
    OpusAlone,
    /// Plain RTP, for phones that know no other; nobody hears anything.
    PlainRtp,
}

impl Media {
    /// What the page runs before its own.
    fn scripts(self) -> Vec<PathBuf> {
        let changed = match self {
            Self::WebRtc => None,
            Self::OpusAlone => Some("opus-alone.js"),
            Self::PlainRtp => Some("plain-rtp.js"),
        };
        let scripts = changed.into_iter().chain(["observe.js"]);
        scripts
            .map(|script| here().join("pages").join(script))
            .collect()
    }
}

impl Library {
    fn page(self) -> &'static str {
        match self {
            Self::SipJs => "",
            Self::JsSip => "jssip.html",
        }
    }
}

/// A softphone's page, registered as its account.
pub struct Phone<'a> {
    browser: &'a Browser,
    library: Library,
    account: String,
    /// What the driver knows it by: other tests may have a page of the same account.
    page: String,
}

static PAGES: AtomicU32 = AtomicU32::new(1);

impl<'a> Phone<'a> {
    /// Opens the page. `settings` follow the account in the page's address, each with a `&`.
    pub(crate) fn open(
        browser: &'a Browser,
        library: Library,
        address: SocketAddr,
        account: &str,
        settings: &str,
        media: Media,
    ) -> Self {
        let url = format!("https://{address}/{}#{account}{settings}", library.page());
        let page = format!("{account}-{}", PAGES.fetch_add(1, Ordering::Relaxed));
        browser
            .ask(json!({"op": "open", "page": page, "url": url, "scripts": media.scripts()}))
            .expect("the page opens");
        Self {
            browser,
            library,
            account: account.to_owned(),
            page,
        }
    }

    /// Waits until it is registered.
    #[track_caller]
    pub fn is_registered(&self) {
        self.until("phone.status().registered");
    }

    /// Loads the page again, in the same tab, and waits until it is registered anew.
    #[track_caller]
    pub fn reloads(&self) {
        self.browser
            .ask(json!({"op": "reload", "page": self.page}))
            .expect("the page loads again");
        self.is_registered();
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
            .ask(json!({"op": "eval", "page": self.page, "script": script}))
    }

    /// Waits until the script's value is truthy, and returns it.
    #[track_caller]
    pub fn until(&self, script: &str) -> Value {
        let request = json!({"op": "wait", "page": self.page, "script": script, "ms": PATIENCE_MS});
        match self.browser.ask(request) {
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

    /// The same, and hears who answers before they do.
    #[track_caller]
    pub fn calls_and_listens(&self, target: &str) {
        self.run(&format!(
            "phone.call({}, {{ earlyMedia: true }})",
            json!(target)
        ));
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

    /// Waits until there is no call, which this phone gave up before it was answered. SIP.js waits for the 487; JsSIP does not.
    #[track_caller]
    pub fn ended_cancelled(&self) {
        self.ended(match self.library {
            Library::SipJs => "487",
            Library::JsSip => "Canceled here",
        });
    }

    /// Puts the call on hold, or takes it back.
    #[track_caller]
    pub fn holds(&self, on: bool) {
        self.run(&format!("phone.hold({on})"));
    }

    /// Begins ICE anew, as after a change of networks.
    #[track_caller]
    pub fn restarts_ice(&self) {
        self.run("phone.restartIce()");
    }

    /// Presses a key of the keypad (RFC 4733).
    #[track_caller]
    pub fn presses(&self, key: char) {
        self.run(&format!("void phone.press({})", json!(key)));
    }

    /// Presses a key by SIP INFO. JsSIP's page alone can.
    #[track_caller]
    pub fn presses_by_info(&self, key: char) {
        self.run(&format!("void phone.pressByInfo({})", json!(key)));
    }

    /// Waits until the other side presses this key: a browser plays both tones of it.
    #[track_caller]
    pub fn hears_key(&self, key: char) {
        let [low, high] = tones_of(key);
        let is_heard = |hz| format!("phone.heardAt({hz}) > {HEARD_LEVEL_MIN}");
        self.until(&format!("{} && {}", is_heard(low), is_heard(high)));
    }

    /// Asks the other side to call `target` instead; what comes of it shows.
    #[track_caller]
    pub fn transfers(&self, target: &str) {
        self.run(&format!("void phone.refer({})", json!(target)));
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

    /// How many connections the page has made.
    #[track_caller]
    pub fn connections(&self) -> u64 {
        self.run("received()")["connections"]
            .as_u64()
            .expect("a number")
    }

    /// Listens for so long; whether it heard all of it but for a gap. Chromium itself may have to make up sound on a busy machine, but a
    /// packet that it says is lost fails the test.
    #[track_caller]
    pub fn hears_all(&self, ms: usize) -> bool {
        let stretch = self.run(&format!(
            "(async () => {{ \
               const before = await received(); \
               await new Promise((over) => setTimeout(over, {ms})); \
               const after = await received(); \
               return ['lost', 'all', 'concealed'].map((name) => after[name] - before[name]); \
             }})()"
        ));
        let [lost, all, concealed] = [0, 1, 2].map(|nth| stretch[nth].as_i64().expect("a number"));
        assert!(lost <= 0, "{}: {lost} packets are lost", self.account);
        let samples = |ms: usize| i64::try_from(ms * KHZ_MIN).expect("a short time");
        all >= samples(ms) / 2 && concealed * samples(ms) <= all * samples(GAP_MS_MAX)
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

/// Of a key, in Hz (ITU-T Q.23).
fn tones_of(key: char) -> [u32; 2] {
    let rows = [(697, "123A"), (770, "456B"), (852, "789C"), (941, "*0#D")];
    let columns = [1209, 1336, 1477, 1633];
    let found = rows.iter().find_map(|(row, keys)| {
        let column = keys.find(key)?;
        Some([*row, columns[column]])
    });
    found.expect("a key of the keypad")
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
        let _ = self.browser.ask(json!({"op": "close", "page": self.page}));
    }
}
