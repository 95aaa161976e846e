//! A policy is replaced a hundred times under load: nothing is lost, no transaction sees two versions, a broken one is refused.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use hookswitch_load::{
    load::{Amount, From, Load, Pace, Run},
    proxy::{self, Policy, Proxy, Wish},
    score::Outcome,
    sip::View,
    uac::{Kind, Plan},
};
use tokio::{sync::Mutex, task::LocalSet, time::sleep};

const RELOADS: usize = 100;
/// After so many reloads comes a broken file.
const BROKEN_EVERY: usize = 20;
const REQUESTS_PER_SECOND: f64 = 500.0;
/// Each is compiled anew.
const COMPONENTS: usize = 20;
const COMPONENT_REQUESTS_PER_SECOND: f64 = 200.0;
const ROUTES: usize = 30_000;
const ROUTE_RELOADS: usize = 10;
const CALLS_PER_SECOND: f64 = 50.0;
/// Longer than a reload: calls end in other versions than the newest.
const RING: Duration = Duration::from_secs(2);
/// A reload that takes this long has failed; how fast it is, is printed.
const RELOAD_MAX: Duration = Duration::from_secs(20);

/// Beside another of these, each would measure the other.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn a_hundred_reloads_lose_nothing() {
    let _alone = ALONE.lock().await;
    LocalSet::new().run_until(reloads()).await;
}

async fn reloads() {
    let folder = proxy::folder("reload").unwrap();
    let files = Files::new(&folder);
    files.write(Version::A, Way::RenameOver);
    let proxy = start(folder, files.policy("header-rules"), 2).await;
    let mut sides = proxy.sides("reload", 20).unwrap();
    sides.echo = vec!["X-Request-Version".into(), "X-Branch-Version".into()];
    let load = Load::open(sides).await.unwrap();

    let watch = Rc::new(RefCell::new(Watch::default()));
    let inspecting = Rc::clone(&watch);
    let run = Run {
        plan: Plan::new(Kind::Options, vec!["sip:4912345@localhost".into()]),
        from: From::Browsers,
        pace: Pace::Rate(REQUESTS_PER_SECOND),
        amount: Amount::UntilStopped,
        patience: Duration::from_secs(35),
        proxy: None,
        inspect: Some(Box::new(move |view| inspecting.borrow_mut().inspect(view))),
    };
    let reloading = async {
        let times = reload_again_and_again(&files, &watch, &proxy).await;
        load.stop();
        times
    };
    let (outcome, mut times) = tokio::join!(load.run(run), reloading);

    let outcome = outcome.unwrap();
    println!(
        "{} requests, p99 {} us",
        outcome.score.begun, outcome.p99_us
    );
    assert!(
        outcome.score.is_clean(),
        "{:?}\n{}",
        outcome.score,
        proxy.log()
    );
    assert_eq!(load.closed(), 0);
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("from write to first new answer: median {median:?}, worst {worst:?}");
    assert_eq!(times.len(), RELOADS);
}

#[tokio::test]
async fn components_are_replaced_without_a_loss() {
    let _alone = ALONE.lock().await;
    LocalSet::new().run_until(components()).await;
}

async fn components() {
    let folder = proxy::folder("components").unwrap();
    let files = Files::new(&folder);
    files.write(Version::A, Way::RenameOver);
    let proxy = start(folder, files.policy("header-rules"), 2).await;
    let load = Load::open(proxy.sides("components", 20).unwrap())
        .await
        .unwrap();
    let whole = fs::read(&files.component).unwrap();
    let reloading = async {
        let mut times = Vec::new();
        for index in 0..COMPONENTS {
            let bytes = with_custom_section(&whole, &format!("version {index}"));
            let written = Instant::now();
            replace(&files.component, &bytes);
            until_reloads(&proxy, index + 1).await;
            times.push(written.elapsed());
        }
        load.stop();
        times
    };
    let run = run(Kind::Options, COMPONENT_REQUESTS_PER_SECOND);
    let (outcome, times) = tokio::join!(load.run(run), reloading);
    assert_clean(outcome.unwrap(), &proxy);
    print_times("components, compiled anew", times);
}

#[tokio::test]
async fn thirty_thousand_routes_are_replaced_while_calls_ring() {
    let _alone = ALONE.lock().await;
    LocalSet::new().run_until(routes()).await;
}

async fn routes() {
    let folder = proxy::folder("routes").unwrap();
    let files = Files::of(&folder, "prefix-router");
    let table = |add: usize| {
        let route = |index| {
            format!(r#"{{"prefix":"49{index:05}","upstreams":["pbx"],"strip":2,"add":"{add}"}}"#)
        };
        let routes: Vec<String> = (0..ROUTES).map(route).collect();
        format!(r#"{{"routes":[{}]}}"#, routes.join(","))
    };
    fs::write(&files.config, table(0)).unwrap();
    let proxy = start(folder, files.policy("prefix-router"), 4).await;
    let mut sides = proxy.sides("routes", 20).unwrap();
    sides.ring = RING;
    let load = Load::open(sides).await.unwrap();
    let reloading = async {
        let mut times = Vec::new();
        for index in 1..=ROUTE_RELOADS {
            let table = table(index);
            let written = Instant::now();
            replace(&files.config, table.as_bytes());
            until_reloads(&proxy, index).await;
            times.push(written.elapsed());
            sleep(Duration::from_millis(200)).await;
        }
        // The last calls ring to their end.
        sleep(RING).await;
        load.stop();
        times
    };
    let (outcome, times) = tokio::join!(load.run(run(Kind::Call, CALLS_PER_SECOND)), reloading);
    assert_clean(outcome.unwrap(), &proxy);
    print_times("30,000 routes", times);
}

async fn start(folder: PathBuf, policy: Policy, workers: u8) -> Proxy {
    let wish = Wish {
        policies: vec![policy],
        ..Wish::new(workers).unwrap()
    };
    Proxy::start(folder, &wish).await.unwrap()
}

fn run(kind: Kind, requests_per_second: f64) -> Run {
    Run {
        plan: Plan::new(kind, vec!["sip:4912345@localhost".into()]),
        from: From::Browsers,
        pace: Pace::Rate(requests_per_second),
        amount: Amount::UntilStopped,
        patience: Duration::from_secs(35),
        proxy: None,
        inspect: None,
    }
}

fn assert_clean(outcome: Outcome, proxy: &Proxy) {
    let Outcome { score, p99_us, .. } = outcome;
    println!("{} requests, p99 {p99_us} us", score.begun);
    assert!(score.is_clean(), "{score:?}\n{}", proxy.log());
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: from write to serving, median {median:?}, worst {worst:?}");
}

/// The same code with another digest: a section that nobody reads (WebAssembly core specification §5.5.3).
fn with_custom_section(component: &[u8], name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    [component, &[0, length + 1, length], name.as_bytes()].concat()
}

async fn until_reloads(proxy: &Proxy, count: usize) {
    let wanted = format!("\"reloads\":{count},");
    until(proxy, &wanted, |policies| {
        policies.replace(' ', "").contains(&wanted)
    })
    .await;
}

async fn reload_again_and_again(
    files: &Files,
    watch: &RefCell<Watch>,
    proxy: &Proxy,
) -> Vec<Duration> {
    let ways = [Way::RenameOver, Way::InPlace, Way::Symlink];
    let mut times = Vec::new();
    for (i, way) in (0..RELOADS).zip(ways.into_iter().cycle()) {
        let version = if i % 2 == 0 { Version::B } else { Version::A };
        let written = Instant::now();
        files.write(version, way);
        let Some(seen) = until_seen(watch, version).await else {
            panic!(
                "no answer of {version:?} after {RELOAD_MAX:?} ({way:?}, reload {i}):\n{}",
                proxy.log()
            );
        };
        times.push(seen - written);
        // Answers of the version before may still be on their way.
        sleep(Duration::from_millis(50)).await;
        if i % BROKEN_EVERY == 0 {
            broken_files_are_refused(files, watch, version, proxy).await;
        }
    }
    times
}

/// A component cut in half, and a configuration that `configure` refuses: the version before goes on, and the reason is told.
async fn broken_files_are_refused(
    files: &Files,
    watch: &RefCell<Watch>,
    version: Version,
    proxy: &Proxy,
) {
    let whole = fs::read(&files.component).unwrap();
    replace(&files.component, &whole[..whole.len() / 2]);
    until_refused(proxy).await;
    assert!(
        until_seen(watch, version).await.is_some(),
        "{}",
        proxy.log()
    );
    replace(&files.component, &whole);
    until_accepted(proxy).await;
    replace(
        &files.config,
        br#"{"rules":[{"on":"request","remove":"Via"}]}"#,
    );
    until_refused(proxy).await;
    assert!(
        until_seen(watch, version).await.is_some(),
        "{}",
        proxy.log()
    );
}

async fn until_refused(proxy: &Proxy) {
    until(proxy, "a broken file was not refused", |policies| {
        policies.contains("\"quarantined\"")
    })
    .await;
}

async fn until_accepted(proxy: &Proxy) {
    until(proxy, "a whole file was not accepted", |policies| {
        !policies.contains("\"quarantined\"")
    })
    .await;
}

async fn until(proxy: &Proxy, what: &str, is_so: impl Fn(&str) -> bool) {
    let started = Instant::now();
    loop {
        let policies = proxy.admin("/api/policies").await.unwrap();
        if is_so(&policies) {
            return;
        }
        assert!(
            started.elapsed() < RELOAD_MAX,
            "{what}: {policies}\n{}",
            proxy.log()
        );
        sleep(Duration::from_millis(20)).await;
    }
}

/// When the next answer of `version` came.
async fn until_seen(watch: &RefCell<Watch>, version: Version) -> Option<Instant> {
    *watch.borrow_mut() = Watch {
        expected: Some(version),
        seen: None,
    };
    let started = Instant::now();
    while started.elapsed() < RELOAD_MAX {
        if let Some(seen) = watch.borrow().seen {
            return Some(seen);
        }
        sleep(Duration::from_millis(1)).await;
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    A,
    B,
}

impl Version {
    fn stamp(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// Looks at every answer.
#[derive(Default)]
struct Watch {
    expected: Option<Version>,
    seen: Option<Instant>,
}

impl Watch {
    /// The hooks of one transaction stamp the same version.
    fn inspect(&mut self, response: View<'_>) -> Result<(), String> {
        let stamps = [
            "Echo-X-Request-Version",
            "Echo-X-Branch-Version",
            "X-Response-Version",
        ]
        .map(|name| response.header(name));
        let [Some(request), Some(branch), Some(answer)] = stamps else {
            return Err(format!("a stamp is missing: {stamps:?}"));
        };
        if request != branch || branch != answer {
            return Err(format!("two versions in one transaction: {stamps:?}"));
        }
        if self.seen.is_none()
            && self
                .expected
                .is_some_and(|version| version.stamp() == answer)
        {
            self.seen = Some(Instant::now());
        }
        Ok(())
    }
}

/// How a file comes to be another.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// As editors and installers do.
    RenameOver,
    /// As a careless script does.
    InPlace,
    /// As Kubernetes does with mounted configuration.
    Symlink,
}

struct Files {
    component: PathBuf,
    config: PathBuf,
}

impl Files {
    fn new(folder: &Path) -> Self {
        Self::of(folder, "header-rules")
    }

    fn of(folder: &Path, policy: &str) -> Self {
        let files = Self {
            component: folder.join(policy).with_extension("wasm"),
            config: folder.join(policy).with_extension("json"),
        };
        fs::copy(proxy::policy(policy).unwrap(), &files.component).unwrap();
        files
    }

    fn policy(&self, name: &str) -> Policy {
        Policy {
            name: name.into(),
            component: self.component.clone(),
            config_file: self.config.clone(),
            more: String::new(),
        }
    }

    fn write(&self, version: Version, way: Way) {
        let stamp = version.stamp();
        let rule =
            |on: &str, name: &str| format!(r#"{{"on":"{on}","set":{{"{name}":"{stamp}"}}}}"#);
        let rules = [
            rule("request", "X-Request-Version"),
            rule("branch", "X-Branch-Version"),
            rule("response", "X-Response-Version"),
        ];
        let json = format!(r#"{{"rules":[{}]}}"#, rules.join(","));
        match way {
            Way::RenameOver => replace(&self.config, json.as_bytes()),
            Way::InPlace => {
                // Through a link it would be the link's file.
                let is_link =
                    fs::symlink_metadata(&self.config).is_ok_and(|meta| meta.is_symlink());
                if is_link {
                    replace(&self.config, json.as_bytes())
                } else {
                    fs::write(&self.config, json).unwrap()
                }
            }
            Way::Symlink => {
                let target = self.config.with_extension(stamp);
                fs::write(&target, json).unwrap();
                let link = self.config.with_extension("link");
                symlink(&target, &link).unwrap();
                fs::rename(&link, &self.config).unwrap();
            }
        }
    }
}

fn replace(file: &Path, bytes: &[u8]) {
    let fresh = file.with_extension("new");
    fs::write(&fresh, bytes).unwrap();
    fs::rename(&fresh, file).unwrap();
}
