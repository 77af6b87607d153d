use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use indexmap::IndexSet;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::error::GroupError;
use super::event::{GROUP, Happening};
use super::manager::GroupManager;
use super::membership::{Choice, Membership};
use crate::emitter::{Listeners, listener_methods};
use crate::protocol::Opcode;
use crate::runtime::slab::Slots;
use crate::runtime::watchdog;
use crate::websocket::{Kept, Message, Order, SlowMemberPolicy, Text, WebSocketConnection, broadcast_to_group, cork};

/// A group of connections, as an address: `Copy`, 16 bytes, usable from any thread. ReactPHP's `ConnectionGroup`.
///
/// A group exists exactly while it has members: the first that joins makes it, the last that leaves ends it, and its name
/// can then be made anew. A handle that outlives its group answers that nobody is in it; it never reaches a later group.
///
/// | Event | Listeners take | Fires |
/// |---|---|---|
/// | `join` | `WebSocketConnection` | once for each member, when it is in |
/// | `leave` | `WebSocketConnection` | once for each `join`, when it is out: by itself, or because it closed; what is [attached](WebSocketConnection::get) to it is still there |
/// | `drop` | `WebSocketConnection` | for each message by which a member has missed something, see [`SlowMemberPolicy`] |
///
/// Listeners are usually registered in the manager's `create` listener, so that they miss nobody. They are synchronous, run
/// where the change was made, and one at a time for all groups of a manager; what a listener itself changes is told after
/// it. A listener that panics or returns `Err` fails the member's connection. If that has ended or failed already, the error is a line on stderr, or an event with the feature `tracing`.
///
/// ```
/// use react_websocket::GroupManager;
///
/// let groups = GroupManager::new();
/// groups.on("create", |group| {
///     group.on("join", move |member| {
///         group.write_except(member, "somebody has come");
///     });
///     group.on("leave", move |_member| group.write("somebody has left"));
/// });
/// ```
#[derive(Clone, Copy)]
pub struct ConnectionGroup {
    slot: u32,
    /// Not 0, so that an `Option` of a handle is no larger.
    number: NonZeroU64,
}

/// What a handle points to. As with connections, slots are used again and never freed, and a number that no two groups of a
/// process share tells whether the group is still there.
#[derive(Default)]
struct Slot {
    state: RwLock<State>,
    /// Of what is written to all members. Locked after the state.
    order: Order,
}

static SLOTS: Slots<Slot> = Slots::new();

#[derive(Default)]
struct State {
    /// 0 if the slot is free.
    number: u64,
    name: Text,
    members: IndexSet<WebSocketConnection>,
    /// Connections that are about to join: `create` is being told first. The group does not end before they are in.
    expected: usize,
    /// What has happened in the group and not been told yet.
    untold: AtomicUsize,
    /// `destroy` is being told: nobody can enter any more.
    over: bool,
    policy: SlowMemberPolicy,
    dropped: AtomicU64,
    /// A manager lives as long as it has groups.
    manager: Option<GroupManager>,
    listeners: Arc<Listeners<u8, WebSocketConnection>>,
}

impl ConnectionGroup {
    /// The name. Empty if the group is gone, which it is not yet in `destroy` listeners.
    pub fn name(&self) -> Text {
        self.read().map(|state| state.name.clone()).unwrap_or_default()
    }

    /// Adds a connection. If it is a member already, no event fires.
    ///
    /// This calls listeners: release your own locks first, as for [`GroupManager::join`].
    ///
    /// # Errors
    /// [`GroupError::Gone`]; [`GroupError::Closed`] and [`GroupError::TooManyGroups`] of the connection.
    pub fn add(&self, connection: WebSocketConnection) -> Result<(), GroupError> {
        self.write_state().filter(|state| !state.over).ok_or(GroupError::Gone)?.expected += 1;
        self.admit(connection, Choice::OneMore)
    }

    /// Takes a connection out. Returns `false` if it was not in.
    ///
    /// This calls listeners: release your own locks first, as for [`GroupManager::join`].
    pub fn remove(&self, connection: WebSocketConnection) -> bool {
        let Some(mut state) = self.write_state() else { return false };
        if !state.members.swap_remove(&connection) {
            return false;
        }
        // First, since the end of a connection does not come by any more where it is forgotten.
        let kept = connection.keep();
        Membership::forget(connection, *self);
        state.has_happened(Happening::Leave(*self, kept));
        self.tell_all(state);
        true
    }

    /// Whether a connection is in.
    pub fn contains(&self, connection: WebSocketConnection) -> bool {
        self.read().is_some_and(|state| state.members.contains(&connection))
    }

    /// How many connections are in.
    pub fn len(&self) -> usize {
        self.read().map_or(0, |state| state.members.len())
    }

    /// Whether nobody is in: the group is about to begin or to end, or gone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connections that are in now.
    pub fn members(&self) -> Vec<WebSocketConnection> {
        self.read().map(|state| state.members.iter().copied().collect()).unwrap_or_default()
    }

    /// Sends a text message to all members. It is encoded once, and waits for nobody: a member that reads too slowly meets
    /// its own limit.
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
        // The members stay locked while they are written to, which calls nobody, but not while sockets are.
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
            state.manager.iter().for_each(|manager| manager.note_dropped(dropped));
            for (member, _) in missed {
                state.has_happened(Happening::Drop(*self, member.keep()));
            }
            let manager = state.manager.clone();
            drop(state);
            manager.iter().for_each(GroupManager::tell);
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

/// What the manager uses.
impl ConnectionGroup {
    /// A group in a free slot, that nobody is in and one is expected in.
    pub(super) fn begin(name: Text, manager: GroupManager) -> ConnectionGroup {
        let (slot, number) = SLOTS.take();
        if slot != u32::MAX {
            *SLOTS.get(slot).state.write() =
                State { number: number.get(), name, expected: 1, manager: Some(manager), ..State::default() };
        }
        ConnectionGroup { slot, number }
    }

    /// Frees the slot: the group is gone.
    pub(super) fn end(self) {
        let Some(mut state) = self.write_state() else { return };
        let before = std::mem::take(&mut *state);
        drop(state);
        // Outside of the lock: what listeners captured may do anything when it is dropped.
        drop(before);
        SLOTS.give_back(self.slot);
    }

    /// Expects one more connection to be [admitted](ConnectionGroup::admit), and returns the group.
    pub(super) fn expect_one(&self) -> ConnectionGroup {
        if let Some(mut state) = self.write_state() {
            state.expected += 1;
        }
        *self
    }

    /// Lets a connection in that is expected, or does not expect it any more.
    pub(super) fn admit(&self, connection: WebSocketConnection, choice: Choice) -> Result<(), GroupError> {
        // Before the lock is taken, since a connection that has just ended leaves its other groups here.
        let membership = Membership::of(connection);
        let mut state = self.write_state().ok_or(GroupError::Gone)?;
        state.expected = state.expected.saturating_sub(1);
        let is_in = state.members.contains(&connection);
        let admitted = membership.and_then(|membership| membership.enter(connection, *self, is_in, choice));
        if admitted.is_ok() && state.members.insert(connection) {
            state.has_happened(Happening::Join(*self, connection.keep()));
        }
        let manager = self.end_if_empty(state);
        // The one that was chosen before, by somebody else at the same time. It is left before a listener can choose again.
        if let Ok(Some(former)) = &admitted {
            former.remove(connection);
        }
        manager.iter().for_each(GroupManager::tell);
        admitted.map(drop)
    }

    /// Has everything told that has happened, and the end if nobody is in.
    fn tell_all(&self, state: RwLockWriteGuard<'static, State>) {
        self.end_if_empty(state).iter().for_each(GroupManager::tell);
    }

    fn end_if_empty(&self, state: RwLockWriteGuard<'static, State>) -> Option<GroupManager> {
        if state.members.is_empty() {
            state.has_happened(Happening::Emptied(*self));
        }
        state.manager.clone()
    }

    /// Begins the end, if nobody is in and nobody is expected. To be called under the lock of the list.
    pub(super) fn close_if_empty(&self) -> bool {
        let Some(mut state) = self.write_state() else { return false };
        // Who came and went since is told of first; that leave is followed by another look.
        state.over = state.members.is_empty() && state.expected == 0 && state.untold.load(Ordering::Relaxed) == 0;
        state.over
    }

    /// Calls the listeners of an event. No lock is held.
    pub(super) fn tell(&self, event: u8, kept: Kept) {
        let member = kept.connection();
        if let Some(state) = self.read() {
            let listeners = state.listeners.clone();
            state.untold.fetch_sub(1, Ordering::Relaxed);
            drop(state);
            let name = GROUP.name(event);
            watchdog::in_event(name, || {
                listeners.emit(&event, &member, |error| member.listener_failed(name, error));
            });
        }
    }

    fn listeners(&self) -> Option<Arc<Listeners<u8, WebSocketConnection>>> {
        self.read().map(|state| state.listeners.clone())
    }

    fn slot(&self) -> &'static Slot {
        SLOTS.get(self.slot)
    }

    fn read(&self) -> Option<RwLockReadGuard<'static, State>> {
        let state = self.slot().state.read();
        (state.number == self.number.get()).then_some(state)
    }

    fn write_state(&self) -> Option<RwLockWriteGuard<'static, State>> {
        let state = self.slot().state.write();
        (state.number == self.number.get()).then_some(state)
    }
}

impl State {
    /// Notes what has happened, under the lock that it happened under, so that the order of telling is that of happening.
    fn has_happened(&self, happening: Happening) {
        if !matches!(happening, Happening::Emptied(_)) {
            self.untold.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(manager) = &self.manager {
            manager.push(happening);
        }
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

impl PartialEq for ConnectionGroup {
    fn eq(&self, other: &ConnectionGroup) -> bool {
        self.number == other.number
    }
}

impl Eq for ConnectionGroup {}

impl Hash for ConnectionGroup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl fmt::Debug for ConnectionGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionGroup({}, {:?})", self.number, self.name())
    }
}
