//! Who is neither a browser nor the PBX does not get a call out: no toll fraud.

use hookswitch_e2e::{DOMAIN, Host};

use crate::wire::{call_id, invite, receive, socket};

#[test]
fn a_stranger_calls_no_number_of_the_pbx() {
    let host = Host::start("strangers");
    let pbx = socket(&host.pbx.to_string());
    let stranger = socket("127.0.0.2:0");
    stranger
        .send_to(invite(&stranger).as_bytes(), host.udp)
        .unwrap();
    assert!(receive(&stranger).starts_with("SIP/2.0 403 "));
    // What the PBX itself calls is routed, so the prefix would have fitted, and the stranger's call would have come before it.
    let trusted = socket("127.0.0.1:0");
    trusted
        .send_to(invite(&trusted).as_bytes(), host.udp)
        .unwrap();
    let routed = receive(&pbx);
    assert!(
        routed.starts_with(&format!("INVITE sip:100@{DOMAIN} ")),
        "{routed}"
    );
    assert!(routed.contains(&call_id(&trusted)), "{routed}");
}
