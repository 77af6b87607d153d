use std::sync::Arc;

use super::error::GroupError;
use super::handle::ConnectionGroup;
use super::manager::GroupManager;
use super::membership::{JoinKind, Membership};
use crate::websocket::{Text, WebSocketConnection, WebSocketMiddleware};

/// # Groups
impl WebSocketConnection {
    /// Puts the connection into one group, ReactPHP's `setGroup`: out of the one that it was put into before, into this one.
    /// The same name changes nothing, `None` only takes it out. Groups that it [joined](GroupManager::join) otherwise are not
    /// concerned.
    ///
    /// This calls listeners: release your own locks first, as for [`GroupManager::join`](crate::GroupManager::join).
    ///
    /// # Errors
    /// [`GroupError::NoManager`], and those of [`GroupManager::join`]. It is out of the former group even so.
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

    /// The group that [`set_group`](WebSocketConnection::set_group) put the connection into. It still answers in `close`
    /// listeners.
    pub fn group(&self) -> Option<ConnectionGroup> {
        self.get::<Membership>()?.current()
    }

    /// The name of that group.
    pub fn group_name(&self) -> Option<Text> {
        self.group().map(|group| group.name())
    }

    /// All groups that the connection is in.
    pub fn groups(&self) -> Vec<ConnectionGroup> {
        self.get::<Membership>().map(|membership| membership.groups()).unwrap_or_default()
    }
}

impl WebSocketMiddleware {
    /// Gives the connections a manager for [`set_group`](WebSocketConnection::set_group).
    ///
    /// Call it before the middleware is cloned: a clone that was made before has no manager.
    pub fn with_group_manager(self, groups: GroupManager) -> WebSocketMiddleware {
        self.with_extension(Arc::new(groups))
    }
}
