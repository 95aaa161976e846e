//! A browser's checks against the agent, on a virtual clock.

use std::net::SocketAddr;

use super::*;

fn credentials(seed: u8) -> IceCredentials {
    IceCredentials::from_entropy([seed; 32])
}

fn address(port: u16) -> Peer {
    SocketAddr::from(([192, 0, 2, 1], port)).into()
}

struct Check<'c> {
    with: &'c IceCredentials,
    nominate: bool,
}

impl Check<'_> {
    fn builder(&self) -> Builder {
        let username = format!("{}:them", self.with.ufrag);
        let builder = Builder::new(Kind::Request, [7; 12])
            .attribute(attribute::USERNAME, username.as_bytes())
            .attribute(attribute::ICE_CONTROLLING, &[1; 8]);
        if self.nominate {
            builder.attribute(attribute::USE_CANDIDATE, b"")
        } else {
            builder
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.builder().integrity(&self.with.password).finish()
    }
}

fn check(with: &IceCredentials) -> Vec<u8> {
    let nominate = false;
    Check { with, nominate }.bytes()
}

fn nominate(with: &IceCredentials) -> Vec<u8> {
    let nominate = true;
    Check { with, nominate }.bytes()
}

#[track_caller]
fn valid(agent: &mut IceLite, now: Instant, port: u16, check: &[u8]) -> Vec<u8> {
    match agent.handle(now, address(port), check) {
        Heard::Check(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(agent: &mut IceLite, datagram: &[u8]) -> u16 {
    match agent.handle(Instant::now(), address(9), datagram) {
        Heard::Refused(answer) => {
            assert!(answer.len() <= datagram.len().max(36), "{}", answer.len());
            let message = Message::parse(&answer).unwrap();
            message.error().unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_a_check_with_the_mapped_address() {
    let (ours, now) = (credentials(1), Instant::now());
    let mut agent = IceLite::new(ours.clone());
    assert_eq!(agent.consent(now), Consent::None);
    let answer = valid(&mut agent, now, 1000, &nominate(&ours));
    let expected = Builder::new(Kind::Success, [7; 12])
        .xor_mapped_address(address(1000).address)
        .integrity(&ours.password)
        .finish();
    assert_eq!(answer, expected);
    assert_eq!(agent.consent(now), Consent::To(address(1000)));
    assert!(agent.knows(address(1000)) && !agent.knows(address(1001)));
}

#[test]
fn refuses_with_the_right_number_and_learns_nothing() {
    let ours = credentials(1);
    let mut agent = IceLite::new(ours.clone());
    let wrong_password = IceCredentials {
        password: "x".repeat(24),
        ..ours.clone()
    };
    assert_eq!(refused(&mut agent, &check(&wrong_password)), 401);
    assert_eq!(refused(&mut agent, &check(&credentials(2))), 401);
    let plain = Check {
        with: &ours,
        nominate: true,
    };
    assert_eq!(refused(&mut agent, &plain.builder().finish()), 400);
    let unknown = plain.builder().attribute(0x7777, b"");
    let unknown = unknown.integrity(&ours.password).finish();
    assert_eq!(refused(&mut agent, &unknown), 420);
    let controlled = plain
        .builder()
        .attribute(attribute::ICE_CONTROLLED, &[9; 8]);
    let controlled = controlled.integrity(&ours.password).finish();
    assert_eq!(refused(&mut agent, &controlled), 487);
    assert_eq!(agent.refused(), 5);
    assert_eq!(agent.consent(Instant::now()), Consent::None);
}

#[test]
fn says_nothing_to_what_is_no_request() {
    let ours = credentials(1);
    let mut agent = IceLite::new(ours.clone());
    for kind in [Kind::Indication, Kind::Success, Kind::Error] {
        let bytes = Builder::new(kind, [7; 12])
            .integrity(&ours.password)
            .finish();
        assert_eq!(
            agent.handle(Instant::now(), address(1), &bytes),
            Heard::Nothing
        );
    }
    let nobody = Builder::new(Kind::Request, [7; 12]).finish();
    for bytes in [&nobody[..], b"\0\x01"] {
        let heard = agent.handle(Instant::now(), address(1), bytes);
        assert_eq!(heard, Heard::Nothing);
    }
}

#[test]
fn the_last_nomination_wins_and_the_first_check_before_any() {
    let (ours, now) = (credentials(1), Instant::now());
    let mut agent = IceLite::new(ours.clone());
    valid(&mut agent, now, 1, &check(&ours));
    valid(&mut agent, now, 2, &check(&ours));
    assert_eq!(agent.consent(now), Consent::To(address(1)));
    valid(&mut agent, now, 2, &nominate(&ours));
    assert_eq!(agent.consent(now), Consent::To(address(2)));
    valid(&mut agent, now, 1, &check(&ours));
    assert_eq!(agent.consent(now), Consent::To(address(2)));
    valid(&mut agent, now, 3, &nominate(&ours));
    assert_eq!(agent.consent(now), Consent::To(address(3)));
}

#[test]
fn leaves_a_path_that_is_checked_no_more() {
    let (ours, now) = (credentials(1), Instant::now());
    let mut agent = IceLite::new(ours.clone());
    valid(&mut agent, now, 1, &nominate(&ours));
    for s in 1..=3 {
        valid(
            &mut agent,
            now + Duration::from_secs(5 * s),
            2,
            &check(&ours),
        );
    }
    let later = now + Duration::from_secs(15);
    assert_eq!(agent.consent(later), Consent::To(address(2)));
}

#[test]
fn consent_lasts_30_s_and_comes_back_with_a_check() {
    let (ours, now) = (credentials(1), Instant::now());
    let mut agent = IceLite::new(ours.clone());
    valid(&mut agent, now, 1, &nominate(&ours));
    let end = now + Duration::from_secs(30);
    assert_eq!(agent.consent_until(), Some(end));
    assert_eq!(
        agent.consent(end - Duration::from_millis(1)),
        Consent::To(address(1))
    );
    assert_eq!(agent.consent(end), Consent::Lost);
    valid(&mut agent, end, 1, &check(&ours));
    assert_eq!(agent.consent(end), Consent::To(address(1)));
}

#[test]
fn a_restart_keeps_the_old_pair_until_the_new_credentials_are_used() {
    let (old, new, now) = (credentials(1), credentials(2), Instant::now());
    let mut agent = IceLite::new(old.clone());
    valid(&mut agent, now, 1, &nominate(&old));
    valid(&mut agent, now, 2, &check(&old));
    agent.restart(new.clone());
    assert_eq!(agent.ours(), &new);
    valid(&mut agent, now, 1, &nominate(&old));
    assert_eq!(agent.consent(now), Consent::To(address(1)));
    valid(&mut agent, now, 3, &check(&new));
    assert_eq!(agent.consent(now), Consent::To(address(1)));
    valid(&mut agent, now, 3, &nominate(&new));
    assert_eq!(agent.consent(now), Consent::To(address(3)));
    assert_eq!(refused(&mut agent, &check(&old)), 401);
    assert!(!agent.knows(address(2)));
}

#[test]
fn remembers_no_more_paths_than_its_limit_and_never_loses_the_selected() {
    let (ours, now) = (credentials(1), Instant::now());
    let mut agent = IceLite::new(ours.clone());
    valid(&mut agent, now, 1, &nominate(&ours));
    for port in 2..100 {
        let now = now + Duration::from_millis(u64::from(port));
        valid(&mut agent, now, port, &check(&ours));
    }
    assert_eq!(agent.paths.len(), PATHS_MAX);
    assert!(agent.knows(address(1)) && agent.knows(address(99)) && !agent.knows(address(5)));
    assert_eq!(agent.consent(now), Consent::To(address(1)));
}

#[test]
fn credentials_have_the_characters_and_lengths_of_ice() {
    let credentials = credentials(200);
    assert_eq!(
        (credentials.ufrag.len(), credentials.password.len()),
        (8, 24)
    );
    assert_eq!(format!("{credentials:?}"), "IceCredentials(IIIIIIII)");
}
