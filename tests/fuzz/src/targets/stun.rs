//! STUN: messages that are built are read as they were built, a changed one is never believed; and the ICE agent learns from nobody who
//! does not know the password of now, or that of before a restart until the new one is used.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use hookswitch_media::{
    ice::{Consent, Heard, IceCredentials, IceLite},
    stun::{self, Builder, Kind, Message, attribute},
};

use crate::Choices;

const STEPS_MAX: usize = 40;
/// Addresses that an agent knows at once.
const PATHS_MAX: usize = 8;
/// Of the attribute.
const FINGERPRINT_BYTES: usize = 8;
const CONSENT: Duration = Duration::from_secs(30);
const ATTRIBUTES: [u16; 12] = [
    attribute::USERNAME,
    attribute::MESSAGE_INTEGRITY,
    attribute::ERROR_CODE,
    attribute::UNKNOWN_ATTRIBUTES,
    attribute::MESSAGE_INTEGRITY_SHA256,
    attribute::XOR_MAPPED_ADDRESS,
    attribute::PRIORITY,
    attribute::USE_CANDIDATE,
    attribute::FINGERPRINT,
    attribute::ICE_CONTROLLED,
    attribute::ICE_CONTROLLING,
    0x7777,
];

pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    match choices.below(3) {
        0 => read(choices.rest()),
        _ => Scene::new().run(&mut choices),
    }
}

/// Any bytes.
fn read(bytes: &[u8]) {
    let Some(message) = Message::parse(bytes) else {
        assert_eq!(stun::asked_ufrag(bytes), None);
        return;
    };
    assert!(bytes.len() >= 20 && bytes.len().is_multiple_of(4));
    assert!(message.has_integrity() || !message.is_authentic(""));
    let asked = message.ufrags().map(|(asked, _)| asked);
    assert_eq!(
        stun::asked_ufrag(bytes),
        asked.filter(|_| message.kind == Kind::Request)
    );
}

struct Scene {
    agent: IceLite,
    now: Instant,
    /// Those of now, those that were used before them, and those that never were.
    ours: IceCredentials,
    before: Option<IceCredentials>,
    gone: Option<IceCredentials>,
    restarts: u8,
    /// Who proved to know a password.
    proved: BTreeSet<SocketAddr>,
    last: Option<Instant>,
}

impl Scene {
    fn new() -> Self {
        let ours = IceCredentials::from_entropy([0; 32]);
        Self {
            agent: IceLite::new(ours.clone()),
            now: Instant::now(),
            ours,
            before: None,
            gone: None,
            restarts: 0,
            proved: BTreeSet::new(),
            last: None,
        }
    }

    fn run(&mut self, choices: &mut Choices<'_>) {
        for _ in 0..STEPS_MAX {
            if choices.is_empty() {
                break;
            }
            match choices.below(8) {
                0 => {
                    self.now += Duration::from_millis([20, 2_500, 12_000, 31_000][choices.below(4)])
                }
                1 => self.restart(),
                2 => self.raw(choices),
                _ => self.check(choices),
            }
            self.judge();
        }
    }

    fn restart(&mut self) {
        self.restarts = self.restarts.wrapping_add(1);
        let new = IceCredentials::from_entropy([self.restarts; 32]);
        self.agent.restart(new.clone());
        let old = std::mem::replace(&mut self.ours, new);
        // Where those were never used, the browser still uses the ones before them.
        match self.before {
            Some(_) => self.gone = Some(old),
            None => self.before = Some(old),
        }
    }

    fn raw(&mut self, choices: &mut Choices<'_>) {
        let (from, length) = (from(choices), usize::from(choices.byte()));
        let bytes = choices.take(length);
        let heard = self.agent.handle(self.now, from, bytes);
        // HMAC is not guessed.
        assert!(
            !matches!(heard, Heard::Check(_)),
            "{}",
            bytes.escape_ascii()
        );
        self.is_no_amplifier(bytes, &heard);
    }

    fn is_no_amplifier(&self, bytes: &[u8], heard: &Heard) {
        if let Heard::Refused(answer) = heard {
            let passwords = [Some(&self.ours), self.before.as_ref()];
            let proves = |known: &IceCredentials| {
                Message::parse(bytes).is_some_and(|message| message.is_authentic(&known.password))
            };
            let is_proved = passwords.into_iter().flatten().any(proves);
            assert!(
                is_proved || answer.len() <= bytes.len(),
                "{} for {}",
                answer.len(),
                bytes.len()
            );
        }
    }

    fn check(&mut self, choices: &mut Choices<'_>) {
        let from = from(choices);
        let known = match choices.below(8) {
            0 => Some(IceCredentials::from_entropy([99; 32])),
            1 => self.gone.clone(),
            2 | 3 => self.before.clone(),
            _ => None,
        };
        let with = known.unwrap_or(self.ours.clone());
        let built = build(choices, &with);
        let mut bytes = built.bytes.clone();
        if choices.once_in(4) {
            let at = usize::from(choices.byte()) % bytes.len();
            bytes[at] ^= 1 << choices.below(8);
        }
        if bytes == built.bytes {
            built.is_read_so(&with);
        }
        // Behind the integrity there is only FINGERPRINT, and whoever has none is believed, too.
        let (covered, fingerprint) = built.bytes.split_at(built.bytes.len() - FINGERPRINT_BYTES);
        let is_changed = !bytes.starts_with(covered);
        let is_whole = bytes.ends_with(fingerprint);
        let heard = self.agent.handle(self.now, from, &bytes);
        self.is_no_amplifier(&bytes, &heard);
        let is_ours = with == self.ours || Some(&with) == self.before.as_ref();
        let may = is_ours && !is_changed && built.is_good_check();
        match heard {
            Heard::Check(answer) => {
                assert!(may, "a check that is none: {}", bytes.escape_ascii());
                let answer = Message::parse(&answer);
                let answer = answer.unwrap_or_else(|| panic!("no answer"));
                assert!(answer.kind == Kind::Success && answer.is_authentic(&with.password));
                if with == self.ours {
                    self.before = None;
                }
                self.proved.insert(from);
                self.last = Some(self.now);
                assert!(self.agent.knows(from));
            }
            Heard::Refused(answer) => {
                assert!(!may || !is_whole);
                let answer = Message::parse(&answer);
                let error = answer.and_then(|answer| answer.error());
                assert!(matches!(error, Some(400 | 401 | 420 | 487)), "{error:?}");
            }
            Heard::Nothing => assert!(!may || !is_whole),
        }
    }

    fn judge(&self) {
        let known = (0..32).map(at).filter(|from| self.agent.knows(*from));
        let known: Vec<_> = known.collect();
        assert!(known.len() <= PATHS_MAX && known.iter().all(|from| self.proved.contains(from)));
        let is_alive = self.last.is_some_and(|last| self.now < last + CONSENT);
        match self.agent.consent(self.now) {
            Consent::To(to) => {
                assert!(is_alive && to.connection.is_none());
                let to = to.address;
                assert!(self.proved.contains(&to) && known.contains(&to));
            }
            Consent::Lost => assert!(!is_alive && !self.proved.is_empty()),
            Consent::None => assert!(self.proved.is_empty()),
        }
    }
}

fn at(host: u8) -> SocketAddr {
    ([192, 0, 2, host], 5_000).into()
}

fn from(choices: &mut Choices<'_>) -> SocketAddr {
    at(choices.byte() % 32)
}

/// A message, and what is in it.
struct Built {
    bytes: Vec<u8>,
    kind: Kind,
    username: Option<String>,
    has_integrity: bool,
    is_controlled: bool,
    has_unknown: bool,
}

fn build(choices: &mut Choices<'_>, with: &IceCredentials) -> Built {
    let kinds = [Kind::Request, Kind::Indication, Kind::Success, Kind::Error];
    let kind = if choices.once_in(8) {
        kinds[choices.below(4)]
    } else {
        Kind::Request
    };
    let mut built = Built {
        bytes: Vec::new(),
        kind,
        username: None,
        has_integrity: false,
        is_controlled: false,
        has_unknown: false,
    };
    let mut builder = Builder::new(kind, [choices.byte(); 12]);
    if !choices.once_in(12) {
        let username = format!("{}:them", with.ufrag);
        builder = builder.attribute(attribute::USERNAME, username.as_bytes());
        built.username = Some(username);
    }
    for _ in 0..choices.below(4) {
        let kind = ATTRIBUTES[choices.below(ATTRIBUTES.len())];
        let length = choices.below(24);
        let value = choices.take(length);
        // Those that would make the message another one are for the bytes that nobody built.
        if matches!(
            kind,
            attribute::USERNAME
                | attribute::MESSAGE_INTEGRITY
                | attribute::FINGERPRINT
                | attribute::ERROR_CODE
        ) {
            continue;
        }
        built.is_controlled |= kind == attribute::ICE_CONTROLLED;
        built.has_unknown |= kind == 0x7777;
        builder = builder.attribute(kind, value);
    }
    if !choices.once_in(12) {
        builder = builder.integrity(&with.password);
        built.has_integrity = true;
    }
    built.bytes = builder.finish();
    built
}

impl Built {
    fn is_good_check(&self) -> bool {
        self.kind == Kind::Request
            && self.username.is_some()
            && self.has_integrity
            && !self.is_controlled
            && !self.has_unknown
    }

    fn is_read_so(&self, with: &IceCredentials) {
        let message = Message::parse(&self.bytes);
        let message = message.unwrap_or_else(|| panic!("{}", self.bytes.escape_ascii()));
        assert_eq!(message.kind, self.kind);
        let username = message
            .ufrags()
            .map(|(asked, asks)| format!("{asked}:{asks}"));
        assert_eq!(username, self.username);
        assert_eq!(message.has_integrity(), self.has_integrity);
        assert_eq!(message.is_authentic(&with.password), self.has_integrity);
        assert!(!message.is_authentic("another"));
        assert_eq!(message.is_from_controlled(), self.is_controlled);
        assert_eq!(message.unknown().is_empty(), !self.has_unknown);
    }
}
