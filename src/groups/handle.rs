use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;

/// A handle of a group of connections: ReactPHP's `ConnectionGroup`. It is `Copy`, has 16 bytes,
/// and works on any thread.
///
/// A group exists exactly while it has members. The first connection that joins creates the group,
/// and the last connection that leaves destroys it. After that a new group can have the same name.
/// If a group is destroyed, its handles behave like handles of an empty group, and never refer to a
/// later group.
///
/// | Event | Listeners take | Fires |
/// |---|---|---|
/// | `join` | `WebSocketConnection` | once for each member, when it has become a member |
/// | `leave` | `WebSocketConnection` | once for each `join`, when the member has left or its connection has closed; values that are [attached](crate::WebSocketConnection::get) to the connection are still available |
/// | `drop` | `WebSocketConnection` | when a member misses messages because it is a slow consumer, at most once for each message that is written to the group, see [`SlowMemberPolicy`](crate::options::SlowMemberPolicy) |
///
/// Register listeners in the manager's `create` listener, so that they get every member. Listeners
/// are synchronous. They run on a thread that changes a group, one at a time for all groups of a
/// manager. If a listener changes groups, the events of that change are emitted after the listener
/// has returned. A listener that panics or returns `Err` fails the member's connection. If that
/// connection has already ended or failed, the error is printed on stderr, or logged with the
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
