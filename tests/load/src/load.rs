//! A run: connections, a PBX socket, and requests at a pace.

use std::{
    cell::{Cell, RefCell},
    net::{SocketAddr, UdpSocket as StdUdpSocket},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::{JoinHandle, spawn_local},
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    browser::{self, Door},
    process,
    score::{Outcome, Window},
    sip::View,
    uac::{Inspect, Kind, Ledger, Party, Plan},
    uas::{Answerer, Seen},
};

/// Bursts of a busy proxy stay in the kernel's queue, not on the floor.
const UDP_QUEUE_BYTES: usize = 4 << 20;
/// The largest UDP payload.
const DATAGRAM_BYTES_MAX: usize = 65_535;

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

struct Inner {
    sides: Sides,
    browsers: Vec<Party>,
    pbx: Party,
    answer_browser: Vec<Answerer>,
    answer_pbx: Answerer,
    outboxes: RefCell<Vec<UnboundedSender<String>>>,
    socket: UdpSocket,
    ledger: RefCell<Ledger>,
    seen_pbx: RefCell<Seen>,
    seen_browsers: RefCell<Seen>,
    /// What ended requests are followed by, while a window is to be kept full.
    refill: RefCell<Option<(Rc<Plan>, From, u64)>>,
    next_browser: Cell<usize>,
    closed: Cell<usize>,
}

impl Load {
    /// Binds the PBX and opens every connection. Must run inside a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// The PBX's address is taken, or a connection cannot be opened.
    pub async fn open(sides: Sides) -> Result<Self> {
        let socket = StdUdpSocket::bind(sides.pbx)
            .with_context(|| format!("bind the PBX to {}", sides.pbx))?;
        SockRef::from(&socket).set_recv_buffer_size(UDP_QUEUE_BYTES)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket)?;
        let (browsers, count) = (parties(&sides), sides.browsers);
        let pbx = pbx_party(socket.local_addr()?);
        let answerer = |party: &Party| Answerer {
            contact: party.contact.clone(),
            echo: sides.echo.clone(),
        };
        // Call-IDs tell generators apart that share a proxy, and runs of one process from those of another.
        let run = format!(
            "{}{}x{}",
            sides.name,
            socket.local_addr()?.port(),
            std::process::id()
        );
        let inner = Rc::new(Inner {
            answer_browser: browsers.iter().map(answerer).collect(),
            answer_pbx: answerer(&pbx),
            browsers,
            pbx,
            outboxes: RefCell::default(),
            socket,
            ledger: RefCell::new(Ledger::new(run)),
            seen_pbx: RefCell::default(),
            seen_browsers: RefCell::default(),
            refill: RefCell::default(),
            next_browser: Cell::default(),
            closed: Cell::default(),
            sides,
        });
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
        let plan = Plan::new(
            Kind::Register,
            vec![format!("sip:{}", self.inner.sides.domain)],
        );
        let count = self.inner.browsers.len();
        self.inner.next_browser.set(0);
        let outcome = self
            .run(Run {
                plan,
                from: From::Browsers,
                pace: Pace::Window(self.inner.sides.at_once),
                amount: Amount::Requests(count as u64),
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

    /// Sends, waits, counts.
    ///
    /// # Errors
    /// The measured process is gone.
    pub async fn run(&self, run: Run) -> Result<Outcome> {
        let inner = &self.inner;
        inner.ledger.borrow_mut().reset(run.inspect);
        inner.seen_pbx.take();
        inner.seen_browsers.take();
        let plan = Rc::new(run.plan);
        let window = match run.amount {
            Amount::Requests(count) => {
                let start = Reading::take(run.proxy)?;
                inner.ledger.borrow_mut().measuring = true;
                let sent = inner.send(
                    &plan,
                    run.from,
                    run.pace,
                    count,
                    Duration::MAX,
                    run.patience,
                );
                sent.await;
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

impl Inner {
    fn attach(self: &Rc<Self>, index: usize, socket: browser::Socket) -> JoinHandle<()> {
        let (outbox, messages) = unbounded_channel();
        self.outboxes.borrow_mut().push(outbox);
        let inner = Rc::clone(self);
        spawn_local(async move {
            let received = |text: &str| inner.browser_received(index, text);
            if browser::pump(socket, messages, received).await.is_err() {
                inner.closed.set(inner.closed.get() + 1);
            }
        })
    }

    /// The PBX, for ever.
    async fn listen(self: Rc<Self>) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while self.socket.readable().await.is_ok() {
            while let Ok((length, peer)) = self.socket.try_recv_from(&mut buffer) {
                if let Some(Ok(text)) = buffer.get(..length).map(std::str::from_utf8) {
                    self.pbx_received(text, peer);
                }
            }
        }
    }

    fn pbx_received(&self, text: &str, peer: SocketAddr) {
        let view = View::new(text);
        if view.method().is_some() {
            return self
                .answer_pbx
                .answer(view, &mut self.seen_pbx.borrow_mut(), |text| {
                    self.to_proxy(&text, peer)
                });
        }
        let reaction =
            self.ledger
                .borrow_mut()
                .response(view, usize::MAX, &self.pbx, Instant::now());
        for text in reaction.send {
            self.to_proxy(&text, peer);
        }
        if reaction.ended {
            self.refill();
        }
    }

    fn browser_received(&self, index: usize, text: &str) {
        let view = View::new(text);
        // RFC 5626 §3.5.1: a pong.
        if text.trim().is_empty() {
            return;
        }
        let (Some(party), Some(answerer)) =
            (self.browsers.get(index), self.answer_browser.get(index))
        else {
            return;
        };
        if view.method().is_some() {
            return answerer.answer(view, &mut self.seen_browsers.borrow_mut(), |text| {
                self.to_browser(index, text)
            });
        }
        let reaction = self
            .ledger
            .borrow_mut()
            .response(view, index, party, Instant::now());
        for text in reaction.send {
            self.to_browser(index, text);
        }
        if reaction.ended {
            self.refill();
        }
    }

    /// The name is from the proxy's side: this is what the browser sends.
    fn to_browser(&self, index: usize, text: String) {
        if let Some(outbox) = self.outboxes.borrow().get(index) {
            // A closed connection is counted where it closes; what it owes is lost.
            drop(outbox.send(text));
        }
    }

    fn to_proxy(&self, text: &str, proxy: SocketAddr) {
        // A full queue of the kernel is a lost datagram, which the proxy has to bear; the score shows it if it does not.
        drop(self.socket.try_send_to(text.as_bytes(), proxy));
    }

    fn begin(&self, plan: &Plan, from: From) {
        match (from, self.sides.proxy_udp) {
            (From::Pbx, Some(proxy)) => {
                let text =
                    self.ledger
                        .borrow_mut()
                        .begin(plan, usize::MAX, &self.pbx, Instant::now());
                self.to_proxy(&text, proxy);
            }
            (From::Browsers | From::Pbx, _) => {
                let index = self.next_browser.get() % self.browsers.len().max(1);
                self.next_browser.set(index + 1);
                let Some(party) = self.browsers.get(index) else {
                    return;
                };
                let text = self
                    .ledger
                    .borrow_mut()
                    .begin(plan, index, party, Instant::now());
                self.to_browser(index, text);
            }
        }
    }

    fn refill(&self) {
        let next = match self.refill.borrow_mut().as_mut() {
            Some((plan, from, left)) if *left > 0 => {
                *left -= 1;
                (Rc::clone(plan), *from)
            }
            Some(_) | None => return,
        };
        self.begin(&next.0, next.1);
    }

    /// Sends up to `count` requests for at most `time`.
    async fn send(
        &self,
        plan: &Rc<Plan>,
        from: From,
        pace: Pace,
        count: u64,
        time: Duration,
        patience: Duration,
    ) {
        let (start, mut begun) = (Instant::now(), 0);
        let mut tick = interval(Duration::from_millis(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        if let Pace::Window(window) = pace {
            begun = count.min(window as u64);
            *self.refill.borrow_mut() = Some((Rc::clone(plan), from, count - begun));
            (0..begun).for_each(|_| self.begin(plan, from));
        }
        while start.elapsed() < time && begun < count {
            tick.tick().await;
            match pace {
                Pace::Rate(rate) => {
                    let due = (start.elapsed().as_secs_f64() * rate) as u64;
                    while begun < due.min(count) {
                        self.begin(plan, from);
                        begun += 1;
                    }
                }
                Pace::Window(_) => {
                    begun = count - self.refill.borrow().as_ref().map_or(0, |refill| refill.2)
                }
            }
            // What is lost leaves a place in the window.
            let lost = self.ledger.borrow_mut().expire(patience, Instant::now());
            (0..lost).for_each(|_| self.refill());
        }
        self.refill.take();
    }

    /// Waits until everything has ended, or is lost.
    async fn settle(&self, patience: Duration) {
        while self.ledger.borrow().waiting() > 0 {
            sleep(Duration::from_millis(5)).await;
            self.ledger.borrow_mut().expire(patience, Instant::now());
        }
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

fn parties(sides: &Sides) -> Vec<Party> {
    let transport = if sides.door.tls.is_some() {
        "WSS"
    } else {
        "WS"
    };
    let party = |index: usize| {
        let (name, domain) = (format!("{}{index}", sides.name), &sides.domain);
        Party {
            aor: format!("sip:{name}@{domain}"),
            contact: format!("<sip:{name}@{name}.invalid;transport=ws>"),
            via: format!("SIP/2.0/{transport} {name}.invalid"),
        }
    };
    (0..sides.browsers).map(party).collect()
}

fn pbx_party(address: SocketAddr) -> Party {
    Party {
        aor: format!("sip:pbx@{address}"),
        contact: format!("<sip:pbx@{address}>"),
        via: format!("SIP/2.0/UDP {address}"),
    }
}
