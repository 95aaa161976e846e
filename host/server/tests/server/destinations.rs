//! The built-in test destinations, through the proxy and the media engine.

use std::time::Duration;

use serde_json::json;

use crate::{
    client::{as_caller, receive_on, request, send_to, uri, via_of},
    media::with_body,
    relay::{Rtp, port},
    scene::Scene,
};

#[tokio::test]
async fn who_calls_echo_hears_itself_through_us() {
    let scene = Scene::start(
        "domains = [\"localhost\"]",
        "[test_destinations]\nenabled = true",
    )
    .await;
    let (rtp, udp, via) = (Rtp::new(), scene.address("udp"), via_of(&scene.pbx));
    let to = "sip:echo@localhost";
    let fields = format!(
        "From: <sip:100@pbx>;tag=p\r\nTo: <{to}>\r\nCall-ID: echo\r\nContact: <sip:100@{}>\r\n",
        scene.pbx.local_addr().unwrap()
    );
    let invite = with_body(&request("INVITE", to, &via, 1, &fields), &rtp.sdp());
    send_to(&scene.pbx, udp, &invite).await;
    let mut accepted = receive_on(&scene.pbx).await;
    while accepted.start().starts_with("SIP/2.0 1") {
        accepted = receive_on(&scene.pbx).await;
    }
    assert_eq!(accepted.start(), "SIP/2.0 200 OK");
    rtp.sends(port(&accepted));
    rtp.hears();
    scene
        .until_total("hookswitch_media_relayed_total", "", 2)
        .await;
    let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let calls = json(scene.admin("/api/calls").await.1);
    assert_eq!(calls["total"], 1);
    let call = &calls["calls"][0];
    assert_eq!(
        (&call["stage"], &call["legs"][1]["end"]),
        (&json!("answered"), &json!("sip"))
    );
    let sent = &call["legs"][0]["sent"][0];
    assert_eq!(
        (&sent["kind"], &sent["packets"]),
        (&json!("audio"), &json!(1))
    );
    let (status, named) = scene.admin("/api/calls/ech%6f").await;
    assert_eq!(
        (status.as_str(), json(named)["calls"][0]["call"].clone()),
        ("HTTP/1.1 200 OK", call["call"].clone())
    );
    for path in ["/api/calls/ech", "/api/calls/"] {
        assert_eq!(
            scene.admin(path).await.0,
            "HTTP/1.1 404 Not Found",
            "{path}"
        );
    }
    let (echo, fields) = (uri(accepted.get("Contact")), as_caller(&accepted));
    for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
        let request = request(method, echo, &via, cseq, &fields);
        send_to(&scene.pbx, udp, &request).await;
    }
    assert_eq!(receive_on(&scene.pbx).await.start(), "SIP/2.0 200 OK");
    while scene
        .total("hookswitch_media_calls_over_total", "how=\"ended\"")
        .await
        == 0
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let sent = scene.total("hookswitch_media_sent_packets_total", "sender=\"sip\"");
    assert_eq!(sent.await, 2);
    scene.end().await;
}
