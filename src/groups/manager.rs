use std::fmt;
use std::sync::Arc;

use super::error::GroupError;
use super::event::MANAGER;
use super::handle::ConnectionGroup;
use super::membership::JoinKind;
use super::registry::Registry;
use super::stats::GroupStats;
use crate::cluster::Content;
use crate::emitter::{Contained, listener_methods};
use crate::protocol::Opcode;
use crate::websocket::{Text, WebSocketConnection, cork};

/// The groups of a server: ReactPHP's `GroupManager`. A clone is the same manager.
///
/// A group exists exactly while it has members, see [`ConnectionGroup`].
///
/// | Event | Listeners take | Fires |
/// |---|---|---|
/// | `create` | [`ConnectionGroup`] | once for each group, before its first `join`, and usually before its first connection becomes a member |
/// | `destroy` | [`ConnectionGroup`] | once for each `create`, when the last member has left |
///
/// `created` and `destroyed` are other names of these events. Listeners are synchronous. They run
/// on a thread that changes a group, one at a time for the manager and all its groups. If a
/// listener or another thread changes groups while a listener runs, the events of that change are
/// emitted afterwards.
///
/// If a listener panics or returns `Err`, the other listeners are still called. The error is
/// printed on stderr, or logged with the feature `tracing`.
///
/// ```
/// use react_websocket::{GroupManager, WebSocketConnection, WebSocketMiddleware};
///
/// let groups = GroupManager::new();
/// groups.on("create", |group| println!("{} is there", group.name()));
/// groups.on("destroy", |group| println!("{} is gone", group.name()));
///
/// let websocket = WebSocketMiddleware::new().with_group_manager(groups.clone());
/// websocket.on("connection", |connection: WebSocketConnection| connection.set_group(Some("lobby")));
/// ```
#[derive(Clone)]
pub struct GroupManager {
    pub(super) registry: Arc<Registry>,
}

impl GroupManager {
    /// Creates a manager without groups.
    pub fn new() -> GroupManager {
        GroupManager { registry: Arc::default() }
    }

    /// Adds a connection to the group of that name, and returns the group. Creates the group if it
    /// does not exist. The connection stays in its other groups.
    ///
    /// The order for a new group is: the group can be found by its name; `create` fires; the
    /// connection becomes a member; `join` fires. If other listeners of the manager or of a group
    /// are running, on this thread or on another, the events fire after these listeners. In that
    /// case the connection is a member before `create` fires.
    ///
    /// This method calls listeners: release your own locks first, if a listener may need them. If
    /// 256 events of the manager are queued, this method may block for a millisecond.
    ///
    /// # Errors
    /// [`GroupError::Closed`] if the connection has ended or is closing,
    /// [`GroupError::TooManyGroups`] if the connection has reached its limit,
    /// [`GroupError::NameTooLong`] if the name exceeds the limit.
    pub fn join(&self, name: impl Into<Text>, connection: WebSocketConnection) -> Result<ConnectionGroup, GroupError> {
        let name = Contained::new(name.into());
        self.registry.join_as(&name, connection, JoinKind::Additional)
    }

    /// Removes a connection from the group of that name. `leave` fires if the connection was a
    /// member. Returns `false` if it was not, or if there is no such group.
    pub fn leave(&self, name: &str, connection: WebSocketConnection) -> bool {
        self.get(name).is_some_and(|group| group.remove(connection))
    }

    /// Returns the group of that name, or `None` if it does not exist.
    pub fn get(&self, name: &str) -> Option<ConnectionGroup> {
        self.registry.groups.get(name).map(|group| *group)
    }

    /// Returns all groups.
    pub fn groups(&self) -> Vec<ConnectionGroup> {
        self.registry.groups.iter().map(|group| *group).collect()
    }

    /// Returns the number of groups.
    pub fn len(&self) -> usize {
        self.registry.groups.len()
    }

    /// Returns whether the manager has no groups.
    pub fn is_empty(&self) -> bool {
        self.registry.groups.is_empty()
    }

    /// Returns how many events have been emitted so far, and how many groups exist.
    pub fn stats(&self) -> GroupStats {
        let node = self.registry.node.get().map(|node| &node.counts);
        self.registry.counts.stats(self.len(), node)
    }

    /// Sends a text message to all members of the group of that name. Does nothing if there is no
    /// such group. With a [backplane](GroupManager::with_backplane) the message also reaches the
    /// members on all other nodes.
    pub fn write(&self, name: &str, text: impl AsRef<str>) {
        let text = text.as_ref();
        if !self.get(name).is_some_and(|group| group.broadcast(Opcode::Text, text.as_bytes(), None)) {
            self.registry.send_elsewhere(name, Content::Text { text, except: None });
        }
    }

    /// Sends a binary message to all members of the group of that name, like
    /// [`write`](GroupManager::write).
    pub fn write_binary(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if !self.get(name).is_some_and(|group| group.broadcast(Opcode::Binary, bytes, None)) {
            self.registry.send_elsewhere(name, Content::Binary { bytes, except: None });
        }
    }

    /// [Closes](WebSocketConnection::close_with) all members of all groups. The reason is the first
    /// argument, as in ReactPHP. With a [backplane](GroupManager::with_backplane) this also closes
    /// the members on all other nodes.
    pub fn close_all(&self, reason: impl AsRef<str>, code: u16) {
        let reason = reason.as_ref();
        cork(|| {
            for group in self.groups() {
                group.close_here(code, reason);
            }
        });
        self.registry.close_elsewhere(code, reason);
    }
}

/// # Listeners
///
/// The events are `create` and `destroy`.
impl GroupManager {
    listener_methods! {
        MANAGER,
        FnMut(ConnectionGroup),
        |listener, group: &ConnectionGroup| listener(*group),
        |manager| Some(&manager.registry.listeners),
    }
}

impl Default for GroupManager {
    fn default() -> Self {
        GroupManager::new()
    }
}

impl fmt::Debug for GroupManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupManager").field("groups", &self.groups()).finish()
    }
}
