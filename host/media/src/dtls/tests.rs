//! Two associations over a lossy net, on a virtual clock.

use super::*;

fn config() -> DtlsConfig {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    DtlsConfig::new(certificate.der().to_vec(), key.serialize_der()).unwrap()
}

struct Net {
    now: Instant,
    client: Association,
    server: Association,
    /// Which datagrams go lost: counts all that are sent.
    sent: u32,
    lost: fn(u32) -> bool,
}

impl Net {
    fn new(client: &DtlsConfig, server: &DtlsConfig, lost: fn(u32) -> bool) -> Net {
        let now = Instant::now();
        Net {
            now,
            client: Association::new(client, Role::Client, now),
            server: Association::new(server, Role::Server, now),
            sent: 0,
            lost,
        }
    }

    /// Until both are done, or nothing more happens.
    fn run(&mut self) -> Result<(), DtlsError> {
        let (mut to_server, mut to_client): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
        let now = self.now;
        self.client
            .handle_timeout(now, &mut |b| to_server.push(b.to_vec()))?;
        self.server
            .handle_timeout(now, &mut |b| to_client.push(b.to_vec()))?;
        for _ in 0..1000 {
            for bytes in std::mem::take(&mut to_server) {
                self.sent += 1;
                if !(self.lost)(self.sent) {
                    let send = &mut |b: &[u8]| to_client.push(b.to_vec());
                    self.server.handle(self.now, &bytes, send)?;
                }
            }
            for bytes in std::mem::take(&mut to_client) {
                self.sent += 1;
                if !(self.lost)(self.sent) {
                    let send = &mut |b: &[u8]| to_server.push(b.to_vec());
                    self.client.handle(self.now, &bytes, send)?;
                }
            }
            let done = |end: &Association| end.stage() == Stage::Unverified;
            if done(&self.client) && done(&self.server) {
                return Ok(());
            }
            if to_server.is_empty() {
                let wakes = [self.client.poll_timeout(), self.server.poll_timeout()];
                self.now = wakes.into_iter().flatten().min().unwrap();
                let send = &mut |b: &[u8]| to_server.push(b.to_vec());
                self.client.handle_timeout(self.now, send)?;
                let send = &mut |b: &[u8]| to_client.push(b.to_vec());
                self.server.handle_timeout(self.now, send)?;
            }
        }
        panic!("not done");
    }
}

fn keys_of(net: &mut Net, client: &DtlsConfig, server: &DtlsConfig) -> [KeyPair; 2] {
    let named = [server.fingerprint().clone()];
    let of_client = net.client.verify(&named).unwrap().unwrap();
    let named = [
        Fingerprint::of(b"of another network"),
        client.fingerprint().clone(),
    ];
    let of_server = net.server.verify(&named).unwrap().unwrap();
    [of_client, of_server]
}

#[test]
fn both_ends_get_the_same_keys_even_with_losses() {
    let (client, server) = (config(), config());
    // Not for ever: a flight may happen to be of as many datagrams as make the same one go lost each time.
    let losses: [fn(u32) -> bool; 4] = [
        |_| false,
        |n| n == 1,
        |n| n % 3 == 0 && n < 30,
        |n| n % 2 == 0 && n < 10,
    ];
    for lost in losses {
        let mut net = Net::new(&client, &server, lost);
        net.run().unwrap();
        let [of_client, of_server] = keys_of(&mut net, &client, &server);
        assert_eq!(of_client.outbound, of_server.inbound);
        assert_eq!(of_client.inbound, of_server.outbound);
        assert_ne!(of_client.inbound, of_client.outbound);
        assert_eq!(net.server.stage(), Stage::Verified);
        let again = net.server.verify(&[client.fingerprint().clone()]);
        assert_eq!(again, Ok(None), "given once");
    }
}

#[test]
fn speaks_1_2_with_one_that_speaks_no_other() {
    let (client, server) = (config(), config());
    let mut net = Net::new(&client, &server, |_| false);
    let old = dimpl::Config::builder().dtls13_cipher_suites(&[]);
    let old = Arc::new(old.build().unwrap());
    let mut dtls = Dtls::new_12(old, client.certificate.clone(), net.now);
    dtls.set_active(true);
    *net.client.dtls = dtls;
    net.run().unwrap();
    let [of_client, of_server] = keys_of(&mut net, &client, &server);
    assert_eq!(of_client.outbound, of_server.inbound);
}

#[test]
fn no_key_before_the_fingerprint_is_known_and_none_with_a_wrong_one() {
    let (client, server) = (config(), config());
    let mut net = Net::new(&client, &server, |_| false);
    assert_eq!(
        net.server.verify(&[client.fingerprint().clone()]),
        Ok(None),
        "before the handshake"
    );
    net.run().unwrap();
    assert_eq!(net.server.stage(), Stage::Unverified);
    let wrong = [server.fingerprint().clone(), Fingerprint::of(b"")];
    assert_eq!(net.server.verify(&wrong), Err(DtlsError::WrongFingerprint));
    assert_eq!(net.server.verify(&[]), Err(DtlsError::WrongFingerprint));
}

#[test]
fn a_client_gives_up_where_nobody_answers() {
    let (client, server) = (config(), config());
    let mut net = Net::new(&client, &server, |_| true);
    let started = net.now;
    assert!(matches!(net.run(), Err(DtlsError::Handshake(_))));
    assert!(net.now - started <= HANDSHAKE + Duration::from_secs(1));
}

#[test]
fn setup_is_read_as_it_is_written() {
    for setup in [Setup::Active, Setup::Passive, Setup::ActPass] {
        assert_eq!(setup.to_string().parse(), Ok(setup));
    }
    assert_eq!("holdconn".parse::<Setup>(), Err(NoSetup));
}
