//! One HTTP request to the admin endpoint, without a client library.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

/// The body of a GET. What is not a 200 fails the test.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the admin endpoint listens");
    // HTTP/1.0, so that the body is whatever comes before the end.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("the request is sent");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("the answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.contains(" 200 "), "GET {path}: {head}");
    body.to_owned()
}
