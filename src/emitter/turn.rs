//! The turn of a connection, as far as emitters have to know of it: that they have held it up.

use std::cell::Cell;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// The flag that is raised when a turn has been held up by the listeners of others. It is over then: a peer that causes many
/// events would keep the thread for as many waits as it has sent messages.
pub(crate) const HELD_UP: u16 = 1 << 15;

thread_local! {
    static FLAGS: Cell<Option<&'static AtomicU16>> = const { Cell::new(None) };
    static PAUSE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A turn of this thread's begins, with these flags.
#[inline]
pub(crate) fn begin_turn(flags: &'static AtomicU16) {
    FLAGS.with(|current| current.set(Some(flags)));
}

/// It has ended. (A turn within another ends both, which costs the outer one its flag and nothing else.)
#[inline]
pub(crate) fn end_turn() {
    FLAGS.with(|current| current.set(None));
}

/// This thread has been held up. `pause`: see [`take_pause`].
#[cold]
pub(super) fn hold_up(pause: Duration) {
    // When a thread ends it may have none any more.
    if let Ok(Some(flags)) = FLAGS.try_with(Cell::get) {
        flags.fetch_or(HELD_UP, Ordering::Relaxed);
        PAUSE.with(|longest| longest.set(longest.get().max(pause)));
    }
}

/// How long the connection whose turn was held up has to make a pause, so that its peer causes no more events than listeners
/// are called for.
pub(crate) fn take_pause() -> Duration {
    PAUSE.with(Cell::take)
}
