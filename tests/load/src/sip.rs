//! Just enough SIP to keep score: finds header fields in a message, never changes one.

/// A message that stays as it came.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    text: &'a str,
}

impl<'a> View<'a> {
    /// Of one whole message.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// The message as it came.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Method of a request, `None` of a response.
    #[must_use]
    pub fn method(&self) -> Option<&'a str> {
        let line = self.start_line();
        if line.starts_with("SIP/2.0 ") {
            None
        } else {
            line.split(' ').next()
        }
    }

    /// Status of a response, `None` of a request or of a broken response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.start_line()
            .strip_prefix("SIP/2.0 ")?
            .get(..3)?
            .parse()
            .ok()
    }

    /// First value of a field; `name` in its long form.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// Every value of a field in order; `name` in its long form.
    pub fn headers<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let compact = compact_form(name);
        // By LF alone, which is a search for one byte; the CR is white space to `trim`.
        self.text
            .split('\n')
            .skip(1)
            .take_while(|line| !line.trim_end().is_empty())
            .filter_map(move |line| {
                let (field, value) = line.split_once(':')?;
                let field = field.trim_end();
                let known = field.eq_ignore_ascii_case(name)
                    || compact.is_some_and(|compact| field.eq_ignore_ascii_case(compact));
                known.then(|| value.trim())
            })
    }

    fn start_line(&self) -> &'a str {
        self.text.split('\r').next().unwrap_or_default()
    }
}

/// RFC 3261 §7.3.3, of the fields that this crate reads.
fn compact_form(name: &str) -> Option<&'static str> {
    match name {
        "Via" => Some("v"),
        "From" => Some("f"),
        "To" => Some("t"),
        "Call-ID" => Some("i"),
        "Contact" => Some("m"),
        _ => None,
    }
}

/// The value of a parameter of a header field, outside angle brackets.
#[must_use]
pub fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let outside = value.rsplit('>').next().unwrap_or(value);
    outside.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The URI of a name-addr, or of an addr-spec without parameters.
#[must_use]
pub fn uri(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest),
        None => value.split(';').next().unwrap_or(value).trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSE: &str = "SIP/2.0 200 OK\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: \"a;tag=no\" <sip:b@c;tag=no>;tag=yes\r\nRecord-Route: <sip:1>\r\n\
         record-route: <sip:2>\r\n\r\nVia: body";

    #[test]
    fn reads_what_the_generator_needs() {
        let view = View::new(RESPONSE);
        assert_eq!((view.method(), view.status()), (None, Some(200)));
        assert_eq!(
            view.headers("Via").collect::<Vec<_>>(),
            ["SIP/2.0/UDP h;branch=z9hG4bK1"]
        );
        assert_eq!(
            view.headers("Record-Route").collect::<Vec<_>>(),
            ["<sip:1>", "<sip:2>"]
        );
        let to = view.header("To").unwrap();
        assert_eq!(
            (parameter(to, "tag"), uri(to)),
            (Some("yes"), "sip:b@c;tag=no")
        );
        assert_eq!(View::new("BYE sip:x SIP/2.0\r\n\r\n").method(), Some("BYE"));
        assert_eq!(uri("sip:plain@host;tag=1"), "sip:plain@host");
    }
}
