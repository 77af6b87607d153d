use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::id::NodeId;

/// The interval of the messages with which nodes show that they are up.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);

/// A node is down after this time without such a message.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(15);

/// The time after which nothing is known of a node that is down.
pub(crate) const FORGET: Duration = Duration::from_secs(15 * 60);

/// Maximum number of nodes. The messages of further nodes are refused, since ids from the bus must
/// not fill the memory.
pub(crate) const NODES_MAX: usize = 1024;

/// The number of recent heartbeats of a node that are kept.
const BEATS_MAX: usize = 8;

/// The other nodes.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    nodes: HashMap<NodeId, Peer>,
}

#[derive(Debug)]
struct Peer {
    is_up: bool,
    /// The node has said that it leaves. Its id is never used again.
    has_left: bool,
    last: Instant,
    /// When recent heartbeats arrived, and how many streams the node had begun.
    beats: VecDeque<(Instant, u64)>,
}

impl Peers {
    /// Notes a heartbeat. Returns whether the node was not up before. `None` if there are too many
    /// nodes.
    pub(crate) fn alive(&mut self, node: NodeId, streams: u64, now: Instant) -> Option<bool> {
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(&node) {
            return None;
        }
        let peer =
            self.nodes.entry(node).or_insert(Peer { is_up: false, has_left: false, last: now, beats: VecDeque::new() });
        peer.last = now;
        if peer.has_left {
            return Some(false);
        }
        if peer.beats.len() == BEATS_MAX {
            peer.beats.pop_front();
        }
        peer.beats.push_back((now, streams));
        Some(!std::mem::replace(&mut peer.is_up, true))
    }

    pub(crate) fn bye(&mut self, node: NodeId) {
        if let Some(peer) = self.nodes.get_mut(&node) {
            (peer.is_up, peer.has_left) = (false, true);
        }
    }

    /// Notes which nodes have been silent for too long. Returns their number.
    pub(crate) fn tick(&mut self, now: Instant) -> usize {
        self.nodes.retain(|_, peer| now.duration_since(peer.last) < FORGET);
        let silent = self.nodes.values_mut().filter(|peer| peer.is_up && now.duration_since(peer.last) >= SILENCE_MAX);
        silent.map(|peer| peer.is_up = false).count()
    }

    /// Returns whether a node has begun a stream after a subscription of this moment was active. A
    /// heartbeat that arrives one interval after the subscription was sent after it was active.
    pub(crate) fn began_after(&self, node: NodeId, stream: u64, subscribed: Instant) -> bool {
        let beats = self.nodes.get(&node).map(|peer| &peer.beats);
        beats.into_iter().flatten().any(|(at, streams)| at.duration_since(subscribed) >= HEARTBEAT && *streams < stream)
    }

    /// The nodes that are up.
    pub(crate) fn up(&self) -> Vec<NodeId> {
        let mut nodes: Vec<_> = self.nodes.iter().filter(|(_, peer)| peer.is_up).map(|(node, _)| *node).collect();
        nodes.sort_unstable();
        nodes
    }
}
