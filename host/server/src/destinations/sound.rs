//! What is heard at the test destinations: plain RTP on a pair of ports of each call. Packets from anywhere but where the call's session
//! description says are not listened to.

use std::{
    f64::consts::TAU,
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::LazyLock,
    time::Duration,
};

use tokio::{net, sync::watch, time};

use super::{
    Destination,
    answer::{Law, Plan},
    g711,
};

/// The concert pitch.
pub(super) const TONE_HZ: f64 = 440.0;
/// A third of what there is.
const TONE_PEAK: f64 = 10_000.0;
const CLOCK_HZ: f64 = 8_000.0;
/// G.711 has a byte for each.
const SAMPLES_PER_PACKET: usize = 160;
const PACKET: Duration = Duration::from_millis(20);
/// Eleven waves in 200 samples, so that whole waves end with a packet: everything that a tone ever sends.
const PACKETS: usize = 5;
/// RFC 3550 §5.1
const HEADER_BYTES: usize = 12;
const VERSION: u8 = 2 << 6;
const MARKER: u8 = 1 << 7;
/// Longer than any packet that passes an Ethernet.
const PACKET_BYTES_MAX: usize = 2_048;
/// A free port whose neighbour is free, too, is found much sooner.
const TRIES_MAX: usize = 64;

/// A pair of ports (RFC 3550 §11): nothing is made of what comes to the second one, but it is nobody else's.
pub(super) struct Ports {
    rtp: net::UdpSocket,
    _rtcp: UdpSocket,
    pub(super) address: SocketAddr,
}

impl Ports {
    /// Beside whoever is at `peer`, on the loopback interface.
    pub(super) fn open(peer: IpAddr) -> io::Result<Self> {
        let loopback = match peer {
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        };
        for _ in 0..TRIES_MAX {
            let rtp = UdpSocket::bind((loopback, 0))?;
            let address = rtp.local_addr()?;
            if address.port() % 2 == 1 {
                continue;
            }
            if let Ok(rtcp) = UdpSocket::bind((loopback, address.port() + 1)) {
                rtp.set_nonblocking(true)?;
                return Ok(Self {
                    rtp: net::UdpSocket::from_std(rtp)?,
                    _rtcp: rtcp,
                    address,
                });
            }
        }
        Err(io::Error::from(io::ErrorKind::AddrInUse))
    }
}

/// Until the call drops its end of `plan`.
pub(super) async fn play(
    destination: Destination,
    ports: Ports,
    ssrc: u32,
    mut plan: watch::Receiver<Plan>,
) {
    let agreed = plan.clone();
    let sound = async {
        match destination {
            Destination::Echo => echo(&ports.rtp, ssrc, agreed).await,
            Destination::Tone => tone(&ports.rtp, ssrc, agreed).await,
        }
    };
    let over = async { while plan.changed().await.is_ok() {} };
    tokio::select! {
        () = over => {}
        () = sound => {}
    }
}

/// Sends back what comes, as a source of our own.
async fn echo(rtp: &net::UdpSocket, ssrc: u32, plan: watch::Receiver<Plan>) {
    let mut buffer = [0; PACKET_BYTES_MAX];
    loop {
        let Ok((length, from)) = rtp.recv_from(&mut buffer).await else {
            time::sleep(PACKET).await;
            continue;
        };
        let to = plan.borrow().sends_to();
        let Some(packet) = buffer.get_mut(..length).filter(|_| to == Some(from)) else {
            continue;
        };
        if rename(packet, ssrc) {
            // What cannot be sent is lost, as on any network.
            let _ = rtp.try_send_to(packet, from);
        }
    }
}

/// One who changes his source is answered by another one (RFC 3550 §8.2). Says whether it is RTP.
fn rename(packet: &mut [u8], ssrc: u32) -> bool {
    if packet
        .first()
        .is_none_or(|first| first >> 6 != VERSION >> 6)
    {
        return false;
    }
    let Some(source) = packet.get_mut(8..HEADER_BYTES) else {
        return false;
    };
    for (byte, ours) in source.iter_mut().zip(ssrc.to_be_bytes()) {
        *byte ^= ours;
    }
    true
}

/// Sends a packet every 20 ms.
async fn tone(rtp: &net::UdpSocket, ssrc: u32, plan: watch::Receiver<Plan>) {
    let mut ticks = time::interval(PACKET);
    let mut sent: usize = 0;
    let mut marker = MARKER;
    loop {
        ticks.tick().await;
        let plan = *plan.borrow();
        let Some(to) = plan.sends_to() else {
            // What comes after a pause begins anew (RFC 3551 §4.1).
            marker = MARKER;
            continue;
        };
        let packet = tone_packet(sent, &plan, ssrc, marker);
        let _ = rtp.try_send_to(&packet, to);
        sent = sent.wrapping_add(1);
        marker = 0;
    }
}

fn tone_packet(number: usize, plan: &Plan, ssrc: u32, marker: u8) -> Vec<u8> {
    static WAVES: LazyLock<[Vec<u8>; 2]> =
        LazyLock::new(|| [g711::ulaw, g711::alaw].map(|code| samples().map(code).collect()));
    let [ulaw, alaw] = &*WAVES;
    let waves = match plan.law {
        Law::U => ulaw,
        Law::A => alaw,
    };
    let begin = number % PACKETS * SAMPLES_PER_PACKET;
    let payload = waves.get(begin..begin + SAMPLES_PER_PACKET);
    let timestamp = (number as u32).wrapping_mul(SAMPLES_PER_PACKET as u32);
    let mut packet = Vec::with_capacity(HEADER_BYTES + SAMPLES_PER_PACKET);
    packet.extend([VERSION, plan.payload_type | marker]);
    packet.extend((number as u16).to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload.unwrap_or_default());
    packet
}

fn samples() -> impl Iterator<Item = i16> {
    let at = |sample: usize| (TAU * TONE_HZ * sample as f64 / CLOCK_HZ).sin() * TONE_PEAK;
    (0..PACKETS * SAMPLES_PER_PACKET).map(move |sample| at(sample) as i16)
}
