//! A server of names that knows what a test tells it, over UDP and TCP.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME, NAPTR, SRV},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// Running until it is dropped.
pub(crate) struct Dns {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Zone {
    records: BTreeMap<(String, RecordType), (u32, Vec<RData>)>,
    datagrams: Datagrams,
    /// Of which nothing can be said now.
    failing: Option<String>,
    asked: Vec<(String, RecordType)>,
}

/// What fits into one.
#[derive(Clone, Copy, Default, PartialEq)]
enum Datagrams {
    #[default]
    Everything,
    Nothing,
}

impl Dns {
    pub(crate) async fn start() -> Self {
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = datagrams.local_addr().unwrap();
        let streams = TcpListener::bind(address).await.unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(over_udp(datagrams, Arc::clone(&zone)));
        tasks.spawn(over_tcp(streams, Arc::clone(&zone)));
        Self {
            address,
            zone,
            _tasks: tasks,
        }
    }

    /// For the server's configuration.
    pub(crate) fn section(&self) -> String {
        format!("[dns]\nservers = [\"{}\"]\n", self.address)
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap()
    }

    /// From now on these are all records of their kind of a name.
    pub(crate) fn set(&self, name: &str, ttl: u32, records: Vec<RData>) {
        let kind = records[0].record_type();
        let key = (name.to_owned(), kind);
        self.zone().records.insert(key, (ttl, records));
    }

    pub(crate) fn forget_everything(&self) {
        self.zone().records.clear();
    }

    /// From now on the answer for this name alone is that there is none.
    pub(crate) fn fail(&self, name: Option<&str>) {
        self.zone().failing = name.map(str::to_owned);
    }

    /// Whoever wants an answer must ask over TCP.
    pub(crate) fn truncate(&self) {
        self.zone().datagrams = Datagrams::Nothing;
    }

    /// How often it was asked that.
    pub(crate) fn asked(&self, name: &str, kind: RecordType) -> usize {
        let question = (name.to_owned(), kind);
        let zone = self.zone();
        zone.asked
            .iter()
            .filter(|asked| **asked == question)
            .count()
    }
}

pub(crate) fn address(ip: [u8; 4]) -> RData {
    RData::A(A(Ipv4Addr::from(ip)))
}

pub(crate) fn alias(name: &str) -> RData {
    RData::CNAME(CNAME(of(name)))
}

pub(crate) fn service(priority: u16, weight: u16, port: u16, target: &str) -> RData {
    RData::SRV(SRV::new(priority, weight, port, of(target)))
}

pub(crate) fn pointer(order: u16, services: &str, replacement: &str) -> RData {
    let bytes = |text: &str| text.as_bytes().into();
    let to = of(replacement);
    RData::NAPTR(NAPTR::new(
        order,
        0,
        bytes("s"),
        bytes(services),
        bytes(""),
        to,
    ))
}

fn of(name: &str) -> Name {
    Name::from_ascii(format!("{name}.")).unwrap()
}

async fn over_udp(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut buffer = [0; 4_096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let mut answer = answer(&buffer[..length], &mut zone.lock().unwrap());
        if zone.lock().unwrap().datagrams == Datagrams::Nothing {
            answer = answer.truncate();
            answer.metadata.truncation = true;
        }
        let _ = socket.send_to(&answer.to_vec().unwrap(), peer).await;
    }
}

async fn over_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream, Arc::clone(&zone)));
    }
}

async fn converse(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) -> Option<()> {
    loop {
        let length = stream.read_u16().await.ok()?;
        let mut question = vec![0; length.into()];
        stream.read_exact(&mut question).await.ok()?;
        let answer = answer(&question, &mut zone.lock().unwrap());
        let bytes = answer.to_vec().unwrap();
        stream
            .write_u16(bytes.len().try_into().unwrap())
            .await
            .ok()?;
        stream.write_all(&bytes).await.ok()?;
    }
}

/// With what an alias leads to, as resolvers answer.
fn answer(question: &[u8], zone: &mut Zone) -> Message {
    let question = Message::from_vec(question).unwrap();
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.recursion_available = true;
    let query = question.queries[0].clone();
    let mut name = query.name().to_string().trim_end_matches('.').to_owned();
    let kind = query.query_type();
    zone.asked.push((name.clone(), kind));
    answer.add_query(query);
    if zone.failing.as_ref() == Some(&name) {
        answer.metadata.response_code = ResponseCode::ServFail;
        return answer;
    }
    loop {
        let found = zone.records.get(&(name.clone(), kind));
        let aliased = zone.records.get(&(name.clone(), RecordType::CNAME));
        let Some((ttl, records)) = found.or(aliased) else {
            let is_name = |(known, _): &(String, RecordType)| *known == name;
            if !zone.records.keys().any(is_name) {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            return answer;
        };
        let record = |data: &RData| Record::from_rdata(of(&name), *ttl, data.clone());
        answer.add_answers(records.iter().map(record));
        let next = match &records[0] {
            RData::CNAME(next) if kind != RecordType::CNAME => next.0.to_string(),
            _ => return answer,
        };
        name = next.trim_end_matches('.').to_owned();
    }
}
