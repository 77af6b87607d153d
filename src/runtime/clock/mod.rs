//! One coarse clock for all connections of a server: thousands of deadlines, one timer.
//!
//! An idle connection only costs its entry here, some 30 bytes, and no timer of its own. The price
//! is precision: a deadline is reported up to [`RESOLUTION`] late, and never early.

mod coarse;
mod sleeper;

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::hash_map::{DefaultHasher, HashMap};
use std::fmt;
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(crate) use coarse::{Coarse, nanos};
use sleeper::Sleeper;

/// Deadlines within one such span are reported together. A twentieth of a second is negligible for
/// usual timeouts. With it, a server of a million connections that ping every 20 s wakes its clock
/// twenty times a second.
pub(crate) const RESOLUTION: Duration = Duration::from_millis(50);

/// A moment, in spans of [`RESOLUTION`] since the clock's start: four bytes are enough for six
/// years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u32);

impl Moment {
    /// A moment that is never reached.
    pub(crate) const NEVER: Moment = Moment(u32::MAX);
}

/// A target for deadlines.
pub(crate) trait Alarm: Sync {
    /// The moment has been reached. `key` is that of [`Clock::ring_at`]. A stale key is ignored.
    fn ring(&self, key: u64);
}

/// A clock.
///
/// It runs in a task of the runtime it is first used on, until it is [stopped](Clock::stop) or
/// dropped.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Inner>);

struct Inner {
    start: Instant,
    has_io: bool,
    wheel: Mutex<Wheel>,
    /// Wakes the clock's task for an earlier deadline than the one it sleeps for, or for its end.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Wheel {
    due: BTreeMap<Moment, Alarms>,
    task: Option<JoinHandle<()>>,
}

/// The alarms of one moment by their keys. Peers do not choose keys, so any hasher is safe, and
/// this one takes no room.
type Alarms = HashMap<u64, &'static dyn Alarm, BuildHasherDefault<DefaultHasher>>;

impl Clock {
    /// Creates a clock that starts now. `has_io`: it will run in a runtime that can wait for
    /// descriptors.
    pub(crate) fn new(has_io: bool) -> Clock {
        let inner = Inner { start: Instant::now(), has_io, wheel: Mutex::default(), changed: Arc::default() };
        Clock(Arc::new(inner))
    }

    /// Returns the last moment that has been reached.
    pub(crate) fn now(&self) -> Moment {
        self.0.now()
    }

    /// Returns the milliseconds since the start.
    pub(crate) fn millis(&self) -> u64 {
        millis(self.0.start.elapsed())
    }

    /// Returns the first future moment at which `duration` has passed. Since it is in the future, a
    /// task with an interval of 0 s runs at the pace of the clock.
    pub(crate) fn after(&self, duration: Duration) -> Moment {
        let now = self.0.start.elapsed();
        // In nanoseconds, since a millisecond that has begun would count as one that is over.
        let spans = nanos(now.saturating_add(duration)).div_ceil(nanos(RESOLUTION));
        let next = nanos(now) / nanos(RESOLUTION) + 1;
        Moment(u32::try_from(spans.max(next)).unwrap_or(u32::MAX))
    }

    /// Calls `alarm` when `moment` has been reached, unless [`forget`](Clock::forget) is called
    /// before. No other alarm has the same `key`.
    ///
    /// The alarm itself checks which of its own deadlines have passed.
    #[inline(never)]
    pub(crate) fn ring_at(&self, moment: Moment, alarm: &'static dyn Alarm, key: u64) {
        if moment == Moment::NEVER {
            return;
        }
        let mut wheel = self.0.wheel.lock();
        let first = wheel.due.first_key_value().is_none_or(|(first, _)| moment < *first);
        wheel.due.entry(moment).or_default().insert(key, alarm);
        if wheel.task.is_none() {
            wheel.task = Some(tokio::spawn(run(Arc::downgrade(&self.0), self.0.changed.clone(), self.0.has_io)));
        } else if first {
            self.0.changed.notify_one();
        }
    }

    /// Cancels a call of [`ring_at`](Clock::ring_at). Does nothing if the alarm has been called.
    pub(crate) fn forget(&self, moment: Moment, key: u64) {
        if moment == Moment::NEVER {
            return;
        }
        let mut wheel = self.0.wheel.lock();
        let Entry::Occupied(mut alarms) = wheel.due.entry(moment) else { return };
        alarms.get_mut().remove(&key);
        let (left, room) = (alarms.get().len(), alarms.get().capacity());
        if left == 0 {
            alarms.remove();
        } else if room > 4 * left.max(16) {
            alarms.get_mut().shrink_to(2 * left);
        }
    }

    /// Returns the number of pending alarms.
    #[cfg(test)]
    pub(crate) fn pending(&self) -> usize {
        self.0.wheel.lock().due.values().map(HashMap::len).sum()
    }

    /// Ends the task, and waits for its end. Only new deadlines start it again.
    pub(crate) async fn stop(&self) {
        let task = self.0.wheel.lock().task.take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Inner {
    fn now(&self) -> Moment {
        let spans = self.start.elapsed().as_millis() / RESOLUTION.as_millis();
        Moment(u32::try_from(spans).unwrap_or(u32::MAX))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}

/// The clock's task. It ends when the clock is dropped.
async fn run(clock: Weak<Inner>, changed: Arc<Notify>, has_io: bool) {
    let sleeper = Sleeper::new(has_io);
    loop {
        let Some(inner) = clock.upgrade() else { return };
        let next = inner.wheel.lock().due.first_key_value().map(|(moment, _)| RESOLUTION * moment.0);
        let wake = next.and_then(|span| inner.start.checked_add(span));
        drop(inner);
        let Some(wake) = wake else {
            changed.notified().await;
            continue;
        };
        tokio::select! {
            () = sleeper.sleep_until(wake) => {}
            () = changed.notified() => continue,
        }
        let Some(inner) = clock.upgrade() else { return };
        let mut wheel = inner.wheel.lock();
        let later = wheel.due.split_off(&Moment(inner.now().0.saturating_add(1)));
        let due = std::mem::replace(&mut wheel.due, later);
        drop(wheel);
        for (key, alarm) in due.into_values().flatten() {
            alarm.ring(key);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicU64);
    impl Alarm for Bell {
        fn ring(&self, key: u64) {
            self.0.fetch_add(key, Ordering::Relaxed);
        }
    }
    impl Bell {
        fn new() -> &'static Bell {
            Box::leak(Box::default())
        }
        fn rung(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn after(clock: &Clock, millis: u64) -> Moment {
        clock.after(Duration::from_millis(millis))
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_ring_never_early_and_at_most_a_resolution_late() {
        let (clock, bell) = (Clock::new(false), Bell::new());
        clock.ring_at(after(&clock, 1_001), bell, 1);
        clock.ring_at(after(&clock, 500), bell, 10);
        tokio::time::sleep(Duration::from_millis(499)).await;
        assert_eq!(bell.rung(), 0);
        tokio::time::sleep(RESOLUTION).await;
        assert_eq!(bell.rung(), 10);
        tokio::time::sleep(Duration::from_millis(1_000 - 549)).await;
        assert_eq!(bell.rung(), 10);
        tokio::time::sleep(RESOLUTION + Duration::from_millis(1)).await;
        assert_eq!(bell.rung(), 11);
    }

    /// The caller may have noted the exact moment, and look at it when the alarm rings.
    #[tokio::test(start_paused = true)]
    async fn a_moment_is_not_before_the_deadline_by_a_fraction_of_a_millisecond() {
        let (clock, start) = (Clock::new(false), Instant::now());
        for micros in [0, 1, 100, 900, 999, 50_000, 49_999, 1] {
            tokio::time::advance(Duration::from_micros(micros)).await;
            for duration in [1, 999, 49_001, 49_999, 50_000, 50_001, 999_999, 1_000_000].map(Duration::from_micros) {
                let deadline = start.elapsed() + duration;
                let moment = RESOLUTION * clock.after(duration).0;
                assert!(deadline <= moment && moment <= deadline + RESOLUTION, "{moment:?} for {deadline:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_deadline_wakes_a_clock_that_sleeps_for_a_later_one() {
        let (clock, bell) = (Clock::new(false), Bell::new());
        clock.ring_at(after(&clock, 3_600_000), bell, 1);
        clock.ring_at(clock.after(Duration::MAX), bell, 100);
        tokio::time::sleep(Duration::from_secs(1)).await;
        clock.ring_at(after(&clock, 1_000), bell, 10);
        tokio::time::sleep(Duration::from_millis(1_051)).await;
        assert_eq!(bell.rung(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_does_not_ring_and_leaves_nothing_behind() {
        let (clock, bell) = (Clock::new(false), Bell::new());
        let (soon, late) = (after(&clock, 1_000), after(&clock, 86_400_000));
        for key in 1..=10_000 {
            clock.ring_at(soon, bell, key);
            clock.ring_at(late, bell, key);
        }
        let room = |moment| clock.0.wheel.lock().due.get(&moment).map_or(0, HashMap::capacity);
        for key in 2..=10_000 {
            clock.forget(soon, key);
            clock.forget(late, key);
        }
        clock.forget(late, 7);
        clock.forget(Moment::NEVER, 1);
        assert_eq!(clock.pending(), 2);
        assert!(room(soon) <= 128 && room(late) <= 128, "{} {}", room(soon), room(late));
        clock.forget(late, 1);
        assert_eq!(clock.0.wheel.lock().due.len(), 1);
        tokio::time::sleep(Duration::from_millis(1_051)).await;
        assert_eq!((bell.rung(), clock.pending()), (1, 0));
        clock.forget(soon, 1);
    }

    #[tokio::test]
    async fn it_rings_in_real_time_too() {
        let (clock, bell, start) = (Clock::new(true), Bell::new(), Instant::now());
        clock.ring_at(after(&clock, 100), bell, 1);
        clock.ring_at(after(&clock, 250), bell, 2);
        for (rung, millis) in [(1, 100), (3, 250)] {
            while bell.rung() < rung {
                tokio::task::yield_now().await;
            }
            assert!(start.elapsed() >= Duration::from_millis(millis));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_ends_with_the_clock() {
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = alive();
        let clock = Clock::new(false);
        clock.ring_at(after(&clock, 1_000_000), Bell::new(), 1);
        assert_eq!(alive(), before + 1);
        drop(clock);
        tokio::task::yield_now().await;
        assert_eq!(alive(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_runs_once_it_is_stopped() {
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let (before, clock, bell) = (alive(), Clock::new(false), Bell::new());
        clock.ring_at(after(&clock, 1_000), bell, 1);
        clock.stop().await;
        assert_eq!(alive(), before);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(bell.rung(), 0);
    }
}
