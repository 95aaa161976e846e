//! Four workers, and one PBX on one socket: the place of a message is not the place of its work.

use std::collections::BTreeMap;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::{
    client::{Browser, Sip, fresh, receive_on, request, send_to, via_of},
    scene::Scene,
};

const BROWSERS: usize = 8;
const MESSAGES: usize = 400;

#[tokio::test]
async fn one_pbx_on_one_socket_keeps_every_worker_busy() {
    let scene = Scene::start("workers = 4", "").await;
    let mut browsers = Vec::new();
    for number in 0..BROWSERS {
        let mut browser = Browser::register(&scene, &format!("user{number}")).await;
        browsers.push(tokio::spawn(async move {
            while let Some(Ok(message)) = browser.socket.next().await {
                if let Message::Text(text) = message {
                    let answer = Sip(text.to_string()).answer("200 OK", "b", "");
                    browser.socket.send(Message::text(answer.0)).await.unwrap();
                }
            }
        }));
    }
    let via = via_of(&scene.pbx);
    for number in 0..MESSAGES {
        let to = format!("sip:user{}@localhost", number % BROWSERS);
        let fields = format!(
            "From: <sip:pbx@pbx>;tag=p\r\nTo: <{to}>\r\nCall-ID: w{}@pbx\r\n",
            fresh()
        );
        send_to(
            &scene.pbx,
            scene.address("udp"),
            &request("MESSAGE", &to, &via, 1, &fields),
        )
        .await;
        assert_eq!(receive_on(&scene.pbx).await.start(), "SIP/2.0 200 OK");
    }
    let mut by_worker: BTreeMap<char, u64> = BTreeMap::new();
    for (labels, ended) in scene
        .metric("hookswitch_transactions_ended_total", "method=\"MESSAGE\"")
        .await
    {
        let worker = labels
            .split("worker=\"")
            .nth(1)
            .and_then(|rest| rest.chars().next())
            .unwrap();
        *by_worker.entry(worker).or_default() += ended;
    }
    assert_eq!(by_worker.values().sum::<u64>(), MESSAGES as u64);
    assert_eq!(by_worker.len(), 4);
    assert!(
        by_worker
            .values()
            .all(|ended| *ended * 100 >= MESSAGES as u64 * 15),
        "{by_worker:?}"
    );
    assert!(
        scene
            .total("hookswitch_messages_placed_elsewhere_total", "")
            .await
            > 0
    );
    browsers.iter().for_each(tokio::task::JoinHandle::abort);
    scene.end().await;
}

#[tokio::test]
async fn responses_of_the_pbx_come_to_the_worker_that_waits_for_them() {
    let scene = Scene::start("workers = 4", "").await;
    let uri = "sip:9001@elsewhere.example";
    for number in 0..4 * BROWSERS {
        let mut browser = Browser::connect(&scene, &format!("user{number}")).await;
        let fields = browser.from(uri);
        let message = request("MESSAGE", uri, Browser::VIA, 1, &fields);
        browser.send(&message).await;
        let forwarded = receive_on(&scene.pbx).await;
        let answer = forwarded.answer("200 OK", "p", "");
        send_to(&scene.pbx, scene.address("udp"), &answer).await;
        assert_eq!(browser.receive().await.start(), "SIP/2.0 200 OK");
    }
    let elsewhere = scene.total("hookswitch_messages_placed_elsewhere_total", "");
    assert_eq!(elsewhere.await, 0);
    scene.end().await;
}
