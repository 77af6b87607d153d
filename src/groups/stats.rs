use crate::cluster::{Count, NodeCounts};
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
    /// With a [backplane](crate::GroupManager::with_backplane): messages that the bus has accepted
    /// for the other nodes.
    pub published: u64,
    /// Messages that were not published, because the bus was down, the adapter's queue was full, or
    /// the message was too large. Members of this process have got them.
    pub unpublished: u64,
    /// Messages of other nodes for a group that exists here. Members have got them.
    pub delivered: u64,
    /// Messages of other nodes that never arrived: the sum of all `gap` events, and lost
    /// [`close_all`](crate::GroupManager::close_all) of other nodes.
    pub lost: u64,
    /// Messages that arrived twice, or too late. They were dropped.
    pub repeated: u64,
    /// Messages of the bus that were malformed, oversized, or of another version. They were dropped.
    pub refused: u64,
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
    pub(super) fn stats(&self, open: usize, node: Option<&NodeCounts>) -> GroupStats {
        let of_node = |counter: fn(&NodeCounts) -> &Count| node.map_or(0, |node| counter(node).get());
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GroupStats {
            open,
            created: of(&self.created),
            destroyed: of(&self.destroyed),
            joined: of(&self.joined),
            left: of(&self.left),
            dropped: of(&self.dropped),
            published: of_node(|node| &node.published),
            unpublished: of_node(|node| &node.unpublished),
            delivered: of_node(|node| &node.delivered),
            lost: of_node(|node| &node.lost),
            repeated: of_node(|node| &node.repeated),
            refused: of_node(|node| &node.refused),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
