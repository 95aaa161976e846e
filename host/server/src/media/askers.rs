//! Who asked: the ids of asks of all workers as one set of numbers, and the way back to each worker.

use std::sync::Arc;

use hookswitch_media::Answer;
use hookswitch_sip::{flow::WorkerId, proxy::io::AskId};
use tokio::sync::mpsc;

use super::Late;

/// The worker's place in a number. Ids of the proxies are counted from one: they do not reach the upper byte.
const WORKER_SHIFT: u32 = 56;

/// By the worker's number.
#[derive(Clone, Debug)]
pub(super) struct Askers(Vec<mpsc::UnboundedSender<Late>>);

impl Askers {
    pub(super) fn new(workers: Vec<mpsc::UnboundedSender<Late>>) -> Self {
        Self(workers)
    }

    /// What an ask of a worker is called.
    pub(super) fn number(WorkerId(worker): WorkerId, AskId(id): AskId) -> u64 {
        u64::from(worker) << WORKER_SHIFT | id
    }

    /// To whoever asked.
    pub(super) fn answer(&self, number: u64, answer: Answer) {
        let id = AskId(number & !(u64::MAX << WORKER_SHIFT));
        let worker = usize::try_from(number >> WORKER_SHIFT).ok();
        if let Some(worker) = worker.and_then(|worker| self.0.get(worker)) {
            // An error says that the worker has ended.
            let _ = worker.send(Late::Answer(id, answer));
        }
    }

    /// To all: whose call it is, they know.
    pub(super) fn dead(&self, call: &Arc<str>, reason: &str) {
        for worker in &self.0 {
            let (call, reason) = (Arc::clone(call), reason.to_owned());
            let _ = worker.send(Late::Dead { call, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_its_worker() {
        let (senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..3).map(|_| mpsc::unbounded_channel()).unzip();
        let askers = Askers::new(senders);
        let number = Askers::number(WorkerId(2), AskId(77));
        askers.answer(number, Answer::Unchanged);
        let answer = Late::Answer(AskId(77), Answer::Unchanged);
        assert_eq!(receivers[2].try_recv(), Ok(answer));
        askers.answer(Askers::number(WorkerId(9), AskId(1)), Answer::Unchanged);
        assert!(receivers.iter_mut().all(|each| each.try_recv().is_err()));
    }
}
