//! A bounded capture of SIP messages in pcap, for Wireshark, sngrep and their like: each message in a made-up UDP packet between the
//! real addresses, whatever carried it (its Via says what), so that what was encrypted can be read. UDP, since a tool finds SIP in it on
//! any port and needs no handshake before it; made-up TCP on port 8443 is taken for broken TLS. Written by a thread of its own; a
//! message is never held up.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    net::{IpAddr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
    time::SystemTime,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use hookswitch_sip::redact::redact;

use crate::config::{self, Credentials};

/// Messages that wait for the disk; more are not captured.
const CAPTURE_QUEUE_MAX: usize = 4_096;
/// What fits into one UDP packet over IPv6; the rest of a message is cut.
const PAYLOAD_BYTES_MAX: usize = 65_487;
/// <https://www.tcpdump.org/linktypes.html>: the packet begins with an IP header.
const LINKTYPE_RAW: u32 = 101;
const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const HOP_LIMIT: u8 = 64;
const PROTOCOL_UDP: u8 = 17;

/// One message on its way.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Bytes,
    pub(crate) at: SystemTime,
}

/// Where messages are handed in. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Capture {
    queue: SyncSender<Packet>,
}

/// There was no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotCaptured;

impl Capture {
    /// Opens the file, afresh.
    pub(crate) fn start(config: &config::Capture) -> Result<(Self, JoinHandle<()>)> {
        let files = Files::open(config).with_context(|| {
            format!("capture.file: {} cannot be written", config.file.display())
        })?;
        let (queue, packets) = sync_channel(CAPTURE_QUEUE_MAX);
        let credentials = config.credentials;
        let thread = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || write_all(files, credentials, &packets))?;
        Ok((Self { queue }, thread))
    }

    pub(crate) fn take(&self, packet: Packet) -> Result<(), NotCaptured> {
        self.queue.try_send(packet).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => NotCaptured,
        })
    }
}

fn write_all(mut files: Files, credentials: Credentials, packets: &Receiver<Packet>) {
    while let Ok(first) = packets.recv() {
        // What waits is written in one go, then made visible to whoever looks on.
        let written = std::iter::once(first)
            .chain(packets.try_iter())
            .try_for_each(|packet| files.write(&packet, credentials))
            .and_then(|()| files.out.flush());
        if let Err(error) = written {
            tracing::error!(%error, "the capture cannot be written and ends");
            return;
        }
    }
}

/// The newer half of the capture; the older one lies beside it.
struct Files {
    file: PathBuf,
    out: BufWriter<File>,
    bytes: u64,
    half_bytes_max: u64,
}

impl Files {
    fn open(config: &config::Capture) -> io::Result<Self> {
        let mut files = Self {
            out: BufWriter::new(create(&config.file)?),
            file: config.file.clone(),
            bytes: 0,
            half_bytes_max: config.capture_bytes_max / 2,
        };
        files.begin()?;
        Ok(files)
    }

    fn begin(&mut self) -> io::Result<()> {
        let header = file_header();
        self.bytes = header.len() as u64;
        self.out.write_all(&header)
    }

    fn write(&mut self, packet: &Packet, credentials: Credentials) -> io::Result<()> {
        let record = match credentials {
            Credentials::Redacted => record(packet, &redact(&packet.bytes)),
            Credentials::Kept => record(packet, &packet.bytes),
        };
        if self.bytes + record.len() as u64 > self.half_bytes_max {
            self.rotate()?;
        }
        self.bytes += record.len() as u64;
        self.out.write_all(&record)
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.out.flush()?;
        let mut older = self.file.clone().into_os_string();
        older.push(".1");
        std::fs::rename(&self.file, older)?;
        self.out = BufWriter::new(create(&self.file)?);
        self.begin()
    }
}

fn create(file: &std::path::Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
}

fn file_header() -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    out.extend(MAGIC_MICROSECONDS.to_le_bytes());
    out.extend(2_u16.to_le_bytes());
    out.extend(4_u16.to_le_bytes());
    out.extend([0; 8]);
    out.extend(262_144_u32.to_le_bytes());
    out.extend(LINKTYPE_RAW.to_le_bytes());
    out
}

/// A record's header, an IP header, a UDP header, the message. Lengths fit: the payload is cut.
fn record(packet: &Packet, message: &[u8]) -> Vec<u8> {
    let payload = message.get(..PAYLOAD_BYTES_MAX).unwrap_or(message);
    let ip = ip_header(packet.from.ip(), packet.to.ip(), payload.len() + 8);
    let length = (ip.len() + 8 + payload.len()) as u32;
    let since = packet
        .at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut out = Vec::with_capacity(16 + length as usize);
    out.extend((since.as_secs() as u32).to_le_bytes());
    out.extend(since.subsec_micros().to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend((length + (message.len() - payload.len()) as u32).to_le_bytes());
    out.extend(ip);
    out.extend(packet.from.port().to_be_bytes());
    out.extend(packet.to.port().to_be_bytes());
    out.extend((payload.len() as u16 + 8).to_be_bytes());
    // No checksum: RFC 768 has zero for that.
    out.extend([0; 2]);
    out.extend(payload);
    out
}

fn ip_header(from: IpAddr, to: IpAddr, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend([0x45, 0]);
            out.extend((length as u16 + 20).to_be_bytes());
            out.extend([0, 0, 0x40, 0, HOP_LIMIT, PROTOCOL_UDP, 0, 0]);
            out.extend(from.octets());
            out.extend(to.octets());
            let sum = checksum(&out).to_be_bytes();
            out[10..12].copy_from_slice(&sum);
        }
        (from, to) => {
            out.extend([0x60, 0, 0, 0]);
            out.extend((length as u16).to_be_bytes());
            out.extend([PROTOCOL_UDP, HOP_LIMIT]);
            out.extend(v6(from));
            out.extend(v6(to));
        }
    }
    out
}

fn v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        rest => rest.iter().map(|byte| u32::from(*byte) << 8).sum(),
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_rfc_1071_sums_up() {
        let header = ip_header([192, 0, 2, 1].into(), [192, 0, 2, 2].into(), 100);
        assert_eq!(header.len(), 20);
        assert_eq!(checksum(&header), 0);
    }

    #[test]
    fn two_files_share_the_limit() {
        let folder =
            std::env::temp_dir().join(format!("hookswitch-capture-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let config = config::Capture {
            file: folder.join("sip.pcap"),
            capture_bytes_max: 10_000,
            credentials: Credentials::Redacted,
        };
        let (capture, thread) = Capture::start(&config).unwrap();
        for _ in 0..100 {
            let packet = Packet {
                from: ([192, 0, 2, 1], 5060).into(),
                to: ([192, 0, 2, 2], 5060).into(),
                bytes: Bytes::from(vec![b'x'; 500]),
                at: SystemTime::now(),
            };
            capture.take(packet).unwrap();
        }
        drop(capture);
        thread.join().unwrap();
        let size = |name: &str| std::fs::metadata(folder.join(name)).unwrap().len();
        assert!((1..=5_000).contains(&size("sip.pcap")));
        assert!((4_000..=5_000).contains(&size("sip.pcap.1")));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
