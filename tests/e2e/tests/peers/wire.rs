//! Single messages over UDP, for what needs no phone.

use std::{net::UdpSocket, time::Duration};

use hookswitch_e2e::{DOMAIN, PATIENCE_MS};

pub(crate) fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(PATIENCE_MS)))
        .unwrap();
    socket
}

pub(crate) fn receive(socket: &UdpSocket) -> String {
    let mut bytes = [0; 65_536];
    let length = socket.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

pub(crate) fn call_id(caller: &UdpSocket) -> String {
    format!("Call-ID: from-{}", caller.local_addr().unwrap())
}

pub(crate) fn invite(caller: &UdpSocket) -> String {
    let address = caller.local_addr().unwrap();
    format!(
        "INVITE sip:9100@{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK-{}\r\nMax-Forwards: 70\r\n\
         From: <sip:caller@{address}>;tag=1\r\nTo: <sip:9100@{DOMAIN}>\r\n{}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:caller@{address}>\r\nContent-Length: 0\r\n\r\n",
        address.port(),
        call_id(caller)
    )
}
