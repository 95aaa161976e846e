//! A run: connections, a PBX socket, and requests at a pace.

mod inner;

use std::{
    net::SocketAddr,
    ops::Range,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{
    task::{JoinHandle, spawn_local},
    time::sleep,
};

use crate::{
    browser::{self, Door},
    process,
    score::{Outcome, Window},
    uac::{Inspect, Kind, Plan},
};
use inner::Inner;

/// Both sides of the proxy.
#[derive(Clone)]
pub struct Sides {
    /// Where browsers connect to.
    pub door: Door,
    /// How many of them.
    pub browsers: usize,
    /// Opened and registered at the same time; some servers cannot take more than one.
    pub at_once: usize,
    /// Browsers are `sip:{name}{index}@{domain}`.
    pub name: String,
    /// The domain that the proxy serves.
    pub domain: String,
    /// Where the PBX listens: the upstream of the proxy's configuration.
    pub pbx: SocketAddr,
    /// Where the PBX sends its own requests: the proxy's UDP listener.
    pub proxy_udp: Option<SocketAddr>,
    /// Fields that the answering side sends back, as `Echo-NAME`.
    pub echo: Vec<String>,
    /// How long calls ring at the PBX.
    pub ring: Duration,
}

/// Who sends the requests of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Each browser in turn.
    Browsers,
    /// The PBX.
    Pbx,
}

/// How fast requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many a second, whatever the proxy does.
    Rate(f64),
    /// So many are on their way at any time: the proxy is saturated.
    Window(usize),
}

/// How much a run sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// So many requests; all of them are measured.
    Requests(u64),
    /// For a time, after a time that is not measured.
    Time {
        /// Not measured.
        warm_up: Duration,
        /// Measured.
        measured: Duration,
    },
    /// Until [`Load::stop`]; all of it is measured.
    UntilStopped,
}

/// One run.
pub struct Run {
    /// What is sent.
    pub plan: Plan,
    /// By whom.
    pub from: From,
    /// How fast.
    pub pace: Pace,
    /// How much.
    pub amount: Amount,
    /// How long a request may wait before it is lost.
    pub patience: Duration,
    /// The process whose CPU is measured.
    pub proxy: Option<u32>,
    /// Looks at each final 2xx.
    pub inspect: Option<Inspect>,
}

/// Open connections, ready for runs, one after the other.
pub struct Load {
    inner: Rc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    /// Binds the PBX and opens every connection. Must run inside a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// The PBX's address is taken, or a connection cannot be opened.
    pub async fn open(sides: Sides) -> Result<Self> {
        let count = sides.browsers;
        let inner = Inner::bind(sides)?;
        let mut tasks = vec![spawn_local(Rc::clone(&inner).listen())];
        while tasks.len() <= count {
            let at_once = inner.sides.at_once.clamp(1, count + 1 - tasks.len());
            let sockets = futures_util::future::try_join_all(
                (0..at_once).map(|_| browser::open(&inner.sides.door)),
            )
            .await?;
            for socket in sockets {
                tasks.push(inner.attach(tasks.len() - 1, socket));
            }
        }
        Ok(Self { inner, tasks })
    }

    /// Registers every browser.
    ///
    /// # Errors
    /// One of them was refused or not answered.
    pub async fn register(&self) -> Result<()> {
        self.register_some(0..self.inner.browsers.len()).await
    }

    /// Registers those of the browsers.
    ///
    /// # Errors
    /// One of them was refused or not answered.
    pub async fn register_some(&self, browsers: Range<usize>) -> Result<()> {
        let plan = Plan::new(
            Kind::Register,
            vec![format!("sip:{}", self.inner.sides.domain)],
        );
        self.inner.next_browser.set(browsers.start);
        let outcome = self
            .run(Run {
                plan,
                from: From::Browsers,
                pace: Pace::Window(self.inner.sides.at_once),
                amount: Amount::Requests(browsers.len() as u64),
                patience: Duration::from_secs(10),
                proxy: None,
                inspect: None,
            })
            .await?;
        ensure!(
            outcome.score.is_clean(),
            "REGISTER failed: {:?}",
            outcome.score
        );
        Ok(())
    }

    /// The addresses of record of the browsers.
    #[must_use]
    pub fn addresses_of_record(&self) -> Vec<String> {
        self.inner
            .browsers
            .iter()
            .map(|party| party.aor.clone())
            .collect()
    }

    /// Connections that the proxy closed.
    #[must_use]
    pub fn closed(&self) -> usize {
        self.inner.closed.get()
    }

    /// Ends the run that goes on [`Amount::UntilStopped`].
    pub fn stop(&self) {
        self.inner.stopped.set(true);
    }

    /// Sends, waits, counts.
    ///
    /// # Errors
    /// The measured process is gone.
    pub async fn run(&self, run: Run) -> Result<Outcome> {
        let inner = &self.inner;
        inner.ledger.borrow_mut().reset(run.inspect);
        inner.stopped.set(false);
        inner.seen_pbx.take();
        inner.seen_browsers.take();
        let plan = Rc::new(run.plan);
        let window = match run.amount {
            Amount::Requests(_) | Amount::UntilStopped => {
                let count = if let Amount::Requests(count) = run.amount {
                    count
                } else {
                    u64::MAX
                };
                let start = Reading::take(run.proxy)?;
                inner.ledger.borrow_mut().measuring = true;
                inner
                    .send(
                        &plan,
                        run.from,
                        run.pace,
                        count,
                        Duration::MAX,
                        run.patience,
                    )
                    .await;
                inner.settle(run.patience).await;
                start.until_now(run.proxy)?
            }
            Amount::Time { warm_up, measured } => {
                let measuring = async {
                    sleep(warm_up).await;
                    let start = Reading::take(run.proxy)?;
                    inner.ledger.borrow_mut().measuring = true;
                    sleep(measured).await;
                    inner.ledger.borrow_mut().measuring = false;
                    start.until_now(run.proxy)
                };
                let sending = inner.send(
                    &plan,
                    run.from,
                    run.pace,
                    u64::MAX,
                    warm_up + measured,
                    run.patience,
                );
                let (window, ()) = tokio::join!(measuring, sending);
                inner.settle(run.patience).await;
                window?
            }
        };
        let score = inner.ledger.borrow().score.clone();
        let (pbx, browsers) = (
            inner.seen_pbx.borrow().clone(),
            inner.seen_browsers.borrow().clone(),
        );
        Ok(Outcome::new(score, &window, pbx, browsers))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Reading {
    at: Instant,
    proxy: Option<Duration>,
    own: Duration,
}

impl Reading {
    fn take(proxy: Option<u32>) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            proxy: proxy.map(process::cpu).transpose()?,
            own: process::cpu(std::process::id())?,
        })
    }

    fn until_now(&self, proxy: Option<u32>) -> Result<Window> {
        let now = Self::take(proxy)?;
        let proxy_cpu = now
            .proxy
            .zip(self.proxy)
            .map(|(now, before)| now.saturating_sub(before));
        Ok(Window {
            took: now.at - self.at,
            proxy_cpu,
            own_cpu: now.own.saturating_sub(self.own),
        })
    }
}
