//! The events of managers and groups.

use super::handle::ConnectionGroup;
use crate::emitter::EventNames;
use crate::websocket::SlotGuard;

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
    hints: &[(&["create", "created", "destroy", "destroyed"], "listen to it on the `GroupManager`")],
};
pub(super) const JOIN: u8 = 0;
pub(super) const LEAVE: u8 = 1;
pub(super) const DROP: u8 = 2;

/// What has happened, to be told in order. All groups of a manager share one queue, so that `create` is told before the
/// first `join` and the last `leave` before `destroy`, whichever threads made them. Members are kept, since they may have
/// ended when it is told.
pub(super) enum Happening {
    Create(ConnectionGroup),
    Join(ConnectionGroup, SlotGuard),
    Leave(ConnectionGroup, SlotGuard),
    Drop(ConnectionGroup, SlotGuard),
    /// The last member has left. When that has been told, the group ends, unless somebody has come.
    Emptied(ConnectionGroup),
}
