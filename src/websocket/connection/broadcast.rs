use std::sync::Arc;

use crate::websocket::error::ConnectionError;
use crate::websocket::state::cork;
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::held::SlowMemberPolicy;
use crate::websocket::state::log::Log;
use crate::websocket::state::slot::Slot;

/// Writing a message that is encoded once for many connections.
impl WebSocketConnection {
    /// Adds a message from a broadcast's log.
    #[inline]
    pub(crate) fn write_range(&self, log: &Arc<Log>, start: u32, end: u32) {
        let slot = self.slot();
        match self.write_range_plainly(slot, log, start, end) {
            Some(true) => {}
            Some(false) => cork::touch(*self, slot),
            None => self.write_range_slowly(log, start, end),
        }
    }

    /// Like [`write_plainly`](WebSocketConnection::write_plainly), but does not return whether
    /// there is room.
    #[inline(always)]
    fn write_range_plainly(&self, slot: &'static Slot, log: &Arc<Log>, start: u32, end: u32) -> Option<bool> {
        let mut state = self.lock_at(slot)?;
        if !state.is_writable() || !state.framing.is_plain() || state.blocked {
            return None;
        }
        let unsent = state.outbox.unsent();
        if unsent >= state.hard_limit {
            return None;
        }
        state.messages_out += 1;
        state.outbox.push_range(log, start, end);
        let has_no_room = unsent + (end - start) as usize >= state.soft_limit;
        state.wants_drain |= has_no_room;
        let token = cork::token();
        Some(std::mem::replace(&mut state.corked_by, token) == token)
    }

    #[inline(never)]
    fn write_range_slowly(&self, log: &Arc<Log>, start: u32, end: u32) {
        let Some(mut state) = self.lock_or_fail_slow_consumer() else { return };
        state.messages_out += 1;
        if state.framing.is_streaming() {
            let log = log.read();
            state.cold().stream.push_encoded(log.get(start as usize..end as usize).unwrap_or_default());
            self.note_room(&mut state);
            return;
        }
        if state.framing.masks() {
            // No two clients send the same bytes.
            let log = log.read();
            #[cfg(feature = "deflate")]
            if state.framing.deflates()
                && let Some((opcode, payload)) = log.message((start, end))
                && state.push_deflated(opcode, payload)
            {
                self.finish_write(state);
                return;
            }
            state.outbox.push_frames_masked(log.get(start as usize..end as usize).unwrap_or_default());
        } else {
            #[cfg(feature = "deflate")]
            if state.framing.deflates() {
                state.push_broadcast(log, (start, end));
                self.finish_write(state);
                return;
            }
            state.outbox.push_range(log, start, end);
        }
        self.finish_write(state);
    }

    /// Writes a range of a log to a member of a group that has a policy for slow consumers. Returns
    /// how many messages were dropped for it.
    pub(crate) fn write_range_with_policy(
        &self,
        log: &Arc<Log>,
        (start, end): (u32, u32),
        group: u64,
        policy: SlowMemberPolicy,
    ) -> u64 {
        let Some(mut state) = self.lock().filter(|state| state.is_writable()) else { return 0 };
        let limit = state.soft_limit;
        if state.unsent() >= limit && !state.blocked {
            self.flush_early(&mut state);
        }
        let unsent = state.unsent();
        if unsent < limit && !state.holds || policy == SlowMemberPolicy::Keep {
            drop(state);
            self.write_range(log, start, end);
            return 0;
        }
        if policy == SlowMemberPolicy::Close {
            self.fail_locked(state, ConnectionError::SlowReader { unsent, limit });
            return 0;
        }
        let dropped = if policy == SlowMemberPolicy::DropNew {
            1
        } else {
            state.holds = true;
            let log = log.read();
            let frame = log.get(start as usize..end as usize).unwrap_or_default();
            state.cold().held.push(group, frame, policy == SlowMemberPolicy::KeepLatest, limit)
        };
        if dropped > 0 {
            state.cold().dropped += dropped;
        }
        dropped
    }

    /// Adds held messages as far as there is room. Returns whether `drain` is due.
    pub(crate) fn release_held(&self) -> bool {
        let Some(mut state) = self.lock() else { return false };
        let is_drain_due = std::mem::take(&mut state.has_drained);
        let limit = state.soft_limit;
        while state.holds && state.is_writable() && state.unsent() < limit {
            let Some(frame) = state.cold().held.pop() else {
                state.holds = false;
                break;
            };
            state.messages_out += 1;
            if state.framing.is_streaming() {
                state.cold().stream.push_encoded(&frame);
            } else {
                state.push_frames(|out| out.extend_from_slice(&frame));
            }
        }
        state.trim_cold();
        if state.outbox.unsent() > 0 {
            self.schedule_flush(state);
        }
        is_drain_due
    }
}
