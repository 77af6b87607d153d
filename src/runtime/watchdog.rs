//! Notices listeners that do not return.
//!
//! The time of a turn is measured at its end. A turn that waits for a lock forever has no end. So a
//! thread of the crate checks the turns of all threads, twice a second, and reports those that have
//! taken too long.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::runtime::clock::Coarse;

/// A turn that takes this long is reported.
const STUCK: Duration = Duration::from_secs(1);

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The present turn of a thread, which the watchdog reads.
#[derive(Default)]
pub(crate) struct Watched {
    /// When its turn began, in nanoseconds of the coarse clock; 0 outside of a turn.
    begun: AtomicU64,
    /// The index of the slot whose connection has its turn. It cannot end within that.
    slot: AtomicU32,
    /// The event of another object whose listeners are being called in this turn.
    inner_event: Mutex<Option<&'static str>>,
    /// The turn that was reported last.
    reported: AtomicU64,
}

/// Called for a turn that does not end, with its slot and the event of another object, if it is in one.
type Report = fn(u32, Option<&'static str>);

thread_local! {
    // Two variables, since access is cheaper to one without a destructor.
    static CURRENT: Cell<Option<&'static Watched>> = const { Cell::new(None) };
    static GUARD: Guard = const { Guard };
}

/// Threads that run or have run turns. Entries of threads that have ended are reused.
static THREADS: Mutex<Threads> = Mutex::new(Threads { all: Vec::new(), unused: Vec::new() });

struct Threads {
    all: Vec<&'static Watched>,
    unused: Vec<&'static Watched>,
}

struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(watched) = CURRENT.take() {
            watched.begun.store(0, Ordering::Relaxed);
            THREADS.lock().unused.push(watched);
        }
    }
}

/// Starts the watchdog, once.
pub(crate) fn start(report: Report) {
    static STARTED: OnceLock<()> = OnceLock::new();
    STARTED.get_or_init(|| {
        // If this fails, nothing is reported, and everything else works.
        let _ = thread::Builder::new().name("react-websocket watchdog".into()).spawn(move || {
            loop {
                thread::sleep(LOOK_INTERVAL);
                look(report);
            }
        });
    });
}

/// Begins a turn of this thread.
#[inline]
pub(crate) fn begin_turn(begun: Coarse, slot: u32) -> &'static Watched {
    let watched = CURRENT.get().unwrap_or_else(register);
    watched.slot.store(slot, Ordering::Relaxed);
    watched.begun.store(begun.nanos(), Ordering::Release);
    watched
}

impl Watched {
    #[inline]
    pub(crate) fn end_turn(&self) {
        self.begun.store(0, Ordering::Relaxed);
    }
}

/// Calls listeners of an object that is not the turn's own.
pub(crate) fn in_event<R>(event: &'static str, call: impl FnOnce() -> R) -> R {
    let Some(watched) = CURRENT.get() else { return call() };
    /// Also runs if a listener panics.
    struct Leave(&'static Watched, Option<&'static str>);
    impl Drop for Leave {
        fn drop(&mut self) {
            *self.0.inner_event.lock() = self.1;
        }
    }
    let _leave = Leave(watched, watched.inner_event.lock().replace(event));
    call()
}

#[cold]
fn register() -> &'static Watched {
    let watched = {
        let mut threads = THREADS.lock();
        threads.unused.pop().unwrap_or_else(|| {
            let watched: &'static Watched = Box::leak(Box::default());
            threads.all.push(watched);
            watched
        })
    };
    CURRENT.set(Some(watched));
    // When the thread ends, another thread may reuse its entry.
    let _ = GUARD.try_with(|_| {});
    watched
}

fn look(report: Report) {
    let all = THREADS.lock().all.clone();
    for watched in all {
        let begun = watched.begun.load(Ordering::Acquire);
        let is_stuck = begun != 0 && Coarse::now().nanos().saturating_sub(begun) >= STUCK.as_nanos() as u64;
        let (slot, event) = (watched.slot.load(Ordering::Relaxed), *watched.inner_event.lock());
        // If the turn has ended meanwhile, slot and event may be those of another one.
        let is_same = watched.begun.load(Ordering::Acquire) == begun;
        if is_stuck && is_same && watched.reported.swap(begun, Ordering::Relaxed) != begun {
            report(slot, event);
        }
    }
}
