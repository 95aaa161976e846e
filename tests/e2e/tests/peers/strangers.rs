//! Who is neither a browser nor the PBX does not get a call out: no toll fraud.

use std::{net::UdpSocket, time::Duration};

use hookswitch_e2e::{DOMAIN, Host, PATIENCE_MS};

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

fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(PATIENCE_MS)))
        .unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> String {
    let mut bytes = [0; 65_536];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn call_id(caller: &UdpSocket) -> String {
    format!("Call-ID: from-{}", caller.local_addr().unwrap())
}

fn invite(caller: &UdpSocket) -> String {
    let address = caller.local_addr().unwrap();
    format!(
        "INVITE sip:9100@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK-{}\r\nMax-Forwards: 70\r\n\
         From: <sip:caller@{address}>;tag=1\r\nTo: <sip:9100@{DOMAIN}>\r\n{}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:caller@{address}>\r\nContent-Length: 0\r\n\r\n",
        address.port(),
        call_id(caller)
    )
}
