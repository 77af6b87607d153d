use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::listener::{BoxError, Outcome, Rank};

/// Lets one caller at a time through and keeps the others' work for it, in order.
///
/// This is what makes the listeners of objects that many tasks share as simple as those of one task: whoever finds
/// nobody inside runs what is queued until nothing is; whoever finds somebody inside leaves its job and goes on. So
/// nothing runs at the same time, nothing is re-entered, there is one order for everybody, and no lock is held meanwhile.
///
/// If jobs come faster than they are run, who brings more waits a moment, and relieves who is inside: neither does the queue
/// grow as fast as it might, nor is anybody kept for as long as others bring something.
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
    /// It has left in the middle, for one of those.
    is_relieved: bool,
}

/// So many jobs that wait, or that one caller has run, are too many.
const CROWD: usize = 256;

/// How long others wait then. No longer, since the job that is being run may wait for something that they hold.
const PATIENCE: Duration = Duration::from_millis(1);

impl<J> Default for Turnstile<J> {
    fn default() -> Self {
        let queue = Queue { jobs: VecDeque::new(), inside: None, run: 0, waiting: 0, is_relieved: false };
        Turnstile { queue: Mutex::new(queue), changed: Condvar::new() }
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
        }
        let is_needed = queue.is_relieved || queue.inside.is_none() && !queue.jobs.is_empty();
        if is_needed {
            (queue.inside, queue.run, queue.is_relieved) = (Some(me), 0, false);
        }
        is_needed
    }

    /// The next job, for who is inside. None if it has left.
    fn next(&self) -> Option<J> {
        let mut queue = self.queue.lock();
        if queue.run >= CROWD && queue.waiting > 0 && !queue.jobs.is_empty() {
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
}

/// The listeners of an object that many tasks share, by event. They are called one emission at a time, see
/// [`Turnstile`].
pub(crate) struct Listeners<K, A> {
    inner: Mutex<Inner<K, A>>,
}

struct Inner<K, A> {
    next_number: u64,
    /// The listeners that are registered, in the order of their calls.
    registered: Vec<Registered<K>>,
    /// Their closures by number, in its order; empty while an emission has them.
    closures: Vec<(u64, Closure<A>)>,
    /// Numbers whose closures are to be dropped, when they are back.
    removed: Vec<u64>,
}

struct Registered<K> {
    number: u64,
    event: K,
    rank: Rank,
}

type Closure<A> = Box<dyn FnMut(&A) -> Result<(), BoxError> + Send>;

impl<K, A> Default for Listeners<K, A> {
    fn default() -> Self {
        Listeners {
            inner: Mutex::new(Inner { next_number: 0, registered: Vec::new(), closures: Vec::new(), removed: Vec::new() }),
        }
    }
}

impl<K: PartialEq, A> Listeners<K, A> {
    /// Adds a listener and returns its number, as much of it as tells it from the others that are there.
    pub(crate) fn add<R: Outcome>(&self, event: K, rank: Rank, mut listener: impl FnMut(&A) -> R + Send + 'static) -> u32 {
        let closure: Closure<A> = Box::new(move |args| listener(args).outcome());
        let mut inner = self.inner.lock();
        let number = inner.next_number;
        inner.next_number += 1;
        let place = inner.registered.partition_point(|other| other.rank <= rank);
        inner.registered.insert(place, Registered { number, event, rank });
        inner.closures.push((number, closure));
        number as u32
    }

    pub(crate) fn remove(&self, number: u32) {
        self.forget(|listener| listener.number as u32 == number);
    }

    /// Removes the listeners of an event, or all.
    pub(crate) fn remove_all(&self, event: Option<&K>) {
        self.forget(|listener| event.is_none_or(|event| *event == listener.event));
    }

    pub(crate) fn count(&self, event: &K) -> usize {
        self.inner.lock().registered.iter().filter(|listener| listener.event == *event).count()
    }

    /// Calls the listeners that an event has now. A panic or an `Err` goes to `failed`; unlike an exception in PHP it does
    /// not keep the others from being called, who may be other people's.
    ///
    /// To be called by one at a time: within a [`Turnstile`].
    pub(crate) fn emit(&self, event: &K, args: &A, mut failed: impl FnMut(BoxError)) {
        let (calls, mut closures) = {
            let mut inner = self.inner.lock();
            let calls: Vec<_> = inner.numbers_of(|listener| listener.event == *event);
            if calls.is_empty() {
                return;
            }
            inner.unregister(|listener| listener.event == *event && listener.rank == Rank::Once);
            (calls, std::mem::take(&mut inner.closures))
        };
        for number in calls {
            let Ok(place) = closures.binary_search_by_key(&number, |(number, _)| *number) else { continue };
            if let Err(error) = contain(|| (closures[place].1)(args)) {
                // It is the app's, and may panic when it is dropped. The closures have to be put back all the same.
                let _ = contain(|| {
                    failed(error);
                    Ok(())
                });
            }
        }
        let mut inner = self.inner.lock();
        // What was added meanwhile has higher numbers, so the order is kept.
        closures.append(&mut inner.closures);
        inner.closures = closures;
        let gone = inner.take_removed();
        drop(inner);
        drop_each(gone);
    }

    fn forget(&self, which: impl Fn(&Registered<K>) -> bool) {
        let mut inner = self.inner.lock();
        inner.unregister(which);
        let gone = inner.take_removed();
        drop(inner);
        drop_each(gone);
    }
}

impl<K, A> Inner<K, A> {
    fn numbers_of(&self, which: impl Fn(&Registered<K>) -> bool) -> Vec<u64> {
        self.registered.iter().filter(|listener| which(listener)).map(|listener| listener.number).collect()
    }

    fn unregister(&mut self, which: impl Fn(&Registered<K>) -> bool) {
        self.removed.extend(self.registered.extract_if(.., |listener| which(listener)).map(|listener| listener.number));
    }

    /// Takes out the closures to be dropped, which is done outside of the lock: what they captured may do anything then.
    fn take_removed(&mut self) -> Vec<Closure<A>> {
        let mut gone = Vec::new();
        let closures = &mut self.closures;
        self.removed.retain(|removed| match closures.binary_search_by_key(removed, |(number, _)| *number) {
            Ok(place) => {
                gone.push(closures.remove(place).1);
                false
            }
            Err(_) => true,
        });
        gone
    }
}

/// Drops things of an app's. What one of them does is not to keep the others, or who has them dropped, from going on.
pub(crate) fn drop_each<T>(things: impl IntoIterator<Item = T>) {
    for thing in things {
        let _ = contain(|| {
            drop(thing);
            Ok(())
        });
    }
}

/// Calls a listener and makes its panic an error.
pub(crate) fn contain<T>(call: impl FnOnce() -> Result<T, BoxError>) -> Result<T, BoxError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(panic_error(panic)))
}

/// What a panic said.
pub(crate) fn panic_error(panic: Box<dyn Any + Send>) -> BoxError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let error = text.unwrap_or("a listener panicked").into();
    // What it was made with may panic again when it is dropped, and so on.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
    error
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

    use super::*;

    type Log = Arc<Mutex<Vec<String>>>;

    fn say(log: &Log, word: &'static str) -> impl FnMut(&u32) + Send + 'static {
        let log = log.clone();
        move |args| log.lock().push(format!("{word}{args}"))
    }

    fn said(log: &Log) -> Vec<String> {
        std::mem::take(&mut *log.lock())
    }

    #[test]
    fn on_before_once_each_in_order() {
        let (listeners, log) = (Listeners::default(), Log::default());
        listeners.add("a", Rank::On, say(&log, "A"));
        listeners.add("a", Rank::Once, say(&log, "B"));
        listeners.add("a", Rank::On, say(&log, "C"));
        listeners.add("b", Rank::On, say(&log, "D"));
        listeners.emit(&"a", &1, |_| {});
        assert_eq!(said(&log), ["A1", "C1", "B1"]);
        listeners.emit(&"a", &2, |_| {});
        assert_eq!(said(&log), ["A2", "C2"]);
        assert_eq!((listeners.count(&"a"), listeners.count(&"b")), (2, 1));
    }

    #[test]
    fn an_emission_works_on_a_snapshot() {
        let (listeners, log) = (Arc::new(Listeners::default()), Log::default());
        let (them, second) = (listeners.clone(), Arc::new(AtomicU32::new(0)));
        let (number, log2) = (second.clone(), log.clone());
        listeners.add("a", Rank::On, move |_: &u32| {
            them.remove(number.load(Ordering::Relaxed));
            them.add("a", Rank::On, say(&log2, "added"));
        });
        second.store(listeners.add("a", Rank::On, say(&log, "removed")), Ordering::Relaxed);
        listeners.emit(&"a", &1, |_| {});
        assert_eq!(said(&log), ["removed1"]);
        listeners.emit(&"a", &2, |_| {});
        assert_eq!(said(&log), ["added2"]);
        listeners.remove_all(None);
        assert_eq!(
            (listeners.count(&"a"), Arc::strong_count(&listeners)),
            (0, 1),
            "closures are dropped with their listeners"
        );
    }

    #[test]
    fn a_failing_listener_is_told_of_and_harms_nobody() {
        let (listeners, log) = (Listeners::default(), Log::default());
        listeners.add("a", Rank::On, |_: &u32| -> () { panic!("no {}", 1) });
        listeners.add("a", Rank::On, |_: &u32| Err::<(), _>("no 2"));
        listeners.add("a", Rank::On, say(&log, "yes"));
        let mut errors = Vec::new();
        listeners.emit(&"a", &3, |error| errors.push(error.to_string()));
        assert_eq!((errors, said(&log)), (vec!["no 1".to_owned(), "no 2".to_owned()], vec!["yes3".to_owned()]));
    }

    /// Says so when it is dropped, by a panic.
    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("dropped");
            }
        }
    }

    impl std::fmt::Debug for PanicsWhenDropped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no")
        }
    }

    impl std::fmt::Display for PanicsWhenDropped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no")
        }
    }

    impl std::error::Error for PanicsWhenDropped {}

    #[test]
    fn what_panics_when_it_is_dropped_harms_nobody_either() {
        let (listeners, log) = (Listeners::default(), Log::default());
        listeners.add("a", Rank::On, say(&log, "A"));
        let captured = PanicsWhenDropped;
        listeners.add("a", Rank::On, move |_: &u32| _ = &captured);
        let captured = PanicsWhenDropped;
        listeners.add("a", Rank::Once, move |_: &u32| _ = &captured);
        listeners.add("a", Rank::On, |_: &u32| Err::<(), _>(PanicsWhenDropped));
        listeners.emit(&"a", &1, drop);
        listeners.emit(&"a", &2, drop);
        assert_eq!((said(&log), listeners.count(&"a")), (vec!["A1".to_owned(), "A2".to_owned()], 3));
        listeners.remove_all(None);
        assert_eq!(listeners.count(&"a"), 0);
    }

    #[test]
    fn numbers_do_not_run_out() {
        let (listeners, log) = (Listeners::default(), Log::default());
        listeners.add("a", Rank::On, say(&log, "A"));
        listeners.inner.lock().next_number = u64::from(u32::MAX);
        let numbers = ["B", "C"].map(|word| listeners.add("a", Rank::On, say(&log, word)));
        listeners.emit(&"a", &1, drop);
        assert_eq!(said(&log), ["A1", "B1", "C1"]);
        listeners.remove(numbers[0]);
        listeners.emit(&"a", &2, drop);
        assert_eq!(said(&log), ["A2", "C2"]);
    }

    #[test]
    fn a_job_pushed_by_a_job_follows_it() {
        let (turnstile, log) = (Turnstile::default(), Log::default());
        turnstile.push(1);
        turnstile.pass(|job| {
            log.lock().push(format!("begin {job}"));
            if job < 3 {
                turnstile.push(job + 1);
                turnstile.pass(|_| unreachable!("nobody passes while somebody is inside"));
            }
            log.lock().push(format!("end {job}"));
        });
        assert_eq!(said(&log), ["begin 1", "end 1", "begin 2", "end 2", "begin 3", "end 3"]);
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
    fn threads_share_one_order_and_never_run_at_the_same_time() {
        let (turnstile, inside, log) = (Turnstile::default(), AtomicU32::new(0), Mutex::new(Vec::new()));
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
