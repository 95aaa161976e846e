//! What is told of who somebody is, and what is not believed (RFC 3325).

use super::{
    calls::{DIALOG, REVERSE},
    *,
};

const WEB: Peer = Peer::Web(1);
const CLAIMS: &str = "P-Asserted-Identity: <sip:boss@test>\nP-Preferred-Identity: <sip:boss@test>\n\
    remote-party-id: <sip:boss@test>\n";

fn believed(message: &Message) -> bool {
    let names = [
        "P-Asserted-Identity",
        "P-Preferred-Identity",
        "Remote-Party-ID",
    ];
    let said = names.map(|name| message.contains(name));
    assert!(said == [true; 3] || said == [false; 3], "{said:?}");
    said[0]
}

#[test]
fn upstreams_are_believed_and_nobody_else() {
    let mut net = net();
    net.register(WEB, "bob", "r", "<sip:bob@x.invalid;transport=ws>");
    for (from, method, to, believes) in [
        (WEB, "MESSAGE", Peer::Pbx, false),
        (Peer::Stranger, "MESSAGE", WEB, false),
        (Peer::Pbx, "MESSAGE", WEB, true),
    ] {
        let uri = match to {
            Peer::Pbx => "sip:100@pbx.test.org",
            Peer::Web(_) | Peer::Pbx2 | Peer::Stranger => "sip:bob@test",
        };
        net.receive(from, request(from, method, uri, "m", CLAIMS, ""));
        let sent = net.next_for(to);
        assert_eq!(believed(&sent), believes, "{from:?}");
        net.receive(to, response(&sent, 200, "b", CLAIMS, ""));
        let answer = net.next_for(from);
        assert_eq!(believed(&answer), to == Peer::Pbx, "{from:?}");
    }
    net.assert_empty();
}

#[test]
fn nobody_outside_is_believed_in_a_dialog_either() {
    let mut net = net();
    net.receive(
        WEB,
        request(WEB, "INVITE", "sip:100@pbx.test.org", "i", "", ""),
    );
    let invite = net.next_for(Peer::Pbx);
    net.receive(Peer::Pbx, response(&invite, 200, "b", "", ""));
    let there = format!("{DIALOG}{}{CLAIMS}", routes(&net.next_for(WEB)));
    let own = "Authorization: Digest username=\"a\"\n";
    let tokens = "Authorization: Bearer a.b.c\nProxy-Authorization: bearer\n d.e.f\n\
        X-Token: eyJh.eyJi.c\nX-Login: Bearer opaque\nX-Wide:ewogICJh.ewogICJi.c\nX-Other: a.b.c\n";
    let fields = format!("{there}{own}{tokens}");
    net.receive(WEB, request(WEB, "ACK", "sip:100@h", "k", &fields, ""));
    let ack = net.next_for(Peer::Pbx);
    assert!(!believed(&ack));
    assert_eq!(
        field(&ack, HeaderName::Authorization),
        "Digest username=\"a\""
    );
    assert_eq!(ack.count(HeaderName::Authorization), 1);
    assert!(!ack.contains(HeaderName::ProxyAuthorization));
    let left = ["X-Token", "X-Login", "X-Wide", "X-Other"].map(|name| ack.contains(name));
    assert_eq!(left, [false, false, false, true]);
    net.receive(WEB, request(WEB, "INFO", "sip:100@h", "n", &there, ""));
    let info = net.next_for(Peer::Pbx);
    assert!(!believed(&info));
    net.receive(Peer::Pbx, response(&info, 200, "b", CLAIMS, ""));
    assert!(believed(&net.next_for(WEB)));
    let back = format!("{REVERSE}{}{CLAIMS}", routes(&invite));
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "BYE", "sip:a@x.invalid", "y", &back, ""),
    );
    let bye = net.next_for(WEB);
    assert!(believed(&bye));
    let digest = "Authorization: Digest ours\nPrivacy: id\n";
    let back = format!("{REVERSE}{}{CLAIMS}{digest}", routes(&invite));
    net.receive(
        Peer::Pbx,
        request(Peer::Pbx, "ACK", "sip:a@x.invalid", "z", &back, ""),
    );
    let ack = net.next_for(WEB);
    assert!(!ack.contains(HeaderName::Authorization) && !believed(&ack));
    net.receive(WEB, response(&bye, 486, "a", CLAIMS, ""));
    assert!(!believed(&net.next_for(Peer::Pbx)));
    net.assert_empty();
}

/// RFC 3325 §7: `id` hides the identity from those outside, and from nobody inside; so does the older field's own parameter.
#[test]
fn who_wants_to_be_hidden_is_hidden_outside() {
    for (privacy, is_told) in [
        ("", true),
        ("Privacy: none\n", true),
        ("Privacy: header;user\n", true),
        ("Privacy: id\n", false),
        ("Privacy: user; ID;critical\n", false),
        ("remote-party-id: \"A\" <sip:+49@test>;privacy=off\n", true),
        (
            "Remote-Party-ID: <sip:+49@test>;party=calling;Privacy=full\n",
            false,
        ),
        ("Remote-Party-ID: <sip:+49@test>;privacy=uri\n", false),
        (
            "Remote-Party-ID: <sip:+49@test>;privacy=off, <sip:+48@test>;privacy=name\n",
            false,
        ),
        ("Remote-Party-ID: <sip:+49@test\n", false),
    ] {
        let mut net = net();
        net.register(WEB, "bob", "r", "<sip:bob@x.invalid;transport=ws>");
        let fields = format!("{CLAIMS}{privacy}");
        let call = request(Peer::Pbx, "MESSAGE", "sip:bob@test", "m", &fields, "");
        net.receive(Peer::Pbx, call);
        assert_eq!(believed(&net.next_for(WEB)), is_told, "{privacy}");

        net.receive(
            WEB,
            request(WEB, "MESSAGE", "sip:100@pbx.test.org", "w", "", ""),
        );
        let sent = net.next_for(Peer::Pbx);
        net.receive(Peer::Pbx, response(&sent, 200, "b", &fields, ""));
        assert_eq!(believed(&net.next_for(WEB)), is_told, "{privacy}");
    }
}
