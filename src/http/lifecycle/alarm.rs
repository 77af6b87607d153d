use std::collections::BTreeMap;
use std::task::{Context, Waker};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::runtime::clock::{Alarm, Clock, Moment};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::global;

/// Wakes a connection's task at a deadline that is rarely reached, by the clock of all connections.
///
/// The alarm stays set while requests are answered. When it wakes the task early, the task sets it anew. A timer of tokio's
/// would have to be set and removed for each request.
#[derive(Default)]
pub(crate) struct LazyAlarm {
    set: Option<Set>,
}

struct Set {
    clock: Clock,
    moment: Moment,
    key: u64,
    /// The alarm does not ring before this moment.
    rings: Instant,
}

impl LazyAlarm {
    /// Wakes the task when `deadline` has passed, or earlier. `now` is before the deadline.
    pub(crate) fn wake_at(&mut self, deadline: Instant, now: Instant, clock: &Clock, cx: &Context<'_>) {
        if self.set.as_ref().is_some_and(|set| now < set.rings && set.rings <= deadline) {
            return;
        }
        self.set(deadline, now, clock, cx);
    }

    #[cold]
    fn set(&mut self, deadline: Instant, now: Instant, clock: &Clock, cx: &Context<'_>) {
        self.set = None;
        let key = NEXT.fetch_add(1, Ordering::Relaxed) | OWN_KEYS;
        let moment = clock.after(deadline.saturating_duration_since(now));
        WAKERS.0.lock().insert(key, cx.waker().clone());
        self.set = Some(Set { clock: clock.clone(), moment, key, rings: deadline });
        clock.ring_at(moment, WAKERS.alarm(), key);
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.clock.forget(self.moment, self.key);
        let waker = WAKERS.0.lock().remove(&self.key);
        drop(waker);
    }
}

/// The wakers of all alarms that are set, by their keys.
struct Wakers(Mutex<BTreeMap<u64, Waker>>);

global! { static WAKERS: Wakers = Wakers(Mutex::new(BTreeMap::new())); }

global! { static NEXT: AtomicU64 = AtomicU64::new(0); }

/// The bit that is set in the keys of these alarms only. The numbers of connections, which are the keys of other alarms, stay
/// below it.
const OWN_KEYS: u64 = 1 << 63;

impl Wakers {
    fn alarm(&'static self) -> &'static dyn Alarm {
        self
    }
}

impl Alarm for Wakers {
    fn ring(&self, key: u64) {
        let waker = self.0.lock().remove(&key);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
