//! Requests of other threads to the task. The task reads and clears the flags here, and acts on each.
//!
//! A thread that sets a flag wakes the task. `state/flags.rs` has a table of the flags.

use std::task::Context;

use crate::protocol::close_code;
use crate::runtime::clock::Moment;
use crate::runtime::trace;
use crate::sync::atomic::Ordering;
use crate::websocket::driver::Driver;
use crate::websocket::error::ConnectionError;
use crate::websocket::state::flags::{ALARM, BLOCKED, DRAINED, STATE_CHANGED};
use crate::websocket::state::slot::Phase;

/// Requests of other threads to the task.
impl Driver {
    #[inline(never)]
    pub(crate) fn attend_now(&mut self, cx: &mut Context<'_>) {
        let is_first = !self.progress.waker_registered;
        if is_first {
            (self.progress.waker_registered, self.progress.is_fast) = (true, true);
            if let Some(mut state) = self.connection().lock() {
                state.task = Some(cx.waker().clone());
            }
        }
        let asked = self.slot().flags.fetch_and(!(DRAINED | ALARM | STATE_CHANGED), Ordering::Acquire);
        if asked & DRAINED != 0 {
            self.wake_senders();
            // Between `error` and `close` no event is emitted.
            if self.connection().release_held() && !self.closing.discards() {
                self.dispatcher.schedule_drain();
            }
        }
        // Must be before the deadlines: the bytes that are sent here may have one.
        if asked & STATE_CHANGED != 0 {
            self.look_at_state();
            // Listeners may have been removed. At the beginning none were: added listeners stay in
            // the state until the first event.
            if !is_first && self.dispatcher.is_free() {
                self.dispatcher.apply_pending();
            }
        }
        if asked & BLOCKED != 0 {
            self.write(cx);
        }
        // Must be after the writes: the deadlines depend on what the socket takes.
        if asked & ALARM != 0 {
            self.meet_deadlines();
        }
    }

    /// Acts on changes that other threads have made to the connection's state.
    pub(crate) fn look_at_state(&mut self) {
        let Some(mut state) = self.connection().lock() else { return };
        let fault = state.cold_if_any().and_then(|cold| cold.fault.take());
        let terminated = state.cold_if_any().is_some_and(|cold| cold.terminated);
        let skip_async = state.cold_if_any().is_some_and(|cold| cold.skip_async);
        if let Some(fault) = &fault {
            state.cold().error = Some(fault.clone());
        }
        if state.broken {
            self.closing.socket_broke();
            state.phase = state.phase.max(Phase::Closing);
        }
        self.note_our_close(&mut state);
        let is_closing = state.phase >= Phase::Closing;
        drop(state);
        match self.closing.ends_with_answer() {
            // Answers the peer's Close frame.
            true => self.connection().flush_last(),
            // Sends what was written before there was a socket.
            false => self.connection().flush(),
        }
        if is_closing {
            self.wake_senders();
        }
        if is_closing || fault.is_some() {
            if self.deadlines.close == Moment::NEVER && !self.closing.has_peer_closed() {
                self.watch_if_under_way();
            }
            self.start_close_deadline();
        }
        let is_cut = terminated || fault.as_ref().is_some_and(|fault| fault.close_code() == close_code::ABNORMAL);
        if let Some(fault) = fault {
            self.begin_to_fail();
            let is_heard = self.dispatcher.is_free() && self.dispatcher.listens_to_errors();
            self.dispatcher.schedule_error(fault.clone());
            if self.closing.is_close_scheduled() {
                let (code, reason) = self.close_args();
                self.dispatcher.schedule_close(code, reason);
            }
            let by_app = matches!(fault, ConnectionError::Listener(_) | ConnectionError::MessageAbandoned);
            trace::connection_failed(fault.cause(), &fault, by_app, is_heard);
        }
        if is_cut {
            self.hang_up();
        }
        if skip_async {
            self.dispatcher.skip_async();
        }
    }

    fn wake_senders(&self) {
        let Some(mut state) = self.connection().lock() else { return };
        let senders = state.cold_if_any().and_then(|cold| cold.senders.take());
        state.trim_cold();
        drop(state);
        if let Some(senders) = senders {
            senders.notify_waiters();
        }
    }
}
