use super::*;

fn keys() -> Keyring {
    Keyring::new(Key::new(1, &[7; 32]))
}

fn names() -> NameTags {
    NameTags::new(["web", "udp"], ["pbx", "carrier"])
}

fn token() -> Token {
    Token {
        worker: WorkerId(3),
        passage: 0xdead_beef,
        branch: 2,
        caller: End {
            reach: Reach::Session {
                worker: WorkerId(3),
                serial: 42,
                listener: ListenerId(0),
                key: SessionKey(99),
            },
            upstream: None,
        },
        callee: End {
            reach: Reach::Hop {
                listener: ListenerId(1),
                transport: Transport::Udp,
                peer: "192.0.2.7:5060".parse().unwrap(),
            },
            upstream: Some(UpstreamId(1)),
        },
        ahead: 1,
        media: None,
    }
}

fn open(
    keys: &Keyring,
    text: &str,
    call_id: &str,
    from: &str,
    to: &str,
) -> Result<(Token, Direction), TokenError> {
    Token::open(
        keys,
        &names(),
        text.as_bytes(),
        call_id.as_bytes(),
        from.as_bytes(),
        to.as_bytes(),
    )
}

#[test]
fn the_from_tag_of_the_first_request_tells_the_direction() {
    let text = token().seal(&keys(), &names(), b"call", b"alice");
    assert_eq!(
        open(&keys(), &text, "call", "alice", "bob"),
        Ok((token(), Direction::ToCallee))
    );
    assert_eq!(
        open(&keys(), &text, "call", "bob", "alice"),
        Ok((token(), Direction::ToCaller))
    );
    assert_eq!(token().to(Direction::ToCaller), &token().caller);
}

#[test]
fn a_token_serves_its_own_dialog_only() {
    let text = token().seal(&keys(), &names(), b"call", b"alice");
    assert_eq!(
        open(&keys(), &text, "other", "alice", "bob"),
        Err(TokenError::Forged)
    );
    assert_eq!(
        open(&keys(), &text, "call", "mallory", "bob"),
        Err(TokenError::Forged)
    );
    // The same bytes split elsewhere.
    assert_eq!(
        open(&keys(), &text, "calla", "lice", "bob"),
        Err(TokenError::Forged)
    );
}

#[test]
fn every_changed_byte_is_noticed() {
    let bytes = URL_SAFE_NO_PAD
        .decode(token().seal(&keys(), &names(), b"call", b"alice"))
        .unwrap();
    for at in 0..bytes.len() {
        let mut forged = bytes.clone();
        forged[at] ^= 1;
        let result = open(
            &keys(),
            &URL_SAFE_NO_PAD.encode(forged),
            "call",
            "alice",
            "bob",
        );
        assert!(result.is_err(), "byte {at} may be changed");
    }
}

#[test]
fn every_truncation_is_malformed_or_forged() {
    let text = token().seal(&keys(), &names(), b"call", b"alice");
    for len in 0..text.len() {
        assert!(open(&keys(), &text[..len], "call", "alice", "bob").is_err());
    }
    assert_eq!(
        open(&keys(), "not a token", "call", "alice", "bob"),
        Err(TokenError::Malformed)
    );
    assert_eq!(
        open(&keys(), &"A".repeat(500), "call", "alice", "bob"),
        Err(TokenError::Malformed)
    );
}

#[test]
fn keys_rotate_with_overlap() {
    let text = token().seal(&keys(), &names(), b"call", b"alice");
    let next = Key::new(2, &[8; 32]);
    let overlap = Keyring {
        current: next.clone(),
        previous: vec![keys().current],
    };
    assert!(open(&overlap, &text, "call", "alice", "bob").is_ok());
    assert_eq!(
        open(&Keyring::new(next), &text, "call", "alice", "bob"),
        Err(TokenError::KeyExpired)
    );
    // Another secret under the same name.
    assert_eq!(
        open(
            &Keyring::new(Key::new(1, &[9; 32])),
            &text,
            "call",
            "alice",
            "bob"
        ),
        Err(TokenError::Forged)
    );
}

#[test]
fn listeners_and_upstreams_change_places_and_go() {
    let text = token().seal(&keys(), &names(), b"call", b"alice");
    let open = |listeners: &[&str], upstreams: &[&str]| {
        let names = NameTags::new(listeners.iter().copied(), upstreams.iter().copied());
        let opened = Token::open(&keys(), &names, text.as_bytes(), b"call", b"alice", b"");
        let Token { caller, callee, .. } = opened.unwrap().0;
        assert_eq!(caller.upstream, None);
        (caller.listener(), callee.listener(), callee.upstream)
    };
    assert_eq!(
        open(&["new", "udp", "web"], &["carrier"]),
        (ListenerId(2), ListenerId(1), Some(UpstreamId(0)))
    );
    assert_eq!(
        open(&["web"], &["pbx"]),
        (ListenerId(0), ListenerId::GONE, None)
    );
}

#[test]
fn ipv6_and_every_transport_survive() {
    for transport in [
        Transport::Udp,
        Transport::Tcp,
        Transport::Tls,
        Transport::Ws,
        Transport::Wss,
    ] {
        let peer = "[2001:db8::7]:5061".parse().unwrap();
        let hop = End {
            reach: Reach::Hop {
                listener: ListenerId(1),
                transport,
                peer,
            },
            upstream: Some(UpstreamId(0)),
        };
        let token = Token {
            caller: hop,
            callee: hop,
            ..token()
        };
        let text = token.seal(&keys(), &names(), b"call", b"alice");
        assert_eq!(
            open(&keys(), &text, "call", "alice", "").map(|(token, _)| token),
            Ok(token)
        );
    }
}

#[test]
fn what_becomes_of_the_media_is_remembered() {
    for media in [
        MediaMode::Auto,
        MediaMode::Direct,
        MediaMode::Relay,
        MediaMode::Rtpengine,
    ] {
        let token = Token {
            media: Some(media),
            ..token()
        };
        let text = token.seal(&keys(), &names(), b"call", b"alice");
        let opened = open(&keys(), &text, "call", "alice", "bob");
        assert_eq!(opened, Ok((token, Direction::ToCallee)));
    }
}

#[test]
fn the_worker_is_read_without_a_key() {
    let text = token().seal(&keys(), &names(), b"call", b"alice");
    assert_eq!(Token::worker_hint(text.as_bytes()), Some(WorkerId(3)));
    assert_eq!(Token::worker_hint(b"alice"), None);
    assert_eq!(Token::worker_hint(b""), None);
}

#[test]
fn a_client_belongs_to_its_address_of_record() {
    let key = |aor| ClientKey::new(aor, [&b"x7@abc.invalid"[..]]);
    assert_eq!(key("sip:alice"), key("sip:alice"));
    assert_ne!(key("sip:alice"), key("sip:mallory"));
}

#[test]
fn a_session_belongs_to_who_names_it() {
    let key = |identity| SessionKey::named(identity, "4f1c");
    assert_eq!(key("alice"), key("alice"));
    assert_ne!(key("alice"), key("mallory"));
    assert_ne!(key("alice"), SessionKey::named("alice", "4f1d"));
    assert_ne!(key("alice"), SessionKey::registered("alice", b"4f1c"));
}
