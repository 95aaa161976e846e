//! From and To that a policy rewrote: what each end sees of them, and for how long that is remembered.

use super::{calls::DIALOG, policy::go_on, *};
use crate::{message::Method, proxy::io::Hook};

const WEB: Peer = Peer::Web(1);

fn invite() -> Message {
    request(WEB, "INVITE", "sip:100@pbx.test.org", "i", "", "")
}

/// A policy that names the caller anew in a dialog leaves the called number as the other end knows it.
#[test]
fn an_edit_of_one_field_leaves_the_other_as_it_was_rewritten() {
    let mut net = net();
    net.hooks = Hooks::default().with(Hook::Request);
    let rewrite = |net: &mut Net, name, value: &str| {
        let ask = net.ask(Hook::Request);
        net.verdict(
            &ask,
            go_on(&ask, |next| next.message.set(name, value).unwrap()),
        );
        net.next_for(Peer::Pbx)
    };
    net.receive(WEB, invite());
    let sent = rewrite(&mut net, HeaderName::To, "<sip:+1@pstn.test>");
    net.receive(Peer::Pbx, response(&sent, 200, "b", "", ""));
    let there = format!("{DIALOG}{}", routes(&net.next_for(WEB)));
    net.receive(WEB, request(WEB, "INFO", "sip:100@h", "n", &there, ""));
    let info = rewrite(&mut net, HeaderName::From, "<sip:+49@pstn.test>;tag=a");
    assert_eq!(field(&info, HeaderName::From), "<sip:+49@pstn.test>;tag=a");
    assert_eq!(field(&info, HeaderName::To), "<sip:+1@pstn.test>;tag=b");
    net.receive(Peer::Pbx, response(&info, 200, "b", "", ""));
    let ok = net.next_for(WEB);
    assert_eq!(field(&ok, HeaderName::From), "<sip:alice@test>;tag=a");
    assert_eq!(field(&ok, HeaderName::To), "<sip:bob@test>;tag=b");
}

/// What was rewritten is remembered as long as the subscription lasts, and not at all for one that was refused.
#[test]
fn the_record_of_a_subscription_goes_with_it() {
    let subscribe = |net: &mut Net| {
        net.hooks = Hooks::default().with(Hook::Request);
        net.receive(WEB, request(WEB, "SUBSCRIBE", "sip:100@h", "s", "", ""));
        let ask = net.ask(Hook::Request);
        net.verdict(
            &ask,
            go_on(&ask, |next| {
                let from = "<sip:anonymous@test>;tag=a";
                next.message.set(HeaderName::From, from).unwrap();
            }),
        );
        net.hooks = Hooks::default();
        assert_eq!(net.proxy.gauges().calls, 1);
        net.next_for(Peer::Pbx)
    };
    let mut net = net();
    let refused = subscribe(&mut net);
    net.receive(Peer::Pbx, response(&refused, 489, "b", "", ""));
    assert_eq!(net.proxy.gauges().calls, 0);

    let mut net = super::net();
    let accepted = subscribe(&mut net);
    net.receive(Peer::Pbx, response(&accepted, 200, "b", "", ""));
    let notify = |net: &mut Net, branch: &str, state: &str| {
        let dialog = "From: <sip:bob@test>;tag=b\nTo: <sip:anonymous@test>;tag=a\n";
        let fields = format!("{dialog}{}Subscription-State: {state}\n", routes(&accepted));
        let notify = request(Peer::Pbx, "NOTIFY", "sip:a@x.invalid", branch, &fields, "");
        net.receive(Peer::Pbx, notify);
        let (_, sent) = net.sent.pop().unwrap();
        assert_eq!(field(&sent, HeaderName::To), "<sip:alice@test>;tag=a");
        net.receive(WEB, response(&sent, 200, "a", "", ""));
    };
    notify(&mut net, "n1", "active;expires=60");
    assert_eq!(net.proxy.gauges().calls, 1);
    notify(&mut net, "n2", "Terminated;reason=timeout");
    assert_eq!(net.proxy.gauges().calls, 0);

    // Whoever does not say goodbye is forgotten long before a call would be.
    let mut net = super::net();
    let accepted = subscribe(&mut net);
    net.receive(Peer::Pbx, response(&accepted, 200, "b", "", ""));
    net.pass_ms(2 * 3_600_000);
    assert_eq!(net.proxy.gauges().calls, 0);
}

#[test]
fn the_client_sees_its_own_from_and_to_again() {
    let mut net = net();
    net.hooks = Hooks::default().with(Hook::Request);
    net.receive(WEB, invite());
    let ask = net.ask(Hook::Request);
    net.verdict(
        &ask,
        go_on(&ask, |next| {
            next.message
                .set(HeaderName::From, "\"A\" <sip:+49@pstn.test>;tag=a")
                .unwrap();
            next.message
                .set(HeaderName::To, "<sip:+1@pstn.test>")
                .unwrap();
        }),
    );
    let sent = net.next_for(Peer::Pbx);
    assert_eq!(
        field(&sent, HeaderName::From),
        "\"A\" <sip:+49@pstn.test>;tag=a"
    );
    net.receive(Peer::Pbx, response(&sent, 200, "b", "", ""));
    let ok = net.next_for(WEB);
    assert_eq!(field(&ok, HeaderName::From), "<sip:alice@test>;tag=a");
    assert_eq!(field(&ok, HeaderName::To), "<sip:bob@test>;tag=b");
    net.hooks = Hooks::default();
    let there = format!("{DIALOG}{}", routes(&ok));
    for method in ["ACK", "INFO"] {
        net.receive(
            WEB,
            request(WEB, method, "sip:100@192.0.2.10", method, &there, ""),
        );
        let sent = net.next_for(Peer::Pbx);
        assert_eq!(
            field(&sent, HeaderName::From),
            "\"A\" <sip:+49@pstn.test>;tag=a",
            "{method}"
        );
        assert_eq!(
            field(&sent, HeaderName::To),
            "<sip:+1@pstn.test>;tag=b",
            "{method}"
        );
        if sent.method() == Some(Method::Info) {
            net.receive(Peer::Pbx, response(&sent, 200, "b", "", ""));
            assert_eq!(
                field(&net.next_for(WEB), HeaderName::To),
                "<sip:bob@test>;tag=b"
            );
        }
    }
    let back = format!(
        "From: <sip:+1@pstn.test>;tag=b\nTo: \"A\" <sip:+49@pstn.test>;tag=a\n{}",
        routes(&sent)
    );
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "BYE", "sip:a@x.invalid", "y", &back, ""),
    );
    let bye = net.next_for(WEB);
    assert_eq!(field(&bye, HeaderName::From), "<sip:bob@test>;tag=b");
    assert_eq!(field(&bye, HeaderName::To), "<sip:alice@test>;tag=a");
    net.receive(WEB, response(&bye, 200, "a", "", ""));
    let ok = net.next_for(Peer::Pbx);
    assert_eq!(field(&ok, HeaderName::From), "<sip:+1@pstn.test>;tag=b");
    assert_eq!(net.proxy.gauges().calls, 0, "the BYE was the end of it");
    net.assert_empty();
}
