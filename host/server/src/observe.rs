//! What people see of the traffic: a line for each transaction, whole messages where they are asked for, the capture.

use std::{net::SocketAddr, time::SystemTime};

use bytes::Bytes;
use hookswitch_policy::context::Source as _;
use hookswitch_sip::{
    flow::{Flow, ListenerId},
    proxy::io::{Ended, Origin},
    redact::redact,
};

use crate::{
    capture::Packet,
    metrics::{Count, WorkerMetrics, cause_name},
    server::{ListenerInfo, Shared},
    source::{Source, transport_name},
};

/// What `[log] filter` names for whole messages: `hookswitch::message=trace`.
const MESSAGES: &str = "hookswitch::message";
/// What `[log] filter` names for one line a transaction.
const TRANSACTIONS: &str = "hookswitch::transaction";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl Shared {
    /// A message came.
    pub(crate) fn observe_received(&self, flow: &Flow, bytes: &Bytes, metrics: &WorkerMetrics) {
        self.observe(Way::In, flow.listener, flow.peer, bytes, metrics);
    }

    /// A message leaves to `peer`.
    pub(crate) fn observe_sent(
        &self,
        listener: ListenerId,
        peer: SocketAddr,
        bytes: &Bytes,
        metrics: &WorkerMetrics,
    ) {
        self.observe(Way::Out, listener, peer, bytes, metrics);
    }

    fn observe(
        &self,
        way: Way,
        listener: ListenerId,
        peer: SocketAddr,
        bytes: &Bytes,
        metrics: &WorkerMetrics,
    ) {
        let listener = self.listener(listener);
        if tracing::enabled!(target: MESSAGES, tracing::Level::TRACE) {
            trace(way, listener, peer, bytes);
        }
        if let Some(capture) = &self.capture {
            let (from, to) = match way {
                Way::In => (peer, listener.address),
                Way::Out => (listener.address, peer),
            };
            let packet = Packet {
                from,
                to,
                bytes: bytes.clone(),
                at: SystemTime::now(),
            };
            if capture.take(packet).is_err() {
                metrics.count(Count::CaptureDropped);
            }
        }
    }

    /// One line at info.
    pub(crate) fn log_transaction(&self, ended: &Ended) {
        let request = &ended.request;
        tracing::info!(
            target: TRANSACTIONS,
            method = %printable(ended.method()),
            uri = %printable(request.request_uri().unwrap_or_default()),
            from = %printable(request.from_uri().unwrap_or_default()),
            to = %printable(request.to_uri().unwrap_or_default()),
            call_id = %printable(ended.call_id()),
            status = ended.status,
            cause = cause_name(ended.cause),
            detail = %printable(&ended.detail),
            took_ms = ended.took.as_secs_f64() * 1_000.0,
            side = match ended.origin {
                Origin::Client => self.side_name(ended.flow.side),
                Origin::Proxy => "proxy",
            },
            upstream = ended.upstream.map(|id| self.upstream_name(id)),
            peer = %ended.flow.peer,
            identity = identity_of(&ended.flow).map(tracing::field::display),
        );
    }
}

/// Who it is that is connected, if a policy has found out.
fn identity_of(flow: &Flow) -> Option<String> {
    let identity = flow.attachment.get::<Source>()?.identity()?;
    Some(printable(&identity).into_owned())
}

fn trace(way: Way, listener: &ListenerInfo, peer: SocketAddr, bytes: &Bytes) {
    let message = redact(bytes);
    let message = String::from_utf8_lossy(&message);
    let way = match way {
        Way::In => "received",
        Way::Out => "sent",
    };
    tracing::trace!(
        target: MESSAGES,
        transport = transport_name(listener.transport), %peer, listener = &*listener.name, "{way}\n{message}"
    );
}

/// A peer must not write lines of its own into our log.
pub(crate) fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_plain && text.chars().any(char::is_control) {
        text.escape_debug().to_string().into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use hookswitch_policy::context::Identity;
    use hookswitch_sip::flow::{Attachment, FlowId, Side, Transport, WorkerId};

    use super::*;

    #[test]
    fn a_line_names_who_is_connected_for_as_long_as_that_is_so() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 5060));
        let source = Arc::new(Source::address(Transport::Tls, peer, "tls".into()));
        let flow = Flow {
            id: FlowId::Connection {
                worker: WorkerId(0),
                serial: 1,
            },
            transport: Transport::Tls,
            listener: ListenerId(0),
            peer,
            side: Side::Stranger,
            session: None,
            attachment: Attachment::new(Arc::clone(&source)),
        };
        assert_eq!(identity_of(&flow), None);
        let identify = |name: &str, until| {
            let name = name.to_owned();
            source.apply(Some(Identity { name, until }), Vec::new());
            identity_of(&flow)
        };
        let later = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(identify("alice", Some(later)).as_deref(), Some("alice"));
        assert_eq!(identify("a\nb", None).as_deref(), Some("a\\nb"));
        assert_eq!(identify("alice", Some(SystemTime::UNIX_EPOCH)), None);
    }
}
