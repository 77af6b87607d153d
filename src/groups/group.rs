use std::fmt;
use std::sync::atomic::Ordering;

use super::error::GroupError;
use super::event::{GROUP, GroupEvent};
use super::handle::ConnectionGroup;
use super::membership::JoinKind;
use super::stats::add;
use crate::emitter::listener_methods;
use crate::protocol::Opcode;
use crate::websocket::{Message, SlowMemberPolicy, Text, WebSocketConnection, broadcast_to_group, cork};

impl ConnectionGroup {
    /// The name. Empty if the group is gone, which it is not yet in `destroy` listeners.
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

    /// Takes a connection out. Returns `false` if it was not in.
    ///
    /// This calls listeners: release your own locks first, as for [`GroupManager::join`](crate::GroupManager::join).
    pub fn remove(&self, connection: WebSocketConnection) -> bool {
        self.leave(connection)
    }

    /// Whether a connection is in.
    pub fn contains(&self, connection: WebSocketConnection) -> bool {
        self.read().is_some_and(|state| state.members.contains(&connection))
    }

    /// How many connections are in.
    pub fn len(&self) -> usize {
        self.read().map_or(0, |state| state.members.len())
    }

    /// Whether the group has no members: it is about to begin or to end, or gone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connections that are in now.
    pub fn members(&self) -> Vec<WebSocketConnection> {
        self.read().map(|state| state.members.iter().copied().collect()).unwrap_or_default()
    }

    /// Sends a text message to all members. It is encoded once and never waits: a member that is a
    /// slow consumer reaches its own limit.
    ///
    /// All members get the messages of their group in one order, whichever threads write them.
    pub fn write(&self, text: impl AsRef<str>) {
        self.broadcast(Opcode::Text, text.as_ref().as_bytes(), None);
    }

    /// The same under ReactPHP's name, `writeAll`.
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

    /// Sends a message to all members as what it is: text or binary.
    pub fn write_message(&self, message: &Message) {
        self.broadcast_message(message, None);
    }

    /// Sends a message to all members but one as what it is: text or binary.
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
    /// As [`write_json`](ConnectionGroup::write_json).
    #[cfg(feature = "json")]
    pub fn write_json_except(
        &self,
        member: WebSocketConnection,
        value: &(impl serde::Serialize + ?Sized),
    ) -> Result<(), serde_json::Error> {
        self.broadcast(Opcode::Text, &serde_json::to_vec(value)?, Some(member));
        Ok(())
    }

    /// [Closes](WebSocketConnection::close_with) all members. They leave when they are closed. The reason is first, as in
    /// ReactPHP.
    ///
    /// A message that another thread writes to the group meanwhile reaches either all of these members or none.
    pub fn close_all(&self, reason: impl AsRef<str>, code: u16) {
        let reason = reason.as_ref();
        cork(|| {
            let members = self.members();
            let _order = self.slot().order.lock();
            members.iter().for_each(|member| member.close_with(code, reason));
        });
    }

    /// What is done about members that read too slowly; by default nothing, until they meet their own hard limit. It is best
    /// set in the manager's `create` listener.
    pub fn set_slow_member_policy(&self, policy: SlowMemberPolicy) {
        if let Some(mut state) = self.write_state() {
            state.policy = policy;
        }
    }

    /// How many messages members have missed, because they read too slowly; see [`SlowMemberPolicy`].
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

    /// Over the connections that are in now.
    fn into_iter(self) -> Self::IntoIter {
        self.members().into_iter()
    }
}

impl IntoIterator for &ConnectionGroup {
    type Item = WebSocketConnection;
    type IntoIter = std::vec::IntoIter<WebSocketConnection>;

    /// Over the connections that are in now.
    fn into_iter(self) -> Self::IntoIter {
        self.members().into_iter()
    }
}

impl fmt::Debug for ConnectionGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionGroup({}, {:?})", self.number, self.name())
    }
}
