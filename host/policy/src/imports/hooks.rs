//! `hooks`: what a policy says of itself in `configure`.

use super::State;
use crate::{
    bindings::imported::hooks::{Hook, Host},
    context::HookName,
};

impl Host for State {
    fn skip(&mut self, hook: Hook) {
        let hook = match hook {
            Hook::Connect => HookName::Connect,
            Hook::Register => HookName::Register,
            Hook::Request => HookName::Request,
            Hook::Branch => HookName::Branch,
            Hook::Response => HookName::Response,
            Hook::Failure => HookName::Failure,
        };
        self.skipped = self.skipped.with(hook);
    }
}
