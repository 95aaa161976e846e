//! The built-in test destinations, through the proxy and the media engine.

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
    assert_eq!(scene.total("hookswitch_media_relayed_total", "").await, 2);
    let (echo, fields) = (uri(accepted.get("Contact")), as_caller(&accepted));
    for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
        let request = request(method, echo, &via, cseq, &fields);
        send_to(&scene.pbx, udp, &request).await;
    }
    assert_eq!(receive_on(&scene.pbx).await.start(), "SIP/2.0 200 OK");
    scene.end().await;
}
