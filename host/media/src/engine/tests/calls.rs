//! Whole calls: descriptions through the seam, and packets in the clear at one end and encrypted at the other.

use super::world::*;
use crate::{
    Answer,
    Direction::{ToCallee, ToCaller},
    Leg, Role,
    engine::Input,
    sdp::Protocol,
    sockets::SocketId,
};

pub(super) const PHONE: &str = "192.0.2.30:24116";
pub(super) const PCMA: &str =
    "m=audio PORT RTP/AVP 8 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\na=ptime:20\n";

/// The browser has called, the phone has answered, and they can hear each other. Gives the port of ours that the phone talks to.
pub(super) fn connected(world: &mut World) -> u16 {
    let offer = world.by_browser(CHROMIUM);
    let told = world.tell("0", ToCallee, Role::Offer, &offer);
    let answer = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    world.handle(Input::Established {
        branch: world.branch("0", "a"),
    });
    world.browser_reads(&answer);
    world.run_ms(2000);
    assert!(world.browser.has_keys());
    let port = port(&told, 0);
    assert_hear(world, port);
    port
}

/// Both hear each other, in PCMA.
pub(super) fn assert_hear(world: &mut World, port: u16) {
    let (to, heard) = world
        .browser_sends(8, b"browser")
        .expect("the phone hears the browser");
    let heard = (heard.payload_type, heard.payload.as_slice());
    assert_eq!(
        (to.to_string().as_str(), heard),
        (PHONE, (8, &b"browser"[..]))
    );
    let heard = world
        .phone_sends(PHONE, port, 8, b"phone")
        .expect("the browser hears the phone");
    assert_eq!(
        (heard.payload_type, heard.payload.as_slice()),
        (8, &b"phone"[..])
    );
}

#[test]
fn a_browser_calls_a_phone() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    // DTMF goes by the number that either end has for it.
    let (_, heard) = world.browser_sends(126, &[5, 10, 0, 160]).unwrap();
    assert_eq!(
        (heard.payload_type, heard.payload),
        (101, vec![5, 10, 0, 160])
    );
    let heard = world
        .phone_sends(PHONE, port, 101, &[6, 10, 0, 160])
        .unwrap();
    assert_eq!(heard.payload_type, 126);
    // What was not agreed on is not passed on.
    assert_eq!(world.browser_sends(111, b"opus"), None);
    assert_eq!(world.phone_sends(PHONE, port, 0, b"pcmu"), None);
}

#[test]
fn a_phone_calls_a_browser() {
    let mut world = World::sip_calls();
    let offer = phone(
        PHONE,
        1,
        "m=audio PORT RTP/AVP 8 0 101\na=rtpmap:101 telephone-event/8000\n",
    );
    let told = world.tell("0", ToCallee, Role::Offer, &offer);
    world.browser_reads(&told);
    // The browser checks as soon as it has answered; the answer travels.
    world.run_ms(100);
    assert!(!world.browser.has_keys() || world.browser.answered > 0);
    let answer = answer_of_browser(&world, &told);
    let told = world.tell("0 b", ToCaller, Role::Answer, &answer);
    world.run_ms(2000);
    assert!(world.browser.has_keys());
    let port = port(&told, 0);
    assert_hear(&mut world, port);
}

/// The offer, mirrored: what a browser would answer, active in DTLS.
pub(super) fn answer_of_browser(world: &World, offer: &str) -> String {
    let dropped = ["a=ice-lite", "a=candidate", "a=end-of-candidates"];
    let lines = offer
        .lines()
        .filter(|line| !dropped.iter().any(|dropped| line.starts_with(dropped)));
    let lines = lines.map(|line| line.replace("setup:actpass", "setup:active") + "\n");
    world.by_browser(&lines.collect::<String>())
}

#[test]
fn hold_and_resume_from_the_browser() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    let hold = world
        .by_browser(CHROMIUM)
        .replace("a=sendrecv", "a=sendonly")
        .replace(" 2 IN", " 3 IN");
    let told = world.tell("0 a", ToCallee, Role::Offer, &hold);
    assert!(
        told.contains("a=sendonly") && told.contains(" 2 IN IP4"),
        "{told}"
    );
    let answer = phone(PHONE, 2, &format!("{PCMA}a=recvonly\n"));
    let told = world.tell("0 a", ToCaller, Role::Answer, &answer);
    assert!(told.contains("a=recvonly"), "{told}");
    assert!(world.browser_sends(8, b"music").is_some());
    assert_eq!(world.phone_sends(PHONE, port, 8, b"unheard"), None);
    let resume = world.by_browser(CHROMIUM).replace(" 2 IN", " 4 IN");
    let told = world.tell("0 a", ToCallee, Role::Offer, &resume);
    assert!(
        told.contains("a=sendrecv") && told.contains(" 3 IN IP4"),
        "{told}"
    );
    world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 3, PCMA));
    assert_hear(&mut world, port);
}

#[test]
fn hold_and_resume_from_the_phone() {
    for hold in ["a=sendonly\n", "a=inactive\n", "c=IN IP4 0.0.0.0\n"] {
        let mut world = World::web_calls();
        let port = connected(&mut world);
        let offer = phone(
            PHONE,
            2,
            &PCMA.replace("a=rtpmap", &format!("{hold}a=rtpmap")),
        );
        let told = world.tell("0 a", ToCaller, Role::Offer, &offer);
        assert!(
            told.contains("a=inactive") == hold.contains("inactive"),
            "{told}"
        );
        assert!(
            told.contains("a=sendonly") != hold.contains("inactive"),
            "{told}"
        );
        let answer = answer_of_browser(&world, &told).replace("a=sendonly", "a=recvonly");
        let told = world.tell("0 a", ToCallee, Role::Answer, &answer);
        assert!(
            told.contains("a=recvonly") != hold.contains("inactive"),
            "{told}"
        );
        assert_eq!(world.browser_sends(8, b"unheard"), None);
        let music = world.phone_sends(PHONE, port, 8, b"music");
        assert_eq!(music.is_some(), !hold.contains("inactive"));
        let told = world.tell("0 a", ToCaller, Role::Offer, &phone(PHONE, 3, PCMA));
        let answer = answer_of_browser(&world, &told);
        world.tell("0 a", ToCallee, Role::Answer, &answer);
        assert_hear(&mut world, port);
    }
}

#[test]
fn an_ice_restart_does_not_reach_the_phone() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM);
    let first = world.tell("0", ToCallee, Role::Offer, &offer);
    let answer = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    world.browser_reads(&answer);
    world.run_ms(2000);
    // Another network, other credentials, the same certificate.
    world.browser.ours = crate::ice::IceCredentials::from_entropy([3; 32]);
    let offer = world.by_browser(CHROMIUM).replace(" 2 IN", " 3 IN");
    assert_eq!(world.tell("0 a", ToCallee, Role::Offer, &offer), first);
    let again = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    let ufrag = |sdp: &str| {
        sdp.lines()
            .find(|line| line.starts_with("a=ice-ufrag"))
            .unwrap()
            .to_owned()
    };
    assert_ne!(ufrag(&answer), ufrag(&again));
    assert_hear(&mut world, port(&first, 0));
    world.browser_at = "198.51.100.77:6000".parse().unwrap();
    world.browser_reads(&again);
    world.run_ms(1000);
    assert_hear(&mut world, port(&first, 0));
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut world = World::sip_calls();
    let offer = world.by_browser(CHROMIUM);
    let told = world.tell("0 b", ToCaller, Role::Offer, &offer);
    let answer = world.tell("0 b", ToCallee, Role::Answer, &phone(PHONE, 1, PCMA));
    world.browser_reads(&answer);
    world.run_ms(2000);
    assert_hear(&mut world, port(&told, 0));
}

#[test]
fn a_browser_gets_a_late_offer() {
    let mut world = World::web_calls();
    let offer = phone(PHONE, 1, PCMA);
    let told = world.tell("0 a", ToCaller, Role::Offer, &offer);
    world.browser_reads(&told);
    let answer = answer_of_browser(&world, &told);
    let told = world.tell("0 a", ToCallee, Role::Answer, &answer);
    world.run_ms(2000);
    assert_hear(&mut world, port(&told, 0));
}

#[test]
fn early_media_and_then_the_answer() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM);
    let port = port(&world.tell("0", ToCallee, Role::Offer, &offer), 0);
    let early = world.tell(
        "0 a",
        ToCaller,
        Role::Answer,
        &phone("192.0.2.40:5000", 1, PCMA),
    );
    world.browser_reads(&early);
    world.run_ms(2000);
    let ringing = world
        .phone_sends("192.0.2.40:5000", port, 8, b"ringing")
        .unwrap();
    assert_eq!(ringing.payload, b"ringing");
    // The 200 repeats it, from where the phone itself is.
    let answer = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 2, PCMA));
    assert_eq!(early, answer);
    world.handle(Input::Established {
        branch: world.branch("0", "a"),
    });
    assert_hear(&mut world, port);
}

#[test]
fn all_who_answer_are_one_to_the_browser() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM);
    let first = port(&world.tell("0", ToCallee, Role::Offer, &offer), 0);
    let second = port(&world.tell("1", ToCallee, Role::Offer, &offer), 0);
    assert_ne!(first, second);
    let a = world.tell(
        "0 a",
        ToCaller,
        Role::Answer,
        &phone("192.0.2.40:5000", 1, PCMA),
    );
    world.browser_reads(&a);
    world.run_ms(2000);
    assert!(
        world
            .phone_sends("192.0.2.40:5000", first, 8, b"a")
            .is_some()
    );
    let all = PCMA.replace("AVP 8", "AVP 0 8");
    let b = world.tell(
        "0 b",
        ToCaller,
        Role::Answer,
        &phone("192.0.2.41:5000", 1, &all),
    );
    assert!(
        world
            .phone_sends("192.0.2.41:5000", first, 8, b"b")
            .is_some()
    );
    let c = world.tell("1 c", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    assert_eq!((&a, &a), (&b, &c));
    assert_eq!(world.phone_sends("192.0.2.41:5000", first, 8, b"b"), None);
    assert_hear(&mut world, second);
    assert_eq!(world.ports.open.len(), 2);
    world.handle(Input::Established {
        branch: world.branch("1", "c"),
    });
    assert_eq!(
        world.ports.open.iter().copied().collect::<Vec<_>>(),
        [second]
    );
    assert_hear(&mut world, second);
}

#[test]
fn who_wins_is_heard_although_another_spoke_last() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM);
    let port = port(&world.tell("0", ToCallee, Role::Offer, &offer), 0);
    let answer = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
    world.tell(
        "0 b",
        ToCaller,
        Role::Answer,
        &phone("192.0.2.41:5000", 1, PCMA),
    );
    world.browser_reads(&answer);
    world.run_ms(2000);
    world.handle(Input::Established {
        branch: world.branch("0", "a"),
    });
    assert_hear(&mut world, port);
}

#[test]
fn a_call_ends_with_the_dialog_that_has_won() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM);
    let port = port(&world.tell("0", ToCallee, Role::Offer, &offer), 0);
    for to_tag in ["a", "b"] {
        let name = format!("0 {to_tag}");
        let answer = world.tell(&name, ToCaller, Role::Answer, &phone(PHONE, 1, PCMA));
        world.browser_reads(&answer);
    }
    world.run_ms(2000);
    world.handle(Input::Established {
        branch: world.branch("0", "a"),
    });
    for (to_tag, lives) in [("b", true), ("a", false)] {
        world.handle(Input::DialogOver {
            branch: world.branch("0", to_tag),
        });
        assert_eq!(world.ports.open.contains(&port), lives, "{to_tag}");
    }
}

#[test]
fn sdes_both_ways() {
    let savp = |config: &mut crate::config::Config| config.plain.protocol = Protocol::Savp;
    let mut world = World::new(Leg::Web, Leg::Sip(None), savp);
    let offer = world.by_browser(CHROMIUM);
    let told = world.tell("0", ToCallee, Role::Offer, &offer);
    assert!(
        told.contains("RTP/SAVP ") && told.matches("a=crypto:").count() == 2,
        "{told}"
    );
    let sdes = PCMA.replace("AVP", "SAVP");
    let bare = phone(PHONE, 1, &sdes);
    assert!(matches!(
        world.ask("0 a", ToCaller, Role::Answer, &bare),
        Answer::Refuse { status: 488, .. }
    ));
    let key =
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:zvatGLuRVwwOKPXTlGPnv6p1b3cALbFpdSErX6Vu\n";
    let answer = world.tell(
        "0 a",
        ToCaller,
        Role::Answer,
        &phone(PHONE, 1, &(sdes + key)),
    );
    world.browser_reads(&answer);
    world.run_ms(2000);
    let (_, heard) = world.browser_sends(8, b"secret").unwrap();
    assert_ne!(&heard.payload[..6], b"secret");
    assert_eq!(heard.payload.len(), 6 + 10);
}

#[test]
fn rtcp_speaks_of_the_sources_that_the_other_end_knows() {
    let mut world = World::web_calls();
    let port = connected(&mut world);
    let ours = world.last_ssrc.expect("the browser heard a source");
    // A sender report of the phone's source, from the port next to that of RTP (RFC 3550 §6.4.1).
    let mut report = vec![0x80, 200, 0, 6];
    report.extend(24_116_u32.to_be_bytes());
    report.extend([0; 20]);
    let phone = "192.0.2.30:24117".parse().unwrap();
    let socket = SocketId(u32::from(port) + 1);
    let (_, _, bytes) = world.arrive(socket, phone, &report).expect("it is relayed");
    let heard = world
        .browser
        .receive(world.now, &bytes)
        .expect("it can be decrypted");
    assert_eq!((heard[1], &heard[4..8]), (200, &ours.to_be_bytes()[..]));
    let stranger = "192.0.2.66:24117".parse().unwrap();
    assert!(world.arrive(socket, stranger, &report).is_none());
}

#[test]
fn what_is_due_for_a_leg_leaves_although_another_branch_is_over() {
    let mut world = World::sip_calls();
    world.tell("0", ToCallee, Role::Offer, &phone(PHONE, 1, PCMA));
    world.handle(Input::BranchOver {
        branch: world.branch("0", ""),
    });
    let told = world.tell("1", ToCallee, Role::Offer, &phone(PHONE, 1, PCMA));
    let answer = answer_of_browser(&world, &told).replace("setup:active", "setup:passive");
    world.tell("1 b", ToCaller, Role::Answer, &answer);
    world.browser.setup = crate::dtls::Setup::Passive;
    world.lost = 1;
    world.browser_reads(&told);
    // Our ClientHello is sent again long before the next check comes.
    world.run_ms(1500);
    assert!(world.lost == 0 && world.browser.has_keys());
}

/// Descriptions in which bytes were changed, cut out and repeated, as offers and as answers, from either side.
#[test]
fn no_description_brings_an_engine_down() {
    let mut world = World::web_calls();
    let samples = [world.by_browser(CHROMIUM_VIDEO), phone(PHONE, 1, PCMA)];
    let (mut state, mut told) = (1_u32, 0);
    let mut draw = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(state >> 8).unwrap() % below
    };
    for _ in 0..4000 {
        let mut bytes = samples[draw(2)].clone().into_bytes();
        for _ in 0..draw(4) {
            let (at, length) = (draw(bytes.len()), draw(24));
            let end = bytes.len().min(at + length);
            match draw(3) {
                0 => bytes[at] = u8::try_from(draw(128)).unwrap(),
                1 => drop(bytes.drain(at..end)),
                _ => bytes.extend_from_within(at..end),
            }
        }
        let role = [Role::Offer, Role::Answer][draw(2)];
        let direction = [ToCallee, ToCaller][draw(2)];
        let sdp = String::from_utf8(bytes).unwrap();
        if let Answer::Replace(sdp) = world.ask(["0", "0 a", "1 b"][draw(3)], direction, role, &sdp)
        {
            crate::sdp::Session::parse(&sdp).expect("what we tell can be read");
            told += 1;
        }
    }
    assert!(told > 400, "{told}");
    world.handle(Input::End {
        call: "call".into(),
    });
    assert!(world.ports.open.is_empty());
}
