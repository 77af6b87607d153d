//! What a turn has enqueued. It is handed over when the turn ends, so that no other thread calls it before.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::queue::{Job, Queue};
use crate::turn::{self, Deferred};

thread_local! {
    /// Of the present turn of this thread, for each queue.
    static ENQUEUED: RefCell<Vec<Enqueued>> = const { RefCell::new(Vec::new()) };
}

struct Enqueued {
    queue: Arc<Queue>,
    jobs: Vec<Job>,
    timers: Vec<u64>,
}

/// Keeps a job until the present turn ends. Returns it outside of a turn.
pub(super) fn keep_job(queue: &Arc<Queue>, job: Job) -> Option<Job> {
    keep(queue, job, |enqueued, job| enqueued.jobs.push(job))
}

/// Keeps the number of a timer until the present turn ends. Returns it outside of a turn.
pub(super) fn keep_timer(queue: &Arc<Queue>, number: u64) -> Option<u64> {
    keep(queue, number, |enqueued, number| enqueued.timers.push(number))
}

fn keep<T>(queue: &Arc<Queue>, what: T, add: impl FnOnce(&mut Enqueued, T)) -> Option<T> {
    if !turn::defer(hand_over) {
        return Some(what);
    }
    ENQUEUED.with_borrow_mut(|all| {
        if !all.iter().any(|enqueued| Arc::ptr_eq(&enqueued.queue, queue)) {
            all.push(Enqueued { queue: queue.clone(), jobs: Vec::new(), timers: Vec::new() });
        }
        match all.iter_mut().find(|enqueued| Arc::ptr_eq(&enqueued.queue, queue)) {
            Some(enqueued) => {
                add(enqueued, what);
                None
            }
            None => Some(what),
        }
    })
}

/// The turn has ended.
fn hand_over() -> Option<Deferred> {
    let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
    let mut deferred: Option<Deferred> = None;
    for Enqueued { queue, jobs, timers } in ENQUEUED.take() {
        let round = queue.accept(jobs, timers);
        // Nobody waits for another runtime, which may not be running.
        if let Some(round) = round.filter(|_| Some(queue.runtime()) == runtime) {
            deferred = Some(Box::pin(queue.has_run(round)));
        }
    }
    deferred
}
