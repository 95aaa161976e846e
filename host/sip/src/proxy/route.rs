//! Route pre-processing (RFC 3261 §16.4, §16.12): which Routes are ours, and what the flow token in them says.

use super::{Proxy, dialog::InDialog, reply::Reply};
use crate::{
    flow::{Flow, Side},
    header::NameAddr,
    message::{HeaderName, Message, Method},
    token::Token,
    uri::SipUri,
};

impl Proxy {
    /// Takes what is ours out of the Routes of `request`, and says which dialog it belongs to.
    ///
    /// # Errors
    /// The answer: 403 for a token that does not verify and for Routes that are not ours and not an upstream's, 481 for a To tag
    /// without a token.
    pub(super) fn take_routes(
        &self,
        request: &mut Message,
        flow: &Flow,
    ) -> Result<Option<InDialog>, Reply> {
        let token = self
            .take_strict_route(request)
            .or_else(|| self.take_own_routes(request));
        let has_to_tag = request.to_tag().is_some();
        match token {
            Some(token) => self.open(&token, request).map(Some),
            None if has_to_tag && request.method() != Some(Method::Register) => {
                Err(Reply::new(481, super::io::Cause::Refused)
                    .detail("To tag without a flow token"))
            }
            None => self.check_other_routes(request, flow).map(|()| None),
        }
    }

    /// A token is worth something in its dialog alone; without a To tag it would carry a new call past the routing policy.
    pub(super) fn open(&self, token: &str, request: &Message) -> Result<InDialog, Reply> {
        let refuse = |why: String| Reply::refuse(403, "Flow Token Not Valid Here").detail(why);
        let bytes = |text: Option<&'_ str>| text.unwrap_or_default().as_bytes().to_vec();
        let Some(to_tag) = request.to_tag() else {
            return Err(refuse("flow token without a To tag".to_owned()));
        };
        let (call_id, from_tag) = (bytes(request.call_id()), bytes(request.from_tag()));
        let opened = Token::open(
            &self.config.keys,
            token.as_bytes(),
            &call_id,
            &from_tag,
            to_tag.as_bytes(),
        );
        opened
            .map(|(token, direction)| InDialog { token, direction })
            .map_err(|error| refuse(error.to_string()))
    }

    /// A strict router before us put our Record-Route into the Request-URI and the Request-URI at the end of the Routes.
    fn take_strict_route(&self, request: &mut Message) -> Option<String> {
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
        while self
            .first_route(request)
            .is_some_and(|(is_ours, user)| is_ours && user.as_deref() == Some(&token))
        {
            request.remove_first_value(HeaderName::Route);
        }
        Some(token)
    }

    /// Pops the Routes that point at us: all with the same token, which are one passage, and those without any. The Route of a
    /// later passage stays: the request is to come back for it.
    fn take_own_routes(&self, request: &mut Message) -> Option<String> {
        let mut token: Option<String> = None;
        while let Some((true, user)) = self.first_route(request) {
            match (&token, user) {
                (Some(token), Some(user)) if *token != user => break,
                (None, Some(user)) => token = Some(user),
                (Some(_), Some(_)) | (Some(_) | None, None) => {}
            }
            request.remove_first_value(HeaderName::Route);
        }
        token
    }

    /// Is the first Route ours, and with which user?
    fn first_route(&self, request: &Message) -> Option<(bool, Option<String>)> {
        let route = NameAddr::parse(request.values(HeaderName::Route).next()?).ok()?;
        let Some(uri) = SipUri::from_text(route.uri) else {
            return Some((false, None));
        };
        Some((self.names.is_ours(&uri), uri.user.map(str::to_owned)))
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
