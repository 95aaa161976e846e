//! What a test starts with: a hookswitch of its own, the browser that all share, SIPp at both ends of the PBX.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{
    Host, Library, Phone, Sipp,
    browser::Browser,
    scenario::{Role, Step},
};

/// The proxy's domain in these tests, and the softphone's by default.
pub const DOMAIN: &str = "hookswitch.local";

static BROWSER: Mutex<Option<Browser>> = Mutex::new(None);

/// Tests run one after another: each holds the browser for as long as it lives.
pub struct World {
    browser: MutexGuard<'static, Option<Browser>>,
    /// The proxy under test.
    pub host: Host,
}

impl World {
    /// `name` is the test's, and its folder's.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let mut browser = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
        browser.get_or_insert_with(Browser::start);
        Self {
            browser,
            host: Host::start(name),
        }
    }

    /// A browser's page with this account registered, which sends this tone.
    #[must_use]
    pub fn phone(&self, library: Library, account: &str, tone_hz: u32) -> Phone<'_> {
        let browser = self.browser.as_ref().expect("started with the world");
        Phone::open(
            browser,
            library,
            self.host.web,
            account,
            &format!("&tone={tone_hz}"),
        )
    }

    /// Alice's page with the first library, and Bob's with the second.
    #[must_use]
    pub fn phones(&self, libraries: [Library; 2]) -> [Phone<'_>; 2] {
        [
            self.phone(libraries[0], "alice", 440),
            self.phone(libraries[1], "bob", 700),
        ]
    }

    /// The PBX waits for one request and goes through these steps.
    #[must_use]
    pub fn pbx_answers(&self, steps: &[Step]) -> Sipp {
        Sipp::start(&self.host, Role::Callee, steps)
    }

    /// The PBX begins these steps towards a user of ours.
    #[must_use]
    pub fn pbx_calls(&self, user: &'static str, steps: &[Step]) -> Sipp {
        Sipp::start(&self.host, Role::Caller { user }, steps)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "── ladder\n{}\n── log of hookswitch\n{}",
                self.host.ladder(),
                self.host.log()
            );
        }
    }
}
