//! A message that is a list of fields.

use std::any::Any;

use hookswitch_policy::context::{Content, EditError, Finished, Message};

#[derive(Clone, Debug, Default)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    pub fn boxed(self) -> Box<dyn Message> {
        Box::new(self)
    }
}

impl From<&[(&str, &str)]> for Fields {
    fn from(fields: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        Self(fields.iter().map(owned).collect())
    }
}

/// `name: value, name: value` of what came back.
pub fn fields(finished: Finished) -> String {
    let fields = finished
        .message
        .unwrap()
        .into_any()
        .downcast::<Fields>()
        .unwrap();
    fields
        .0
        .iter()
        .map(|(name, value)| format!("{name}: {value}"))
        .collect::<Vec<_>>()
        .join(", ")
}

pub fn check(name: &str) -> Result<(), EditError> {
    if name == "Via" {
        Err(EditError::Protected)
    } else {
        Ok(())
    }
}

impl Message for Fields {
    fn fork(&self) -> Box<dyn Message> {
        self.clone().boxed()
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
    fn request_line(&self) -> Option<(String, String)> {
        Some(("INVITE".into(), "sip:bob@example.com".into()))
    }
    fn header(&self, name: &str) -> Option<String> {
        self.header_values(name).into_iter().next()
    }
    fn header_values(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(other, _)| other == name)
            .map(|(_, value)| value.clone())
            .collect()
    }
    fn header_bytes(&self, name: &str) -> Vec<Vec<u8>> {
        self.header_values(name)
            .into_iter()
            .map(String::into_bytes)
            .collect()
    }
    fn headers(&self) -> Vec<(String, String)> {
        self.0.clone()
    }
    fn request_header(&self, _: &str) -> Option<String> {
        None
    }
    fn body(&self) -> Option<Content> {
        None
    }
    fn set_header(&mut self, name: &str, values: &[String]) -> Result<(), EditError> {
        check(name)?;
        self.0.retain(|(other, _)| other != name);
        values
            .iter()
            .try_for_each(|value| self.append_header(name, value))
    }
    fn prepend_header(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        check(name)?;
        self.0.insert(0, (name.into(), value.into()));
        Ok(())
    }
    fn append_header(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        check(name)?;
        self.0.push((name.into(), value.into()));
        Ok(())
    }
    fn remove_header(&mut self, name: &str) -> Result<(), EditError> {
        self.0.retain(|(other, _)| other != name);
        Ok(())
    }
    /// Shows as a field.
    fn set_request_uri(&mut self, uri: &str) -> Result<(), EditError> {
        self.set_header("Request-URI", &[uri.into()])
    }
    fn set_from(&mut self, _: Option<&str>, _: &str) -> Result<(), EditError> {
        Ok(())
    }
    fn set_to(&mut self, _: Option<&str>, _: &str) -> Result<(), EditError> {
        Ok(())
    }
    fn set_body(&mut self, _: Option<Content>) -> Result<(), EditError> {
        Ok(())
    }
}
