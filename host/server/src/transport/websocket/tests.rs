//! A connection over a pipe in memory, and a client at its other end.

use std::cell::RefCell;

use futures_util::StreamExt;
use hookswitch_sip::flow::{Attachment, FlowId, ListenerId, Side, Transport, WorkerId};
use tokio::{
    io::{DuplexStream, duplex},
    task::LocalSet,
};
use tokio_tungstenite::tungstenite::protocol::frame::{
    Frame,
    coding::{Data, OpCode},
};

use super::*;
use crate::transport::pipe::PipeClosed;

/// Keeps what came.
#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Vec<Bytes>>>);

impl Inbox for Kept {
    fn poll_uncongested(&self, _cx: &Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
    fn received(&self, _flow: &Arc<Flow>, bytes: Bytes) {
        self.0.borrow_mut().push(bytes);
    }
    fn heard(&self, _flow: &Flow) {
        self.0.borrow_mut().push(Bytes::from_static(b"heard"));
    }
}

fn flow() -> Arc<Flow> {
    Arc::new(Flow {
        id: FlowId::Connection {
            worker: WorkerId(0),
            serial: 1,
        },
        transport: Transport::Ws,
        listener: ListenerId(0),
        peer: ([192, 0, 2, 1], 5000).into(),
        side: Side::Web,
        session: None,
        attachment: Attachment::default(),
    })
}

const BOUNDS: Bounds = Bounds {
    message_bytes_max: 4_096,
    queue_bytes_max: 65_536,
    idle_max: Duration::from_secs(120),
    pong_max: Duration::from_millis(200),
};

/// A connection over a pipe of `room` bytes; what it read, how it ended, and a client at the other end.
async fn check<F: Future>(
    room: usize,
    client: impl FnOnce(WebSocketStream<DuplexStream>, Rc<Pipe>) -> F,
) -> (Vec<Bytes>, Ended) {
    let (ours, theirs) = duplex(room);
    let pipe = Rc::new(Pipe::new(BOUNDS.queue_bytes_max));
    let kept = Kept::default();
    let connection = Connection::open(
        ours,
        Vec::new(),
        flow(),
        Rc::clone(&pipe),
        kept.clone(),
        BOUNDS,
    )
    .await;
    let theirs = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
    let scene = async {
        let connection = tokio::task::spawn_local(connection.run());
        tokio::time::timeout(Duration::from_secs(20), client(theirs, pipe))
            .await
            .unwrap();
        connection.await.unwrap()
    };
    let ended = LocalSet::new().run_until(scene).await;
    (kept.0.take(), ended)
}

#[tokio::test]
async fn a_message_to_a_full_socket_leaves_when_it_drains() {
    let long = "INVITE ".repeat(500);
    let (_, ended) = check(64, async |mut client, pipe| {
        pipe.push(Bytes::from(long.clone())).unwrap();
        // The first 64 bytes go; the rest waits for the reader, and nothing else is sent that would push it on.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text(long));
    })
    .await;
    assert_eq!(ended, Ended::Closed);
}

/// What it sent before it was doubted says nothing.
#[tokio::test]
async fn a_peer_that_is_doubted_is_asked() {
    let (heard, ended) = check(4_096, async |mut client, pipe| {
        client.send(Message::text("OPTIONS")).await.unwrap();
        pipe.doubt();
        assert_eq!(
            client.next().await.unwrap().unwrap(),
            Message::Ping(Bytes::new())
        );
        client.flush().await.unwrap();
        tokio::time::sleep(BOUNDS.pong_max * 2).await;
        pipe.doubt();
        tokio::time::sleep(BOUNDS.pong_max / 2).await;
        // It is open, and answers no more.
        pipe.push(Bytes::from_static(b"BYE")).unwrap();
        tokio::time::sleep(BOUNDS.pong_max).await;
    })
    .await;
    assert_eq!(
        (heard, ended),
        (vec!["OPTIONS".into(), "heard".into()], Ended::Idle)
    );
}

#[tokio::test]
async fn a_client_may_have_to_be_heard_more_often() {
    let (_, ended) = check(4_096, async |_client, pipe| {
        pipe.expect_within(BOUNDS.pong_max);
        tokio::time::sleep(BOUNDS.pong_max * 2).await;
    })
    .await;
    assert_eq!(ended, Ended::Idle);
}

#[tokio::test]
async fn a_frame_that_cannot_be_read_is_told_of_by_its_code() {
    let text =
        |bytes: Vec<u8>| Message::Frame(Frame::message(bytes, OpCode::Data(Data::Text), true));
    let reserved = Frame::message("", OpCode::Data(Data::Reserved(3)), true);
    for (frame, code) in [
        (
            text(vec![b'x'; BOUNDS.message_bytes_max + 1]),
            CloseCode::Size,
        ),
        (text(vec![0xff]), CloseCode::Invalid),
        (Message::Frame(reserved), CloseCode::Protocol),
    ] {
        let (_, ended) = check(64, async |client, _| {
            let (mut writer, mut reader) = client.split();
            let send = async {
                writer.send(Message::text("OPTIONS")).await.unwrap();
                writer.send(frame).await.unwrap();
            };
            let read = async {
                match reader.next().await {
                    Some(Ok(Message::Close(Some(close)))) => assert_eq!(close.code, code),
                    other => panic!("{other:?}"),
                }
            };
            tokio::join!(send, read);
        })
        .await;
        assert_eq!(ended, Ended::Unreadable(Some(code)));
    }
}

/// It may be in the midst of a message when the peer has enough of us (RFC 6455 §5.5.1).
#[tokio::test]
async fn a_close_is_answered_behind_what_is_being_written() {
    let long = "INVITE ".repeat(500);
    let (_, ended) = check(64, async |mut client, pipe| {
        pipe.push(Bytes::from(long.clone())).unwrap();
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        // It has begun with the first one, and has another.
        pipe.push(Bytes::from_static(b"BYE")).unwrap();
        client.send(Message::Close(None)).await.unwrap();
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text(long));
        // Whoever sends more is to know that it does not arrive.
        assert_eq!(pipe.push(Bytes::from_static(b"BYE")), Err(PipeClosed));
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Close(None));
        assert!(client.next().await.is_none());
    })
    .await;
    assert_eq!(ended, Ended::Closed);
}
