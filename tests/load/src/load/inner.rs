//! The sockets of a run and what happens on them: every message that comes is answered or scored at once.

use std::{
    cell::{Cell, RefCell},
    net::{SocketAddr, UdpSocket as StdUdpSocket},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use socket2::SockRef;
use tokio::{
    net::UdpSocket,
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::{JoinHandle, spawn_local},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{From, Pace, Sides};
use crate::{
    browser,
    sip::View,
    uac::{Ledger, Party, Plan},
    uas::{Answerer, Seen},
};

/// Bursts of a busy proxy stay in the kernel's queue, not on the floor.
const UDP_QUEUE_BYTES: usize = 4 << 20;
/// The largest UDP payload.
const DATAGRAM_BYTES_MAX: usize = 65_535;

pub(super) struct Inner {
    pub(super) sides: Sides,
    pub(super) browsers: Vec<Party>,
    pbx: Party,
    answer_browser: Vec<Answerer>,
    answer_pbx: Answerer,
    outboxes: RefCell<Vec<UnboundedSender<String>>>,
    socket: UdpSocket,
    pub(super) ledger: RefCell<Ledger>,
    pub(super) seen_pbx: RefCell<Seen>,
    pub(super) seen_browsers: RefCell<Seen>,
    /// What ended requests are followed by, while a window is to be kept full.
    refill: RefCell<Option<(Rc<Plan>, From, u64)>>,
    pub(super) next_browser: Cell<usize>,
    pub(super) closed: Cell<usize>,
    pub(super) stopped: Cell<bool>,
}

impl Inner {
    /// Binds the PBX; connections are still to be attached.
    pub(super) fn bind(sides: Sides) -> Result<Rc<Self>> {
        let socket = StdUdpSocket::bind(sides.pbx)
            .with_context(|| format!("bind the PBX to {}", sides.pbx))?;
        SockRef::from(&socket).set_recv_buffer_size(UDP_QUEUE_BYTES)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (browsers, pbx) = (parties(&sides), pbx_party(address));
        let answerer = |party: &Party| Answerer {
            contact: party.contact.clone(),
            echo: sides.echo.clone(),
        };
        // Call-IDs tell generators apart that share a proxy, and runs of one process from those of another.
        let run = format!("{}{}x{}", sides.name, address.port(), std::process::id());
        Ok(Rc::new(Self {
            answer_browser: browsers.iter().map(answerer).collect(),
            answer_pbx: answerer(&pbx),
            browsers,
            pbx,
            outboxes: RefCell::default(),
            socket: UdpSocket::from_std(socket)?,
            ledger: RefCell::new(Ledger::new(run)),
            seen_pbx: RefCell::default(),
            seen_browsers: RefCell::default(),
            refill: RefCell::default(),
            next_browser: Cell::default(),
            closed: Cell::default(),
            stopped: Cell::default(),
            sides,
        }))
    }

    pub(super) fn attach(self: &Rc<Self>, index: usize, socket: browser::Socket) -> JoinHandle<()> {
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
    pub(super) async fn listen(self: Rc<Self>) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        while self.socket.readable().await.is_ok() {
            while let Ok((length, peer)) = self.socket.try_recv_from(&mut buffer) {
                if let Some(Ok(text)) = buffer.get(..length).map(std::str::from_utf8) {
                    self.pbx_received(text, peer);
                }
            }
        }
    }

    fn pbx_received(self: &Rc<Self>, text: &str, peer: SocketAddr) {
        let view = View::new(text);
        if view.method().is_some() {
            let rings = view.method() == Some("INVITE") && !self.sides.ring.is_zero();
            return self
                .answer_pbx
                .answer(view, &mut self.seen_pbx.borrow_mut(), |text| {
                    if rings && text.starts_with("SIP/2.0 200") {
                        self.after_ringing(text, peer);
                    } else {
                        self.to_proxy(&text, peer);
                    }
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

    fn after_ringing(self: &Rc<Self>, text: String, peer: SocketAddr) {
        let inner = Rc::clone(self);
        spawn_local(async move {
            sleep(inner.sides.ring).await;
            inner.to_proxy(&text, peer);
        });
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
    pub(super) async fn send(
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
        while start.elapsed() < time && begun < count && !self.stopped.get() {
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
    pub(super) async fn settle(&self, patience: Duration) {
        while self.ledger.borrow().waiting() > 0 {
            sleep(Duration::from_millis(5)).await;
            self.ledger.borrow_mut().expire(patience, Instant::now());
        }
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
