//! Messages for the log: without what would let its reader in.

use crate::message::{HeaderName, trim};

/// What stands in the place of a secret.
const REDACTED: &[u8] = b"***";

/// Parameters of digest authentication (RFC 7616) that are secret, or that a secret can be guessed from.
const SECRET_PARAMS: [&[u8]; 6] = [
    b"response",
    b"rspauth",
    b"nonce",
    b"cnonce",
    b"nextnonce",
    b"opaque",
];

/// How a JSON object begins in base64: `{` with a quote and a letter, a blank, LF, CR, or a tab behind it.
const OBJECTS: [&[u8]; 5] = [b"eyJ", b"eyA", b"ewo", b"ew0", b"ewk"];

/// A message's bytes with the secrets of Authorization, Proxy-Authorization, the challenges to them and Authentication-Info, and tokens
/// in any field, replaced by `***`, and the keys of SDP (`a=crypto`, `a=ice-pwd`) by as many asterisks. Bytes that are no message are taken line
/// by line too.
#[must_use]
pub fn redact(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut rest = message;
    while !rest.is_empty() {
        let (field, after) = rest.split_at(field_end(rest));
        redact_field(field, &mut out);
        rest = after;
    }
    out
}

/// After the first line with the lines folded into it.
fn field_end(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(line) = memchr::memchr(b'\n', bytes.get(end..).unwrap_or_default()) {
        end += line + 1;
        if !matches!(bytes.get(end), Some(b' ' | b'\t')) {
            return end;
        }
    }
    bytes.len()
}

fn redact_field(field: &[u8], out: &mut Vec<u8>) {
    use HeaderName::{
        AuthenticationInfo, Authorization, ProxyAuthenticate, ProxyAuthenticationInfo,
        ProxyAuthorization, WwwAuthenticate,
    };
    let colon = memchr::memchr(b':', field).unwrap_or(0);
    let (name, value) = field.split_at(colon);
    match HeaderName::find(name.trim_ascii_end()) {
        Some(
            WwwAuthenticate | ProxyAuthenticate | AuthenticationInfo | ProxyAuthenticationInfo,
        ) => redact_params(field, out),
        Some(Authorization | ProxyAuthorization) if is_digest(value) => redact_params(field, out),
        // Of Bearer and of what we do not know, nothing but the scheme is told.
        Some(Authorization | ProxyAuthorization) => redact_after_scheme(field, colon + 1, out),
        // A token in a field of somebody's own.
        Some(_) | None if is_token(value.get(1..).unwrap_or_default()) => {
            redact_after_scheme(field, colon + 1, out)
        }
        Some(_) | None if name == b"a=crypto" || name == b"a=ice-pwd" => {
            mask(field, colon + 1, out)
        }
        Some(_) | None => out.extend_from_slice(field),
    }
}

fn is_digest(value: &[u8]) -> bool {
    let scheme = trim(value.get(1..).unwrap_or_default())
        .get(..7)
        .unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"Digest ")
}

/// Of a field: `Bearer …`, or a JSON Web Token alone.
pub(crate) fn is_token(value: &[u8]) -> bool {
    let mut words = value
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    first.eq_ignore_ascii_case(b"Bearer") || is_web_token(first)
}

/// At least three parts in base64url, of which the first is a JSON object with something in it (RFC 7515 §7.1, RFC 7516 §7.1).
fn is_web_token(word: &[u8]) -> bool {
    let is_separator = |byte: &u8| matches!(byte, b';' | b',');
    let word = word.split(is_separator).next().unwrap_or_default();
    let is_base64url =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_object = OBJECTS.iter().any(|start| word.starts_with(start));
    is_object && word.iter().all(is_base64url) && memchr::memchr_iter(b'.', word).count() >= 2
}

fn redact_after_scheme(field: &[u8], value: usize, out: &mut Vec<u8>) {
    let (name, text) = field.split_at(value);
    let mut words = text
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    out.extend_from_slice(name);
    if let (Some(scheme), Some(_)) = (words.next(), words.next()) {
        out.push(b' ');
        out.extend_from_slice(scheme);
    }
    out.push(b' ');
    redact_from(text, 0, out);
}

/// Hides what is after `at`; the body stays as long as Content-Length says.
fn mask(field: &[u8], at: usize, out: &mut Vec<u8>) {
    let text = field.trim_ascii_end().len();
    let is_secret = |index| at <= index && index < text;
    out.extend(
        field
            .iter()
            .enumerate()
            .map(|(index, &byte)| if is_secret(index) { b'*' } else { byte }),
    );
}

/// Keeps what is before `at`, and the end of the line.
fn redact_from(field: &[u8], at: usize, out: &mut Vec<u8>) {
    let text = field.trim_ascii_end().len();
    out.extend_from_slice(field.get(..at.min(text)).unwrap_or_default());
    out.extend_from_slice(REDACTED);
    out.extend_from_slice(field.get(text..).unwrap_or_default());
}

/// Looks at each `=` rather than at quotes, so that a quote that is never closed hides nothing.
fn redact_params(field: &[u8], out: &mut Vec<u8>) {
    let mut rest = field;
    while let Some(equals) = memchr::memchr(b'=', rest) {
        let (before, value) = rest.split_at(equals + 1);
        out.extend_from_slice(before);
        rest = value;
        let name = trim(before.get(..equals).unwrap_or_default());
        let name = name
            .rsplit(|byte| matches!(byte, b',' | b' ' | b'\t' | b'\n' | b'"'))
            .next()
            .unwrap_or_default();
        if SECRET_PARAMS
            .iter()
            .any(|secret| secret.eq_ignore_ascii_case(name))
        {
            out.extend_from_slice(REDACTED);
            rest = value.get(value_end(value)..).unwrap_or_default();
        }
    }
    out.extend_from_slice(rest);
}

/// After a quoted string or a token.
fn value_end(value: &[u8]) -> usize {
    let start = value.len() - value.trim_ascii_start().len();
    let text = value.get(start..).unwrap_or_default();
    let end = match text.strip_prefix(b"\"") {
        Some(inner) => memchr::memchr(b'"', inner).map(|end| end + 2),
        None => memchr::memchr3(b',', b'\r', b'\n', text),
    };
    start + end.unwrap_or(text.trim_ascii_end().len())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(message: &str, expected: Expect) {
        expected.assert_eq(
            &String::from_utf8(redact(message.replace('\n', "\r\n").as_bytes()))
                .unwrap()
                .replace("\r\n", "\n"),
        );
    }

    #[test]
    fn secrets_are_replaced_and_the_rest_stays() {
        check(
            "REGISTER sip:h SIP/2.0\nauthorization : Digest username=\"a\", NONCE = \"n,1\",\n response=\"0123\", uri=\"sip:h;x=y\", cnonce=abc\n\
             Proxy-Authorization: Bearer eyJ.eyJ.sig\nAuthorization: Bearer\n  folded\nProxy-Authenticate: Digest realm=\"r\", nonce=\"n\"\n\
             X: nonce=1\nX-Token: eyJ.eyJ.sig\nX-Auth:bearer abc\n\
             X-Wide: ewogICJh.ewogICJi.sig\nX-Blank:\n eyAi.eyAi.;x=y\nX-Name: eyJh.example\nX-Host: eyes.example.org\n\na=ice-pwd:secret\na=crypto:1 AES inline:key\nm=audio",
            expect![[r#"
                REGISTER sip:h SIP/2.0
                authorization : Digest username="a", NONCE =***,
                 response=***, uri="sip:h;x=y", cnonce=***
                Proxy-Authorization: Bearer ***
                Authorization: Bearer ***
                Proxy-Authenticate: Digest realm="r", nonce=***
                X: nonce=1
                X-Token: ***
                X-Auth: bearer ***
                X-Wide: ***
                X-Blank: ***
                X-Name: eyJh.example
                X-Host: eyes.example.org

                a=ice-pwd:******
                a=crypto:****************
                m=audio"#]],
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_hides_nothing() {
        check(
            "Authorization: Digest username=\"a, response=\"0123\"\n",
            expect![[r#"
            Authorization: Digest username="a, response=***
        "#]],
        );
        check(
            "Authorization: Digest nonce=\"0123\n",
            expect![[r#"
            Authorization: Digest nonce=***
        "#]],
        );
    }
}
