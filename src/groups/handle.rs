use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;

/// A handle of a group of connections: ReactPHP's `ConnectionGroup`. It is `Copy`, has 16 bytes,
/// and works on any thread.
///
/// A group exists exactly while it has members. The first connection that joins creates it, and the
/// last one that leaves destroys it. Then a new group can have its name. A handle that outlives its
/// group is that of an empty group, and never refers to a later group.
///
/// | Event | Listeners take | Fires |
/// |---|---|---|
/// | `join` | `WebSocketConnection` | once for each member, when it is in |
/// | `leave` | `WebSocketConnection` | once for each `join`, when it is out: by itself, or because it closed; what is [attached](crate::WebSocketConnection::get) to it is still there |
/// | `drop` | `WebSocketConnection` | for each message by which a member has missed something, see [`SlowMemberPolicy`](crate::options::SlowMemberPolicy) |
///
/// Listeners are usually registered in the manager's `create` listener, so that they miss no
/// member. They are synchronous, run on the thread that changed the group, and one at a time for
/// all groups of a manager. If a listener changes groups, the events of that change are emitted
/// after it. A listener that panics or returns `Err` fails the member's connection. If that
/// connection has already ended or failed, the error is a line on stderr, or an event with the
/// feature `tracing`.
///
/// ```
/// use react_websocket::GroupManager;
///
/// let groups = GroupManager::new();
/// groups.on("create", |group| {
///     group.on("join", move |member| {
///         group.write_except(member, "somebody has come");
///     });
///     group.on("leave", move |_member| group.write("somebody has left"));
/// });
/// ```
#[derive(Clone, Copy)]
pub struct ConnectionGroup {
    pub(super) slot: u32,
    /// Not 0, so that an `Option` of a handle is no larger.
    pub(super) number: NonZeroU64,
}

impl PartialEq for ConnectionGroup {
    fn eq(&self, other: &ConnectionGroup) -> bool {
        self.number == other.number
    }
}

impl Eq for ConnectionGroup {}

impl Hash for ConnectionGroup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}
