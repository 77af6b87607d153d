//! The queue of one runtime: future ticks, timers and signals, whose callbacks are called one at a
//! time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::{Handle, Id};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use super::callback::{Callback, Running, call, go_on};
use super::schedule::{Entry, Job, Kind, Schedule};
use crate::emitter::drop_each;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{global, thread};

global! {
    /// The queues of all runtimes that have one.
    static LOOPS: RwLock<Vec<Arc<Queue>>> = RwLock::new(Vec::new());
}

global! { static NEXT: AtomicU64 = AtomicU64::new(0); }

pub(super) struct Queue {
    runtime: Id,
    state: Mutex<Schedule>,
    /// Wakes the driver for new work, or for an earlier deadline than the one it sleeps for.
    changed: Notify,
    /// The last round that has ended.
    ended: watch::Sender<u64>,
}

/// Returns a number that no other timer or listener for a signal has.
pub(super) fn next_number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Queue {
    /// Returns the queue of the present runtime.
    #[track_caller]
    pub(super) fn current() -> Arc<Queue> {
        let runtime = Handle::current();
        if let Some(queue) = Queue::of(runtime.id()) {
            return queue;
        }
        let mut loops = LOOPS.write();
        if let Some(queue) = loops.iter().find(|queue| queue.runtime == runtime.id()) {
            return queue.clone();
        }
        let queue = Arc::new(Queue {
            runtime: runtime.id(),
            state: Mutex::default(),
            changed: Notify::new(),
            ended: watch::Sender::new(0),
        });
        loops.push(queue.clone());
        // Must be outside of the lock, since a runtime that is about to end drops the task at once.
        drop(loops);
        runtime.spawn(drive(Driver(queue.clone())));
        queue
    }

    /// Returns the queue of a runtime, if it has one.
    pub(super) fn of(runtime: Id) -> Option<Arc<Queue>> {
        LOOPS.read().iter().find(|queue| queue.runtime == runtime).cloned()
    }

    pub(super) fn runtime(&self) -> Id {
        self.runtime
    }

    /// Adds a timer that is due after `delay`, from now on. With `every` it is due again and again.
    /// It counts as enqueued when it is [accepted](Queue::accept). Returns whether it was added: it
    /// is dropped if the runtime has ended.
    pub(super) fn add_timer(&self, number: u64, delay: Duration, every: Option<Duration>, callback: Callback) -> bool {
        let kind = Kind::Timer { due: Instant::now().checked_add(delay), round: 0, every };
        self.add(number, callback, kind)
    }

    /// Adds a listener for a signal. The task that receives the signal ends when the returned
    /// future is ready.
    pub(super) fn add_signal(&self, number: u64, callback: Callback) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.add(number, callback, Kind::Signal { is_pending: false, _receiving: sender });
        receiver
    }

    /// Enqueues the callback of a received signal.
    pub(super) fn signal(&self, number: u64) {
        self.accept([Job::Signal(number)], []);
    }

    /// Removes a timer or a listener for a signal. Its callback is not called any more.
    pub(super) fn remove(&self, number: u64) {
        let mut state = self.state.lock();
        let entry = state.take(number);
        let is_last = state.due.is_empty();
        drop(state);
        if is_last && matches!(entry, Some(Entry { kind: Kind::Timer { .. }, .. })) {
            // The driver may be asleep for a deadline that no longer exists.
            self.changed.notify_one();
        }
        drop_each(entry);
    }

    /// Adds an entry. Returns whether it was added: it is dropped if the runtime has ended.
    fn add(&self, number: u64, callback: Callback, kind: Kind) -> bool {
        let entry = Entry { callback: Some(callback), is_running: false, kind };
        let mut state = self.state.lock();
        let refused = if state.is_over { Some(entry) } else { state.entries.insert(number, entry) };
        let is_over = state.is_over;
        drop(state);
        drop_each(refused);
        !is_over
    }

    /// Accepts the enqueued ticks and timers. Returns the round that calls those of them that are
    /// due now, if any.
    pub(super) fn accept(
        &self,
        jobs: impl IntoIterator<Item = Job>,
        timers: impl IntoIterator<Item = u64, IntoIter: ExactSizeIterator>,
    ) -> Option<u64> {
        let timers = timers.into_iter();
        let now = (timers.len() > 0).then(Instant::now);
        let mut state = self.state.lock();
        if state.is_over {
            drop(state);
            drop_each(jobs);
            return None;
        }
        let first = state.due.first().copied();
        let jobs_before = state.jobs.len();
        state.jobs.extend(jobs);
        let mut is_due = state.jobs.len() > jobs_before;
        // A running round calls no more timers of other threads, but those of its own callbacks.
        let is_within = state.runs_on == Some(thread::current().id());
        let next = state.begun + 1;
        for number in timers {
            // The timer may have been cancelled meanwhile.
            let Some(Entry { kind: Kind::Timer { due: Some(due), round, .. }, .. }) = state.entries.get_mut(&number) else {
                continue;
            };
            *round = if is_within { 0 } else { next };
            let due = *due;
            is_due |= now.is_some_and(|now| due <= now);
            state.due.insert((due, number));
        }
        let is_changed = is_due || state.due.first().copied() != first;
        drop(state);
        if is_changed {
            self.changed.notify_one();
        }
        is_due.then_some(next)
    }

    /// Ready when a round has ended.
    pub(super) fn has_run(&self, round: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut ended = self.ended.subscribe();
        async move {
            // An error means that the queue no longer exists.
            let _ = ended.wait_for(|ended| *ended >= round).await;
        }
    }

    /// Calls everything that was enqueued before, and then the timers that are due, in order.
    fn run_round(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.begun += 1;
        state.runs_on = Some(thread::current().id());
        let round = state.begun;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        for job in jobs {
            match job {
                Job::Tick(callback) => {
                    if let Some(rest) = call(callback) {
                        tokio::spawn(go_on(rest));
                    }
                }
                Job::Signal(number) => {
                    let callback = self.state.lock().entries.get_mut(&number).and_then(Entry::begin);
                    self.call(number, callback);
                }
            }
        }
        let (now, due) = self.state.lock().due_in(round);
        for timer in due {
            let callback = self.state.lock().begin(timer, now);
            self.call(timer.1, callback);
        }
        self.state.lock().runs_on = None;
        self.ended.send_if_modified(|ended| {
            *ended = round;
            true
        });
    }

    fn call(self: &Arc<Self>, number: u64, callback: Option<Callback>) {
        let Some(mut callback) = callback else { return };
        let rest = callback.call();
        let mut state = self.state.lock();
        let over = match state.entries.get_mut(&number) {
            Some(entry) => {
                entry.is_running = rest.is_some();
                entry.callback.replace(callback)
            }
            // The callback was for one call, or has been removed.
            None => Some(callback),
        };
        drop(state);
        drop_each(over);
        if let Some(rest) = rest {
            tokio::spawn(GoOn { queue: self.clone(), number }.run(rest));
        }
    }

    /// Notes that the asynchronous call of a callback has ended.
    fn has_ended(&self, number: u64) {
        let mut state = self.state.lock();
        let Some(entry) = state.entries.get_mut(&number) else { return };
        entry.is_running = false;
        let is_pending = match &mut entry.kind {
            Kind::Signal { is_pending, .. } => std::mem::take(is_pending),
            Kind::Timer { .. } => false,
        };
        drop(state);
        if is_pending {
            self.signal(number);
        }
    }

    /// Returns whether there is work to do at once, and the next deadline.
    fn next(&self) -> (bool, Option<Instant>) {
        let state = self.state.lock();
        let due = state.due.first().map(|(due, _)| *due);
        (!state.jobs.is_empty() || due.is_some_and(|due| due <= Instant::now()), due)
    }

    fn end(&self) {
        LOOPS.write().retain(|queue| !std::ptr::eq(&**queue, self));
        let state = std::mem::replace(&mut *self.state.lock(), Schedule { is_over: true, ..Schedule::default() });
        drop_each(state.jobs);
        drop_each(state.entries);
    }
}

/// An asynchronous call of a callback that may be called again.
struct GoOn {
    queue: Arc<Queue>,
    number: u64,
}

impl GoOn {
    async fn run(self, rest: Running) {
        go_on(rest).await;
    }
}

impl Drop for GoOn {
    fn drop(&mut self) {
        self.queue.has_ended(self.number);
    }
}

/// Runs a queue. Dropped with its runtime.
struct Driver(Arc<Queue>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.end();
    }
}

async fn drive(driver: Driver) {
    let queue = &driver.0;
    loop {
        queue.run_round();
        match queue.next() {
            // Other tasks have their turn first: connections are read between two rounds.
            (true, _) => yield_now().await,
            (false, None) => queue.changed.notified().await,
            (false, Some(due)) => tokio::select! {
                () = queue.changed.notified() => {}
                () = sleep_until(due) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Loop, Timer};

    #[tokio::test(start_paused = true)]
    async fn nothing_is_left_of_timers_that_are_over() {
        let timers: Vec<Timer> = (0..100_000).map(|n| Loop::add_timer(n, || {})).collect();
        let queue = Queue::current();
        assert_eq!(queue.state.lock().entries.len(), 100_000);
        timers.into_iter().for_each(Loop::cancel_timer);
        for _ in 0..1000 {
            Loop::add_timer(0, || {});
            Loop::future_tick(|| {});
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let state = queue.state.lock();
        assert!(state.entries.is_empty() && state.due.is_empty() && state.jobs.is_empty());
        assert!(state.entries.capacity() < 1000, "{}", state.entries.capacity());
    }

    /// In a thread of its own, so that a deadlock does not block the test.
    #[test]
    fn what_a_callback_has_captured_may_use_the_loop_when_it_is_dropped() {
        struct Cancels(Timer);
        impl Drop for Cancels {
            fn drop(&mut self) {
                Loop::cancel_timer(self.0);
                Loop::future_tick(|| {});
            }
        }
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let handle = runtime.handle().clone();
            let _entered = handle.enter();
            let timer = Loop::add_timer(1000, || {});
            let cancels = Cancels(timer);
            Loop::add_timer(1000, move || _ = &cancels);
            drop(runtime);
            // New tasks are dropped at once now.
            let cancels = Cancels(timer);
            let late = Loop::add_timer(1, move || _ = &cancels);
            let is_there = |timer: Timer| Queue::of(timer.runtime).is_some();
            tell.send((is_there(timer), is_there(late)))
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok((false, false)));
    }

    #[test]
    fn a_queue_ends_with_its_runtime() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let id = runtime.handle().id();
        runtime.block_on(async { Loop::future_tick(|| {}) });
        assert!(Queue::of(id).is_some());
        drop(runtime);
        assert!(Queue::of(id).is_none());
    }
}
