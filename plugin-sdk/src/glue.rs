//! What the expansion of [`macro@crate::policy`] calls. Not for policies to use.

pub use wit_bindgen;

pub use crate::bindings::hookswitch::policy as contract;

use std::cell::RefCell;
use std::panic;

use crate::{Fault, Policy, log};

/// The instance's policy, empty until it is configured.
pub type Slot<P> = RefCell<Option<P>>;

/// Makes the policy from its configuration; no text at all means no settings.
pub fn configure<P: Policy>(slot: &Slot<P>, json: &str) -> Result<(), String> {
    panic::set_hook(Box::new(|panicked| {
        log::write(log::Level::Error, &panicked.to_string())
    }));
    let text = if json.trim().is_empty() { "{}" } else { json };
    let config = serde_json::from_str(text).map_err(|error| format!("configuration: {error}"))?;
    *slot.borrow_mut() = Some(P::new(config)?);
    Ok(())
}

/// Runs one hook on the instance's policy.
pub fn run<P: Policy, T>(
    slot: &Slot<P>,
    hook: impl FnOnce(&mut P) -> Result<T, Fault>,
) -> Result<T, Fault> {
    match slot.borrow_mut().as_mut() {
        Some(policy) => hook(policy),
        None => Err(Fault::new(
            "not-configured",
            "a hook was called before the policy was configured",
        )),
    }
}
