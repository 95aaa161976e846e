//! What the tests of this crate share: guests written in WAT, a message that is a list of fields, and a host around them.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic
)]

pub mod guest;
pub mod message;

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use hookswitch_auth::Auth;
use hookswitch_policy::{
    Engine, EngineConfig, Generation, Policies, PolicySpec, Progress, Runner, StartError,
    context::{Finished, Hook, Identity, Names, Run, Source, Summary},
};
pub use message::{Fields, fields};

/// Nothing here takes longer, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// What targets may name.
const UPSTREAMS: [&str; 2] = ["pbx", "voicemail"];

/// A folder of its own, gone with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "hookswitch-policy-{}-{}",
            process::id(),
            COUNT.fetch_add(1, Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Policies that serve, and the means to run them.
pub struct Host {
    pub engine: Engine,
    pub policies: Arc<Policies>,
    pub runner: Runner,
    pub source: Arc<Peer>,
    pub folder: Folder,
}

pub fn engine() -> Engine {
    engine_of(1, 200)
}

pub fn engine_of(workers: usize, instances_max: u32) -> Engine {
    Engine::new(EngineConfig {
        workers,
        instances_max,
        ..EngineConfig::default()
    })
    .unwrap()
}

pub fn engine_with(auth: Auth) -> Engine {
    Engine::new(EngineConfig {
        instances_max: 200,
        auth: Arc::new(auth),
        ..EngineConfig::default()
    })
    .unwrap()
}

impl Host {
    /// One policy for each component, in order; `change` makes more of a spec than its defaults.
    pub fn start(
        components: &[(&str, Vec<u8>)],
        change: impl Fn(&mut PolicySpec),
    ) -> Result<Self, StartError> {
        let folder = Folder::new();
        let specs = components.iter().map(|(name, bytes)| {
            let mut spec = PolicySpec::new(*name, folder.write(&format!("{name}.wasm"), bytes));
            change(&mut spec);
            spec
        });
        let specs: Vec<PolicySpec> = specs.collect();
        Self::with(folder, specs)
    }

    pub fn with(folder: Folder, specs: Vec<PolicySpec>) -> Result<Self, StartError> {
        Self::on(engine(), folder, specs)
    }

    pub fn on(engine: Engine, folder: Folder, specs: Vec<PolicySpec>) -> Result<Self, StartError> {
        let policies = Policies::start(&engine, specs, UPSTREAMS.map(Into::into).into())?;
        let runner = Runner::new(engine.clone(), 0);
        Ok(Self {
            engine,
            policies,
            runner,
            source: Peer::new(7),
            folder,
        })
    }

    pub fn run(&self, run: Run) -> Finished {
        self.run_in(&self.policies.current(), run)
    }

    /// To its end, on the slow lane if need be.
    pub fn run_in(&self, generation: &Arc<Generation>, run: Run) -> Finished {
        match self.runner.run(generation, run) {
            Progress::Done(finished) => finished,
            Progress::Pending(pending) => {
                let (done, result) = mpsc::channel();
                self.engine
                    .slow_lane()
                    .spawn(pending, move |finished| done.send(finished).unwrap());
                result.recv_timeout(PATIENCE).unwrap()
            }
        }
    }

    pub fn run_hook(&self, hook: Hook) -> Finished {
        self.run(self.given(hook))
    }

    pub fn request(&self) -> Finished {
        self.run_hook(Hook::Request)
    }

    /// A run with an empty message, outside dialogs.
    pub fn given(&self, hook: Hook) -> Run {
        let message = (!matches!(hook, Hook::Connect(_))).then(|| Fields::default().boxed());
        Run {
            hook,
            summary: Summary {
                method: "INVITE".into(),
                tenant: "default".into(),
                ..Summary::default()
            },
            message,
            source: self.source.clone(),
            names: Arc::new(TwoUpstreams),
            transaction: Arc::default(),
            call: Arc::default(),
        }
    }
}

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
    began.elapsed()
}

/// Replaces a file as an editor does.
pub fn rename_over(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes).unwrap();
    fs::rename(&beside, path).unwrap();
}

/// An identity and edits of attributes, as [`Source::apply`] gets them.
pub type Applied = (Option<Identity>, Vec<(String, Option<String>)>);

/// Remembers what is applied to it.
pub struct Peer {
    pub address: IpAddr,
    pub applied: Mutex<Vec<Applied>>,
}

impl Peer {
    /// 192.0.2.`host`.
    pub fn new(host: u8) -> Arc<Self> {
        Arc::new(Self {
            address: [192, 0, 2, host].into(),
            applied: Mutex::default(),
        })
    }
}

impl Source for Peer {
    fn transport(&self) -> &str {
        "wss"
    }
    fn peer(&self) -> String {
        "192.0.2.7:49152".into()
    }
    fn address(&self) -> IpAddr {
        self.address
    }
    fn listener(&self) -> &str {
        "web"
    }
    fn identity(&self) -> Option<String> {
        None
    }
    fn upgrade(&self, _: &str) -> Option<String> {
        None
    }
    fn attribute(&self, _: &str) -> Option<String> {
        None
    }
    fn attributes(&self) -> usize {
        0
    }
    fn apply(&self, identity: Option<Identity>, attributes: Vec<(String, Option<String>)>) {
        self.applied.lock().unwrap().push((identity, attributes));
    }
    fn hide(&self, _: &[String]) {}
}

struct TwoUpstreams;

impl Names for TwoUpstreams {
    fn has_upstream(&self, name: &str) -> bool {
        UPSTREAMS.contains(&name)
    }
    fn is_local(&self, uri: &str) -> bool {
        uri.ends_with("@example.com")
    }
    fn check_uri(&self, uri: &str) -> Result<(), String> {
        if uri.starts_with("sip:") {
            Ok(())
        } else {
            Err("no sip URI".into())
        }
    }
    fn check_media(&self, mode: &str) -> Result<(), String> {
        match mode {
            "direct" => Ok(()),
            _ => Err("no such mode".into()),
        }
    }
    fn check_header(
        &self,
        name: &str,
        _: &str,
    ) -> Result<(), hookswitch_policy::context::EditError> {
        message::check(name)
    }
}
