use std::fmt;

use super::error::GroupError;
use super::event::{GROUP, GroupEvent};
use super::handle::ConnectionGroup;
use super::membership::JoinKind;
use super::stats::add;
use crate::emitter::listener_methods;
use crate::protocol::Opcode;
use crate::sync::atomic::Ordering;
use crate::websocket::{Message, SlowMemberPolicy, Text, WebSocketConnection, broadcast_to_group, cork};

impl ConnectionGroup {
    /// Returns the group's name. It is empty once the group is gone. In `destroy` listeners the
    /// group still has its name.
    pub fn name(&self) -> Text {
        self.read().map(|state| state.name.clone()).unwrap_or_default()
    }

    /// Adds a connection. If it is a member already, no event fires.
    ///
    /// This calls listeners: release your own locks first, as for [`GroupManager::join`](crate::GroupManager::join).
    ///
    /// # Errors
    /// [`GroupError::Gone`]; [`GroupError::Closed`] and [`GroupError::TooManyGroups`] of the connection.
    pub fn add(&self, connection: WebSocketConnection) -> Result<(), GroupError> {
        self.write_state().filter(|state| !state.is_over).ok_or(GroupError::Gone)?.joining += 1;
        self.admit(connection, JoinKind::Additional)
    }

    /// Removes a connection. Returns `false` if it was not a member.
    ///
    /// This calls listeners: release your own locks first, as for [`GroupManager::join`](crate::GroupManager::join).
    pub fn remove(&self, connection: WebSocketConnection) -> bool {
        self.leave(connection)
    }

    /// Returns whether a connection is a member.
    pub fn contains(&self, connection: WebSocketConnection) -> bool {
        self.read().is_some_and(|state| state.members.contains(&connection))
    }

    /// Returns the number of members.
    pub fn len(&self) -> usize {
        self.read().map_or(0, |state| state.members.len())
    }

    /// Returns whether the group has no members: before the first one joins, after the last one has
    /// left, or once it is gone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the members.
    pub fn members(&self) -> Vec<WebSocketConnection> {
        self.read().map(|state| state.members.iter().copied().collect()).unwrap_or_default()
    }

    /// Sends a text message to all members. The message is encoded once, and the call never waits:
    /// a member that is a slow consumer exceeds its own limit.
    ///
    /// All members get the messages of their group in the same order, whichever threads write them.
    pub fn write(&self, text: impl AsRef<str>) {
        self.broadcast(Opcode::Text, text.as_ref().as_bytes(), None);
    }

    /// Sends a text message to all members: [`write`](ConnectionGroup::write) under ReactPHP's
    /// name, `writeAll`.
    pub fn write_all(&self, text: impl AsRef<str>) {
        self.write(text);
    }

    /// Sends a binary message to all members.
    pub fn write_binary(&self, bytes: impl AsRef<[u8]>) {
        self.broadcast(Opcode::Binary, bytes.as_ref(), None);
    }

    /// Sends a text message to all members but one.
    pub fn write_except(&self, member: WebSocketConnection, text: impl AsRef<str>) {
        self.broadcast(Opcode::Text, text.as_ref().as_bytes(), Some(member));
    }

    /// Sends a binary message to all members but one.
    pub fn write_binary_except(&self, member: WebSocketConnection, bytes: impl AsRef<[u8]>) {
        self.broadcast(Opcode::Binary, bytes.as_ref(), Some(member));
    }

    /// Sends a text or binary message to all members.
    pub fn write_message(&self, message: &Message) {
        self.broadcast_message(message, None);
    }

    /// Sends a text or binary message to all members but one.
    ///
    /// ```
    /// # use react_websocket::{Message, WebSocketConnection};
    /// # fn serve(connection: WebSocketConnection) {
    /// connection.on("message", move |message: Message| {
    ///     if let Some(group) = connection.group() {
    ///         group.write_message_except(connection, &message);
    ///     }
    /// });
    /// # }
    /// ```
    pub fn write_message_except(&self, member: WebSocketConnection, message: &Message) {
        self.broadcast_message(message, Some(member));
    }

    /// Sends a value as JSON, in a text message, to all members.
    ///
    /// # Errors
    /// If the value cannot be JSON, such as a map whose keys are not strings. Nothing is sent then.
    #[cfg(feature = "json")]
    pub fn write_json(&self, value: &(impl serde::Serialize + ?Sized)) -> Result<(), serde_json::Error> {
        self.broadcast(Opcode::Text, &serde_json::to_vec(value)?, None);
        Ok(())
    }

    /// Sends a value as JSON, in a text message, to all members but one.
    ///
    /// # Errors
    /// Like [`write_json`](ConnectionGroup::write_json).
    #[cfg(feature = "json")]
    pub fn write_json_except(
        &self,
        member: WebSocketConnection,
        value: &(impl serde::Serialize + ?Sized),
    ) -> Result<(), serde_json::Error> {
        self.broadcast(Opcode::Text, &serde_json::to_vec(value)?, Some(member));
        Ok(())
    }

    /// [Closes](WebSocketConnection::close_with) all members. Each member leaves when it has
    /// closed. The reason is the first argument, as in ReactPHP.
    ///
    /// A message that another thread writes to the group meanwhile reaches either all of these
    /// members or none.
    pub fn close_all(&self, reason: impl AsRef<str>, code: u16) {
        let reason = reason.as_ref();
        cork(|| {
            let members = self.members();
            let _order = self.slot().order.lock();
            members.iter().for_each(|member| member.close_with(code, reason));
        });
    }

    /// Sets what happens to members that are slow consumers. Default: [`SlowMemberPolicy::Keep`].
    /// Set it in the manager's `create` listener, so that it applies from the first message.
    pub fn set_slow_member_policy(&self, policy: SlowMemberPolicy) {
        if let Some(mut state) = self.write_state() {
            state.policy = policy;
        }
    }

    /// Returns how many messages members have missed as slow consumers; see [`SlowMemberPolicy`].
    pub fn dropped(&self) -> u64 {
        self.read().map_or(0, |state| state.dropped.load(Ordering::Relaxed))
    }

    fn broadcast_message(&self, message: &Message, except: Option<WebSocketConnection>) {
        let opcode = match message {
            Message::Text(_) => Opcode::Text,
            Message::Binary(_) => Opcode::Binary,
        };
        self.broadcast(opcode, message.as_bytes(), except);
    }

    fn broadcast(&self, opcode: Opcode, payload: &[u8], except: Option<WebSocketConnection>) {
        // The members stay locked while messages are added to their outboxes, which calls no
        // listener, but not during flushes.
        cork(|| {
            let Some(state) = self.read() else { return };
            let members = state.members.iter().copied().filter(|member| Some(*member) != except);
            let (order, number) = (&self.slot().order, self.number.get());
            let missed = broadcast_to_group(members, order, opcode, payload, number, state.policy);
            if missed.is_empty() {
                return;
            }
            let dropped = missed.iter().map(|(_, count)| count).sum();
            state.dropped.fetch_add(dropped, Ordering::Relaxed);
            let registry = state.registry.clone();
            if let Some(registry) = &registry {
                add(&registry.counts.dropped, dropped);
            }
            for (member, _) in missed {
                state.push_event(GroupEvent::Drop(*self, member.keep()));
            }
            drop(state);
            if let Some(registry) = registry {
                registry.emit_pending();
            }
        });
    }
}

/// # Listeners
///
/// The events are `join`, `leave` and `drop`.
impl ConnectionGroup {
    listener_methods! {
        GROUP,
        FnMut(WebSocketConnection),
        |listener, member: &WebSocketConnection| listener(*member),
        |group| group.listeners(),
    }
}

impl IntoIterator for ConnectionGroup {
    type Item = WebSocketConnection;
    type IntoIter = std::vec::IntoIter<WebSocketConnection>;

    /// Iterates over the members.
    fn into_iter(self) -> Self::IntoIter {
        self.members().into_iter()
    }
}

impl IntoIterator for &ConnectionGroup {
    type Item = WebSocketConnection;
    type IntoIter = std::vec::IntoIter<WebSocketConnection>;

    /// Iterates over the members.
    fn into_iter(self) -> Self::IntoIter {
        self.members().into_iter()
    }
}

impl fmt::Debug for ConnectionGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionGroup({}, {:?})", self.number, self.name())
    }
}
