use std::collections::VecDeque;
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::panics::drop_each;
use crate::runtime::turn::hold_up;

/// Lets one caller at a time through and keeps the others' work for it, in order.
///
/// This is what makes the listeners of objects that many tasks share as simple as those of one task: whoever finds
/// nobody inside runs what is queued until nothing is; whoever finds somebody inside leaves its job and goes on. So
/// nothing runs at the same time, nothing is re-entered, there is one order for everybody, and no lock is held meanwhile.
///
/// If jobs come faster than they are run, who brings more waits a moment, and relieves who is inside: neither does the queue
/// grow as fast as it might, nor is anybody kept for as long as others bring something. A turn that has waited or was kept is
/// [over](crate::runtime::turn::HELD_UP).
pub(crate) struct Turnstile<J> {
    queue: Mutex<Queue<J>>,
    changed: Condvar,
}

struct Queue<J> {
    jobs: VecDeque<J>,
    /// Who runs them.
    inside: Option<ThreadId>,
    /// How many it has run.
    run: usize,
    /// How many wait to relieve it.
    waiting: usize,
    /// How many have waited in vain since it is inside.
    in_vain: usize,
    /// It has left in the middle, for one of those.
    is_relieved: bool,
}

/// So many jobs that wait, or that one caller has run, are too many.
const CROWD: usize = 256;

/// How long others wait then. No longer, since the job that is being run may wait for something that they hold.
const PATIENCE: Duration = Duration::from_millis(1);

/// Whoever is inside is relieved when so many have waited in vain, even if it has run few jobs: those take long.
const IN_VAIN_MAX: usize = 8;

/// The longest pause of a connection that has waited in vain.
const PAUSE_MAX: Duration = Duration::from_secs(1);

impl<J> Default for Turnstile<J> {
    fn default() -> Self {
        let queue = Queue { jobs: VecDeque::new(), inside: None, run: 0, waiting: 0, in_vain: 0, is_relieved: false };
        Turnstile { queue: Mutex::new(queue), changed: Condvar::new() }
    }
}

impl<J> Drop for Turnstile<J> {
    fn drop(&mut self) {
        drop_each(self.queue.get_mut().jobs.drain(..));
    }
}

impl<J> Turnstile<J> {
    /// Queues a job. It is run by the next [`pass`](Turnstile::pass), or by whoever is inside.
    pub(crate) fn push(&self, job: J) {
        self.queue.lock().jobs.push_back(job);
    }

    /// Runs all queued jobs, unless somebody is about it already.
    pub(crate) fn pass(&self, mut run: impl FnMut(J)) {
        /// Also if `run` panics.
        struct Leave<'a, J>(&'a Turnstile<J>);
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

    /// Whether the caller is to run the jobs.
    fn enter(&self) -> bool {
        let me = thread::current().id();
        let mut queue = self.queue.lock();
        if queue.is_crowded() && queue.inside != Some(me) {
            queue.waiting += 1;
            self.changed.wait_while_for(&mut queue, |queue| queue.is_crowded() && !queue.is_relieved, PATIENCE);
            queue.waiting -= 1;
            let is_in_vain = queue.is_crowded() && !queue.is_relieved;
            queue.in_vain += usize::from(is_in_vain);
            hold_up(if is_in_vain { queue.pause() } else { Duration::ZERO });
        }
        let is_needed = queue.is_relieved || queue.inside.is_none() && !queue.jobs.is_empty();
        if is_needed {
            (queue.inside, queue.run, queue.in_vain, queue.is_relieved) = (Some(me), 0, 0, false);
        }
        is_needed
    }

    /// The next job, for who is inside. None if it has left.
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
            // Within the same lock, so that no job is pushed between the last look and leaving.
            self.leave(&mut queue);
        }
        job
    }

    fn leave(&self, queue: &mut Queue<J>) {
        queue.inside = None;
        if queue.waiting > 0 {
            self.changed.notify_all();
        }
    }
}

impl<J> Queue<J> {
    fn is_crowded(&self) -> bool {
        self.inside.is_some() && (self.jobs.len() >= CROWD || self.run >= CROWD)
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
        let (turnstile, log) = (Turnstile::default(), Mutex::new(Vec::new()));
        turnstile.push(1);
        turnstile.pass(|job| {
            log.lock().push(format!("begin {job}"));
            if job < 3 {
                turnstile.push(job + 1);
                turnstile.pass(|_| unreachable!("nobody passes while somebody is inside"));
            }
            log.lock().push(format!("end {job}"));
        });
        assert_eq!(log.into_inner(), ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
    }

    #[test]
    fn a_panic_inside_does_not_bar_the_turnstile() {
        let turnstile = Turnstile::default();
        turnstile.push(1);
        assert!(catch_unwind(AssertUnwindSafe(|| turnstile.pass(|_| panic!("inside")))).is_err());
        let mut ran = Vec::new();
        turnstile.push(2);
        turnstile.pass(|job| ran.push(job));
        assert_eq!(ran, [2]);
    }

    #[test]
    fn who_is_inside_is_relieved_by_those_who_bring_more() {
        let (turnstile, brought, is_over) = (Turnstile::default(), AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            turnstile.push(());
            let (mut run, other) = (0, std::cell::OnceCell::new());
            turnstile.pass(|()| {
                other.get_or_init(|| {
                    scope.spawn(|| {
                        while !is_over.load(Ordering::SeqCst) && brought.load(Ordering::SeqCst) < 20 * CROWD {
                            turnstile.push(());
                            brought.fetch_add(1, Ordering::SeqCst);
                            turnstile.pass(drop);
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
        turnstile.pass(|()| left += 1);
        assert_eq!(left, 0, "all have been run");
    }

    #[test]
    fn a_turn_that_has_waited_or_was_kept_is_over() {
        static FLAGS: AtomicU16 = AtomicU16::new(1);
        let is_raised = || FLAGS.swap(1, Ordering::Relaxed) == 1 | HELD_UP;
        let turnstile = Turnstile::default();
        turn::begin(&FLAGS);
        (0..CROWD).for_each(|job| turnstile.push(job));
        turnstile.pass(|job| {
            if job == 0 {
                assert!(!is_raised());
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        turn::begin(&FLAGS);
                        turnstile.push(CROWD);
                        turnstile.pass(|_| unreachable!("somebody is inside"));
                        assert!(!take_pause().is_zero(), "it has waited in vain");
                    });
                });
                assert!(is_raised(), "who has waited");
            }
            assert_eq!(is_raised(), job == CROWD);
        });
        assert!(is_raised(), "who has run so many");
        turnstile.push(0);
        turnstile.pass(drop);
        assert!(!is_raised());
        turn::end();
        (0..=CROWD).for_each(|job| turnstile.push(job));
        turnstile.pass(drop);
        assert!(!is_raised(), "it is nobody's turn");
        assert!(take_pause().is_zero());
    }

    #[test]
    fn who_is_inside_is_relieved_after_few_jobs_that_take_long() {
        let (turnstile, waits, is_over) = (Turnstile::default(), AtomicUsize::new(0), AtomicBool::new(false));
        (0..CROWD).for_each(|_| turnstile.push(()));
        std::thread::scope(|scope| {
            let (mut run, other) = (0, std::cell::OnceCell::new());
            turnstile.pass(|()| {
                other.get_or_init(|| {
                    scope.spawn(|| {
                        while !is_over.load(Ordering::SeqCst) {
                            turnstile.push(());
                            turnstile.pass(|()| is_over.store(true, Ordering::SeqCst));
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
        let (turnstile, inside, log) = (Turnstile::default(), AtomicU16::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (turnstile, inside, log) = (&turnstile, &inside, &log);
                scope.spawn(move || {
                    for n in 0..1000 {
                        turnstile.push((thread, n));
                        turnstile.pass(|job| {
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
