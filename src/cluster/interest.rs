use std::collections::HashMap;

use tokio::time::Instant;

use super::id::NodeId;
use super::peers::{FORGET, NODES_MAX};
use super::stream::{Admission, Incoming};
use super::wire::Position;

/// A subscription, and what has arrived by it.
#[derive(Debug)]
pub(crate) struct Interest {
    pub(crate) since: Instant,
    /// The number of ticks since the last member has left. `None` while there are members.
    idle_ticks: Option<u32>,
    senders: HashMap<NodeId, Sender>,
}

#[derive(Debug)]
struct Sender {
    incoming: Incoming,
    last: Instant,
}

/// A subscription ends at this tick after the last member has left. So a member that leaves and
/// joins again costs no subscription.
const IDLE_MAX: u32 = 2;

impl Interest {
    pub(crate) fn begin(now: Instant) -> Interest {
        Interest { since: now, idle_ticks: None, senders: HashMap::new() }
    }

    pub(crate) fn resume(&mut self) {
        self.idle_ticks = None;
    }

    pub(crate) fn pause(&mut self) {
        self.idle_ticks = Some(0);
    }

    /// Notes that a tick has passed. Returns whether the subscription is still needed.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        self.senders.retain(|_, sender| now.duration_since(sender.last) < FORGET);
        if let Some(ticks) = &mut self.idle_ticks {
            *ticks += 1;
        }
        self.idle_ticks.is_none_or(|ticks| ticks < IDLE_MAX)
    }

    /// Returns whether a message is to be delivered. `None` if there are too many senders.
    /// `from_start` tells whether all messages of an unknown stream should have arrived.
    pub(crate) fn admit(
        &mut self,
        node: NodeId,
        at: Position,
        is_mark: bool,
        now: Instant,
        from_start: impl FnOnce(Instant) -> bool,
    ) -> Option<Admission> {
        if let Some(sender) = self.senders.get_mut(&node) {
            sender.last = now;
            return Some(sender.incoming.admit(at, is_mark));
        }
        if self.senders.len() >= NODES_MAX {
            return None;
        }
        let (incoming, admission) = Incoming::begin(at, is_mark, from_start(self.since));
        self.senders.insert(node, Sender { incoming, last: now });
        Some(admission)
    }
}
