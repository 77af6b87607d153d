use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::panics::drop_each;
use crate::runtime::turn::hold_up;
use crate::sync::thread::{self, ThreadId};

/// A queue of jobs, of which one thread at a time runs one after the other.
///
/// With it the listeners of objects that many tasks share are as simple as those of one task. The
/// first thread to [drain](SerialQueue::drain) the queue runs all queued jobs, until none is left.
/// Other threads enqueue their jobs and return. So no two jobs run at the same time, no job runs
/// within another one, all jobs have one order, and no lock is held meanwhile.
///
/// If jobs come faster than they are run, a thread that enqueues more waits a moment, and then
/// relieves the draining thread. So the queue grows slowly, and no thread drains for as long as
/// others enqueue. A thread that has waited, or has drained for long, ends the
/// [turn](crate::runtime::turn::HELD_UP) of its connection.
pub(crate) struct SerialQueue<J> {
    queue: Mutex<Queue<J>>,
    changed: Condvar,
}

struct Queue<J> {
    jobs: VecDeque<J>,
    /// The thread that is running the jobs.
    draining: Option<ThreadId>,
    /// The number of jobs that it has run.
    run: usize,
    /// The number of threads that wait to relieve it.
    waiting: usize,
    /// The number of threads that have waited in vain since it began.
    in_vain: usize,
    /// The thread has left before the queue was empty, for one of the waiting threads.
    is_relieved: bool,
}

/// From this number of queued jobs on, or of jobs that one thread has run, the queue is crowded.
const CROWD: usize = if cfg!(models) { 3 } else { 256 };

/// The longest wait of a thread at a crowded queue. It is short, since the running job may wait for
/// a lock that this thread holds.
const PATIENCE: Duration = Duration::from_millis(1);

/// The draining thread is relieved when so many threads have waited in vain, even if it has run few
/// jobs: such jobs take long.
const IN_VAIN_MAX: usize = 8;

/// The longest pause of a connection whose thread has waited in vain.
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl<J> Default for SerialQueue<J> {
    fn default() -> Self {
        let queue = Queue { jobs: VecDeque::new(), draining: None, run: 0, waiting: 0, in_vain: 0, is_relieved: false };
        SerialQueue { queue: Mutex::new(queue), changed: Condvar::new() }
    }
}

impl<J> Drop for SerialQueue<J> {
    fn drop(&mut self) {
        drop_each(self.queue.get_mut().jobs.drain(..));
    }
}

impl<J> SerialQueue<J> {
    /// Enqueues a job. The next call of [`drain`](SerialQueue::drain) runs it, or the thread that
    /// is draining already.
    pub(crate) fn push(&self, job: J) {
        self.queue.lock().jobs.push_back(job);
    }

    /// Runs all queued jobs, unless another call is doing so already.
    pub(crate) fn drain(&self, mut run: impl FnMut(J)) {
        /// Also runs if `run` panics.
        struct Leave<'a, J>(&'a SerialQueue<J>);
        impl<J> Drop for Leave<'_, J> {
            fn drop(&mut self) {
                self.0.leave(&mut self.0.queue.lock());
            }
        }
        if !self.enter() {
            return;
        }
        let leave = Leave(self);
        while let Some(job) = self.next() {
            run(job);
        }
        std::mem::forget(leave);
    }

    /// Returns whether the caller becomes the thread that runs the jobs.
    fn enter(&self) -> bool {
        let me = thread::current().id();
        let mut queue = self.queue.lock();
        if queue.is_crowded() && queue.draining != Some(me) {
            queue.waiting += 1;
            self.changed.wait_while_for(&mut queue, |queue| queue.is_crowded() && !queue.is_relieved, PATIENCE);
            queue.waiting -= 1;
            let is_in_vain = queue.is_crowded() && !queue.is_relieved;
            queue.in_vain += usize::from(is_in_vain);
            hold_up(if is_in_vain { queue.pause() } else { Duration::ZERO });
        }
        let is_needed = queue.is_relieved || queue.draining.is_none() && !queue.jobs.is_empty();
        if is_needed {
            (queue.draining, queue.run, queue.in_vain, queue.is_relieved) = (Some(me), 0, 0, false);
        }
        is_needed
    }

    /// Returns the next job for the draining thread. `None` if it is relieved, or has left because
    /// the queue is empty.
    fn next(&self) -> Option<J> {
        let mut queue = self.queue.lock();
        let is_kept = queue.run >= CROWD || queue.in_vain >= IN_VAIN_MAX;
        if is_kept {
            hold_up(Duration::ZERO);
        }
        if is_kept && queue.waiting > 0 && !queue.jobs.is_empty() {
            queue.is_relieved = true;
            self.changed.notify_one();
            return None;
        }
        queue.run += 1;
        let job = queue.jobs.pop_front();
        if job.is_none() {
            // Under the same lock, so that no job is pushed between the last look and the end.
            self.leave(&mut queue);
        }
        job
    }

    fn leave(&self, queue: &mut Queue<J>) {
        queue.draining = None;
        if queue.waiting > 0 {
            self.changed.notify_all();
        }
    }
}

impl<J> Queue<J> {
    fn is_crowded(&self) -> bool {
        self.draining.is_some() && (self.jobs.len() >= CROWD || self.run >= CROWD)
    }

    fn pause(&self) -> Duration {
        let jobs = u32::try_from(self.jobs.len()).unwrap_or(u32::MAX);
        (PATIENCE / 4).saturating_mul(jobs).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

    use super::*;
    use crate::runtime::turn::{self, HELD_UP, take_pause};

    #[test]
    fn a_job_pushed_by_a_job_follows_it() {
        let (queue, log) = (SerialQueue::default(), Mutex::new(Vec::new()));
        queue.push(1);
        queue.drain(|job| {
            log.lock().push(format!("begin {job}"));
            if job < 3 {
                queue.push(job + 1);
                queue.drain(|_| unreachable!("no job runs within another one"));
            }
            log.lock().push(format!("end {job}"));
        });
        assert_eq!(log.into_inner(), ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
    }

    #[test]
    fn a_job_that_panics_does_not_block_the_queue() {
        let queue = SerialQueue::default();
        queue.push(1);
        assert!(catch_unwind(AssertUnwindSafe(|| queue.drain(|_| panic!("inside")))).is_err());
        let mut ran = Vec::new();
        queue.push(2);
        queue.drain(|job| ran.push(job));
        assert_eq!(ran, [2]);
    }

    #[test]
    fn the_draining_thread_is_relieved_by_a_thread_that_enqueues_more() {
        let (queue, brought, is_over) = (SerialQueue::default(), AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            queue.push(());
            let (mut run, other) = (0, std::cell::OnceCell::new());
            queue.drain(|()| {
                other.get_or_init(|| {
                    scope.spawn(|| {
                        while !is_over.load(Ordering::SeqCst) && brought.load(Ordering::SeqCst) < 20 * CROWD {
                            queue.push(());
                            brought.fetch_add(1, Ordering::SeqCst);
                            queue.drain(drop);
                        }
                    })
                });
                run += 1;
                assert!(run < 4 * CROWD, "it is kept");
                // There is always more, and soon more than may wait.
                while brought.load(Ordering::SeqCst) < 2 * run {
                    std::thread::yield_now();
                }
            });
            is_over.store(true, Ordering::SeqCst);
        });
        let mut left = 0;
        queue.drain(|()| left += 1);
        assert_eq!(left, 0, "all have been run");
    }

    #[test]
    fn a_turn_that_has_waited_or_was_kept_is_over() {
        static FLAGS: AtomicU16 = AtomicU16::new(1);
        let is_raised = || FLAGS.swap(1, Ordering::Relaxed) == 1 | HELD_UP;
        let queue = SerialQueue::default();
        turn::begin(&FLAGS);
        (0..CROWD).for_each(|job| queue.push(job));
        queue.drain(|job| {
            if job == 0 {
                assert!(!is_raised());
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        turn::begin(&FLAGS);
                        queue.push(CROWD);
                        queue.drain(|_| unreachable!("another thread is draining"));
                        assert!(!take_pause().is_zero(), "it has waited in vain");
                    });
                });
                assert!(is_raised(), "who has waited");
            }
            assert_eq!(is_raised(), job == CROWD);
        });
        assert!(is_raised(), "who has run so many");
        queue.push(0);
        queue.drain(drop);
        assert!(!is_raised());
        turn::end();
        (0..=CROWD).for_each(|job| queue.push(job));
        queue.drain(drop);
        assert!(!is_raised(), "it is nobody's turn");
        assert!(take_pause().is_zero());
    }

    #[test]
    fn the_draining_thread_is_relieved_after_few_jobs_that_take_long() {
        let (queue, waits, is_over) = (SerialQueue::default(), AtomicUsize::new(0), AtomicBool::new(false));
        (0..CROWD).for_each(|_| queue.push(()));
        std::thread::scope(|scope| {
            let (mut run, other) = (0, std::cell::OnceCell::new());
            queue.drain(|()| {
                other.get_or_init(|| {
                    scope.spawn(|| {
                        while !is_over.load(Ordering::SeqCst) {
                            queue.push(());
                            queue.drain(|()| is_over.store(true, Ordering::SeqCst));
                            waits.fetch_add(1, Ordering::SeqCst);
                        }
                    })
                });
                run += 1;
                assert!(run < CROWD / 2, "it is kept");
                // As long as the other waits in vain once more.
                let before = waits.load(Ordering::SeqCst);
                while waits.load(Ordering::SeqCst) == before {
                    std::thread::yield_now();
                }
            });
            assert!(waits.load(Ordering::SeqCst) >= IN_VAIN_MAX);
            is_over.store(true, Ordering::SeqCst);
        });
    }

    #[test]
    fn threads_share_one_order_and_never_run_at_the_same_time() {
        let (queue, inside, log) = (SerialQueue::default(), AtomicU16::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (queue, inside, log) = (&queue, &inside, &log);
                scope.spawn(move || {
                    for n in 0..1000 {
                        queue.push((thread, n));
                        queue.drain(|job| {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            log.lock().push(job);
                            inside.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                });
            }
        });
        let log = log.into_inner();
        assert_eq!(log.len(), 4000);
        for thread in 0..4 {
            assert!(log.iter().filter(|job| job.0 == thread).map(|job| job.1).eq(0..1000));
        }
    }
}
