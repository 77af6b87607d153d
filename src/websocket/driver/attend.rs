use std::sync::atomic::Ordering;
use std::task::Context;

use crate::protocol::close_code;
use crate::runtime::clock::Moment;
use crate::runtime::trace;
use crate::websocket::driver::Driver;
use crate::websocket::error::ConnectionError;
use crate::websocket::state::slot::{ALARM, ATTEND, BLOCKED, DRAINED, Phase};

/// What others ask of the task.
impl Driver {
    #[inline(never)]
    pub(crate) fn attend_now(&mut self, cx: &mut Context<'_>) {
        let is_first = !self.progress.introduced;
        if is_first {
            (self.progress.introduced, self.progress.is_calm) = (true, true);
            if let Some(mut state) = self.connection().lock() {
                state.task = Some(cx.waker().clone());
            }
        }
        let asked = self.slot().flags.fetch_and(!(DRAINED | ALARM | ATTEND), Ordering::Acquire);
        if asked & DRAINED != 0 {
            self.wake_senders();
            // Between `error` and `close` nothing is told.
            if self.connection().release_held() && !self.closing.discards() {
                self.delivery.drain();
            }
        }
        // Before the deadlines, one of which may be that for what is sent here.
        if asked & ATTEND != 0 {
            self.look_at_state();
            // Listeners may have been removed. At the beginning they were not: they stay where they are until the first event.
            if !is_first && self.delivery.is_free() {
                self.delivery.read_mail();
            }
        }
        if asked & BLOCKED != 0 {
            self.write(cx);
        }
        // Not before it is known what the socket takes.
        if asked & ALARM != 0 {
            self.meet_deadlines();
        }
    }

    /// What has become of the connection by what others did.
    pub(crate) fn look_at_state(&mut self) {
        let Some(mut state) = self.connection().lock() else { return };
        let fault = state.existing_extras().and_then(|extras| extras.fault.take());
        let terminated = state.existing_extras().is_some_and(|extras| extras.terminated);
        let hurried = state.existing_extras().is_some_and(|extras| extras.hurried);
        if let Some(fault) = &fault {
            state.extras().error = Some(fault.clone());
        }
        if state.broken {
            self.closing.break_off();
            state.phase = state.phase.max(Phase::Closing);
        }
        if state.existing_extras().is_some_and(|extras| extras.closing.is_some()) {
            self.closing.close();
        }
        let is_closing = state.phase >= Phase::Closing;
        drop(state);
        match self.closing.has_peer_closed() {
            // The answer to it.
            true => self.connection().flush_last(),
            // What was written before there was a socket.
            false => self.connection().flush(),
        }
        if is_closing {
            self.wake_senders();
        }
        if is_closing || fault.is_some() {
            if self.deadlines.close == Moment::NEVER && !self.closing.has_peer_closed() {
                self.watch_if_under_way();
            }
            self.begin_to_end();
        }
        let is_cut = terminated || fault.as_ref().is_some_and(|fault| fault.close_code() == close_code::ABNORMAL);
        if let Some(fault) = fault {
            self.begin_to_fail();
            let is_heard = self.delivery.is_free() && self.delivery.listens_to_errors();
            self.delivery.fail(fault.clone());
            if self.closing.is_told() {
                let (code, reason) = self.close_args();
                self.delivery.close(code, reason);
            }
            let by_app = matches!(fault, ConnectionError::Listener(_) | ConnectionError::MessageAbandoned);
            trace::connection_failed(fault.cause(), &fault, by_app, is_heard);
        }
        if is_cut {
            self.hang_up();
        }
        if hurried {
            self.delivery.hurry();
        }
    }

    fn wake_senders(&self) {
        let Some(mut state) = self.connection().lock() else { return };
        let senders = state.existing_extras().and_then(|extras| extras.senders.take());
        state.trim_extras();
        drop(state);
        if let Some(senders) = senders {
            senders.notify_waiters();
        }
    }
}
