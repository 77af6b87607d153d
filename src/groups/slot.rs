use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use indexmap::IndexSet;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::event::Happening;
use super::handle::ConnectionGroup;
use super::registry::Registry;
use crate::emitter::Listeners;
use crate::runtime::slab::Slab;
use crate::websocket::{Order, SlowMemberPolicy, Text, WebSocketConnection};

/// What a handle points to. As with connections, slots are used again and never freed, and a number that no two groups of a
/// process share tells whether the group is still there.
#[derive(Default)]
pub(super) struct Slot {
    state: RwLock<State>,
    /// Of what is written to all members. Locked after the state.
    pub(super) order: Order,
}

static SLOTS: Slab<Slot> = Slab::new();

#[derive(Default)]
pub(super) struct State {
    /// 0 if the slot is free.
    pub(super) number: u64,
    pub(super) name: Text,
    pub(super) members: IndexSet<WebSocketConnection>,
    /// Connections that are about to join: `create` is being told first. The group does not end before they are in.
    pub(super) expected: usize,
    /// What has happened in the group and not been told yet.
    pub(super) untold: AtomicUsize,
    /// `destroy` is being told: nobody can enter any more.
    pub(super) over: bool,
    pub(super) policy: SlowMemberPolicy,
    pub(super) dropped: AtomicU64,
    /// Those of its manager, which lives as long as it has groups.
    pub(super) registry: Option<Arc<Registry>>,
    pub(super) listeners: Arc<Listeners<u8, WebSocketConnection>>,
}

impl ConnectionGroup {
    /// A group in a free slot, that nobody is in and one is expected in.
    pub(super) fn begin(name: Text, registry: Arc<Registry>) -> ConnectionGroup {
        let (slot, number) = SLOTS.take();
        if slot != u32::MAX {
            *SLOTS.get(slot).state.write() =
                State { number: number.get(), name, expected: 1, registry: Some(registry), ..State::default() };
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

    /// Expects one more connection to be admitted, and returns the group.
    pub(super) fn expect_one(&self) -> ConnectionGroup {
        if let Some(mut state) = self.write_state() {
            state.expected += 1;
        }
        *self
    }

    /// Notes that nobody is in, if so. Returns where it has to be told.
    pub(super) fn end_if_empty(&self, state: RwLockWriteGuard<'static, State>) -> Option<Arc<Registry>> {
        if state.members.is_empty() {
            state.has_happened(Happening::Emptied(*self));
        }
        state.registry.clone()
    }

    /// Begins the end, if nobody is in and nobody is expected. To be called under the lock of the list.
    pub(super) fn close_if_empty(&self) -> bool {
        let Some(mut state) = self.write_state() else { return false };
        // Who came and went since is told of first; that leave is followed by another look.
        state.over = state.members.is_empty() && state.expected == 0 && state.untold.load(Ordering::Relaxed) == 0;
        state.over
    }

    pub(super) fn listeners(&self) -> Option<Arc<Listeners<u8, WebSocketConnection>>> {
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
    /// Notes what has happened, under the lock that it happened under, so that the order of telling is that of happening.
    pub(super) fn has_happened(&self, happening: Happening) {
        if !matches!(happening, Happening::Emptied(_)) {
            self.untold.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(registry) = &self.registry {
            registry.events.push(happening);
        }
    }
}
