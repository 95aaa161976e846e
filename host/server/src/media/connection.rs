//! The control connection to an rtpengine over WebSocket: opened again whenever it is gone.

use std::{io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hookswitch_media::ng::{NodeId, message::REPLY_BYTES_MAX};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

use super::rtpengine::Event;

/// Commands that wait for the connection.
pub(super) const QUEUED_MAX: usize = 256;
/// What rtpengine calls its protocol there.
const PROTOCOL: &str = "ng.rtpengine.com";
/// Until it stands.
const CONNECT_MAX: Duration = Duration::from_secs(4);
/// Until it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Until nobody reads its events any more.
pub(super) async fn keep(
    node: NodeId,
    address: SocketAddr,
    mut outgoing: mpsc::Receiver<Bytes>,
    events: mpsc::Sender<Event>,
) {
    loop {
        if let Ok(Ok(connection)) = timeout(CONNECT_MAX, connect(address)).await {
            // What waited is older than the connection: the client has given it up.
            while outgoing.try_recv().is_ok() {}
            if events.send(Event::Connected(node)).await.is_err() {
                return;
            }
            if speak(node, connection, &mut outgoing, &events).await == Ended::Unwanted {
                return;
            }
            if events.send(Event::Disconnected(node)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn connect(address: SocketAddr) -> Result<WebSocketStream<TcpStream>, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut request = format!("ws://{address}/").into_client_request()?;
    let protocol = HeaderValue::from_static(PROTOCOL);
    request
        .headers_mut()
        .insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    let limits = WebSocketConfig::default().max_message_size(Some(REPLY_BYTES_MAX));
    let (connection, _) = client_async_with_config(request, stream, Some(limits)).await?;
    Ok(connection)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Broken,
    /// By us.
    Unwanted,
}

async fn speak(
    node: NodeId,
    mut connection: WebSocketStream<TcpStream>,
    outgoing: &mut mpsc::Receiver<Bytes>,
    events: &mpsc::Sender<Event>,
) -> Ended {
    loop {
        let sent = tokio::select! {
            bytes = outgoing.recv() => match bytes {
                Some(bytes) => connection.send(Message::Binary(bytes)).await,
                None => return Ended::Unwanted,
            },
            message = connection.next() => match message {
                Some(Ok(message)) if message.is_binary() || message.is_text() => {
                    let received = Event::Received(node, message.into_data());
                    match events.send(received).await {
                        Ok(()) => Ok(()),
                        Err(_) => return Ended::Unwanted,
                    }
                }
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(error),
                None => Err(Error::Io(io::ErrorKind::UnexpectedEof.into())),
            },
        };
        if sent.is_err() {
            return Ended::Broken;
        }
    }
}
