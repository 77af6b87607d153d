use std::sync::Arc;

use super::error::GroupError;
use super::handle::ConnectionGroup;
use super::manager::GroupManager;
use super::membership::{JoinKind, Membership};
use crate::websocket::{Text, WebSocketConnection, WebSocketMiddleware};

/// # Groups
impl WebSocketConnection {
    /// Moves the connection into the group of this name, out of the group of the last call:
    /// ReactPHP's `setGroup`. `leave` and `join` fire. With the same name as before this does
    /// nothing. With `None` the connection only leaves. Groups that it joined with
    /// [`GroupManager::join`] are not affected.
    ///
    /// This calls listeners: release your own locks first, as for [`GroupManager::join`](crate::GroupManager::join).
    ///
    /// # Errors
    /// [`GroupError::NoManager`] if the middleware has no manager, and the errors of
    /// [`GroupManager::join`]. After an error the connection has still left its former group.
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

    /// Returns the group of the last [`set_group`](WebSocketConnection::set_group), or `None`. In
    /// `close` listeners the group is still available.
    pub fn group(&self) -> Option<ConnectionGroup> {
        self.get::<Membership>()?.current()
    }

    /// Returns the name of the group of the last [`set_group`](WebSocketConnection::set_group), or
    /// `None`.
    pub fn group_name(&self) -> Option<Text> {
        self.group().map(|group| group.name())
    }

    /// Returns all groups of the connection.
    pub fn groups(&self) -> Vec<ConnectionGroup> {
        self.get::<Membership>().map(|membership| membership.groups()).unwrap_or_default()
    }
}

impl WebSocketMiddleware {
    /// Sets the manager of the groups that [`set_group`](WebSocketConnection::set_group) joins.
    ///
    /// Call this method before you clone the middleware: an earlier clone has no manager.
    pub fn with_group_manager(self, groups: GroupManager) -> WebSocketMiddleware {
        self.with_extension(Arc::new(groups))
    }
}
