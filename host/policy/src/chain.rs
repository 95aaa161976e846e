//! One run of a hook through the policies of a generation, in order, until one decides.

use std::sync::Arc;

use crate::{
    context::{Finished, Outcome, Run},
    decision::Step,
    fault::Fault,
    generation::Generation,
    instance::{Argument, Call},
    journal::{Journal, Routing},
    policy::Policy,
    spec::{FailureMode, Place},
};

/// Which policies still run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// A policy decided `forward`: the tenant's are done.
    Operator,
}

/// Runs the chain to its end. Waits only where a guest spins or waits.
pub(crate) async fn run(generation: Arc<Generation>, worker: usize, run: Run) -> Finished {
    let Run {
        hook,
        summary,
        message,
        source,
        names,
        transaction,
        call,
    } = run;
    let routing = Routing::of(&hook, &summary);
    let mut journal = Box::new(Journal::new(
        message,
        source,
        names,
        (transaction, call),
        routing,
    ));
    let mut call = Call::new(hook, summary);
    let mut part = Part::All;
    let mut outcome = Outcome::Continue;
    for version in generation.chain(call.hook()) {
        let policy = &version.policy;
        if !applies(policy, part, &call.summary.tenant) {
            continue;
        }
        let (back, result) = version.call(worker, &call, journal).await;
        journal = back;
        call.hide_tokens(&journal);
        let step = match result {
            Ok(step) => {
                journal.keep();
                step
            }
            Err(fault) => {
                journal.undo();
                policy.note(worker, call.hook(), &fault);
                failed(policy, &call, &fault)
            }
        };
        match step {
            Step::Next => {}
            Step::Forward => part = Part::Operator,
            Step::Status(status) => {
                call.argument = Argument::Response(status);
                outcome = Outcome::Status(status);
            }
            Step::End(end) => {
                outcome = end;
                break;
            }
        }
    }
    let edits = journal.finish();
    Finished {
        outcome,
        message: edits.message,
        targets: edits.targets,
        timeouts: edits.timeouts,
        transaction: edits.transaction,
        call: edits.call,
    }
}

fn applies(policy: &Policy, part: Part, tenant: &str) -> bool {
    let spec = policy.spec();
    let of_tenant = spec.tenant.as_deref().is_none_or(|only| only == tenant);
    match part {
        Part::All => of_tenant,
        Part::Operator => of_tenant && spec.place != Place::Tenant,
    }
}

fn failed(policy: &Policy, call: &Call, fault: &Fault) -> Step {
    match policy
        .spec()
        .failure
        .of(call.hook(), call.summary.in_dialog)
    {
        FailureMode::Open => Step::Next,
        FailureMode::Closed => Step::End(Outcome::Fault {
            policy: policy.name().to_owned(),
            reason: fault.to_string(),
        }),
    }
}
