//! A SIP message as policies see it: reads and edits of the contract, carried out by `sip`.

use std::{any::Any, sync::Arc};

use hookswitch_policy::context::{self, Content, EditError};
use hookswitch_sip::{
    edit,
    limits::Limits,
    message::{HeaderName, Message, unfold},
    uri::{Host, Uri},
};

use crate::config;

/// The current message of a hook.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) message: Message,
    /// In a response: the request that it answers, as it was sent.
    pub(crate) request: Option<Arc<Message>>,
    pub(crate) limits: Limits,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn refused(error: edit::EditError) -> EditError {
    match error {
        edit::EditError::Protected => EditError::Protected,
        edit::EditError::Invalid(what) => EditError::Invalid(what),
        edit::EditError::TooLarge => EditError::TooLarge,
    }
}

impl context::Message for Current {
    fn fork(&self) -> Box<dyn context::Message> {
        Box::new(self.clone())
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }

    fn request_line(&self) -> Option<(String, String)> {
        let method = self.message.method()?;
        Some((
            method.as_str().to_owned(),
            self.message.request_uri()?.to_owned(),
        ))
    }

    fn header(&self, name: &str) -> Option<String> {
        self.message.header(name).map(|value| text(&value))
    }

    fn header_values(&self, name: &str) -> Vec<String> {
        let values = self.message.values(name);
        values.map(|value| text(&unfold(value))).collect()
    }

    fn header_bytes(&self, name: &str) -> Vec<Vec<u8>> {
        let known = HeaderName::find(name.as_bytes());
        let fields = self.message.headers();
        let named = fields.filter(|field| match known {
            Some(_) => field.known == known,
            None => field.name.eq_ignore_ascii_case(name.as_bytes()),
        });
        named.map(|field| field.value.to_vec()).collect()
    }

    fn headers(&self) -> Vec<(String, String)> {
        let fields = self.message.headers();
        fields
            .map(|field| (text(field.name), text(&unfold(field.value))))
            .collect()
    }

    fn request_header(&self, name: &str) -> Option<String> {
        let request = self.request.as_deref()?;
        request.header(name).map(|value| text(&value))
    }

    fn body(&self) -> Option<Content> {
        if self.message.body().is_empty() {
            return None;
        }
        let media_type = self.message.header(HeaderName::ContentType);
        Some(Content {
            media_type: media_type.map_or_else(String::new, |value| text(&value)),
            bytes: self.message.body().to_vec(),
        })
    }

    fn set_header(&mut self, name: &str, values: &[String]) -> Result<(), EditError> {
        edit::set_header_values(&mut self.message, &self.limits, name, values).map_err(refused)
    }

    fn prepend_header(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        edit::prepend_header(&mut self.message, &self.limits, name, value).map_err(refused)
    }

    fn append_header(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        edit::append_header(&mut self.message, &self.limits, name, value).map_err(refused)
    }

    fn remove_header(&mut self, name: &str) -> Result<(), EditError> {
        edit::remove_header(&mut self.message, name).map_err(refused)
    }

    fn set_request_uri(&mut self, uri: &str) -> Result<(), EditError> {
        edit::set_request_uri(&mut self.message, &self.limits, uri).map_err(refused)
    }

    fn set_from(&mut self, display_name: Option<&str>, uri: &str) -> Result<(), EditError> {
        edit::set_from(&mut self.message, &self.limits, display_name, uri).map_err(refused)
    }

    fn set_to(&mut self, display_name: Option<&str>, uri: &str) -> Result<(), EditError> {
        edit::set_to(&mut self.message, &self.limits, display_name, uri).map_err(refused)
    }

    fn set_body(&mut self, body: Option<Content>) -> Result<(), EditError> {
        let body = body.map(|content| (content.media_type, content.bytes.into()));
        let body = body
            .as_ref()
            .map(|(media_type, bytes): &(String, bytes::Bytes)| {
                (media_type.as_str(), bytes.clone())
            });
        edit::set_body(&mut self.message, &self.limits, body).map_err(refused)
    }
}

/// What policies may name and set, by the configuration.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) upstreams: Vec<String>,
    /// Hosts whose users register here, in lower case; empty: all.
    pub(crate) local_hosts: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) media: config::Media,
}

impl Names {
    pub(crate) fn upstream(&self, name: &str) -> Option<usize> {
        self.upstreams.iter().position(|upstream| upstream == name)
    }

    /// Tried on a message that nobody sends: one rule for headers of messages, targets and replies.
    fn try_header(&self, name: &str, value: &str) -> Result<(), EditError> {
        let mut scratch = scratch()?;
        edit::set_header(&mut scratch, &self.limits, name, value).map_err(refused)
    }
}

fn scratch() -> Result<Message, EditError> {
    Message::request("OPTIONS", "sip:localhost")
        .map_err(|error| EditError::Other(error.to_string()))
}

impl context::Names for Names {
    fn has_upstream(&self, name: &str) -> bool {
        self.upstream(name).is_some()
    }

    fn is_local(&self, uri: &str) -> bool {
        let Ok(Uri::Sip(uri)) = Uri::parse(uri) else {
            return false;
        };
        self.local_hosts.is_empty()
            || self
                .local_hosts
                .iter()
                .any(|host| Host::parse(host).is_ok_and(|host| host.is_same(uri.host)))
    }

    fn check_uri(&self, uri: &str) -> Result<(), String> {
        let mut scratch = scratch().map_err(|error| error.to_string())?;
        let tried = edit::set_request_uri(&mut scratch, &self.limits, uri);
        tried.map_err(|error| error.to_string())
    }

    fn check_media(&self, mode: &str) -> Result<(), String> {
        self.media.mode_named(mode).map(drop)
    }

    fn check_header(&self, name: &str, value: &str) -> Result<(), EditError> {
        self.try_header(name, value)
    }

    /// A redirection has Contact (RFC 3261 §8.1.3.4), which no message of others may have changed.
    fn check_reply_header(&self, name: &str, value: &str) -> Result<(), EditError> {
        if HeaderName::find(name.as_bytes()) == Some(HeaderName::Contact) {
            return self.try_header("Subject", value);
        }
        self.try_header(name, value)
    }
}
