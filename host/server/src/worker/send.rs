//! Bytes to the network: onto a connection of this worker, of another, or into a datagram.

use std::io;

use bytes::Bytes;
use hookswitch_sip::{
    flow::{Destination, FlowId, ListenerId},
    proxy::io::Input,
};

use super::{Mail, Open, Worker};
use crate::{metrics::Count, transport::udp::DatagramSocket};

/// Why bytes did not leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// There is no such connection, or it takes no more: nothing else will leave there either.
    Way,
    /// The network takes other datagrams to there, but not this one: it may be too large.
    Message(Bytes),
}

impl Worker {
    /// What cannot be delivered comes back as an input (RFC 3261 §16.9).
    pub(super) fn send(&mut self, to: Destination, bytes: Bytes) {
        let sent = match to {
            // A dialog that is older than this process, which had more of them then.
            Destination::Flow(FlowId::Connection { worker, .. })
                if worker.0 >= self.shared.config.workers =>
            {
                Err(Undelivered::Way)
            }
            Destination::Flow(FlowId::Connection { worker, .. }) if worker != self.id => {
                let Destination::Flow(flow) = to else { return };
                let mail = Mail::Send {
                    from: self.id,
                    to: flow,
                    bytes,
                };
                self.post(worker, mail);
                return;
            }
            Destination::Flow(flow) => self.deliver(flow, bytes),
            Destination::Connect { .. } => self.send_by_line(to, bytes),
        };
        if let Err(undelivered) = sent {
            self.metrics.count(Count::SendFailed);
            match undelivered {
                Undelivered::Way => self.is_lost(to),
                Undelivered::Message(bytes) => {
                    self.inputs.push_back(Input::Undelivered { to, bytes });
                }
            }
        }
    }

    /// Onto a flow whose socket is here.
    pub(super) fn deliver(&mut self, to: FlowId, bytes: Bytes) -> Result<(), Undelivered> {
        match to {
            FlowId::Connection { serial, .. } => {
                let Open { flow, pipe } = self.connections.get(&serial).ok_or(Undelivered::Way)?;
                self.shared
                    .observe_sent(flow.listener, flow.peer, &bytes, &self.metrics);
                pipe.push(bytes).map_err(|_| Undelivered::Way)?;
            }
            FlowId::Datagram { listener, peer } => {
                let socket = self.socket(listener).ok_or(Undelivered::Way)?;
                self.shared
                    .observe_sent(listener, peer, &bytes, &self.metrics);
                match socket.send(&bytes, peer) {
                    Ok(()) => {}
                    // Lost like any other datagram: the transaction retransmits (RFC 3261 §17.1).
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.metrics.count(Count::DatagramsNotSent);
                    }
                    Err(_) => return Err(Undelivered::Message(bytes)),
                }
            }
        }
        self.metrics.count(Count::Sent);
        Ok(())
    }

    pub(super) fn socket(&self, listener: ListenerId) -> Option<&DatagramSocket> {
        self.datagrams.get(usize::from(listener.0))?.as_deref()
    }
}
