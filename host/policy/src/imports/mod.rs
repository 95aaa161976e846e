//! What a policy may import: the contract's functions on the journal, one file for each group, and a WASI that has nothing to give.
//! Every function answers from memory; none waits.

use std::sync::Arc;

use wasmtime::{
    ResourceLimiter,
    component::{HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::{
    bindings::{imported, types},
    context::EditError,
    journal::Journal,
    policy::Policy,
    runner::HookSet,
    spec::{Grant, Limits},
};

mod attributes;
mod auth;
mod hooks;
mod log;
mod message;
mod target;

/// Bytes that one call of `random` gives at most.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// WASI resources (streams, pollables) of one instance.
const WASI_RESOURCES_MAX: usize = 1_000;
/// Elements of all tables of one instance together.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// The data of one instance's store.
pub(crate) struct State {
    pub(crate) policy: Arc<Policy>,
    /// There during a hook, and not during `configure`.
    pub(crate) journal: Option<Box<Journal>>,
    pub(crate) memory: MemoryUse,
    /// Hooks that have nothing to do under the configuration.
    pub(crate) skipped: HookSet,
    wasi: Option<Box<Wasi>>,
}

/// Linear memory of one instance.
#[derive(Default)]
pub(crate) struct MemoryUse {
    pub(crate) bytes: usize,
    pub(crate) bytes_max: usize,
    pub(crate) refused: Refused,
    table_elements: usize,
}

/// Whether growth was refused since the call began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Refused {
    #[default]
    Nothing,
    Growth,
}

struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl State {
    pub(crate) fn new(policy: Arc<Policy>) -> Self {
        let memory = MemoryUse {
            bytes_max: policy.limits().memory_bytes_max,
            ..MemoryUse::default()
        };
        Self {
            policy,
            journal: None,
            memory,
            skipped: HookSet::default(),
            wasi: None,
        }
    }

    fn limits(&self) -> &Limits {
        self.policy.limits()
    }

    fn journal_mut(&mut self) -> Result<&mut Journal, EditError> {
        self.journal.as_deref_mut().ok_or(EditError::NoMessage)
    }
}

/// Links the whole contract and all of WASI p2, whatever the component imports.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    imported::types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    imported::message::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    imported::target::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    imported::source::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    imported::transaction::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    imported::call::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    imported::auth::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    imported::log::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    imported::hooks::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

impl types::Host for State {}

/// Made at the first call of a WASI function: many guests import it and never call it.
impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(|| {
            let mut table = ResourceTable::new();
            table.set_max_capacity(WASI_RESOURCES_MAX);
            let ctx = WasiCtxBuilder::new()
                .allow_tcp(false)
                .allow_udp(false)
                .allow_ip_name_lookup(false)
                .max_random_size(RANDOM_BYTES_MAX)
                .build();
            Box::new(Wasi { ctx, table })
        });
        WasiCtxView {
            ctx: &mut wasi.ctx,
            table: &mut wasi.table,
        }
    }
}

impl ResourceLimiter for MemoryUse {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if bytes > self.bytes_max {
            self.refused = Refused::Growth;
            return Ok(false);
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let elements = self
            .table_elements
            .saturating_add(desired.saturating_sub(current));
        if elements > TABLE_ELEMENTS_MAX {
            return Ok(false);
        }
        self.table_elements = elements;
        Ok(true)
    }
}

fn granted(grant: Grant) -> Result<(), EditError> {
    match grant {
        Grant::Allow => Ok(()),
        Grant::Deny => Err(EditError::NotGranted),
    }
}

/// No line break and no NUL: they would end the field and begin something else.
fn check_text(text: &str) -> Result<(), EditError> {
    if text.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(EditError::Invalid("CR, LF or NUL in a value".into()));
    }
    Ok(())
}

fn check_field(limits: &Limits, name: &str, value: &str) -> Result<(), EditError> {
    if name.len() + value.len() > limits.header_bytes_max {
        return Err(EditError::TooLarge);
    }
    check_text(name)?;
    check_text(value)
}
