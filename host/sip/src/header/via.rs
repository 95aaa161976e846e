//! Via (RFC 3261 §20.42, RFC 3581).

use super::{
    ViewError,
    params::{Params, split_once, trim},
    text,
};
use crate::{
    message::text::cut,
    uri::{Host, host::split_port},
};

/// One value of Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS`, … as written.
    pub transport: &'a str,
    /// Who sent it.
    pub sent_by: SentBy<'a>,
    /// All parameters.
    pub params: Params<'a>,
}

/// Host and port of a Via.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentBy<'a> {
    /// As written: `host:port`, white space in it included.
    pub text: &'a str,
    /// The host.
    pub host: Host<'a>,
    /// The port, if written.
    pub port: Option<u16>,
}

impl<'a> Via<'a> {
    /// Reads one value. White space may stand around each separator.
    ///
    /// # Errors
    /// [`ViewError`], also for a protocol other than SIP/2.0.
    pub fn parse(value: &'a [u8]) -> Result<Self, ViewError> {
        let (head, params) = split_once(text(value, "Via")?, b';');
        let (name, rest) = cut(head, b'/').ok_or(ViewError("Via protocol"))?;
        let (version, rest) = cut(rest, b'/').ok_or(ViewError("Via protocol"))?;
        if !trim(name).eq_ignore_ascii_case("SIP") || trim(version) != "2.0" {
            return Err(ViewError("Via protocol"));
        }
        let rest = trim(rest);
        let space = rest.bytes().position(|byte| byte.is_ascii_whitespace());
        let (transport, sent_by) = rest.split_at(space.ok_or(ViewError("Via transport"))?);
        Ok(Self {
            transport,
            sent_by: SentBy::parse(trim(sent_by))?,
            params: Params::new(params.unwrap_or_default()),
        })
    }

    /// Of the transaction (RFC 3261 §17.2.3).
    #[must_use]
    pub fn branch(&self) -> Option<&'a str> {
        self.params
            .get("branch")
            .filter(|branch| !branch.is_empty())
    }

    /// The branch of a value that need not be read for anything else.
    pub(crate) fn branch_of(value: &'a [u8]) -> Option<&'a str> {
        let (_, params) = split_once(text(value, "Via").ok()?, b';');
        let branch = Params::new(params?).get("branch")?;
        (!branch.is_empty()).then_some(branch)
    }

    /// RFC 3581: `None` if not there, `Some(None)` if asked for, `Some(Some(port))` if answered.
    #[must_use]
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params
            .find("rport")
            .map(|port| port.and_then(|port| port.parse().ok()))
    }
}

impl<'a> SentBy<'a> {
    fn parse(text: &'a str) -> Result<Self, ViewError> {
        let (host, port) = split_port(text).map_err(|_| ViewError("Via port"))?;
        let host = Host::parse(host).map_err(|_| ViewError("Via host"))?;
        Ok(Self { text, host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_via() {
        let via = Via::parse(
            b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport;received=192.0.2.9;x=\"a;b\"",
        )
        .unwrap();
        assert_eq!(
            (via.transport, via.sent_by.port, via.branch()),
            ("UDP", Some(5060), Some("z9hG4bKa"))
        );
        assert_eq!(via.rport(), Some(None));
        let via = Via::parse(
            b"SIP  / 2.0\r\n / WSS \t [2001:db8::1] : 7 ;rport=9 ; BRANCH = x;maddr=h;ttl=3",
        )
        .unwrap();
        assert_eq!(
            (via.transport, via.sent_by.host.to_string().as_str()),
            ("WSS", "[2001:db8::1]")
        );
        assert_eq!(
            (via.sent_by.port, via.rport(), via.branch()),
            (Some(7), Some(Some(9)), Some("x"))
        );
        assert_eq!(
            Via::parse(b"SIP/2.0/WS df7jal23ls0d.invalid")
                .unwrap()
                .branch(),
            None
        );
    }

    #[test]
    fn what_is_no_via() {
        for wrong in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 host",
            "SIP/3.0/UDP h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDP h:x",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP ;branch=1",
        ] {
            assert!(Via::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
