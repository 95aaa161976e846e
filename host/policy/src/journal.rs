//! What one run of a chain works on: the message, and the edits that are not applied yet. A policy that fails has its edits taken
//! back; those of the policies before it stay.

use std::sync::Arc;

use crate::context::{
    AttributeEdit, Attributes, EditError, Hook, HookName, Identity, Message, Names, Source,
    StageTimeouts, Summary, Target,
};

/// In one run of a chain; more are not hidden, and nobody has so many.
const TOKENS_MAX: usize = 8;

/// Travels from policy to policy of a chain.
pub(crate) struct Journal {
    message: Option<Box<dyn Message>>,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) names: Arc<dyn Names>,
    pub(crate) routing: Routing,
    pub(crate) identity: Option<Identity>,
    source_attributes: Vec<AttributeEdit>,
    transaction: Scope,
    call: Scope,
    targets: Vec<Target>,
    timeouts: Vec<StageTimeouts>,
    /// That counted: whoever else reads one could be whoever it was given to.
    tokens: Vec<String>,
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
    identity: Option<Identity>,
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
            tokens: Vec::new(),
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

    /// A token said who sends: what is left of the upgrade is without it.
    pub(crate) fn token_counted(&mut self, token: String) {
        if self.tokens.len() < TOKENS_MAX && !self.tokens.contains(&token) {
            self.tokens.push(token);
        }
    }

    /// Takes them out of a part of the upgrade.
    pub(crate) fn hide_tokens(&self, text: &mut String) {
        for token in &self.tokens {
            if text.contains(token) {
                *text = text.replace(token, "");
            }
        }
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
        let (edits, _) = self.edits(owner);
        match edited(edits, key) {
            Some(value) => value.clone(),
            None => self.found(owner, key),
        }
    }

    /// `scope_max`: how many an owner may have when the hook has returned.
    pub(crate) fn set_attribute(
        &mut self,
        owner: Owner,
        key: String,
        value: Option<String>,
        scope_max: usize,
    ) -> Result<(), EditError> {
        let is_there = self.attribute(owner, &key).is_some();
        if value.is_some() && !is_there && self.count(owner) >= scope_max {
            return Err(EditError::TooLarge);
        }
        let (edits, since) = self.edits(owner);
        let was_there = edited(&edits[..since], &key)
            .map_or_else(|| self.found(owner, &key).is_some(), Option::is_some);
        let (edits, since) = self.edits_mut(owner);
        let mine = edits[since..].iter().position(|(edited, _)| *edited == key);
        // What was not there before needs no deletion: edits are as few as what they set and find.
        match mine.map(|mine| since + mine) {
            Some(mine) if value.is_none() && !was_there => drop(edits.remove(mine)),
            Some(mine) => edits[mine].1 = value,
            None if value.is_none() && !was_there => {}
            None => edits.push((key, value)),
        }
        Ok(())
    }

    /// How many attributes this owner has, as edited so far.
    fn count(&self, owner: Owner) -> usize {
        let (edits, _) = self.edits(owner);
        let found = match owner {
            Owner::Source => self.source.attributes(),
            Owner::Transaction => self.transaction.found.len(),
            Owner::Call => self.call.found.len(),
        };
        let mut count = found;
        for (index, (key, value)) in edits.iter().enumerate() {
            if edited(&edits[index + 1..], key).is_some() {
                continue;
            }
            match (self.found(owner, key).is_some(), value.is_some()) {
                (false, true) => count += 1,
                (true, false) => count = count.saturating_sub(1),
                (true, true) | (false, false) => {}
            }
        }
        count
    }

    /// Before the first edit.
    fn found(&self, owner: Owner, key: &str) -> Option<String> {
        match owner {
            Owner::Source => self.source.attribute(key),
            Owner::Transaction => self.transaction.found.get(key).cloned(),
            Owner::Call => self.call.found.get(key).cloned(),
        }
    }

    /// All edits, and how many of them policies before the present one made.
    fn edits(&self, owner: Owner) -> (&[AttributeEdit], usize) {
        match owner {
            Owner::Source => (&self.source_attributes, self.before.source_attributes),
            Owner::Transaction => (&self.transaction.edits, self.before.transaction),
            Owner::Call => (&self.call.edits, self.before.call),
        }
    }

    fn edits_mut(&mut self, owner: Owner) -> (&mut Vec<AttributeEdit>, usize) {
        match owner {
            Owner::Source => (&mut self.source_attributes, self.before.source_attributes),
            Owner::Transaction => (&mut self.transaction.edits, self.before.transaction),
            Owner::Call => (&mut self.call.edits, self.before.call),
        }
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
        if !self.tokens.is_empty() {
            self.source.hide(&self.tokens);
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

/// The last edit of this key; the inner `None` is a deletion.
fn edited<'a>(edits: &'a [AttributeEdit], key: &str) -> Option<&'a Option<String>> {
    let mut latest = edits.iter().rev();
    latest
        .find(|(edited, _)| edited == key)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::IpAddr};

    use super::*;

    struct Nobody;

    impl Source for Nobody {
        fn transport(&self) -> &str {
            "udp"
        }
        fn peer(&self) -> String {
            String::new()
        }
        fn address(&self) -> IpAddr {
            [192, 0, 2, 1].into()
        }
        fn listener(&self) -> &str {
            ""
        }
        fn identity(&self) -> Option<String> {
            None
        }
        fn upgrade(&self, _: &str) -> Option<String> {
            None
        }
        fn attribute(&self, key: &str) -> Option<String> {
            (key == "a" || key == "b").then(|| "found".into())
        }
        fn attributes(&self) -> usize {
            2
        }
        fn apply(&self, _: Option<Identity>, _: Vec<AttributeEdit>) {}
        fn hide(&self, _: &[String]) {}
    }

    impl Names for Nobody {
        fn has_upstream(&self, _: &str) -> bool {
            false
        }
        fn is_local(&self, _: &str) -> bool {
            false
        }
        fn check_uri(&self, _: &str) -> Result<(), String> {
            Ok(())
        }
        fn check_header(&self, _: &str, _: &str) -> Result<(), EditError> {
            Ok(())
        }
    }

    fn journal() -> Journal {
        let found = ["a", "b"].map(|key| (key.to_owned(), "found".to_owned()));
        let found: Attributes = Arc::new(BTreeMap::from(found));
        let (source, names) = (Arc::new(Nobody), Arc::new(Nobody));
        Journal::new(None, source, names, (found.clone(), found), Routing::Free)
    }

    const OWNERS: [Owner; 3] = [Owner::Source, Owner::Transaction, Owner::Call];

    #[test]
    fn a_full_scope_can_be_changed_and_emptied() {
        for owner in OWNERS {
            let mut journal = journal();
            let mut set = |key: &str, value: Option<&str>| {
                journal.set_attribute(owner, key.into(), value.map(str::to_owned), 2)
            };
            assert_eq!(set("c", Some("new")), Err(EditError::TooLarge), "{owner:?}");
            assert_eq!(set("a", Some("changed")), Ok(()));
            assert_eq!(set("b", None), Ok(()));
            assert_eq!(set("c", Some("new")), Ok(()));
            assert_eq!(set("b", Some("again")), Err(EditError::TooLarge));
            let values = ["a", "b", "c"].map(|key| journal.attribute(owner, key));
            assert_eq!(values, [Some("changed".into()), None, Some("new".into())]);
        }
    }

    #[test]
    fn what_is_set_and_deleted_again_leaves_nothing() {
        for owner in OWNERS {
            let mut journal = journal();
            for index in 0..100 {
                let key = format!("k{index}");
                let set = journal.set_attribute(owner, key.clone(), Some("v".into()), 3);
                assert_eq!(set, Ok(()), "{owner:?}");
                assert_eq!(journal.set_attribute(owner, key, None, 3), Ok(()));
            }
            assert_eq!((journal.edits(owner).0.len(), journal.count(owner)), (0, 2));
        }
    }
}
