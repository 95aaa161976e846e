//! Who registers where: what every kind of phone is told.

use std::net::SocketAddr;

use crate::DOMAIN;

/// How a phone or an upstream is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// One connection.
    Tcp,
    /// One connection, encrypted.
    Tls,
}

impl Transport {
    /// As a URI's parameter and our configuration name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// A phone's account, and where its registrar is.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// The user of [`DOMAIN`].
    pub user: &'static str,
    /// Where it sends everything.
    pub server: SocketAddr,
    /// By what.
    pub transport: Transport,
}

impl Account {
    /// Its address of record.
    #[must_use]
    pub fn uri(&self) -> String {
        uri_of(self.user)
    }

    /// What it proves itself with.
    #[must_use]
    pub fn password(&self) -> String {
        password_of(self.user)
    }
}

/// The address of record of a user of ours.
#[must_use]
pub fn uri_of(user: &str) -> String {
    format!("sip:{user}@{DOMAIN}")
}

/// Everybody's is their own.
#[must_use]
pub fn password_of(user: &str) -> String {
    format!("secret-of-{user}")
}
