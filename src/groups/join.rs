//! How connections get into groups and out of them.

use std::sync::Arc;

use dashmap::mapref::entry::Entry;

use super::error::GroupError;
use super::event::Happening;
use super::handle::ConnectionGroup;
use super::membership::{Choice, Membership};
use super::registry::Registry;
use crate::websocket::WebSocketConnection;

impl Registry {
    pub(super) fn join_as(
        self: &Arc<Registry>,
        name: &str,
        connection: WebSocketConnection,
        choice: Choice,
    ) -> Result<ConnectionGroup, GroupError> {
        if !connection.is_writable() {
            return Err(GroupError::Closed);
        }
        if let Some(limit) = connection.max_group_name()
            && name.len() > limit
        {
            return Err(GroupError::NameTooLong { length: name.len(), limit });
        }
        // A group that can be found is not gone: it is unlisted under the lock of its entry.
        let found = self.groups.get(name).map(|group| group.expect_one());
        let group = match found {
            Some(group) => group,
            None => {
                // A connection that cannot enter makes no group.
                Membership::of(connection, leave_all)?.ask_for_room(connection)?;
                self.find_or_begin(name)
            }
        };
        self.tell();
        group.admit(connection, choice).map(|()| group)
    }

    /// The group of that name, in which one more is expected.
    fn find_or_begin(self: &Arc<Registry>, name: &str) -> ConnectionGroup {
        // A copy of the name: the app's may keep more memory, and do anything when it is dropped.
        match self.groups.entry(name.into()) {
            Entry::Occupied(entry) => entry.get().expect_one(),
            Entry::Vacant(entry) => {
                let group = ConnectionGroup::begin(entry.key().clone(), self.clone());
                // Before others find it, so that nothing of it is told before it.
                self.events.push(Happening::Create(group));
                entry.insert(group);
                group
            }
        }
    }
}

impl ConnectionGroup {
    /// Lets a connection in that is expected, or does not expect it any more.
    pub(super) fn admit(&self, connection: WebSocketConnection, choice: Choice) -> Result<(), GroupError> {
        // Before the lock is taken, since a connection that has just ended leaves its other groups here.
        let membership = Membership::of(connection, leave_all);
        let mut state = self.write_state().ok_or(GroupError::Gone)?;
        state.expected = state.expected.saturating_sub(1);
        let is_in = state.members.contains(&connection);
        let admitted = membership.and_then(|membership| membership.enter(connection, *self, is_in, choice));
        if admitted.is_ok() && state.members.insert(connection) {
            state.has_happened(Happening::Join(*self, connection.keep()));
        }
        let registry = self.end_if_empty(state);
        // The one that was chosen before, by somebody else at the same time. It is left before a listener can choose again.
        if let Ok(Some(former)) = &admitted {
            former.leave(connection);
        }
        if let Some(registry) = registry {
            registry.tell();
        }
        admitted.map(drop)
    }

    /// Takes a connection out. `false` if it was not in.
    pub(super) fn leave(&self, connection: WebSocketConnection) -> bool {
        let Some(mut state) = self.write_state() else { return false };
        if !state.members.swap_remove(&connection) {
            return false;
        }
        // First, since the end of a connection does not come by any more where it is forgotten.
        let kept = connection.keep();
        Membership::forget(connection, *self);
        state.has_happened(Happening::Leave(*self, kept));
        if let Some(registry) = self.end_if_empty(state) {
            registry.tell();
        }
        true
    }
}

/// The connection has ended: it leaves all its groups.
fn leave_all(membership: &Membership, connection: WebSocketConnection) {
    for group in membership.end() {
        group.leave(connection);
    }
}
