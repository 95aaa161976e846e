//! The end of transactions and branches: what is removed, and when.

use std::net::SocketAddr;

use super::{
    Proxy,
    branch::{BranchPhase, ClientMachine},
    ids::{BranchId, TxId},
    io::Cause,
    names::default_port,
    server_tx::{Client, Phase, ServerMachine, ServerTx},
};
use crate::{
    flow::{Destination, FlowId, Side, Transport},
    transaction::{client, invite_server, server},
};

/// Where an upstream is answered whose connection is gone (RFC 3261 §18.2.2). A phone is behind its connection, or nowhere.
fn sent_by(tx: &ServerTx) -> Option<Destination> {
    let flow = &tx.flow;
    let (Side::Upstream(_), Transport::Tcp | Transport::Tls) = (flow.side, flow.transport) else {
        return None;
    };
    let port = tx.request.top_via()?.sent_by.port;
    let port = port.unwrap_or(default_port(flow.transport));
    Some(Destination::Connect {
        transport: flow.transport,
        listener: flow.listener,
        peer: SocketAddr::new(flow.peer.ip(), port),
        lane: 0,
    })
}

impl Proxy {
    /// Removes a branch, and its transaction with the last of them.
    pub(super) fn forget_branch(&mut self, id: BranchId) {
        self.media_lost(id);
        let Some(branch) = self.branches.remove(&id) else {
            return;
        };
        self.by_destination.remove(&branch.candidate.place.to, id);
        self.withdraw(branch.ask);
        if let Some(tx) = self.servers.get_mut(&branch.tx) {
            tx.branches.retain(|other| *other != id);
        }
        if let Some(gate) = branch.gate {
            self.release_gate(gate);
        }
        self.forget_if_done(branch.tx);
        // It may have been the one whose 2xx the client's answer waited for.
        let waits = |tx: &ServerTx| tx.phase == Phase::Settling;
        if self.servers.get(&branch.tx).is_some_and(|tx| waits(tx)) {
            self.stage_may_be_over(branch.tx);
        }
    }

    /// One that has only to absorb retransmissions until Timer K (RFC 3261 §17.1.2.2) needs no more than its name for it.
    pub(super) fn forget_branch_if_done(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get(&id).filter(|branch| branch.is_idle()) else {
            return;
        };
        match branch.machine {
            ClientMachine::Terminated => {}
            ClientMachine::Other(client::State::Completed)
                if branch.phase == BranchPhase::Decided =>
            {
                self.absorbing.insert(id);
            }
            ClientMachine::Idle | ClientMachine::Invite(_) | ClientMachine::Other(_) => return,
        }
        self.forget_branch(id);
    }

    /// Removes a transaction that is over and has no branch that could still bring a 2xx.
    pub(super) fn forget_if_done(&mut self, id: TxId) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        if !tx.is_over()
            || !tx.is_terminated()
            || tx.branches.iter().any(|branch| self.may_answer(*branch))
        {
            return;
        }
        if let Some(tx) = self.servers.remove(&id) {
            self.by_key.remove(&tx.key);
            self.by_client.remove(&tx.flow.id, id);
        }
    }

    /// Can a 2xx still come of it?
    pub(super) fn may_answer(&self, id: BranchId) -> bool {
        self.branches.get(&id).is_some_and(|branch| {
            branch.ask.is_some()
                || branch.is_calling()
                || branch.is_proceeding()
                || !branch.answers.is_empty()
        })
    }

    /// The connection that a request came on is gone: nobody is left to be answered, but for an upstream, which listens.
    pub(super) fn on_client_gone(&mut self, flow: FlowId) {
        for id in self.by_client.at(&flow) {
            let Some(tx) = self.servers.get_mut(&id) else {
                continue;
            };
            if let Some(sent_by) = sent_by(tx) {
                tx.reply_to = sent_by;
                continue;
            }
            tx.client = Client::Gone;
            if tx.is_over() {
                continue;
            }
            let branches = tx.branches.clone();
            self.end(id, 0, Cause::ClientGone, String::new(), None);
            for branch in branches {
                self.cancel_branch(branch, &[]);
            }
            self.terminate_unanswered(id);
        }
    }

    /// No final response will ever be sent, so the machine has nothing to wait for.
    fn terminate_unanswered(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.machine = match tx.machine {
            ServerMachine::Invite(invite_server::State::Proceeding) => {
                ServerMachine::Invite(invite_server::State::Terminated)
            }
            ServerMachine::Invite(state) => ServerMachine::Invite(state),
            ServerMachine::Other(_) => ServerMachine::Other(server::State::Terminated),
        };
        self.forget_if_done(id);
    }

    pub(super) fn on_silent(&mut self, id: TxId) {
        let Some(tx) = self.servers.get_mut(&id) else {
            return;
        };
        tx.machine = match tx.machine {
            ServerMachine::Invite(_) => ServerMachine::Invite(invite_server::State::Terminated),
            ServerMachine::Other(_) => ServerMachine::Other(server::State::Terminated),
        };
        self.forget_if_done(id);
    }
}
