//! An issuer of tokens as an operator knows one: keys, tokens signed with them, and a server that gives the keys away.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Builder,
    task::AbortHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

/// A key of the issuer.
pub(crate) struct Signer {
    id: &'static str,
    private: EncodingKey,
}

impl Signer {
    pub(crate) fn new(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let private = EncodingKey::from_ec_der(&pair.serialize_der());
        Self { id, private }
    }

    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.id.to_owned());
        encode(&header, claims, &self.private).unwrap()
    }

    /// For this user, and good for so many seconds.
    pub(crate) fn token(&self, user: &str, lasts_s: i64) -> String {
        self.sign(&claims(user, lasts_s))
    }
}

pub(crate) fn claims(user: &str, lasts_s: i64) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let exp = i64::try_from(now.as_secs()).unwrap() + lasts_s;
    json!({ "iss": "https://idp.example/", "aud": "sip", "sub": user, "exp": exp })
}

pub(crate) fn key_set(signer: &Signer) -> String {
    json!({ "keys": [signer.jwk()] }).to_string()
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// A server of keys, on a thread of its own: gives to everybody what it has, or 503 if it has nothing.
pub(crate) struct KeyServer {
    keys: Arc<Mutex<Option<String>>>,
    /// Who got no keys: there were none, or its TLS handshake failed.
    turned_away: Arc<AtomicU32>,
    pub(crate) port: u16,
    pub(crate) task: AbortHandle,
}

impl KeyServer {
    pub(crate) fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (keys, turned_away) = (Arc::default(), Arc::<AtomicU32>::default());
        let has = (Arc::clone(&keys), Arc::clone(&turned_away));
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let task = runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match &tls {
                    None => Self::give(stream, &has).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => Self::give(stream, &has).await,
                        Err(_) => drop(has.1.fetch_add(1, Ordering::Relaxed)),
                    },
                }
            }
        });
        let abort = task.abort_handle();
        // Whoever starts a server waits for its first answer.
        std::thread::spawn(move || drop(runtime.block_on(task)));
        Self {
            keys,
            turned_away,
            port,
            task: abort,
        }
    }

    /// Until so many more were turned away.
    pub(crate) async fn turns_away(&self, count: u32) {
        let until = self.turned_away.load(Ordering::Relaxed) + count;
        while self.turned_away.load(Ordering::Relaxed) < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn have(&self, keys: Option<String>) {
        *self.keys.lock().unwrap() = keys;
    }

    async fn give(
        mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
        (keys, turned_away): &(Arc<Mutex<Option<String>>>, Arc<AtomicU32>),
    ) {
        let mut request = [0; 1_024];
        let length = stream.read(&mut request).await.unwrap();
        assert!(request[..length].starts_with(b"GET /keys HTTP/1.1\r\n"));
        let (status, body) = match keys.lock().unwrap().clone() {
            Some(keys) => ("200 OK", keys),
            None => {
                turned_away.fetch_add(1, Ordering::Relaxed);
                ("503 Service Unavailable", String::new())
            }
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.unwrap();
        // One that hangs up first is no fault of ours.
        let _ = stream.shutdown().await;
    }
}

/// A certificate for this machine, as PEM and to be shown by a server.
pub(crate) fn certificate() -> (String, TlsAcceptor) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key))
        .unwrap();
    (made.cert.pem(), TlsAcceptor::from(Arc::new(config)))
}
