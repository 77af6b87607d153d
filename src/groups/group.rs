use std::fmt;

use parking_lot::RwLockReadGuard;

use super::error::GroupError;
use super::event::{Argument, GAP, GROUP, GroupEvent};
use super::handle::ConnectionGroup;
use super::membership::JoinKind;
use super::slot::State;
use super::stats::add;
use crate::emitter::{Contained, ListenerId, ListenerOutput, Rank, listener_methods};
use crate::protocol::Opcode;
use crate::sync::atomic::Ordering;
use crate::websocket::{Message, SlowMemberPolicy, Text, WebSocketConnection, broadcast_to_group, cork};

impl ConnectionGroup {
    /// Returns the group's name. Returns an empty name after the group has been destroyed. In
    /// `destroy` listeners the group still has its name.
    pub fn name(&self) -> Text {
        self.read().map(|state| state.name.clone()).unwrap_or_default()
    }

    /// Adds a connection to the group. `join` fires, unless the connection is already a member.
    ///
    /// This calls listeners: release your own locks first, as for [`GroupManager::join`](crate::GroupManager::join).
    ///
    /// # Errors
    /// [`GroupError::Gone`] if the group has been destroyed, [`GroupError::Closed`] if the
    /// connection has ended or is closing, [`GroupError::TooManyGroups`] if the connection has
    /// reached its limit.
    pub fn add(&self, connection: WebSocketConnection) -> Result<(), GroupError> {
        self.write_state().filter(|state| !state.is_over).ok_or(GroupError::Gone)?.joining += 1;
        self.admit(connection, JoinKind::Additional)
    }

    /// Removes a connection from the group. `leave` fires if the connection was a member. Returns
    /// `false` if it was not.
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

    /// Returns whether the group has no members: before the first member joins, after the last
    /// member has left, and after the group has been destroyed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the members at this moment.
    pub fn members(&self) -> Vec<WebSocketConnection> {
        self.read().map(|state| state.members.iter().copied().collect()).unwrap_or_default()
    }

    /// Sends a text message to all members. The message is encoded once, and the call never waits
    /// for slow consumers. The [policy](ConnectionGroup::set_slow_member_policy) of the group sets
    /// what happens to them.
    ///
    /// All members get the messages of their group in the same order, also when several threads
    /// write.
    ///
    /// If the policy drops messages, this method may call listeners of `drop` on this thread. So do
    /// not hold a lock that they take.
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

    /// Sends a text message to all members except `member`.
    pub fn write_except(&self, member: WebSocketConnection, text: impl AsRef<str>) {
        self.broadcast(Opcode::Text, text.as_ref().as_bytes(), Some(member));
    }

    /// Sends a binary message to all members except `member`.
    pub fn write_binary_except(&self, member: WebSocketConnection, bytes: impl AsRef<[u8]>) {
        self.broadcast(Opcode::Binary, bytes.as_ref(), Some(member));
    }

    /// Sends a text or binary message to all members.
    pub fn write_message(&self, message: &Message) {
        self.broadcast_message(message, None);
    }

    /// Sends a text or binary message to all members except `member`.
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
    /// If the value cannot be converted to JSON, for example a map whose keys are not strings. In
    /// this case no message is sent.
    #[cfg(feature = "json")]
    pub fn write_json(&self, value: &(impl serde::Serialize + ?Sized)) -> Result<(), serde_json::Error> {
        self.broadcast(Opcode::Text, &serde_json::to_vec(value)?, None);
        Ok(())
    }

    /// Sends a value as JSON, in a text message, to all members except `member`.
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

    /// [Closes](WebSocketConnection::close_with) all members with this reason and this code. Each
    /// member leaves the group when it has closed. The reason is the first argument, as in
    /// ReactPHP.
    ///
    /// If another thread writes a message to the group at the same time, either all these members
    /// get the message, or no member gets it.
    pub fn close_all(&self, reason: impl AsRef<str>, code: u16) {
        self.close_everywhere(code, reason.as_ref());
    }

    /// Closes the members of this process only.
    pub(super) fn close_here(&self, code: u16, reason: &str) {
        self.close_these(&self.members(), code, reason);
    }

    pub(super) fn close_these(&self, members: &[WebSocketConnection], code: u16, reason: &str) {
        cork(|| {
            let _order = self.slot().order.lock();
            members.iter().for_each(|member| member.close_with(code, reason));
        });
    }

    /// Sets what happens to members that are slow consumers. Default: [`SlowMemberPolicy::Keep`].
    /// Set the policy in the manager's `create` listener, so that it applies from the first
    /// message.
    pub fn set_slow_member_policy(&self, policy: SlowMemberPolicy) {
        if let Some(mut state) = self.write_state() {
            state.policy = policy;
        }
    }

    /// Returns how many messages members have missed because they were slow consumers, see
    /// [`SlowMemberPolicy`]. A message that two members miss counts twice. Returns 0 after the
    /// group has been destroyed.
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

    /// Returns whether the group exists.
    pub(super) fn broadcast(&self, opcode: Opcode, payload: &[u8], except: Option<WebSocketConnection>) -> bool {
        // The members stay locked while messages are added to their outboxes, which calls no
        // listener, but not during flushes.
        cork(|| {
            let Some(state) = self.read() else { return false };
            if state.is_clustered {
                self.broadcast_everywhere(state, opcode, payload, except);
                return true;
            }
            let members = state.members.iter().copied().filter(|member| Some(*member) != except);
            let (order, number) = (&self.slot().order, self.number.get());
            let missed = broadcast_to_group(members, order, opcode, payload, number, state.policy);
            if !missed.is_empty() {
                self.report_missed(state, missed);
            }
            true
        })
    }

    /// Counts missed messages, and emits `drop`.
    #[inline(never)]
    pub(super) fn report_missed(&self, state: RwLockReadGuard<'static, State>, missed: Vec<(WebSocketConnection, u64)>) {
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
    }
}

/// # Listeners
///
/// The events are `join`, `leave` and `drop`. `gap` has a method of its own, since its listeners take a
/// number.
impl ConnectionGroup {
    /// Calls `listener` for every future `gap` event, with the number of missing messages. The event
    /// fires when messages of another node to this group were lost, before the next message is
    /// written to the members. Returns the id for `remove_listener`.
    ///
    /// Only managers with a [backplane](crate::GroupManager::with_backplane) emit this event. A
    /// listener that panics or returns `Err` is reported on stderr, or logged with the feature
    /// `tracing`.
    ///
    /// ```
    /// use react_websocket::GroupManager;
    ///
    /// let groups = GroupManager::new();
    /// groups.on("create", |group| {
    ///     group.on_gap(move |messages| group.write(format!("{messages} messages were lost")));
    /// });
    /// ```
    pub fn on_gap<F, R>(&self, listener: F) -> ListenerId
    where
        F: FnMut(u64) -> R + Send + 'static,
        R: ListenerOutput,
    {
        let listener = Contained::new(listener);
        let Some(listeners) = self.listeners() else { return ListenerId::new(GAP) };
        let mut listener = listener.into_inner();
        ListenerId::of(GAP, listeners.add(GAP, Rank::On, move |argument: &Argument| listener(argument.count())))
    }

    listener_methods! {
        GROUP,
        FnMut(WebSocketConnection),
        |listener, argument: &Argument| listener(argument.member()),
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
