use expect_test::{Expect, expect};

use hookswitch_sip::flow::Transport;

use super::*;

#[track_caller]
pub(super) fn check(text: &str, expected: Expect) {
    let faults = Config::parse(text, Path::new("/etc/hookswitch")).map(drop);
    let said = faults.map_or_else(|faults| faults.to_string(), |()| "good".to_owned());
    expected.assert_eq(&said);
}

#[test]
fn everything_has_a_default() {
    let config = Config::standard();
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|listener| format!("{} {}", listener.name, listener.address))
        .collect();
    let expected = [
        "wss 0.0.0.0:8443",
        "udp 0.0.0.0:5060",
        "test-destinations 127.0.0.1:0",
    ];
    assert_eq!(listeners, expected);
    assert_eq!(config.admin, "127.0.0.1:9090".parse().ok());
    assert_eq!(config.limits, Limits::default());
    assert!(config.workers > 0);
}

#[test]
fn all_faults_are_told_at_once() {
    check(
        r#"
        [server]
        wokers = 2
        [[listener]]
        name = "a"
        transport = "sctp"
        address = "1.2.3:5"
        [[listener]]
        name = "b"
        transport = "udp"
        address = "[::1]:5060"
        pages = "x"
        advertised = "a b"
        [[upstream]]
        name = "web"
        members = []
        listener = "x"
        oversize = "tcp"
        [[upstream]]
        name = "stranger"
        listener = "b"
        members = ["[2001:db8::1]:5060", "192.0.2.1:5060"]
        [[upstream]]
        name = "v4"
        members = ["192.0.2.1:5060"]
        sources = ["192.0.2.0/33"]
        [routing]
        default_upstream = "none"
        [[policy]]
        name = "p"
        component = "p.wasm"
        config = { a = 1 }
        config_file = "p.json"
        [[policy]]
        name = "p/q"
        component = "p.wasm"
        failure = "shut"
        [limits]
        idle_s_max = 0
        message_bytes_max = 1_000_000
        foo = 1
        [log]
        format = "xml"
        [nope]
        "#,
        expect![[r#"
            21 faults in the configuration
              server: unknown field `wokers`, expected one of `workers`, `state_dir`, `domains`, `drain_s_max`, `key_rotation_days`; mend or remove that key
              listener[0].address: `1.2.3:5` is not an address; write IP:port, such as 0.0.0.0:5060 or [::]:5060
              listener[0].transport: `sctp` is not a transport; write wss, ws, tls, tcp or udp
              listener[1].advertised: `a b` is not a host; write host, host:port or [IPv6]:port
              listener[1].pages: means nothing to udp; remove it
              upstream[0].name: `web` is the browsers' side; choose another name
              upstream[0].members: empty; write at least one IP:port or name
              upstream[0].oversize: `tcp` is no such way; write fragment, tcp-then-udp or refuse
              upstream[0].listener: no udp listener `x`; add a [[listener]] with transport = "udp" and name it here
              upstream[1].name: `stranger` is the side of who belongs to no upstream; choose another name
              upstream[1].members[1]: 192.0.2.1:5060 is of another address family than its listener [::1]:5060; make an upstream of its own for each family
              upstream[2].sources[0]: `192.0.2.0/33`: not an address range; write an address or a range such as 192.0.2.0/24
              upstream[2].listener: no udp listener of its members' address family; add a [[listener]] with transport = "udp" and name it here
              policy[0].config_file: there is a `config` too; keep one of the two
              policy[1]: unknown variant `shut`, expected `closed` or `open`; mend or remove that key
              routing.default_upstream: no upstream `none`; add an [[upstream]] of that name
              log.format: `xml` is not a format; write text or json
              limits.idle_s_max: 0 is out of range; write a number from 1 to 86400
              limits.foo: unknown key; the keys are message_bytes_max header_count_max header_line_bytes_max body_bytes_max connections_max connections_per_address_max handshakes_in_flight_max handshake_ms_max idle_s_max stream_idle_s_max connection_queue_bytes_max mailbox_messages_max transactions_max calls_max registrations_max contacts_max datagram_sources_max
              limits.connection_queue_bytes_max: smaller than message_bytes_max: a long message would close the connection that it is for; make it at least as large
              nope: unknown section; the sections are server, listener, upstream, registration, media, turn, routing, registrar, auth, dns, test_destinations, policy, admin, log, capture, limits, timers"#]],
    );
}

#[test]
fn what_is_no_number_is_named_by_its_key_and_not_shown() {
    check(
        r#"
        [timers]
        t1_ms = "hush"
        password = "hush"
        "#,
        expect![[r#"
            2 faults in the configuration
              timers.t1_ms: not a number; write a number from 10 to 10000
              timers.password: unknown key; the keys are t1_ms t2_ms t4_ms timer_c_s trying_ms first_response_ms no_answer_s"#]],
    );
}

#[test]
fn upstreams_over_tls_have_a_listener_and_keys_of_their_own() {
    let listener =
        "[[listener]]\nname = \"tls\"\ntransport = \"tls\"\naddress = \"0.0.0.0:5061\"\n";
    let good = r#"
        [[upstream]]
        name = "carrier"
        transport = "tls"
        members = ["sip.carrier.example", "sip.carrier.example:5070", "192.0.2.1:5061"]
        ca = "ca.pem"
        server_name = "carrier.example"
        keepalive = "options"
        "#;
    let config = Config::parse(&format!("{listener}{good}"), Path::new("/etc")).unwrap();
    let upstream = &config.upstreams[0];
    let tls = upstream.tls.as_ref().unwrap();
    assert_eq!(tls.ca.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert_eq!(upstream.keepalive.unwrap().by, KeepaliveBy::Options);
    let host = "sip.carrier.example".to_owned();
    let name = |port| MemberAt::Name {
        host: host.clone(),
        port,
    };
    assert_eq!(upstream.members[..2], [name(None), name(Some(5070))]);
    check(
        r#"
        [[upstream]]
        name = "pbx"
        transport = "tcp"
        members = ["192.0.2.1", "pbx.example:x"]
        oversize = "refuse"
        ca = "ca.pem"
        keepalive = "ping"
        connections_max = 0
        "#,
        expect![[r#"
            7 faults in the configuration
              upstream[0].oversize: means nothing to tcp; remove it
              upstream[0].ca: means nothing to tcp; remove it
              upstream[0].members[0]: `192.0.2.1` is neither an address nor a name; write IP:port, name or name:port, such as 192.0.2.1:5060 or pbx.example.org
              upstream[0].members[1]: `pbx.example:x` is neither an address nor a name; write IP:port, name or name:port, such as 192.0.2.1:5060 or pbx.example.org
              upstream[0].keepalive: `ping` is no such way; write crlf or options
              upstream[0].connections_max: 0 is out of range; write a number from 1 to 64
              upstream[0].listener: no tcp listener of its members' address family; add a [[listener]] with transport = "tcp" and name it here"#]],
    );
}

#[test]
fn dns_chooses_for_one_name_alone() {
    let listener =
        "[[listener]]\nname = \"udp\"\ntransport = \"udp\"\naddress = \"0.0.0.0:5060\"\n";
    let good = r#"
        [dns]
        servers = ["127.0.0.1", "[::1]:5353"]
        [[upstream]]
        name = "carrier"
        transport = "auto"
        members = ["carrier.example"]
        "#;
    let config = Config::parse(&format!("{listener}{good}"), Path::new("/etc")).unwrap();
    let servers = ["127.0.0.1:53", "[::1]:5353"].map(|server| server.parse().unwrap());
    assert_eq!(config.dns.servers, servers);
    let ways = &config.upstreams[0].ways;
    assert_eq!((ways.len(), ways[0].transport), (1, Transport::Udp));
    check(
        r#"
        [dns]
        servers = ["resolver.example"]
        [[upstream]]
        name = "carrier"
        transport = "auto"
        listener = "udp"
        members = ["carrier.example:5060", "192.0.2.1:5060"]
        certificates = ["sip:carrier.example"]
        "#,
        expect![[r#"
            5 faults in the configuration
              upstream[0].listener: means nothing to auto; remove it
              upstream[0].members: `transport = "auto"` is for one name without a port; write that name alone, or another transport
              upstream[0].certificates: its listener asks for no certificates; add client_ca to a [[listener]] with transport = "tls"
              upstream[0].certificates[0]: `sip:carrier.example` is not a name; write the domain that is in its certificate, such as sip.carrier.example
              dns.servers[0]: `resolver.example` is not an address; write IP or IP:port"#]],
    );
}

#[test]
fn what_is_no_toml_says_where() {
    check(
        "[server\n",
        expect![[r#"
        1 fault in the configuration
          not TOML: TOML parse error at line 1, column 8
            |
          1 | [server
            |        ^
          unclosed table, expected `]`; mend the syntax there"#]],
    );
}

#[test]
fn a_policy_is_found_beside_the_file() {
    let text = r#"
        [[policy]]
        name = "rules"
        component = "rules.wasm"
        place = "first"
        isolation = "message"
        failure = "open"
        limits = { cpu_ms_max = 7 }
        config = { header = "X", n = 1 }
        "#;
    let config = Config::parse(text, Path::new("/etc/hookswitch")).unwrap();
    let policy = &config.policies[0];
    assert_eq!(policy.component, Path::new("/etc/hookswitch/rules.wasm"));
    assert_eq!(policy.limits.cpu_ms_max, 7);
    assert_eq!(
        policy.failure.request,
        hookswitch_policy::spec::FailureMode::Open
    );
    let inline = serde_json::json!({ "header": "X", "n": 1 });
    assert_eq!(
        policy.config,
        hookswitch_policy::spec::ConfigSource::Inline(inline)
    );
}

#[test]
fn one_failure_mode_for_all_hooks_lets_calls_end() {
    use hookswitch_policy::spec::FailureMode::{Closed, Open};
    let of = |failure: &str| {
        let text = format!("[[policy]]\nname = \"p\"\ncomponent = \"p\"\nfailure = {failure}\n");
        let failure = Config::parse(&text, Path::new(".")).unwrap().policies[0].failure;
        (failure.request, failure.branch, failure.in_dialog)
    };
    assert_eq!(of("\"closed\""), (Closed, Closed, Open));
    assert_eq!(
        of(r#"{ branch = "closed", in_dialog = "closed" }"#),
        (Closed, Closed, Closed)
    );
}

#[test]
fn what_policies_may_need_together_has_a_limit() {
    check(
        r#"
        [server]
        workers = 2
        [[policy]]
        name = "p"
        component = "p.wasm"
        limits = { hooks_in_flight_max = 20000 }
        "#,
        expect![[r#"
            1 fault in the configuration
              policy: the policies may need 20049 instances at once; 10000 are the most; lower limits.hooks_in_flight_max of policies, or server.workers"#]],
    );
}

#[test]
fn what_can_change_while_it_runs_is_told_from_the_rest() {
    let with = |domain: &str, n: u32| {
        let text = format!(
            "[server]\ndomains = [{domain:?}]\n[[policy]]\nname = \"p\"\ncomponent = \"p\"\nconfig = {{ n = {n} }}\n"
        );
        Config::parse(&text, Path::new(".")).unwrap()
    };
    assert!(with("a", 1).differs_in_policy_configs_alone(&with("a", 2)));
    assert!(!with("a", 1).differs_in_policy_configs_alone(&with("b", 2)));
}

#[test]
fn a_realm_offers_what_every_phone_knows() {
    let text = r#"
        [[auth.realm]]
        name = "example.com"
        users = "users.toml"
        [[policy]]
        name = "p"
        component = "p.wasm"
        grants = { auth = ["example.com"] }
        "#;
    let config = Config::parse(text, Path::new("/etc/hookswitch")).unwrap();
    expect![[r#"
        Auth {
            realms: [
                Realm {
                    config: RealmConfig {
                        name: "example.com",
                        algorithms: [
                            Md5,
                        ],
                        qop: [
                            Auth,
                        ],
                        nonce_lifetime: 300s,
                        uri_check: RequestUri,
                    },
                    users: "/etc/hookswitch/users.toml",
                },
            ],
            issuers: [],
        }
    "#]]
    .assert_debug_eq(&config.auth);
    assert_eq!(config.policies[0].grants.auth, ["example.com"]);
}

#[test]
fn faults_of_realms_are_told() {
    check(
        r#"
        [auth]
        relm = 1
        [[auth.realm]]
        name = 'say "friend"'
        users = "users.toml"
        algorithms = ["md5", "MD5", "crypt"]
        qop = []
        [[auth.realm]]
        name = "a"
        users = "users.toml"
        nonce_s_max = 0
        [[auth.realm]]
        name = "a"
        users = "users.toml"
        uri = "no"
        [[auth.realm]]
        name = "b"
        [[policy]]
        name = "p"
        component = "p.wasm"
        grants = { auth = ["c"] }
        "#,
        expect![[r#"
            10 faults in the configuration
              auth.realm[3]: missing field `users`; mend or remove that key
              auth.realm[0].name: "say \"friend\"" is not a name; write a domain, or words without quotes
              auth.realm[0].algorithms: `MD5` stands there twice; keep one
              auth.realm[0].algorithms: `crypt` is not known; write SHA-256 or MD5
              auth.realm[0].qop: empty; write auth or auth-int
              auth.realm[1].nonce_s_max: 0 is out of range; write a number from 1 to 86400
              auth.realm[2].name: `a` is taken by another realm or issuer; choose another name
              auth.realm[2].uri: `no` is no such check; write request or any
              auth.relm: unknown key; the keys are realm, issuer
              policy[0].grants.auth: no realm or issuer `c`; add an [[auth.realm]] or [[auth.issuer]] of that name"#]],
    );
}

#[test]
fn an_issuer_has_public_keys_of_any_algorithm_unless_it_says_which() {
    let text = r#"
        [[auth.issuer]]
        name = "idp"
        issuer = "https://idp.example/"
        audience = ["sip"]
        keys_url = "https://idp.example/keys"
        "#;
    let config = Config::parse(text, Path::new("/etc/hookswitch")).unwrap();
    expect![[r#"
        [
            Issuer {
                config: IssuerConfig {
                    name: "idp",
                    issuer: "https://idp.example/",
                    audience: [
                        "sip",
                    ],
                    algorithms: [
                        Rs256,
                        Ps256,
                        Es256,
                        Es384,
                        EdDsa,
                    ],
                    leeway: 30s,
                    authz_server: "https://idp.example/",
                },
                keys: Url(
                    KeyUrl {
                        url: https://idp.example/keys,
                        ca: None,
                        every_min: 10s,
                        every_max: 300s,
                    },
                ),
            },
        ]
    "#]]
    .assert_debug_eq(&config.auth.issuers);
}

#[test]
fn faults_of_issuers_are_told() {
    check(
        r#"
        [[auth.issuer]]
        name = "a"
        issuer = "https://idp.example/"
        audience = []
        algorithms = ["HS256", "RS256", "none"]
        keys_url = "https://idp.example/keys"
        [[auth.issuer]]
        name = "b"
        issuer = "idp"
        audience = ["sip"]
        keys_url = "http://idp.example/keys"
        keys_s_min = 0
        [[auth.issuer]]
        name = "b"
        issuer = "https://idp.example/"
        audience = ["sip"]
        authz_server = 'https://a/"b'
        keys_file = "keys.json"
        leeway_s = 3600
        [[auth.issuer]]
        name = "d"
        issuer = "https://idp.example/"
        audience = ["sip"]
        [[auth.issuer]]
        name = "e"
        issuer = "https://idp.example/"
        audience = ["sip"]
        keys_url = "https://me:secret@idp.example/keys"
        "#,
        expect![[r#"
            12 faults in the configuration
              auth.issuer[0].algorithms: `none` is not known; the algorithms are RS256, PS256, ES256, ES384, EdDSA, HS256
              auth.issuer[0].algorithms: a shared secret beside public keys; make two issuers of it
              auth.issuer[0].keys_url: a shared secret is not to be fetched; write keys_file
              auth.issuer[0].audience: empty; write what the claim aud must have
              auth.issuer[1].keys_url: `http://idp.example/keys` is not a URL of https; write https://, or http:// for this machine itself
              auth.issuer[1].keys_s_min: 0 is out of range; write a number from 1 to 86400
              auth.issuer[1].issuer: `idp` is not a URL of https; write where clients get tokens in authz_server
              auth.issuer[2].name: `b` is taken by another realm or issuer; choose another name
              auth.issuer[2].leeway_s: 3600 is out of range; write a number from 0 to 600
              auth.issuer[2].authz_server: `https://a/"b` is not a URL of https; write where clients get tokens in authz_server
              auth.issuer[3].keys_file: keys come from one place; write keys_file or keys_url
              auth.issuer[4].keys_url: a URL with a user before the host; leave out what stands before the @: keys are given to everybody"#]],
    );
}

#[test]
fn connections_alone_have_a_flow_timer() {
    let listener = |transport: &str, flow_timer_s: i64| {
        format!(
            "[[listener]]\nname = \"{transport}\"\ntransport = \"{transport}\"\naddress = \"0.0.0.0:5060\"\nflow_timer_s = {flow_timer_s}\n"
        )
    };
    let good = Config::parse(&listener("tcp", 120), Path::new("/etc")).unwrap();
    let told = good.listeners[0].flow_timer;
    assert_eq!(told, Some(Duration::from_secs(120)));
    check(
        &(listener("udp", 120) + &listener("ws", 0)),
        expect![[r#"
        2 faults in the configuration
          listener[0].flow_timer_s: means nothing to udp; remove it
          listener[1].flow_timer_s: 0 is out of range; write a number from 1 to 86400"#]],
    );
}
