//! Registrations, messages and calls between browsers and a PBX.

use crate::{
    client::{Browser, as_callee, as_caller, fresh, receive_on, request, send_to, uri, via_of},
    scene::Scene,
};

#[tokio::test]
async fn browsers_call_each_other_and_each_can_hang_up() {
    let scene = Scene::start("", "").await;
    let (mut alice, mut bob) = (
        Browser::register(&scene, "alice").await,
        Browser::register(&scene, "bob").await,
    );
    for caller_hangs_up in [true, false] {
        let fields = format!("{}Contact: {}\r\n", alice.from(&bob.aor()), alice.contact());
        alice
            .send(&request("INVITE", &bob.aor(), Browser::VIA, 1, &fields))
            .await;
        let invite = bob.receive().await;
        assert!(
            invite
                .start()
                .starts_with("INVITE sip:bob@bob.invalid;transport=ws"),
            "{}",
            invite.start()
        );
        bob.send(&invite.answer("180 Ringing", "b", "")).await;
        assert_eq!(alice.receive().await.start(), "SIP/2.0 180 Ringing");
        let accept = invite.answer("200 OK", "b", &format!("Contact: {}\r\n", bob.contact()));
        bob.send(&accept).await;
        let accepted = alice.receive().await;
        assert_eq!(accepted.start(), "SIP/2.0 200 OK");
        let bobs = uri(accepted.get("Contact")).to_owned();
        alice
            .send(&request(
                "ACK",
                &bobs,
                Browser::VIA,
                1,
                &as_caller(&accepted),
            ))
            .await;
        assert!(bob.receive().await.start().starts_with("ACK "));
        let alices = uri(invite.get("Contact")).to_owned();
        let (end, other, bye) = match caller_hangs_up {
            true => (
                &mut alice,
                &mut bob,
                request("BYE", &bobs, Browser::VIA, 2, &as_caller(&accepted)),
            ),
            false => (
                &mut bob,
                &mut alice,
                request("BYE", &alices, Browser::VIA, 1, &as_callee(&accept)),
            ),
        };
        end.send(&bye).await;
        let received = other.receive().await;
        assert!(received.start().starts_with("BYE "));
        other.send(&received.answer("200 OK", "", "")).await;
        assert_eq!(end.receive().await.start(), "SIP/2.0 200 OK");
    }
    scene.until_total("hookswitch_calls_open", "", 0).await;
    scene.end().await;
}

#[tokio::test]
async fn a_browser_calls_the_pbx_and_the_pbx_a_browser() {
    let scene = Scene::start("", "").await;
    let mut alice = Browser::register(&scene, "alice").await;
    let (udp, pbx_via) = (scene.address("udp"), via_of(&scene.pbx));
    let contact = format!("Contact: <sip:pbx@{}>\r\n", scene.pbx.local_addr().unwrap());

    let fields = format!(
        "{}Contact: {}\r\n",
        alice.from("sip:9001@elsewhere.example"),
        alice.contact()
    );
    alice
        .send(&request(
            "INVITE",
            "sip:9001@elsewhere.example",
            Browser::VIA,
            1,
            &fields,
        ))
        .await;
    let invite = receive_on(&scene.pbx).await;
    assert!(
        invite
            .start()
            .starts_with("INVITE sip:9001@elsewhere.example")
    );
    let accept = invite.answer("200 OK", "p", &contact);
    send_to(&scene.pbx, udp, &accept).await;
    let accepted = alice.receive().await;
    alice
        .send(&request(
            "ACK",
            uri(accepted.get("Contact")),
            Browser::VIA,
            1,
            &as_caller(&accepted),
        ))
        .await;
    assert!(receive_on(&scene.pbx).await.start().starts_with("ACK "));
    let bye = request(
        "BYE",
        uri(invite.get("Contact")),
        &pbx_via,
        1,
        &as_callee(&accept),
    );
    send_to(&scene.pbx, udp, &bye).await;
    let bye = alice.receive().await;
    alice.send(&bye.answer("200 OK", "", "")).await;
    assert_eq!(receive_on(&scene.pbx).await.start(), "SIP/2.0 200 OK");

    let fields = format!(
        "From: <sip:9001@pbx>;tag=p\r\nTo: <{}>\r\nCall-ID: pbx{}\r\n{contact}",
        alice.aor(),
        fresh()
    );
    send_to(
        &scene.pbx,
        udp,
        &request("INVITE", &alice.aor(), &pbx_via, 1, &fields),
    )
    .await;
    let invite = alice.receive().await;
    alice.send(&invite.answer("486 Busy Here", "a", "")).await;
    assert_eq!(
        receive_on(&scene.pbx).await.start(),
        "SIP/2.0 486 Busy Here"
    );
    assert!(alice.receive().await.start().starts_with("ACK "));
    scene.end().await;
}

#[tokio::test]
async fn a_call_outlives_the_callers_connection() {
    let scene = Scene::start("", "").await;
    let mut alice = Browser::register(&scene, "alice").await;
    let mut bob = Browser::register(&scene, "bob").await;
    let [invite, accept, _] = alice.calls(&mut bob).await;
    drop(alice);
    let mut alice = Browser::register(&scene, "alice").await;
    let bye = request(
        "BYE",
        uri(invite.get("Contact")),
        Browser::VIA,
        1,
        &as_callee(&accept),
    );
    bob.send(&bye).await;
    let bye = alice.receive().await;
    assert!(bye.start().starts_with("BYE "));
    alice.send(&bye.answer("200 OK", "", "")).await;
    assert_eq!(bob.receive().await.start(), "SIP/2.0 200 OK");
    scene.end().await;
}
