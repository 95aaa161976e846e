//! How refused edits and plain words become a [`Fault`], so that hooks can use `?`.

use crate::{EditError, Fault, Reply};

impl Fault {
    /// A failure that the policy reports itself: `code` is a short word for metrics, `detail` a sentence for the log.
    pub fn new(code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            detail: detail.into(),
        }
    }
}

impl From<EditError> for Fault {
    fn from(error: EditError) -> Self {
        let (code, detail) = match error {
            EditError::Protected => (
                "protected",
                "the proxy keeps this field to itself".to_owned(),
            ),
            EditError::NotGranted => (
                "not-granted",
                "the configuration does not grant this to the policy".to_owned(),
            ),
            EditError::NoMessage => (
                "no-message",
                "there is nothing of this kind to edit here".to_owned(),
            ),
            EditError::Invalid(why) => ("invalid", why),
            EditError::TooLarge => ("too-large", "the value is above the limit".to_owned()),
            EditError::Other(why) => ("other", why),
        };
        Self::new(code, detail)
    }
}

impl From<String> for Fault {
    fn from(detail: String) -> Self {
        Self::new("policy", detail)
    }
}

impl From<&str> for Fault {
    fn from(detail: &str) -> Self {
        Self::new("policy", detail)
    }
}

impl Reply {
    /// A final response of this status without headers or body; the reason phrase is the usual one.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            reason: None,
            headers: Vec::new(),
            body: None,
        }
    }
}
