use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::error::GroupError;
use super::event::{CREATE, DESTROY, DROP, Happening, JOIN, LEAVE, MANAGER};
use super::group::ConnectionGroup;
use super::membership::{Choice, Membership};
use super::stats::{Counts, GroupStats, add};
use crate::emitter::{Contained, Listeners, Turnstile, listener_methods};
use crate::runtime::trace;
use crate::runtime::watchdog;
use crate::websocket::{Text, WebSocketConnection, cork};

/// The groups of a server: ReactPHP's `GroupManager`. Clones are the same manager.
///
/// Groups come and go by themselves: see [`ConnectionGroup`].
///
/// | Event | Listeners take | Fires |
/// |---|---|---|
/// | `create` | [`ConnectionGroup`] | once for each group, before its first member is in, and always before its first `join` |
/// | `destroy` | [`ConnectionGroup`] | once for each `create`, when the last member has left |
///
/// `created` and `destroyed` are accepted for the same events. Listeners are synchronous and run where the change was made,
/// one at a time for the manager and all its groups; what a listener itself changes, or another thread meanwhile, is told
/// after it. A listener that panics or returns `Err` does not keep the others from being called. Its error is a line on stderr, or an
/// event of the feature `tracing`.
///
/// ```
/// use react_websocket::{GroupManager, WebSocketConnection, WebSocketMiddleware};
///
/// let groups = GroupManager::new();
/// groups.on("create", |group| println!("{} is there", group.name()));
/// groups.on("destroy", |group| println!("{} is gone", group.name()));
///
/// let websocket = WebSocketMiddleware::new().with_group_manager(groups.clone());
/// websocket.on("connection", |connection: WebSocketConnection| connection.set_group(Some("lobby")));
/// ```
#[derive(Clone)]
pub struct GroupManager {
    inner: Arc<Inner>,
}

struct Inner {
    groups: DashMap<Text, ConnectionGroup>,
    listeners: Listeners<u8, ConnectionGroup>,
    turnstile: Turnstile<Happening>,
    counts: Counts,
}

impl GroupManager {
    /// A manager without groups.
    pub fn new() -> GroupManager {
        let inner = Inner {
            groups: DashMap::new(),
            listeners: Listeners::default(),
            turnstile: Turnstile::default(),
            counts: Counts::default(),
        };
        GroupManager { inner: Arc::new(inner) }
    }

    /// Puts a connection into the group of that name, which is made if there is none. The connection stays in its other
    /// groups.
    ///
    /// The order is: the group can be found; `create`; the connection is in; `join`. If listeners of the manager or of a group
    /// are running, here or on another thread, the events are told after them, and the connection is in before.
    ///
    /// This calls listeners: release your own locks first, if a listener may want them. It blocks for a millisecond at most if
    /// 256 events of the manager are queued.
    ///
    /// # Errors
    /// [`GroupError::Closed`], [`GroupError::TooManyGroups`], [`GroupError::NameTooLong`].
    pub fn join(&self, name: impl Into<Text>, connection: WebSocketConnection) -> Result<ConnectionGroup, GroupError> {
        let name = Contained::new(name.into());
        self.join_as(&name, connection, Choice::OneMore)
    }

    /// Takes a connection out of the group of that name. `false` if it was not in.
    pub fn leave(&self, name: &str, connection: WebSocketConnection) -> bool {
        self.get(name).is_some_and(|group| group.remove(connection))
    }

    /// The group of that name.
    pub fn get(&self, name: &str) -> Option<ConnectionGroup> {
        self.inner.groups.get(name).map(|group| *group)
    }

    /// The groups that there are now.
    pub fn groups(&self) -> Vec<ConnectionGroup> {
        self.inner.groups.iter().map(|group| *group).collect()
    }

    /// How many groups there are now.
    pub fn len(&self) -> usize {
        self.inner.groups.len()
    }

    /// Whether there is no group now.
    pub fn is_empty(&self) -> bool {
        self.inner.groups.is_empty()
    }

    /// What has been told so far of the groups, and how many there are.
    pub fn stats(&self) -> GroupStats {
        self.inner.counts.stats(self.len())
    }

    /// Sends a text message to all in the group of that name; to nobody if there is none.
    pub fn write(&self, name: &str, text: impl AsRef<str>) {
        if let Some(group) = self.get(name) {
            group.write(text);
        }
    }

    /// Sends a binary message to all in the group of that name; to nobody if there is none.
    pub fn write_binary(&self, name: &str, bytes: impl AsRef<[u8]>) {
        if let Some(group) = self.get(name) {
            group.write_binary(bytes);
        }
    }

    /// [Closes](WebSocketConnection::close_with) all members of all groups. The reason is first, as in ReactPHP.
    pub fn close_all(&self, reason: impl AsRef<str>, code: u16) {
        cork(|| {
            for group in self.groups() {
                group.close_all(reason.as_ref(), code);
            }
        });
    }
}

/// # Listeners
///
/// The events are `create` and `destroy`.
impl GroupManager {
    listener_methods! {
        MANAGER,
        FnMut(ConnectionGroup),
        |listener, group: &ConnectionGroup| listener(*group),
        |manager| Some(&manager.inner.listeners),
    }
}

/// What groups and connections use.
impl GroupManager {
    pub(super) fn join_as(
        &self,
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
        let found = self.inner.groups.get(name).map(|group| group.expect_one());
        let group = match found {
            Some(group) => group,
            None => {
                // A connection that cannot enter makes no group.
                Membership::of(connection)?.ask_for_room(connection)?;
                self.find_or_begin(name)
            }
        };
        self.tell();
        group.admit(connection, choice).map(|()| group)
    }

    /// The group of that name, in which one more is expected.
    fn find_or_begin(&self, name: &str) -> ConnectionGroup {
        // A copy of the name: the app's may keep more memory, and do anything when it is dropped.
        match self.inner.groups.entry(name.into()) {
            Entry::Occupied(entry) => entry.get().expect_one(),
            Entry::Vacant(entry) => {
                let group = ConnectionGroup::begin(entry.key().clone(), self.clone());
                // Before others find it, so that nothing of it is told before it.
                self.push(Happening::Create(group));
                entry.insert(group);
                group
            }
        }
    }

    /// Takes note of a happening, under the lock that made it, so that the order of telling is that of happening.
    pub(super) fn push(&self, happening: Happening) {
        self.inner.turnstile.push(happening);
    }

    /// Tells what has happened, unless somebody is about it. No lock is held.
    pub(super) fn tell(&self) {
        let counts = &self.inner.counts;
        self.inner.turnstile.pass(|happening| match happening {
            Happening::Create(group) => {
                add(&counts.created, 1);
                self.emit(CREATE, group);
            }
            Happening::Join(group, member) => {
                add(&counts.joined, 1);
                group.tell(JOIN, member);
            }
            Happening::Leave(group, member) => {
                add(&counts.left, 1);
                group.tell(LEAVE, member);
            }
            Happening::Drop(group, member) => group.tell(DROP, member),
            Happening::Emptied(group) => {
                if self.unlist(group) {
                    add(&counts.destroyed, 1);
                    self.emit(DESTROY, group);
                    group.end();
                }
            }
        });
    }

    fn emit(&self, event: u8, group: ConnectionGroup) {
        let name = MANAGER.name(event);
        watchdog::in_event(name, || {
            self.inner.listeners.emit(&event, &group, |error| trace::listener_failed(name, error));
        });
    }

    /// Members have missed so many messages.
    pub(super) fn note_dropped(&self, count: u64) {
        add(&self.inner.counts.dropped, count);
    }

    /// Takes a group that nobody is in, and nobody is expected in, from the list.
    fn unlist(&self, group: ConnectionGroup) -> bool {
        let Entry::Occupied(entry) = self.inner.groups.entry(group.name()) else { return false };
        let is_over = *entry.get() == group && group.close_if_empty();
        if is_over {
            entry.remove();
        }
        is_over
    }
}

impl Default for GroupManager {
    fn default() -> Self {
        GroupManager::new()
    }
}

impl fmt::Debug for GroupManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupManager").field("groups", &self.groups()).finish()
    }
}
