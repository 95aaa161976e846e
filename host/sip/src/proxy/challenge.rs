//! An upstream asks who we are (RFC 3261 §22): the proxy answers, for everything that it sends there but the REGISTERs of clients, who
//! speak for themselves. The request goes anew to the same member, as another branch of the same target: no policy is asked and no
//! media set up again, and what was written into it stays valid. Its CSeq is the next one (§22.2): with the same one it might be taken for
//! a merged request (§8.2.2.2), and in a dialog for an old one (§12.2.2).
//!
//! Whoever is asked twice has the wrong password. The challenge stays here: a client can do nothing with our realm, and would ask its
//! user for a password that nobody has. It gets 500, since the fault is ours and not the caller's (403 would say so, and a browser that
//! is told 403 may forget a login that is right); `on-failure` may try another upstream.
//!
//! The challenge of a browser never reaches an upstream that has a login: it would come back from there as if the upstream had asked, and
//! a callee could have our credentials computed for a nonce of its choice.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use bytes::Bytes;

use super::{
    Proxy,
    believe::is_trusted,
    best::Failure,
    branch::{Branch, BranchPhase, Cancel, ClientMachine, Heard},
    credentials::{Asker, Login, Reading, Said},
    ids::BranchId,
    io::{Cause, Challenged, Direction, Output},
    media::Told,
    place::Place,
    server_tx::Phase,
    via::ViaBranch,
};
use crate::{
    flow::{Side, Transport, UpstreamId},
    message::{HeaderName, Message, MessageError, Method},
};

/// The phrase of the 500, for the log of whoever gets it.
pub(super) const REASON: &str = "Upstream Refused Our Credentials";

/// A member of an upstream, `None` where it is known by a connection: another one may have other nonces.
pub(super) type Hop = (UpstreamId, Option<SocketAddr>);

/// What became of a failure response.
pub(super) enum Answered {
    /// The request is on its way again.
    Again,
    /// The branch failed of this.
    Failed(Failure),
    /// It was no challenge, or is none of ours.
    No(Message),
}

impl Proxy {
    /// Answers ahead of time what that member asked before (RFC 3261 §22.3). Credentials are computed over the Request-URI: after
    /// everything but the Via.
    pub(super) fn sign(
        &mut self,
        hop: Option<Hop>,
        said: &mut Said,
        request: &mut Message,
    ) -> Result<(), MessageError> {
        let Some(hop) = hop.filter(|_| request.method() != Some(Method::Register)) else {
            return Ok(());
        };
        let login = self.login(Some(hop.0));
        match (login, self.challenges.get_mut(&hop)) {
            (Some(login), Some(challenges)) => {
                said.sign(request, &login, challenges, self.chance.draw())
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    pub(super) fn login(&self, upstream: Option<UpstreamId>) -> Option<Login> {
        let upstream = self.config.upstreams.get(usize::from(upstream?.0))?;
        upstream.login.clone()
    }

    /// A branch got a failure response: answers it if it asks who we are.
    pub(super) fn answer_challenge(&mut self, id: BranchId, response: Message) -> Answered {
        let Some(401 | 407) = response.status() else {
            return Answered::No(response);
        };
        let Some(branch) = self.branches.get(&id) else {
            return Answered::No(response);
        };
        if self.may_return(branch) {
            return Answered::Failed(Failure::own(
                403,
                Cause::Refused,
                "the callee asks who calls",
            ));
        }
        let upstream = branch.candidate.place.upstream();
        let is_register = branch.request.method() == Some(Method::Register);
        let login = self.login(upstream).filter(|_| !is_register);
        let (Some(login), Some(hop)) = (login, hop(&branch.candidate.place)) else {
            return Answered::No(response);
        };
        let upstream = hop.0;
        let reading = branch.said.read(&login, &response);
        let is_wanted = branch.phase == BranchPhase::Sent
            && matches!(branch.cancel, Cancel::No)
            && self
                .servers
                .get(&branch.tx)
                .is_some_and(|tx| tx.phase == Phase::Working);
        match reading {
            Reading::Foreign => Answered::No(response),
            // Cancelled, or given up, in the meantime (RFC 3261 §9.1): it ends like any failure.
            Reading::Answer(_) if !is_wanted => Answered::No(response),
            Reading::Answer(answers) => {
                self.challenged(upstream, Challenged::Answered);
                self.challenges.entry(hop).or_default().learn(&answers);
                match self.send_again(id, &answers) {
                    Ok(()) => Answered::Again,
                    Err(failure) => Answered::Failed(failure),
                }
            }
            Reading::Refused => {
                // What follows begins anew, and may find that somebody has mended it there.
                self.challenges.remove(&hop);
                self.challenged(upstream, Challenged::Refused);
                Answered::Failed(refused(upstream, "the upstream refuses our credentials"))
            }
            Reading::Unknown => {
                self.challenged(upstream, Challenged::Unknown);
                let detail = "the upstream asks for credentials of another kind";
                Answered::Failed(refused(upstream, detail))
            }
        }
    }

    /// Would a challenge of this branch go to an upstream for which we answer challenges, and maybe come back from there? The caller
    /// gets 403 for it: whoever it called understood, refuses, and takes no credentials that it could give (RFC 3261 §21.4.4). 500
    /// would be a fault of ours, after which upstreams try another way to the same callee.
    fn may_return(&self, branch: &Branch) -> bool {
        let caller = self.servers.get(&branch.tx).map(|tx| tx.flow.side);
        match caller {
            Some(Side::Upstream(upstream)) => {
                !is_trusted(branch.candidate.place.side) && self.login(Some(upstream)).is_some()
            }
            Some(Side::Web | Side::Stranger) | None => false,
        }
    }

    pub(super) fn challenged(&mut self, upstream: UpstreamId, outcome: Challenged) {
        self.outputs
            .push_back(Output::Challenged { upstream, outcome });
    }

    /// The ACK of a 2xx has the credentials of its INVITE (RFC 3261 §13.2.2.4); nobody can ask for them (§22.1).
    pub(super) fn keep_credentials(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let fields = branch.said.fields(&branch.request);
        let dialog = self.servers.get(&branch.tx).and_then(|tx| tx.dialog);
        let key = dialog.map_or((branch.index, Direction::ToCallee), |dialog| {
            (dialog.token.branch, dialog.direction)
        });
        let tx = branch.tx;
        if !fields.is_empty()
            && let Some(call) = self.call_record(tx)
        {
            call.credentials.insert(key, fields);
        }
    }

    /// The request of a branch with the answers, on a branch of its own (RFC 3261 §22.2, §8.1.3.5).
    fn send_again(&mut self, id: BranchId, answers: &[(Asker, String)]) -> Result<(), Failure> {
        let too_large = |error: MessageError| Failure::own(500, Cause::Refused, error.to_string());
        let number = self.chance.draw();
        let Some(branch) = self.branches.get_mut(&id) else {
            return Ok(());
        };
        let mut next = branch.again(number, answers);
        let place = next.candidate.place.clone();
        let mut request = (*branch.request).clone();
        branch.said.unsign(&mut request).map_err(too_large)?;
        let popped = request.remove_first_value(HeaderName::Via);
        popped.map_err(too_large)?;
        self.number_again(&mut next, &mut request)
            .map_err(too_large)?;
        self.record_again(&next, &mut request).map_err(too_large)?;
        self.sign(hop(&place), &mut next.said, &mut request)
            .map_err(too_large)?;
        let via = self.names.via(place.listener, place.transport, &next.via);
        let gone = || Failure::own(430, Cause::Unreachable, "its listener is gone");
        let via = via.ok_or_else(gone)?;
        request.prepend(HeaderName::Via, via).map_err(too_large)?;
        next.bytes = request.settle();
        next.request = Arc::new(request);
        // From here on the old one has only to absorb retransmissions of its challenge. To media both are one.
        if let Some(branch) = self.branches.get_mut(&id) {
            branch.phase = BranchPhase::Decided;
            branch.told = Told::Outcome;
        }
        self.by_destination.remove(&place.to, id);
        let (tx, id) = (next.tx, BranchId(number));
        if let Some(tx) = self.servers.get_mut(&tx) {
            tx.branches.push(id);
        }
        self.branches.insert(id, Box::new(next));
        if place.transport == Transport::Udp
            && let Err(failure) = self.fit(id)
        {
            self.drop_branch(id, Some(failure));
            return Ok(());
        }
        self.let_go(id);
        Ok(())
    }
}

impl Branch {
    /// The same target on another branch, not yet sent.
    fn again(&self, number: u64, answers: &[(Asker, String)]) -> Self {
        Self {
            tx: self.tx,
            via: ViaBranch { number, ..self.via },
            index: self.index,
            candidate: self.candidate.clone(),
            machine: ClientMachine::Idle,
            request: Arc::clone(&self.request),
            bytes: Bytes::new(),
            phase: BranchPhase::Preparing,
            heard: Heard::Nothing,
            rewritten: self.rewritten,
            aliases: Vec::new(),
            fallback: self.fallback,
            said: self.said.after(answers),
            ahead: self.ahead,
            ask: None,
            in_hand: None,
            queue: VecDeque::new(),
            gate: None,
            cancel: Cancel::No,
            answers: Vec::new(),
            ack: Bytes::new(),
            retransmissions: 0,
            told: self.told,
            rings_until: self.rings_until,
        }
    }
}

pub(super) fn hop(place: &Place) -> Option<Hop> {
    Some((place.upstream()?, place.peer()))
}

fn refused(upstream: UpstreamId, detail: &str) -> Failure {
    Failure {
        upstream: Some(upstream),
        ..Failure::own(500, Cause::Credentials, detail)
    }
}
