//! Names of header fields: those we know by one number, all others by their bytes.

/// Whether a field's grammar is a comma-separated list of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The whole line is one value, commas and all.
    Whole,
    /// Values separated by commas; lines of one name may be joined (RFC 3261 §7.3.1).
    List,
}

macro_rules! header_names {
    ($($variant:ident $name:literal $compact:literal $shape:ident,)+) => {
        /// A header field that this crate knows by name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
        }

        const ALL: &[HeaderName] = &[$(HeaderName::$variant,)+];
        const NAMES: &[&str] = &[$($name,)+];
        const COMPACT: &[u8] = &[$($compact,)+];
        const SHAPES: &[Shape] = &[$(Shape::$shape,)+];
    };
}

// The compact form is 0 where there is none.
header_names! {
    Accept "Accept" 0 List,
    AcceptContact "Accept-Contact" b'a' List,
    AcceptEncoding "Accept-Encoding" 0 List,
    AcceptLanguage "Accept-Language" 0 List,
    AcceptResourcePriority "Accept-Resource-Priority" 0 List,
    AlertInfo "Alert-Info" 0 List,
    Allow "Allow" 0 List,
    AllowEvents "Allow-Events" b'u' List,
    AuthenticationInfo "Authentication-Info" 0 Whole,
    Authorization "Authorization" 0 Whole,
    CallId "Call-ID" b'i' Whole,
    CallInfo "Call-Info" 0 List,
    Contact "Contact" b'm' List,
    ContentDisposition "Content-Disposition" 0 Whole,
    ContentEncoding "Content-Encoding" b'e' List,
    ContentLanguage "Content-Language" 0 List,
    ContentLength "Content-Length" b'l' Whole,
    ContentType "Content-Type" b'c' Whole,
    CSeq "CSeq" 0 Whole,
    Date "Date" 0 Whole,
    Diversion "Diversion" 0 List,
    ErrorInfo "Error-Info" 0 List,
    Event "Event" b'o' Whole,
    Expires "Expires" 0 Whole,
    FeatureCaps "Feature-Caps" 0 List,
    FlowTimer "Flow-Timer" 0 Whole,
    From "From" b'f' Whole,
    Geolocation "Geolocation" 0 List,
    HistoryInfo "History-Info" 0 List,
    Identity "Identity" b'y' Whole,
    IdentityInfo "Identity-Info" b'n' Whole,
    InReplyTo "In-Reply-To" 0 List,
    InfoPackage "Info-Package" 0 Whole,
    Join "Join" 0 Whole,
    MaxBreadth "Max-Breadth" 0 Whole,
    MaxForwards "Max-Forwards" 0 Whole,
    MimeVersion "MIME-Version" 0 Whole,
    MinExpires "Min-Expires" 0 Whole,
    MinSe "Min-SE" 0 Whole,
    Organization "Organization" 0 Whole,
    PAccessNetworkInfo "P-Access-Network-Info" 0 List,
    PAssertedIdentity "P-Asserted-Identity" 0 List,
    PAssociatedUri "P-Associated-URI" 0 List,
    PCalledPartyId "P-Called-Party-ID" 0 Whole,
    PChargingVector "P-Charging-Vector" 0 Whole,
    PPreferredIdentity "P-Preferred-Identity" 0 List,
    Path "Path" 0 List,
    Priority "Priority" 0 Whole,
    Privacy "Privacy" 0 Whole,
    ProxyAuthenticate "Proxy-Authenticate" 0 Whole,
    ProxyAuthenticationInfo "Proxy-Authentication-Info" 0 Whole,
    ProxyAuthorization "Proxy-Authorization" 0 Whole,
    ProxyRequire "Proxy-Require" 0 List,
    RAck "RAck" 0 Whole,
    Reason "Reason" 0 List,
    RecordRoute "Record-Route" 0 List,
    RecvInfo "Recv-Info" 0 List,
    ReferSub "Refer-Sub" 0 Whole,
    ReferTo "Refer-To" b'r' Whole,
    ReferredBy "Referred-By" b'b' Whole,
    RejectContact "Reject-Contact" b'j' List,
    RemotePartyId "Remote-Party-ID" 0 List,
    Replaces "Replaces" 0 Whole,
    ReplyTo "Reply-To" 0 Whole,
    RequestDisposition "Request-Disposition" b'd' List,
    Require "Require" 0 List,
    ResourcePriority "Resource-Priority" 0 List,
    RetryAfter "Retry-After" 0 Whole,
    Route "Route" 0 List,
    RSeq "RSeq" 0 Whole,
    SecurityClient "Security-Client" 0 List,
    SecurityServer "Security-Server" 0 List,
    SecurityVerify "Security-Verify" 0 List,
    Server "Server" 0 Whole,
    ServiceRoute "Service-Route" 0 List,
    SessionExpires "Session-Expires" b'x' Whole,
    SipEtag "SIP-ETag" 0 Whole,
    SipIfMatch "SIP-If-Match" 0 Whole,
    Subject "Subject" b's' Whole,
    SubscriptionState "Subscription-State" 0 Whole,
    Supported "Supported" b'k' List,
    TargetDialog "Target-Dialog" 0 Whole,
    Timestamp "Timestamp" 0 Whole,
    To "To" b't' Whole,
    Unsupported "Unsupported" 0 List,
    UserAgent "User-Agent" 0 Whole,
    UserToUser "User-to-User" 0 List,
    Via "Via" b'v' List,
    Warning "Warning" 0 List,
    WwwAuthenticate "WWW-Authenticate" 0 Whole,
}

const COUNT: usize = ALL.len();
const _: () = assert!(COUNT <= 128, "one bit for each name");
const LEN_MAX: usize = 32;

/// The bit in which the cases of an ASCII letter differ.
const CASE: u8 = 0x20;

/// A name with its first and last byte in lower case.
#[derive(Clone, Copy)]
struct Entry {
    first: u8,
    last: u8,
    name: HeaderName,
}

impl Entry {
    fn is(&self, name: &[u8]) -> bool {
        let own = self.name.as_str().as_bytes();
        // Nearly always as we write it ourselves, and that is the cheaper comparison.
        own == name || own.eq_ignore_ascii_case(name)
    }
}

/// All names by length, and where each length begins.
static BY_LEN: ([Entry; COUNT], [u8; LEN_MAX + 2]) = by_len();

const fn by_len() -> ([Entry; COUNT], [u8; LEN_MAX + 2]) {
    let mut order = [Entry {
        first: 0,
        last: 0,
        name: HeaderName::Via,
    }; COUNT];
    let mut begins = [0_u8; LEN_MAX + 2];
    let (mut len, mut next) = (0, 0);
    while len <= LEN_MAX + 1 {
        begins[len] = next as u8;
        let mut i = 0;
        while i < COUNT {
            let name = NAMES[i].as_bytes();
            if name.len() == len {
                order[next] = Entry {
                    first: name[0] | CASE,
                    last: name[len - 1] | CASE,
                    name: ALL[i],
                };
                next += 1;
            }
            i += 1;
        }
        len += 1;
    }
    (order, begins)
}

/// The compact forms, by letter.
const BY_LETTER: [Option<HeaderName>; 26] = by_letter();

const fn by_letter() -> [Option<HeaderName>; 26] {
    let mut letters = [None; 26];
    let mut i = 0;
    while i < COUNT {
        if COMPACT[i] != 0 {
            letters[(COMPACT[i] - b'a') as usize] = Some(ALL[i]);
        }
        i += 1;
    }
    letters
}

impl HeaderName {
    /// Finds a name without regard to case, in its long or compact form (RFC 3261 §7.3.1, §7.3.3).
    #[must_use]
    pub fn find(name: &[u8]) -> Option<Self> {
        if let [letter] = name {
            let index = letter.to_ascii_lowercase().checked_sub(b'a')?;
            return BY_LETTER.get(usize::from(index)).copied().flatten();
        }
        let (first, last) = (name.first()? | CASE, name.last()? | CASE);
        let (order, begins) = &BY_LEN;
        let begin = usize::from(*begins.get(name.len())?);
        let end = usize::from(*begins.get(name.len() + 1)?);
        // The ends tell nearly all names of one length apart.
        order
            .get(begin..end)?
            .iter()
            .find(|entry| entry.first == first && entry.last == last && entry.is(name))
            .map(|entry| entry.name)
    }

    /// The long form in its canonical case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        NAMES[self as usize]
    }

    /// The compact form, if there is one.
    #[must_use]
    pub const fn compact(self) -> Option<char> {
        match COMPACT[self as usize] {
            0 => None,
            letter => Some(letter as char),
        }
    }

    /// Is the field's grammar a comma-separated list?
    #[must_use]
    pub fn is_list(self) -> bool {
        SHAPES[self as usize] == Shape::List
    }

    /// Does every element that reads this field rely on there being one? A message with two is refused.
    #[must_use]
    pub fn is_single(self) -> bool {
        super::check::SINGLE & self.bit() != 0
    }

    /// One bit for each name.
    pub(crate) const fn bit(self) -> u128 {
        1 << self as u8
    }
}

impl std::fmt::Display for HeaderName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name to look up or to write: a known one, or any token.
#[derive(Clone, Copy, Debug)]
pub enum Name<'a> {
    /// By number; written in its long form.
    Known(HeaderName),
    /// By its bytes, compared without case; written as it is. Never one that is known: `From` makes it.
    #[non_exhaustive]
    Other(&'a [u8]),
}

impl<'a> Name<'a> {
    /// As it is written.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Known(name) => name.as_str().as_bytes(),
            Self::Other(name) => name,
        }
    }

    /// If it is a known one.
    pub(crate) fn known(self) -> Option<HeaderName> {
        match self {
            Self::Known(name) => Some(name),
            Self::Other(_) => None,
        }
    }

    pub(crate) fn is_list(self) -> bool {
        self.known().is_some_and(HeaderName::is_list)
    }
}

impl From<HeaderName> for Name<'_> {
    fn from(name: HeaderName) -> Self {
        Self::Known(name)
    }
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(name: &'a str) -> Self {
        Self::from(name.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Name<'a> {
    fn from(name: &'a [u8]) -> Self {
        HeaderName::find(name).map_or(Self::Other(name), Self::Known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_in_its_compact_form() {
        for &known in ALL {
            let name = known.as_str();
            assert_eq!(HeaderName::find(name.as_bytes()), Some(known));
            assert_eq!(
                HeaderName::find(name.to_uppercase().as_bytes()),
                Some(known)
            );
            assert_eq!(
                HeaderName::find(name.to_lowercase().as_bytes()),
                Some(known)
            );
            if let Some(letter) = known.compact() {
                assert_eq!(HeaderName::find(letter.to_string().as_bytes()), Some(known));
                assert_eq!(
                    HeaderName::find(letter.to_uppercase().to_string().as_bytes()),
                    Some(known)
                );
            }
        }
    }

    #[test]
    fn other_names_are_not_found() {
        for name in [
            &b""[..],
            b"X-Via",
            b"Vi",
            b"Viaa",
            b"z",
            b"\xff",
            b"-",
            &[b'a'; 64],
        ] {
            assert_eq!(HeaderName::find(name), None);
        }
    }
}
