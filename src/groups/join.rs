//! Joining and leaving groups.

use std::sync::Arc;

use dashmap::mapref::entry::Entry;

use super::error::GroupError;
use super::event::GroupEvent;
use super::handle::ConnectionGroup;
use super::membership::{JoinKind, Membership};
use super::registry::Registry;
use crate::websocket::WebSocketConnection;

impl Registry {
    /// Adds a connection to the group of that name. Creates the group if it does not exist.
    pub(super) fn join_as(
        self: &Arc<Registry>,
        name: &str,
        connection: WebSocketConnection,
        kind: JoinKind,
    ) -> Result<ConnectionGroup, GroupError> {
        if !connection.is_writable() {
            return Err(GroupError::Closed);
        }
        if let Some(limit) = connection.max_group_name()
            && name.len() > limit
        {
            return Err(GroupError::NameTooLong { length: name.len(), limit });
        }
        // A group in the map still exists: it is removed under the lock of its entry.
        let found = self.groups.get(name).map(|group| group.expect_join());
        let group = match found {
            Some(group) => group,
            None => {
                // A connection that cannot join creates no group.
                Membership::of(connection, leave_all)?.check_room(connection)?;
                self.find_or_begin(name)
            }
        };
        self.emit_pending();
        group.admit(connection, kind).map(|()| group)
    }

    /// Returns the group of that name, reserved for one more connection that is about to join.
    /// Creates it if it does not exist.
    fn find_or_begin(self: &Arc<Registry>, name: &str) -> ConnectionGroup {
        // A copy of the name. The app's own may occupy more memory, and do anything when it is
        // dropped.
        match self.groups.entry(name.into()) {
            Entry::Occupied(entry) => entry.get().expect_join(),
            Entry::Vacant(entry) => {
                let group = ConnectionGroup::begin(entry.key().clone(), self.clone());
                // Must be before the group can be found, so that `create` is its first event.
                self.events.push(GroupEvent::Create(group));
                entry.insert(group);
                group
            }
        }
    }
}

impl ConnectionGroup {
    /// Adds an expected connection. If that fails, the group no longer expects it.
    pub(super) fn admit(&self, connection: WebSocketConnection, kind: JoinKind) -> Result<(), GroupError> {
        // Must be before the group is locked, since a connection that has just ended leaves its
        // other groups here.
        let membership = Membership::of(connection, leave_all);
        let mut state = self.write_state().ok_or(GroupError::Gone)?;
        state.joining = state.joining.saturating_sub(1);
        let is_in = state.members.contains(&connection);
        let admitted = membership.and_then(|membership| membership.enter(connection, *self, is_in, kind));
        if admitted.is_ok() && state.members.insert(connection) {
            state.push_event(GroupEvent::Join(*self, connection.keep()));
        }
        let registry = self.push_emptied(state);
        // Another thread has put the connection into this group at the same time. It leaves before
        // a listener can call `set_group` again.
        if let Ok(Some(former)) = &admitted {
            former.leave(connection);
        }
        if let Some(registry) = registry {
            registry.emit_pending();
        }
        admitted.map(drop)
    }

    /// Removes a connection. Returns `false` if it was not a member.
    pub(super) fn leave(&self, connection: WebSocketConnection) -> bool {
        let Some(mut state) = self.write_state() else { return false };
        if !state.members.swap_remove(&connection) {
            return false;
        }
        // Must be first. Once the membership is forgotten, the end of the connection no longer
        // concerns this group.
        let kept = connection.keep();
        Membership::forget(connection, *self);
        state.push_event(GroupEvent::Leave(*self, kept));
        if let Some(registry) = self.push_emptied(state) {
            registry.emit_pending();
        }
        true
    }
}

/// Removes a connection that has ended from all its groups.
fn leave_all(membership: &Membership, connection: WebSocketConnection) {
    for group in membership.end() {
        group.leave(connection);
    }
}
