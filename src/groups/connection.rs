use std::sync::Arc;

use super::error::GroupError;
use super::handle::ConnectionGroup;
use super::manager::GroupManager;
use super::membership::{JoinKind, Membership};
use crate::websocket::{Text, WebSocketConnection, WebSocketMiddleware};

/// # Groups
impl WebSocketConnection {
    /// Moves the connection into this group, out of the group of the last call: ReactPHP's
    /// `setGroup`. With the same name it does nothing. With `None` the connection only leaves.
    /// Groups that it [joined](GroupManager::join) otherwise are not affected.
    ///
    /// This calls listeners: release your own locks first, as for [`GroupManager::join`](crate::GroupManager::join).
    ///
    /// # Errors
    /// [`GroupError::NoManager`], and the errors of [`GroupManager::join`]. The connection has left
    /// the former group even then.
    pub fn set_group(&self, name: Option<&str>) -> Result<(), GroupError> {
        let current = self.group();
        if let (Some(current), Some(name)) = (current, name)
            && current.name() == name
        {
            return Ok(());
        }
        if let Some(current) = current {
            current.remove(*self);
        }
        let Some(name) = name else { return Ok(()) };
        if !self.is_writable() {
            return Err(GroupError::Closed);
        }
        let manager = self.extension::<GroupManager>().ok_or(GroupError::NoManager)?;
        manager.registry.join_as(name, *self, JoinKind::Exclusive).map(drop)
    }

    /// Returns the group that [`set_group`](WebSocketConnection::set_group) put the connection
    /// into. It still returns it in `close` listeners.
    pub fn group(&self) -> Option<ConnectionGroup> {
        self.get::<Membership>()?.current()
    }

    /// Returns the name of the group that [`set_group`](WebSocketConnection::set_group) put the
    /// connection into.
    pub fn group_name(&self) -> Option<Text> {
        self.group().map(|group| group.name())
    }

    /// Returns all groups that the connection is in.
    pub fn groups(&self) -> Vec<ConnectionGroup> {
        self.get::<Membership>().map(|membership| membership.groups()).unwrap_or_default()
    }
}

impl WebSocketMiddleware {
    /// Sets the manager of the connections' groups, which
    /// [`set_group`](WebSocketConnection::set_group) needs.
    ///
    /// Call it before the middleware is cloned: a clone that was made before has no manager.
    pub fn with_group_manager(self, groups: GroupManager) -> WebSocketMiddleware {
        self.with_extension(Arc::new(groups))
    }
}
