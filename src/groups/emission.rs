use std::sync::atomic::Ordering;

use dashmap::mapref::entry::Entry;

use super::event::{CREATE, DESTROY, DROP, GROUP, Happening, JOIN, LEAVE, MANAGER};
use super::handle::ConnectionGroup;
use super::registry::Registry;
use super::stats::add;
use crate::runtime::trace;
use crate::runtime::watchdog;
use crate::websocket::SlotGuard;

impl Registry {
    /// Tells what has happened, unless somebody is about it. No lock is held.
    pub(super) fn tell(&self) {
        let counts = &self.counts;
        self.events.drain(|happening| match happening {
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
            self.listeners.emit(&event, &group, |error| trace::listener_failed(name, error));
        });
    }

    /// Takes a group that nobody is in, and nobody is expected in, from the list.
    fn unlist(&self, group: ConnectionGroup) -> bool {
        let Entry::Occupied(entry) = self.groups.entry(group.name()) else { return false };
        let is_over = *entry.get() == group && group.close_if_empty();
        if is_over {
            entry.remove();
        }
        is_over
    }
}

impl ConnectionGroup {
    /// Calls the listeners of an event. No lock is held.
    fn tell(&self, event: u8, kept: SlotGuard) {
        let member = kept.connection();
        if let Some(state) = self.read() {
            let listeners = state.listeners.clone();
            state.untold.fetch_sub(1, Ordering::Relaxed);
            drop(state);
            watchdog::in_event(GROUP.name(event), || {
                listeners.emit(&event, &member, |error| member.listener_failed(error));
            });
        }
    }
}
