//! One PBX on one port to one port is one socket of one worker; the work is spread all the same.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use hookswitch_load::{
    load::{Amount, From, Load, Pace, Run},
    proxy::{self, Proxy, Wish},
    uac::{Kind, Plan},
};
use tokio::task::LocalSet;

const WORKERS: u8 = 4;
/// Enough that chance alone leaves no worker with too few of them.
const BROWSERS: usize = 400;
const CALLS: u64 = 600;
/// Of all transactions, what each worker has at least.
const LEAST_SHARE: f64 = 0.15;
/// Of the browsers' connections, what each worker has at least: half of its share.
const CONNECTIONS_MIN: f64 = BROWSERS as f64 / WORKERS as f64 / 2.0;
const TRANSACTIONS: &str = "hookswitch_transactions_ended_total{";
const PLACED_ELSEWHERE: &str = "hookswitch_messages_placed_elsewhere_total{";

#[tokio::test]
async fn every_worker_works_for_one_pbx() {
    LocalSet::new().run_until(calls()).await;
}

async fn calls() {
    let folder = proxy::folder("workers").unwrap();
    let (udp, pbx) = same_port().unwrap();
    let wish = Wish {
        workers: WORKERS,
        udp,
        pbx,
        policies: Vec::new(),
    };
    let proxy = Proxy::start(folder, &wish).await.unwrap();
    let load = Load::open(proxy.sides("workers", BROWSERS).unwrap())
        .await
        .unwrap();
    load.register().await.unwrap();
    let connections = by_worker(&proxy, "hookswitch_connections{").await;
    println!("connections of the workers {connections:?}");
    assert!(
        connections.iter().all(|count| *count >= CONNECTIONS_MIN),
        "caller and callee are not spread: {connections:?}"
    );
    // Half of the browsers are called, by all in turn: caller and callee are where the kernel put their connections.
    let called: Vec<String> = load.addresses_of_record().into_iter().step_by(2).collect();
    let pbx_users = vec!["sip:4912345@localhost".to_owned()];
    // What the PBX answers is led to the worker that asked; its requests come to one socket, and a callee is where he connected.
    let some = CALLS as f64..=f64::INFINITY;
    for (name, from, uris, elsewhere) in [
        ("PBX to browser", From::Pbx, called.clone(), some.clone()),
        ("browser to PBX", From::Browsers, pbx_users, 0.0..=0.0),
        ("browser to browser", From::Browsers, called, some),
    ] {
        let before = by_worker(&proxy, TRANSACTIONS).await;
        let strayed: f64 = by_worker(&proxy, PLACED_ELSEWHERE).await.iter().sum();
        let outcome = load
            .run(Run {
                plan: Plan::new(Kind::Call, uris),
                from,
                pace: Pace::Window(16),
                amount: Amount::Requests(CALLS),
                patience: Duration::from_secs(35),
                proxy: None,
                inspect: None,
            })
            .await
            .unwrap();
        assert!(
            outcome.score.is_clean(),
            "{name}: {:?}\n{}",
            outcome.score,
            proxy.log()
        );
        let after = by_worker(&proxy, TRANSACTIONS).await;
        let done: Vec<f64> = after
            .iter()
            .zip(&before)
            .map(|(after, before)| after - before)
            .collect();
        let all: f64 = done.iter().sum();
        let shares: Vec<f64> = done.iter().map(|done| done / all).collect();
        println!("{name}: shares of the workers {shares:.2?}");
        assert!(
            shares.iter().all(|share| *share >= LEAST_SHARE),
            "{name}: {shares:?}"
        );
        let strayed = by_worker(&proxy, PLACED_ELSEWHERE)
            .await
            .iter()
            .sum::<f64>()
            - strayed;
        println!("{name}: {strayed} messages came to a worker that was not their call's");
        assert!(
            elsewhere.contains(&strayed),
            "{name}: {strayed} messages are not {elsewhere:?}"
        );
    }
}

/// A metric of each worker.
async fn by_worker(proxy: &Proxy, metric: &str) -> Vec<f64> {
    let mut values = Vec::new();
    for worker in 0..WORKERS {
        let label = format!("worker=\"{worker}\"");
        values.push(proxy.count(metric, &label).await.unwrap());
    }
    values
}

/// Two loopback addresses with the same free port, 5060 if it may be: one 4-tuple, as between an operator's proxy and PBX.
fn same_port() -> std::io::Result<(SocketAddr, SocketAddr)> {
    let [proxy, pbx] = [2, 3].map(|host| Ipv4Addr::new(127, 0, 0, host));
    let free = |port| {
        let proxy = UdpSocket::bind((proxy, port))?;
        let pbx = UdpSocket::bind((pbx, proxy.local_addr()?.port()))?;
        Ok((proxy.local_addr()?, pbx.local_addr()?))
    };
    free(5060).or_else(|_: std::io::Error| free(0))
}
