use dashmap::mapref::entry::Entry;

use super::event::{Argument, CREATE, DESTROY, DROP, GAP, GROUP, GroupEvent, JOIN, LEAVE, MANAGER};
use super::handle::ConnectionGroup;
use super::registry::Registry;
use super::stats::add;
use crate::emitter::BoxError;
use crate::runtime::trace;
use crate::runtime::watchdog;
use crate::sync::atomic::Ordering;
use crate::websocket::SlotGuard;

impl Registry {
    /// Emits the events that have been enqueued, unless another thread is emitting them. No lock is
    /// held meanwhile.
    pub(super) fn emit_pending(&self) {
        let counts = &self.counts;
        self.events.drain(|event| match event {
            GroupEvent::Create(group) => {
                add(&counts.created, 1);
                self.emit(CREATE, group);
            }
            GroupEvent::Join(group, member) => {
                add(&counts.joined, 1);
                group.emit(JOIN, member);
            }
            GroupEvent::Leave(group, member) => {
                add(&counts.left, 1);
                group.emit(LEAVE, member);
            }
            GroupEvent::Drop(group, member) => group.emit(DROP, member),
            GroupEvent::Gap(group, missing) => group.emit_gap(missing),
            GroupEvent::Emptied(group) => {
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
            self.listeners.emit(&event, &group, |error| trace::listener_failed(name, error));
        });
    }

    /// Removes a group without members from the registry, unless a connection is about to join.
    fn unlist(&self, group: ConnectionGroup) -> bool {
        let name = group.name();
        let Entry::Occupied(entry) = self.groups.entry(name.clone()) else { return false };
        let is_over = *entry.get() == group && group.destroy_if_empty();
        if is_over {
            if let Some(node) = self.node.get() {
                node.uninterested(&name);
            }
            entry.remove();
        }
        is_over
    }
}

impl ConnectionGroup {
    fn emit(&self, event: u8, kept: SlotGuard) {
        let (member, name) = (kept.connection(), GROUP.name(event));
        self.call(event, name, &Argument::Member(member), |error| member.listener_failed(name, error));
    }

    fn emit_gap(&self, missing: u64) {
        self.call(GAP, "gap", &Argument::Count(missing), |error| trace::listener_failed("gap", error));
    }

    /// Calls the listeners of an event. No lock is held.
    fn call(&self, event: u8, name: &'static str, argument: &Argument, failed: impl Fn(BoxError)) {
        if let Some(state) = self.read() {
            let listeners = state.listeners.clone();
            state.pending.fetch_sub(1, Ordering::Relaxed);
            drop(state);
            watchdog::in_event(name, || listeners.emit(&event, argument, failed));
        }
    }
}
