//! Built-in test destinations, so that whoever has no PBX hears something: `sip:echo@…` sends back what it gets, `sip:tone@…` sends a
//! tone.
//!
//! They are a PBX of our own in this process, on a thread of its own and at a loopback address: to the proxy an upstream like any other,
//! reached over UDP through a listener of its own, and to the media engine a SIP end that speaks plain RTP. So nothing else knows
//! of them, and a call to one takes the way that a call to a PBX takes.

mod agent;
mod answer;
mod dialog;
mod g711;
mod reply;
mod sound;
#[cfg(test)]
mod tests;
mod transactions;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use hookswitch_sip::transaction::Timing;
use tokio::{net, runtime, sync::oneshot, task::LocalSet, time};

use crate::{
    config::{Config, MemberAt, length},
    proxy_config,
};
use agent::Agent;

/// No message that a proxy sends to a PBX of today is longer.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// What a socket that cannot be read is given to recover.
const PAUSE: Duration = Duration::from_millis(10);

/// What is heard there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Echo,
    Tone,
}

impl Destination {
    /// By the users that they are called by.
    pub(crate) const ALL: [(&'static str, Self); 2] = [("echo", Self::Echo), ("tone", Self::Tone)];

    fn named(user: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(name, _)| *name == user)
            .map(|(_, destination)| destination)
    }
}

/// How much of it there may be.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// At a time; 486 beyond.
    calls_max: usize,
    /// Of one call, which is ended then.
    call_max: Duration,
}

/// The thread.
pub(crate) struct Destinations {
    /// Where it takes SIP over UDP.
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Destinations {
    /// Those of the configuration, if it wants any. They are where they are bound: their upstream has its member from then on.
    ///
    /// # Errors
    /// A socket or a thread cannot be had.
    pub(crate) fn of(config: &mut Config) -> Result<Option<Self>> {
        let Some(wanted) = config.test_destinations else {
            return Ok(None);
        };
        let limits = Limits {
            calls_max: length(wanted.calls_max),
            call_max: wanted.call_max,
        };
        let started = Self::start(limits, proxy_config::timing(&config.timers));
        let started = started.context("the thread of the test destinations")?;
        if let Some(upstream) = config.upstreams.get_mut(wanted.upstream) {
            upstream.members = vec![MemberAt::Address(started.address)];
        }
        Ok(Some(started))
    }

    fn start(limits: Limits, timing: Timing) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let agent = Agent::new(address, limits, timing);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let serve = serve(socket, agent, stopped);
            // Over is over, whoever ended it.
            let _ = LocalSet::new().block_on(&runtime, serve);
        };
        let thread = std::thread::Builder::new().name("destinations".to_owned());
        Ok(Self {
            address,
            stop,
            thread: thread.spawn(run)?,
        })
    }

    /// Ends the thread, and with it all calls, without a word.
    pub(crate) fn stop(self) {
        drop(self.stop);
        // One that panicked has said so.
        let _ = self.thread.join();
    }
}

async fn serve(
    socket: UdpSocket,
    mut agent: Agent,
    mut stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let socket = net::UdpSocket::from_std(socket)?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let due = agent.poll_timeout();
        let fires = async {
            match due {
                Some(due) => time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = &mut stopped => return Ok(()),
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    agent.receive(Instant::now(), from, buffer.get(..length).unwrap_or_default());
                }
                Err(_) => time::sleep(PAUSE).await,
            },
            () = fires => agent.handle_timeout(Instant::now()),
        }
        while let Some((to, bytes)) = agent.poll_transmit() {
            // A datagram may be lost; the transactions see to it.
            let _ = socket.send_to(&bytes, to).await;
        }
    }
}
