//! hookswitch itself, as a test starts it: a folder, a configuration, a process that ends with the test.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::{
    browser::{self, Door, Sessions},
    load::Sides,
};

/// Compiling policies is part of the start, and tests share their machine.
const READY_MAX: Duration = Duration::from_secs(60);
/// Of the log, what a failed test shows.
const LOG_TAIL_BYTES: usize = 4096;

/// A policy of a test's configuration.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name in logs and metrics.
    pub name: String,
    /// The component.
    pub component: PathBuf,
    /// Its configuration: the file of it is rewritten by who wants to see a reload.
    pub config_file: PathBuf,
    /// Further TOML lines of its table.
    pub more: String,
}

/// What a test wants of the proxy.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Threads that handle messages.
    pub workers: u8,
    /// Where it speaks UDP.
    pub udp: SocketAddr,
    /// The one member of its default upstream.
    pub pbx: SocketAddr,
    /// Its chain.
    pub policies: Vec<Policy>,
}

impl Wish {
    /// On loopback, without policies.
    ///
    /// # Errors
    /// No port is free.
    pub fn new(workers: u8) -> Result<Self> {
        Ok(Self {
            workers,
            udp: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            pbx: free_udp()?,
            policies: Vec::new(),
        })
    }
}

/// A running hookswitch.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    folder: PathBuf,
    wss: SocketAddr,
    udp: SocketAddr,
    pbx: SocketAddr,
    admin: SocketAddr,
}

impl Proxy {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// It is not built, or it does not become ready; its log is in the error.
    pub async fn start(folder: PathBuf, wish: &Wish) -> Result<Self> {
        let (config, ready, log) = (
            folder.join("hookswitch.toml"),
            folder.join("ready"),
            folder.join("log"),
        );
        fs::write(&config, configuration(wish)).context("write the configuration")?;
        let output = fs::File::create(&log)?;
        let mut command = Command::new(binary()?);
        command
            .arg("run")
            .arg(&config)
            .arg("--ready-file")
            .arg(&ready);
        command.current_dir(&folder).stdin(Stdio::null());
        command.stderr(output.try_clone()?).stdout(output);
        let child = command.spawn().context("start hookswitch")?;
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let mut proxy = Self {
            child,
            folder,
            wss: nowhere,
            udp: nowhere,
            admin: nowhere,
            pbx: wish.pbx,
        };
        let addresses = proxy.until_ready(&ready).await?;
        let address = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
        let listeners = &addresses["listeners"];
        proxy.wss = address(&listeners["wss"]).context("where it speaks WSS")?;
        proxy.udp = address(&listeners["udp"]).context("where it speaks UDP")?;
        proxy.admin = address(&addresses["admin"]).context("its admin endpoint")?;
        Ok(proxy)
    }

    /// The addresses that it wrote down once it served.
    async fn until_ready(&mut self, ready: &Path) -> Result<Value> {
        let started = Instant::now();
        loop {
            let written = fs::read(ready).unwrap_or_default();
            if let Ok(addresses) = serde_json::from_slice(&written) {
                return Ok(addresses);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("hookswitch ended ({status}):\n{}", self.log());
            }
            if started.elapsed() > READY_MAX {
                bail!(
                    "hookswitch is not ready after {READY_MAX:?}:\n{}",
                    self.log()
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `count` browsers and the PBX, ready to be opened.
    ///
    /// # Errors
    /// The TLS library refuses its own defaults.
    pub fn sides(&self, name: &str, count: usize) -> Result<Sides> {
        Ok(Sides {
            door: Door {
                address: self.wss,
                from: None,
                path: "/".to_owned(),
                tls: Some(browser::tls(Sessions::Resumed)?),
            },
            browsers: count,
            at_once: 8,
            name: name.to_owned(),
            domain: "localhost".to_owned(),
            pbx: self.pbx,
            proxy_udp: Some(self.udp),
            echo: Vec::new(),
            ring: Duration::ZERO,
        })
    }

    /// The body of an admin page, such as `/metrics`.
    ///
    /// # Errors
    /// The endpoint does not answer 200.
    pub async fn admin(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.admin)
            .await
            .context("connect to the admin endpoint")?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.admin
        );
        stream.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        let (head, body) = response
            .split_once("\r\n\r\n")
            .context("an HTTP response")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("GET {path}: {head}");
        }
        Ok(body.to_owned())
    }

    /// The sum of a counter's samples whose labels contain `label`.
    ///
    /// # Errors
    /// As [`Self::admin`].
    pub async fn count(&self, metric: &str, label: &str) -> Result<f64> {
        let metrics = self.admin("/metrics").await?;
        let samples = metrics
            .lines()
            .filter(|line| line.starts_with(metric) && line.contains(label));
        Ok(samples
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// The end of its log.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        String::from_utf8_lossy(
            log.get(log.len().saturating_sub(LOG_TAIL_BYTES)..)
                .unwrap_or_default(),
        )
        .into_owned()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself; nothing is owed to its calls.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// A new folder for one test.
///
/// # Errors
/// It cannot be made.
pub fn folder(name: &str) -> Result<PathBuf> {
    let folder = env::temp_dir().join(format!("hookswitch-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    Ok(folder)
}

/// A built policy of `plugins/`.
///
/// # Errors
/// It is not built.
pub fn policy(name: &str) -> Result<PathBuf> {
    built(&format!("plugins/{name}.wasm"), "cargo xtask build-plugins")
}

/// An address on loopback that nobody had a moment ago.
///
/// # Errors
/// No port is free.
pub fn free_udp() -> Result<SocketAddr> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn binary() -> Result<PathBuf> {
    built("hookswitch", "cargo build --package hookswitch")
}

/// Something in this build's target folder: above the test that runs, which is `target/debug/deps/NAME`.
fn built(path: &str, how: &str) -> Result<PathBuf> {
    let test = env::current_exe()?;
    let found = test
        .ancestors()
        .skip(2)
        .map(|folder| folder.join(path))
        .find(|file| file.is_file());
    found.with_context(|| {
        format!(
            "there is no {path} above {}: run `{how}` first",
            test.display()
        )
    })
}

fn configuration(wish: &Wish) -> String {
    let Wish {
        workers,
        udp,
        pbx,
        policies,
        ..
    } = wish;
    let mut text = format!(
        r#"[server]
workers = {workers}
state_dir = "state"
domains = ["localhost"]

[[listener]]
name = "wss"
transport = "wss"
address = "127.0.0.1:0"

[[listener]]
name = "udp"
transport = "udp"
address = "{udp}"

[[upstream]]
name = "pbx"
members = ["{pbx}"]

[routing]
default_upstream = "pbx"

[media]
mode = "direct"

[admin]
address = "127.0.0.1:0"

[log]
filter = "warn"
"#
    );
    for Policy {
        name,
        component,
        config_file,
        more,
    } in policies
    {
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        let (component, config_file) = (quoted(component), quoted(config_file));
        text.push_str(&format!("\n[[policy]]\nname = {name:?}\ncomponent = {component}\nconfig_file = {config_file}\n{more}\n"));
    }
    text
}
