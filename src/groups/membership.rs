use std::sync::Arc;

use parking_lot::Mutex;

use super::error::GroupError;
use super::handle::ConnectionGroup;
use crate::websocket::WebSocketConnection;

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

    /// That of a connection, made if there is none. `ended` is called with it when the connection has ended.
    pub(super) fn of(
        connection: WebSocketConnection,
        ended: fn(&Membership, WebSocketConnection),
    ) -> Result<Arc<Membership>, GroupError> {
        connection.get_or_attach(ended).ok_or(GroupError::Closed)
    }

    /// The connection has ended: nobody can enter any more. Returns the groups that it has to leave.
    pub(super) fn end(&self) -> Vec<ConnectionGroup> {
        let mut state = self.state.lock();
        state.over = true;
        state.groups.clone()
    }

    /// The group that `set_group` chose.
    pub(super) fn current(&self) -> Option<ConnectionGroup> {
        self.state.lock().current
    }

    /// All groups that the connection is in.
    pub(super) fn groups(&self) -> Vec<ConnectionGroup> {
        self.state.lock().groups.clone()
    }
}

impl State {
    fn ask_for_room(&self, connection: WebSocketConnection) -> Result<(), GroupError> {
        let limit = connection.max_groups().unwrap_or(usize::MAX);
        if self.groups.len() < limit { Ok(()) } else { Err(GroupError::TooManyGroups { limit }) }
    }
}
