//! Turns: what a thread runs without interruption, such as one poll of a connection's task or one
//! callback of the loop.
//!
//! Code in a turn can defer something until the turn has ended.

use std::cell::Cell;
use std::pin::Pin;
use std::time::Duration;

use crate::sync::atomic::{AtomicU16, Ordering};
use crate::sync::thread_local;

/// The flag that is set when listeners of other objects have delayed the turn of a connection. The
/// turn ends then. Otherwise a peer that causes many events would occupy the thread for as many
/// waits as it has sent messages.
pub(crate) const HELD_UP: u16 = 1 << 15;

thread_local! {
    // Without a destructor, so that access is cheap.
    static THREAD: Thread = const {
        Thread {
            in_turn: Cell::new(false),
            at_end: Cell::new(None),
            connection: Cell::new(None),
            pause: Cell::new(Duration::ZERO),
        }
    };
}

struct Thread {
    in_turn: Cell<bool>,
    at_end: Cell<Option<AtEnd>>,
    /// The flags of the connection whose turn it is.
    connection: Cell<Option<&'static AtomicU16>>,
    /// See [`take_pause`].
    pause: Cell<Duration>,
}

/// Called when a turn has ended. Returns a future if the deferred work is still to be done.
pub(crate) type AtEnd = fn() -> Option<Deferred>;

/// Ready when the work that a turn has deferred is done.
pub(crate) type Deferred = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A turn of this thread. A turn within another one is part of it.
pub(crate) struct Turn {
    is_outermost: bool,
}

impl Turn {
    #[inline]
    pub(crate) fn begin() -> Turn {
        Turn { is_outermost: !THREAD.with(|thread| thread.in_turn.replace(true)) }
    }

    /// Ends the turn. The caller awaits the returned future before it does what comes after the
    /// deferred work.
    #[inline]
    pub(crate) fn end(self) -> Option<Deferred> {
        let deferred = self.leave();
        std::mem::forget(self);
        deferred
    }

    #[inline]
    fn leave(&self) -> Option<Deferred> {
        if !self.is_outermost {
            return None;
        }
        THREAD.with(|thread| {
            thread.in_turn.set(false);
            if thread.at_end.get().is_none() { None } else { thread.call_at_end() }
        })
    }
}

impl Thread {
    #[cold]
    fn call_at_end(&self) -> Option<Deferred> {
        self.at_end.take()?()
    }
}

impl Drop for Turn {
    /// Ends the turn, for callers that do not wait.
    #[inline]
    fn drop(&mut self) {
        self.leave();
    }
}

/// Calls `at_end` when the present turn has ended. Returns `false` outside of a turn. Within one
/// turn all callers pass the same function, which is called once.
pub(crate) fn defer(at_end: AtEnd) -> bool {
    THREAD.with(|thread| {
        let in_turn = thread.in_turn.get();
        if in_turn {
            thread.at_end.set(Some(at_end));
        }
        in_turn
    })
}

/// Begins a connection's turn on this thread. If listeners of other objects delay it, [`HELD_UP`] is
/// set in `flags`.
#[inline]
pub(crate) fn begin(flags: &'static AtomicU16) {
    THREAD.with(|thread| thread.connection.set(Some(flags)));
}

/// Ends it. The turn of a connection within that of another one ends both, which only costs the
/// outer one its flag.
#[inline]
pub(crate) fn end() {
    THREAD.with(|thread| thread.connection.set(None));
}

/// Notes that this thread was delayed. For `pause` see [`take_pause`].
#[cold]
pub(crate) fn hold_up(pause: Duration) {
    // When a thread ends, this may no longer exist.
    let _ = THREAD.try_with(|thread| {
        if let Some(flags) = thread.connection.get() {
            flags.fetch_or(HELD_UP, Ordering::Relaxed);
            thread.pause.set(thread.pause.get().max(pause));
        }
    });
}

/// Returns how long the delayed connection must pause, so that its peer does not cause events
/// faster than listeners handle them.
pub(crate) fn take_pause() -> Duration {
    THREAD.with(|thread| thread.pause.take())
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }

    fn count() -> Option<Deferred> {
        CALLS.set(CALLS.get() + 1);
        Some(Box::pin(std::future::ready(())))
    }

    #[test]
    fn deferred_work_is_done_once_when_the_outermost_turn_ends() {
        let outer = Turn::begin();
        let inner = Turn::begin();
        assert!(defer(count) && defer(count));
        assert!(inner.end().is_none());
        assert_eq!(CALLS.get(), 0);
        assert!(outer.end().is_some());
        assert_eq!(CALLS.get(), 1);
        assert!(Turn::begin().end().is_none());
        assert_eq!(CALLS.get(), 1);
    }

    #[test]
    fn a_turn_that_panics_ends_as_well() {
        let turn = || {
            let _turn = Turn::begin();
            defer(count);
            panic!("in a turn");
        };
        assert!(std::panic::catch_unwind(turn).is_err());
        assert_eq!(CALLS.get(), 1);
        assert!(!defer(count), "no turn is left");
    }
}
