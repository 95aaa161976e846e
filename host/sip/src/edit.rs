//! The edits that a policy may make of a message: what `hookswitch:policy/message` promises, and nothing that would break routing,
//! a transaction or a dialog.
//!
//! Pure functions over a message; whether a policy was granted the edit is not asked here.

use bytes::Bytes;

use crate::{
    header::NameAddr,
    limits::Limits,
    message::{HeaderName, Message, MessageError, Name, is_token},
    uri::Uri,
};

/// Why an edit was refused; the message is as it was. `edit-error` of the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The field is the proxy's.
    #[error("this header field is the proxy's")]
    Protected,
    /// A name, value or URI that does not follow its grammar; says which.
    #[error("{0}")]
    Invalid(String),
    /// The message would be beyond its limits.
    #[error("too large")]
    TooLarge,
}

impl From<MessageError> for EditError {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::TooLarge => Self::TooLarge,
            MessageError::Name
            | MessageError::Value
            | MessageError::Uri
            | MessageError::Method
            | MessageError::WrongKind => Self::Invalid(error.to_string()),
        }
    }
}

/// Is this field the proxy's, so that no policy edits it?
#[must_use]
pub fn is_protected(name: &str) -> bool {
    is_protected_name(Name::from(name))
}

fn is_protected_name(name: Name<'_>) -> bool {
    use HeaderName::{
        CSeq, CallId, Contact, ContentLength, From, MaxForwards, RecordRoute, Route, To, Via,
    };
    matches!(
        name.known(),
        Some(
            Via | Route
                | RecordRoute
                | MaxForwards
                | CSeq
                | CallId
                | ContentLength
                | From
                | To
                | Contact
        )
    )
}

/// One field with this value, in place of all of that name.
///
/// # Errors
/// [`EditError`].
pub fn set_header(
    message: &mut Message,
    limits: &Limits,
    name: &str,
    value: &str,
) -> Result<(), EditError> {
    let name = Name::from(name);
    check_field(message, limits, name, &[value])?;
    Ok(message.set(name, value)?)
}

/// One field for each value, in place of all of that name.
///
/// # Errors
/// [`EditError`].
pub fn set_header_values(
    message: &mut Message,
    limits: &Limits,
    name: &str,
    values: &[impl AsRef<str>],
) -> Result<(), EditError> {
    let name = Name::from(name);
    check_field(message, limits, name, values)?;
    if let [value] = values {
        return Ok(message.set(name, value.as_ref())?);
    }
    if values.len() > 1 {
        check_repeatable(name)?;
    }
    let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
    Ok(message.set_values(name, &values)?)
}

/// A field before the first of that name, or before all others.
///
/// # Errors
/// [`EditError`].
pub fn prepend_header(
    message: &mut Message,
    limits: &Limits,
    name: &str,
    value: &str,
) -> Result<(), EditError> {
    let name = Name::from(name);
    check_field(message, limits, name, &[value])?;
    if message.contains(name) {
        check_repeatable(name)?;
    }
    Ok(message.prepend(name, value)?)
}

/// A field after the last of that name, or after all others.
///
/// # Errors
/// [`EditError`].
pub fn append_header(
    message: &mut Message,
    limits: &Limits,
    name: &str,
    value: &str,
) -> Result<(), EditError> {
    let name = Name::from(name);
    check_field(message, limits, name, &[value])?;
    if message.contains(name) {
        check_repeatable(name)?;
    }
    Ok(message.append(name, value)?)
}

/// Removes every field of this name; none there is no error.
///
/// # Errors
/// [`EditError::Protected`], [`EditError::Invalid`].
pub fn remove_header(message: &mut Message, name: &str) -> Result<(), EditError> {
    let name = Name::from(name);
    check_name(name)?;
    message.remove(name);
    Ok(())
}

/// Sets the Request-URI.
///
/// # Errors
/// [`EditError`], also for a response.
pub fn set_request_uri(message: &mut Message, limits: &Limits, uri: &str) -> Result<(), EditError> {
    check_uri(uri)?;
    check_value(message, limits, uri.len())?;
    Ok(message.set_request_uri(uri)?)
}

/// Sets display name and URI of From; tag and other parameters stay.
///
/// # Errors
/// [`EditError`].
pub fn set_from(
    message: &mut Message,
    limits: &Limits,
    display_name: Option<&str>,
    uri: &str,
) -> Result<(), EditError> {
    set_address(message, limits, HeaderName::From, display_name, uri)
}

/// Sets display name and URI of To; tag and other parameters stay.
///
/// # Errors
/// [`EditError`].
pub fn set_to(
    message: &mut Message,
    limits: &Limits,
    display_name: Option<&str>,
    uri: &str,
) -> Result<(), EditError> {
    set_address(message, limits, HeaderName::To, display_name, uri)
}

/// Sets media type and bytes of the body, or removes it.
///
/// # Errors
/// [`EditError`].
pub fn set_body(
    message: &mut Message,
    limits: &Limits,
    body: Option<(&str, Bytes)>,
) -> Result<(), EditError> {
    let Some((media_type, bytes)) = body else {
        return Ok(message.set_body(Bytes::new(), None)?);
    };
    let (essence, _) = media_type.split_once(';').unwrap_or((media_type, ""));
    let is_media_type = essence
        .trim()
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind.as_bytes()) && is_token(subtype.as_bytes()));
    if !is_media_type {
        return Err(EditError::Invalid("not a media type".to_owned()));
    }
    check_text(media_type)?;
    if bytes.len() > limits.body_bytes_max {
        return Err(EditError::TooLarge);
    }
    check_growth(
        message,
        limits,
        (media_type.len() + bytes.len()).saturating_sub(message.body().len()),
    )?;
    Ok(message.set_body(bytes, Some(media_type))?)
}

fn set_address(
    message: &mut Message,
    limits: &Limits,
    name: HeaderName,
    display_name: Option<&str>,
    uri: &str,
) -> Result<(), EditError> {
    check_uri(uri)?;
    let mut value = match display_name {
        Some(display) if display.chars().any(char::is_control) => {
            return Err(EditError::Invalid(
                "a display name must not contain control characters".to_owned(),
            ));
        }
        Some(display) => format!(
            "\"{}\" <{uri}>",
            display.replace('\\', "\\\\").replace('"', "\\\"")
        ),
        None => format!("<{uri}>"),
    };
    let header = message
        .header(name)
        .ok_or_else(|| EditError::Invalid(format!("no {name} to edit")))?;
    let old = NameAddr::parse(&header).map_err(|error| EditError::Invalid(error.to_string()))?;
    if !old.params.as_str().is_empty() {
        value.push(';');
        value.push_str(old.params.as_str());
    }
    check_value(message, limits, value.len())?;
    Ok(message.set(name, value)?)
}

fn check_name(name: Name<'_>) -> Result<(), EditError> {
    if is_protected_name(name) {
        Err(EditError::Protected)
    } else {
        Ok(())
    }
}

fn check_field(
    message: &Message,
    limits: &Limits,
    name: Name<'_>,
    values: &[impl AsRef<str>],
) -> Result<(), EditError> {
    check_name(name)?;
    if message.header_count() + values.len() > limits.header_count_max {
        return Err(EditError::TooLarge);
    }
    let mut more = 0;
    for value in values {
        let value = value.as_ref();
        check_text(value)?;
        let length = name.as_bytes().len() + value.len() + 4;
        if length > limits.header_line_bytes_max {
            return Err(EditError::TooLarge);
        }
        more += length;
    }
    check_growth(message, limits, more)
}

/// What a message may hold, folds and NUL, is not for policies to write.
fn check_text(value: &str) -> Result<(), EditError> {
    if memchr::memchr3(b'\r', b'\n', 0, value.as_bytes()).is_some() {
        return Err(EditError::Invalid(
            "a value must not contain CR, LF or NUL".to_owned(),
        ));
    }
    Ok(())
}

fn check_value(message: &Message, limits: &Limits, length: usize) -> Result<(), EditError> {
    if length > limits.header_line_bytes_max {
        Err(EditError::TooLarge)
    } else {
        check_growth(message, limits, length)
    }
}

/// Counted as if nothing was replaced.
fn check_growth(message: &Message, limits: &Limits, more: usize) -> Result<(), EditError> {
    if message.size() + more > limits.message_bytes_max {
        Err(EditError::TooLarge)
    } else {
        Ok(())
    }
}

/// The next hop refuses a message with two Content-Type, as we do.
fn check_repeatable(name: Name<'_>) -> Result<(), EditError> {
    match name.known() {
        Some(known) if known.is_single() => {
            Err(EditError::Invalid(format!("{known} may stand once")))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_uri(uri: &str) -> Result<(), EditError> {
    if !uri.is_ascii() {
        return Err(EditError::Invalid(
            "a URI is ASCII: escape the rest".to_owned(),
        ));
    }
    Uri::parse(uri)
        .map(drop)
        .map_err(|error| EditError::Invalid(error.to_string()))
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
