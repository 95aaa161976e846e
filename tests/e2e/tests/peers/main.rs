//! Browsers, SIP phones and hookswitch between them with both shipped policies.

#![allow(clippy::unwrap_used, clippy::panic)]

/// A test of each function, with SIP.js and with JsSIP in the page.
macro_rules! with_either_library {
    ($($test:ident),* $(,)?) => {
        with_libraries! { sip_js = Library::SipJs; $($test),* }
        with_libraries! { jssip = Library::JsSip; $($test),* }
    };
}

/// A test of each function, with one library in the first page and the other in the second.
macro_rules! with_both_libraries {
    ($($test:ident),* $(,)?) => {
        with_libraries! { sip_js_and_jssip = [Library::SipJs, Library::JsSip]; $($test),* }
        with_libraries! { jssip_and_sip_js = [Library::JsSip, Library::SipJs]; $($test),* }
    };
}

macro_rules! with_libraries {
    ($name:ident = $libraries:expr; $($test:ident),*) => {
        mod $name {
            use hookswitch_e2e::Library;
            $(
                #[test]
                fn $test() {
                    super::$test($libraries);
                }
            )*
        }
    };
}

mod between_browsers;
mod configuration;
mod demo;
mod forks;
mod from_pbx;
mod keys;
mod losses;
mod media;
mod phones;
mod reload;
mod rtpengine;
mod scene;
mod strangers;
mod test_destinations;
mod to_pbx;
mod tokens;
mod wire;
