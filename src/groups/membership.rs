use std::sync::Arc;

use parking_lot::Mutex;

use super::error::GroupError;
use super::handle::ConnectionGroup;
use crate::websocket::WebSocketConnection;

/// How a connection joins a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JoinKind {
    /// By `join` or `add`: in addition to its other groups.
    Additional,
    /// By `set_group`: instead of the group of the last `set_group`.
    Exclusive,
}

/// The groups of a connection. They are attached to the connection like an app's data. A listener
/// of `close` ends them.
#[derive(Default)]
pub(super) struct Membership {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    groups: Vec<ConnectionGroup>,
    /// The group of the last `set_group`.
    current: Option<ConnectionGroup>,
    /// The connection has ended: it cannot join any more.
    is_over: bool,
}

impl Membership {
    /// Notes that the connection is in a group, or if it `is_in` already, only that the group is
    /// the current one. The caller holds the lock of the group. Returns the former current group,
    /// which the connection has to leave.
    pub(super) fn enter(
        &self,
        connection: WebSocketConnection,
        group: ConnectionGroup,
        is_in: bool,
        kind: JoinKind,
    ) -> Result<Option<ConnectionGroup>, GroupError> {
        let mut state = self.state.lock();
        if state.is_over || !connection.is_writable() {
            return Err(GroupError::Closed);
        }
        if !is_in {
            state.check_room(connection)?;
            // Few connections are in more than one group: room for each, none to spare.
            state.groups.reserve_exact(1);
            state.groups.push(group);
        }
        match kind {
            JoinKind::Additional => Ok(None),
            JoinKind::Exclusive => Ok(state.current.replace(group).filter(|former| *former != group)),
        }
    }

    /// Checks whether the connection may be in one more group.
    pub(super) fn check_room(&self, connection: WebSocketConnection) -> Result<(), GroupError> {
        self.state.lock().check_room(connection)
    }

    /// Notes that a connection is not in a group any more.
    pub(super) fn forget(connection: WebSocketConnection, group: ConnectionGroup) {
        if let Some(membership) = connection.get::<Membership>() {
            let mut state = membership.state.lock();
            state.groups.retain(|other| *other != group);
            state.current = state.current.filter(|current| *current != group);
        }
    }

    /// Returns the membership of a connection, and creates it if it is missing. `ended` is called
    /// with it when the connection has ended.
    pub(super) fn of(
        connection: WebSocketConnection,
        ended: fn(&Membership, WebSocketConnection),
    ) -> Result<Arc<Membership>, GroupError> {
        connection.get_or_attach(ended).ok_or(GroupError::Closed)
    }

    /// Notes that the connection has ended and cannot join any more. Returns the groups that it has
    /// to leave.
    pub(super) fn end(&self) -> Vec<ConnectionGroup> {
        let mut state = self.state.lock();
        state.is_over = true;
        state.groups.clone()
    }

    /// The group of the last `set_group`.
    pub(super) fn current(&self) -> Option<ConnectionGroup> {
        self.state.lock().current
    }

    /// All groups that the connection is in.
    pub(super) fn groups(&self) -> Vec<ConnectionGroup> {
        self.state.lock().groups.clone()
    }
}

impl State {
    fn check_room(&self, connection: WebSocketConnection) -> Result<(), GroupError> {
        let limit = connection.max_groups().unwrap_or(usize::MAX);
        if self.groups.len() < limit { Ok(()) } else { Err(GroupError::TooManyGroups { limit }) }
    }
}
