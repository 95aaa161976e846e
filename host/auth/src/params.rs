//! `name=value, name="value"` of credentials and challenges (RFC 3261 §25.1, `auth-param`). Values come without their quotes and with
//! their escapes: that is what digests are computed over (RFC 7616 §3.4.1, `unq`).

use thiserror::Error;

/// Parameters of one field; RFC 7616 knows eleven.
const PARAMS_MAX: usize = 32;

/// Why a list cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum ParamFault {
    #[error("more than {PARAMS_MAX} parameters")]
    TooMany,
    #[error("a parameter without a value")]
    NoValue,
    #[error("a quote that is never closed")]
    OpenQuote,
    #[error("something between two parameters")]
    Garbage,
}

/// Reads all of them.
pub(crate) fn parse(text: &str) -> Result<Vec<(&str, &str)>, ParamFault> {
    let mut params = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        if params.len() == PARAMS_MAX {
            return Err(ParamFault::TooMany);
        }
        let (name, after) = rest.split_once('=').ok_or(ParamFault::NoValue)?;
        let (value, after) = value(after.trim_start())?;
        params.push((name.trim_end(), value));
        rest = after.trim_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(ParamFault::Garbage);
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    Ok(params)
}

/// The value in front, and what is behind it.
fn value(text: &str) -> Result<(&str, &str), ParamFault> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return match text.split_at(end) {
            ("", _) => Err(ParamFault::NoValue),
            split => Ok(split),
        };
    };
    let mut escaped = false;
    for (at, char) in quoted.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                let (value, end) = quoted.split_at(at);
                return Ok((value, end.get(1..).unwrap_or_default()));
            }
            _ => {}
        }
    }
    Err(ParamFault::OpenQuote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_quoted_strings_are_read() {
        assert_eq!(
            parse("a=1, b = \"x, \\\"y\\\"=z\" ,c=\"\",, d=e").unwrap(),
            [("a", "1"), ("b", "x, \\\"y\\\"=z"), ("c", ""), ("d", "e")]
        );
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_cut_off_or_too_much_is_refused() {
        let many = "a=1,".repeat(PARAMS_MAX + 1);
        for (text, fault) in [
            ("a", ParamFault::NoValue),
            ("a=1, b", ParamFault::NoValue),
            ("a=", ParamFault::NoValue),
            ("a=,b=1", ParamFault::NoValue),
            ("a=\"x", ParamFault::OpenQuote),
            ("a=\"x\\\"", ParamFault::OpenQuote),
            ("a=\"x\"b=1", ParamFault::Garbage),
            ("a=1 b=2", ParamFault::Garbage),
            (&many, ParamFault::TooMany),
        ] {
            assert_eq!(parse(text), Err(fault), "{text}");
        }
    }
}
