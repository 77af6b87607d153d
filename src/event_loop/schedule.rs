//! The callbacks of a loop, and when they are due.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::callback::Callback;
use crate::emitter::ListenerCall;
use crate::sync::thread::ThreadId;

/// The callbacks of a loop that have not been called yet, or will be called again.
#[derive(Default)]
pub(super) struct Schedule {
    /// The start of the next round, in the order of enqueuing.
    pub(super) jobs: VecDeque<Job>,
    /// Timers by the moments at which they are due, equal moments by the order of insertion.
    pub(super) due: BTreeSet<(Instant, u64)>,
    pub(super) entries: HashMap<u64, Entry>,
    /// The last round that has begun.
    pub(super) begun: u64,
    /// The thread that runs it, if it has not ended.
    pub(super) runs_on: Option<ThreadId>,
    /// The runtime has ended, or is about to.
    pub(super) is_over: bool,
}

pub(super) enum Job {
    Tick(Box<dyn FnOnce() -> ListenerCall + Send>),
    Signal(u64),
}

/// A timer, or a listener for a signal.
pub(super) struct Entry {
    /// `None` while it is being called.
    pub(super) callback: Option<Callback>,
    /// An asynchronous call has begun and not ended.
    pub(super) is_running: bool,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Timer {
        /// `None` if the moment exceeds the range of the clock.
        due: Option<Instant>,
        /// The first round that may call it. Ticks that were enqueued before it are called before
        /// it.
        round: u64,
        every: Option<Duration>,
    },
    Signal {
        /// The signal was received while a call was running.
        is_pending: bool,
        /// Ends the task that receives the signal, when it is dropped.
        _receiving: oneshot::Sender<()>,
    },
}

impl Schedule {
    /// Returns the present moment, and the due timers that a round may call.
    pub(super) fn due_in(&self, round: u64) -> (Instant, Vec<(Instant, u64)>) {
        let now = Instant::now();
        let may_be_called = |(_, number): &&(Instant, u64)| match self.entries.get(number) {
            Some(Entry { kind: Kind::Timer { round: first, .. }, .. }) => *first <= round,
            _ => false,
        };
        (now, self.due.range(..=(now, u64::MAX)).filter(may_be_called).copied().collect())
    }

    /// Takes the callback of a due timer, unless it has been cancelled. Sets the next deadline of a
    /// periodic timer.
    pub(super) fn begin(&mut self, timer: (Instant, u64), now: Instant) -> Option<Callback> {
        if !self.due.remove(&timer) {
            return None;
        }
        let number = timer.1;
        let entry = self.entries.get_mut(&number)?;
        let Kind::Timer { due, every: Some(every), .. } = &mut entry.kind else {
            return self.take(number)?.callback;
        };
        *due = now.checked_add(*every);
        self.due.extend(due.map(|due| (due, number)));
        entry.begin()
    }

    pub(super) fn take(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entries.remove(&number)?;
        if let Kind::Timer { due: Some(due), .. } = entry.kind {
            self.due.remove(&(due, number));
        }
        if self.entries.capacity() > 4 * self.entries.len().max(64) {
            self.entries.shrink_to(2 * self.entries.len());
        }
        Some(entry)
    }
}

impl Entry {
    /// Takes the callback, unless an asynchronous call is running. Then a timer skips this call,
    /// and a signal is handled afterwards.
    pub(super) fn begin(&mut self) -> Option<Callback> {
        if !self.is_running {
            return self.callback.take();
        }
        if let Kind::Signal { is_pending, .. } = &mut self.kind {
            *is_pending = true;
        }
        None
    }
}
