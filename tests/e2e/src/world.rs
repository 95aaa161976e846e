//! What a test starts with: a hookswitch of its own, the browser that all share, SIPp at both ends of the PBX.

use std::sync::OnceLock;

use crate::{
    Host, Library, Phone, Sipp,
    account::password_of,
    browser::Browser,
    configuration::{RulesAt, Setup},
    phone::Media,
    scenario::{Role, Step},
};

/// The proxy's domain in these tests, and the softphone's by default.
pub const DOMAIN: &str = "hookswitch.local";

static BROWSER: OnceLock<Browser> = OnceLock::new();

/// Of a test: what several tests have at the same time are the browser and the machine.
pub struct World {
    browser: &'static Browser,
    /// The proxy under test.
    pub host: Host,
}

impl World {
    /// `name` is the test's, and its folder's.
    #[must_use]
    pub fn start(name: &str) -> Self {
        Self::start_as(name, Setup::Policies(RulesAt::File))
    }

    /// With a hookswitch that does this.
    #[must_use]
    pub fn start_as(name: &str, setup: Setup) -> Self {
        Self {
            browser: BROWSER.get_or_init(Browser::start),
            host: Host::start_as(name, setup),
        }
    }

    /// A browser's page with this account registered, which sends this tone.
    #[must_use]
    pub fn phone(&self, library: Library, account: &str, tone_hz: u32) -> Phone<'_> {
        self.phone_with(library, account, tone_hz, Media::WebRtc)
    }

    /// The same, with other session descriptions.
    #[must_use]
    pub fn phone_with(
        &self,
        library: Library,
        account: &str,
        tone_hz: u32,
        media: Media,
    ) -> Phone<'_> {
        let password = password_of(account);
        let settings = format!("&tone={tone_hz}&password={password}");
        let phone = self.open(library, account, &settings, media);
        phone.is_registered();
        phone
    }

    /// A browser's page with this account and these settings, which may or may not be registered ever.
    #[must_use]
    pub fn page(&self, library: Library, account: &str, settings: &str) -> Phone<'_> {
        self.open(library, account, settings, Media::WebRtc)
    }

    fn open(&self, library: Library, account: &str, settings: &str, media: Media) -> Phone<'_> {
        let address = self.host.web;
        Phone::open(self.browser, library, address, account, settings, media)
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
