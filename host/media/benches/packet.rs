//! What one packet costs, without sockets: a browser's to a SIP end in the clear, and back, from one SIP end to another, and where it is
//! transcoded.
//!
//! `cargo bench -p hookswitch-media --bench packet`
#![allow(clippy::unwrap_used)]

use std::{
    hint::black_box,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hookswitch_media::{
    codec::{Encoder, Encoding, FRAME_MS, PAYLOAD_BYTES_MAX},
    dtls::{Association, DtlsConfig, Role, Setup},
    ice::IceCredentials,
    packet::Packet,
    relay::{Coded, Forward, Payload, Stream, StreamIds, Transcoding},
    srtp::{Inbound, KeyPair, Keys, Outbound, Profile},
    stun::{Builder, Kind, attribute},
    transport::{
        Latch, PlainRemote, PlainTransport, Port, Received, Remote, RemoteRtcp, WebTransport,
    },
};

/// As many as a call of 27 minutes has in one direction.
const PACKETS: u32 = 80_000;
const ROUNDS: u32 = 5;
/// 20 ms of G.711.
const PAYLOAD_BYTES: usize = 160;

fn main() {
    for profile in [Profile::AesCm128HmacSha1_80, Profile::AeadAes128Gcm] {
        alone(profile);
    }
    to_sip();
    from_sip();
    between_sip();
    transcoded();
    set_up();
}

/// The best of some rounds: others share the machine.
fn report(what: &str, mut round: impl FnMut() -> Duration) {
    let best = (0..ROUNDS).map(|_| round()).min().unwrap_or_default();
    println!("{what:<44} {:>6} ns", best.as_nanos() / u128::from(PACKETS));
}

/// An RTP packet with room behind it.
struct Template([u8; 12 + PAYLOAD_BYTES]);

impl Template {
    fn new() -> Template {
        let mut bytes = [0xd5; 12 + PAYLOAD_BYTES];
        bytes[..12].copy_from_slice(&[0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
        Template(bytes)
    }

    fn numbered(&mut self, i: u32) -> &[u8] {
        let [_, _, high, low] = i.to_be_bytes();
        self.0[2..4].copy_from_slice(&[high, low]);
        self.0[4..8].copy_from_slice(&(i * 160).to_be_bytes());
        &self.0
    }
}

fn keys(profile: Profile) -> Keys {
    let bytes = [7; 46];
    Keys::new(
        profile,
        &bytes[..profile.key_bytes() + profile.salt_bytes()],
    )
    .unwrap()
}

/// Sealed ahead, so that only the way in is measured.
fn sealed(outbound: &mut Outbound) -> Vec<Vec<u8>> {
    let (mut template, mut buffer) = (Template::new(), [0; 300]);
    let mut seal = |i| {
        let bytes = template.numbered(i);
        buffer[..bytes.len()].copy_from_slice(bytes);
        let mut packet = Packet::new(&mut buffer, bytes.len());
        outbound.protect_rtp(&mut packet).unwrap();
        packet.bytes().to_vec()
    };
    (0..PACKETS).map(&mut seal).collect()
}

fn alone(profile: Profile) {
    report(&format!("protect, {}", profile.sdes()), || {
        let (mut outbound, mut template) = (Outbound::new(&keys(profile)), Template::new());
        let mut buffer = [0; 300];
        let began = Instant::now();
        for i in 0..PACKETS {
            let bytes = template.numbered(i);
            buffer[..bytes.len()].copy_from_slice(bytes);
            let mut packet = Packet::new(&mut buffer, bytes.len());
            outbound.protect_rtp(&mut packet).unwrap();
            black_box(packet.bytes());
        }
        began.elapsed()
    });
    let sealed = sealed(&mut Outbound::new(&keys(profile)));
    report(&format!("unprotect, {}", profile.sdes()), || {
        let (mut inbound, mut buffer) = (Inbound::new(&keys(profile)), [0; 300]);
        let began = Instant::now();
        for bytes in &sealed {
            buffer[..bytes.len()].copy_from_slice(bytes);
            let mut packet = Packet::new(&mut buffer, bytes.len());
            inbound.unprotect_rtp(&mut packet).unwrap();
            black_box(packet.bytes());
        }
        began.elapsed()
    });
}

const IDS: StreamIds = StreamIds {
    ssrc: 99,
    sequence: 1,
    timestamp: 1,
};

fn stream() -> Stream {
    let mut stream = Stream::new(IDS);
    let (from, to, clock_hz) = (8, 8, 8000);
    stream.set_payloads(&[Payload { from, to, clock_hz }]);
    stream
}

const SIP: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::new(192, 0, 2, 2),
    4000,
));
const BROWSER: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(
    std::net::Ipv4Addr::new(192, 0, 2, 1),
    5000,
));

fn plain(now: Instant) -> PlainTransport {
    let mut plain = PlainTransport::new(Latch::Symmetric, now);
    let remote = PlainRemote {
        rtp: Some(SIP),
        rtcp: RemoteRtcp::Muxed,
        srtp: None,
    };
    plain.set_remote(remote);
    plain
}

fn to_sip() {
    report("browser to SIP, whole way", || {
        let now = Instant::now();
        let (mut web, browser) = connected(now);
        let (mut plain, mut stream) = (plain(now), stream());
        let sealed = sealed(&mut Outbound::new(&browser.outbound));
        let mut buffer = [0; 300];
        let began = Instant::now();
        for bytes in &sealed {
            buffer[..bytes.len()].copy_from_slice(bytes);
            let mut packet = Packet::new(&mut buffer, bytes.len());
            assert_eq!(web.receive(now, BROWSER, &mut packet), Received::Rtp);
            assert_eq!(stream.forward(now, &mut packet), Forward::Send);
            assert_eq!(plain.send_rtp(&mut packet), Some(SIP));
            black_box(packet.bytes());
        }
        began.elapsed()
    });
}

fn from_sip() {
    report("SIP to browser, whole way", || {
        let now = Instant::now();
        let (mut web, _) = connected(now);
        let (mut plain, mut stream, mut template) = (plain(now), stream(), Template::new());
        let mut buffer = [0; 300];
        let began = Instant::now();
        for i in 0..PACKETS {
            let bytes = template.numbered(i);
            buffer[..bytes.len()].copy_from_slice(bytes);
            let mut packet = Packet::new(&mut buffer, bytes.len());
            let received = plain.receive(now, Port::Rtp, SIP, &mut packet);
            assert_eq!(received, Received::Rtp);
            assert_eq!(stream.forward(now, &mut packet), Forward::Send);
            assert_eq!(web.send_rtp(&mut packet), Some(BROWSER.into()));
            black_box(packet.bytes());
        }
        began.elapsed()
    });
}

fn between_sip() {
    report("SIP to SIP, whole way", || {
        let now = Instant::now();
        let (mut one, mut other) = (plain(now), plain(now));
        let (mut stream, mut template, mut buffer) = (stream(), Template::new(), [0; 300]);
        let began = Instant::now();
        for i in 0..PACKETS {
            let bytes = template.numbered(i);
            buffer[..bytes.len()].copy_from_slice(bytes);
            let mut packet = Packet::new(&mut buffer, bytes.len());
            let received = one.receive(now, Port::Rtp, SIP, &mut packet);
            assert_eq!(received, Received::Rtp);
            assert_eq!(stream.forward(now, &mut packet), Forward::Send);
            assert_eq!(other.send_rtp(&mut packet), Some(SIP));
            black_box(packet.bytes());
        }
        began.elapsed()
    });
}

/// Both directions of a call between a browser that has only Opus and a phone: what one core carries of such calls.
fn transcoded() {
    for encoding in [Encoding::Pcma, Encoding::G722] {
        let there = transcode(Encoding::Opus, encoding);
        let back = transcode(encoding, Encoding::Opus);
        let name = encoding.name();
        println!(
            "{:<44} {:>6} ns",
            format!("opus to {name}"),
            there.as_nanos()
        );
        println!(
            "{:<44} {:>6} ns",
            format!("{name} to opus"),
            back.as_nanos()
        );
        let calls = Duration::from_secs(1).as_nanos() / ((there + back).as_nanos() * 50).max(1);
        println!("{:<44} {calls:>6} calls", "... a core");
    }
}

/// What a packet costs: the best of some rounds.
fn transcode(from: Encoding, to: Encoding) -> Duration {
    const PACKETS: u32 = 1000;
    let payloads = voice(from, PACKETS);
    let coded = |payload_type, encoding| Coded {
        payload_type,
        encoding,
    };
    let round = || {
        let mut stream = Stream::new(IDS);
        stream.set_transcoding(Transcoding {
            from: vec![coded(8, from)],
            to: coded(9, to),
            events: Vec::new(),
        });
        let (now, mut buffer) = (Instant::now(), [0; 600]);
        for (payload, number) in payloads.iter().zip(0_u16..) {
            let end = 12 + payload.len();
            buffer[..12].copy_from_slice(&[0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
            buffer[2..4].copy_from_slice(&number.to_be_bytes());
            let timestamp = u32::from(number) * from.clock_hz() / 50;
            buffer[4..8].copy_from_slice(&timestamp.to_be_bytes());
            buffer[12..end].copy_from_slice(payload);
            let mut packet = Packet::new(&mut buffer, end);
            assert_eq!(stream.forward(now, &mut packet), Forward::Send);
            black_box(packet.bytes());
        }
        now.elapsed() / PACKETS
    };
    (0..ROUNDS).map(|_| round()).min().unwrap_or_default()
}

/// Something with the spectrum and the pauses of a voice.
fn voice(encoding: Encoding, packets: u32) -> Vec<Vec<u8>> {
    let rate = Encoding::rate_between(std::iter::empty(), encoding);
    let mut encoder = Encoder::new(encoding, rate).unwrap();
    let mut at = 0_u32;
    let mut sample = || {
        at += 1;
        let t = f64::from(at) / f64::from(rate.hz()) * std::f64::consts::TAU;
        let partials = (1..=12).map(|n| (t * 130.0 * f64::from(n)).sin() / f64::from(n));
        #[allow(clippy::cast_possible_truncation)]
        let sample = (partials.sum::<f64>() * (t * 1.5).sin().max(0.0) * 6000.0) as i16;
        sample
    };
    let mut packet = |_| {
        let frame: Vec<i16> = (0..rate.samples(FRAME_MS)).map(|_| sample()).collect();
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        let len = encoder.encode(&frame, &mut payload);
        payload[..len].to_vec()
    };
    (0..packets).map(&mut packet).collect()
}

/// Both ends of the handshake on one thread, and what the connected transports hold.
fn set_up() {
    const TRANSPORTS: u32 = 500;
    let now = Instant::now();
    let configs = (dtls_config(), dtls_config());
    let (before, began) = (resident_bytes(), Instant::now());
    let transports: Vec<_> = (0..TRANSPORTS).map(|_| connect(now, &configs).0).collect();
    let each = began.elapsed() / TRANSPORTS;
    let held = resident_bytes().saturating_sub(before) / transports.len();
    println!(
        "{:<44} {:>6} us",
        "ICE and DTLS, both ends",
        each.as_micros()
    );
    println!("{:<44} {held:>6} bytes", "a connected transport");
}

/// Of this process. Pages have 4 KiB where this runs.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn dtls_config() -> Arc<DtlsConfig> {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default();
    let certificate = certificate.self_signed(&key).unwrap();
    let config = DtlsConfig::new(certificate.der().to_vec(), key.serialize_der());
    Arc::new(config.unwrap())
}

/// A transport whose browser has checked it and done the handshake as client, and the keys of that browser.
fn connected(now: Instant) -> (WebTransport, KeyPair) {
    connect(now, &(dtls_config(), dtls_config()))
}

fn connect(
    now: Instant,
    (ours, theirs): &(Arc<DtlsConfig>, Arc<DtlsConfig>),
) -> (WebTransport, KeyPair) {
    let ice = IceCredentials::from_entropy([1; 32]);
    let mut web = WebTransport::new(ours, ice.clone(), now);
    web.set_remote(
        now,
        Remote {
            ice: IceCredentials::from_entropy([2; 32]),
            fingerprints: vec![theirs.fingerprint().clone()],
            setup: Setup::Active,
        },
    );
    let username = format!("{}:browser", ice.ufrag);
    let check = Builder::new(Kind::Request, [3; 12])
        .attribute(attribute::USERNAME, username.as_bytes())
        .attribute(attribute::USE_CANDIDATE, b"")
        .integrity(&ice.password)
        .finish();
    let mut client = Association::new(theirs, Role::Client, now);
    let mut out = vec![check];
    client
        .handle_timeout(now, &mut |bytes| out.push(bytes.to_vec()))
        .unwrap();
    let mut buffer = [0; 2048];
    loop {
        for bytes in std::mem::take(&mut out) {
            buffer[..bytes.len()].copy_from_slice(&bytes);
            let mut packet = Packet::new(&mut buffer, bytes.len());
            web.receive(now, BROWSER, &mut packet);
        }
        while let Some(transmit) = web.poll_transmit() {
            if transmit.bytes[0] >= 20 {
                let send = &mut |bytes: &[u8]| out.push(bytes.to_vec());
                client.handle(now, &transmit.bytes, send).unwrap();
            }
        }
        let keys = client.verify(std::slice::from_ref(ours.fingerprint()));
        if let Some(keys) = keys.unwrap() {
            for bytes in out {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                web.receive(now, BROWSER, &mut Packet::new(&mut buffer, bytes.len()));
            }
            return (web, keys);
        }
    }
}
