use std::sync::Arc;

use indexmap::IndexSet;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::event::{Argument, GroupEvent};
use super::handle::ConnectionGroup;
use super::registry::Registry;
use crate::emitter::Listeners;
use crate::runtime::slab::Slab;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::global;
use crate::websocket::{Order, SlowMemberPolicy, Text, WebSocketConnection};

/// The state of a group. A handle refers to it. As with connections, slots are reused and never
/// freed. The number is unique in the process, and shows whether the handle's group still exists.
#[derive(Default)]
pub(super) struct Slot {
    state: RwLock<State>,
    /// The order of messages to all members. Locked after the state.
    pub(super) order: Order,
}

global! { static SLOTS: Slab<Slot> = Slab::new(); }

#[derive(Default)]
pub(super) struct State {
    /// 0 if the slot is free.
    pub(super) number: u64,
    pub(super) name: Text,
    pub(super) members: IndexSet<WebSocketConnection>,
    /// The number of connections that are about to join, while `create` is emitted first. The group
    /// is not destroyed before.
    pub(super) joining: usize,
    /// The number of events of the group that have not been emitted yet.
    pub(super) pending: AtomicUsize,
    /// `destroy` is being emitted: no connection can join any more.
    pub(super) is_over: bool,
    /// Messages of the group are also for the other nodes of a cluster.
    pub(super) is_clustered: bool,
    pub(super) policy: SlowMemberPolicy,
    pub(super) dropped: AtomicU64,
    /// The groups of its manager. They exist as long as one of the groups does.
    pub(super) registry: Option<Arc<Registry>>,
    pub(super) listeners: Arc<Listeners<u8, Argument>>,
}

impl ConnectionGroup {
    /// Creates a group in a free slot. It has no members, and one connection is about to join. The
    /// caller holds the lock of the group's entry in the registry.
    pub(super) fn begin(name: Text, registry: Arc<Registry>) -> ConnectionGroup {
        let (slot, number) = SLOTS.take();
        if slot != u32::MAX {
            let node = registry.node.get();
            let is_clustered = node.is_some();
            if let Some(node) = node {
                node.interested(&name);
            }
            let (number, registry) = (number.get(), Some(registry));
            *SLOTS.get(slot).state.write() = State { number, name, joining: 1, is_clustered, registry, ..State::default() };
        }
        ConnectionGroup { slot, number }
    }

    /// Frees the slot, since the group no longer exists.
    pub(super) fn end(self) {
        let Some(mut state) = self.write_state() else { return };
        let before = std::mem::take(&mut *state);
        drop(state);
        // Must be outside of the lock: the captures of listeners may do anything when they are
        // dropped.
        drop(before);
        SLOTS.give_back(self.slot);
    }

    /// Notes that one more connection is about to join. Returns the group.
    pub(super) fn expect_join(&self) -> ConnectionGroup {
        if let Some(mut state) = self.write_state() {
            state.joining += 1;
        }
        *self
    }

    /// Unlocks the group, after noting whether it is empty. Returns the registry that emits the
    /// events.
    pub(super) fn push_emptied(&self, state: RwLockWriteGuard<'static, State>) -> Option<Arc<Registry>> {
        if state.members.is_empty() {
            state.push_event(GroupEvent::Emptied(*self));
        }
        state.registry.clone()
    }

    /// Ends the group for joins, if it has no members and no connection is about to join. Returns
    /// whether it did. The caller holds the lock of the group's entry in the registry.
    pub(super) fn destroy_if_empty(&self) -> bool {
        let Some(mut state) = self.write_state() else { return false };
        // A member that has joined and left since has events to be emitted first. Another `Emptied`
        // follows its `Leave`.
        state.is_over = state.members.is_empty() && state.joining == 0 && state.pending.load(Ordering::Relaxed) == 0;
        state.is_over
    }

    pub(super) fn listeners(&self) -> Option<Arc<Listeners<u8, Argument>>> {
        self.read().map(|state| state.listeners.clone())
    }

    pub(super) fn slot(&self) -> &'static Slot {
        SLOTS.get(self.slot)
    }

    pub(super) fn read(&self) -> Option<RwLockReadGuard<'static, State>> {
        let state = self.slot().state.read();
        (state.number == self.number.get()).then_some(state)
    }

    pub(super) fn write_state(&self) -> Option<RwLockWriteGuard<'static, State>> {
        let state = self.slot().state.write();
        (state.number == self.number.get()).then_some(state)
    }
}

impl State {
    /// Enqueues an event, under the lock of the change that caused it, so that events are emitted
    /// in the order of changes.
    pub(super) fn push_event(&self, event: GroupEvent) {
        if !matches!(event, GroupEvent::Emptied(_)) {
            self.pending.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(registry) = &self.registry {
            registry.events.push(event);
        }
    }
}
