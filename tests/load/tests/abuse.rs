//! Policies that loop, trap, eat memory or touch what is not theirs, under load: each costs its own message what the failure mode
//! says, and nobody else anything.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{cell::Cell, collections::BTreeMap, fs, future::Future, net::Ipv4Addr, time::Duration};

use hookswitch_load::{
    load::{Amount, From, Load, Pace, Run},
    proxy::{self, Policy, Proxy, Wish},
    score::Outcome,
    uac::{Kind, Plan},
};
use tokio::{task::LocalSet, time::sleep};

/// Of the requests that the policy does not touch.
const OTHERS_PER_SECOND: f64 = 100.0;
const ABUSES_PER_SECOND: f64 = 20.0;
const ABUSES: u64 = 20;
const LOOPS_AT_ONCE: usize = 50;
const TRAPS_AT_ONCE: usize = 50;
const BURSTS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(35);
/// On a machine that does much else, time goes by without work being done: with this the CPU budget ends the loops.
const MUCH_TIME: &str = "limits = { wall_ms_max = 20000 }";

/// The user that is called decides: `loop…`, `trap…` and so on, or `talk…` for a fault once the dialog stands.
const CONFIG: &str = r#"{"acts":[
    {"hook":"request","to-user-prefix":"loop","in-dialog":false,"do":"loop"},
    {"hook":"request","to-user-prefix":"trap","in-dialog":false,"do":"trap"},
    {"hook":"request","to-user-prefix":"eat","in-dialog":false,"do":"allocate"},
    {"hook":"request","to-user-prefix":"via","in-dialog":false,"do":"edit-via"},
    {"hook":"request","to-user-prefix":"talk-trap","in-dialog":true,"do":"trap"},
    {"hook":"request","to-user-prefix":"talk-loop","in-dialog":true,"do":"loop"}]}"#;

#[tokio::test]
async fn a_fault_costs_its_own_message_500() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::open("abuse", 2, MUCH_TIME).await;
            for user in ["loop", "trap", "eat", "via"] {
                for kind in [Kind::Options, Kind::Call] {
                    let (others, abuse) = scene.beside(scene.abuse(kind, user)).await;
                    assert_eq!(
                        abuse.score.refused,
                        BTreeMap::from([(500, ABUSES)]),
                        "{user}: {:?}",
                        abuse.score
                    );
                    assert!(
                        others.score.is_clean(),
                        "beside {user}: {:?}\n{}",
                        others.score,
                        scene.proxy.log()
                    );
                    println!(
                        "{kind:?} to {user}: {ABUSES} times 500; {} calls beside them, p99 {} us",
                        others.score.begun, others.p99_us
                    );
                }
            }
            assert!(
                scene.faults().await >= ABUSES * 8,
                "{}",
                scene.proxy.admin("/api/policies").await.unwrap()
            );
        })
        .await;
}

#[tokio::test]
async fn in_a_dialog_a_fault_lets_the_request_pass() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::open("dialog", 2, MUCH_TIME).await;
            for user in ["talk-trap", "talk-loop"] {
                let before = scene.faults().await;
                let (others, calls) = scene.beside(scene.abuse(Kind::Call, user)).await;
                assert!(
                    calls.score.is_clean(),
                    "{user}: {:?}\n{}",
                    calls.score,
                    scene.proxy.log()
                );
                assert!(others.score.is_clean(), "beside {user}: {:?}", others.score);
                assert_eq!(
                    scene.faults().await - before,
                    ABUSES,
                    "each BYE had its fault"
                );
            }
        })
        .await;
}

#[tokio::test]
async fn a_burst_of_traps_from_one_browser_stops_nobody_else() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::open("traps", 2, "").await;
            let browser = scene.abusers(1).await;
            let bursts = async {
                for _ in 0..BURSTS {
                    let traps = scene.burst(&browser, "trap", TRAPS_AT_ONCE).await;
                    assert_eq!(
                        traps.score.refused,
                        BTreeMap::from([(500, TRAPS_AT_ONCE as u64)]),
                        "{:?}",
                        traps.score
                    );
                    sleep(Duration::from_millis(500)).await;
                }
            };
            let (others, ()) = scene.beside(bursts).await;
            assert!(
                others.score.is_clean(),
                "{:?}\n{}",
                others.score,
                scene.proxy.log()
            );
        })
        .await;
}

#[tokio::test]
async fn fifty_loops_on_one_worker_do_not_stop_the_others() {
    LocalSet::new().run_until(fifty_loops("loops", "")).await;
}

#[tokio::test]
async fn fifty_loops_that_use_their_whole_budget_do_not_stop_the_others() {
    LocalSet::new()
        .run_until(fifty_loops("long-loops", MUCH_TIME))
        .await;
}

async fn fifty_loops(name: &str, limits: &str) {
    let scene = Scene::open(name, 1, limits).await;
    let abusers = scene.abusers(20).await;
    let (without, ()) = scene.beside(sleep(Duration::from_secs(4))).await;
    let slow_before = scene.sum("slow").await;
    let bursts = async {
        for _ in 0..BURSTS {
            let loops = scene.burst(&abusers, "loop", LOOPS_AT_ONCE).await;
            assert_eq!(
                loops.score.refused,
                BTreeMap::from([(500, LOOPS_AT_ONCE as u64)]),
                "{:?}",
                loops.score
            );
        }
    };
    let (with, ()) = scene.beside(bursts).await;
    for (name, outcome) in [("without", &without), ("with", &with)] {
        let Outcome {
            score,
            p50_us,
            p99_us,
            ..
        } = outcome;
        println!(
            "calls {name} {LOOPS_AT_ONCE} loops at once: {} calls, p50 {p50_us} us, p99 {p99_us} us",
            score.begun
        );
        assert!(score.is_clean(), "{name}: {score:?}\n{}", scene.proxy.log());
    }
    // The others' hooks stay on the worker, but for the few that a busy machine interrupts for two ticks. After some bursts most loops
    // are not run at all.
    let slow = scene.sum("slow").await - slow_before;
    let loops = (LOOPS_AT_ONCE * BURSTS) as u64;
    assert!(
        (LOOPS_AT_ONCE as u64..loops + with.score.begun / 10).contains(&slow),
        "{slow} hooks left the worker; {loops} loops, {} calls of others",
        with.score.begun
    );
}

struct Scene {
    proxy: Proxy,
    others: Load,
    abusers: Cell<u8>,
}

impl Scene {
    async fn open(name: &str, workers: u8, limits: &str) -> Self {
        let folder = proxy::folder(name).unwrap();
        let config_file = folder.join("misbehave.json");
        fs::write(&config_file, CONFIG).unwrap();
        let component = proxy::policy("misbehave").unwrap();
        let policies = vec![Policy {
            name: "misbehave".into(),
            component,
            config_file,
            more: limits.into(),
        }];
        let wish = Wish {
            policies,
            ..Wish::new(workers).unwrap()
        };
        let proxy = Proxy::start(folder, &wish).await.unwrap();
        let others = Load::open(proxy.sides("others", 20).unwrap())
            .await
            .unwrap();
        Self {
            proxy,
            others,
            abusers: Cell::new(1),
        }
    }

    /// Browsers at an address of their own, as what they break is held against it.
    async fn abusers(&self, count: usize) -> Load {
        self.abusers.set(self.abusers.get() + 1);
        let address = Ipv4Addr::new(127, 0, 0, self.abusers.get());
        let mut sides = self.proxy.sides("abusers", count).unwrap();
        sides.door.from = Some(address.into());
        // What gets past the policy goes to the one PBX; this side only asks.
        sides.pbx = proxy::free_udp().unwrap();
        Load::open(sides).await.unwrap()
    }

    /// What comes of calls that the policy does not touch, while `work` is done.
    async fn beside<T>(&self, work: impl Future<Output = T>) -> (Outcome, T) {
        let others = self.send(
            &self.others,
            Kind::Call,
            "good",
            Pace::Rate(OTHERS_PER_SECOND),
            u64::MAX,
        );
        let work = async {
            let done = work.await;
            self.others.stop();
            done
        };
        tokio::join!(others, work)
    }

    async fn abuse(&self, kind: Kind, user: &str) -> Outcome {
        let abusers = self.abusers(20).await;
        self.send(&abusers, kind, user, Pace::Rate(ABUSES_PER_SECOND), ABUSES)
            .await
    }

    /// All at once.
    async fn burst(&self, abusers: &Load, user: &str, count: usize) -> Outcome {
        let pace = Pace::Window(count);
        self.send(abusers, Kind::Options, user, pace, count as u64)
            .await
    }

    async fn send(&self, load: &Load, kind: Kind, user: &str, pace: Pace, count: u64) -> Outcome {
        load.run(Run {
            plan: Plan::new(kind, vec![format!("sip:{user}1@localhost")]),
            from: From::Browsers,
            pace,
            amount: if count == u64::MAX {
                Amount::UntilStopped
            } else {
                Amount::Requests(count)
            },
            patience: PATIENCE,
            proxy: None,
            inspect: None,
        })
        .await
        .unwrap()
    }

    /// Hooks that failed, whatever came of it.
    async fn faults(&self) -> u64 {
        self.sum("faults").await
    }

    /// A counter over all policies.
    async fn sum(&self, counter: &str) -> u64 {
        let status: serde_json::Value =
            serde_json::from_str(&self.proxy.admin("/api/policies").await.unwrap()).unwrap();
        let policies = status
            .as_array()
            .or_else(|| status["policies"].as_array())
            .unwrap();
        policies
            .iter()
            .filter_map(|policy| policy["counters"][counter].as_u64())
            .sum()
    }
}
