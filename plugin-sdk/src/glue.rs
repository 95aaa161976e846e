//! What the expansion of [`macro@crate::policy`] calls. Not for policies to use.

pub use wit_bindgen;

pub use crate::bindings::hookswitch::policy as contract;

use std::cell::RefCell;

use crate::{Fault, Policy};

/// The instance's policy, empty until it is configured.
pub type Slot<P> = RefCell<Option<P>>;

/// Makes the policy from its configuration; no text at all means no settings.
pub fn configure<P: Policy>(slot: &Slot<P>, json: &str) -> Result<(), String> {
    log_panics();
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

/// The words of a panic reach the host's log before the trap does.
#[cfg(target_family = "wasm")]
fn log_panics() {
    use crate::log;

    std::panic::set_hook(Box::new(|panicked| {
        log::write(log::Level::Error, &panicked.to_string());
    }));
}

#[cfg(not(target_family = "wasm"))]
fn log_panics() {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decision, NoConfig, Summary};

    struct Picky;

    impl Policy for Picky {
        type Config = NoConfig;

        fn new(_: NoConfig) -> Result<Self, String> {
            Ok(Self)
        }

        fn on_request(&mut self, _: Summary) -> Result<Decision, Fault> {
            Ok(Decision::Discard)
        }
    }

    #[test]
    fn no_settings_are_none_at_all_or_an_empty_object() {
        for json in ["", " ", "{}"] {
            assert_eq!(configure(&Slot::<Picky>::default(), json), Ok(()), "{json}");
        }
    }

    #[test]
    fn a_wrong_configuration_says_what_and_where() {
        let refused = configure(&Slot::<Picky>::default(), r#"{"a":1}"#);
        let reason = "configuration: unknown field `a`, there are no fields at line 1 column 4";
        assert_eq!(refused, Err(reason.to_owned()));
    }

    #[test]
    fn a_hook_before_the_configuration_is_a_fault() {
        let slot = Slot::<Picky>::default();
        let called = run(&slot, |_| Ok(()));
        assert_eq!(
            called.map_err(|fault| fault.code),
            Err("not-configured".to_owned())
        );
        assert_eq!(configure(&slot, "{}"), Ok(()));
        assert_eq!(run(&slot, |_| Ok(1)), Ok(1));
    }
}
