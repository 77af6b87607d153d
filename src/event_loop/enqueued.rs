//! The ticks and timers that a turn has enqueued. They are passed to the queue at the end of the
//! turn, so that no other thread calls them before.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::queue::Queue;
use super::schedule::Job;
use crate::emitter::ListenerCall;
use crate::runtime::turn::{self, Deferred};
use crate::sync::thread_local;

thread_local! {
    /// The ticks and timers of the present turn of this thread, for each queue.
    static ENQUEUED: RefCell<Vec<Enqueued>> = const { RefCell::new(Vec::new()) };
}

struct Enqueued {
    queue: Arc<Queue>,
    jobs: Vec<Job>,
    timers: Vec<u64>,
}

/// Enqueues a tick. It is passed to the queue at the end of the present turn, or at once outside of
/// a turn.
pub(super) fn tick(queue: &Arc<Queue>, callback: impl FnOnce() -> ListenerCall + Send + 'static) {
    if let Some(job) = keep(queue, Job::Tick(Box::new(callback)), |enqueued, job| enqueued.jobs.push(job)) {
        queue.accept([job], []);
    }
}

/// Enqueues a timer that was added to the queue, in the same way.
pub(super) fn timer(queue: &Arc<Queue>, number: u64) {
    if let Some(number) = keep(queue, number, |enqueued, number| enqueued.timers.push(number)) {
        queue.accept([], [number]);
    }
}

/// Keeps a value until the present turn ends. Returns it outside of a turn.
fn keep<T>(queue: &Arc<Queue>, what: T, mut add: impl FnMut(&mut Enqueued, T)) -> Option<T> {
    if !turn::defer(hand_over) {
        return Some(what);
    }
    let mut what = Some(what);
    // When a thread ends, its list may no longer exist.
    let _ = ENQUEUED.try_with(|all| {
        let mut all = all.borrow_mut();
        let place = all.iter().position(|enqueued| Arc::ptr_eq(&enqueued.queue, queue)).unwrap_or(all.len());
        if place == all.len() {
            all.push(Enqueued { queue: queue.clone(), jobs: Vec::new(), timers: Vec::new() });
        }
        if let Some(enqueued) = all.get_mut(place) {
            what.take().into_iter().for_each(|what| add(enqueued, what));
        }
    });
    what
}

/// Passes everything to the queues at the end of the turn.
fn hand_over() -> Option<Deferred> {
    let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
    let mut deferred: Option<Deferred> = None;
    for Enqueued { queue, jobs, timers } in ENQUEUED.try_with(RefCell::take).unwrap_or_default() {
        let round = queue.accept(jobs, timers);
        // Another runtime is not awaited, since it may not be running.
        if let Some(round) = round.filter(|_| Some(queue.runtime()) == runtime) {
            deferred = Some(Box::pin(queue.has_run(round)));
        }
    }
    deferred
}
