//! The events of managers and groups.

use std::num::NonZeroU64;

use super::handle::ConnectionGroup;
use crate::emitter::EventNames;
use crate::websocket::{SlotGuard, WebSocketConnection};

pub(super) const MANAGER: EventNames = EventNames {
    object: "a GroupManager",
    names: &["create", "destroy"],
    aliases: &[("created", "create"), ("destroyed", "destroy")],
    hints: &[(&["join", "leave", "drop"], "listen to it on the group, in a listener of \"create\"")],
};
pub(super) const CREATE: u8 = 0;
pub(super) const DESTROY: u8 = 1;

pub(super) const GROUP: EventNames = EventNames {
    object: "a ConnectionGroup",
    names: &["join", "leave", "drop"],
    aliases: &[],
    hints: &[
        (&["create", "created", "destroy", "destroyed"], "listen to it on the `GroupManager`"),
        (&["gap"], "listen to it with `on_gap`"),
    ],
};
pub(super) const JOIN: u8 = 0;
pub(super) const LEAVE: u8 = 1;
pub(super) const DROP: u8 = 2;
/// Listened to by `on_gap`.
pub(super) const GAP: u8 = 3;

/// What a listener of a group takes: a member, or for `gap` the number of missing messages.
pub(super) enum Argument {
    Member(WebSocketConnection),
    Count(u64),
}

impl Argument {
    pub(super) fn member(&self) -> WebSocketConnection {
        match self {
            Argument::Member(member) => *member,
            // A handle that never had a connection. No listener gets it.
            Argument::Count(_) => WebSocketConnection::new(u32::MAX, NonZeroU64::MAX),
        }
    }

    pub(super) fn count(&self) -> u64 {
        match self {
            Argument::Member(_) => 0,
            Argument::Count(count) => *count,
        }
    }
}

/// An event of a group that has not been emitted yet.
///
/// All groups of a manager share one queue of events. So `create` is emitted before the first
/// `join`, and the last `leave` before `destroy`, whichever threads caused them. The slots of
/// members are guarded, since a member may have ended when its event is emitted.
pub(super) enum GroupEvent {
    Create(ConnectionGroup),
    Join(ConnectionGroup, SlotGuard),
    Leave(ConnectionGroup, SlotGuard),
    Drop(ConnectionGroup, SlotGuard),
    Gap(ConnectionGroup, u64),
    /// The last member has left. When this event is handled the group is destroyed, unless a member
    /// has joined since.
    Emptied(ConnectionGroup),
}
