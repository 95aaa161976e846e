//! Runs the policies' hooks for the proxy: an ask becomes a run, what came of it a verdict. A run that does not wait is done at once;
//! one that does goes on elsewhere, and its verdict comes back into this worker.

use std::sync::Arc;

use bytes::Bytes;
use hookswitch_policy::{
    Engine, Generation, PendingRun, Policies, Progress,
    context::{self, Finished, HookName, Outcome, Run, Summary},
};
use hookswitch_sip::{
    flow::{Flow, Side, UpstreamId},
    message::Message,
    proxy::io::{self, Ask, Continue, Hook, Input, StageTimeouts, Target, TargetKind, Verdict},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    LateVerdict, Worker, WorkerRef,
    message::{Current, Names},
};
use crate::{metrics::Count, server::Shared, source::Source};

/// Everybody's, while there is one.
const TENANT: &str = "default";

/// The policies that a transaction begins with now.
pub(super) fn current(policies: &Policies) -> io::Policies {
    let generation = policies.current();
    let exported = generation.hooks();
    let pairs = [
        (Hook::Register, HookName::Register),
        (Hook::Request, HookName::Request),
        (Hook::Branch, HookName::Branch),
        (Hook::Response, HookName::Response),
        (Hook::Failure, HookName::Failure),
    ];
    let asked = pairs
        .into_iter()
        .filter(|(_, name)| exported.contains(*name));
    io::Policies {
        hooks: asked.fold(io::Hooks::default(), |hooks, (hook, _)| hooks.with(hook)),
        generation,
    }
}

impl Worker {
    pub(super) fn ask(&mut self, ask: Ask) {
        let (id, hook) = (ask.id, ask.hook);
        let Ok(generation) = Arc::downcast::<Generation>(Arc::clone(&ask.policies.generation) as _)
        else {
            unreachable!("every generation was put there by `current`");
        };
        let run = self.shared.run_of(ask);
        match self.runner.run(&generation, run) {
            Progress::Done(finished) => self.decided((id, hook, finished)),
            Progress::Pending(pending) => {
                self.metrics.count(Count::PoliciesSlow);
                let late = self.late.clone();
                self.engine().slow_lane().spawn(pending, move |finished| {
                    // An error says that the worker has ended.
                    let _ = late.send((id, hook, finished));
                });
            }
        }
    }

    fn decided(&mut self, (id, hook, finished): LateVerdict) {
        let verdict = verdict(hook, finished, &self.shared.names);
        self.inputs.push_back(Input::Verdict { id, verdict });
    }

    fn engine(&self) -> &Engine {
        &self.shared.engine
    }
}

/// Verdicts of slow hooks. At most as many wait as hooks are in flight.
pub(super) async fn late_verdicts(
    mut late: mpsc::UnboundedReceiver<LateVerdict>,
    worker: WorkerRef,
) {
    while let Some(verdict) = late.recv().await {
        worker.borrow_mut().turn(|worker| {
            worker.guard(|worker| {
                worker.decided(verdict);
                worker.drain();
            });
        });
    }
}

impl Shared {
    fn run_of(&self, ask: Ask) -> Run {
        let request = ask.request.as_deref().unwrap_or(&ask.message);
        let summary = self.summary(request, &ask.flow, ask.in_dialog);
        let hook = match ask.hook {
            Hook::Register => context::Hook::Register,
            Hook::Request => context::Hook::Request,
            Hook::Branch => context::Hook::Branch(self.branch(ask.branch.as_ref())),
            Hook::Response => context::Hook::Response(ask.status),
            Hook::Failure => context::Hook::Failure(ask.status),
        };
        let current = Current {
            message: ask.message,
            request: ask.request,
            limits: self.message_limits,
        };
        Run {
            hook,
            summary,
            message: Some(Box::new(current)),
            source: self.source_of(&ask.flow),
            names: Arc::clone(&self.names) as _,
            transaction: ask.transaction.0,
            call: ask.call.0,
        }
    }

    /// Its transport attached it.
    fn source_of(&self, flow: &Flow) -> Arc<Source> {
        flow.attachment.get().unwrap_or_else(|| {
            let listener = Arc::clone(&self.listener(flow.listener).name);
            Arc::new(Source::address(flow.transport, flow.peer, listener))
        })
    }

    fn summary(&self, request: &Message, flow: &Flow, in_dialog: bool) -> Summary {
        let uri = |address: Option<&str>| address.unwrap_or_default().to_owned();
        Summary {
            method: uri(request.method().as_ref().map(|method| method.as_str())),
            request_uri: uri(request.request_uri()),
            from_uri: uri(request.from_uri()),
            to_uri: uri(request.to_uri()),
            call_id: uri(request.call_id()),
            in_dialog,
            side: self.side_name(flow.side).to_owned(),
            tenant: TENANT.to_owned(),
        }
    }

    /// "web", the upstream's name, or "stranger".
    pub(crate) fn side_name(&self, side: Side) -> &str {
        match side {
            Side::Web => "web",
            Side::Upstream(id) => self.upstream_name(id),
            Side::Stranger => "stranger",
        }
    }

    pub(crate) fn upstream_name(&self, UpstreamId(id): UpstreamId) -> &str {
        self.config
            .upstreams
            .get(usize::from(id))
            .map_or("", |upstream| &upstream.name)
    }

    fn branch(&self, branch: Option<&io::BranchInfo>) -> context::Branch {
        let Some(branch) = branch else {
            unreachable!("the proxy describes the branch of every branch hook");
        };
        context::Branch {
            target: branch.target,
            uri: branch.uri.clone(),
            upstream: branch.upstream.map(|id| self.upstream_name(id).to_owned()),
            member: branch.member.map(|member| member.to_string()),
            stage: branch.stage,
        }
    }
}

fn verdict(hook: Hook, finished: Finished, names: &Names) -> Verdict {
    match finished.outcome {
        Outcome::Continue => go_on(finished, None, names),
        Outcome::Status(status) => go_on(finished, Some(status), names),
        Outcome::Reply {
            status,
            reason,
            headers,
            body,
        } => Verdict::Reply {
            status,
            reason,
            headers,
            body: body.map(|content| (content.media_type, content.bytes.into())),
        },
        Outcome::Discard => match hook {
            Hook::Register | Hook::Request => Verdict::Discard,
            Hook::Branch | Hook::Response => Verdict::Skip,
            // The best response goes to the client: it has waited for one.
            Hook::Failure => go_on(finished, None, names),
        },
        Outcome::Fault { policy, reason } => Verdict::Fault {
            reason: format!("{policy}: {reason}"),
        },
    }
}

fn go_on(finished: Finished, status: Option<u16>, names: &Names) -> Verdict {
    let message = finished.message.map(context::Message::into_any);
    let Some(Ok(current)) = message.map(|message| message.downcast::<Current>()) else {
        return Verdict::Fault {
            reason: "the message was lost".to_owned(),
        };
    };
    let targets = finished.targets.into_iter();
    Verdict::Continue(Box::new(Continue {
        message: current.message,
        targets: targets.filter_map(|each| target(each, names)).collect(),
        timeouts: finished.timeouts.iter().map(timeouts).collect(),
        status,
        transaction: finished.transaction,
        call: finished.call,
    }))
}

/// Names of upstreams and modes were checked when the target was set.
fn target(target: context::Target, names: &Names) -> Option<Target> {
    let kind = match target.kind {
        context::TargetKind::Uri(uri) => TargetKind::Uri(uri),
        context::TargetKind::Registered(aor) => TargetKind::Registered(aor),
        context::TargetKind::Upstream(name) => {
            let index = names.upstream(&name)?;
            TargetKind::Upstream(UpstreamId(u16::try_from(index).ok()?))
        }
    };
    Some(Target {
        stage: target.stage,
        kind,
        uri: target.uri,
        next_hop: target.next_hop,
        headers: target.headers,
        media: target
            .media
            .and_then(|mode| names.media.mode_named(&mode).ok()),
    })
}

fn timeouts(set: &context::StageTimeouts) -> StageTimeouts {
    let time = |ms: u32| (ms > 0).then(|| std::time::Duration::from_millis(ms.into()));
    StageTimeouts {
        stage: set.stage,
        first_response: time(set.first_response_ms),
        no_answer: time(set.no_answer_ms),
    }
}

/// What policies say of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It becomes a WebSocket.
    Accepted,
    /// It is answered with this HTTP status.
    Refused {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
}

/// Runs `on-connect`.
pub(super) async fn admit(
    worker: &WorkerRef,
    upgrade: context::Upgrade,
    source: Arc<Source>,
) -> Admission {
    let progress = {
        let worker = worker.borrow();
        let generation = worker.shared.policies.current();
        if !generation.hooks().contains(HookName::Connect) {
            return Admission::Accepted;
        }
        let run = Run {
            hook: context::Hook::Connect(upgrade),
            summary: Summary {
                side: "web".to_owned(),
                tenant: TENANT.to_owned(),
                ..Summary::default()
            },
            message: None,
            source,
            names: Arc::clone(&worker.shared.names) as _,
            transaction: context::Attributes::default(),
            call: context::Attributes::default(),
        };
        worker.runner.run(&generation, run)
    };
    let finished = match progress {
        Progress::Done(finished) => Some(finished),
        Progress::Pending(pending) => wait(worker, pending).await,
    };
    finished.map_or_else(
        || failed("the policy was stopped"),
        |finished| admission(finished.outcome),
    )
}

async fn wait(worker: &WorkerRef, pending: PendingRun) -> Option<Finished> {
    let (done, finished) = oneshot::channel();
    // An error says that the peer has hung up meanwhile.
    worker
        .borrow()
        .engine()
        .slow_lane()
        .spawn(pending, move |finished| drop(done.send(finished)));
    finished.await.ok()
}

fn admission(outcome: Outcome) -> Admission {
    match outcome {
        Outcome::Continue => Admission::Accepted,
        Outcome::Reply {
            status,
            headers,
            body,
            ..
        } => Admission::Refused {
            status,
            headers,
            body: body.map_or_else(Bytes::new, |content| content.bytes.into()),
        },
        Outcome::Discard | Outcome::Status(_) => failed("not a decision on an upgrade"),
        Outcome::Fault { policy, reason } => {
            tracing::warn!(policy, reason, "upgrade failed");
            failed("a policy failed")
        }
    }
}

fn failed(why: &str) -> Admission {
    Admission::Refused {
        status: 500,
        headers: Vec::new(),
        body: Bytes::from(format!("{why}\n")),
    }
}
