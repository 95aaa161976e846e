//! Route pre-processing (RFC 3261 §16.4, §16.12): which Routes are ours, and what the flow token in them says.

use super::{Proxy, dialog::InDialog, io::Cause, reply::Reply};
use crate::{
    flow::{Flow, Side},
    header::NameAddr,
    message::{HeaderName, Message, Method},
    token::{ClientKey, Token},
    uri::{SipUri, Uri},
};

/// Where a request is to go by what we wrote ourselves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Aim {
    /// Along its dialog.
    Dialog(InDialog),
    /// To the client that registered through us at the upstream which sends it.
    Client(ClientKey),
    /// Wherever policies and routing say.
    Open,
}

impl Aim {
    pub(super) fn dialog(self) -> Option<InDialog> {
        match self {
            Self::Dialog(dialog) => Some(dialog),
            Self::Client(_) | Self::Open => None,
        }
    }

    pub(super) fn client(self) -> Option<ClientKey> {
        match self {
            Self::Client(key) => Some(key),
            Self::Dialog(_) | Self::Open => None,
        }
    }
}

impl Proxy {
    /// Takes what is ours out of the Routes of `request`, and says where they aim.
    ///
    /// # Errors
    /// The answer: 403 for a token that does not verify and for Routes that are not ours and not an upstream's, 481 for a To tag
    /// without a token, 513 for Routes that are too large to be rewritten.
    pub(super) fn take_routes(&self, request: &mut Message, flow: &Flow) -> Result<Aim, Reply> {
        let token = match self.take_strict_route(request) {
            Some(token) => Some(token),
            None => self.take_own_routes(request)?,
        };
        let has_to_tag = request.to_tag().is_some();
        let client = match &token {
            Some(token) => self.open_client(token, flow),
            None => self.client_in_request_uri(request, flow),
        };
        match (client, token) {
            (Some(client), _) if !has_to_tag => client.map(Aim::Client),
            // No REGISTER is of a dialog (RFC 3261 §12): it would go past who asks for credentials.
            (None, Some(_)) if request.method() == Some(Method::Register) => {
                let refused = Reply::refuse(403, "Flow Token Not Valid Here");
                Err(refused.detail("flow token in a REGISTER"))
            }
            (None, Some(token)) => self.open(&token, request).map(Aim::Dialog),
            (Some(_), _) | (None, None)
                if has_to_tag && request.method() != Some(Method::Register) =>
            {
                Err(Reply::new(481, Cause::Refused).detail("To tag without a flow token"))
            }
            (Some(_), _) | (None, None) => {
                self.check_other_routes(request, flow).map(|()| Aim::Open)
            }
        }
    }

    /// A token is worth something in its dialog alone; without a To tag it would carry a new call past the routing policy.
    pub(super) fn open(&self, token: &str, request: &Message) -> Result<InDialog, Reply> {
        let refuse = |why: String| Reply::refuse(403, "Flow Token Not Valid Here").detail(why);
        let Some(to_tag) = request.to_tag() else {
            return Err(refuse("flow token without a To tag".to_owned()));
        };
        let opened = Token::open(
            &self.config.keys,
            self.names.tags(),
            token.as_bytes(),
            request.call_id().unwrap_or_default().as_bytes(),
            request.from_tag().unwrap_or_default().as_bytes(),
            to_tag.as_bytes(),
        );
        opened
            .map(|(token, direction)| InDialog { token, direction })
            .map_err(|error| refuse(error.to_string()))
    }

    /// A strict router before us put our Record-Route into the Request-URI and the Request-URI at the end of the Routes.
    fn take_strict_route(&self, request: &mut Message) -> Option<String> {
        if !request.contains(HeaderName::Route) {
            return None;
        }
        let uri = request.request_uri().and_then(SipUri::from_text)?;
        let token = uri
            .user
            .filter(|_| uri.is_loose_router() && self.names.is_ours(&uri))?;
        Token::worker_hint(token.as_bytes())?;
        let token = token.to_owned();
        let mut routes: Vec<Vec<u8>> = request
            .values(HeaderName::Route)
            .map(<[u8]>::to_vec)
            .collect();
        let last = routes.pop()?;
        let target = NameAddr::parse(&last).ok()?.uri.to_owned();
        request.set_values(HeaderName::Route, &routes).ok()?;
        request.set_request_uri(&target).ok()?;
        // The other of our two, if there were two.
        let (count, token) = self.own_routes(request, Some(token));
        request.remove_first_values(HeaderName::Route, count).ok()?;
        token
    }

    /// Pops the Routes that point at us.
    fn take_own_routes(&self, request: &mut Message) -> Result<Option<String>, Reply> {
        let (count, token) = self.own_routes(request, None);
        let popped = request.remove_first_values(HeaderName::Route, count);
        popped.map_err(|_| Reply::new(513, Cause::Refused))?;
        Ok(token)
    }

    /// How many of the first Routes point at us: all with the same token, which are one passage, and those without any. The Route of
    /// a later passage stays: the request is to come back for it.
    fn own_routes(&self, request: &Message, token: Option<String>) -> (usize, Option<String>) {
        let (mut count, mut token) = (0, token);
        for route in request.values(HeaderName::Route) {
            let Some((true, user)) = self.read_route(route) else {
                break;
            };
            match (&token, user) {
                (Some(token), Some(user)) if token != user => break,
                (None, Some(user)) => token = Some(user.to_owned()),
                (Some(_), Some(_)) | (Some(_) | None, None) => {}
            }
            count += 1;
        }
        (count, token)
    }

    /// Is a Route ours, and with which user?
    pub(super) fn read_route<'r>(&self, route: &'r [u8]) -> Option<(bool, Option<&'r str>)> {
        match NameAddr::split(route).ok()?.parsed_uri().ok()? {
            Uri::Sip(uri) => Some((self.names.is_ours(&uri), uri.user)),
            Uri::Tel(_) | Uri::Other(_) => Some((false, None)),
        }
    }

    /// Only a configured upstream may say where its requests go.
    fn check_other_routes(&self, request: &Message, flow: &Flow) -> Result<(), Reply> {
        match flow.side {
            Side::Upstream(_) => Ok(()),
            Side::Web | Side::Stranger if !request.contains(HeaderName::Route) => Ok(()),
            Side::Web | Side::Stranger => Err(Reply::refuse(403, "Route Not Allowed")),
        }
    }
}
