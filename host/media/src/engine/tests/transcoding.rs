//! A browser that has only Opus, and phones that have not: who hears what, and when nobody stands between them.

use super::calls::{PCMA, PHONE, answer_of_browser, assert_hear, connected};
use super::world::*;
use crate::{
    Answer,
    Direction::{ToCallee, ToCaller},
    Leg, Role,
    codec::{Decoder, Encoder, Encoding, FRAME_MS, PAYLOAD_BYTES_MAX, Rate},
    config::Config,
    engine::Input,
    sockets::SocketId,
    testing::share_of,
};

const FRAMES: usize = 200;
/// Of them, those that come before the codecs and the losses are in order do not count.
const FIRST: usize = 20;

/// Sends a tone.
struct Speaker {
    payload_type: u8,
    encoder: Encoder,
    rate: Rate,
    hz: f64,
    step: u32,
    sent: u32,
}

impl Speaker {
    fn new(payload_type: u8, encoding: Encoding, hz: f64) -> Self {
        let rate = Encoding::rate_between(std::iter::empty(), encoding);
        Self {
            payload_type,
            encoder: Encoder::new(encoding, rate).unwrap(),
            rate,
            hz,
            step: encoding.clock_hz() / 50,
            sent: 0,
        }
    }

    fn packet(&mut self) -> Vec<u8> {
        let samples = self.rate.samples(FRAME_MS);
        let step = std::f64::consts::TAU * self.hz / f64::from(self.rate.hz());
        let begin = self.sent as usize * samples;
        let frame = (begin..begin + samples).map(|at| ((at as f64 * step).sin() * 9000.0) as i16);
        let mut payload = [0; PAYLOAD_BYTES_MAX];
        let len = self
            .encoder
            .encode(&frame.collect::<Vec<_>>(), &mut payload);
        self.sent += 1;
        let mut bytes = vec![0x80, self.payload_type];
        bytes.extend((65_500 + self.sent).to_be_bytes()[2..].iter());
        bytes.extend(
            (u32::MAX - 20_000)
                .wrapping_add(self.sent * self.step)
                .to_be_bytes(),
        );
        bytes.extend(self.step.to_be_bytes());
        bytes.extend(&payload[..len]);
        bytes
    }
}

/// Hears packets without a gap in their numbers.
struct Hearer {
    payload_type: u8,
    decoder: Decoder,
    rate: Rate,
    step: u32,
    next: Option<(u16, u32)>,
    sound: Vec<i16>,
}

impl Hearer {
    fn new(payload_type: u8, encoding: Encoding) -> Self {
        let rate = Encoding::rate_between(std::iter::empty(), encoding);
        Self {
            payload_type,
            decoder: Decoder::new(encoding, rate).unwrap(),
            rate,
            step: encoding.clock_hz() / 50,
            next: None,
            sound: Vec::new(),
        }
    }

    fn hears(&mut self, bytes: &[u8]) {
        assert_eq!(bytes[1] & 0x7f, self.payload_type);
        assert_eq!(
            bytes[1] & 0x80 != 0,
            self.next.is_none(),
            "a talkspurt begins once"
        );
        let sequence = u16::from_be_bytes([bytes[2], bytes[3]]);
        let timestamp = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        assert_eq!(
            *self.next.get_or_insert((sequence, timestamp)),
            (sequence, timestamp)
        );
        self.next = Some((sequence.wrapping_add(1), timestamp.wrapping_add(self.step)));
        self.decoder.decode(&bytes[12..], &mut self.sound);
    }

    fn share_of(&self, hz: f64) -> f64 {
        let sound = &self.sound[self.rate.samples(FRAME_MS * FIRST)..];
        share_of(hz, sound, self.rate.hz())
    }
}

/// A tone from each side, found at the other, while some packets are lost on their way to us.
fn assert_tones(world: &mut World, port: u16, phone: (u8, Encoding), lost: impl Fn(usize) -> bool) {
    let (mut browser, mut phone_hears) = (
        Speaker::new(111, Encoding::Opus, 700.0),
        Hearer::new(phone.0, phone.1),
    );
    let (mut phone, mut browser_hears) = (
        Speaker::new(phone.0, phone.1, 440.0),
        Hearer::new(111, Encoding::Opus),
    );
    for frame in 0..FRAMES {
        world.run_ms(20);
        let (said, answered) = (browser.packet(), phone.packet());
        if lost(frame) {
            continue;
        }
        let sealed = world.browser.rtp(&said);
        let leaves = world.arrive(WEB, world.browser_at, &sealed);
        let leaves = leaves.map(|(_, to, bytes)| {
            assert_eq!(to.to_string(), PHONE);
            bytes
        });
        for bytes in leaves
            .into_iter()
            .chain(std::mem::take(&mut world.phone_heard))
        {
            phone_hears.hears(&bytes);
        }
        let from = PHONE.parse().unwrap();
        let leaves = world.arrive(SocketId(port.into()), from, &answered);
        let first = leaves.map(|(_, _, bytes)| world.browser.receive(world.now, &bytes).unwrap());
        for bytes in first.into_iter().chain(std::mem::take(&mut world.heard)) {
            browser_hears.hears(&bytes);
        }
    }
    for (hearer, hz) in [(&phone_hears, 700.0), (&browser_hears, 440.0)] {
        let frames = hearer.sound.len() / hearer.rate.samples(FRAME_MS);
        assert!(frames >= FRAMES - 1, "{frames}");
        let share = hearer.share_of(hz);
        assert!(share > 0.8, "{hz} Hz: {share}");
    }
}

fn opus_only(world: &World) -> String {
    let offer = world.by_browser(CHROMIUM);
    offer.replace("SAVPF 111 63 9 0 8 13 110 126", "SAVPF 111 110")
}

fn lines<'s>(sdp: &'s str, names: &[&str]) -> Vec<&'s str> {
    let wanted = |line: &&str| names.iter().any(|name| line.starts_with(name));
    sdp.lines().filter(wanted).collect()
}

/// The browser calls with Opus alone, the phone answers so.
fn called(world: &mut World, answer: &str) -> (String, String) {
    let offer = opus_only(world);
    let told = world.tell("0", ToCallee, Role::Offer, &offer);
    let answer = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 1, answer));
    world.handle(Input::Established {
        branch: world.branch("0", "a"),
    });
    world.browser_reads(&answer);
    world.run_ms(2000);
    (told, answer)
}

#[test]
fn a_browser_with_opus_alone_calls_a_phone_without_it() {
    for (answer, number, encoding) in [
        (PCMA, 8, Encoding::Pcma),
        (
            "m=audio PORT RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\n",
            0,
            Encoding::Pcmu,
        ),
        (
            "m=audio PORT RTP/AVP 9 101\na=rtpmap:101 telephone-event/8000\n",
            9,
            Encoding::G722,
        ),
    ] {
        let mut world = World::web_calls();
        let (told, answer) = called(&mut world, answer);
        assert_eq!(
            lines(&told, &["m=", "a=rtpmap"]),
            [
                "m=audio 40000 RTP/AVP 111 8 0 9 101 110",
                "a=rtpmap:111 opus/48000/2",
                "a=rtpmap:8 PCMA/8000",
                "a=rtpmap:0 PCMU/8000",
                "a=rtpmap:9 G722/8000",
                "a=rtpmap:101 telephone-event/8000",
                "a=rtpmap:110 telephone-event/48000",
            ]
        );
        let hz = if number == 9 { 16_000 } else { 8000 };
        assert_eq!(
            lines(&answer, &["a=rtpmap", "a=fmtp:111"]),
            [
                "a=rtpmap:111 opus/48000/2",
                &format!(
                    "a=fmtp:111 maxplaybackrate={hz};sprop-maxcapturerate={hz};useinbandfec=1"
                ),
                "a=rtpmap:110 telephone-event/48000",
            ]
        );
        assert_eq!(world.engine.transcoded_calls(), 1);
        let port = port(&told, 0);
        assert_tones(&mut world, port, (number, encoding), |_| false);
    }
}

#[test]
fn losses_are_concealed_in_both_directions() {
    let mut world = World::web_calls();
    let (told, _) = called(&mut world, PCMA);
    let port = port(&told, 0);
    assert_tones(&mut world, port, (8, Encoding::Pcma), |frame| {
        frame % 20 == 13
    });
}

#[test]
fn a_phone_without_opus_calls_a_browser_without_g711() {
    let mut world = World::sip_calls();
    let told = world.tell("0", ToCallee, Role::Offer, &phone(PHONE, 1, PCMA));
    assert_eq!(
        lines(&told, &["a=rtpmap"]),
        [
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:111 opus/48000/2",
            "a=rtpmap:110 telephone-event/48000",
            "a=rtpmap:101 telephone-event/8000",
        ]
    );
    world.browser_reads(&told);
    let answer = answer_of_browser(&world, &told).replace("SAVPF 8 111 110 101", "SAVPF 111 110");
    let told = world.tell("0 b", ToCaller, Role::Answer, &answer);
    assert_eq!(
        lines(&told, &["m=", "a=rtpmap"]),
        [
            "m=audio 40000 RTP/AVP 8 101",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000"
        ]
    );
    world.run_ms(2000);
    assert_tones(&mut world, 40_000, (8, Encoding::Pcma), |_| false);
}

/// Both ends have PCMA: nobody stands between them, whatever else is offered.
#[test]
fn a_shared_codec_is_not_transcoded() {
    let mut world = World::web_calls();
    connected(&mut world);
    assert_eq!(world.engine.transcoded_calls(), 0);
    let mut world = World::sip_calls();
    let told = world.tell("0", ToCallee, Role::Offer, &phone(PHONE, 1, PCMA));
    world.browser_reads(&told);
    let answer = answer_of_browser(&world, &told);
    let told = world.tell("0 b", ToCaller, Role::Answer, &answer);
    world.run_ms(2000);
    assert_eq!(world.engine.transcoded_calls(), 0);
    assert_hear(&mut world, port(&told, 0));
}

/// A PBX that has what is offered may still prefer what we add: so nothing is added where G.711 is offered, or what its profile names.
#[test]
fn nothing_is_offered_beside_what_a_phone_has() {
    let mut world = World::web_calls();
    let offer = world.by_browser(CHROMIUM);
    let offer = offer.replace("SAVPF 111 63 9 0 8 13 110 126", "SAVPF 111 8 126");
    let told = world.tell("0", ToCallee, Role::Offer, &offer);
    assert_eq!(lines(&told, &["m="]), ["m=audio 40000 RTP/AVP 111 8 126"]);
    for (named, numbers) in [("opus", "111 126"), ("G722", "9 126")] {
        let mut world = World::new(Leg::Web, Leg::Sip(None), |config: &mut Config| {
            config.plain.codecs = vec![named.to_owned()];
        });
        let told = world.tell("0", ToCallee, Role::Offer, &offer);
        assert_eq!(
            lines(&told, &["m="]),
            [format!("m=audio 40000 RTP/AVP {numbers}")]
        );
    }
}

#[test]
fn a_key_is_pressed() {
    let mut world = World::web_calls();
    let (told, _) = called(&mut world, PCMA);
    // 20 ms by a clock of 48 kHz are 960, by one of 8 kHz 160.
    let (_, heard) = world.browser_sends(110, &[5, 10, 3, 192]).unwrap();
    assert_eq!(
        (heard.payload_type, heard.payload),
        (101, vec![5, 10, 0, 160])
    );
    let heard = world
        .phone_sends(PHONE, port(&told, 0), 101, &[6, 138, 0, 160])
        .unwrap();
    assert_eq!(
        (heard.payload_type, heard.payload),
        (110, vec![6, 138, 3, 192])
    );
}

#[test]
fn a_re_offer_with_a_shared_codec_ends_transcoding_and_another_begins_it() {
    let mut world = World::web_calls();
    let (told, _) = called(&mut world, PCMA);
    let port = port(&told, 0);
    let all = world.by_browser(CHROMIUM).replace(" 2 IN", " 3 IN");
    let again = world.tell("0 a", ToCallee, Role::Offer, &all);
    let numbers = |sdp: &str| lines(sdp, &["m="])[0].to_owned();
    // Each codec has the number that it had (RFC 3264 §8.3.2).
    assert_eq!(
        numbers(&again),
        "m=audio 40000 RTP/AVP 111 9 0 8 13 110 101"
    );
    let answer = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 2, PCMA));
    assert!(numbers(&answer).ends_with("SAVPF 8 126"), "{answer}");
    assert_eq!(world.engine.transcoded_calls(), 0);
    assert_hear(&mut world, port);
    let opus = opus_only(&world).replace(" 2 IN", " 4 IN");
    let again = world.tell("0 a", ToCallee, Role::Offer, &opus);
    assert_eq!(numbers(&again), numbers(&told));
    let answer = world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 3, PCMA));
    assert!(numbers(&answer).ends_with("SAVPF 111 110"), "{answer}");
    assert_eq!(world.engine.transcoded_calls(), 1);
    assert_tones(&mut world, port, (8, Encoding::Pcma), |_| false);
}

#[test]
fn a_transcoded_call_is_held_and_resumed() {
    let mut world = World::web_calls();
    let (told, _) = called(&mut world, PCMA);
    let hold = opus_only(&world)
        .replace("a=sendrecv", "a=inactive")
        .replace(" 2 IN", " 3 IN");
    world.tell("0 a", ToCallee, Role::Offer, &hold);
    let answer = phone(PHONE, 2, &format!("{PCMA}a=inactive\n"));
    world.tell("0 a", ToCaller, Role::Answer, &answer);
    assert_eq!(world.engine.transcoded_calls(), 1);
    assert_eq!(world.browser_sends(111, b"unheard"), None);
    let resume = opus_only(&world).replace(" 2 IN", " 4 IN");
    world.tell("0 a", ToCallee, Role::Offer, &resume);
    world.tell("0 a", ToCaller, Role::Answer, &phone(PHONE, 3, PCMA));
    assert_tones(&mut world, port(&told, 0), (8, Encoding::Pcma), |_| false);
}

#[test]
fn no_more_calls_are_transcoded_than_the_limit_allows() {
    let mut world = World::new(
        crate::Leg::Web,
        crate::Leg::Sip(None),
        |config: &mut Config| {
            config.limits.transcoded_calls_max = 1;
        },
    );
    called(&mut world, PCMA);
    let offer = opus_only(&world);
    let tell = |world: &mut World, id: u64, direction, role, sdp: &str| {
        let mut branch = world.branch("0", if role == Role::Answer { "a" } else { "" });
        branch.call = "another".into();
        let ask = crate::Ask {
            branch,
            direction,
            role,
            sdp: sdp.replace('\n', "\r\n").into(),
        };
        world.asks = id;
        world.handle(Input::Ask { id, ask }).unwrap()
    };
    let Answer::Replace(told) = tell(&mut world, 10, ToCallee, Role::Offer, &offer) else {
        panic!("refused");
    };
    let told = String::from_utf8(told.to_vec()).unwrap().replace('\r', "");
    assert_eq!(lines(&told, &["m="]), ["m=audio 40002 RTP/AVP 111 110"]);
    let answer = tell(
        &mut world,
        11,
        ToCaller,
        Role::Answer,
        &phone(PHONE, 1, PCMA),
    );
    let Answer::Refuse {
        status: 488,
        reason,
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert_eq!(reason, "no codec in common: opus offered, PCMA taken");
    world.handle(Input::End {
        call: "call".into(),
    });
    assert_eq!(world.engine.transcoded_calls(), 0);
    let Answer::Replace(_) = tell(&mut world, 12, ToCallee, Role::Offer, &offer) else {
        panic!("refused");
    };
}

#[test]
fn a_codec_that_panics_ends_its_call_alone() {
    let mut world = World::web_calls();
    let (told, _) = called(&mut world, PCMA);
    let port = port(&told, 0);
    assert_tones(&mut world, port, (8, Encoding::Pcma), |_| false);
    for slot in world.engine.calls.iter_mut().flatten() {
        slot.call.break_codecs();
    }
    let mut phone = Speaker::new(8, Encoding::Pcma, 400.0);
    phone.sent = u32::try_from(FRAMES).unwrap();
    let leaves = world.arrive(
        SocketId(port.into()),
        PHONE.parse().unwrap(),
        &phone.packet(),
    );
    assert!(leaves.is_none());
    world.run(std::time::Duration::from_secs(6));
    let dead = "call is dead: a codec failed on what it was given";
    assert!(
        world.said.iter().any(|said| said == dead),
        "{:?}",
        world.said
    );
    assert_eq!(
        (world.engine.calls(), world.engine.transcoded_calls()),
        (0, 0)
    );
}
