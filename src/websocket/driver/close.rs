//! The end of a connection. `protocol/closing.rs` decides the steps, and this file takes them.
//!
//! `answer_close` handles the peer's Close frame. `end_now` asks the state machine for the next step,
//! and at the last one drops the socket and schedules `close`.

use std::pin::Pin;
use std::task::Context;
#[cfg(feature = "__tls")]
use std::task::Poll;

use tokio::io::AsyncWrite;

use crate::emitter::drop_each;
use crate::protocol::{Facts, Outcome, Role, Step, close_code};
use crate::runtime::clock::Moment;
use crate::runtime::stream::ReadHalf;
use crate::runtime::trace;
use crate::sync::atomic::Ordering;
use crate::websocket::driver::Driver;
use crate::websocket::error::ConnectionError;
use crate::websocket::state::event::{self, Args};
use crate::websocket::state::flags::{BLOCKED, PEER_CLOSED, STATE_CHANGED};
use crate::websocket::state::slot::{Phase, State};

/// The end of a connection.
impl Driver {
    /// Answers the peer's Close frame (RFC 6455 §5.5.1), unless it is itself the answer to ours.
    pub(crate) fn answer_close(&mut self, close: Option<(u16, String)>, cx: &mut Context<'_>) {
        let Some(mut state) = self.connection().lock() else { return };
        self.note_our_close(&mut state);
        self.closing.peer_close_received();
        self.slot().flags.fetch_or(PEER_CLOSED, Ordering::Relaxed);
        if state.is_writable() {
            let (code, reason) = close.as_ref().map_or((close_code::NO_STATUS, ""), |(code, reason)| (*code, reason));
            self.connection().queue_close(&mut state, code, reason);
            // The task sends it when it looks at the state, which it does next.
            self.slot().signal(&state, STATE_CHANGED);
        }
        drop(state);
        self.progress.is_fast = false;
        if close.is_some() {
            self.rare.get_or_insert_default().peer_close = close;
        }
        self.emit(event::END, Args::Nothing, cx);
    }

    /// Drops the socket when nothing is left to do with it, and has `close` emitted. Returns
    /// whether it did.
    #[inline]
    pub(crate) fn end_if_over(&mut self, cx: &mut Context<'_>) -> bool {
        !self.closing.is_close_scheduled() && (self.closing.is_under_way() || self.read.is_none()) && self.end_now(cx)
    }

    #[inline(never)]
    pub(crate) fn end_now(&mut self, cx: &mut Context<'_>) -> bool {
        if self.read.is_some() {
            match self.advance_closing() {
                Step::Release if self.shut_down_stream(cx) => self.hang_up(),
                Step::ShutDown => {
                    self.shut_down(cx);
                    return false;
                }
                Step::Wait | Step::SendClose | Step::Release => return false,
            }
        }
        let (code, reason) = self.close_args();
        self.closing.close_scheduled();
        let cause = self.cause();
        self.shared.connections.count_end(self.connection(), cause);
        trace::connection_closed(cause, code, &reason);
        self.dispatcher.schedule_close(code, reason);
        true
    }

    /// Asks the closing handshake what to do, and sends our Close if that is the next step.
    fn advance_closing(&mut self) -> Step {
        let all_delivered = self.backlog.is_empty() && self.dispatcher.is_free();
        let step = self.closing.next(Facts { all_sent: self.is_flushed(), all_delivered });
        if step != Step::SendClose || self.close_after_error() {
            return step;
        }
        // The Close is on its way already, or the connection cannot be written any more.
        self.closing.our_close_queued();
        self.advance_closing()
    }

    /// Passes a Close that the app has sent to the closing handshake.
    pub(crate) fn note_our_close(&mut self, state: &mut State) {
        if state.cold_if_any().is_some_and(|cold| cold.our_close.is_some()) {
            self.closing.our_close_queued();
        }
    }

    /// Sends our Close after a listener has failed, with 1011 unless listeners of `error` have
    /// chosen another code. `false` if our Close is on its way already.
    fn close_after_error(&mut self) -> bool {
        let connection = self.connection();
        if !connection.is_writable() {
            return false;
        }
        if self.dispatcher.has_emitted_error()
            && let Some(error) = connection.error()
        {
            connection.close_with(error.close_code(), error.public_reason());
        }
        true
    }

    /// Returns whether everything that can be sent has been sent.
    fn is_flushed(&self) -> bool {
        let connection = self.connection();
        let Some(mut state) = connection.lock() else { return true };
        // Another thread may be about to flush its writes, without waking this task.
        connection.flush_locked(&mut state);
        state.broken || state.unsent() == 0 && !state.blocked
    }

    /// Sends a FIN after the Close frame of an error, so that the peer ends its side too. Closing
    /// the socket while the peer still sends would be a reset, and the peer would lose our Close
    /// frame.
    fn shut_down(&mut self, cx: &mut Context<'_>) {
        if self.shut_down_stream(cx)
            && self.closing.our_fin_sent()
            && let Some(mut state) = self.connection().lock()
        {
            state.outbox.send_fin();
        }
    }

    /// Ends a stream that is not a socket. TLS sends a close_notify, so that the peer knows that
    /// the data is complete (RFC 8446 §6.1). `false` if that takes time.
    fn shut_down_stream(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.read {
            Some(ReadHalf::Other(stream)) if !self.closing.is_shut_down() => Pin::new(stream).poll_shutdown(cx).is_ready(),
            #[cfg(feature = "__tls")]
            Some(stream @ ReadHalf::Tls(_)) if !self.closing.is_shut_down() => {
                let mut state = self.dispatcher.connection().lock();
                while state.as_mut().is_some_and(|state| !state.outbox.close_stream()) {
                    if !matches!(stream.poll_write_ready(cx), Poll::Ready(Ok(()))) {
                        return false;
                    }
                }
                true
            }
            _ => true,
        }
    }

    /// Drops the socket.
    pub(crate) fn hang_up(&mut self) {
        self.backlog.clear();
        self.writing = None;
        if let Some(mut state) = self.connection().lock() {
            state.phase = state.phase.max(Phase::Closing);
            state.blocked = false;
            state.outbox.break_off();
            self.slot().flags.fetch_and(!BLOCKED, Ordering::Relaxed);
        }
        // The stream may be the app's, and its `drop` may do anything.
        drop_each(self.read.take());
        self.progress.is_fast = false;
        self.start_close_deadline();
    }

    /// Begins to fail the connection. If our Close is not on its way, it follows when listeners of
    /// `error` are done.
    pub(crate) fn begin_to_fail(&mut self) {
        if self.connection().is_writable() {
            self.closing.fail_later();
        } else {
            self.closing.fail();
        }
        self.progress.is_fast = false;
    }

    /// Sets the deadline by which the connection must have ended.
    pub(crate) fn start_close_deadline(&mut self) {
        if self.deadlines.close == Moment::NEVER {
            self.deadlines.close = self.permit.clock().after(self.shared.options.close_timeout);
        }
    }

    /// Returns why the connection has ended, in one word.
    fn cause(&self) -> &'static str {
        if let Some(error) = self.connection().error() {
            return error.cause();
        }
        match self.closing.outcome() {
            Outcome::Abnormal => "lost",
            Outcome::Theirs => "peer",
            Outcome::Ours => match self.shared.role {
                Role::Server => "server",
                Role::Client => "client",
            },
        }
    }

    /// Returns the code and reason of `close`. They are those of the error, or of the end that
    /// began the closing handshake. 1006 if the handshake was not completed.
    pub(crate) fn close_args(&self) -> (u16, String) {
        let ours = self.connection().lock().and_then(|mut state| state.cold_if_any()?.our_close.clone());
        if let Some(error) = self.connection().error() {
            let default = (error.close_code(), error.public_reason());
            if let (ConnectionError::Listener(_), Some(ours)) = (&error, ours)
                && (ours.0, ours.1.as_str()) != (default.0, &*default.1)
            {
                return ours;
            }
            return (error.close_code(), error.reason().into_owned());
        }
        match self.closing.outcome() {
            Outcome::Abnormal => (close_code::ABNORMAL, String::new()),
            Outcome::Theirs => {
                let theirs = self.rare.as_ref().and_then(|rare| rare.peer_close.clone());
                theirs.unwrap_or((close_code::NO_STATUS, String::new()))
            }
            Outcome::Ours => ours.unwrap_or((close_code::NORMAL, String::new())),
        }
    }
}
