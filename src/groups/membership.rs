use std::sync::Arc;

use parking_lot::Mutex;

use super::error::GroupError;
use super::group::ConnectionGroup;
use super::manager::GroupManager;
use crate::websocket::{Text, WebSocketConnection, WebSocketMiddleware};

/// How a connection gets into a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// By `join` or `add`: beside the others.
    OneMore,
    /// By `set_group`: instead of the one that was chosen so before.
    TheOne,
}

/// The groups of a connection. It is attached to the connection as an app's data is, and told of its end by `close`.
#[derive(Default)]
pub(super) struct Membership {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    groups: Vec<ConnectionGroup>,
    /// The one that `set_group` chose.
    current: Option<ConnectionGroup>,
    /// The connection has ended: nobody can enter any more.
    over: bool,
}

impl Membership {
    /// Takes note that a connection is in a group, or, if it `is_in` already, that it is the chosen one. To be called under the
    /// lock of the group. Returns the group that was chosen before and has to be left.
    pub(super) fn enter(
        &self,
        connection: WebSocketConnection,
        group: ConnectionGroup,
        is_in: bool,
        choice: Choice,
    ) -> Result<Option<ConnectionGroup>, GroupError> {
        let mut state = self.state.lock();
        if state.over || !connection.is_writable() {
            return Err(GroupError::Closed);
        }
        if !is_in {
            state.ask_for_room(connection)?;
            // Few are in more than one: room for each, none to spare.
            state.groups.reserve_exact(1);
            state.groups.push(group);
        }
        match choice {
            Choice::OneMore => Ok(None),
            Choice::TheOne => Ok(state.current.replace(group).filter(|former| *former != group)),
        }
    }

    /// Whether the connection may be in one more group.
    pub(super) fn ask_for_room(&self, connection: WebSocketConnection) -> Result<(), GroupError> {
        self.state.lock().ask_for_room(connection)
    }

    /// Takes note that a connection is out of a group.
    pub(super) fn forget(connection: WebSocketConnection, group: ConnectionGroup) {
        if let Some(membership) = connection.get::<Membership>() {
            let mut state = membership.state.lock();
            state.groups.retain(|other| *other != group);
            state.current = state.current.filter(|current| *current != group);
        }
    }

    /// That of a connection, made if there is none.
    pub(super) fn of(connection: WebSocketConnection) -> Result<Arc<Membership>, GroupError> {
        connection.get_or_attach(Membership::end).ok_or(GroupError::Closed)
    }

    /// The connection has ended: it leaves all its groups.
    fn end(&self, connection: WebSocketConnection) {
        let groups = {
            let mut state = self.state.lock();
            state.over = true;
            state.groups.clone()
        };
        for group in groups {
            group.remove(connection);
        }
    }
}

impl State {
    fn ask_for_room(&self, connection: WebSocketConnection) -> Result<(), GroupError> {
        let limit = connection.max_groups().unwrap_or(usize::MAX);
        if self.groups.len() < limit { Ok(()) } else { Err(GroupError::TooManyGroups { limit }) }
    }
}

/// # Groups
impl WebSocketConnection {
    /// Puts the connection into one group, ReactPHP's `setGroup`: out of the one that it was put into before, into this one.
    /// The same name changes nothing, `None` only takes it out. Groups that it [joined](GroupManager::join) otherwise are not
    /// concerned.
    ///
    /// This calls listeners: release your own locks first, as for [`GroupManager::join`].
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
        manager.join_as(name, *self, Choice::TheOne).map(drop)
    }

    /// The group that [`set_group`](WebSocketConnection::set_group) put the connection into. It still answers in `close`
    /// listeners.
    pub fn group(&self) -> Option<ConnectionGroup> {
        self.get::<Membership>()?.state.lock().current
    }

    /// The name of that group.
    pub fn group_name(&self) -> Option<Text> {
        self.group().map(|group| group.name())
    }

    /// All groups that the connection is in.
    pub fn groups(&self) -> Vec<ConnectionGroup> {
        self.get::<Membership>().map(|membership| membership.state.lock().groups.clone()).unwrap_or_default()
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
