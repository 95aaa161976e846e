//! SIP as the user agents of the simulator read and write it: text, split and joined in the plainest way.
//!
//! It shares no code with `hookswitch_sip::message`, so that the judge does not make the mistakes of the judged. It never rejects
//! what it does not understand: it keeps it.

use std::fmt;

/// One message, headers in order, compact names spelt out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Msg {
    /// Request line or status line.
    pub start: String,
    /// Name and value.
    pub headers: Vec<(String, String)>,
    /// What comes after the empty line.
    pub body: String,
}

impl Msg {
    /// A request without headers.
    #[must_use]
    pub fn request(method: &str, uri: &str) -> Self {
        Self {
            start: format!("{method} {uri} SIP/2.0"),
            headers: Vec::new(),
            body: String::new(),
        }
    }

    /// The response to `request` with what RFC 3261 §8.2.6.2 copies; `to_tag` is added where To has none.
    #[must_use]
    pub fn response(request: &Msg, status: u16, to_tag: Option<&str>) -> Self {
        let mut response = Self {
            start: format!("SIP/2.0 {status} {}", phrase(status)),
            headers: Vec::new(),
            body: String::new(),
        };
        for (name, value) in &request.headers {
            let value = match (name.as_str(), to_tag) {
                ("To", Some(tag)) if param(value, "tag").is_none() => format!("{value};tag={tag}"),
                _ => value.clone(),
            };
            let copied = matches!(name.as_str(), "Via" | "From" | "To" | "Call-ID" | "CSeq");
            if copied || name == "Record-Route" && (101..300).contains(&status) {
                response.push(name, &value);
            }
        }
        response
    }

    /// `None` where there is no start line.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let start = lines
            .next()
            .filter(|line| line.contains("SIP/2.0"))?
            .to_owned();
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t'])
                && let Some((_, value)) = headers.last_mut()
            {
                value.push(' ');
                value.push_str(line.trim());
            } else if let Some((name, value)) = line.split_once(':') {
                headers.push((long_name(name.trim()).to_owned(), value.trim().to_owned()));
            }
        }
        Some(Self {
            start,
            headers,
            body: body.to_owned(),
        })
    }

    /// Bytes for the wire, with the Content-Length that the body has unless one is set.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }

    /// First value of a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// First value of a field; empty if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Every value, comma lists split.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        let fields = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        fields.flat_map(|(_, value)| split_list(value)).collect()
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// One field of that name, where the first one stood.
    pub fn set(&mut self, name: &str, value: &str) {
        match self
            .headers
            .iter()
            .position(|(n, _)| n.eq_ignore_ascii_case(name))
        {
            Some(at) => {
                self.headers[at].1 = value.to_owned();
                let mut index = 0;
                self.headers.retain(|(n, _)| {
                    index += 1;
                    index - 1 <= at || !n.eq_ignore_ascii_case(name)
                });
            }
            None => self.push(name, value),
        }
    }

    /// Removes every field of that name.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// `None` for a request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// Of the request, or of the request that this answers.
    #[must_use]
    pub fn method(&self) -> &str {
        if self.status().is_some() {
            self.header("CSeq")
                .split_whitespace()
                .nth(1)
                .unwrap_or_default()
        } else {
            self.start.split(' ').next().unwrap_or_default()
        }
    }

    /// Request-URI; empty for a response.
    #[must_use]
    pub fn uri(&self) -> &str {
        if self.status().is_some() {
            ""
        } else {
            self.start.split(' ').nth(1).unwrap_or_default()
        }
    }

    /// The number in CSeq.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        self.header("CSeq")
            .split_whitespace()
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or_default()
    }

    /// Of the topmost Via.
    #[must_use]
    pub fn branch(&self) -> String {
        self.all("Via")
            .first()
            .and_then(|via| param(via, "branch"))
            .unwrap_or_default()
    }

    /// The tag of From or To; empty if there is none.
    #[must_use]
    pub fn tag(&self, name: &str) -> String {
        param(self.header(name), "tag").unwrap_or_default()
    }
}

impl fmt::Display for Msg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\r\n", self.start)?;
        for (name, value) in &self.headers {
            write!(f, "{name}: {value}\r\n")?;
        }
        if self.get("Content-Length").is_none() {
            write!(f, "Content-Length: {}\r\n", self.body.len())?;
        }
        write!(f, "\r\n{}", self.body)
    }
}

/// The URI of a name-addr or addr-spec.
#[must_use]
pub fn uri_of(value: &str) -> &str {
    match (value.find('<'), value.find('>')) {
        (Some(open), Some(close)) if open < close => &value[open + 1..close],
        _ => value.split(';').next().unwrap_or_default().trim(),
    }
}

/// A parameter of a header field, not of the URI in it; empty text for one without a value.
#[must_use]
pub fn param(value: &str, name: &str) -> Option<String> {
    let after_uri = value.find('>').map_or(value, |close| &value[close + 1..]);
    after_uri.split(';').skip(1).find_map(|param| {
        let (key, value) = param.split_once('=').unwrap_or((param, ""));
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

/// Host and port of a URI, as text.
#[must_use]
pub fn host_port(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    rest.split([';', '?']).next().unwrap_or_default()
}

/// The user part of a URI; empty if there is none.
#[must_use]
pub fn user_of(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.rsplit_once('@').map_or("", |(user, _)| user)
}

/// Commas that stand in quotes or angle brackets do not separate.
fn split_list(value: &str) -> Vec<String> {
    let (mut quoted, mut angle, mut from, mut parts) = (false, false, 0, Vec::new());
    for (at, c) in value.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '<' if !quoted => angle = true,
            '>' if !quoted => angle = false,
            ',' if !quoted && !angle => {
                parts.push(value[from..at].trim().to_owned());
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(value[from..].trim().to_owned());
    parts
}

fn long_name(name: &str) -> &str {
    match name.to_ascii_lowercase().as_str() {
        "v" | "via" => "Via",
        "f" | "from" => "From",
        "t" | "to" => "To",
        "i" | "call-id" => "Call-ID",
        "m" | "contact" => "Contact",
        "l" | "content-length" => "Content-Length",
        "c" | "content-type" => "Content-Type",
        "k" | "supported" => "Supported",
        "cseq" => "CSeq",
        "route" => "Route",
        "record-route" => "Record-Route",
        _ => name,
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        302 => "Moved Temporarily",
        401 => "Unauthorized",
        404 => "Not Found",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        500 => "Server Internal Error",
        503 => "Service Unavailable",
        600 => "Busy Everywhere",
        603 => "Decline",
        _ => "Because",
    }
}
