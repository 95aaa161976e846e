//! `source`, `transaction` and `call`: what outlives a hook.

use std::time::{Duration, SystemTime};

use super::{State, check_field, granted};
use crate::{
    bindings::{imported, types},
    context::{EditError, Identity},
    journal::Owner,
};

impl State {
    fn attribute(&self, owner: Owner, key: &str) -> Option<String> {
        self.journal.as_deref()?.attribute(owner, key)
    }

    fn set_attribute(
        &mut self,
        owner: Owner,
        key: String,
        value: Option<String>,
    ) -> Result<(), types::EditError> {
        let limits = *self.limits();
        if key.len() + value.as_deref().map_or(0, str::len) > limits.attribute_bytes_max {
            return Err(types::EditError::TooLarge);
        }
        Ok(self
            .journal_mut()?
            .set_attribute(owner, key, value, limits.attributes_max)?)
    }
}

impl State {
    fn identify(&mut self, name: String, until: Option<SystemTime>) -> Result<(), EditError> {
        granted(self.policy.grants().identify)?;
        check_field(self.limits(), "", &name)?;
        if name.is_empty() {
            return Err(EditError::Invalid("an empty identity".into()));
        }
        self.journal_mut()?.identity = Some(Identity { name, until });
        Ok(())
    }
}

impl imported::source::Host for State {
    fn transport(&mut self) -> String {
        self.journal
            .as_deref()
            .map(|journal| journal.source.transport().to_owned())
            .unwrap_or_default()
    }

    fn peer(&mut self) -> String {
        self.journal
            .as_deref()
            .map(|journal| journal.source.peer())
            .unwrap_or_default()
    }

    fn listener(&mut self) -> String {
        self.journal
            .as_deref()
            .map(|journal| journal.source.listener().to_owned())
            .unwrap_or_default()
    }

    fn identity(&mut self) -> Option<String> {
        let journal = self.journal.as_deref()?;
        match &journal.identity {
            Some(identity) => Some(identity.name.clone()),
            None => journal.source.identity(),
        }
    }

    fn set_identity(&mut self, name: String) -> Result<(), types::EditError> {
        Ok(self.identify(name, None)?)
    }

    fn set_identity_until(&mut self, name: String, unix_s: u64) -> Result<(), types::EditError> {
        // What no clock reaches is never over.
        let until = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(unix_s));
        Ok(self.identify(name, until)?)
    }

    fn upgrade(&mut self, name: String) -> Option<String> {
        let journal = self.journal.as_deref()?;
        let mut value = journal.source.upgrade(&name)?;
        journal.hide_tokens(&mut value);
        Some(value)
    }

    fn attribute(&mut self, key: String) -> Option<String> {
        State::attribute(self, Owner::Source, &key)
    }

    fn set_attribute(
        &mut self,
        key: String,
        value: Option<String>,
    ) -> Result<(), types::EditError> {
        State::set_attribute(self, Owner::Source, key, value)
    }
}

impl imported::transaction::Host for State {
    fn attribute(&mut self, key: String) -> Option<String> {
        State::attribute(self, Owner::Transaction, &key)
    }

    fn set_attribute(
        &mut self,
        key: String,
        value: Option<String>,
    ) -> Result<(), types::EditError> {
        State::set_attribute(self, Owner::Transaction, key, value)
    }
}

impl imported::call::Host for State {
    fn attribute(&mut self, key: String) -> Option<String> {
        State::attribute(self, Owner::Call, &key)
    }

    fn set_attribute(
        &mut self,
        key: String,
        value: Option<String>,
    ) -> Result<(), types::EditError> {
        State::set_attribute(self, Owner::Call, key, value)
    }
}
