//! What one run of a chain works on: the message, and the edits that are not applied yet. A policy that fails has its edits taken
//! back; those of the policies before it stay.

use std::sync::Arc;

use crate::context::{
    AttributeEdit, Attributes, EditError, Hook, HookName, Message, Names, Source, StageTimeouts,
    Summary, Target,
};

/// Travels from policy to policy of a chain.
pub(crate) struct Journal {
    message: Option<Box<dyn Message>>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) names: Arc<dyn Names>,
    pub(crate) routing: Routing,
    pub(crate) identity: Option<String>,
    source_attributes: Vec<AttributeEdit>,
    transaction: Scope,
    call: Scope,
    targets: Vec<Target>,
    timeouts: Vec<StageTimeouts>,
    before: Before,
}

/// Whether targets may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routing {
    /// In `on-register`, `on-request` and `on-failure` outside dialogs.
    Free,
    /// Everywhere else.
    Fixed,
}

/// Whose attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Source,
    Transaction,
    Call,
}

/// Attributes as they were when the hook began, and what became of them.
struct Scope {
    found: Attributes,
    edits: Vec<AttributeEdit>,
}

/// How things stood when the present policy began. The message and the targets are copied at the first edit only.
#[derive(Default)]
struct Before {
    message: Option<Box<dyn Message>>,
    targets: Option<(Vec<Target>, Vec<StageTimeouts>)>,
    identity: Option<String>,
    source_attributes: usize,
    transaction: usize,
    call: usize,
}

/// What is left to apply at the end.
pub(crate) struct Edits {
    pub(crate) message: Option<Box<dyn Message>>,
    pub(crate) targets: Vec<Target>,
    pub(crate) timeouts: Vec<StageTimeouts>,
    pub(crate) transaction: Vec<AttributeEdit>,
    pub(crate) call: Vec<AttributeEdit>,
}

impl Routing {
    pub(crate) fn of(hook: &Hook, summary: &Summary) -> Self {
        match hook.name() {
            HookName::Register | HookName::Request | HookName::Failure if !summary.in_dialog => {
                Self::Free
            }
            HookName::Register | HookName::Request | HookName::Failure => Self::Fixed,
            HookName::Connect | HookName::Branch | HookName::Response => Self::Fixed,
        }
    }
}

impl Journal {
    pub(crate) fn new(
        message: Option<Box<dyn Message>>,
        source: Arc<dyn Source>,
        names: Arc<dyn Names>,
        (transaction, call): (Attributes, Attributes),
        routing: Routing,
    ) -> Self {
        Self {
            message,
            source,
            names,
            routing,
            identity: None,
            source_attributes: Vec::new(),
            transaction: Scope {
                found: transaction,
                edits: Vec::new(),
            },
            call: Scope {
                found: call,
                edits: Vec::new(),
            },
            targets: Vec::new(),
            timeouts: Vec::new(),
            before: Before::default(),
        }
    }

    pub(crate) fn message(&self) -> Option<&dyn Message> {
        self.message.as_deref()
    }

    /// The message for an edit.
    pub(crate) fn message_mut(&mut self) -> Result<&mut dyn Message, EditError> {
        let message = self.message.as_mut().ok_or(EditError::NoMessage)?;
        if self.before.message.is_none() {
            self.before.message = Some(message.fork());
        }
        Ok(message.as_mut())
    }

    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Targets and stage time-outs for an edit.
    pub(crate) fn targets_mut(
        &mut self,
    ) -> Result<(&mut Vec<Target>, &mut Vec<StageTimeouts>), EditError> {
        if self.routing == Routing::Fixed {
            return Err(EditError::NoMessage);
        }
        if self.before.targets.is_none() {
            self.before.targets = Some((self.targets.clone(), self.timeouts.clone()));
        }
        Ok((&mut self.targets, &mut self.timeouts))
    }

    /// As edited so far.
    pub(crate) fn attribute(&self, owner: Owner, key: &str) -> Option<String> {
        let (edits, found) = match owner {
            Owner::Source => (&self.source_attributes, None),
            Owner::Transaction => (&self.transaction.edits, Some(&self.transaction.found)),
            Owner::Call => (&self.call.edits, Some(&self.call.found)),
        };
        match (edits.iter().rev().find(|(edited, _)| edited == key), found) {
            (Some((_, value)), _) => value.clone(),
            (None, Some(found)) => found.get(key).cloned(),
            (None, None) => self.source.attribute(key),
        }
    }

    /// `scope_max`: how many an owner may have.
    pub(crate) fn set_attribute(
        &mut self,
        owner: Owner,
        key: String,
        value: Option<String>,
        scope_max: usize,
    ) -> Result<(), EditError> {
        let (edits, found, since) = match owner {
            Owner::Source => (
                &mut self.source_attributes,
                0,
                self.before.source_attributes,
            ),
            Owner::Transaction => (
                &mut self.transaction.edits,
                self.transaction.found.len(),
                self.before.transaction,
            ),
            Owner::Call => (
                &mut self.call.edits,
                self.call.found.len(),
                self.before.call,
            ),
        };
        if let Some((_, edited)) = edits
            .iter_mut()
            .skip(since)
            .find(|(edited, _)| *edited == key)
        {
            *edited = value;
            return Ok(());
        }
        if found + edits.len() >= scope_max {
            return Err(EditError::TooLarge);
        }
        edits.push((key, value));
        Ok(())
    }

    /// The present policy returned: its edits stay, and the next one begins.
    pub(crate) fn keep(&mut self) {
        self.before = Before {
            message: None,
            targets: None,
            identity: self.identity.clone(),
            source_attributes: self.source_attributes.len(),
            transaction: self.transaction.edits.len(),
            call: self.call.edits.len(),
        };
    }

    /// The present policy failed: everything is as it was before it.
    pub(crate) fn undo(&mut self) {
        let before = std::mem::take(&mut self.before);
        if let Some(message) = before.message {
            self.message = Some(message);
        }
        if let Some((targets, timeouts)) = before.targets {
            (self.targets, self.timeouts) = (targets, timeouts);
        }
        self.identity = before.identity;
        self.source_attributes.truncate(before.source_attributes);
        self.transaction.edits.truncate(before.transaction);
        self.call.edits.truncate(before.call);
        self.keep();
    }

    /// Hands the source its edits, and the rest to whoever asked.
    pub(crate) fn finish(self) -> Edits {
        if self.identity.is_some() || !self.source_attributes.is_empty() {
            self.source.apply(self.identity, self.source_attributes);
        }
        Edits {
            message: self.message,
            targets: self.targets,
            timeouts: self.timeouts,
            transaction: self.transaction.edits,
            call: self.call.edits,
        }
    }
}
