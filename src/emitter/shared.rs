use parking_lot::Mutex;

use super::listener::{ListenerId, Rank};
use super::output::{BoxError, ListenerOutput};
use super::panics::{contain, drop_each};
use crate::runtime::turn::Turn;

/// The listeners of an object that many tasks share, by event. Only one emission at a time calls
/// them, see [`SerialQueue`](super::SerialQueue).
pub(crate) struct Listeners<K, A> {
    inner: Mutex<Inner<K, A>>,
}

struct Inner<K, A> {
    /// The listeners that are registered, in the order of their calls.
    registered: Vec<Registered<K>>,
    /// The closures by number, in its order. Empty while an emission has them.
    closures: Vec<(u64, Closure<A>)>,
    /// The numbers of closures that are dropped when the emission returns them.
    removed: Vec<u64>,
    /// No event follows, so no listener is kept.
    has_ended: bool,
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
            inner: Mutex::new(Inner {
                registered: Vec::new(),
                closures: Vec::new(),
                removed: Vec::new(),
                has_ended: false,
            }),
        }
    }
}

impl<K, A> Drop for Listeners<K, A> {
    fn drop(&mut self) {
        drop_each(self.inner.get_mut().closures.drain(..));
    }
}

impl<K: PartialEq, A> Listeners<K, A> {
    /// Adds a listener and returns its number.
    pub(crate) fn add<R: ListenerOutput>(
        &self,
        event: K,
        rank: Rank,
        mut listener: impl FnMut(&A) -> R + Send + 'static,
    ) -> u64 {
        let closure: Closure<A> = Box::new(move |args| listener(args).into_result());
        let mut inner = self.inner.lock();
        if inner.has_ended {
            drop(inner);
            drop_each([closure]);
            return ListenerId::next_number();
        }
        // Under the lock, so that the listeners have the order of the numbers.
        let number = ListenerId::next_number();
        let place = inner.registered.partition_point(|other| other.rank <= rank);
        inner.registered.insert(place, Registered { number, event, rank });
        inner.closures.push((number, closure));
        number
    }

    pub(crate) fn remove(&self, number: u64) {
        self.forget(|listener| listener.number == number);
    }

    /// Removes all listeners of one event, or of all events with `None`.
    pub(crate) fn remove_all(&self, event: Option<&K>) {
        self.forget(|listener| event.is_none_or(|event| *event == listener.event));
    }

    /// Drops all listeners, and from now on each new one: the object has emitted its last event.
    pub(crate) fn end(&self) {
        self.inner.lock().has_ended = true;
        self.remove_all(None);
    }

    pub(crate) fn count(&self, event: &K) -> usize {
        self.inner.lock().registered.iter().filter(|listener| listener.event == *event).count()
    }

    /// Calls the present listeners of an event. `failed` gets the error of a listener that panics
    /// or returns `Err`. Unlike an exception in PHP, the error does not stop the other listeners.
    ///
    /// Only one call at a time is allowed: call it within a [`SerialQueue`](super::SerialQueue).
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
        // Ticks that a listener enqueues in the loop are called after all listeners.
        let turn = Turn::begin();
        for number in calls {
            let Ok(place) = closures.binary_search_by_key(&number, |(number, _)| *number) else { continue };
            if let Err(error) = contain(|| (closures[place].1)(args)) {
                // The arguments are the app's, and may panic when they are dropped. The closures
                // must be put back nevertheless.
                let _ = contain(|| {
                    failed(error);
                    Ok(())
                });
            }
        }
        let mut inner = self.inner.lock();
        // Listeners that were added meanwhile have higher numbers, so the order is kept.
        closures.append(&mut inner.closures);
        inner.closures = closures;
        let gone = inner.take_removed();
        drop(inner);
        drop(turn);
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

    /// Takes out the closures to be dropped. The caller drops them outside of the lock, since their
    /// captures may do anything.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

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
        let (them, second) = (listeners.clone(), Arc::new(AtomicU64::new(0)));
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
}
