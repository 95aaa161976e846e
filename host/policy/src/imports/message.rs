//! `message`: reads and edits of the current message.

use super::{State, check_field, check_text, granted};
use crate::{
    bindings::{
        fields,
        imported::message::Host,
        types::{self, Content, HeaderField},
    },
    context::{EditError, Message},
};

impl State {
    fn read<R: Default>(&self, read: impl FnOnce(&dyn Message) -> R) -> R {
        self.journal
            .as_deref()
            .and_then(|journal| journal.message())
            .map(read)
            .unwrap_or_default()
    }

    fn edit(
        &mut self,
        edit: impl FnOnce(&mut dyn Message) -> Result<(), EditError>,
    ) -> Result<(), types::EditError> {
        granted(self.policy.grants().edit)?;
        Ok(edit(self.journal_mut()?.message_mut()?)?)
    }
}

impl Host for State {
    fn header(&mut self, name: String) -> Option<String> {
        self.read(|message| message.header(&name))
    }

    fn header_values(&mut self, name: String) -> Vec<String> {
        self.read(|message| message.header_values(&name))
    }

    fn header_bytes(&mut self, name: String) -> Vec<Vec<u8>> {
        self.read(|message| message.header_bytes(&name))
    }

    fn headers(&mut self) -> Vec<HeaderField> {
        fields(self.read(|message| message.headers()))
    }

    fn request_header(&mut self, name: String) -> Option<String> {
        self.read(|message| message.request_header(&name))
    }

    fn body(&mut self) -> Option<Content> {
        self.read(|message| message.body()).map(Content::from)
    }

    fn set_header(&mut self, name: String, value: String) -> Result<(), types::EditError> {
        check_field(self.limits(), &name, &value)?;
        self.edit(|message| message.set_header(&name, std::slice::from_ref(&value)))
    }

    fn set_header_values(
        &mut self,
        name: String,
        values: Vec<String>,
    ) -> Result<(), types::EditError> {
        let bytes = values
            .iter()
            .map(|value| value.len() + name.len())
            .fold(0, usize::saturating_add);
        if bytes > self.limits().header_bytes_max {
            return Err(types::EditError::TooLarge);
        }
        values
            .iter()
            .try_for_each(|value| check_field(self.limits(), &name, value))?;
        self.edit(|message| message.set_header(&name, &values))
    }

    fn prepend_header(&mut self, name: String, value: String) -> Result<(), types::EditError> {
        check_field(self.limits(), &name, &value)?;
        self.edit(|message| message.prepend_header(&name, &value))
    }

    fn append_header(&mut self, name: String, value: String) -> Result<(), types::EditError> {
        check_field(self.limits(), &name, &value)?;
        self.edit(|message| message.append_header(&name, &value))
    }

    fn remove_header(&mut self, name: String) -> Result<(), types::EditError> {
        self.edit(|message| message.remove_header(&name))
    }

    fn set_request_uri(&mut self, uri: String) -> Result<(), types::EditError> {
        check_field(self.limits(), "", &uri)?;
        self.edit(|message| message.set_request_uri(&uri))
    }

    fn set_from(
        &mut self,
        display_name: Option<String>,
        uri: String,
    ) -> Result<(), types::EditError> {
        check_field(
            self.limits(),
            display_name.as_deref().unwrap_or_default(),
            &uri,
        )?;
        self.edit(|message| message.set_from(display_name.as_deref(), &uri))
    }

    fn set_to(
        &mut self,
        display_name: Option<String>,
        uri: String,
    ) -> Result<(), types::EditError> {
        check_field(
            self.limits(),
            display_name.as_deref().unwrap_or_default(),
            &uri,
        )?;
        self.edit(|message| message.set_to(display_name.as_deref(), &uri))
    }

    fn set_body(&mut self, body: Option<Content>) -> Result<(), types::EditError> {
        if let Some(content) = &body {
            check_text(&content.media_type)?;
            if content.bytes.len() > self.limits().body_bytes_max {
                return Err(types::EditError::TooLarge);
            }
        }
        self.edit(|message| message.set_body(body.map(Into::into)))
    }
}
