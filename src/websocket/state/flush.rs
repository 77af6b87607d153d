//! Sends the outbox to the socket, on any thread, and signals the task when there is something to do
//! for it.

use crate::protocol::Opcode;
use crate::sync::atomic::Ordering;
use crate::websocket::state::flags::{BLOCKED, DRAINED, STATE_CHANGED};
use crate::websocket::state::handle::WebSocketConnection;
use crate::websocket::state::outbox::Flushed;
use crate::websocket::state::slot::{Slot, State};

/// Sending from the outbox to the socket, on any thread.
impl WebSocketConnection {
    /// Sends as many bytes as the socket takes now.
    #[inline]
    pub(crate) fn flush(self) {
        self.flush_at(self.slot());
    }

    /// Flushes a connection whose slot is known.
    pub(crate) fn flush_at(self, slot: &'static Slot) {
        if let Some(mut state) = self.lock_at(slot) {
            self.flush_locked(&mut state);
        }
    }

    #[inline(always)]
    pub(crate) fn flush_locked(&self, state: &mut State) {
        state.corked_by = 0;
        if state.blocked {
            return;
        }
        let flushed = state.outbox.flush();
        if flushed != Flushed::All || state.wants_drain || state.holds {
            self.handle_flushed(state, flushed);
        }
    }

    /// Flushes the last bytes of a connection.
    pub(crate) fn flush_last(self) {
        if let Some(mut state) = self.lock().filter(|state| !state.blocked) {
            let flushed = state.outbox.flush_last();
            self.handle_flushed(&mut state, flushed);
        }
    }

    /// Handles the result of a flush. Returns whether there is room for more.
    pub(crate) fn handle_flushed(&self, state: &mut State, flushed: Flushed) -> bool {
        match flushed {
            Flushed::All => {
                if state.wants_drain || state.holds {
                    self.signal_if_drained(state);
                }
                true
            }
            Flushed::NotYet => self.note_room(state),
            Flushed::Full => {
                state.blocked = true;
                self.slot().signal(state, BLOCKED);
                self.note_room(state)
            }
            Flushed::Broken => {
                state.broken = true;
                self.slot().signal(state, STATE_CHANGED);
                false
            }
        }
    }

    /// Allows other threads to write to the socket again, since everything was sent. `false` if
    /// there are new bytes to send first.
    pub(crate) fn unblock(&self, state: &mut State) -> bool {
        self.queue_pong(state);
        if state.outbox.unsent() > 0 {
            return false;
        }
        state.trim_cold();
        state.blocked = false;
        self.slot().flags.fetch_and(!BLOCKED, Ordering::Relaxed);
        self.signal_if_drained(state);
        true
    }

    /// Queues the pong and signals `drain` if they are due. The socket is full, and may have taken some bytes.
    pub(crate) fn note_progress(&self, state: &mut State) {
        self.queue_pong(state);
        self.signal_if_drained(state);
    }

    /// Queues the pong that waits, once the bytes before it have left. It must not wait longer,
    /// since a writer that waits for each `drain` may keep the socket full indefinitely.
    pub(crate) fn queue_pong(&self, state: &mut State) {
        let written = state.outbox.written();
        if state.is_writable()
            && let Some(cold) = state.cold_if_any()
            && let Some(pong) = cold.pong.take_if(|pong| pong.behind <= written)
        {
            state.push(true, Opcode::Pong, &pong.payload);
        }
    }

    /// The socket has failed.
    pub(crate) fn break_socket(&self) {
        if let Some(mut state) = self.lock() {
            let flushed = state.outbox.break_off();
            state.blocked = false;
            self.slot().flags.fetch_and(!BLOCKED, Ordering::Relaxed);
            self.handle_flushed(&mut state, flushed);
        }
    }

    /// Signals the task that there is room again, if a writer waits for it.
    #[cold]
    pub(crate) fn signal_if_drained(&self, state: &mut State) {
        if (state.wants_drain || state.holds) && state.unsent() < state.soft_limit {
            state.has_drained |= std::mem::take(&mut state.wants_drain);
            self.slot().signal(state, DRAINED);
        }
    }
}
