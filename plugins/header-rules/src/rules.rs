//! Rules as they run: every name checked, every value parsed, one list for each hook. Reads a header at most once for each message,
//! or again after a rule changed it.

use hookswitch_sdk::{EditError, Summary, uri};

use crate::config::Status;
use crate::template::Template;

/// A header that rules read: an index into the names of its [`RuleSet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(pub(crate) usize);

/// The rules of one hook.
#[derive(Debug, Default)]
pub(crate) struct RuleSet {
    /// The headers that the rules read.
    pub(crate) reads: Vec<String>,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) actions: Vec<Action>,
}

/// What must hold; of a list one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    Method(Vec<String>),
    Side(Vec<String>),
    InDialog(bool),
    Status(Vec<Status>),
    RequestUriPrefix(Vec<String>),
    FromDomain(Vec<String>),
    ToDomain(Vec<String>),
    Header(Slot, Test),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Test {
    Exists,
    Absent,
    Equals(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
}

#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) edit: Edit,
    pub(crate) header: String,
    /// The same header among those that are read: what was read of it is stale after the edit.
    pub(crate) slot: Option<Slot>,
}

#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Remove,
    Set(Template),
    Add(Template),
}

/// The message as rules see it: in a component the host's, in tests a list.
pub(crate) trait Message {
    fn header(&self, name: &str) -> Option<String>;
    fn values(&self, name: &str) -> Vec<String>;
    fn remove(&mut self, name: &str) -> Result<(), EditError>;
    fn set(&mut self, name: &str, value: &str) -> Result<(), EditError>;
    fn add(&mut self, name: &str, value: &str) -> Result<(), EditError>;
}

impl RuleSet {
    /// Applies every rule whose conditions hold, in order. `status` is 0 in requests.
    pub(crate) fn apply(
        &self,
        message: &mut dyn Message,
        request: &Summary,
        status: u16,
    ) -> Result<(), EditError> {
        let mut cache = vec![Cached::default(); self.reads.len()];
        for rule in &self.rules {
            let mut headers = Headers {
                names: &self.reads,
                cache: &mut cache,
                message,
            };
            if !rule
                .conditions
                .iter()
                .all(|condition| condition.holds(request, status, &mut headers))
            {
                continue;
            }
            for action in &rule.actions {
                let mut headers = Headers {
                    names: &self.reads,
                    cache: &mut cache,
                    message,
                };
                match &action.edit {
                    Edit::Remove => message.remove(&action.header)?,
                    Edit::Set(template) => {
                        let value = template.value(request, status, &mut headers);
                        message.set(&action.header, &value)?;
                    }
                    Edit::Add(template) => {
                        let value = template.value(request, status, &mut headers);
                        message.add(&action.header, &value)?;
                    }
                }
                if let Some(stale) = action.slot.and_then(|slot| cache.get_mut(slot.0)) {
                    *stale = Cached::default();
                }
            }
        }
        Ok(())
    }
}

/// What has been read of one header.
#[derive(Debug, Clone, Default)]
struct Cached {
    first: Option<Option<String>>,
    values: Option<Vec<String>>,
}

/// The headers of one message, each read once.
pub(crate) struct Headers<'a> {
    names: &'a [String],
    cache: &'a mut [Cached],
    message: &'a dyn Message,
}

impl Headers<'_> {
    /// The first value of this header, whole.
    pub(crate) fn get(&mut self, slot: Slot) -> Option<&str> {
        let (name, cached) = (self.names.get(slot.0)?, self.cache.get_mut(slot.0)?);
        let first = &mut cached.first;
        first
            .get_or_insert_with(|| self.message.header(name))
            .as_deref()
    }

    /// All its values.
    fn values(&mut self, slot: Slot) -> &[String] {
        match (self.names.get(slot.0), self.cache.get_mut(slot.0)) {
            (Some(name), Some(cached)) => {
                let values = &mut cached.values;
                values.get_or_insert_with(|| self.message.values(name))
            }
            (None, _) | (_, None) => &[],
        }
    }
}

impl Condition {
    fn holds(&self, request: &Summary, status: u16, headers: &mut Headers<'_>) -> bool {
        let one_of = |domains: &[String], uri| {
            uri::host(uri).is_some_and(|host| {
                domains
                    .iter()
                    .any(|domain| domain.eq_ignore_ascii_case(host))
            })
        };
        match self {
            Self::Method(methods) => methods.contains(&request.method),
            Self::Side(sides) => sides.contains(&request.side),
            Self::InDialog(wanted) => request.in_dialog == *wanted,
            Self::Status(ranges) => ranges
                .iter()
                .any(|range| (range.low..=range.high).contains(&status)),
            Self::RequestUriPrefix(prefixes) => prefixes
                .iter()
                .any(|prefix| request.request_uri.starts_with(prefix)),
            Self::FromDomain(domains) => one_of(domains, &request.from_uri),
            Self::ToDomain(domains) => one_of(domains, &request.to_uri),
            Self::Header(slot, test) => test.holds(headers.values(*slot)),
        }
    }
}

impl Test {
    /// One value that fits is enough.
    fn holds(&self, values: &[String]) -> bool {
        let any = |fits: &dyn Fn(&str) -> bool| values.iter().any(|value| fits(value));
        match self {
            Self::Exists => !values.is_empty(),
            Self::Absent => values.is_empty(),
            Self::Equals(wanted) => any(&|value| value == wanted),
            Self::Prefix(wanted) => any(&|value| value.starts_with(wanted)),
            Self::Suffix(wanted) => any(&|value| value.ends_with(wanted)),
            Self::Contains(wanted) => any(&|value| value.contains(wanted)),
        }
    }
}
