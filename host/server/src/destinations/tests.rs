//! A caller over plain UDP, with real sockets on the loopback interface.

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hookswitch_media::sdp::{Direction, Session};
use hookswitch_sip::{
    limits,
    message::{HeaderName, Message},
    transaction::Timing,
};

use super::{Destinations, Limits, sound::TONE_HZ};

/// Everything that is waited for comes before, or never.
const PATIENCE: Duration = Duration::from_secs(20);
const AUDIO: &str = "m=audio PORT RTP/AVP 111 8 101 102\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/48000\r\na=rtpmap:102 telephone-event/8000\r\n";

struct Caller {
    destinations: Destinations,
    sip: UdpSocket,
    rtp: UdpSocket,
    /// With a tag once a call is accepted.
    to: String,
    contact: String,
    cseq: u32,
}

impl Caller {
    fn new() -> Self {
        let limits = Limits {
            calls_max: 1,
            call_max: Duration::from_secs(60),
        };
        Self::with(limits)
    }

    fn with(limits: Limits) -> Self {
        let timing = Timing {
            t1: Duration::from_millis(10),
            t2: Duration::from_millis(40),
            t4: Duration::from_millis(50),
        };
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        Self {
            destinations: Destinations::start(limits, timing).unwrap(),
            sip: socket(),
            rtp: socket(),
            to: String::new(),
            contact: String::new(),
            cseq: 0,
        }
    }

    fn offer(&self, medias: &str) -> String {
        let port = self.rtp.local_addr().unwrap().port().to_string();
        let medias = medias.replace("PORT", &port);
        format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n{medias}")
    }

    /// A request on a branch of its own.
    fn request(&self, method: &str, cseq: u32, fields: &str, sdp: &str) -> String {
        let us = self.sip.local_addr().unwrap();
        let (to, contact) = (&self.to, &self.contact);
        let content = if sdp.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {us};branch=z9hG4bK{method}{cseq};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:caller@test>;tag=c\r\nTo: {to}\r\nCall-ID: call\r\nCSeq: {cseq} {method}\r\nContact: <sip:caller@{us}>\r\n\
             {fields}{content}Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
    }

    fn send(&self, request: &str) {
        let to = self.destinations.address;
        self.sip.send_to(request.as_bytes(), to).unwrap();
    }

    fn receive(&self) -> Message {
        let mut buffer = [0; 65_535];
        let (length, _) = self.sip.recv_from(&mut buffer).unwrap();
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        Message::parse(bytes, &limits::Limits::default()).unwrap()
    }

    /// The answer to another request of this method.
    fn ask(&mut self, method: &str, fields: &str, sdp: &str) -> Message {
        self.cseq += 1;
        self.send(&self.request(method, self.cseq, fields, sdp));
        loop {
            let answer = self.receive();
            // Repetitions of what was answered before.
            if answer.cseq().is_some_and(|cseq| cseq.number == self.cseq) {
                return answer;
            }
        }
    }

    /// INVITE without its ACK.
    fn invite(&mut self, user: &str, sdp: &str) -> Message {
        self.to = format!("<sip:{user}@test>");
        self.contact = format!("sip:{user}@test");
        let answer = self.ask("INVITE", "", sdp);
        if answer.status() == Some(200) {
            self.to = String::from_utf8_lossy(answer.raw(HeaderName::To).unwrap()).into_owned();
            let contact = answer.raw(HeaderName::Contact).unwrap();
            self.contact = String::from_utf8_lossy(contact)
                .trim_matches(['<', '>'])
                .to_owned();
        }
        answer
    }

    fn acknowledge(&self, sdp: &str) {
        self.send(&self.request("ACK", self.cseq, "", sdp));
    }

    fn call(&mut self, user: &str, medias: &str) -> Session {
        let offer = self.offer(medias);
        let answer = self.invite(user, &offer);
        assert_eq!(answer.status(), Some(200));
        self.acknowledge("");
        session(&answer)
    }

    fn change(&mut self, method: &str, medias: &str) -> Session {
        let offer = self.offer(medias);
        let answer = self.ask(method, "", &offer);
        assert_eq!(answer.status(), Some(200));
        if method == "INVITE" {
            self.acknowledge("");
        }
        session(&answer)
    }

    /// An RTP packet of ours, of this payload type.
    fn speak(&self, to: SocketAddr, payload_type: u8, number: u8) {
        let header = [0x80, payload_type, 0, number, 0, 0, 0, number, 0, 0, 0, 9];
        let packet = [header.as_slice(), b"sound"].concat();
        self.rtp.send_to(&packet, to).unwrap();
    }

    fn hear(&self) -> Vec<u8> {
        let mut buffer = [0; 2_048];
        let (length, _) = self.rtp.recv_from(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    fn hears_nothing_for(&self, time: Duration) {
        self.rtp.set_read_timeout(Some(time)).unwrap();
        assert!(self.rtp.recv(&mut [0; 2_048]).is_err());
        self.rtp.set_read_timeout(Some(PATIENCE)).unwrap();
    }

    fn hang_up(mut self) {
        assert_eq!(self.ask("BYE", "", "").status(), Some(200));
        assert_eq!(self.ask("INFO", "", "").status(), Some(481));
        self.destinations.stop();
    }
}

fn session(message: &Message) -> Session {
    Session::parse(message.body()).unwrap()
}

fn speaker(session: &Session) -> SocketAddr {
    let section = &session.sections[0];
    SocketAddr::new(section.address.unwrap(), section.port)
}

/// How much of this frequency there is in the sound of `payload`, from 0 to 1 (Goertzel).
fn share_of(hz: f64, payload: &[u8]) -> f64 {
    let samples: Vec<f64> = payload.iter().map(|byte| expanded(*byte)).collect();
    let turn = std::f64::consts::TAU * hz / 8_000.0;
    let (mut real, mut imaginary, mut all) = (0.0, 0.0, 0.0);
    for (at, sample) in samples.iter().enumerate() {
        let angle = turn * at as f64;
        real += sample * angle.cos();
        imaginary += sample * angle.sin();
        all += sample * sample;
    }
    (real * real + imaginary * imaginary) / (all * samples.len() as f64 / 2.0)
}

/// A sample from its A-law.
fn expanded(coded: u8) -> f64 {
    let coded = coded ^ 0x55;
    let (segment, step) = (i32::from(coded >> 4 & 7), i32::from(coded & 0x0f));
    let magnitude = match segment {
        0 => (step << 1) + 1,
        _ => ((step << 1) + 33) << (segment - 1),
    };
    f64::from(if coded & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    })
}

#[test]
fn echo_sends_back_what_it_gets() {
    let mut caller = Caller::new();
    let session = caller.call("echo", AUDIO);
    let names: Vec<_> = session.sections[0]
        .codecs
        .iter()
        .map(|codec| &*codec.name)
        .collect();
    assert_eq!(names, ["opus", "telephone-event"]);
    let echo = speaker(&session);
    for (number, payload_type) in [(1, 111), (2, 101)] {
        caller.speak(echo, payload_type, number);
        let heard = caller.hear();
        assert_eq!(
            &heard[..8],
            [0x80, payload_type, 0, number, 0, 0, 0, number]
        );
        assert_ne!(&heard[8..12], [0, 0, 0, 9], "a source of its own");
        assert_eq!(&heard[12..], b"sound");
    }
    // Whoever is not in the session is not heard, and neither is what is no RTP.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(&[0x80; 20], echo).unwrap();
    caller.rtp.send_to(b"\0\x01\0\0binding", echo).unwrap();
    caller.speak(echo, 111, 3);
    assert_eq!(caller.hear()[3], 3);
    caller.hang_up();
}

#[test]
fn the_tone_is_the_one_it_says() {
    let mut caller = Caller::new();
    let session = caller.call("tone", AUDIO);
    assert_eq!(session.sections[0].codecs[0].name, "PCMA");
    let packets: Vec<_> = (0..25).map(|_| caller.hear()).collect();
    let sound: Vec<u8> = packets
        .iter()
        .flat_map(|packet| packet[12..].to_vec())
        .collect();
    assert_eq!(sound.len(), 25 * 160);
    assert!(
        share_of(TONE_HZ, &sound) > 0.99,
        "{}",
        share_of(TONE_HZ, &sound)
    );
    assert!(share_of(TONE_HZ * 1.1, &sound) < 0.01);
    let headers: Vec<_> = packets
        .iter()
        .map(|packet| (packet[1], packet[3]))
        .collect();
    assert_eq!(headers[..3], [(0x88, 0), (8, 1), (8, 2)]);
    caller.hang_up();
}

#[test]
fn there_is_nothing_to_hear_on_hold() {
    let mut caller = Caller::new();
    caller.call("tone", AUDIO);
    caller.hear();
    for (method, hold) in [("INVITE", "a=sendonly\r\n"), ("UPDATE", "a=inactive\r\n")] {
        let before = caller.change(method, &format!("{AUDIO}{hold}"));
        let expected = if method == "INVITE" {
            Direction::RecvOnly
        } else {
            Direction::Inactive
        };
        assert_eq!(before.sections[0].direction, expected);
        while caller
            .rtp
            .set_read_timeout(Some(Duration::from_millis(100)))
            .is_ok()
            && caller.rtp.recv(&mut [0; 2_048]).is_ok()
        {}
        caller.hears_nothing_for(Duration::from_millis(100));
        let after = caller.change(method, AUDIO);
        assert_eq!(after.version, before.version + 1);
        caller.hear();
    }
    let refreshed = caller.ask("UPDATE", "", "");
    assert_eq!((refreshed.status(), refreshed.body().len()), (Some(200), 0));
    caller.hang_up();
}

#[test]
fn who_asks_for_an_offer_gets_one() {
    let mut caller = Caller::new();
    let offer = session(&caller.invite("echo", ""));
    let types: Vec<_> = offer.sections[0]
        .codecs
        .iter()
        .map(|codec| codec.payload_type)
        .collect();
    assert_eq!(types, [0, 8, 101]);
    caller.acknowledge(&caller.offer("m=audio PORT RTP/AVP 8\r\n"));
    // The ACK may still be on its way.
    caller
        .rtp
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let began = Instant::now();
    while caller.rtp.recv(&mut [0; 2_048]).is_err() {
        assert!(began.elapsed() < PATIENCE);
        caller.speak(speaker(&offer), 8, 1);
    }
    caller.hang_up();
}

/// RFC 3261 §13.3.1.4.
#[test]
fn a_call_without_its_ack_is_ended() {
    let mut caller = Caller::new();
    let offer = caller.offer(AUDIO);
    let first = caller.invite("tone", &offer);
    let mut repeated = 0;
    let bye = loop {
        let message = caller.receive();
        if message.is_request() {
            break message;
        }
        assert_eq!(message.to_bytes(), first.to_bytes());
        repeated += 1;
    };
    // 10, 20, and every 40 ms until 640.
    assert!((10..=18).contains(&repeated), "{repeated}");
    assert_eq!(
        bye.method()
            .map(|method| method.as_str().to_owned())
            .as_deref(),
        Some("BYE")
    );
    let us = caller.sip.local_addr().unwrap();
    assert_eq!(bye.request_uri(), Some(format!("sip:caller@{us}").as_str()));
    assert_eq!((bye.to_tag(), bye.from_tag()), (Some("c"), first.to_tag()));
    let answer = Message::response_to(&bye, 200, "", None).to_bytes();
    caller
        .sip
        .send_to(&answer, caller.destinations.address)
        .unwrap();
    assert_eq!(caller.ask("INFO", "", "").status(), Some(481));
    caller.destinations.stop();
}

#[test]
fn a_call_has_its_time() {
    let limits = Limits {
        calls_max: 1,
        call_max: Duration::from_millis(300),
    };
    let mut caller = Caller::with(limits);
    caller.call("tone", AUDIO);
    let (first, second) = (caller.receive(), caller.receive());
    assert!(first.is_request() && second.is_request());
    assert_eq!(first.to_bytes(), second.to_bytes(), "until it is answered");
    caller.destinations.stop();
}

#[test]
fn what_cannot_be_is_refused() {
    let mut caller = Caller::new();
    let (sound, video) = (
        caller.offer(AUDIO),
        caller.offer("m=video PORT RTP/AVP 96\r\n"),
    );
    let opus = caller.offer("m=audio PORT RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\n");
    let srtp = caller.offer("m=audio PORT RTP/SAVP 0\r\n");
    for (user, sdp, status) in [
        ("nobody", sound.as_str(), 404),
        ("echo", video.as_str(), 488),
        ("tone", opus.as_str(), 488),
        ("echo", srtp.as_str(), 488),
        ("echo", "nonsense", 488),
    ] {
        assert_eq!(
            caller.invite(user, sdp).status(),
            Some(status),
            "{user} {sdp}"
        );
        // The ACK of a failure has the branch of its INVITE.
        let ack = caller.request("ACK", caller.cseq, "", "");
        caller.send(&ack.replace("z9hG4bKACK", "z9hG4bKINVITE"));
    }
    assert_eq!(
        caller.ask("INVITE", "Require: 100rel\r\n", &sound).status(),
        Some(420)
    );
    assert_eq!(caller.ask("OPTIONS", "", "").status(), Some(200));
    assert_eq!(caller.ask("MESSAGE", "", "").status(), Some(405));
    assert_eq!(caller.ask("CANCEL", "", "").status(), Some(481));
    caller.call("echo", AUDIO);
    let to = std::mem::take(&mut caller.to);
    assert_eq!(caller.invite("tone", &sound).status(), Some(486));
    caller.to = to;
    // Out of order (RFC 3261 §12.2.2).
    caller.send(&caller.request("INFO", 1, "", ""));
    let late = loop {
        let answer = caller.receive();
        if answer.cseq().is_some_and(|cseq| cseq.number == 1) {
            break answer;
        }
    };
    assert_eq!(late.status(), Some(500));
    caller.hang_up();
}
