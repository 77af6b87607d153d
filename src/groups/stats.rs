use crate::sync::atomic::{AtomicU64, Ordering};

/// Counters of the groups of a [`GroupManager`](crate::GroupManager):
/// [`GroupManager::stats`](crate::GroupManager::stats).
///
/// All values except `open` count from the manager's creation and never fall. When no event is
/// pending, `open` is `created` minus `destroyed`. Then the total number of members is `joined`
/// minus `left`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStats {
    /// Groups that exist now.
    pub open: usize,
    /// `create` events.
    pub created: u64,
    /// `destroy` events.
    pub destroyed: u64,
    /// `join` events.
    pub joined: u64,
    /// `leave` events.
    pub left: u64,
    /// Messages that members have missed because they were slow consumers, see
    /// [`SlowMemberPolicy`](crate::options::SlowMemberPolicy).
    pub dropped: u64,
}

/// The counters that have no other source.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) created: AtomicU64,
    pub(super) destroyed: AtomicU64,
    pub(super) joined: AtomicU64,
    pub(super) left: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Counts {
    pub(super) fn stats(&self, open: usize) -> GroupStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GroupStats {
            open,
            created: of(&self.created),
            destroyed: of(&self.destroyed),
            joined: of(&self.joined),
            left: of(&self.left),
            dropped: of(&self.dropped),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
