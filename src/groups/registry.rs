use std::sync::{Arc, OnceLock};

use dashmap::DashMap;

use super::event::GroupEvent;
use super::handle::ConnectionGroup;
use super::stats::Counts;
use crate::cluster::{Node, NodeId};
use crate::emitter::{Listeners, SerialQueue};
use crate::websocket::Text;

/// The groups of a manager, and their events that have not been emitted yet.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) groups: DashMap<Text, ConnectionGroup>,
    pub(super) listeners: Listeners<u8, ConnectionGroup>,
    pub(super) events: SerialQueue<GroupEvent>,
    pub(super) counts: Counts,
    /// The part of a cluster, with a backplane.
    pub(super) node: OnceLock<Arc<Node>>,
    pub(super) id: OnceLock<NodeId>,
}
