//! The last touches before bytes leave (RFC 3261 §16.6): Max-Forwards, Routes, Record-Route, From and To, Via; and the requests that
//! a branch makes by itself, CANCEL and the ACK of a failure.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Proxy, believe,
    best::Failure,
    branch::{Branch, Fallback, Rewritten},
    challenge::hop,
    config::Oversize,
    contact::session_of,
    credentials::Said,
    dialog::{InDialog, Rewrite, makes_dialog},
    forward::next_max_forwards,
    ids::{BranchId, CallKey, TxId},
    io::{Cause, Direction, Leg, MediaBranch},
    relayed::Alias,
    server_tx::ServerTx,
};
use crate::{
    flow::Transport,
    header::NameAddr,
    message::{HeaderName, Message, MessageError},
    token::{End, Reach, Token},
    uri::{Scheme, SipUri},
};

/// What an IPv4 packet has room for beside its own header and UDP's.
const DATAGRAM_BYTES_MAX: usize = 65_507;

impl Proxy {
    /// Makes the branch's request ready to be sent.
    ///
    /// # Errors
    /// What the branch failed of.
    pub(super) fn seal(&mut self, id: BranchId) -> Result<(), Failure> {
        let too_large = |error: MessageError| Failure::own(500, Cause::Refused, error.to_string());
        let Some(branch) = self.branches.get(&id) else {
            return Ok(());
        };
        let Some(tx) = self.servers.get(&branch.tx) else {
            return Ok(());
        };
        if is_sips(tx, branch) && !branch.candidate.place.transport.is_secure() {
            return Err(Failure::own(480, Cause::Unreachable, "sips needs TLS"));
        }
        let (call, index, dialog, tx_id) = (tx.call, branch.index, tx.dialog, branch.tx);
        let hop = hop(&branch.candidate.place);
        let (mut request, aliases) = self.compose(tx, branch).map_err(too_large)?;
        let rewritten = self
            .rewrite(tx_id, &mut request, call, index, dialog)
            .map_err(too_large)?;
        let ahead = dialog.map(|dialog| self.number_in_dialog(&mut request, call, dialog));
        let ahead = ahead.transpose().map_err(too_large)?.unwrap_or_default();
        let mut said = Said::default();
        self.sign(hop, &mut said, &mut request).map_err(too_large)?;
        let Some(branch) = self.branches.get_mut(&id) else {
            return Ok(());
        };
        branch.rewritten = rewritten;
        branch.ahead = ahead;
        branch.aliases = aliases;
        branch.said = said;
        let place = &branch.candidate.place;
        let via = self.names.via(place.listener, place.transport, &branch.via);
        // RFC 5626 §5.3.1: a token may remember a listener that the configuration has no more.
        let gone = || Failure::own(430, Cause::Unreachable, "its listener is gone");
        request
            .prepend(HeaderName::Via, via.ok_or_else(gone)?)
            .map_err(too_large)?;
        branch.bytes = request.settle();
        branch.request = Arc::new(request);
        self.fit(id)?;
        self.choose_lane(id);
        Ok(())
    }

    /// The branch's request without what one side must not learn of the other, and with our own routes.
    fn compose(
        &self,
        tx: &ServerTx,
        branch: &Branch,
    ) -> Result<(Message, Vec<Alias>), MessageError> {
        let (here, there) = (tx.flow.side, branch.candidate.place.side);
        let mut request = (*branch.request).clone();
        believe::hide(&mut request, there);
        believe::take_digests(&mut request, here, there);
        let aliases = self.announce(&mut request, tx, &branch.candidate.place)?;
        set_routes(&mut request, &branch.candidate.path)?;
        for route in self.record_route(tx, branch) {
            request.prepend(HeaderName::RecordRoute, route)?;
        }
        let left = next_max_forwards(&request).to_string();
        request.set(HeaderName::MaxForwards, left)?;
        Ok((request, aliases))
    }

    fn choose_lane(&mut self, id: BranchId) {
        let Some(branch) = self.branches.get(&id) else {
            return;
        };
        let to = self.lane(&branch.candidate.place, &branch.request);
        if let Some(branch) = self.branches.get_mut(&id) {
            branch.candidate.place.to = to;
        }
    }

    /// Our Record-Route, if the request makes a dialog: one value if both ends reach us at the same listener, else two (RFC 5658),
    /// the one for the side that it came from first, since each is put on top.
    fn record_route(&self, tx: &ServerTx, branch: &Branch) -> Vec<String> {
        if tx.dialog.is_some() || !makes_dialog(&branch.request) {
            return Vec::new();
        }
        let call_id = branch.request.call_id().unwrap_or_default().as_bytes();
        let from_tag = branch.request.from_tag().unwrap_or_default().as_bytes();
        let (keys, tags) = (&self.config.keys, self.names.tags());
        let token = self
            .flow_token(tx, branch)
            .seal(keys, tags, call_id, from_tag);
        let scheme = next_scheme(&branch.request);
        let (here, there) = (tx.flow.listener, branch.candidate.place.listener);
        let mut routes = Vec::with_capacity(2);
        routes.extend(self.names.record_route(scheme, here, &token));
        if here != there {
            routes.extend(self.names.record_route(scheme, there, &token));
        }
        routes
    }

    /// Of the dialogs that this branch makes.
    pub(super) fn flow_token(&self, tx: &ServerTx, branch: &Branch) -> Token {
        Token {
            worker: self.config.worker,
            passage: tx.passage,
            branch: branch.index,
            caller: self.caller_end(tx),
            callee: branch.candidate.place.end,
            ahead: u8::try_from(branch.ahead).unwrap_or(u8::MAX),
            media: branch.candidate.media,
        }
    }

    /// The flow token of a request that goes anew says so.
    pub(super) fn record_again(
        &self,
        branch: &Branch,
        request: &mut Message,
    ) -> Result<(), MessageError> {
        let tx = self.servers.get(&branch.tx);
        let routes = tx.map_or_else(Vec::new, |tx| self.record_route(tx, branch));
        request.remove_first_values(HeaderName::RecordRoute, routes.len())?;
        for route in routes {
            request.prepend(HeaderName::RecordRoute, route)?;
        }
        Ok(())
    }

    /// Where the caller is reached later: its session, or the address that its responses go to.
    fn caller_end(&self, tx: &ServerTx) -> End {
        if let Some(end) = self.member_end(&tx.flow) {
            return end;
        }
        let session = session_of(&self.names, &tx.request, HeaderName::From);
        let mut end = End::of_flow(&tx.flow, session);
        if let (Reach::Hop { peer, .. }, Some(answered)) = (&mut end.reach, tx.reply_to.peer()) {
            *peer = answered;
        }
        end
    }

    /// From and To as the other end knows them.
    fn rewrite(
        &mut self,
        id: TxId,
        request: &mut Message,
        call: CallKey,
        index: u8,
        dialog: Option<InDialog>,
    ) -> Result<Rewritten, MessageError> {
        let Some(tx) = self.servers.get(&id) else {
            return Ok(Rewritten::No);
        };
        let by_policy = Rewrite::between(&tx.request, request);
        match (dialog, by_policy) {
            (None, None) => Ok(Rewritten::No),
            (None, Some(rewrite)) => {
                if makes_dialog(request)
                    && let Some(record) = self.call_record(id)
                {
                    record.rewrites.insert(index, rewrite);
                }
                Ok(Rewritten::Yes)
            }
            (Some(dialog), by_policy) => {
                self.rewrite_in_dialog(request, call, dialog, by_policy.as_ref())
            }
        }
    }

    /// As the record of the call says, if it has one; what a policy wrote into this request stays.
    pub(super) fn rewrite_in_dialog(
        &mut self,
        request: &mut Message,
        call: CallKey,
        dialog: InDialog,
        by_policy: Option<&Rewrite>,
    ) -> Result<Rewritten, MessageError> {
        let now = self.now();
        let record = self.calls.get(call, now);
        let Some(rewrite) = record.and_then(|call| call.rewrites.get(&dialog.token.branch)) else {
            return Ok(by_policy.map_or(Rewritten::No, |_| Rewritten::Yes));
        };
        let (from, to) = rewrite.of_request(request, dialog.direction);
        if by_policy.is_none_or(|edit| !edit.from.is_one()) {
            request.set(HeaderName::From, from)?;
        }
        if by_policy.is_none_or(|edit| !edit.to.is_one()) {
            request.set(HeaderName::To, to)?;
        }
        Ok(Rewritten::Yes)
    }

    /// What is too large for one packet goes as the upstream's configuration says (RFC 3261 §18.1.1).
    pub(super) fn fit(&mut self, id: BranchId) -> Result<(), Failure> {
        let Some(branch) = self.branches.get_mut(&id) else {
            return Ok(());
        };
        let place = &branch.candidate.place;
        if place.transport != Transport::Udp {
            return Ok(());
        }
        let upstream = place
            .upstream()
            .and_then(|id| self.config.upstreams.get(usize::from(id.0)));
        let oversize = upstream
            .filter(|upstream| branch.bytes.len() > upstream.mtu_bytes_max)
            .map_or(Oversize::Fragment, |upstream| upstream.oversize);
        let too_large = Err(Failure::own(513, Cause::Refused, "too large for UDP"));
        match oversize {
            Oversize::Fragment if branch.bytes.len() > DATAGRAM_BYTES_MAX => too_large,
            Oversize::Fragment => Ok(()),
            Oversize::Refuse => too_large,
            Oversize::TcpThenUdp => {
                let Some(tcp) = place.over(Transport::Tcp) else {
                    return Ok(());
                };
                let via = self.names.via(tcp.listener, Transport::Tcp, &branch.via);
                let Some(via) = via else { return Ok(()) };
                let request = Arc::make_mut(&mut branch.request);
                let replaced = request.replace_first_value(HeaderName::Via, via);
                replaced.map_err(|error| Failure::own(500, Cause::Refused, error.to_string()))?;
                branch.candidate.place = tcp;
                branch.fallback = Fallback::Udp;
                branch.bytes = branch.request.to_bytes();
                Ok(())
            }
        }
    }
}

/// Was it called, or is it sent on, with a `sips:` URI? Then every hop is inside TLS (RFC 3261 §16.6 item 7, §26.2.2), also that to a
/// contact that says `sip:`.
fn is_sips(tx: &ServerTx, branch: &Branch) -> bool {
    let has_sips =
        |request: &Message| request.request_uri().and_then(Scheme::of) == Some(Scheme::Sips);
    has_sips(&branch.request) || (tx.dialog.is_none() && has_sips(&tx.request))
}

/// Of our Record-Route: `sips:` where the Request-URI or the next Route is (RFC 3261 §16.6 item 4).
pub(super) fn next_scheme(request: &Message) -> Scheme {
    let route = request
        .values(HeaderName::Route)
        .next()
        .and_then(|route| NameAddr::parse(route).ok());
    let uris = [request.request_uri(), route.map(|route| route.uri)];
    let is_sips = |uri: &str| Scheme::of(uri) == Some(Scheme::Sips);
    match uris.into_iter().flatten().any(is_sips) {
        true => Scheme::Sips,
        false => Scheme::Sip,
    }
}

/// A registered Path on top of what Routes there are; then, if the first of them is a strict router, the Request-URI changes places
/// with it (RFC 3261 §16.6 item 6).
pub(super) fn set_routes(request: &mut Message, path: &[String]) -> Result<(), MessageError> {
    for route in path.iter().rev() {
        request.prepend(HeaderName::Route, route)?;
    }
    let first = request
        .values(HeaderName::Route)
        .next()
        .and_then(|route| NameAddr::parse(route).ok());
    let strict = first
        .map(|route| route.uri)
        .filter(|uri| SipUri::from_text(uri).is_some_and(|uri| !uri.is_loose_router()));
    if let Some(uri) = strict.map(str::to_owned) {
        let target = format!("<{}>", request.request_uri().unwrap_or_default());
        request.remove_first_value(HeaderName::Route)?;
        request.append(HeaderName::Route, target)?;
        request.set_request_uri(&uri)?;
    }
    Ok(())
}

/// RFC 3261 §17.1.1.3: as the INVITE, with the To of the response.
pub(super) fn failure_ack(invite: &Message, response: &Message) -> Bytes {
    let to = response.raw(HeaderName::To).unwrap_or_default();
    like_invite(invite, "ACK", to, &[])
}

/// RFC 3261 §9.1.
pub(super) fn cancel(invite: &Message, reasons: &[Vec<u8>]) -> Bytes {
    let to = invite.raw(HeaderName::To).unwrap_or_default();
    like_invite(invite, "CANCEL", to, reasons)
}

/// A request of ours with what it shares with the INVITE; empty if the INVITE has values that nobody may write.
fn like_invite(invite: &Message, method: &str, to: &[u8], reasons: &[Vec<u8>]) -> Bytes {
    let build = || -> Result<Message, MessageError> {
        let unfold = crate::message::unfold;
        let mut request = Message::request(method, invite.request_uri().unwrap_or_default())?;
        if let Some(via) = invite.values(HeaderName::Via).next() {
            request.append(HeaderName::Via, unfold(via))?;
        }
        for route in invite.values(HeaderName::Route) {
            request.append(HeaderName::Route, unfold(route))?;
        }
        request.append(HeaderName::MaxForwards, "70")?;
        request.append(
            HeaderName::From,
            unfold(invite.raw(HeaderName::From).unwrap_or_default()),
        )?;
        request.append(HeaderName::To, unfold(to))?;
        request.append(HeaderName::CallId, invite.call_id().unwrap_or_default())?;
        let number = invite.cseq().map_or(0, |cseq| cseq.number);
        request.append(HeaderName::CSeq, format!("{number} {method}"))?;
        for reason in reasons {
            request.append(HeaderName::Reason, unfold(reason))?;
        }
        request.append(HeaderName::ContentLength, "0")?;
        Ok(request)
    };
    build().map_or_else(|_| Bytes::new(), |request| request.to_bytes())
}

/// The name that media knows a branch of a call by. `direction` is that of the request, whether `message` is it or its response.
pub(super) fn media_branch(
    message: &Message,
    direction: Direction,
    passage: u32,
    index: u8,
    caller: Leg,
    callee: Leg,
) -> MediaBranch {
    let (caller_tag, callee_tag) = match direction {
        Direction::ToCallee => (message.from_tag(), message.to_tag()),
        Direction::ToCaller => (message.to_tag(), message.from_tag()),
    };
    let call = format!(
        "{};{};{passage:08x}",
        message.call_id().unwrap_or_default(),
        caller_tag.unwrap_or_default()
    );
    let to_tag = callee_tag.map(Into::into);
    MediaBranch {
        call: call.into(),
        branch: index.to_string().into(),
        to_tag,
        caller,
        callee,
    }
}
