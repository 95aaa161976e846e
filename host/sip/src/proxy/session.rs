//! Which session of a web client a message speaks for.

use super::names::Names;
use crate::{
    header::NameAddr,
    message::{HeaderName, Message},
    registrar::Aor,
    token::SessionKey,
    uri::{SipUri, Uri},
};

/// The session that a message on this flow speaks for.
pub(super) fn session_of(names: &Names, message: &Message, party: HeaderName) -> SessionKey {
    let uri = |name| {
        message
            .raw(name)
            .and_then(|value| NameAddr::parse(value).ok())
            .map(|address| address.uri)
    };
    let aor = uri(party).and_then(|uri| names.aor(&Uri::parse(uri).ok()?));
    let contact = message
        .values(HeaderName::Contact)
        .next()
        .and_then(|value| NameAddr::parse(value).ok());
    session_key(aor.as_ref(), contact.map_or("", |contact| contact.uri))
}

/// Of an address of record and a Contact URI, whose parameters differ between methods.
pub(super) fn session_key(aor: Option<&Aor>, contact: &str) -> SessionKey {
    let address = SipUri::from_text(contact).map(|uri| {
        let port = uri.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!(
            "{}@{}{port}",
            uri.user.unwrap_or_default(),
            uri.host.to_string().to_ascii_lowercase()
        )
    });
    SessionKey::new(
        aor.map_or("", Aor::as_str),
        address.as_deref().unwrap_or(contact).as_bytes(),
    )
}
