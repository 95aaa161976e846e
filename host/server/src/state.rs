//! The state folder: what must survive a restart. Token keys, the self-signed certificate, compiled policies. Nobody but the owner
//! reads it (0700, files 0600).

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use hookswitch_sip::token::{Key, Keyring};
use serde::{Deserialize, Serialize};

/// A token key stays good for this many rotations after its own: the longest call that we care for.
const KEYS_MAX: usize = 3;

/// The folder, made if need be.
#[derive(Clone, Debug)]
pub struct State {
    folder: PathBuf,
}

/// One line of the key file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredKey {
    id: u8,
    made_unix_s: u64,
    secret: [u8; 32],
}

impl State {
    /// Opens it, with its mode mended.
    ///
    /// # Errors
    /// The folder cannot be made or is not ours.
    pub fn open(folder: &Path) -> Result<Self> {
        let open = || -> io::Result<()> {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
            std::fs::set_permissions(folder, Permissions::from_mode(0o700))
        };
        open().with_context(|| {
            format!(
                "server.state_dir: {} cannot be used; name a folder that this user owns",
                folder.display()
            )
        })?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Where compiled policies are kept.
    #[must_use]
    pub fn compiled_policies(&self) -> PathBuf {
        self.folder.join("compiled")
    }

    /// Where registrations are kept.
    #[must_use]
    pub fn registrations(&self) -> PathBuf {
        self.folder.join("registrations.redb")
    }

    /// Hands the configuration of a policy over in a file; renamed into its place, so that it is never seen half.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_policy_config(&self, policy: &str, json: &serde_json::Value) -> Result<PathBuf> {
        let file = self.folder.join(format!("policy-{policy}.json"));
        write_private(&file, json.to_string().as_bytes())?;
        Ok(file)
    }

    /// The keys of flow tokens. The newest seals; those before it still open, so that a rotation cuts no call.
    ///
    /// # Errors
    /// The file cannot be read or written, or is not what we wrote.
    pub fn token_keys(&self, rotation: Duration) -> Result<Keyring> {
        let file = self.folder.join("token-keys.json");
        let mut keys = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!(
                    "{} is damaged; remove it (running calls lose their tokens)",
                    file.display()
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        if rotate(&mut keys, now_unix_s(), rotation, random()?) {
            write_private(&file, &serde_json::to_vec(&keys)?)?;
        }
        let mut keys = keys.iter().map(|key| Key::new(key.id, &key.secret));
        let current = keys.next().context("a rotation leaves at least one key")?;
        Ok(Keyring {
            current,
            previous: keys.collect(),
        })
    }

    /// The key of digest nonces, made when it is not there.
    ///
    /// # Errors
    /// It cannot be read or written, or is not what we wrote.
    pub fn nonce_key(&self) -> Result<[u8; 32]> {
        let file = self.folder.join("nonce-key");
        match std::fs::read(&file) {
            Ok(bytes) => <[u8; 32]>::try_from(bytes).map_err(|_| {
                anyhow::anyhow!(
                    "{} is damaged; remove it (clients are asked once more)",
                    file.display()
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = random()?;
                write_private(&file, &key)?;
                Ok(key)
            }
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }

    /// PEM files of the self-signed certificate and its key, made when they are not there.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn certificate(&self, names: &[String]) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = (self.folder.join("cert.pem"), self.folder.join("key.pem"));
        if !(certificate.exists() && key.exists()) {
            let made = rcgen::generate_simple_self_signed(names)
                .context("making a self-signed certificate")?;
            write_private(&key, made.signing_key.serialize_pem().as_bytes())?;
            write_private(&certificate, made.cert.pem().as_bytes())?;
        }
        Ok((certificate, key))
    }
}

/// Thirty-two bytes of the kernel's.
///
/// # Errors
/// There is no `/dev/urandom`.
pub fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}

/// One of either family that nobody has (RFC 5737, RFC 3849): the way to it is the way to the rest of the world.
pub const ELSEWHERE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The address that the route to the rest of the world starts from; no packet is sent.
#[must_use]
pub fn main_address(ipv6: bool) -> Option<IpAddr> {
    let [v4, v6] = ELSEWHERE;
    address_towards(if ipv6 { v6 } else { v4 })
}

/// The address that the route to this one starts from; no packet is sent.
#[must_use]
pub fn address_towards(remote: IpAddr) -> Option<IpAddr> {
    let any = if remote.is_ipv6() {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect((remote, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Puts a new key first if the first is too old, and forgets the last ones. True if anything changed.
fn rotate(keys: &mut Vec<StoredKey>, now: u64, rotation: Duration, secret: [u8; 32]) -> bool {
    let fresh = |key: &StoredKey| now.saturating_sub(key.made_unix_s) < rotation.as_secs();
    if keys.first().is_some_and(fresh) {
        return false;
    }
    let id = keys.first().map_or(0, |key| key.id.wrapping_add(1));
    keys.insert(
        0,
        StoredKey {
            id,
            made_unix_s: now,
            secret,
        },
    );
    keys.truncate(KEYS_MAX);
    true
}

fn now_unix_s() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Beside the file and renamed over it: whole or not at all.
fn write_private(file: &Path, bytes: &[u8]) -> Result<()> {
    let beside = file.with_extension("new");
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut out = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        std::fs::rename(&beside, file)
    };
    write().with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn keys_rotate_with_overlap() {
        let mut keys = Vec::new();
        let mut ids = Vec::new();
        for day in 0..5 {
            assert!(rotate(&mut keys, day * 86_400, DAY, [day as u8; 32]));
            assert!(!rotate(&mut keys, day * 86_400 + 86_399, DAY, [99; 32]));
            ids.push(keys.iter().map(|key| key.id).collect::<Vec<_>>());
        }
        assert_eq!(
            ids,
            [
                vec![0],
                vec![1, 0],
                vec![2, 1, 0],
                vec![3, 2, 1],
                vec![4, 3, 2]
            ]
        );
    }

    #[test]
    fn keys_and_certificate_outlive_a_restart_and_are_private() {
        let folder = std::env::temp_dir().join(format!("hookswitch-state-{}", std::process::id()));
        let first = State::open(&folder).unwrap();
        first.token_keys(DAY).unwrap();
        let (certificate, key) = first.certificate(&["localhost".to_owned()]).unwrap();
        let contents = |file: &Path| std::fs::read(file).unwrap();
        let before = (
            contents(&folder.join("token-keys.json")),
            contents(&certificate),
            contents(&key),
        );
        let again = State::open(&folder).unwrap();
        again.token_keys(DAY).unwrap();
        assert_eq!(first.nonce_key().unwrap(), again.nonce_key().unwrap());
        again.certificate(&["localhost".to_owned()]).unwrap();
        assert_eq!(
            before,
            (
                contents(&folder.join("token-keys.json")),
                contents(&certificate),
                contents(&key)
            )
        );
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            [mode(&folder), mode(&key), mode(&certificate)],
            [0o700, 0o600, 0o600]
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
