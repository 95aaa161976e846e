//! One instance of a policy in a store of its own: made, configured, called, and given up. Nothing of it is shared.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use wasmtime::{
    PoolConcurrencyLimitError, Store, UpdateDeadline,
    component::{Component, InstancePre, Linker},
};

use crate::{
    bindings::{
        exported::{
            branch_hook, connect_hook, failure_hook, lifecycle, register_hook, request_hook,
            response_hook,
        },
        types,
    },
    budget::slice_is_used_up,
    context::{Hook, HookName, Summary},
    contract::{Exports, Lifecycle, PACKAGE, VERSION},
    fault::Fault,
    imports::{self, State},
    journal::Journal,
    policy::Policy,
    runner::HookSet,
    slow_lane::is_on_worker,
};

/// Calls until an instance is given up, whatever state it may have gathered.
pub(crate) const CALLS_MAX: u32 = 1_000;
/// Memory that an instance may gain after it was configured until it is given up.
pub(crate) const GROWTH_BYTES_MAX: usize = 1 << 20;
/// What one call of an import may carry, beyond the bodies that the policy may set.
const IMPORT_BYTES_MAX: usize = 1 << 20;

/// What instances of one version are made from.
pub(crate) struct Blueprint {
    pre: InstancePre<State>,
    indices: Indices,
    config: String,
}

/// A call of a hook: the same for every policy of a chain.
pub(crate) struct Call {
    pub(crate) summary: types::Summary,
    pub(crate) argument: Argument,
}

/// What only one hook has.
pub(crate) enum Argument {
    Connect(types::Upgrade),
    Register,
    Request,
    Branch(types::Branch),
    Response(u16),
    Failure(u16),
}

/// What a policy returned.
pub(crate) enum Answer {
    Admission(types::Admission),
    Decision(types::Decision),
    Branch(types::BranchDecision),
    Response(types::ResponseDecision),
}

/// A store with one instance in it.
pub(crate) struct Instance {
    store: Store<State>,
    guests: Guests,
    calls: u32,
    configured_bytes: usize,
    worker: usize,
}

/// Where the hooks are in a component.
struct Indices {
    lifecycle: Option<lifecycle::GuestIndices>,
    connect: Option<connect_hook::GuestIndices>,
    register: Option<register_hook::GuestIndices>,
    request: Option<request_hook::GuestIndices>,
    branch: Option<branch_hook::GuestIndices>,
    response: Option<response_hook::GuestIndices>,
    failure: Option<failure_hook::GuestIndices>,
}

/// Where the hooks are in an instance.
struct Guests {
    lifecycle: Option<lifecycle::Guest>,
    connect: Option<connect_hook::Guest>,
    register: Option<register_hook::Guest>,
    request: Option<request_hook::Guest>,
    branch: Option<branch_hook::Guest>,
    response: Option<response_hook::Guest>,
    failure: Option<failure_hook::Guest>,
}

impl Blueprint {
    /// Links the component.
    ///
    /// # Errors
    /// What it imports and this host does not have, or has otherwise; which hook lacks its function.
    pub(crate) fn new(
        component: &Component,
        exports: Exports,
        config: String,
    ) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(component.engine());
        imports::add_to_linker(&mut linker)?;
        let pre = linker.instantiate_pre(component)?;
        let indices = Indices::new(&pre, exports)?;
        Ok(Self {
            pre,
            indices,
            config,
        })
    }

    /// Makes an instance and hands it its configuration. Takes as long as the guest likes: see [`within`](crate::budget::within).
    pub(crate) async fn instantiate(
        &self,
        policy: &Arc<Policy>,
        worker: usize,
    ) -> Result<Instance, Fault> {
        let mut store = Store::new(self.pre.engine(), State::new(policy.clone()));
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_callback(|_| Ok(at_tick()));
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(IMPORT_BYTES_MAX + 2 * policy.limits().body_bytes_max);
        let started = self.pre.instantiate_async(&mut store).await;
        let started = started.map_err(|error| match refused_memory(&store) {
            Some(fault) => fault,
            None if error.is::<PoolConcurrencyLimitError>() => Fault::Pool,
            None => not_made("does not start", &error),
        })?;
        let guests = self.indices.load(&mut store, &started)?;
        if let Some(lifecycle) = &guests.lifecycle {
            let configured = lifecycle.call_configure(&mut store, &self.config).await;
            configured
                .map_err(|error| {
                    let trapped = || not_made("configure trapped", &error);
                    refused_memory(&store).unwrap_or_else(trapped)
                })?
                .map_err(|reason| Fault::Instance(format!("configure refused: {reason}")))?;
        }
        policy.tally(worker).instances_made.fetch_add(1, Relaxed);
        let configured_bytes = store.data().memory.bytes;
        Ok(Instance {
            store,
            guests,
            calls: 0,
            configured_bytes,
            worker,
        })
    }
}

impl Call {
    pub(crate) fn new(hook: Hook, summary: Summary) -> Self {
        let argument = match hook {
            Hook::Connect(upgrade) => Argument::Connect(upgrade.into()),
            Hook::Register => Argument::Register,
            Hook::Request => Argument::Request,
            Hook::Branch(branch) => Argument::Branch(branch.into()),
            Hook::Response(status) => Argument::Response(status),
            Hook::Failure(status) => Argument::Failure(status),
        };
        Self {
            summary: summary.into(),
            argument,
        }
    }

    /// Those that counted are nothing to the policies that follow.
    pub(crate) fn hide_tokens(&mut self, journal: &Journal) {
        if let Argument::Connect(upgrade) = &mut self.argument {
            let values = upgrade.headers.iter_mut().map(|field| &mut field.value);
            let texts = values.chain(&mut upgrade.query);
            texts.for_each(|text| journal.hide_tokens(text));
        }
    }

    pub(crate) fn hook(&self) -> HookName {
        match self.argument {
            Argument::Connect(_) => HookName::Connect,
            Argument::Register => HookName::Register,
            Argument::Request => HookName::Request,
            Argument::Branch(_) => HookName::Branch,
            Argument::Response(_) => HookName::Response,
            Argument::Failure(_) => HookName::Failure,
        }
    }
}

impl Instance {
    /// Gives it the journal for the next call.
    pub(crate) fn lend(&mut self, journal: Box<Journal>) {
        self.store.data_mut().journal = Some(journal);
        self.store.data_mut().memory.refused = imports::Refused::Nothing;
        self.calls += 1;
    }

    /// Takes the journal back, after whatever end the call had.
    pub(crate) fn take_back(&mut self) -> Box<Journal> {
        self.store
            .data_mut()
            .journal
            .take()
            .expect("lent before each call, and imports only borrow it")
    }

    /// Calls the hook. The outer error is a trap, which poisons the store.
    pub(crate) async fn call(
        &mut self,
        call: &Call,
    ) -> wasmtime::Result<Result<Answer, types::Fault>> {
        let Self { store, guests, .. } = self;
        store.set_epoch_deadline(1);
        let summary = &call.summary;
        Ok(match &call.argument {
            Argument::Connect(upgrade) => guest(&guests.connect)?
                .call_on_connect(store, upgrade)
                .await?
                .map(Answer::Admission),
            Argument::Register => guest(&guests.register)?
                .call_on_register(store, summary)
                .await?
                .map(Answer::Decision),
            Argument::Request => guest(&guests.request)?
                .call_on_request(store, summary)
                .await?
                .map(Answer::Decision),
            Argument::Branch(branch) => guest(&guests.branch)?
                .call_on_branch(store, summary, branch)
                .await?
                .map(Answer::Branch),
            Argument::Response(status) => guest(&guests.response)?
                .call_on_response(store, summary, *status)
                .await?
                .map(Answer::Response),
            Argument::Failure(status) => guest(&guests.failure)?
                .call_on_failure(store, summary, *status)
                .await?
                .map(Answer::Decision),
        })
    }

    /// A trap in the words of the limit that caused it.
    pub(crate) fn trap(&self, error: &wasmtime::Error) -> Fault {
        let trapped = || Fault::Trap(error.root_cause().to_string());
        refused_memory(&self.store).unwrap_or_else(trapped)
    }

    /// Hooks that its configuration has no use for.
    pub(crate) fn skipped(&self) -> HookSet {
        self.store.data().skipped
    }

    /// Has it served its time?
    pub(crate) fn is_spent(&self) -> bool {
        self.calls >= CALLS_MAX
            || self.store.data().memory.bytes > self.configured_bytes + GROWTH_BYTES_MAX
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.store
            .data()
            .policy
            .tally(self.worker)
            .instances_retired
            .fetch_add(1, Relaxed);
    }
}

impl Indices {
    fn new(pre: &InstancePre<State>, exports: Exports) -> wasmtime::Result<Self> {
        let has = |hook| exports.hooks.contains(hook);
        let lifecycle = exports.lifecycle == Lifecycle::Exported;
        Ok(Self {
            lifecycle: lifecycle
                .then(|| lifecycle::GuestIndices::new(pre))
                .transpose()?,
            connect: has(HookName::Connect)
                .then(|| connect_hook::GuestIndices::new(pre))
                .transpose()?,
            register: has(HookName::Register)
                .then(|| register_hook::GuestIndices::new(pre))
                .transpose()?,
            request: has(HookName::Request)
                .then(|| request_hook::GuestIndices::new(pre))
                .transpose()?,
            branch: has(HookName::Branch)
                .then(|| branch_hook::GuestIndices::new(pre))
                .transpose()?,
            response: has(HookName::Response)
                .then(|| response_hook::GuestIndices::new(pre))
                .transpose()?,
            failure: has(HookName::Failure)
                .then(|| failure_hook::GuestIndices::new(pre))
                .transpose()?,
        })
    }

    /// Checks the type of each hook: wasmtime does so on an instance only.
    fn load(
        &self,
        store: &mut Store<State>,
        instance: &wasmtime::component::Instance,
    ) -> Result<Guests, Fault> {
        macro_rules! load {
            ($hook:ident, $name:literal) => {
                match &self.$hook {
                    Some(indices) => {
                        let loaded = indices.load(&mut *store, instance);
                        Some(loaded.map_err(|error| wrong_type($name, &error))?)
                    }
                    None => None,
                }
            };
        }
        Ok(Guests {
            lifecycle: load!(lifecycle, "lifecycle"),
            connect: load!(connect, "connect-hook"),
            register: load!(register, "register-hook"),
            request: load!(request, "request-hook"),
            branch: load!(branch, "branch-hook"),
            response: load!(response, "response-hook"),
            failure: load!(failure, "failure-hook"),
        })
    }
}

/// A call that happens to run at a tick, or whose thread the system made wait, does not leave its worker for that.
fn at_tick() -> UpdateDeadline {
    if is_on_worker() && !slice_is_used_up() {
        UpdateDeadline::Continue(1)
    } else {
        UpdateDeadline::Yield(1)
    }
}

/// Chains call what is exported only; an error costs the call and no more.
fn guest<G>(guest: &Option<G>) -> wasmtime::Result<&G> {
    guest
        .as_ref()
        .ok_or_else(|| wasmtime::format_err!("the policy does not export this hook"))
}

fn wrong_type(interface: &str, error: &wasmtime::Error) -> Fault {
    let reason = error.root_cause();
    Fault::Instance(format!(
        "{interface} has another type than in {PACKAGE}@{VERSION} ({reason}); build it against that version"
    ))
}

/// Whatever the guest or the engine says of it then: this is the limit to be named.
fn refused_memory(store: &Store<State>) -> Option<Fault> {
    let memory = &store.data().memory;
    match memory.refused {
        imports::Refused::Growth => Some(Fault::Memory(memory.bytes_max)),
        imports::Refused::Nothing => None,
    }
}

fn not_made(what: &str, error: &wasmtime::Error) -> Fault {
    Fault::Instance(format!("{what}: {}", error.root_cause()))
}
